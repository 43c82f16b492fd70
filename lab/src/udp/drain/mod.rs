//! `udp drain`: sockets are filled first and emptied then, so that nothing but receiving is measured; and what the threads of
//! a port gain.

mod handler;
mod ports;
mod receive;

use clap::ValueEnum;
use handler::Handler;
use std::collections::HashSet;
use std::path::PathBuf;

use super::bars::{self, Bar, Limit};
use super::settings::{THREADS_MAX, within};
use super::{kernel, stamp};
use crate::measure::{Spread, cores, median};
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use ports::Ports;
use receive::{Method, Receive};

/// Longest datagram that is measured: beyond, copying is all that there is to see.
const SIZE_MAX: usize = 16_384;
/// Rounds at most.
const ROUNDS_MAX: usize = 99;

/// Flags of `udp drain`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Arguments {
    /// What is measured
    #[arg(long, value_enum, value_name = "PARTS", value_delimiter = ',', default_values_t = [Part::Receive, Part::Ports])]
    what: Vec<Part>,
    /// Sizes of datagrams in bytes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1024, 64])]
    size: Vec<usize>,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Receive on this core [default: the first that is allowed]
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,
    /// Threads of the ports that are compared; the first is the base
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 2])]
    port_threads: Vec<usize>,
    /// What a port does with every datagram: compute:TIME or block:TIME
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [Handler::COMPUTES, Handler::BLOCKS])]
    handler: Vec<Handler>,
    /// A plain C loop to compare with: called as `PROGRAM msmsg SIZE 0`, prints a figure before ` ns/dgram`
    #[arg(long, value_name = "PROGRAM")]
    yardstick: Option<PathBuf>,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The cost of receiving
    Receive,
    /// The gain of a port's threads
    Ports,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Receive => "receive",
            Part::Ports => "ports",
        })
    }
}

/// Drains.
pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let arguments = &without_twins(arguments);
    check(arguments)?;
    let mut outcome = Outcome::new("UDP: draining sockets that were filled before");
    outcome.setting("load average before", kernel::load_average());
    outcome.setting("rounds", format!("{}, rotated; medians", arguments.rounds));
    outcome.setting("receive buffer", format!("{} bytes asked for", kernel::receive_buffer_bytes_max()));
    let mut bars = Vec::new();
    // Ports first: they run on all cores, and the thread is kept on one for the rest.
    if arguments.what.contains(&Part::Ports) {
        ports(arguments, progress, &mut outcome, &mut bars)?;
    }
    if arguments.what.contains(&Part::Receive) {
        receive(arguments, progress, &mut outcome, &mut bars)?;
    }
    outcome.tables.push(bars::table(&bars));
    Ok(outcome)
}

/// The same with every value once.
fn without_twins(arguments: &Arguments) -> Arguments {
    let mut arguments = arguments.clone();
    let (mut sizes, mut threads) = (HashSet::new(), HashSet::new());
    arguments.size.retain(|size| sizes.insert(*size));
    arguments.port_threads.retain(|count| threads.insert(*count));
    arguments.handler.dedup();
    arguments
}

fn check(arguments: &Arguments) -> Result<(), Refusal> {
    within("--rounds", arguments.rounds, 1..=ROUNDS_MAX)?;
    for size in &arguments.size {
        within("--size", *size, stamp::STAMP_BYTES..=SIZE_MAX)?;
    }
    for threads in &arguments.port_threads {
        within("--port-threads", *threads, 1..=THREADS_MAX)?;
    }
    let threads = arguments.port_threads.iter().copied().max().unwrap_or(1);
    let computes = arguments.handler.iter().any(|handler| handler.computes());
    if arguments.what.contains(&Part::Ports) && computes {
        cores::require(threads, "threads that compute gain only by a core each")?;
    }
    Ok(())
}

/// One method at one size.
struct Measured {
    size: usize,
    method: Method,
    ns: Vec<f64>,
}

fn receive(
    arguments: &Arguments,
    progress: &Progress,
    outcome: &mut Outcome,
    bars: &mut Vec<Bar>,
) -> Result<(), Refusal> {
    let core = arguments.cpu.unwrap_or(cores::require(1, "a receiver needs a core")?[0]);
    cores::pin(core)?;
    outcome.setting("receiving core", core.to_string());
    let mut measured = Vec::new();
    for size in &arguments.size {
        for method in Method::ALL.into_iter().filter(|method| method.fits(*size)) {
            if method != Method::Yardstick || arguments.yardstick.is_some() {
                measured.push((Receive::new(method, *size, arguments.yardstick.as_deref())?, Vec::new()));
            }
        }
    }
    let count = measured.len();
    for round in 0..arguments.rounds {
        progress.stage(&format!("draining, round {} of {}", round + 1, arguments.rounds));
        for step in 0..count {
            let (receive, ns) = &mut measured[(step + round) % count];
            ns.push(receive.round()?);
        }
    }
    let measured: Vec<Measured> = measured
        .into_iter()
        .map(|(receive, ns)| Measured { size: receive.size, method: receive.method, ns })
        .collect();
    outcome.tables.push(receive_table(&measured));
    outcome.figures.push(receive_figure(&measured, &arguments.size));
    bars.extend(arguments.size.iter().map(|size| receive_bar(&measured, *size)));
    if arguments.yardstick.is_none() {
        outcome.note("no plain C loop was given to compare with (--yardstick)");
    }
    outcome.note("CPU time of the receiving thread alone; filling the sockets is not in it");
    Ok(())
}

fn find(measured: &[Measured], size: usize, method: Method) -> Option<&Measured> {
    measured.iter().find(|one| one.size == size && one.method == method)
}

fn receive_table(measured: &[Measured]) -> Table {
    let columns = vec![
        Column::number("datagram", "bytes", 0),
        Column::text("receiver"),
        Column::number("CPU per datagram", "ns", 0),
        Column::ratio("of a plain receive"),
    ];
    let mut table = Table::new("drain", "What receiving costs when datagrams wait", columns);
    for one in measured {
        let base = find(measured, one.size, one.method.base());
        let ratio = base.and_then(|base| Spread::of_ratios(&one.ns, &base.ns));
        table.row([
            (one.size as u64).into(),
            one.method.name().into(),
            median(&one.ns).into(),
            ratio.map_or(Cell::Missing, Spread::as_ratio),
        ]);
    }
    table
}

fn receive_figure(measured: &[Measured], sizes: &[usize]) -> Figure {
    let methods = Method::ALL.into_iter().filter(|method| measured.iter().any(|one| one.method == *method));
    let series = methods.map(|method| {
        let value = |size: &usize| find(measured, *size, method).and_then(|one| median(&one.ns));
        Series::bars(method.name(), sizes.iter().map(value).collect::<Vec<_>>())
    });
    let groups = sizes.iter().map(|size| format!("{size} bytes")).collect();
    let axis = Axis::linear("CPU time", "ns/datagram");
    Figure::bars("udp-drain", "What receiving a datagram costs", axis, groups, series.collect())
        .subtitled("sockets filled before, one core, nothing but receiving is measured")
}

fn receive_bar(measured: &[Measured], size: usize) -> Bar {
    let ring = find(measured, size, Method::Ring);
    let yardstick = find(measured, size, Method::Yardstick);
    let ratio = ring.zip(yardstick).and_then(|(ring, yardstick)| Spread::of_ratios(&ring.ns, &yardstick.ns));
    let what = format!("draining {size} bytes: ring, CPU per datagram of a plain C loop");
    Bar { what, limit: Limit::AtMost(1.05), unit: "×", measured: ratio }
}

fn ports(
    arguments: &Arguments,
    progress: &Progress,
    outcome: &mut Outcome,
    bars: &mut Vec<Bar>,
) -> Result<(), Refusal> {
    let size = arguments.size.iter().copied().min().unwrap_or(64);
    let mut cases: Vec<(Ports, Vec<f64>)> = Vec::new();
    for handler in &arguments.handler {
        for threads in &arguments.port_threads {
            cases.push((Ports::new(*handler, *threads, size), Vec::new()));
        }
    }
    let count = cases.len();
    let mut disorder = None;
    for round in 0..arguments.rounds {
        progress.stage(&format!("ports, round {} of {}", round + 1, arguments.rounds));
        for step in 0..count {
            let (case, rates) = &mut cases[(step + round) % count];
            let handled = case.round()?;
            rates.push(handled.rate);
            disorder = disorder.or(handled.disorder);
        }
    }
    outcome.setting("ports", Ports::set_up(size));
    outcome.tables.push(ports_table(&cases));
    bars.extend(port_bars(&cases));
    match disorder {
        Some(sentence) => outcome.fail(sentence),
        None => outcome.note(
            "every ring's datagrams were handled in the order of their sequence numbers, and never by two threads at once",
        ),
    }
    Ok(())
}

fn ports_table(cases: &[(Ports, Vec<f64>)]) -> Table {
    let columns = vec![
        Column::text("handler"),
        Column::number("threads", "", 0),
        Column::number("rate", "datagrams/s", 0),
        Column::ratio("of the first"),
    ];
    let mut table = Table::new("ports", "What the threads of a port gain", columns);
    for (case, rates) in cases {
        let base = base_of(cases, case);
        let ratio = base.and_then(|base| Spread::of_ratios(rates, base));
        table.row([
            case.handler.to_string().into(),
            (case.threads as u64).into(),
            median(rates).into(),
            ratio.map_or(Cell::Missing, Spread::as_ratio),
        ]);
    }
    table
}

/// The rates of the first case with the same handler.
fn base_of<'a>(cases: &'a [(Ports, Vec<f64>)], case: &Ports) -> Option<&'a Vec<f64>> {
    cases.iter().find(|(other, _)| other.handler == case.handler).map(|(_, rates)| rates)
}

/// The bars are for two threads against one, and for the two handlers that they name.
fn port_bars(cases: &[(Ports, Vec<f64>)]) -> Vec<Bar> {
    let rates = |handler, threads| {
        let found = cases.iter().find(|(case, _)| case.handler == handler && case.threads == threads);
        found.map(|(_, rates)| rates)
    };
    let bar = |handler: Handler, least| {
        let measured =
            rates(handler, 2).zip(rates(handler, 1)).and_then(|(two, one)| Spread::of_ratios(two, one));
        let what = format!("port, handler {handler}: rate of two threads, of one thread's");
        Bar { what, limit: Limit::AtLeast(least), unit: "×", measured }
    };
    vec![bar(Handler::COMPUTES, 1.7), bar(Handler::BLOCKS, 1.9)]
}
