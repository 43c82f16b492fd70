//! `ceiling`: the physical limit of this machine, found with servers that do nothing but receive and send.

pub mod answers;
pub mod cases;
pub mod child;
pub mod fixed;
pub mod plain;
pub mod rounds;
pub mod serve;

use crate::echo::client;
use crate::echo::plan::{Length, Plan};
use crate::echo::script::{Framing, Pattern, Script, Sizes};
use crate::measure::cores;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use answers::Answers;
use cases::{Case, Measured};
use ringway_ring::DriverChoice;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Rounds at most.
const ROUNDS_MAX: i64 = 99;

/// Connections at most: what a server with a thread a connection carries.
const CONNECTIONS_MAX: i64 = 10_000;

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Our engine on io_uring.
    Uring,
    /// Our engine on epoll.
    Epoll,
    /// A loop of epoll, recv and send.
    PlainEpoll,
    /// A thread a connection that receives and sends.
    PlainBlocking,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Uring, Kind::Epoll, Kind::PlainEpoll, Kind::PlainBlocking];

    /// The driver of the engine, if it is one of ours.
    #[must_use]
    pub fn driver(self) -> Option<DriverChoice> {
        match self {
            Kind::Uring => Some(DriverChoice::Uring),
            Kind::Epoll => Some(DriverChoice::Epoll),
            Kind::PlainEpoll | Kind::PlainBlocking => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Uring => "uring",
            Kind::Epoll => "epoll",
            Kind::PlainEpoll => "plain-epoll",
            Kind::PlainBlocking => "plain-blocking",
        })
    }
}

/// What a server of the lab's own does with what it receives.
#[derive(Clone, Debug)]
pub enum Service {
    /// It says everything again.
    Echo,
    /// It gives the same answer to every request.
    Answers(Arc<Answers>),
}

/// Flags of `ceiling`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CASES", default_values_t = Case::ALL)]
    cases: Vec<Case>,
    #[command(flatten)]
    flags: RoundFlags,
}

/// What `ceiling` does besides measuring.
#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run one of the servers, for clients of your own.
    Serve(serve::Arguments),
}

/// Flags of runs with rounds.
#[derive(clap::Args, Clone, Debug)]
pub struct RoundFlags {
    /// The servers to measure.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS", default_values_t = Kind::ALL)]
    pub kinds: Vec<Kind>,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values_t = [64, 1000],
          value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub connections: Vec<u32>,
    /// Rounds, each of which measures every server once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=ROUNDS_MAX))]
    pub rounds: u32,
    /// How long each is measured, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=600_000))]
    pub measure_ms: u64,
    /// How long each warms up before, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub warm_up_ms: u64,
}

/// Measures all kinds, or runs one.
///
/// # Errors
/// Refuses machines with one core, drivers that do not work here, and addresses that are taken.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    match arguments.command {
        Some(Command::Serve(arguments)) => serve::run(&arguments, progress),
        None => measure(&arguments.cases, &arguments.flags, progress),
    }
}

fn measure(cases: &[Case], flags: &RoundFlags, progress: &Progress) -> Result<Outcome, Refusal> {
    let mut outcome = Outcome::new("Ceilings: servers that do nothing but receive and send");
    flags.describe(&mut outcome);
    let both = two_cores()?;
    cores::pin(both[1])?;
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for case in cases {
        let measured = if *case == Case::Echo {
            let server = [&["ceiling", "serve"], case.server_flags()].concat();
            flags.measure_echo(&server, both[0], &mut outcome, progress)?
        } else {
            cases::measure_http(*case, flags, both, &mut outcome, progress)?
        };
        if case.is_large() { &mut large } else { &mut small }.extend(measured);
    }
    let small = cases::figure("ceilings", "What a small request costs servers that do nothing else", &small);
    let large = cases::figure("ceilings-large", "What 200 KB cost servers that do nothing else", &large);
    outcome.figures.extend(small.into_iter().chain(large));
    Ok(outcome)
}

/// A core for the server and one for the client.
///
/// # Errors
/// Refuses machines with one core.
pub fn two_cores() -> Result<[usize; 2], Refusal> {
    let both = cores::require(2, "the server and the client need a core each")?;
    Ok([both[0], both[1]])
}

impl RoundFlags {
    /// Writes the settings down.
    pub fn describe(&self, outcome: &mut Outcome) {
        outcome.setting("rounds", format!("{}, in rotated order, each with a fresh server", self.rounds));
        outcome.setting("measured", format!("{} ms after {} ms", self.measure_ms, self.warm_up_ms));
    }

    /// Measures TCP echo of 64 bytes with every kind and number of connections. `arguments` start a server, with a kind
    /// behind them.
    ///
    /// # Errors
    /// When a server or the clients cannot run.
    pub fn measure_echo(
        &self,
        arguments: &[&str],
        server_core: usize,
        outcome: &mut Outcome,
        progress: &Progress,
    ) -> Result<Vec<Measured>, Refusal> {
        let mut all = Vec::new();
        let contestants: Vec<(String, Kind)> =
            self.kinds.iter().map(|kind| (kind.to_string(), *kind)).collect();
        for connections in &self.connections {
            let plan = self.echo_plan(*connections);
            let what = format!("TCP echo of 64 bytes, {connections} connections");
            let contests = rounds::rotate(&contestants, self.rounds, progress, &what, &mut |kind| {
                let kind = kind.to_string();
                let all: Vec<&str> = arguments.iter().copied().chain([kind.as_str()]).collect();
                rounds::echo_round(&all, server_core, &plan, client::run)
            })?;
            all.push(cases::tell("echo", *connections, &what, contests, self, outcome));
        }
        Ok(all)
    }

    /// The kind that others are compared to: the plain loop, if it takes part.
    #[must_use]
    pub fn base(&self) -> Kind {
        if self.kinds.contains(&Kind::PlainEpoll) { Kind::PlainEpoll } else { self.kinds[0] }
    }

    fn echo_plan(&self, connections: u32) -> Plan {
        let shape = Script {
            key: 0,
            sizes: Sizes { low: 64, high: 64 },
            pattern: Pattern::Seeded,
            framing: Framing::Raw,
        };
        Plan {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            connections,
            ramp_per_s: 0,
            shape,
            window: 1,
            length: Length::Time {
                warm_up: Duration::from_millis(self.warm_up_ms),
                measured: Duration::from_millis(self.measure_ms),
            },
            pause_ms: (0, 0),
            disconnect_per_mille: 0,
            seed: 1,
            driver: DriverChoice::Auto,
            is_polled: false,
            patience: Duration::from_secs(10),
        }
    }
}
