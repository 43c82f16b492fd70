//! A port socket's way out: answers queued under a limit, flushed by whoever handles, and waited for by the ring's owner
//! when the socket is full.

use crate::counters::Counter;
use ringway_lock::{Mutex, MutexGuard};
use ringway_ring::socket::{SendBatch, dropped_datagrams, send_datagrams};
use ringway_ring::{Handle, Interest, Op, OpId, Ring};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Set in the token of a wait for room; the rest is the socket's place among its owner's.
const ROOM: u64 = 1 << 32;

/// What threads share of one socket, for sending.
pub(super) struct Outlet {
    /// The socket that its ring receives from, once more; `None` when the port has ended.
    fd: Mutex<Option<OwnedFd>>,
    /// Held by whoever handles a batch of the socket, for as long.
    queue: Mutex<SendBatch>,
    /// Something was left when it was flushed last.
    is_full: AtomicBool,
    /// These are written by the holder of the queue alone.
    pub(super) sent: Counter,
    pub(super) sent_bytes: Counter,
    pub(super) refused: Counter,
    /// What the kernel had dropped when the port ended.
    dropped_at_end: AtomicU64,
}

impl Outlet {
    pub(super) fn new(fd: OwnedFd, queue: SendBatch) -> Self {
        Self {
            fd: Mutex::new(Some(fd)),
            queue: Mutex::new(queue),
            is_full: AtomicBool::new(false),
            sent: Counter::default(),
            sent_bytes: Counter::default(),
            refused: Counter::default(),
            dropped_at_end: AtomicU64::new(0),
        }
    }

    /// The queue, for handling a batch: nobody else wants it for long.
    pub(super) fn queue(&self) -> MutexGuard<'_, SendBatch> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the socket takes; true when something is left.
    pub(super) fn flush(&self, queue: &mut SendBatch) -> bool {
        if queue.is_empty() {
            return false;
        }
        let fd = self.fd();
        match fd.as_ref().map(|fd| send_datagrams(fd.as_fd(), queue)) {
            Some(Ok(sent)) => {
                self.sent.add(sent.datagrams as u64);
                self.sent_bytes.add(sent.bytes as u64);
                self.refused.add(queue.refusals().len() as u64);
            }
            // The port has ended, or the socket is broken.
            None | Some(Err(_)) => self.give_up(queue),
        }
        let is_full = !queue.is_empty();
        self.is_full.store(is_full, Ordering::Release);
        is_full
    }

    /// Whether something was left when it was flushed last.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Gives up what was not sent, unless somebody holds the queue, who will see the socket gone.
    pub(super) fn close(&self) {
        self.dropped_at_end.store(self.dropped(), Ordering::Relaxed);
        let _closed = self.fd().take();
        if let Ok(mut queue) = self.queue.try_lock() {
            self.give_up(&mut queue);
        }
    }

    /// Datagrams that the kernel dropped at the socket, until the port ended.
    pub(super) fn dropped(&self) -> u64 {
        match &*self.fd() {
            Some(fd) => dropped_datagrams(fd.as_fd()).map_or(0, u64::from),
            None => self.dropped_at_end.load(Ordering::Relaxed),
        }
    }

    fn give_up(&self, queue: &mut SendBatch) {
        self.refused.add(queue.len() as u64);
        queue.clear();
    }

    fn fd(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("sent", &self.sent)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// An owner's waits until its sockets take more.
#[derive(Debug)]
pub(super) struct Rooms(Vec<Option<OpId>>);

impl Rooms {
    pub(super) fn new(sockets: usize) -> Self {
        Self(vec![None; sockets])
    }

    /// The place of the socket that a completion's token tells of, if it tells of room.
    pub(super) fn place_of(token: u64) -> Option<usize> {
        if token & ROOM == 0 { None } else { usize::try_from(token & !ROOM).ok() }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Waits until a socket takes more, unless that is waited for already.
    pub(super) fn want(&mut self, ring: &mut Ring, place: usize, handle: &Handle) {
        if self.0[place].is_none() {
            let op = Op::Ready { socket: handle.clone(), interest: Interest::Writable };
            // With no operation free, what is left goes with the next batch's answers.
            self.0[place] = ring.submit(op, ROOM | place as u64).ok();
        }
    }

    /// The socket takes more: flushes its queue, and waits again if that does not empty it.
    pub(super) fn came(&mut self, ring: &mut Ring, place: usize, handle: &Handle, outlet: &Outlet) {
        self.0[place] = None;
        // Whoever holds the queue handles a batch, flushes after it, and tells if something is left.
        let Ok(mut queue) = outlet.queue.try_lock() else { return };
        if outlet.flush(&mut queue) {
            self.want(ring, place, handle);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ringway_ring::{DriverChoice, RingOptions, Wait, probe};
    use std::os::unix::net::UnixDatagram;
    use std::time::{Duration, Instant};

    pub(in crate::port) const DATAGRAMS: u16 = 5_000;

    /// A socket pair whose buffers hold a few datagrams only, and a full queue for it.
    pub(in crate::port) fn full() -> (UnixDatagram, Outlet, UnixDatagram) {
        let (sender, receiver) = UnixDatagram::pair().expect("descriptors");
        let mut queue = SendBatch::new(DATAGRAMS.into(), 1 << 20);
        for number in 0..DATAGRAMS {
            queue.push(None, &number.to_le_bytes()).expect("room");
        }
        let outlet = Outlet::new(sender.try_clone().expect("a descriptor").into(), queue);
        (sender, outlet, receiver)
    }

    /// The drivers there are.
    pub(in crate::port) fn drivers() -> Vec<DriverChoice> {
        let uring = std::thread::spawn(probe).join().expect("no panic").is_ok();
        if !uring {
            eprintln!("SKIPPED on io_uring");
        }
        [(DriverChoice::Uring, uring), (DriverChoice::Epoll, true)]
            .into_iter()
            .filter_map(|(driver, is_there)| is_there.then_some(driver))
            .collect()
    }

    #[test]
    fn what_a_full_socket_did_not_take_follows_in_order() {
        for driver in drivers() {
            let mut ring = Ring::new(&RingOptions { driver, ..RingOptions::default() }).expect("a ring");
            let (sender, outlet, receiver) = full();
            receiver.set_nonblocking(true).expect("a socket");
            let handle = Handle::new(sender.into());
            let mut rooms = Rooms::new(1);
            assert!(outlet.flush(&mut outlet.queue()), "the socket is smaller than the queue");
            rooms.want(&mut ring, 0, &handle);
            let (mut next, mut waits) = (0, 0);
            let deadline = Instant::now() + Duration::from_secs(10);
            while next < DATAGRAMS {
                assert!(Instant::now() < deadline, "{next} datagrams came");
                let mut number = [0; 2];
                while receiver.recv(&mut number).is_ok() {
                    assert_eq!(u16::from_le_bytes(number), next);
                    next += 1;
                }
                ring.poll(Wait::AtMost(Duration::from_millis(10))).expect("a good ring");
                while let Some(completion) = ring.next_completion() {
                    assert_eq!(Rooms::place_of(completion.token), Some(0));
                    waits += 1;
                    rooms.came(&mut ring, 0, &handle, &outlet);
                }
            }
            assert!(rooms.is_empty());
            assert!(waits > 1, "the socket was full {waits} times");
            assert_eq!((outlet.sent.get(), outlet.refused.get()), (DATAGRAMS.into(), 0));
        }
    }

    #[test]
    fn what_is_not_sent_is_counted_when_the_port_ends() {
        let (_sender, outlet, _receiver) = full();
        assert!(outlet.flush(&mut outlet.queue()));
        let sent = outlet.sent.get();
        outlet.close();
        assert_eq!(outlet.refused.get(), u64::from(DATAGRAMS) - sent);
        let mut queue = outlet.queue();
        queue.push(None, b"too late").expect("room");
        assert!(!outlet.flush(&mut queue), "nothing waits for a socket that is gone");
        assert_eq!(outlet.refused.get(), u64::from(DATAGRAMS) - sent + 1);
    }
}
