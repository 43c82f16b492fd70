//! Ports over filled sockets: the rate of one handler with one and more threads, and the order that each ring keeps.

use ringway_engine::ring::socket::{self, DatagramSocketOptions};
use ringway_engine::ring::{Batch, DatagramOptions};
use ringway_engine::{Outgoing, Port, PortHandler, PortOptions, PortSocket};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::handler::Handler;
use crate::refusal::Refusal;
use crate::udp::kernel;
use crate::udp::stamp::{self, Order};
use crate::udp::work::Work;

/// Rings of a port.
const RINGS: usize = 2;
/// Datagrams that wait for each ring: as many as any receive buffer of a megabyte takes.
const DATAGRAMS: usize = 1_024;
/// Results of one turn: several turns a ring, so that handing over is part of the measurement.
const RESULTS_PER_TURN: usize = 64;
/// A port that has not handled all by then has lost some.
const TIME_MAX: Duration = Duration::from_secs(60);
/// A port that has handled all stops at once.
const STOP_TIME: Duration = Duration::from_secs(5);

/// One handler on so many threads.
pub(super) struct Ports {
    pub(super) handler: Handler,
    pub(super) threads: usize,
    size: usize,
}

/// What one round brought.
pub(super) struct Handled {
    /// Datagrams a second, from the first to the last one handled.
    pub(super) rate: f64,
    /// A sentence if an order was broken.
    pub(super) disorder: Option<String>,
}

impl Ports {
    pub(super) fn new(handler: Handler, threads: usize, size: usize) -> Ports {
        Ports { handler, threads, size }
    }

    /// The set-up in words.
    pub(super) fn set_up(size: usize) -> String {
        format!(
            "{RINGS} rings, {DATAGRAMS} datagrams of {size} bytes wait for each, {RESULTS_PER_TURN} results a turn"
        )
    }

    /// Fills the sockets, starts a port on them, and waits until all is handled.
    pub(super) fn round(&self) -> Result<Handled, Refusal> {
        let sockets = (0..RINGS)
            .map(|_| self.filled().map(|socket| vec![socket]))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let desk = Arc::new(Desk::new(self.handler, self.size));
        let buffers = u16::try_from((4 * RESULTS_PER_TURN).next_power_of_two()).unwrap_or(1024);
        let options = PortOptions {
            threads: self.threads,
            results_per_turn: RESULTS_PER_TURN,
            datagrams: DatagramOptions { buffers, payload_bytes: self.size, ..DatagramOptions::default() },
            ..PortOptions::default()
        };
        let handler: Arc<dyn PortHandler> = Arc::clone(&desk) as _;
        let port =
            Port::start(sockets, &options, handler).map_err(Refusal::because("cannot start a port"))?;
        let result = desk.wait();
        let end = port.stop(STOP_TIME);
        let rate = result?;
        if !end.deaths.is_empty() || !end.stuck.is_empty() || end.totals.panics > 0 {
            return Err(Refusal::failed(format!("a port ended badly: {end:?}")));
        }
        Ok(Handled { rate, disorder: desk.disorder() })
    }

    /// A socket in which all datagrams wait.
    fn filled(&self) -> Result<OwnedFd, Refusal> {
        let receive_buffer_bytes = u32::try_from(kernel::receive_buffer_bytes_max()).unwrap_or(u32::MAX);
        let options = DatagramSocketOptions { receive_buffer_bytes, ..DatagramSocketOptions::default() };
        let fill = || -> std::io::Result<OwnedFd> {
            let receiver = socket::bind_datagrams(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options)?;
            let address =
                socket::local_address(receiver.as_fd()).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let mut datagram = vec![0; self.size];
            for sequence in 1..=DATAGRAMS {
                stamp::write(&mut datagram, 0, sequence as u64);
                sender.send_to(&datagram, address)?;
            }
            Ok(receiver)
        };
        fill().map_err(Refusal::because("cannot fill a socket"))
    }
}

/// The handler, with what belongs to each ring.
struct Desk {
    handler: Handler,
    size: usize,
    lanes: Vec<Mutex<Lane>>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// What belongs to a ring; nobody ever waits for its lock, as the port promises.
struct Lane {
    order: Order,
    work: Work,
}

#[derive(Default)]
struct Progress {
    first: Option<Instant>,
    last: Option<Instant>,
    datagrams: usize,
    /// Batches of a ring that came while another one was handled.
    overlaps: u64,
}

impl Desk {
    fn new(handler: Handler, size: usize) -> Desk {
        let lanes =
            (0..RINGS).map(|_| Mutex::new(Lane { order: Order::new(), work: handler.work() })).collect();
        Desk { handler, size, lanes, progress: Mutex::default(), changed: Condvar::new() }
    }

    /// The rate, when all has been handled.
    fn wait(&self) -> Result<f64, Refusal> {
        let waiting = |progress: &mut Progress| progress.datagrams < RINGS * DATAGRAMS;
        let waited = self.changed.wait_timeout_while(self.progress(), TIME_MAX, waiting);
        let (progress, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            let count = progress.datagrams;
            return Err(Refusal::failed(format!(
                "a port handled only {count} of {} datagrams",
                RINGS * DATAGRAMS
            )));
        }
        let time = progress.first.zip(progress.last).map_or(Duration::ZERO, |(first, last)| last - first);
        Ok(progress.datagrams as f64 / time.as_secs_f64())
    }

    fn disorder(&self) -> Option<String> {
        let overlaps = self.progress().overlaps;
        let lanes = self.lanes.iter().map(|lane| lane.lock().unwrap_or_else(PoisonError::into_inner));
        let violations: u64 = lanes.map(|lane| lane.order.violations()).sum();
        (overlaps + violations > 0).then(|| {
            format!("a port broke its promise: {violations} datagrams out of order, {overlaps} batches of a ring at once")
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortHandler for Desk {
    fn batch(&self, from: PortSocket, batch: &Batch, _out: &mut Outgoing<'_>) {
        self.progress().first.get_or_insert_with(Instant::now);
        let mut lane = match self.lanes[from.ring].try_lock() {
            Ok(lane) => lane,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.progress().overlaps += 1;
                self.lanes[from.ring].lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        let Lane { order, work } = &mut *lane;
        let mut count = 0;
        for datagram in batch.iter().filter(|datagram| datagram.payload().len() == self.size) {
            order.see(datagram.payload());
            self.handler.handle(work);
            count += 1;
        }
        drop(lane);
        let mut progress = self.progress();
        progress.datagrams += count;
        if progress.datagrams >= RINGS * DATAGRAMS {
            progress.last = Some(Instant::now());
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_keep_the_order_of_each_ring() {
        for threads in [1, 2] {
            let ports = Ports::new(Handler::Compute(Duration::from_micros(1)), threads, 64);
            let handled = ports.round().expect("all datagrams are handled");
            assert_eq!(handled.disorder, None);
            assert!(handled.rate > 0.0);
        }
    }
}
