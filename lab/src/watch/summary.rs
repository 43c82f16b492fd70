//! What a watch found, summed up: a table of means and extremes, and a figure for each kind of resource.

use std::time::Duration;

use super::sample::{METRICS, Sample};
use crate::measure::process::Cpu;
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};

/// The sums of a whole watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// From the first reading to the last.
    pub(super) lasted: Duration,
    /// CPU time of the tree.
    pub(super) cpu: Cpu,
    /// Its highest resident memory, as the kernel kept it for each process.
    pub(super) high_water_kib: u64,
    /// What the watching itself used.
    pub(super) own_cpu: Duration,
}

/// Adds tables and figures to the outcome.
pub(super) fn add(outcome: &mut Outcome, samples: &[Sample], sums: &Sums) {
    outcome.tables.push(totals(sums));
    if !samples.is_empty() {
        outcome.tables.push(extremes(samples));
    }
    if samples.len() > 1 {
        outcome.figures.extend(figures(samples, &outcome.title));
    }
}

fn totals(sums: &Sums) -> Table {
    let seconds = sums.lasted.as_secs_f64();
    let columns =
        vec![Column::text("what"), Column::number("value", "", 0), Column::number("share of a core", "%", 2)];
    let mut table = Table::new("totals", "The whole watch, ended children included", columns);
    let mut row = |what: &str, value: f64, unit: &str, decimals: usize, share: Cell| {
        table.row([what.into(), Cell::Quantity { value, unit: unit.to_owned(), decimals }, share]);
    };
    let share = |ns: f64| if seconds > 0.0 { (ns / seconds / 1e7).into() } else { Cell::Missing };
    row("lasted", seconds, "s", 3, Cell::Missing);
    for (what, ns) in [
        ("CPU", sums.cpu.total_ns()),
        ("CPU user", sums.cpu.user_ns),
        ("CPU system", sums.cpu.system_ns),
        ("CPU of the watching", u64::try_from(sums.own_cpu.as_nanos()).unwrap_or(u64::MAX)),
    ] {
        row(what, ns as f64 / 1e6, "ms", 3, share(ns as f64));
    }
    row("memory high-water", sums.high_water_kib as f64 / 1024.0, "MiB", 2, Cell::Missing);
    table
}

fn extremes(samples: &[Sample]) -> Table {
    let columns = vec![
        Column::text("metric"),
        Column::text("unit"),
        Column::number("mean", "", 2),
        Column::number("least", "", 2),
        Column::number("most", "", 2),
        Column::number("last", "", 2),
    ];
    let title = format!("Over {} samples (means weighted by their length)", samples.len());
    let mut table = Table::new("samples", title, columns);
    for metric in METRICS.iter().filter(|metric| metric.key != "time_s") {
        let known: Vec<(f64, f64)> =
            samples.iter().filter_map(|s| Some(((metric.value)(s)?, s.interval.as_secs_f64()))).collect();
        let Some((last, _)) = known.last() else { continue };
        let weight: f64 = known.iter().map(|(_, seconds)| seconds).sum();
        let mean = known.iter().map(|(value, seconds)| value * seconds).sum::<f64>() / weight;
        let values = || known.iter().map(|(value, _)| *value);
        let (least, most) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let metric_name = [metric.heading.into(), metric.unit.into()];
        let numbers = [mean, least, most, *last].map(Cell::from);
        table.row_of(metric_name.into_iter().chain(numbers).collect());
    }
    table
}

fn figures(samples: &[Sample], title: &str) -> Vec<Figure> {
    let series = |key: &str, name: &str| {
        let metric = METRICS.iter().find(|metric| metric.key == key);
        let points = metric.into_iter().flat_map(|metric| {
            samples.iter().filter_map(move |s| Some((s.at.as_secs_f64(), (metric.value)(s)?)))
        });
        Series::new(name, points.collect())
    };
    let time = || Axis::linear("time", "s");
    let figure = |name: &str, what: &str, y: Axis, series: Vec<Series>| {
        let series = series.into_iter().filter(|series| !series.points.is_empty()).collect();
        Figure::lines(name, what, time(), y, series).subtitled(title)
    };
    vec![
        figure(
            "watch-cpu",
            "CPU time",
            Axis::linear("share of one core", "%"),
            vec![
                series("user_percent", "user"),
                series("system_percent", "system"),
                series("waited_percent", "waited for a core"),
            ],
        ),
        figure(
            "watch-memory",
            "Memory",
            Axis::linear("memory", "MiB"),
            vec![series("rss_mib", "resident"), series("pss_mib", "proportional")],
        ),
        figure(
            "watch-network",
            "Network, all interfaces",
            Axis::linear("traffic", "MB/s"),
            vec![series("received_bytes_per_s", "received"), series("sent_bytes_per_s", "sent")],
        ),
        figure(
            "watch-switches",
            "Context switches",
            Axis::linear("switches", "1/s"),
            vec![series("switches_per_s", "switches")],
        ),
    ]
}
