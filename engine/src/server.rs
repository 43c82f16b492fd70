//! A server: endpoints on workers, started, drained, and watched for workers that die.

use crate::accepting::{Acceptor, Listener, Peer};
use crate::counters::{Counters, Totals};
use crate::endpoint::Endpoint;
use crate::mailbox::{Mailbox, Message};
use crate::outbound::Outbound;
use crate::pool::ThreadPool;
use crate::wait::WaitMode;
use crate::worker::{Worker, WorkerHandle, WorkerParts};
use ringway_ring::socket::Address;
use ringway_ring::{Report, Ring, RingOptions};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
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
            Self::Ring(error) => write!(f, "cannot set up a ring: {error}"),
            Self::Protocol(error) => write!(f, "{error}"),
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (Self::Bind(_, error) | Self::Ring(error) | Self::Protocol(error) | Self::Thread(error)) = self;
        Some(error)
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
    workers: Vec<Running>,
    events: Receiver<ServerEvent>,
    report: Report,
    drained: Vec<usize>,
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
        let count = worker_count(options.workers);
        let mut addresses = Vec::new();
        let mut listeners: Vec<Vec<(u16, OwnedFd, bool)>> = (0..count).map(|_| Vec::new()).collect();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let bound =
                endpoint.bind(count).map_err(|error| StartError::Bind(endpoint.address.clone(), error))?;
            for (worker, fd) in bound.listeners.into_iter().enumerate() {
                let endpoint = u16::try_from(index).unwrap_or(u16::MAX);
                listeners[worker].push((endpoint, fd, bound.is_shared_out));
            }
            addresses.push(bound.address);
        }
        Self::start_workers(endpoints, options, addresses, listeners)
    }

    /// Where the endpoints listen, with the ports they got.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
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

    fn start_workers(
        endpoints: &[Endpoint],
        options: &ServerOptions,
        addresses: Vec<Address>,
        listeners: Vec<Vec<(u16, OwnedFd, bool)>>,
    ) -> Result<Self, StartError> {
        let count = listeners.len();
        let pool = ThreadPool::new(options.pool_threads_max, options.pool_queue_max);
        let (event_sender, events) = channel();
        let mut starting = Vec::new();
        let mut failure = None;
        for (index, own) in listeners.into_iter().enumerate() {
            let counters = Arc::new(Counters::default());
            let (started_sender, started) = channel();
            let (peers_sender, peers) = channel();
            let seed = Seed {
                index,
                listeners: own,
                endpoints: endpoints.to_vec(),
                options: options.clone(),
                counters: Arc::clone(&counters),
                pool: pool.clone(),
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
        Ok(Self { addresses, workers, events, report, drained: Vec::new() })
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
    Ok((workers, report.unwrap_or(Report { driver: "none", features: None, refusal: None })))
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

/// What a worker's thread starts from.
struct Seed {
    index: usize,
    listeners: Vec<(u16, OwnedFd, bool)>,
    endpoints: Vec<Endpoint>,
    options: ServerOptions,
    counters: Arc<Counters>,
    pool: ThreadPool,
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

fn work(seed: Seed) -> io::Result<()> {
    let ring = match Ring::new(&seed.options.ring) {
        Ok(ring) => ring,
        Err(error) => {
            let _starter_reports = seed.started.send(Err(StartError::Ring(error)));
            return Ok(());
        }
    };
    let mailbox = Mailbox::new(ring.waker());
    let started = Started { mailbox: mailbox.clone(), report: ring.report().clone() };
    let listeners = seed
        .listeners
        .into_iter()
        .map(|(endpoint, fd, is_shared_out)| Listener::new(endpoint, fd, is_shared_out))
        .collect();
    let acceptor = Acceptor::new(listeners, seed.index, Arc::clone(&seed.counters));
    let own_limits = seed.endpoints.iter().map(|endpoint| endpoint.limits);
    let parts = WorkerParts {
        ring,
        mailbox,
        acceptor,
        limits: own_limits.chain(seed.options.outbound.iter().map(|outbound| outbound.limits)).collect(),
        endpoints: seed.endpoints.len(),
        counters: seed.counters,
        pool: seed.pool,
        wait: seed.options.wait,
        first_receive_bytes: seed.options.ring.stream_buffer_bytes,
    };
    let mut worker = Worker::new(parts);
    let handle = worker.handle();
    let factories = seed.endpoints.iter().map(|endpoint| &endpoint.protocol);
    let factories = factories.chain(seed.options.outbound.iter().map(|outbound| &outbound.protocol));
    let made: io::Result<Vec<_>> = factories.map(|protocol| protocol(&handle)).collect();
    match made {
        Ok(protocols) => worker.set_protocols(protocols),
        Err(error) => {
            let _starter_reports = seed.started.send(Err(StartError::Protocol(error)));
            return Ok(());
        }
    }
    let _starter_gave_up = seed.started.send(Ok(started));
    let Ok(peers) = seed.peers.recv() else { return Ok(()) };
    worker.set_peers(peers);
    if let Some(on_start) = &seed.options.on_start {
        on_start(&worker.handle());
    }
    worker.run()
}

fn worker_count(wanted: usize) -> usize {
    if wanted > 0 {
        return wanted;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
