//! `governor`: how well the bandwidth governor keeps to M, at the receivers, for few large and many small transfers.

mod receive;
mod source;
mod windows;

use std::time::Duration;

use crate::measure::{clock, cores};
use crate::outcome::{Axis, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_engine::{Bandwidth, EstimateBy, Policy, Scope};
use source::Source;
use windows::Windows;

/// What is not looked at: the time to settle, in seconds.
const SETTLE_S: f64 = 2.0;

/// Bytes in a megabit.
const MEGABIT: u64 = 125_000;

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mix {
    /// One client that fetches a large file over and over.
    Large,
    /// One client that fetches files of 200 KB.
    Files,
    /// 20 clients that fetch large files.
    Several,
    /// 200 clients with answers of 1 KB.
    Small,
    /// 200 clients with answers of 10 KB.
    Medium,
}

impl Mix {
    const ALL: [Self; 5] = [Self::Large, Self::Files, Self::Several, Self::Small, Self::Medium];

    fn name(self) -> &'static str {
        match self {
            Self::Large => "1 large transfer",
            Self::Files => "1 client, 200 KB",
            Self::Several => "20 large transfers",
            Self::Small => "200 clients, 1 KB",
            Self::Medium => "200 clients, 10 KB",
        }
    }

    /// How many clients, and how long an answer is.
    fn shape(self) -> (usize, usize) {
        match self {
            Self::Large => (1, source::LARGE_BYTES),
            Self::Files => (1, 200_000),
            Self::Several => (20, source::LARGE_BYTES),
            Self::Small => (200, 1_000),
            Self::Medium => (200, 10_000),
        }
    }
}

/// Which estimate of the current use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The sampled histogram.
    Histogram,
    /// The running average.
    Average,
}

/// Which table of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Verdicts {
    /// The full table.
    Table,
    /// The simplified one.
    Simple,
}

/// Flags of `governor`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure this M, in megabits a second; may be given several times.
    #[arg(long, default_values_t = [1, 10, 100, 1000], value_parser = clap::value_parser!(u64).range(1..=100_000), value_name = "MBIT_S")]
    megabits: Vec<u64>,
    /// Measure this mix of clients; may be given several times. Without it, all.
    #[arg(long, value_enum, value_name = "MIX")]
    mix: Vec<Mix>,
    /// How long each of them runs, in seconds; the first two are to settle.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(4..=3600), value_name = "SECONDS")]
    seconds: u64,
    /// The server's worker threads; 0: one a core.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=256), value_name = "COUNT")]
    workers: u64,
    /// How the current use is estimated.
    #[arg(long, value_enum, default_value_t = By::Histogram, value_name = "ESTIMATE")]
    estimate: By,
    /// Which table of verdicts.
    #[arg(long, value_enum, default_value_t = Verdicts::Table, value_name = "POLICY")]
    policy: Verdicts,
    /// Measure with this as the largest small write, in bytes; may be given several times, to find where it is best.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=1_048_576), value_name = "BYTES")]
    small: Vec<u64>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Case {
    megabits: u64,
    mix: Mix,
    bandwidth: Bandwidth,
}

/// What one measurement found.
struct Found {
    case: Case,
    windows: Windows,
    cpu: Duration,
    bytes: u64,
    blocked: u64,
    rejected: u64,
}

/// Measures every M with every mix.
///
/// # Errors
/// Refuses what the machine cannot do: no memory for the file, no server.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let mixes = if arguments.mix.is_empty() { Mix::ALL.to_vec() } else { arguments.mix.clone() };
    let workers = match usize::try_from(arguments.workers).unwrap_or(0) {
        0 => cores::allowed().len(),
        count => count,
    };
    let source = Source::start(workers)?;
    let mut outcome = Outcome::new("The bandwidth governor");
    outcome.setting("workers", workers);
    outcome.setting("time each", format!("{} s, of which {SETTLE_S} s to settle", arguments.seconds));
    outcome.setting("estimate", format!("{:?}", arguments.estimate).to_lowercase());
    outcome.setting("policy", format!("{:?}", arguments.policy).to_lowercase());
    outcome.setting("server's driver", source.driver());
    let mut found = Vec::new();
    for case in cases(&arguments, &mixes) {
        progress.stage(&format!("{} Mbit/s, {}", case.megabits, case.mix.name()));
        found.push(measure(&source, case, arguments.seconds)?);
    }
    source.stop()?;
    outcome.tables.push(table(&found));
    for mix in mixes {
        outcome.figures.push(figure(mix, &found));
    }
    outcome.note(
        "server and receivers share this machine's cores; the rate is what receivers have read, in windows of one second \
         that begin every tenth of a second",
    );
    Ok(outcome)
}

fn cases(arguments: &Arguments, mixes: &[Mix]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &megabits in &arguments.megabits {
        for &mix in mixes {
            let mut bandwidth = Bandwidth::new(megabits * MEGABIT);
            bandwidth.policy = match arguments.policy {
                Verdicts::Table => Policy::Table,
                Verdicts::Simple => Policy::Simple,
            };
            bandwidth.estimate = match arguments.estimate {
                By::Histogram => EstimateBy::Histogram,
                By::Average => EstimateBy::RunningAverage,
            };
            let small = if arguments.small.is_empty() {
                vec![bandwidth.small_bytes_max]
            } else {
                arguments.small.clone()
            };
            let with = |small_bytes_max| Case {
                megabits,
                mix,
                bandwidth: Bandwidth { small_bytes_max, ..bandwidth },
            };
            cases.extend(small.into_iter().map(with));
        }
    }
    cases
}

fn measure(source: &Source, case: Case, seconds: u64) -> Result<Found, Refusal> {
    let (clients, answer_bytes) = case.mix.shape();
    let governor = source.govern(case.bandwidth);
    let cpu = clock::process_cpu();
    let readings =
        receive::run(source.address(), clients, answer_bytes, Duration::from_secs(seconds), || {
            // Who waits gets the rest at once, so that all come to an end.
            governor.status().into_iter().find(|status| status.scope == Scope::Server)
        });
    let cpu = clock::process_cpu().saturating_sub(cpu);
    governor.set(Scope::Server, None);
    let (readings, status) = readings?;
    let status = status.ok_or_else(|| Refusal::failed("the governor's figure is gone"))?;
    let bytes = readings.last().map_or(0, |reading| reading.1);
    let windows = Windows::of(&readings, case.bandwidth.bytes_per_s);
    Ok(Found { case, windows, cpu, bytes, blocked: status.blocked, rejected: status.rejected })
}

fn table(found: &[Found]) -> Table {
    let columns = vec![
        Column::number("M", "Mbit/s", 0),
        Column::text("clients"),
        Column::number("small write", "B", 0),
        Column::number("rate", "% of M", 2),
        Column::number("lowest second", "% of M", 2),
        Column::number("highest second", "% of M", 2),
        Column::number("first second", "% of M", 1),
        Column::number("waits", "", 0),
        Column::number("rejected", "", 0),
        Column::number("CPU of both sides", "µs/KiB", 2),
    ];
    let title = "Rates at the receivers, after two seconds";
    let mut table = Table::new("governor", title, columns);
    for one in found {
        let summary = one.windows.after(SETTLE_S);
        let kib = (one.bytes as f64 / 1024.0).max(1.0);
        table.row([
            (one.case.megabits as f64).into(),
            one.case.mix.name().into(),
            (one.case.bandwidth.small_bytes_max as f64).into(),
            (summary.mean * 100.0).into(),
            (summary.least * 100.0).into(),
            (summary.most * 100.0).into(),
            (one.windows.first() * 100.0).into(),
            (one.blocked as f64).into(),
            (one.rejected as f64).into(),
            (one.cpu.as_secs_f64() * 1e6 / kib).into(),
        ]);
    }
    table
}

fn figure(mix: Mix, found: &[Found]) -> Figure {
    let of = found.iter().filter(|one| one.case.mix == mix);
    let series = of.map(|one| {
        let points = one.windows.points().map(|(at_s, share)| (at_s, share * 100.0)).collect();
        Series::new(format!("{} Mbit/s", one.case.megabits), points)
    });
    let x = Axis::linear("end of a window of one second", "s");
    let y = Axis::linear("rate at the receivers", "% of M");
    let name = format!("governor-{}", format!("{mix:?}").to_lowercase());
    let title = format!("The governor: {}", mix.name());
    Figure::lines(name, title, x, y, series.collect())
        .subtitled("The bar: between 95 and 105 % after two seconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_mix_is_measured_at_its_receivers() {
        let line = "governor --megabits 40 --mix files --mix small --seconds 4 --workers 1";
        let line = Line::try_parse_from(line.split_whitespace()).expect("flags");
        let outcome = run(line.arguments, &Progress::silent()).expect("possible");
        assert_eq!((outcome.tables[0].rows().len(), outcome.figures.len()), (2, 2));
        for row in outcome.tables[0].rows() {
            let Cell::Number(rate) = row[3] else { panic!("a number") };
            // The bar itself is for a machine with nothing else to do.
            assert!((60.0..120.0).contains(&rate), "{rate} % of M");
            assert!(matches!(row[7], Cell::Number(waits) if waits > 0.0), "somebody waited");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["governor --megabits 0", "governor --seconds 1", "governor --mix medium-rare"] {
            assert!(Line::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
