//! `jitter`: how long the machine keeps a spinning thread from running, core by core.

use std::time::Duration;

use crate::measure::{Jitter, cores};
use crate::outcome::{Column, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;

/// Flags of `jitter`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each core is watched, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    seconds: u64,
    /// Watch this core only.
    #[arg(long, value_name = "CORE")]
    core: Option<usize>,
}

/// Watches one core after the other.
///
/// # Errors
/// Refuses a core that does not exist or is not allowed.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let watched = arguments.core.map_or_else(cores::allowed, |core| vec![core]);
    let mut outcome = Outcome::new("The machine's own jitter");
    outcome.setting("time a core", format!("{} s", arguments.seconds));
    let gap = |name: &str| Column::number(name, "µs", 1);
    let columns = vec![
        Column::number("core", "", 0),
        gap("p50 gap"),
        gap("p99 gap"),
        gap("p99.9 gap"),
        gap("longest gap"),
        Column::number("interruptions", "1/s", 0),
        Column::number("taken", "%", 3),
    ];
    let title = "How long a spinning thread is kept from running (percentiles of time, not of gaps)";
    let mut table = Table::new("jitter", title, columns);
    for core in watched {
        progress.stage(&format!("spinning on core {core} for {} s", arguments.seconds));
        let jitter = on_core(core, Duration::from_secs(arguments.seconds))?;
        let gap = |percent: f64| (jitter.percentile(percent) as f64 / 1000.0).into();
        table.row([
            (core as f64).into(),
            gap(50.0),
            gap(99.0),
            gap(99.9),
            (jitter.longest() as f64 / 1000.0).into(),
            jitter.rate().into(),
            jitter.taken_percent().into(),
        ]);
    }
    outcome.tables.push(table);
    outcome.note(
        "interruptions are gaps of 10 µs and longer; latencies below such gaps say nothing of a server",
    );
    Ok(outcome)
}

/// Measures on a thread of its own, so that the caller stays where it was.
fn on_core(core: usize, time: Duration) -> Result<Jitter, Refusal> {
    let spinning = std::thread::spawn(move || cores::pin(core).map(|()| Jitter::measure(time)));
    spinning.join().map_err(|_panic| Refusal::failed("the spinning thread died"))?
}
