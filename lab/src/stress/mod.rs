//! `stress`: thousands of clients of one server, over TCP, TLS, Unix sockets, WebSockets and UDP, that check every byte.
//!
//! What a connection says follows from seed, connection, life (how often it came again) and the message's number, so nothing is kept
//! and every byte of an answer has one right value. What is wrong is said with connection, message and byte, and where the bytes
//! that came belong: lost, said again, out of order, another connection's.

pub mod cause;
pub mod clients;
pub mod cursor;
pub mod datagrams;
pub mod failure;
pub mod frame;
pub mod frames;
pub mod message;
mod outcome;
pub mod plan;
pub mod reader;
pub mod seal;
pub mod series;
pub mod upgrade;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ringway_ring::DriverChoice;
use ringway_ring::socket::Address;

use crate::echo::load::{Driver, Pause};
use crate::interrupt;
use crate::measure::cores;
use crate::measure::process::{Pid, Tree};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use cursor::Shape;
use frame::Frame;
use message::{Messages, Sizes};
use plan::{CONNECTIONS_MAX, Disconnects, Length, Moment, Plan, WHOLE, WINDOW_MAX, Way};
use seal::Sealing;
use upgrade::Ask;

/// How often a run that nobody looks at says in its log how far it is.
const LOGGING: Duration = Duration::from_secs(10);

/// Flags of `stress`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Where the server listens: IP:PORT, or unix:PATH.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    address: Address,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u32,
    /// Connections opened a second; 0 is as fast as they are accepted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    ramp_per_s: u32,
    /// How messages are told apart: none, len8, len16, len32, len64 (with :little or :inclusive behind it), lines, websocket,
    /// websocket-text.
    #[arg(long, value_name = "FRAME", default_value = "none")]
    frame: Frame,
    /// Payload of messages in bytes: SIZE, LOW-HIGH (random), range:LOW-HIGH (one more each time), sawtooth:LOW-HIGH:STEP.
    #[arg(long, value_name = "SIZES", default_value = "64")]
    size: Sizes,
    /// Messages that a connection has under way.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(WINDOW_MAX)))]
    window: u32,
    /// Messages that all connections together begin a second; 0 is as fast as they are answered.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate_per_s: u64,
    /// End when all connections together have had so many answers, instead of after a time.
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "warm_up_ms"],
          value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How long is measured once all connections are open.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=86_400 * 30))]
    seconds: u64,
    /// How long is not measured before that, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    warm_up_ms: u64,
    /// Pause of a connection after the answers to a window of messages, in milliseconds: TIME or SHORTEST-LONGEST.
    #[arg(long, value_name = "MS", default_value = "0")]
    pause_ms: Pause,
    /// After this share of answers, in percent, a connection ends and comes again.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = share)]
    disconnects: u32,
    /// In which ways they end: orderly, by a half-close behind a last message, by a reset within a message.
    #[arg(
        long,
        value_name = "WAY,...",
        value_delimiter = ',',
        value_enum,
        default_value = "close,half,reset"
    )]
    ways: Vec<Way>,
    /// Speak TLS 1.3.
    #[arg(long)]
    tls: bool,
    /// The name that the server's certificate is for [default: its address].
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
    /// Believe only certificates of the authorities in this file (PEM); without it, any certificate.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Resume TLS sessions when connections come again.
    #[arg(long, requires = "tls")]
    resume: bool,
    /// What is asked for in the handshake of a WebSocket.
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// Send datagrams: each is a message of at least 8 bytes, and what is lost is counted.
    #[arg(long, conflicts_with_all = ["frame", "tls", "disconnects", "path", "pause_ms", "ramp_per_s"])]
    udp: bool,
    /// What everything random follows from; one is made up and said if there is none.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// The clients' driver.
    #[arg(long, value_enum, default_value = "auto")]
    driver: Driver,
    /// How long a connect or an answer may take; a datagram that is not answered by then is lost [default: 10, with --udp 1].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    patience_seconds: Option<u64>,
    /// How often is noted what happens, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    interval_ms: u64,
    /// Run the clients on this core only.
    #[arg(long, value_name = "CORE")]
    core: Option<usize>,
    /// The server's process: what it uses is told too.
    #[arg(long, value_name = "PID")]
    pid: Option<Pid>,
}

/// Stresses a server.
///
/// # Errors
/// When the clients cannot run here. What the server does wrong fails the outcome.
pub fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    if let Some(core) = arguments.core {
        cores::pin(core)?;
    }
    let plan = plan(arguments)?;
    let mut server = arguments.pid.map(Tree::attach).transpose()?;
    interrupt::be_patient();
    let what = format!("stress on {}", plan.address);
    progress.stage(&what);
    let connections = u64::from(plan.connections);
    let is_logged = !std::io::stderr().is_terminal();
    let mut told = Instant::now();
    let mut watch = |moment: Moment| {
        if let Moment::Underway { open, answers, failed } = moment {
            let wrong = if failed > 0 { format!(", {failed} FAILURES") } else { String::new() };
            let doing = format!("{what}: {open} connections, {answers} answers{wrong}");
            if is_logged && told.elapsed() >= LOGGING {
                told = Instant::now();
                progress.stage(&doing);
            }
            match plan.length {
                Length::Messages(total) => progress.step(&doing, answers, total),
                Length::Time { .. } => progress.step(&doing, u64::from(open), connections),
            }
        }
    };
    let report = if arguments.udp {
        datagrams::run(&plan, server.as_mut(), &mut watch)?
    } else {
        clients::run(&plan, server.as_mut(), &mut watch)?
    };
    Ok(outcome::outcome(&plan, arguments.udp, &report))
}

fn plan(arguments: &Arguments) -> Result<Plan, Refusal> {
    let frame = arguments.frame;
    let (low, high) = arguments.size.ends();
    if u64::from(high) > frame.payload_bytes_max() {
        let most = frame.payload_bytes_max();
        return Err(Refusal::new(format!("{frame} tells the length of {most} bytes at most, not of {high}")));
    }
    if arguments.udp {
        datagrams::accepts(&arguments.address, low, high)?;
    }
    if !arguments.path.starts_with('/') {
        return Err(Refusal::new(format!("a path begins with a slash, not as {:?} does", arguments.path)));
    }
    let seed = arguments.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    let measured = Duration::from_secs(arguments.seconds);
    let length = arguments.messages.map_or(
        Length::Time { warm_up: Duration::from_millis(arguments.warm_up_ms), measured },
        Length::Messages,
    );
    let host = match &arguments.address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let patience = arguments.patience_seconds.unwrap_or(if arguments.udp { 1 } else { 10 });
    Ok(Plan {
        address: arguments.address.clone(),
        connections: arguments.connections,
        ramp_per_s: arguments.ramp_per_s,
        shape: Shape {
            messages: Messages { seed, sizes: arguments.size, alphabet: frame.alphabet() },
            frame,
        },
        sealing: if arguments.tls { Some(sealing(arguments)?) } else { None },
        ask: Ask { host, path: arguments.path.clone() },
        window: arguments.window,
        rate_per_s: arguments.rate_per_s,
        length,
        pause_ms: (arguments.pause_ms.0, arguments.pause_ms.1),
        disconnects: Disconnects { share: arguments.disconnects, ways: ways(&arguments.ways) },
        driver: match arguments.driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::Uring => DriverChoice::Uring,
            Driver::Epoll => DriverChoice::Epoll,
        },
        patience: Duration::from_secs(patience),
        interval: Duration::from_millis(arguments.interval_ms),
    })
}

fn sealing(arguments: &Arguments) -> Result<Sealing, Refusal> {
    let name = match (&arguments.server_name, &arguments.address) {
        (Some(name), _) => name.clone(),
        (None, Address::Tcp(address)) => address.ip().to_string(),
        (None, Address::Unix(_)) => "localhost".to_owned(),
    };
    // Else a server of several protocols may take the first of its own.
    let protocols: &[&str] =
        if matches!(arguments.frame, Frame::WebSocket { .. }) { &["http/1.1"] } else { &[] };
    Sealing::new(&name, arguments.ca.as_deref(), arguments.resume, protocols)
}

/// The ways, each as often as it was named, three altogether.
fn ways(named: &[Way]) -> [Way; 3] {
    let mut all = named.iter().copied().cycle();
    [(); 3].map(|()| all.next().unwrap_or(Way::Close))
}

fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    SocketAddr::from_str(text)
        .map(Address::Tcp)
        .map_err(|error| format!("an address is IP:PORT or unix:PATH: {error}"))
}

/// Percent as parts of [`WHOLE`].
fn share(text: &str) -> Result<u32, String> {
    let wrong = || "a share is 0 to 100 percent".to_owned();
    let (whole, part) =
        text.trim_end_matches('%').split_once('.').unwrap_or((text.trim_end_matches('%'), ""));
    // Four digits behind the point are the parts.
    let is_sound = !whole.is_empty() && part.len() <= 4 && !whole.starts_with('+');
    let parts = format!("{whole}{part:0<4}").parse::<u32>().ok().filter(|parts| is_sound && *parts <= WHOLE);
    parts.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_shares_are_read_or_refused() {
        assert_eq!(address("unix:/run/x"), Ok(Address::Unix("/run/x".into())));
        assert_eq!(address("127.0.0.1:7"), Ok(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 7)))));
        assert!(address("localhost").is_err());
        assert_eq!(
            (share("0"), share("100%"), share("0.5"), share("0.0001%")),
            (Ok(0), Ok(WHOLE), Ok(5_000), Ok(1))
        );
        for text in ["", "-1", "101", "x", "nan", ".5", "0.00001", "1.-1"] {
            assert!(share(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_way_that_is_named_is_taken() {
        assert_eq!(ways(&[Way::Reset]), [Way::Reset; 3]);
        assert_eq!(ways(&[Way::Half, Way::Reset]), [Way::Half, Way::Reset, Way::Half]);
    }
}
