//! `echo load`: stress for an echo server, and what it did wrong.

use crate::echo::client;
use crate::echo::pingpong::{latency_axis, latency_tail};
use crate::echo::plan::{CONNECTIONS_MAX, FAILURES_KEPT, Length, Moment, Plan, Report, WINDOW_MAX};
use crate::echo::script::{Framing, Pattern, Script, Sizes};
use crate::measure::cores;
use crate::outcome::{Axis, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_ring::DriverChoice;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Longest pause, in milliseconds.
const PAUSE_MS_MAX: u32 = 3_600_000;

/// A client that is busier than this was the bottleneck.
const SATURATED: f64 = 0.95;

/// Flags of `echo load`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Where the server listens.
    #[arg(value_name = "ADDRESS")]
    pub address: SocketAddr,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    pub connections: u32,
    /// Connections opened a second; 0 is as fast as they are accepted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ramp_per_s: u32,
    /// Payload of a message in bytes, SIZE or SMALLEST-LARGEST.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub message_bytes: Sizes,
    /// What payloads look like.
    #[arg(long, value_enum, default_value = "seeded")]
    pub pattern: Pattern,
    /// Whether a length of four bytes, big-endian, goes in front of every message.
    #[arg(long, value_enum, default_value = "raw")]
    pub framing: Framing,
    /// Messages that a connection has under way.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(WINDOW_MAX)))]
    pub window: u32,
    /// End when every connection has had so many answers, instead of after a time.
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "warm_up_ms"],
          value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// How long is measured once all connections are open.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How long is not measured before that, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub warm_up_ms: u64,
    /// Pause of a connection after the answers to a window of messages, in milliseconds: TIME or SHORTEST-LONGEST.
    #[arg(long, value_name = "MS", default_value = "0")]
    pub pause_ms: Pause,
    /// After how many of 1000 messages a connection ends and comes again: by a close, a half-close or a reset.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub disconnect_per_mille: u16,
    /// What everything random follows from; one is made up and said if there is none.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// The clients' driver.
    #[arg(long, value_enum, default_value = "auto")]
    pub driver: Driver,
    /// How long a connect or an answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub patience_seconds: u64,
    /// Run the clients on this core only.
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
}

/// A driver as a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

/// A pause in milliseconds, shortest and longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause(pub u32, pub u32);

/// Stresses a server.
///
/// # Errors
/// When the clients cannot run here. What the server does wrong fails the outcome.
pub fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    if let Some(core) = arguments.core {
        cores::pin(core)?;
    }
    let plan = plan(arguments);
    let what = format!("echo on {}", plan.address);
    progress.stage(&what);
    let connections = u64::from(plan.connections);
    let report = client::run(&plan, &mut |moment| {
        if let Moment::Underway(open, answers) = moment {
            let doing = format!("{what}: {open} connections, {answers} answers");
            progress.step(&doing, u64::from(open), connections);
        }
    })?;
    Ok(outcome(arguments, &plan, &report))
}

fn plan(arguments: &Arguments) -> Plan {
    let shape = Script {
        key: 0,
        sizes: arguments.message_bytes,
        pattern: arguments.pattern,
        framing: arguments.framing,
    };
    let length = arguments.messages.map_or(
        Length::Time {
            warm_up: Duration::from_millis(arguments.warm_up_ms),
            measured: Duration::from_secs(arguments.seconds),
        },
        Length::Messages,
    );
    Plan {
        address: arguments.address,
        connections: arguments.connections,
        ramp_per_s: arguments.ramp_per_s,
        shape,
        window: arguments.window,
        length,
        pause_ms: (arguments.pause_ms.0, arguments.pause_ms.1),
        disconnect_per_mille: arguments.disconnect_per_mille,
        seed: arguments.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32),
        driver: match arguments.driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::Uring => DriverChoice::Uring,
            Driver::Epoll => DriverChoice::Epoll,
        },
        is_polled: false,
        patience: Duration::from_secs(arguments.patience_seconds),
    }
}

fn outcome(arguments: &Arguments, plan: &Plan, report: &Report) -> Outcome {
    let mut outcome = Outcome::new(format!("Echo clients on {}", plan.address));
    describe(&mut outcome, arguments, plan, report);
    let seconds = report.elapsed.as_secs_f64();
    let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { f64::NAN };
    let columns = vec![
        Column::number("answers", "", 0),
        Column::number("time", "s", 2),
        Column::number("rate", "req/s", 0),
        Column::number("received", "MB/s", 1),
        Column::number("client CPU", "µs/req", 3),
        Column::number("opened", "", 0),
        Column::number("closed", "", 0),
        Column::number("half-closed", "", 0),
        Column::number("reset", "", 0),
        Column::number("failures", "", 0),
    ];
    let mut table = Table::new("load", "What the clients saw", columns);
    let [closed, finished, reset] = report.ended;
    table.row([
        report.messages.into(),
        seconds.into(),
        rate(report.messages).into(),
        (rate(report.bytes) / 1e6).into(),
        (report.client_cpu.as_secs_f64() * 1e6 / report.messages as f64).into(),
        report.opened.into(),
        closed.into(),
        finished.into(),
        reset.into(),
        report.failed.into(),
    ]);
    outcome.tables.push(table);
    if report.messages > 0 {
        outcome.tables.push(latencies(report));
        let y = Axis::log("time there and back", "µs");
        let series = vec![Series::new("clients", latency_tail(&report.latency))];
        outcome.figures.push(Figure::lines("echo-latency", "Latency of an echo", latency_axis(), y, series));
    }
    tell_failures(&mut outcome, report);
    let busy = report.client_cpu.as_secs_f64() / seconds;
    if busy > SATURATED {
        outcome.note(
            "the client was the bottleneck: the rate is a lower bound, and latencies include its own queue",
        );
    }
    outcome
}

fn describe(outcome: &mut Outcome, arguments: &Arguments, plan: &Plan, report: &Report) {
    let framing = match plan.shape.framing {
        Framing::Raw => "raw",
        Framing::Length => "behind a length of 4 bytes",
    };
    outcome.setting("connections", plan.connections);
    let ramp = if plan.ramp_per_s == 0 { "at once".to_owned() } else { format!("{}/s", plan.ramp_per_s) };
    outcome.setting("ramp", ramp);
    outcome.setting("messages", format!("{} bytes, {framing}, {:?}", plan.shape.sizes, plan.shape.pattern));
    outcome.setting("window", plan.window);
    outcome.setting("pause", format!("{} ms", arguments.pause_ms));
    outcome.setting("disconnects", format!("{} of 1000 messages", plan.disconnect_per_mille));
    outcome.setting("seed", plan.seed);
    outcome.setting("patience", format!("{} s", plan.patience.as_secs()));
    outcome.setting("clients' driver", report.driver);
}

fn latencies(report: &Report) -> Table {
    let us = |name: &str| Column::number(name, "µs", 1);
    let columns = vec![us("mean"), us("p50"), us("p90"), us("p99"), us("p99.9"), us("longest")];
    let mut table = Table::new("latency", "Time from sending a message to its whole answer", columns);
    let percentile = |percent: f64| (report.latency.percentile(percent) as f64 / 1000.0).into();
    table.row([
        (report.latency.mean() / 1000.0).into(),
        percentile(50.0),
        percentile(90.0),
        percentile(99.0),
        percentile(99.9),
        (report.latency.max() as f64 / 1000.0).into(),
    ]);
    table
}

fn tell_failures(outcome: &mut Outcome, report: &Report) {
    let Some(first) = report.failures.first() else { return };
    let columns = vec![Column::text("what"), Column::text("where and how")];
    let title = if report.failed > report.failures.len() as u64 {
        format!("The first {FAILURES_KEPT} of {} failures", report.failed)
    } else {
        "Failures".to_owned()
    };
    let mut table = Table::new("failures", title, columns);
    for failure in &report.failures {
        table.row([failure.what.name().into(), failure.to_string().into()]);
    }
    outcome.tables.push(table);
    outcome.fail(format!("{} failures; the first: {first}", report.failed));
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Pause, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|ms| *ms <= PAUSE_MS_MAX);
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => Ok(Pause(low, high)),
            _ => Err(format!("a pause takes 0 to {PAUSE_MS_MAX} ms, as TIME or SHORTEST-LONGEST")),
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

#[test]
fn pauses_are_read_or_refused() {
    assert_eq!("0".parse(), Ok(Pause(0, 0)));
    assert_eq!("5-20".parse(), Ok(Pause(5, 20)));
    for text in ["", "-", "9-3", "3600001", "a"] {
        assert!(text.parse::<Pause>().is_err(), "{text:?}");
    }
}
