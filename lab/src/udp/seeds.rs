//! The seeds' figures: the Registered I/O articles of 2012, Windows 8 beta, dual Xenon E5620, 1 Gbit Ethernet.

use crate::outcome::{Cell, Column, Table};

/// Where the figures come from, for tables and figures.
pub(super) const SOURCE: &str = "Windows 8 beta, dual Xenon E5620 at 2.4 GHz, 1 Gbit";

/// Iterations of work, percent that the polled Registered I/O server handled, percent that the traditional one handled; of
/// 10 million datagrams on one link.
pub(super) const HANDLED_PERCENT: [(u32, f64, Option<f64>); 7] = [
    (0, 99.32, Some(99.53)),
    (100, 99.85, Some(63.86)),
    (300, 98.89, None),
    (500, 71.75, None),
    (700, 55.73, None),
    (1000, 43.62, Some(25.23)),
    (2000, 29.28, None),
];

/// What an iteration of work took the seeds' machine, in nanoseconds: from how the rate fell with the work.
pub(super) const ITERATION_NS: (u32, u32) = (10, 16);

/// What the seeds' Registered I/O server handled, in percent of what was sent.
pub(super) fn registered(work: u32) -> Option<f64> {
    HANDLED_PERCENT.iter().find(|row| row.0 == work).map(|row| row.1)
}

/// What the seeds' traditional server handled, in percent of what was sent.
pub(super) fn traditional(work: u32) -> Option<f64> {
    HANDLED_PERCENT.iter().find(|row| row.0 == work)?.2
}

/// The seeds' other figures, for reading beside ours.
pub(super) fn table() -> Table {
    let columns = vec![
        Column::text("what the seeds measured"),
        Column::text("Registered I/O server"),
        Column::text("traditional server"),
    ];
    let mut table = Table::new("seeds", format!("The seeds' figures ({SOURCE})"), columns);
    let rows = [
        ("10 M datagrams, one link, work 0", "9,932,228 = 99.3 %", "9,952,510 = 99.5 %"),
        ("rate of that", "114,000 /s", "114,000 /s"),
        ("kernel time of that", "0.167 %", "37.133 %"),
        ("20 M datagrams, two links, work 0", "19,279,842 = 96.4 %", "19,847,578 = 99.2 %"),
        ("10 M datagrams, one link, work 100", "9,985,323 = 99.9 %", "6,386,294 = 63.9 %"),
        ("20 M datagrams, two links, work 100", "19,730,003 = 98.7 %", "4,824,707 = 24.1 %"),
        ("100 M datagrams, two links, work 100", "93,640,607 = 93.6 %", "38,830,887 = 38.8 %"),
        ("10 M datagrams, one link, work 1000", "4,361,820 = 43.6 %", "2,522,667 = 25.2 %"),
        ("non-paged pool", "8,064 bytes, constant", "4,192 bytes, peaks of 133,656"),
    ];
    for (what, registered, traditional) in rows {
        table.row([Cell::from(what), registered.into(), traditional.into()]);
    }
    table
}

#[test]
fn the_percentages_are_those_of_the_counts() {
    for (work, registered_count, traditional_count) in [
        (0, 9_932_228.0, Some(9_952_510.0)),
        (100, 9_985_323.0, Some(6_386_294.0)),
        (1000, 4_361_820.0, Some(2_522_667.0)),
        (500, 7_174_653.0, None),
    ] {
        let near = |percent: Option<f64>, count: Option<f64>| match (percent, count) {
            (Some(percent), Some(count)) => (percent - count / 1e5).abs() < 0.006,
            (percent, count) => percent.is_none() && count.is_none(),
        };
        assert!(near(registered(work), Some(registered_count)), "{work}");
        assert!(near(traditional(work), traditional_count), "{work}");
    }
}

#[test]
fn iterations_took_what_the_rates_say() {
    // Datagrams/s that one link brought.
    let offered = 114_000.0;
    let ns = |work| registered(work).map(|percent| 1e9 / (offered * percent / 100.0)).expect("a row");
    let (low, high) = ((ns(2000) - ns(1000)) / 1000.0, (ns(1000) - ns(500)) / 500.0);
    assert!((f64::from(ITERATION_NS.0) - low).abs() < 0.5, "{low}");
    assert!((f64::from(ITERATION_NS.1) - high).abs() < 0.5, "{high}");
}
