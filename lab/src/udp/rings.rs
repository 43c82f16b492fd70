//! The ring receivers, thin programs over the engine's public interfaces: an endpoint on a worker, and ports.

use ringway_engine::ring::socket::{self, DatagramSocketOptions};
use ringway_engine::ring::{Batch, DatagramOptions, DriverChoice, Report, RingOptions};
use ringway_engine::{
    DatagramHandler, DatagramHandlerFactory, Outgoing, Port, PortHandler, PortOptions, PortSocket, Server,
    ServerOptions, UdpEndpoint, WaitMode,
};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::kernel;
use super::receiver::Receiver;
use super::serve::Bound;
use super::served::Closing;
use super::settings::Settings;
use super::trial::{Tally, Trial};
use crate::refusal::Refusal;

/// Completions that a receiver waits for when nothing else was said.
const BATCH_COMPLETIONS: u32 = 32;
/// How long it waits for more than one: at half a million datagrams a second the kernel fills a quarter of the buffers.
const BATCH_AT_MOST: Duration = Duration::from_micros(500);
/// How long a receiver may take to stop when its trial is over.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How often is asked whether the rings of a port are alive.
const LIFE_CHECK_EVERY: Duration = Duration::from_millis(200);
/// Longer than any trial.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(1 << 32);

/// How a receiver waits when nothing else was said.
pub(super) fn wait_of(server: Receiver) -> WaitMode {
    match server {
        Receiver::RingPolled => WaitMode::Polled,
        _ => WaitMode::Batch { completions: BATCH_COMPLETIONS, at_most: BATCH_AT_MOST },
    }
}

/// Starts a server with one worker and one UDP endpoint.
pub(super) fn bind_worker(settings: &Settings, trial: &Arc<Trial>) -> Result<Bound, Refusal> {
    let (counted, gro) = (Arc::clone(trial), settings.gro);
    let handler: DatagramHandlerFactory = Arc::new(move |_worker| {
        let tally = RefCell::new(Some(counted.tally()));
        Ok(Rc::new(Endpoint { tally, gro }) as Rc<dyn DatagramHandler>)
    });
    let mut endpoint = UdpEndpoint::new(settings.bind, handler);
    endpoint.socket = socket_options(settings);
    endpoint.datagrams = datagram_options(settings);
    let options = ServerOptions {
        workers: 1,
        wait: settings.wait,
        ring: ring_options(settings),
        udp: vec![endpoint],
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).map_err(|error| Refusal::new(error.to_string()))?;
    let facts = vec![("driver".to_owned(), driver(server.report()))];
    let address = server.udp_addresses()[0];
    // A worker keeps its sockets to itself; a socket of the same options tells what they got.
    let probe = Settings { bind: SocketAddr::new(settings.bind.ip(), 0), ..settings.clone() };
    let receive_buffer_bytes = received_buffer(&bind(&probe, 0)?)?;
    let (trial, asks_huge) = (Arc::clone(trial), settings.huge_pages);
    let serve = move || {
        let drainer = server.drainer();
        let end = thread::spawn(move || {
            trial.wait(TRIAL_TIME_MAX);
            let seen = (kernel::drops_at(address), huge_pages(asks_huge));
            drainer.drain(STOP_TIME);
            seen
        });
        let totals = server.wait(STOP_TIME).map_err(Refusal::failed)?;
        let (dropped, huge) =
            end.join().map_err(|_panic| Refusal::failed("the thread that ends the trial panicked"))?;
        let counters = totals.iter().filter(|(name, value)| name.contains("datagram") && *value > 0);
        let counters = counters.map(|(name, value)| (name.replace('_', " "), value as f64));
        Ok(Closing { dropped, counters: counters.chain(huge).collect() })
    };
    Ok(Bound { addresses: vec![address], receive_buffer_bytes, facts, serve: Box::new(serve) })
}

/// Binds the sockets of a port, a ring's each.
pub(super) fn bind_port(settings: &Settings, trial: &Arc<Trial>) -> Result<Bound, Refusal> {
    let sockets =
        (0..settings.rings).map(|ring| bind(settings, ring)).collect::<Result<Vec<OwnedFd>, Refusal>>()?;
    let addresses = sockets.iter().map(address_of).collect::<Result<Vec<SocketAddr>, Refusal>>()?;
    let receive_buffer_bytes = received_buffer(&sockets[0])?;
    let rings = sockets.into_iter().map(|socket| vec![socket]).collect();
    let counting = Arc::new(Counting::new(trial, settings));
    let options = PortOptions {
        threads: settings.threads,
        results_per_turn: settings.results,
        wait: settings.wait,
        ring: ring_options(settings),
        datagrams: datagram_options(settings),
        ..PortOptions::default()
    };
    let handler: Arc<dyn PortHandler> = Arc::clone(&counting) as _;
    let port = Port::start(rings, &options, handler).map_err(Refusal::because("cannot start a port"))?;
    let facts = vec![("driver".to_owned(), driver(port.report()))];
    let (bound, trial, asks_huge) = (addresses.clone(), Arc::clone(trial), settings.huge_pages);
    let serve = move || {
        // A ring that died sees no end of the trial.
        while !trial.wait(LIFE_CHECK_EVERY) && port.deaths().is_empty() {}
        let huge = huge_pages(asks_huge);
        let dropped = bound.iter().map(|address| kernel::drops_at(*address)).sum();
        let end = port.stop(STOP_TIME);
        counting.end();
        if !end.deaths.is_empty() || !end.stuck.is_empty() {
            return Err(Refusal::failed(format!("the port ended badly: {end:?}")));
        }
        let counters = end.totals.iter().map(|(name, value)| (name.replace('_', " "), value as f64));
        Ok(Closing { dropped, counters: counters.chain(huge).collect() })
    };
    Ok(Bound { addresses, receive_buffer_bytes, facts, serve: Box::new(serve) })
}

fn bind(settings: &Settings, ring: usize) -> Result<OwnedFd, Refusal> {
    let mut address = settings.bind;
    if address.port() != 0 {
        // Settings were checked: the last ring's port number exists.
        address.set_port(address.port().saturating_add(u16::try_from(ring).unwrap_or(u16::MAX)));
    }
    let bound = socket::bind_datagrams(address, &socket_options(settings));
    bound.map_err(Refusal::because(format!("cannot listen on {address}")))
}

fn socket_options(settings: &Settings) -> DatagramSocketOptions {
    let receive_buffer_bytes = u32::try_from(settings.receive_buffer_bytes).unwrap_or(u32::MAX);
    DatagramSocketOptions { receive_buffer_bytes, gro: settings.gro, ..DatagramSocketOptions::default() }
}

fn address_of(socket: &OwnedFd) -> Result<SocketAddr, Refusal> {
    socket::local_address(socket.as_fd()).ok_or_else(|| Refusal::failed("a bound socket has no address"))
}

fn received_buffer(socket: &OwnedFd) -> Result<usize, Refusal> {
    let (bytes, _) =
        socket::datagram_buffers(socket.as_fd()).map_err(Refusal::because("cannot read buffer sizes"))?;
    Ok(bytes as usize)
}

fn ring_options(settings: &Settings) -> RingOptions {
    let driver = if settings.epoll { DriverChoice::Epoll } else { DriverChoice::Auto };
    RingOptions { driver, stream_buffers: 1, ..RingOptions::default() }
}

fn datagram_options(settings: &Settings) -> DatagramOptions {
    DatagramOptions {
        buffers: settings.buffers,
        payload_bytes: settings.buffer_bytes,
        batch_max: settings.results,
        huge_pages: settings.huge_pages,
    }
}

/// How much memory is on huge pages, for those who asked for them.
fn huge_pages(asked: bool) -> Option<(String, f64)> {
    let kib = kernel::huge_pages_kib().filter(|_| asked)?;
    Some(("memory on huge pages [KiB]".to_owned(), kib as f64))
}

fn driver(report: &Report) -> String {
    match &report.refusal {
        Some(reason) => format!("{} (io_uring is not used: {reason})", report.driver),
        None => report.driver.to_owned(),
    }
}

/// What the rings of a port count: each has a tally of its own, whose lock nobody waits for.
#[derive(Debug)]
struct Counting {
    tallies: Vec<Mutex<Option<Tally>>>,
    gro: bool,
}

impl Counting {
    fn new(trial: &Arc<Trial>, settings: &Settings) -> Counting {
        let tallies = (0..settings.rings).map(|_| Mutex::new(Some(trial.tally()))).collect();
        Counting { tallies, gro: settings.gro }
    }

    /// Adds up: nothing is counted from now on.
    fn end(&self) {
        for tally in &self.tallies {
            tally.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl PortHandler for Counting {
    fn batch(&self, from: PortSocket, batch: &Batch, _out: &mut Outgoing<'_>) {
        let mut tally = self.tallies[from.ring].lock().unwrap_or_else(PoisonError::into_inner);
        if tally.as_mut().is_some_and(|tally| !count(tally, batch, self.gro)) {
            *tally = None;
        }
    }
}

/// What the endpoint of a worker counts.
struct Endpoint {
    tally: RefCell<Option<Tally>>,
    gro: bool,
}

impl DatagramHandler for Endpoint {
    fn datagrams(&self, batch: &mut Batch, _out: &mut Outgoing<'_>) {
        let mut tally = self.tally.borrow_mut();
        if tally.as_mut().is_some_and(|tally| !count(tally, batch, self.gro)) {
            *tally = None;
        }
    }
}

/// Counts a batch and says whether to go on; a train's datagrams one by one.
fn count(tally: &mut Tally, batch: &Batch, gro: bool) -> bool {
    if gro {
        return batch.iter().all(|datagram| datagram.segments().all(|segment| tally.take(segment)));
    }
    batch.iter().all(|datagram| tally.take(datagram.payload()))
}
