//! Bars: what a figure must be, what it is, and whether that is enough.

use crate::measure::Spread;
use crate::outcome::{Cell, Column, Table};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One bar.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// What is judged, with the set-up.
    pub(super) what: String,
    /// What it must be.
    pub(super) limit: Limit,
    /// The unit of the figure: `×`, `%`, `µs`.
    pub(super) unit: &'static str,
    /// What it is; the median of the rounds is judged. `None` when the run did not measure it.
    pub(super) measured: Option<Spread>,
}

impl Bar {
    /// Whether the bar holds; `None` when it was not measured.
    pub(super) fn holds(&self) -> Option<bool> {
        let median = self.measured?.median;
        Some(match self.limit {
            Limit::AtLeast(least) => median >= least,
            Limit::AtMost(most) => median <= most,
        })
    }
}

/// All bars as a table.
pub(super) fn table(bars: &[Bar]) -> Table {
    let columns = vec![
        Column::text("bar"),
        Column::text("must be"),
        Column::text("median of the rounds"),
        Column::text("lowest to highest"),
        Column::text("verdict"),
    ];
    let mut table = Table::new("bars", "What must hold", columns);
    for bar in bars {
        let must = match bar.limit {
            Limit::AtLeast(least) => format!("≥ {least} {}", bar.unit),
            Limit::AtMost(most) => format!("≤ {most} {}", bar.unit),
        };
        let verdict = match bar.holds() {
            Some(true) => "pass",
            Some(false) => "missed",
            None => "not measured",
        };
        let shown = |value: f64| format!("{value:.3} {}", bar.unit);
        let median = bar.measured.map_or(Cell::Missing, |spread| shown(spread.median).into());
        let range = bar
            .measured
            .map_or(Cell::Missing, |spread| format!("{:.3} to {:.3}", spread.low, spread.high).into());
        table.row([bar.what.as_str().into(), must.into(), median, range, verdict.into()]);
    }
    table
}

#[test]
fn a_bar_is_judged_by_its_median() {
    let bar =
        |limit, rounds: &[f64]| Bar { what: String::new(), limit, unit: "×", measured: Spread::of(rounds) };
    assert_eq!(bar(Limit::AtLeast(1.5), &[1.4, 1.5, 2.0]).holds(), Some(true));
    assert_eq!(bar(Limit::AtMost(0.4), &[0.1, 0.41, 0.5]).holds(), Some(false));
    assert_eq!(bar(Limit::AtMost(0.4), &[]).holds(), None);
    let text = table(&[bar(Limit::AtMost(0.4), &[0.41]), bar(Limit::AtMost(0.4), &[])]).to_text();
    assert!(text.contains("≤ 0.4 ×") && text.contains("missed") && text.contains("not measured"), "{text}");
}
