//! `compare`: several servers, the same workloads, in rotated rounds; medians, and ratios to the first server.

mod case;
mod echo;
mod idle;
mod machine;
mod made;
mod result;
mod root;
mod secure;
mod socket;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::server::Place;
use crate::http::{Load, Served, ServerSpec, load};
use crate::measure::process::Reading;
use crate::measure::{Jitter, cores};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use case::{Case, Kind};
use result::{Results, Sample};
use root::Root;

/// What stands for the folder of files in a server's command.
const ROOT: &str = "{root}";
/// What stands in a server's command for the port of what lies behind it.
const BEHIND: &str = "{behind}";
/// Most rounds.
const ROUNDS_MAX: u64 = 1_000;
/// How long the machine's own jitter is measured.
const JITTER: Duration = Duration::from_millis(500);

/// Flags of `compare`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A server: NAME=COMMAND with {port} and perhaps {root} in it, which the lab starts and ends, or NAME=URL@PID. All are
    /// compared with the first one. Cases over TLS need {secure-port} in the command, servers that ask another one {behind}.
    #[arg(required = true, value_name = "SERVER")]
    servers: Vec<ServerSpec>,
    /// The workloads: a (100 bytes), b (16 requests together), c (a connection a request), d100 and d1000 (200 KiB), e (1 MiB),
    /// fa and fb (as a and b, of --path), p100, p200k (200 KiB) and php (a greeting) through --behind, idle (memory a waiting connection), w64, w64x16, w16k (echoes over WebSockets at /echo), wcast, wstall (one message to 10,000 WebSockets at /all, 1 % of which never read in wstall), widle (memory a waiting WebSocket), e64c64, e64c64x16, e64c1000 (echoes of 64 bytes over TCP), tidle (memory a waiting TCP connection; alone or first, as a server uses memory of earlier cases again), u64c64, u64c64x16 (echoes by datagrams at {udp-port}), or NAME:PATH:CONNECTIONS[:PIPELINE][:close]; over
    /// TLS, made by h2load: s100, s200k (HTTP/1.1), h100, h100x16, h200k (HTTP/2), sidle.
    #[arg(long, value_delimiter = ',', default_value = "a,b,c,d100,e", value_name = "CASE,...")]
    cases: Vec<Case>,
    /// Rounds, each of which starts and measures every server once, in rotated order.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=ROUNDS_MAX))]
    rounds: u64,
    /// How long each case is measured, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = seconds)]
    seconds: f64,
    /// How long each case runs before it is measured, in seconds.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    warm_up: f64,
    /// The folder that stands for {root}; the files of the cases are added to it. Without it, a temporary one.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What the cases fa and fb ask for.
    #[arg(long, default_value = "/", value_name = "PATH")]
    path: String,
    /// Connections of the case idle.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    idle_connections: u32,
    /// The cores of the servers that the lab starts [default: the first one that may be used].
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    server_cores: Vec<usize>,
    /// The core of the client [default: the last one that may be used].
    #[arg(long, value_name = "CORE")]
    client_core: Option<usize>,
    /// What the servers ask in their turn: a command with {port} and perhaps {root} in it, started once for all of them. What
    /// it uses counts for none of them.
    #[arg(long, value_name = "COMMAND")]
    behind: Option<String>,
    /// The cores of what lies behind the servers [default: the client's].
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    behind_cores: Vec<usize>,
}

/// Compares.
///
/// # Errors
/// Refuses when there are too few cores, names repeat, a server cannot be started, or nothing could be measured.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let stage = Stage::set(&arguments)?;
    let mut results = Results::default();
    for round in 0..arguments.rounds {
        for server in stage.rotated(round) {
            stage.measure_server(server, round, &mut results, progress)?;
        }
    }
    progress.stage("the machine's own jitter");
    let core = stage.client_core;
    let jitter = std::thread::spawn(move || cores::pin(core).map(|()| Jitter::measure(JITTER)));
    let jitter = jitter.join().map_err(|_panic| Refusal::failed("the spinning thread died"))??;
    let mut outcome = Outcome::new(format!("compare: {}", stage.names().join(", ")));
    stage.record(&mut outcome);
    results.give(&mut outcome, &stage.names(), &arguments)?;
    outcome.note(jitter.sentence());
    Ok(outcome)
}

/// Everything that stands before the first round.
struct Stage<'a> {
    arguments: &'a Arguments,
    root: Root,
    server_cores: Vec<usize>,
    client_core: usize,
    /// What the servers ask in their turn.
    behind: Option<Served>,
}

impl<'a> Stage<'a> {
    fn set(arguments: &'a Arguments) -> Result<Stage<'a>, Refusal> {
        let allowed = cores::require(2, "the server and the client need a core each")?;
        refuse_twins("server", arguments.servers.iter().map(|server| server.name.as_str()))?;
        refuse_twins("case", arguments.cases.iter().map(|case| case.name.as_str()))?;
        if !arguments.path.starts_with('/') {
            return Err(Refusal::new(format!(
                "a path begins with a slash, not as {:?} does",
                arguments.path
            )));
        }
        let all = cores::allowed();
        let server_cores =
            if arguments.server_cores.is_empty() { vec![allowed[0]] } else { arguments.server_cores.clone() };
        let client_core = arguments.client_core.unwrap_or(all[all.len() - 1]);
        if let Some(core) = server_cores.iter().chain([&client_core]).find(|core| !all.contains(core)) {
            return Err(Refusal::new(format!("core {core} may not be used here, but {all:?}")));
        }
        if server_cores.contains(&client_core) {
            return Err(Refusal::new(format!("the client and a server cannot share core {client_core}")));
        }
        let root = Root::prepare(arguments.root.as_deref())?;
        let behind =
            arguments.behind.as_deref().map(|command| behind(command, &root, arguments, client_core));
        Ok(Stage { arguments, server_cores, client_core, behind: behind.transpose()?, root })
    }

    fn names(&self) -> Vec<String> {
        self.arguments.servers.iter().map(|server| server.name.clone()).collect()
    }

    fn record(&self, outcome: &mut Outcome) {
        let arguments = self.arguments;
        for server in &arguments.servers {
            let place = match &server.place {
                Place::Command(command) => command.clone(),
                Place::Running { url, pid } => format!("{url}, process {pid}, on the cores it has"),
            };
            outcome.setting(format!("server {}", server.name), place);
        }
        if let Some(command) = &arguments.behind {
            outcome.setting("behind them", command);
        }
        outcome.setting("cores", format!("servers {:?}, client {}", self.server_cores, self.client_core));
        outcome.setting("rounds", arguments.rounds);
        outcome
            .setting("measured", format!("{} s after {} s of warm-up", arguments.seconds, arguments.warm_up));
        for case in &arguments.cases {
            let description = case.describe(&arguments.path, arguments.idle_connections as usize);
            outcome.setting(format!("case {}", case.name), description);
        }
    }

    /// The servers in this round's order: each is first once in as many rounds as there are servers.
    fn rotated(&self, round: u64) -> impl Iterator<Item = &'a ServerSpec> + use<'a> {
        let servers = &self.arguments.servers;
        let first = usize::try_from(round).unwrap_or(0) % servers.len();
        servers[first..].iter().chain(&servers[..first])
    }

    fn measure_server(
        &self,
        server: &ServerSpec,
        round: u64,
        results: &mut Results,
        progress: &Progress,
    ) -> Result<(), Refusal> {
        let mut spec = server.clone();
        if let Place::Command(command) = &mut spec.place {
            *command = command.replace(ROOT, &self.root.path().to_string_lossy());
            *command = self.with_behind(command, &server.name)?;
        }
        let mut served = Served::begin(&spec, "/", &self.server_cores)?;
        let base = served.url.clone();
        for case in &self.arguments.cases {
            let rounds = self.arguments.rounds;
            progress.stage(&format!("round {} of {rounds}: {}, case {}", round + 1, server.name, case.name));
            served.url = with_path(&base, case.path(&self.arguments.path));
            match self.measure_case(case, &mut served, progress) {
                Ok(sample) => results.add(&case.name, &server.name, sample),
                // What one server cannot do does not end the comparison of the others.
                Err(refusal) => results.refused(&case.name, &server.name, &refusal),
            }
        }
        Ok(())
    }

    /// The command with the port of what lies behind in its place.
    fn with_behind(&self, command: &str, name: &str) -> Result<String, Refusal> {
        match &self.behind {
            Some(behind) => Ok(command.replace(BEHIND, port_of(&behind.url))),
            None if command.contains(BEHIND) => {
                Err(Refusal::new(format!("{name}: {BEHIND} stands for what --behind starts")))
            }
            None => Ok(command.to_owned()),
        }
    }

    fn measure_case(&self, case: &Case, served: &mut Served, progress: &Progress) -> Result<Sample, Refusal> {
        let count = self.arguments.idle_connections as usize;
        match case.kind {
            Kind::Idle => return idle::measure(served, count, progress).map(Sample::Idle),
            Kind::SecureIdle => return secure::idle(served, count, progress).map(Sample::Idle),
            Kind::Secure { .. } => return self.measure_secure(case, served, progress),
            Kind::Echo { .. } | Kind::Datagrams { .. } => {
                return self.measure_echoes(case.kind, served, progress);
            }
            Kind::EchoIdle => return echo::idle(served, count, progress).map(Sample::Idle),
            Kind::SocketIdle => return socket::idle(served, count, progress).map(Sample::Idle),
            Kind::Socket { connections, bytes, talk } => {
                return self.measure_sockets(connections, bytes, talk, served, progress);
            }
            Kind::Load { .. } => {}
        }
        let duration = |seconds| Duration::from_secs_f64(seconds);
        let (warm_up, time) = (duration(self.arguments.warm_up), duration(self.arguments.seconds));
        let plan = case.plan(&served.url, warm_up, time, self.client_core)?;
        let plan = plan.ok_or_else(|| Refusal::failed(format!("case {} has no plan", case.name)))?;
        let clocks = || Clocks { at: Instant::now(), server: served.read(), machine: machine::busy() };
        let (load, before, after) = load::run_sampled(&plan, progress, clocks)?;
        Ok(Sample::Load(result::Measured::new(&load, &before, &after, self.server_cores.len())))
    }
}

impl Stage<'_> {
    fn measure_secure(
        &self,
        case: &Case,
        served: &mut Served,
        progress: &Progress,
    ) -> Result<Sample, Refusal> {
        let Kind::Secure { connections, streams } = case.kind else {
            return Err(Refusal::failed(format!("case {} is not one over TLS", case.name)));
        };
        let load = secure::Load {
            path: case.path(&self.arguments.path),
            connections,
            streams,
            seconds: self.arguments.seconds,
            warm_up: self.arguments.warm_up,
            core: self.client_core,
        };
        let clocks = |served: &mut Served| Clocks {
            at: Instant::now(),
            server: served.read(),
            machine: machine::busy(),
        };
        let (made, before, after) = secure::load(&load, served, clocks, progress)?;
        Ok(Sample::Load(result::Measured::of_made(&made, &before, &after, self.server_cores.len())))
    }
}

impl Stage<'_> {
    fn measure_sockets(
        &self,
        connections: usize,
        bytes: usize,
        talk: socket::Talk,
        served: &mut Served,
        progress: &Progress,
    ) -> Result<Sample, Refusal> {
        let load = socket::Load {
            connections,
            bytes,
            talk,
            time: Duration::from_secs_f64(self.arguments.seconds),
            warm_up: Duration::from_secs_f64(self.arguments.warm_up),
            core: self.client_core,
        };
        let clocks = |served: &mut Served| Clocks {
            at: Instant::now(),
            server: served.read(),
            machine: machine::busy(),
        };
        let (made, before, after) = socket::load(&load, served, clocks, progress)?;
        Ok(Sample::Load(result::Measured::of_made(&made, &before, &after, self.server_cores.len())))
    }
}

impl Stage<'_> {
    fn measure_echoes(
        &self,
        kind: Kind,
        served: &mut Served,
        progress: &Progress,
    ) -> Result<Sample, Refusal> {
        let (Kind::Echo { connections, bytes, window } | Kind::Datagrams { connections, bytes, window }) =
            kind
        else {
            return Err(Refusal::failed("the case is not one of echoes"));
        };
        let load = echo::Load {
            connections,
            bytes,
            window,
            time: Duration::from_secs_f64(self.arguments.seconds),
            warm_up: Duration::from_secs_f64(self.arguments.warm_up),
            core: self.client_core,
        };
        let clocks = |served: &mut Served| Clocks {
            at: Instant::now(),
            server: served.read(),
            machine: machine::busy(),
        };
        let is_udp = matches!(kind, Kind::Datagrams { .. });
        let say = if is_udp { echo::datagrams } else { echo::load };
        let (made, before, after) = say(&load, served, clocks, progress)?;
        Ok(Sample::Load(result::Measured::of_made(&made, &before, &after, self.server_cores.len())))
    }
}

/// What was read at the beginning and at the end of a measurement.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    at: Instant,
    server: Reading,
    machine: Duration,
}

/// Starts what the servers ask in their turn.
fn behind(command: &str, root: &Root, arguments: &Arguments, client_core: usize) -> Result<Served, Refusal> {
    let command = command.replace(ROOT, &root.path().to_string_lossy());
    let spec = format!("behind={command}").parse::<ServerSpec>().map_err(Refusal::new)?;
    let cores = if arguments.behind_cores.is_empty() { &[client_core][..] } else { &arguments.behind_cores };
    Served::begin(&spec, "/", cores)
}

/// The port in the URL of a server that the lab started.
fn port_of(url: &str) -> &str {
    url.trim_end_matches('/').rsplit(':').next().unwrap_or_default()
}

/// A URL with another path.
fn with_path(url: &str, path: &str) -> String {
    let authority_at = url.find("//").map_or(0, |at| at + 2);
    let path_at = url[authority_at..].find('/').map_or(url.len(), |at| authority_at + at);
    format!("{}{path}", &url[..path_at])
}

fn refuse_twins<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Refusal::new(format!("two {what}s are called {name}")));
        }
        seen.push(name);
    }
    Ok(())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_error| "it is not a number of seconds".to_owned())?;
    if (0.05..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("it lies outside of 0.05 to 3600".to_owned())
    }
}

#[test]
fn a_url_gets_another_path() {
    assert_eq!(with_path("http://127.0.0.1:80/a/b?c", "/f1m.bin"), "http://127.0.0.1:80/f1m.bin");
    assert_eq!(with_path("http://[::1]:80", "/x"), "http://[::1]:80/x");
}

#[test]
fn names_are_told_apart() {
    assert!(refuse_twins("server", ["a", "b"].into_iter()).is_ok());
    let refusal = refuse_twins("server", ["a", "b", "a"].into_iter()).expect_err("a is twice there");
    assert_eq!(refusal.to_string(), "two servers are called a");
}
