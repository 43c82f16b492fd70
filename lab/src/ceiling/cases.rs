//! What ceilings are measured of: an echo, and HTTP exchanges with fixed answers.

use crate::ceiling::rounds::{self, Contest, Sample};
use crate::ceiling::{Kind, RoundFlags, child::ServerProcess};
use crate::http::{Load, Plan, load};
use crate::outcome::{Axis, Figure, Outcome, Series};
use crate::progress::Progress;
use crate::refusal::Refusal;
use std::fmt;
use std::time::Duration;

/// Requests that pipelining clients write together.
const PIPELINE: u32 = 16;

/// A measurement without an answer is repeated, each time four times as long, until it was longer than this.
const MEASURED_MAX: Duration = Duration::from_secs(10);

/// One kind of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// TCP: 64 bytes there and back.
    Echo,
    /// HTTP: answers of 100 bytes on connections that stay.
    KeepAlive,
    /// HTTP: the same, 16 requests written together.
    Pipelined,
    /// HTTP: a connection a request.
    Close,
    /// HTTP: answers of 200 KB by sendfile.
    Large,
    /// HTTP: answers of 200 KB from memory.
    LargeMemory,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 6] =
        [Case::Echo, Case::KeepAlive, Case::Pipelined, Case::Close, Case::Large, Case::LargeMemory];

    /// What a server is started with.
    #[must_use]
    pub fn server_flags(self) -> &'static [&'static str] {
        match self {
            Case::Echo => &["--echo"],
            Case::KeepAlive | Case::Pipelined => &["--body-bytes", "100"],
            Case::Close => &["--body-bytes", "100", "--close"],
            Case::Large => &["--body-bytes", "204800", "--transfer", "file"],
            Case::LargeMemory => &["--body-bytes", "204800", "--transfer", "memory"],
        }
    }

    /// Whether its answers are so long that the kernel's copying is most of the cost.
    #[must_use]
    pub fn is_large(self) -> bool {
        matches!(self, Case::Large | Case::LargeMemory)
    }

    fn words(self) -> &'static str {
        match self {
            Case::Echo => "TCP echo of 64 bytes",
            Case::KeepAlive => "HTTP, answers of 100 bytes",
            Case::Pipelined => "HTTP, answers of 100 bytes, 16 pipelined",
            Case::Close => "HTTP, answers of 100 bytes, a connection a request",
            Case::Large => "HTTP, answers of 200 KB by sendfile",
            Case::LargeMemory => "HTTP, answers of 200 KB from memory",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Case::Echo => "echo",
            Case::KeepAlive => "keep-alive",
            Case::Pipelined => "pipelined",
            Case::Close => "close",
            Case::Large => "large",
            Case::LargeMemory => "large-memory",
        })
    }
}

/// Measures one HTTP case with every kind and number of connections.
///
/// # Errors
/// When a server or the load cannot run.
pub fn measure_http(
    case: Case,
    flags: &RoundFlags,
    [server_core, client_core]: [usize; 2],
    outcome: &mut Outcome,
    progress: &Progress,
) -> Result<Vec<Measured>, Refusal> {
    let mut all = Vec::new();
    let contestants: Vec<(String, Kind)> = flags.kinds.iter().map(|kind| (kind.to_string(), *kind)).collect();
    for connections in &flags.connections {
        let what = format!("{}, {connections} connections", case.words());
        let contests = rounds::rotate(&contestants, flags.rounds, progress, &what, &mut |kind| {
            round(case, *kind, *connections, flags, [server_core, client_core])
        })?;
        all.push(tell(&case.to_string(), *connections, &what, contests, flags, outcome));
    }
    Ok(all)
}

/// A case with a number of connections, and what each server did.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was measured, in a few words.
    pub label: String,
    /// The servers' rounds.
    pub contests: Vec<Contest>,
}

/// Adds a table of contests and what a reader must know of them.
pub fn tell(
    case: &str,
    connections: u32,
    what: &str,
    contests: Vec<Contest>,
    flags: &RoundFlags,
    outcome: &mut Outcome,
) -> Measured {
    let name = format!("{case}-{connections}");
    outcome.tables.push(rounds::table(&name, what, &contests, &flags.base().to_string()));
    rounds::judge(outcome, what, &contests);
    Measured { label: format!("{case}, {connections} connections"), contests }
}

/// What a request costs each server, as bars; `None` when nothing was measured.
#[must_use]
pub fn figure(name: &str, title: &str, all: &[Measured]) -> Option<Figure> {
    let first = all.first()?;
    let cost = |measured: &Measured, place: usize| {
        Some(measured.contests.get(place)?.median(|sample| sample.server_us)).filter(|us| us.is_finite())
    };
    let series = first.contests.iter().enumerate().map(|(place, contest)| {
        Series::bars(contest.name.as_str(), all.iter().map(|measured| cost(measured, place)))
    });
    let groups = all.iter().map(|measured| measured.label.clone()).collect();
    let value = Axis::linear("server CPU", "µs/request");
    let figure = Figure::bars(name, title, value, groups, series.collect());
    Some(figure.subtitled("loopback, server and client on a core each, medians of rotated rounds"))
}

fn round(
    case: Case,
    kind: Kind,
    connections: u32,
    flags: &RoundFlags,
    [server_core, client_core]: [usize; 2],
) -> Result<Sample, Refusal> {
    let kind = kind.to_string();
    let mut server =
        ServerProcess::start(&[&["ceiling", "serve", &kind], case.server_flags()].concat(), server_core)?;
    let mut measured = Duration::from_millis(flags.measure_ms);
    loop {
        let plan = Plan {
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            pipeline: if case == Case::Pipelined { PIPELINE } else { 1 },
            requests_per_connection: (case == Case::Close).then_some(1),
            warm_up: Duration::from_millis(flags.warm_up_ms),
            duration: Some(measured),
            cores: vec![client_core],
            ..Plan::get(&format!("http://{}/", server.address()))?
        };
        // Rounds are told by their stage; a load's own progress would be a line a load.
        let (load, begin, end) = load::run_sampled(&plan, &Progress::silent(), || server.cpu())?;
        let server_cpu = end?.saturating_sub(begin?).as_secs_f64();
        if load.tally.answers > 0 {
            return Ok(sample(load, server_cpu));
        }
        let failure = load.failure();
        if failure.is_some() || measured > MEASURED_MAX {
            let why = failure.unwrap_or_else(|| "no answer came in time".to_owned());
            return Err(Refusal::failed(format!("nothing was measured of {kind}: {why}")));
        }
        // On a machine that is busy with other things a short time may pass without an answer.
        measured *= 4;
    }
}

fn sample(load: Load, server_cpu: f64) -> Sample {
    Sample {
        per_s: load.rate(),
        server_us: server_cpu * 1e6 / load.tally.answers as f64,
        server_busy: server_cpu / load.elapsed.as_secs_f64(),
        client_busy: load.cpu.as_secs_f64() / load.elapsed.as_secs_f64(),
        failure: load.failure(),
        latency: load.tally.latency,
    }
}
