//! A server of the lab's own: what it listens on, what serves there, and when it ends.

use crate::ceiling::answers::{Answers, BodyBytes, Transfer};
use crate::ceiling::fixed::Fixed;
use crate::ceiling::plain::{self, Tally};
use crate::ceiling::{Kind, Service};
use crate::echo::protocol::{Bytes, Messages};
use crate::echo::script::Framing;
use crate::measure::clock::process_cpu;
use crate::measure::cores;
use crate::outcome::{Column, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_engine::{Endpoint, Protocol, ProtocolFactory, Server, ServerOptions, WaitMode, WorkerHandle};
use ringway_ring::RingOptions;
use ringway_ring::socket::{Address, ListenOptions, listen, local_address};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fmt;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// How long a server that is told to end may finish what it has.
const DRAIN: Duration = Duration::from_secs(2);

/// Workers at most.
const WORKERS_MAX: u64 = 256;

/// What comes before the address in the line that programs wait for.
pub const LISTENING: &str = "listening on ";

/// Flags of every server of the lab's own.
#[derive(clap::Args, Clone, Debug)]
pub struct Flags {
    /// Listen here; port 0 is any.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub address: SocketAddr,
    /// How the engine waits: event, polled, adaptive, or batch:COMPLETIONS:TIME (such as batch:32:500us).
    #[arg(long, value_name = "MODE", default_value_t = WaitMode::Event)]
    pub wait: WaitMode,
    /// The engine's workers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=WORKERS_MAX))]
    pub workers: u64,
    /// Run on this core only.
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// End when standard input does, too: for a program that starts this one.
    #[arg(long)]
    pub attached: bool,
}

/// Flags of `ceiling serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// What serves.
    #[arg(value_enum, default_value = "uring")]
    pub kind: Kind,
    /// Length of every answer's body.
    #[arg(long, value_name = "BYTES", default_value = "100")]
    pub body_bytes: BodyBytes,
    /// How bodies leave.
    #[arg(long, value_enum, default_value = "memory")]
    pub transfer: Transfer,
    /// Close each connection after one answer.
    #[arg(long)]
    pub close: bool,
    /// Say everything again instead: the ceiling of an echo.
    #[arg(long, conflicts_with_all = ["body_bytes", "transfer", "close"])]
    pub echo: bool,
    /// The flags of every server.
    #[command(flatten)]
    pub flags: Flags,
}

/// Serves until a signal comes.
///
/// # Errors
/// Refuses what cannot be listened on, and drivers that do not work here.
pub fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let service = if arguments.echo {
        Service::Echo
    } else {
        let answers = Answers::new(arguments.body_bytes.0, arguments.transfer, arguments.close)?;
        Service::Answers(Arc::new(answers))
    };
    serve(arguments.kind, &service, Framing::Raw, &arguments.flags, progress)
}

/// Serves `service` with the server that was chosen until a signal comes; then says what it did.
///
/// # Errors
/// As [`run`].
pub fn serve(
    kind: Kind,
    service: &Service,
    framing: Framing,
    flags: &Flags,
    progress: &Progress,
) -> Result<Outcome, Refusal> {
    host(&kind.to_string(), flags, progress, |ends| match kind.driver() {
        Some(driver) => {
            let ring = RingOptions { driver, ..RingOptions::default() };
            let workers = usize::try_from(flags.workers).unwrap_or(1);
            let options = ServerOptions { workers, wait: flags.wait, ring, ..ServerOptions::default() };
            start_engine(service, framing, flags.address, &options)
        }
        None => start_plain(kind, service, framing, flags, ends),
    })
}

/// Names and values of what a server counted.
pub type Totals = Result<Vec<(String, u64)>, Refusal>;

/// A server that was started.
pub struct Started {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its numbers depend on.
    pub settings: Vec<(&'static str, String)>,
    /// Ends it and says what it did.
    pub stop: Box<dyn FnOnce() -> Totals>,
}

/// Starts a server, says where it listens, and waits until a signal comes or the server breaks; then says what it did.
///
/// # Errors
/// What `start` refuses; a server that broke.
pub fn host(
    name: &str,
    flags: &Flags,
    progress: &Progress,
    start: impl FnOnce(Sender<Ending>) -> Result<Started, Refusal>,
) -> Result<Outcome, Refusal> {
    if let Some(core) = flags.core {
        cores::pin(core)?;
    }
    raise_descriptors()?;
    let (ends, ended) = channel();
    watch_signals(ends.clone())?;
    if flags.attached {
        watch_input(ends.clone());
    }
    let started = start(ends)?;
    progress.stage(&format!("{LISTENING}{} ({name})", started.address));
    // The threads that hold the other ends live as long as the process.
    if let Ending::Broke(error) = ended.recv().unwrap_or(Ending::Asked) {
        return Err(Refusal::failed(format!("the server broke: {error}")));
    }
    let mut outcome = Outcome::new(format!("What the server {name} did"));
    outcome.setting("address", started.address);
    outcome.setting("core", flags.core.map_or_else(|| "any".to_owned(), |core| core.to_string()));
    for (name, value) in &started.settings {
        outcome.setting(*name, value);
    }
    let columns = vec![Column::text("what"), Column::number("value", "", 0)];
    let mut table = Table::new("server", "Totals", columns);
    for (name, value) in (started.stop)()? {
        table.row([name.replace('_', " ").into(), value.into()]);
    }
    table.row(["CPU time in ms".into(), (process_cpu().as_secs_f64() * 1000.0).into()]);
    outcome.tables.push(table);
    Ok(outcome)
}

/// Clients decide how many connections there are, so a server takes all the descriptors it may have.
fn raise_descriptors() -> Result<(), Refusal> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(Refusal::because("cannot raise the limit of descriptors"))
}

/// Why a server ends.
#[derive(Debug)]
pub enum Ending {
    /// It was asked to.
    Asked,
    /// It cannot go on.
    Broke(io::Error),
}

fn start_engine(
    service: &Service,
    framing: Framing,
    address: SocketAddr,
    options: &ServerOptions,
) -> Result<Started, Refusal> {
    let service = service.clone();
    let listen = listen_options(&service);
    let protocol: ProtocolFactory = Arc::new(move |_worker: &WorkerHandle| {
        Ok(match (&service, framing) {
            (Service::Answers(answers), _) => Rc::new(Fixed::new(Arc::clone(answers))?) as Rc<dyn Protocol>,
            (Service::Echo, Framing::Raw) => Rc::new(Bytes),
            (Service::Echo, Framing::Length) => Rc::new(Messages),
        })
    });
    let endpoint = Endpoint { listen, ..Endpoint::new(Address::Tcp(address), protocol) };
    let server = Server::start(&[endpoint], options).map_err(|error| Refusal::new(error.to_string()))?;
    let bound = match server.addresses().first() {
        Some(Address::Tcp(bound)) => *bound,
        _ => address,
    };
    let settings =
        vec![("wait mode", options.wait.to_string()), ("server's driver", server.report().to_string())];
    let stop = move || {
        server.drain(DRAIN);
        let totals = server.wait(DRAIN).map_err(Refusal::failed)?;
        Ok(totals.iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    Ok(Started { address: bound, settings, stop: Box::new(stop) })
}

fn start_plain(
    kind: Kind,
    service: &Service,
    framing: Framing,
    flags: &Flags,
    ends: Sender<Ending>,
) -> Result<Started, Refusal> {
    let no_engine = |what: &str| Refusal::new(format!("{kind} has no engine, so it cannot {what}"));
    if framing == Framing::Length {
        return Err(no_engine("take messages apart"));
    }
    if flags.wait != WaitMode::Event || flags.workers != 1 {
        return Err(no_engine("have a wait mode or workers"));
    }
    let listener = listen(&Address::Tcp(flags.address), &listen_options(service))
        .map_err(Refusal::because(format!("cannot listen on {}", flags.address)))?;
    let address = local_address(listener.as_fd()).unwrap_or(flags.address);
    let tally = Arc::new(Tally::default());
    let (service, counted) = (service.clone(), Arc::clone(&tally));
    let work = move || match kind {
        Kind::PlainBlocking => plain::blocking(&listener, &service, &counted),
        _ => plain::on_epoll(&listener, &service, &counted),
    };
    run_until_broken(kind, ends, work)?;
    let stop = move || {
        let counts = [("accepted", &tally.accepted), ("open", &tally.open)];
        Ok(counts.map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed))).into())
    };
    Ok(Started { address, settings: Vec::new(), stop: Box::new(stop) })
}

/// Runs a server without an engine on a thread of its own.
///
/// # Errors
/// When the thread cannot be started.
pub fn run_until_broken(
    kind: Kind,
    ends: Sender<Ending>,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), Refusal> {
    let work = move || {
        if let Err(error) = work() {
            let _ending_already = ends.send(Ending::Broke(error));
        }
    };
    let started = std::thread::Builder::new().name(kind.to_string()).spawn(work);
    started.map(drop).map_err(Refusal::because("cannot start a thread"))
}

/// All servers listen alike. Where a connection lives for one request, the kernel keeps it back until that has come.
fn listen_options(service: &Service) -> ListenOptions {
    let is_closing = matches!(service, Service::Answers(answers) if answers.is_closing());
    ListenOptions { defer_accept_seconds: u32::from(is_closing), ..ListenOptions::default() }
}

fn watch_signals(ends: Sender<Ending>) -> Result<(), Refusal> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(Refusal::because("cannot watch for signals"))?;
    std::thread::spawn(move || {
        for _signal in &mut signals {
            let _ending_already = ends.send(Ending::Asked);
        }
    });
    Ok(())
}

fn watch_input(ends: Sender<Ending>) {
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 64];
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        let _ending_already = ends.send(Ending::Asked);
    });
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Started({})", self.address)
    }
}
