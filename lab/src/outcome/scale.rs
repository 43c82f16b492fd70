//! From values to places along an axis: ranges, round ticks and their labels.

use super::figure::{Axis, Scale};
use super::table::number;

/// An axis laid over a stretch of the drawing.
#[derive(Clone, Debug)]
pub(super) struct Laid {
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Laid {
    /// Lays `axis` for data between `least` and `most` from pixel `start` to pixel `end`. Linear axes widen to round
    /// numbers when `round`, and begin at zero when `zero`, where the axis itself does not say otherwise.
    pub(super) fn new(axis: &Axis, data: (f64, f64), span: (f64, f64), zero: bool, round: bool) -> Laid {
        let (least, most) = data;
        let (mut low, mut high) = (axis.from.unwrap_or(least), axis.to.unwrap_or(most));
        if axis.scale == Scale::Linear && zero && axis.from.is_none() {
            low = low.min(0.0);
        }
        if axis.scale == Scale::Log && round {
            low = axis.from.unwrap_or_else(|| round_down(low));
            high = axis.to.unwrap_or_else(|| round_up(high));
        }
        if high <= low {
            high = if axis.scale == Scale::Log { low * 10.0 } else { low + 1.0 };
        }
        if axis.scale == Scale::Linear && round && axis.to.is_none() {
            let step = step(high - low, 6.0);
            high = (high / step).ceil() * step;
        }
        Laid { scale: axis.scale, low, high, start: span.0, end: span.1 }
    }

    /// Where a value lies, in pixels; `None` for what the axis cannot show.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let (low, high, value) = match self.scale {
            Scale::Linear => (self.low, self.high, value),
            Scale::Log => (self.low.log10(), self.high.log10(), value.log10()),
        };
        let place = (value - low) / (high - low);
        let inside = place.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&place);
        inside.then_some(self.start + place * (self.end - self.start))
    }

    /// Round values with their labels, about `wanted` of them.
    pub(super) fn ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => self.linear_ticks(wanted),
            Scale::Log => self.log_ticks(),
        }
    }

    fn linear_ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        let step = step(self.high - self.low, wanted);
        let first = (self.low / step - 1e-9).ceil();
        let places = (0..64).map(|index| (first + f64::from(index)) * step);
        let values: Vec<f64> = places.take_while(|value| *value <= self.high + step * 1e-6).collect();
        values.into_iter().map(|value| (value, label(value, step, self.high))).collect()
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let decades = (self.high / self.low).log10();
        let of_decade: &[f64] = if decades <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let exponents = (-12..=15).map(|exponent| 10f64.powi(exponent));
        let values = exponents.flat_map(|decade| of_decade.iter().map(move |digit| decade * digit));
        let within = values.filter(|value| (self.low * 0.999..=self.high * 1.001).contains(value));
        within.map(|value| (value, label(value, value, value))).collect()
    }
}

/// The round step (1, 2 or 5 times a power of ten) that divides `range` into about `wanted` parts.
fn step(range: f64, wanted: f64) -> f64 {
    let raw = range / wanted;
    let decade = 10f64.powf(raw.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * decade >= raw * 0.999);
    digit.unwrap_or(10.0) * decade
}

fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0].into_iter().map(|digit| digit * decade).find(|round| *round <= value).unwrap_or(decade)
}

fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let rounds = [1.0, 2.0, 5.0].into_iter().map(|digit| digit * decade);
    rounds.into_iter().find(|round| *round >= value * 0.999_999).unwrap_or(decade * 10.0)
}

/// A tick's label; millions are written so, and only as many decimals as the step needs.
fn label(value: f64, step: f64, most: f64) -> String {
    let (value, step, suffix) =
        if most.abs() >= 1e6 { (value / 1e6, step / 1e6, " M") } else { (value, step, "") };
    let decimals = (0..9).find(|decimals| {
        let scaled = step * 10f64.powi(*decimals);
        (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0) && scaled.round() >= 1.0
    });
    let decimals = decimals.and_then(|decimals| usize::try_from(decimals).ok()).unwrap_or(9);
    let text = number(value, decimals);
    if value == 0.0 { "0".to_owned() } else { format!("{text}{suffix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, least: f64, most: f64) -> Vec<String> {
        let laid = Laid::new(axis, (least, most), (0.0, 100.0), true, true);
        laid.ticks(6.0).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn linear_ticks_are_round() {
        let axis = Axis::linear("rate", "1/s");
        assert_eq!(labels(&axis, 3.0, 97.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&axis, 0.1, 0.7), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(
            labels(&axis, 0.0, 2_900_000.0),
            ["0", "0.5 M", "1.0 M", "1.5 M", "2.0 M", "2.5 M", "3.0 M"]
        );
    }

    #[test]
    fn log_ticks_are_decades_or_halves_of_them() {
        let axis = Axis::log("latency", "µs");
        assert_eq!(labels(&axis, 1.0, 90.0), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(labels(&axis, 1.0, 90_000.0), ["1", "10", "100", "1,000", "10,000", "100,000"]);
        assert_eq!(labels(&axis, 0.02, 0.3), ["0.02", "0.05", "0.1", "0.2", "0.5"]);
    }

    #[test]
    fn what_cannot_be_shown_has_no_place() {
        let laid = Laid::new(&Axis::log("x", ""), (1.0, 100.0), (0.0, 100.0), true, true);
        assert_eq!(laid.at(10.0), Some(50.0));
        for outside in [0.0, -1.0, f64::NAN, 1e9] {
            assert_eq!(laid.at(outside), None, "{outside}");
        }
    }

    #[test]
    fn an_axis_with_one_value_has_a_range() {
        for axis in [Axis::linear("x", ""), Axis::log("x", "")] {
            let laid = Laid::new(&axis, (5.0, 5.0), (0.0, 100.0), false, true);
            assert!(laid.at(5.0).is_some());
            assert!(laid.ticks(6.0).len() >= 2, "{laid:?}");
        }
    }
}
