//! Medians, ratios with their spread, geometric means: what rounds are summed up with.

use crate::outcome::Cell;

/// The median of some rounds, with the lowest and the highest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// Sums up rounds; `None` when there are none.
    #[must_use]
    pub fn of(rounds: &[f64]) -> Option<Spread> {
        let median = median(rounds)?;
        let low = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Spread { median, low, high })
    }

    /// The ratio of each round to the base's round of the same number: what the machine did to a whole round falls out.
    /// `None` when there is no such pair or the base is zero.
    #[must_use]
    pub fn of_ratios(rounds: &[f64], base: &[f64]) -> Option<Spread> {
        let ratios: Vec<f64> = rounds.iter().zip(base).map(|(round, base)| round / base).collect();
        if ratios.iter().all(|ratio| ratio.is_finite()) { Spread::of(&ratios) } else { None }
    }

    /// As a ratio's cell.
    #[must_use]
    pub fn as_ratio(self) -> Cell {
        Cell::Ratio { value: self.median, low: self.low, high: self.high }
    }
}

/// The middle value, or the mean of the two middle ones; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The geometric mean, which is fair to ratios; `None` of nothing and of values that are not above zero.
#[must_use]
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| *value <= 0.0) {
        return None;
    }
    Some((values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[test]
fn medians_of_odd_even_and_no_rounds() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(&[]), None);
    assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 3.0 }));
}

#[test]
fn ratios_pair_rounds() {
    // The second round ran on a machine that was twice as slow; no ratio shows it.
    let spread = Spread::of_ratios(&[5.0, 10.0, 6.0], &[10.0, 20.0, 10.0]).expect("three pairs");
    assert_eq!(spread, Spread { median: 0.5, low: 0.5, high: 0.6 });
    assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
}

#[test]
fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
    let mean = geometric_mean(&[4.0, 0.25]).expect("two values");
    assert!((mean - 1.0).abs() < 1e-12);
    assert_eq!(geometric_mean(&[1.0, 0.0]), None);
}
