//! Ports: several rings of datagram sockets, handled by several threads, each ring's batches by one thread at a time.
//!
//! A [`Port`] is for handlers that may block or compute for long, which a worker's must not. Each ring has an *owner*, a
//! thread that receives for it; with one thread to handle, all rings have one owner and share its `io_uring`. What it has
//! received, a *batch*, is handled
//!
//! - on the owner's own thread, while handling is short and a permit is free: nothing is handed over then, and a port costs
//!   what a worker costs; there are as many permits as [`PortOptions::threads`];
//! - on a pool thread, when the last batch of the ring took long, or when all permits are taken: the owner then fills the
//!   next batch meanwhile, and sleeps until that one is taken.
//!
//! Whichever it is, the next batch of a ring is handled only after the last one has been, so a ring's datagrams are handled
//! in the order in which its sockets received them, and a handler needs no lock for what belongs to a ring. A batch has at
//! most [`PortOptions::results_per_turn`] datagrams; a ring that has more goes to the end of the queue of rings after each,
//! so a loud ring holds no thread.
//!
//! With several threads every ring has an owner of its own, so that a handler that blocks stops its own ring only. More rings
//! than threads cost wake-ups: as many rings as threads, with several sockets each, is the ordinary shape.

mod control;
mod counters;
mod exchange;
mod inside;
mod outlet;
mod owner;
mod schedule;

pub use counters::PortTotals;

use crate::udp::Outgoing;
use crate::wait::WaitMode;
use inside::Inside;
use ringway_ring::{Batch, DatagramOptions, Report, RingOptions};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Most rings of a port: each is a thread.
pub const PORT_RINGS_MAX: usize = 1024;

/// Most threads that handle a port's batches.
pub const PORT_THREADS_MAX: usize = 1024;

/// How long [`Port::stop`] waits, after its time is up, for threads that are in no handler to end.
const END_WAIT: Duration = Duration::from_millis(500);

/// The longest time [`Port::stop`] takes for what it was told: a year.
const WITHIN_MAX: Duration = Duration::from_hours(365 * 24);

/// What a port does with what it receives. One value serves all rings, from several threads at once, but never two batches
/// of one ring at a time.
pub trait PortHandler: Send + Sync + 'static {
    /// Handles a batch of one socket, at most [`PortOptions::results_per_turn`] datagrams in the order of their arrival. May
    /// block. What shall live longer than the call is copied out. Answers given to `out` leave together, from the same socket,
    /// after the call. A panic costs the rest of this batch and is counted; answers given before it leave.
    fn batch(&self, from: PortSocket, batch: &Batch, out: &mut Outgoing<'_>);

    /// A socket reported an error that a datagram's way through the network brought (ICMP, interface down); reception goes on.
    /// Called on the ring's owner thread, possibly beside a batch of the ring; must not block.
    fn error(&self, _from: PortSocket, _error: &io::Error) {}
}

/// One socket of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortSocket {
    /// The ring's place in what [`Port::start`] was given.
    pub ring: usize,
    /// The socket's place among its ring's.
    pub socket: usize,
}

/// When a batch goes to a pool thread instead of being handled by its ring's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handover {
    /// When the last batch of the ring took longer than 200 µs, or no permit is free.
    #[default]
    WhenLong,
    /// Only when no permit is free: for handlers that are always short.
    WhenBusy,
    /// Always: for handlers that mostly block.
    Always,
}

/// A port's settings.
#[derive(Clone, Copy, Debug)]
pub struct PortOptions {
    /// Batches handled at once, and pool threads: 1 to [`PORT_THREADS_MAX`]; 0: one per core this process may use.
    pub threads: usize,
    /// Datagrams of one batch at most, 1 to a quarter of [`DatagramOptions::buffers`]: three batches of a socket may be out
    /// at once, and the kernel needs room meanwhile. Takes the place of [`DatagramOptions::batch_max`].
    pub results_per_turn: usize,
    /// When batches are handed over.
    pub handover: Handover,
    /// A batch that takes longer counts as a stall.
    pub stall_after: Duration,
    /// Most messages that wait to be sent at a socket; a train of up to 64 datagrams is one. What is beyond is refused to
    /// the handler, and counted.
    pub queue_messages_max: usize,
    /// Most bytes of them.
    pub queue_bytes_max: usize,
    /// How owners wait for their rings.
    pub wait: WaitMode,
    /// Each ring's dimensions; rings that share an owner share one, with as much memory as all of them.
    pub ring: RingOptions,
    /// Each socket's buffers.
    pub datagrams: DatagramOptions,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            results_per_turn: 256,
            handover: Handover::default(),
            stall_after: Duration::from_secs(1),
            queue_messages_max: 1024,
            queue_bytes_max: 4 << 20,
            wait: WaitMode::default(),
            // Nothing of the ring's own streams is used.
            ring: RingOptions { stream_buffers: 1, ..RingOptions::default() },
            datagrams: DatagramOptions::default(),
        }
    }
}

/// Why a port could not start.
#[derive(Debug)]
pub enum PortError {
    /// A setting is out of its range.
    Options(&'static str),
    /// A ring could not be made.
    Ring(io::Error),
    /// A socket could not be received from.
    Socket(PortSocket, io::Error),
    /// A thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(reason) => f.write_str(reason),
            Self::Ring(error) => write!(f, "cannot set up a ring: {error}"),
            Self::Socket(PortSocket { ring, socket }, error) => {
                write!(f, "cannot receive from socket {socket} of ring {ring}: {error}")
            }
            Self::Thread(error) => write!(f, "cannot start a thread of the port: {error}"),
        }
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Options(_) => None,
            Self::Ring(error) | Self::Socket(_, error) | Self::Thread(error) => Some(error),
        }
    }
}

/// How a port ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortEnd {
    /// What all rings did.
    pub totals: PortTotals,
    /// Rings whose owners died before, and of what.
    pub deaths: Vec<(usize, String)>,
    /// Rings whose handler had not returned when the time was up. Its thread ends when it does; if that is a pool thread, the
    /// sockets are closed all the same, and if it is an owner, those it receives from are closed then.
    pub stuck: Vec<usize>,
}

/// Several rings served by several threads. Dropping it ends it as [`Port::stop`] with no time does, but without waiting.
pub struct Port {
    inside: Arc<Inside>,
    owners: Vec<JoinHandle<()>>,
    pool: Vec<JoinHandle<()>>,
    report: Report,
}

impl Port {
    /// Starts a port: the owners of `rings`, which receive from the datagram sockets given for each
    /// ([`bind_datagrams`](ringway_ring::socket::bind_datagrams)), and the pool. When it returns, all sockets are being received from.
    ///
    /// # Errors
    /// The first thing that cannot be had; nothing is left running, and the sockets are closed, then.
    pub fn start(
        rings: Vec<Vec<OwnedFd>>,
        options: &PortOptions,
        handler: Arc<dyn PortHandler>,
    ) -> Result<Self, PortError> {
        let options = checked(&rings, options)?;
        let mut port = Self {
            inside: Arc::new(Inside::new(&rings, owners(rings.len(), options.threads), &options, handler)?),
            owners: Vec::new(),
            pool: Vec::new(),
            report: Report { driver: "none", ..Report::default() },
        };
        match port.start_threads(rings, &options) {
            Ok(()) => Ok(port),
            Err(error) => {
                port.inside.control.started(port.owners.len(), port.pool.len());
                let _nothing_was_handled = port.stop(Duration::ZERO);
                Err(error)
            }
        }
    }

    /// Which driver the rings use, and why.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many rings there are.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.inside.rings.len()
    }

    /// What all rings did.
    #[must_use]
    pub fn totals(&self) -> PortTotals {
        self.inside.totals()
    }

    /// What one ring did; nothing for one that is not there.
    #[must_use]
    pub fn totals_of(&self, ring: usize) -> PortTotals {
        self.inside.totals_of(ring)
    }

    /// How long a ring's present batch has been handled; `None` while none is. More than [`PortOptions::stall_after`] is a
    /// stall: the ring's other datagrams wait, the other rings' do not as long as permits are left.
    #[must_use]
    pub fn handling_for(&self, ring: usize) -> Option<Duration> {
        self.inside.handling_for(ring)
    }

    /// Rings whose owners have died, and of what; the others go on.
    #[must_use]
    pub fn deaths(&self) -> Vec<(usize, String)> {
        self.inside.control.left().deaths.clone()
    }

    /// Stops receiving, handles what the rings had received by then, closes the sockets and ends the threads. What waits in
    /// the sockets' own buffers is not received any more. When `within` has passed, what was not begun is given up (and
    /// counted), and handlers still at work are left alone on their threads; the call then returns within half a second.
    #[must_use]
    pub fn stop(mut self, within: Duration) -> PortEnd {
        let inside = &self.inside;
        inside.control.stop();
        inside.wake_owners();
        // A time beyond what the clock can tell is no deadline worth the name.
        let deadline = Instant::now().checked_add(within.min(WITHIN_MAX)).unwrap_or_else(Instant::now);
        if !inside.control.wait_until(deadline, |left| left.owners.is_empty()) {
            inside.give_up();
        }
        inside.exchange.close();
        let deadline = Instant::now() + END_WAIT;
        inside.control.wait_until(deadline, |left| left.owners.is_empty() && left.seats.is_empty());
        inside.close_sockets();
        let end = PortEnd { totals: inside.totals(), deaths: self.deaths(), stuck: inside.handled_rings() };
        self.join();
        end
    }

    fn start_threads(&mut self, rings: Vec<Vec<OwnedFd>>, options: &PortOptions) -> Result<(), PortError> {
        for seat in 0..options.threads {
            let inside = Arc::clone(&self.inside);
            let builder = Builder::new().name(format!("ringway-port-{seat}"));
            let thread = builder.spawn(move || inside::work(&inside, seat)).map_err(PortError::Thread)?;
            self.pool.push(thread);
        }
        let (sender, started) = channel();
        let mut shares: Vec<Vec<owner::Share>> = Vec::new();
        shares.resize_with(owners(rings.len(), options.threads), Vec::new);
        for (ring, sockets) in rings.into_iter().enumerate() {
            let owner = ring % shares.len();
            shares[owner].push((ring, sockets));
        }
        for (owner, shares) in shares.into_iter().enumerate() {
            let (inside, options, sender) = (Arc::clone(&self.inside), *options, sender.clone());
            let builder = Builder::new().name(format!("ringway-ring-{owner}"));
            let own = move || owner::own(&inside, owner, shares, &options, &sender);
            self.owners.push(builder.spawn(own).map_err(PortError::Thread)?);
        }
        drop(sender);
        for _ in 0..self.owners.len() {
            let died = |_| Err(PortError::Thread(io::Error::other("an owner died at its start")));
            self.report = started.recv().unwrap_or_else(died)?;
        }
        Ok(())
    }

    /// Joins the threads that have told that they end; the others are in a handler.
    fn join(&mut self) {
        let left = self.inside.control.left();
        let (owners, seats) = (left.owners.clone(), left.seats.clone());
        drop(left);
        let owners = self.owners.drain(..).enumerate().filter(|(owner, _)| !owners.contains(owner));
        let pool = self.pool.drain(..).enumerate().filter(|(seat, _)| !seats.contains(seat));
        for (_, thread) in owners.chain(pool) {
            let _told_before = thread.join();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.inside.give_up();
        self.inside.exchange.close();
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("rings", &self.rings())
            .field("driver", &self.report.driver)
            .finish_non_exhaustive()
    }
}

/// How many owners receive for so many rings. With one thread to handle there is one owner too: owners of their own would
/// only take turns waking up, and whatever holds the one permit holds all rings anyway.
fn owners(rings: usize, threads: usize) -> usize {
    if threads == 1 { 1 } else { rings }
}

/// The settings with what stands for defaults filled in.
fn checked(rings: &[Vec<OwnedFd>], options: &PortOptions) -> Result<PortOptions, PortError> {
    let mut options = *options;
    if options.threads == 0 {
        options.threads = std::thread::available_parallelism().map_or(1, usize::from).min(PORT_THREADS_MAX);
    }
    let turn_max = usize::from(options.datagrams.buffers) / 4;
    let rules = [
        (!rings.is_empty() && rings.len() <= PORT_RINGS_MAX, "a port has 1 to 1024 rings"),
        (rings.iter().all(|sockets| !sockets.is_empty()), "a ring of a port has at least one socket"),
        (options.threads <= PORT_THREADS_MAX, "a port has at most 1024 threads"),
        (
            (1..=turn_max).contains(&options.results_per_turn),
            "a turn of a port has 1 result to a quarter of a socket's buffers",
        ),
    ];
    if let Some((_, reason)) = rules.iter().find(|(holds, _)| !holds) {
        return Err(PortError::Options(reason));
    }
    options.datagrams.batch_max = options.results_per_turn;
    Ok(options)
}
