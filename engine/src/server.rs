//! A server: endpoints on workers, started, drained, and watched for workers that die.

use crate::accepting::{Acceptor, Listening, Peer};
use crate::change::{ChangeError, Control, Listeners};
use crate::core::Door;
use crate::counters::{Counters, Totals};
use crate::endpoint::{Endpoint, EndpointLimits, ProtocolFactory};
use crate::filter::FilterFactory;
use crate::governor::GovernorHandle;
use crate::mailbox::{Mailbox, Message};
use crate::observe::Watched;
use crate::outbound::Outbound;
use crate::pool::ThreadPool;
use crate::preface::Preface;
use crate::resolving;
use crate::udp::{BoundSocket, UdpEndpoint, UdpSocket};
use crate::wait::WaitMode;
use crate::worker::{Worker, WorkerHandle, WorkerParts};
use ringway_ring::socket::Address;
use ringway_ring::{Report, Ring, RingOptions};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What runs once on each worker's thread when it starts.
pub type WorkerStart = Arc<dyn Fn(&WorkerHandle) + Send + Sync>;

/// A server's settings.
#[derive(Clone)]
pub struct ServerOptions {
    /// Worker threads; 0: one per core this process may use.
    pub workers: usize,
    /// How workers wait.
    pub wait: WaitMode,
    /// Each worker's ring.
    pub ring: RingOptions,
    /// Most threads for blocking work, shared by all workers.
    pub pool_threads_max: usize,
    /// Most jobs that wait for one of them.
    pub pool_queue_max: usize,
    /// What speaks on connections that this side opens: see [`WorkerHandle::open`].
    pub outbound: Vec<Outbound>,
    /// Where datagrams are received.
    pub udp: Vec<UdpEndpoint>,
    /// Runs on each worker's thread before it serves.
    pub on_start: Option<WorkerStart>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            workers: 0,
            wait: WaitMode::default(),
            ring: RingOptions::default(),
            pool_threads_max: 8,
            pool_queue_max: 1024,
            outbound: Vec::new(),
            udp: Vec::new(),
            on_start: None,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("workers", &self.workers)
            .field("wait", &self.wait)
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

/// Why a server could not start.
#[derive(Debug)]
pub enum StartError {
    /// An endpoint could not be bound.
    Bind(Address, io::Error),
    /// A UDP endpoint could not be bound or received from.
    Datagrams(SocketAddr, io::Error),
    /// A worker's ring could not be made.
    Ring(io::Error),
    /// A protocol could not be made.
    Protocol(io::Error),
    /// A thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Datagrams(address, error) => write!(f, "cannot receive datagrams on {address}: {error}"),
            Self::Ring(error) => write!(f, "cannot set up a ring: {error}"),
            Self::Protocol(error) => write!(f, "{error}"),
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, error) | Self::Datagrams(_, error) => Some(error),
            Self::Ring(error) | Self::Protocol(error) | Self::Thread(error) => Some(error),
        }
    }
}

/// What a running server reports.
#[derive(Debug)]
pub enum ServerEvent {
    /// A worker has finished draining.
    Drained(usize),
    /// A worker died: it panicked, or its ring broke.
    Died(usize, String),
}

/// A running server.
pub struct Server {
    addresses: Vec<Address>,
    udp_addresses: Vec<SocketAddr>,
    workers: Vec<Running>,
    events: Receiver<ServerEvent>,
    report: Report,
    drained: Vec<usize>,
    control: Control,
    governor: GovernorHandle,
}

struct Running {
    mailbox: Mailbox,
    counters: Arc<Counters>,
    thread: JoinHandle<()>,
}

/// A worker's thread that was started, and what it waits for and is waited for.
struct Starting {
    counters: Arc<Counters>,
    started: Receiver<Result<Started, StartError>>,
    peers: Sender<Vec<Peer>>,
    thread: JoinHandle<()>,
}

struct Started {
    mailbox: Mailbox,
    report: Report,
}

impl Server {
    /// Binds all endpoints and starts the workers. When it returns, connections are accepted.
    ///
    /// # Errors
    /// The first thing that cannot be had; nothing is left running then.
    pub fn start(endpoints: &[Endpoint], options: &ServerOptions) -> Result<Self, StartError> {
        check_features(endpoints, options)?;
        let count = worker_count(options.workers);
        let mut addresses = Vec::new();
        let mut sockets: Vec<OwnSockets> = (0..count).map(|_| OwnSockets::default()).collect();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let bound =
                endpoint.bind(count).map_err(|error| StartError::Bind(endpoint.address.clone(), error))?;
            let door = u16::try_from(options.outbound.len() + index).unwrap_or(u16::MAX);
            let (address, listeners) = bound.for_workers(door);
            sockets.iter_mut().zip(listeners).for_each(|(own, listeners)| own.listeners.extend(listeners));
            addresses.push(address);
        }
        let mut udp_addresses = Vec::new();
        for (place, endpoint) in options.udp.iter().enumerate().filter(|_| cfg!(feature = "udp")) {
            let bound = endpoint.bind(place, count);
            let (address, each) = bound.map_err(|error| StartError::Datagrams(endpoint.address, error))?;
            sockets.iter_mut().zip(each).for_each(|(own, bound)| own.datagrams.extend(bound));
            udp_addresses.push(address);
        }
        let (workers, events, report) = Self::start_workers(endpoints, options, sockets)?;
        let seats = workers.iter().map(|worker| (worker.mailbox.clone(), Arc::clone(&worker.counters)));
        let control = Control::new(seats, options.outbound.len(), &addresses);
        let mailboxes = workers.iter().map(|worker| worker.mailbox.clone()).collect();
        let governor = GovernorHandle::new(mailboxes, options.outbound.len());
        Ok(Self { addresses, udp_addresses, workers, events, report, drained: Vec::new(), control, governor })
    }

    /// A thread-safe handle that changes this server while it runs: endpoints swapped, added, removed.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// A thread-safe handle that sets and shows the bandwidths of this server's scopes.
    #[must_use]
    pub fn governor(&self) -> GovernorHandle {
        self.governor.clone()
    }

    /// As [`Control::swap`].
    ///
    /// # Errors
    /// As [`Control::swap`].
    pub fn swap(
        &self,
        endpoint: usize,
        protocol: ProtocolFactory,
        limits: EndpointLimits,
        filter: Option<FilterFactory>,
        preface: Option<Arc<dyn Preface>>,
    ) -> Result<(), ChangeError> {
        self.control.swap(endpoint, protocol, limits, filter, preface)
    }

    /// As [`Control::add`].
    ///
    /// # Errors
    /// As [`Control::add`].
    pub fn add(&self, endpoint: &Endpoint) -> Result<usize, ChangeError> {
        self.control.add(endpoint)
    }

    /// As [`Control::remove`].
    ///
    /// # Errors
    /// As [`Control::remove`].
    pub fn remove(&self, endpoint: usize) -> Result<(), ChangeError> {
        self.control.remove(endpoint)
    }

    /// As [`Control::listeners`].
    ///
    /// # Errors
    /// As [`Control::listeners`].
    pub fn listeners(&self) -> Result<Vec<Listeners>, ChangeError> {
        self.control.listeners()
    }

    /// Where the endpoints that it started with listen, with the ports they got.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where the UDP endpoints receive, with the ports they got.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp_addresses
    }

    /// Which driver the workers use, and why.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// All workers' counters added up.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.workers.iter().for_each(|worker| totals.add(&worker.counters));
        totals
    }

    /// Asks all workers to stop accepting, finish what they have, and stop; connections still open after `within` are
    /// reset.
    pub fn drain(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for worker in &self.workers {
            worker.mailbox.send(Message::Drain(within_ms));
        }
    }

    /// A thread-safe handle that drains this server.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        Drainer { mailboxes: self.workers.iter().map(|worker| worker.mailbox.clone()).collect() }
    }

    /// Waits until every worker has stopped. When one dies, the others are drained within `grace`, and the death is the
    /// error.
    ///
    /// # Errors
    /// Which worker died, and of what.
    pub fn wait(mut self, grace: Duration) -> Result<Totals, String> {
        let mut death = None;
        while self.drained.len() < self.workers.len() {
            match self.events.recv() {
                Ok(ServerEvent::Drained(index)) => self.drained.push(index),
                Ok(ServerEvent::Died(index, reason)) => {
                    self.drained.push(index);
                    self.drain(grace);
                    death.get_or_insert(format!("worker {index} died: {reason}"));
                }
                Err(_all_gone) => break,
            }
        }
        let totals = self.totals();
        for worker in self.workers {
            let _reported_before = worker.thread.join();
        }
        death.map_or(Ok(totals), Err)
    }

    /// The workers, to be looked at.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Watched> {
        let watched = |worker: &Running| Watched {
            mailbox: worker.mailbox.clone(),
            counters: Arc::clone(&worker.counters),
        };
        self.workers.iter().map(watched)
    }

    fn start_workers(
        endpoints: &[Endpoint],
        options: &ServerOptions,
        sockets: Vec<OwnSockets>,
    ) -> Result<(Vec<Running>, Receiver<ServerEvent>, Report), StartError> {
        let count = sockets.len();
        let pool = ThreadPool::new(options.pool_threads_max, options.pool_queue_max);
        let resolver = resolving::threads();
        let (event_sender, events) = channel();
        let mut starting = Vec::new();
        let mut failure = None;
        for (index, own) in sockets.into_iter().enumerate() {
            let counters = Arc::new(Counters::default());
            let (started_sender, started) = channel();
            let (peers_sender, peers) = channel();
            let seed = Seed {
                index,
                sockets: own,
                endpoints: endpoints.to_vec(),
                options: options.clone(),
                counters: Arc::clone(&counters),
                pool: pool.clone(),
                resolver: resolver.clone(),
                started: started_sender,
                peers,
            };
            let events = event_sender.clone();
            let thread = std::thread::Builder::new()
                .name(format!("ringway-{index}"))
                .spawn(move || run_worker(seed, &events));
            match thread {
                Ok(thread) => starting.push(Starting { counters, started, peers: peers_sender, thread }),
                Err(error) => {
                    failure = Some(StartError::Thread(error));
                    break;
                }
            }
        }
        let (workers, report) = wait_for_workers(starting, failure)?;
        debug_assert_eq!(workers.len(), count);
        Ok((workers, events, report))
    }
}

/// Waits until every worker has what it needs and makes them known to each other. When one has not, all are stopped, and
/// their listeners closed, before this returns.
fn wait_for_workers(
    starting: Vec<Starting>,
    mut failure: Option<StartError>,
) -> Result<(Vec<Running>, Report), StartError> {
    let mut report = None;
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    let mut failed = Vec::new();
    for Starting { counters, started, peers, thread } in starting {
        let died = |_| Err(StartError::Thread(io::Error::other("a worker died at its start")));
        match started.recv().unwrap_or_else(died) {
            Ok(Started { mailbox, report: found }) => {
                report.get_or_insert(found);
                senders.push(peers);
                workers.push(Running { mailbox, counters, thread });
            }
            Err(error) => {
                failure.get_or_insert(error);
                failed.push(thread);
            }
        }
    }
    if let Some(failure) = failure {
        // Without news of the others a worker stops.
        drop(senders);
        for thread in workers.into_iter().map(|worker| worker.thread).chain(failed) {
            let _died = thread.join();
        }
        return Err(failure);
    }
    let peer = |worker: &Running| Peer::new(worker.mailbox.clone(), Arc::clone(&worker.counters));
    let all: Vec<Peer> = workers.iter().map(peer).collect();
    for sender in senders {
        let _died_at_once = sender.send(all.clone());
    }
    Ok((workers, report.unwrap_or(Report { driver: "none", ..Report::default() })))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("workers", &self.workers.len())
            .field("driver", &self.report.driver)
            .finish_non_exhaustive()
    }
}

/// Drains a server from any thread.
#[derive(Clone, Debug)]
pub struct Drainer {
    mailboxes: Vec<Mailbox>,
}

impl Drainer {
    /// As [`Server::drain`].
    pub fn drain(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for mailbox in &self.mailboxes {
            mailbox.send(Message::Drain(within_ms));
        }
    }
}

/// One worker's sockets.
#[derive(Default)]
struct OwnSockets {
    listeners: Vec<Listening>,
    /// Of all UDP endpoints, in their order.
    datagrams: Vec<BoundSocket>,
}

/// What a worker's thread starts from.
struct Seed {
    index: usize,
    sockets: OwnSockets,
    endpoints: Vec<Endpoint>,
    options: ServerOptions,
    counters: Arc<Counters>,
    pool: ThreadPool,
    resolver: Option<ThreadPool>,
    started: Sender<Result<Started, StartError>>,
    peers: Receiver<Vec<Peer>>,
}

fn run_worker(seed: Seed, events: &Sender<ServerEvent>) {
    let index = seed.index;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(seed)));
    let event = match outcome {
        Ok(Ok(())) => ServerEvent::Drained(index),
        Ok(Err(error)) => ServerEvent::Died(index, error.to_string()),
        Err(panic) => ServerEvent::Died(index, panic_text(&*panic)),
    };
    let _nobody_listens = events.send(event);
}

fn work(mut seed: Seed) -> io::Result<()> {
    let sockets = std::mem::take(&mut seed.sockets);
    let made = Ring::new(&seed.options.ring).map_err(StartError::Ring).and_then(|ring| {
        let udp = receivers(&ring, &seed.options.udp, sockets.datagrams)?;
        Ok((ring, udp))
    });
    let (ring, udp) = match made {
        Ok(made) => made,
        Err(error) => {
            let _starter_reports = seed.started.send(Err(error));
            return Ok(());
        }
    };
    let mailbox = Mailbox::new(ring.waker());
    let started = Started { mailbox: mailbox.clone(), report: ring.report().clone() };
    let outbound = seed.options.outbound.iter().map(|outbound| outbound.limits);
    let endpoints = seed.endpoints.iter().map(|endpoint| endpoint.limits);
    let parts = WorkerParts {
        ring,
        mailbox,
        acceptor: Acceptor::new(sockets.listeners, seed.index, Arc::clone(&seed.counters)),
        udp,
        doors: outbound.chain(endpoints).map(Door::new).collect(),
        outbound: seed.options.outbound.len(),
        counters: Arc::clone(&seed.counters),
        pool: seed.pool.clone(),
        resolver: seed.resolver.clone(),
        wait: seed.options.wait,
        first_receive_bytes: seed.options.ring.stream_buffer_bytes,
    };
    let mut worker = Worker::new(parts);
    if let Err(error) = set_handlers(&mut worker, &seed) {
        let _starter_reports = seed.started.send(Err(StartError::Protocol(error)));
        return Ok(());
    }
    let _starter_gave_up = seed.started.send(Ok(started));
    let Ok(peers) = seed.peers.recv() else { return Ok(()) };
    worker.set_peers(peers);
    let on_start = seed.options.on_start.clone();
    // What made protocols may hold a library, which shall be gone when its last user is.
    drop(seed);
    if let Some(on_start) = on_start {
        on_start(&worker.handle());
    }
    worker.run()
}

/// What receives from a worker's UDP sockets.
fn receivers(
    ring: &Ring,
    endpoints: &[UdpEndpoint],
    sockets: Vec<BoundSocket>,
) -> Result<Vec<UdpSocket>, StartError> {
    let prepare = |bound: BoundSocket| {
        let endpoint = &endpoints[bound.endpoint];
        let prepared = endpoint.prepare(ring, bound);
        prepared.map_err(|error| StartError::Datagrams(endpoint.address, error))
    };
    sockets.into_iter().filter(|_| cfg!(feature = "udp")).map(prepare).collect()
}

/// Makes what speaks on a worker's connections and handles its datagrams.
fn set_handlers(worker: &mut Worker, seed: &Seed) -> io::Result<()> {
    let handle = worker.handle();
    let factories = seed.options.outbound.iter().map(|outbound| &outbound.protocol);
    let factories = factories.chain(seed.endpoints.iter().map(|endpoint| &endpoint.protocol));
    let protocols: io::Result<Vec<_>> = factories.map(|protocol| protocol(&handle)).collect();
    let filters = seed
        .endpoints
        .iter()
        .map(|endpoint| endpoint.filter.as_ref().map(|filter| filter(&handle)).transpose());
    let filters: io::Result<Vec<_>> = filters.collect();
    let handlers = seed.options.udp.iter().map(|endpoint| (endpoint.handler)(&handle));
    let handlers: io::Result<Vec<_>> = handlers.collect();
    worker.set_protocols(protocols?);
    worker.set_filters(filters?);
    if cfg!(feature = "preface") {
        worker.set_prefaces(seed.endpoints.iter().map(|endpoint| endpoint.preface.clone()));
    }
    worker.set_datagram_handlers(handlers?);
    Ok(())
}

/// What was left out of this build must not be left out in silence.
fn check_features(endpoints: &[Endpoint], options: &ServerOptions) -> Result<(), StartError> {
    let missing = [
        (cfg!(feature = "filters") || endpoints.iter().all(|endpoint| endpoint.filter.is_none()), "filters"),
        (
            cfg!(feature = "governor")
                || endpoints.iter().all(|endpoint| endpoint.limits.send_bytes_per_s == 0),
            "governor",
        ),
        (cfg!(feature = "udp") || options.udp.is_empty(), "udp"),
        (cfg!(feature = "preface") || endpoints.iter().all(|endpoint| endpoint.preface.is_none()), "preface"),
    ];
    match missing.iter().find(|(is_there, _)| !is_there) {
        None => Ok(()),
        Some((_, name)) => {
            let reason = format!("the engine was built without its feature {name}");
            Err(StartError::Protocol(io::Error::new(io::ErrorKind::Unsupported, reason)))
        }
    }
}

fn worker_count(wanted: usize) -> usize {
    if wanted > 0 {
        return wanted;
    }
    cores()
}

/// Cores that this process may use, and that its control group pays for.
#[cfg(feature = "quotas")]
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Who built without the feature counts cores, as looking for control groups takes 10 KiB of code.
#[cfg(not(feature = "quotas"))]
fn cores() -> usize {
    1
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
