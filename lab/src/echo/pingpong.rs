//! `echo pingpong`: how long one message takes there and back, in every wait mode, beside the machine's own jitter.

use crate::ceiling::rounds::{self, Contest, RunClients, Sample};
use crate::ceiling::two_cores;
use crate::echo::client;
use crate::echo::datagrams::{self, DATAGRAM_BYTES_MAX};
use crate::echo::plan::{Length, Plan};
use crate::echo::script::{Framing, Pattern, Script, Sizes};
use crate::measure::{Jitter, Latency, cores};
use crate::outcome::{Axis, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_ring::DriverChoice;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long the machine's jitter is watched on each of the two cores.
const JITTER: Duration = Duration::from_secs(1);

/// A core that others take for more of the time says nothing of tails.
const TAKEN_PERCENT_MAX: f64 = 2.0;

/// Flags of `echo pingpong`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Numbers of connections, each with one message under way.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values_t = [1, 4, 16],
          value_parser = clap::value_parser!(u32).range(1..=16))]
    pub connections: Vec<u32>,
    /// Payload of a message in bytes, SIZE or SMALLEST-LARGEST, at most 2048.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub message_bytes: Sizes,
    /// How the server waits for messages and hands them on.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "MODES", default_values_t = Mode::ALL)]
    pub modes: Vec<Mode>,
    /// The server's driver.
    #[arg(long, value_enum, default_value = "uring")]
    pub driver: ServerDriver,
    /// Rounds, each of which measures every mode once.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// How long each is measured, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(50..=600_000))]
    pub measure_ms: u64,
    /// Let the clients sleep for answers, as most do, instead of spinning, which shows the server alone.
    #[arg(long)]
    pub sleeping_clients: bool,
}

/// How a server waits for messages and hands them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// TCP: a worker that never sleeps.
    Polled,
    /// TCP: a worker that sleeps until something comes.
    Event,
    /// TCP: a worker that sleeps, but polls while things keep coming.
    Adaptive,
    /// UDP: a worker that never sleeps.
    UdpPolled,
    /// UDP: a worker that sleeps until something comes.
    UdpEvent,
    /// UDP: a worker that sleeps, but polls while things keep coming.
    UdpAdaptive,
    /// UDP: a port with one thread; batches that are short are handled by the ring's owner.
    UdpPort,
    /// UDP: a port whose batches all go to its thread.
    UdpPortHandover,
    /// UDP: a loop of two system calls.
    UdpPlain,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 9] = [
        Mode::Polled,
        Mode::Event,
        Mode::Adaptive,
        Mode::UdpPolled,
        Mode::UdpEvent,
        Mode::UdpAdaptive,
        Mode::UdpPort,
        Mode::UdpPortHandover,
        Mode::UdpPlain,
    ];

    /// The command that starts such a server.
    fn server(self, driver: &'static str) -> Vec<&'static str> {
        let flags: &[&str] = match self {
            Mode::Polled => &["--wait", "polled"],
            Mode::Event => &["--wait", "event"],
            Mode::Adaptive => &["--wait", "adaptive"],
            Mode::UdpPolled => &["--udp", "--wait", "polled"],
            Mode::UdpEvent => &["--udp", "--wait", "event"],
            Mode::UdpAdaptive => &["--udp", "--wait", "adaptive"],
            Mode::UdpPort => &["--udp", "--port", "when-long"],
            Mode::UdpPortHandover => &["--udp", "--port", "always"],
            Mode::UdpPlain => return vec!["echo", "serve", "plain-blocking", "--udp"],
        };
        [&["echo", "serve", driver], flags].concat()
    }

    fn is_udp(self) -> bool {
        !matches!(self, Mode::Polled | Mode::Event | Mode::Adaptive)
    }

    /// The clients that fit.
    fn clients(self) -> RunClients {
        if self.is_udp() { datagrams::run } else { client::run }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Polled => "polled",
            Mode::Event => "event",
            Mode::Adaptive => "adaptive",
            Mode::UdpPolled => "udp-polled",
            Mode::UdpEvent => "udp-event",
            Mode::UdpAdaptive => "udp-adaptive",
            Mode::UdpPort => "udp-port",
            Mode::UdpPortHandover => "udp-port-handover",
            Mode::UdpPlain => "udp-plain",
        })
    }
}

/// The driver of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ServerDriver {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

/// Measures latencies.
///
/// # Errors
/// Refuses machines with one core, and drivers that do not work here.
pub fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    if arguments.message_bytes.high as usize > DATAGRAM_BYTES_MAX {
        return Err(Refusal::new(format!("a message of a ping-pong has at most {DATAGRAM_BYTES_MAX} bytes")));
    }
    let mut outcome = Outcome::new("Echo of one message: latency in each wait mode");
    let [server_core, client_core] = two_cores()?;
    cores::pin(client_core)?;
    describe(&mut outcome, arguments);
    watch_machine(&mut outcome, [server_core, client_core], progress)?;
    let contestants: Vec<(String, Mode)> =
        arguments.modes.iter().map(|mode| (mode.to_string(), *mode)).collect();
    let driver = match arguments.driver {
        ServerDriver::Uring => "uring",
        ServerDriver::Epoll => "epoll",
    };
    for connections in &arguments.connections {
        let plan = plan(arguments, *connections);
        let what = format!("Echo of {} bytes, {connections} connections", arguments.message_bytes);
        let contests = rounds::rotate(&contestants, arguments.rounds, progress, &what, &mut |mode| {
            rounds::echo_round(&mode.server(driver), server_core, &plan, mode.clients())
        })?;
        outcome.tables.push(table(*connections, &what, &contests));
        for contest in &contests {
            if let Some(failure) = contest.samples.iter().find_map(|sample| sample.failure.as_ref()) {
                outcome.fail(format!("{what}, {}: {failure}", contest.name));
            }
        }
        if *connections == arguments.connections[0] {
            outcome.figures.extend(figures(*connections, arguments, &contests));
        }
    }
    outcome.note(
        "a polled server keeps its core busy for good; its latency lacks the wake-up that the other modes pay for every \
         message when nothing else is to do",
    );
    Ok(outcome)
}

fn describe(outcome: &mut Outcome, arguments: &Arguments) {
    outcome.setting("message", format!("{} bytes, one under way a connection", arguments.message_bytes));
    outcome.setting("rounds", format!("{}, in rotated order, each with a fresh server", arguments.rounds));
    outcome.setting("measured", format!("{} ms", arguments.measure_ms));
    outcome.setting("clients", if arguments.sleeping_clients { "sleep for answers" } else { "spin" });
}

/// Measures the jitter of both cores, so that percentiles can be judged.
fn watch_machine(outcome: &mut Outcome, both: [usize; 2], progress: &Progress) -> Result<(), Refusal> {
    let columns = vec![
        Column::number("core", "", 0),
        Column::number("p99.9 gap", "µs", 1),
        Column::number("longest gap", "µs", 1),
        Column::number("interruptions", "1/s", 0),
        Column::number("taken", "%", 3),
    ];
    let title = "The machine's own jitter: how long a spinning thread was kept from running";
    let mut table = Table::new("jitter", title, columns);
    for core in both {
        progress.stage(&format!("jitter of core {core}"));
        let spinning = std::thread::spawn(move || cores::pin(core).map(|()| Jitter::measure(JITTER)));
        let jitter = spinning.join().map_err(|_panic| Refusal::failed("the spinning thread died"))??;
        table.row([
            (core as f64).into(),
            (jitter.percentile(99.9) as f64 / 1000.0).into(),
            (jitter.longest() as f64 / 1000.0).into(),
            jitter.rate().into(),
            jitter.taken_percent().into(),
        ]);
        if jitter.taken_percent() > TAKEN_PERCENT_MAX {
            outcome.note(format!(
                "core {core} was taken away for {:.0} % of the time by other programs: percentiles above the median are \
                 theirs, not the server's",
                jitter.taken_percent()
            ));
        }
    }
    outcome.tables.push(table);
    Ok(())
}

fn plan(arguments: &Arguments, connections: u32) -> Plan {
    let shape =
        Script { key: 0, sizes: arguments.message_bytes, pattern: Pattern::Seeded, framing: Framing::Raw };
    Plan {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        connections,
        ramp_per_s: 0,
        shape,
        window: 1,
        length: Length::Time {
            warm_up: Duration::from_millis(200),
            measured: Duration::from_millis(arguments.measure_ms),
        },
        pause_ms: (0, 0),
        disconnect_per_mille: 0,
        seed: 1,
        driver: DriverChoice::Auto,
        is_polled: !arguments.sleeping_clients,
        patience: Duration::from_secs(10),
    }
}

/// Percentiles over all rounds of a contest together; the rate and the CPU time are medians.
fn table(connections: u32, what: &str, contests: &[Contest]) -> Table {
    let us = |name: &str| Column::number(name, "µs", 1);
    let columns = vec![
        Column::text("mode"),
        us("p50"),
        us("p99"),
        us("p99.9"),
        us("longest"),
        Column::number("rate", "req/s", 0),
        Column::number("server CPU", "µs/req", 2),
        Column::number("server busy", "%", 0),
    ];
    let mut table = Table::new(format!("pingpong-{connections}"), what, columns);
    for contest in contests {
        let latency = together(contest);
        let percentile = |percent: f64| (latency.percentile(percent) as f64 / 1000.0).into();
        table.row([
            contest.name.as_str().into(),
            percentile(50.0),
            percentile(99.0),
            percentile(99.9),
            (latency.max() as f64 / 1000.0).into(),
            contest.median(|sample| sample.per_s).into(),
            contest.median(|sample| sample.server_us).into(),
            (contest.median(|sample| sample.server_busy) * 100.0).into(),
        ]);
    }
    table
}

fn together(contest: &Contest) -> Latency {
    contest.samples.iter().fold(Latency::new(), |mut sum: Latency, sample: &Sample| {
        sum.merge(&sample.latency);
        sum
    })
}

/// The distributions over TCP and over UDP.
fn figures(connections: u32, arguments: &Arguments, contests: &[Contest]) -> Vec<Figure> {
    let by_transport = |is_udp: bool| {
        let measured = arguments.modes.iter().zip(contests);
        let series: Vec<Series> = measured
            .filter(|(mode, _)| mode.is_udp() == is_udp)
            .map(|(_, contest)| Series::new(contest.name.as_str(), latency_tail(&together(contest))))
            .collect();
        let (name, transport) = if is_udp { ("echo-pingpong-udp", "UDP") } else { ("echo-pingpong", "TCP") };
        let title = format!("Latency of an echo over {transport} in each wait mode");
        let subtitle = format!(
            "{} bytes on loopback, {connections} {}, server and client on a core each",
            arguments.message_bytes,
            if connections == 1 { "connection" } else { "connections" }
        );
        let y = Axis::log("time there and back", "µs");
        (!series.is_empty())
            .then(|| Figure::lines(name, title, latency_axis(), y, series).subtitled(subtitle))
    };
    [false, true].into_iter().filter_map(by_transport).collect()
}

/// The horizontal axis of latencies: 100 is the 99th percentile.
pub fn latency_axis() -> Axis {
    Axis::log("one message in so many took longer", "")
}

/// Points over [`latency_axis`].
pub fn latency_tail(latency: &Latency) -> Vec<(f64, f64)> {
    latency.tail().into_iter().map(|(slower, us)| (slower.recip(), us)).collect()
}
