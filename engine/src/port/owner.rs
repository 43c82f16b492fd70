//! An owner: the thread that receives for a ring, or for several, hands batches over, and takes their buffers back.

use super::exchange::Exchange;
use super::inside::{Done, Inside, RingSide, Task};
use super::outlet::Rooms;
use super::schedule::Need;
use super::{Handover, PortError, PortOptions, PortSocket};
use crate::server::panic_text;
use ringway_ring::{Batch, Completion, Handle, Op, OpId, Payload, Report, Ring, RingOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A batch that took longer is long: handing the next one over costs less than a twentieth of this.
const LONG: Duration = Duration::from_micros(200);

/// A ring as its owner was given it: its place in the port, and its sockets.
pub(super) type Share = (usize, Vec<OwnedFd>);

struct Owner<'a> {
    inside: &'a Inside,
    options: &'a PortOptions,
    ring: Ring,
    lanes: Vec<Lane<'a>>,
    /// The sockets of all lanes; a token is the place in here.
    sockets: Vec<Socket>,
    rooms: Rooms,
    returned: Vec<Done>,
    is_ending: bool,
    idle_polls: u32,
}

/// What the port calls a ring: sockets whose batches are handled in order.
struct Lane<'a> {
    at: usize,
    side: &'a RingSide,
    /// Batches handed over and not back yet.
    out: usize,
    /// Whether the last batch took long.
    is_long: bool,
}

struct Socket {
    from: PortSocket,
    /// The place of its lane among the owner's.
    lane: usize,
    handle: Handle,
    /// What receives from it; none when that has ended.
    receiving: Option<OpId>,
}

/// The right to handle a batch, held by an owner.
struct Permit<'a> {
    exchange: &'a Exchange<Task, Done>,
    lane: usize,
}

/// An owner's thread.
pub(super) fn own(
    inside: &Inside,
    owner: usize,
    shares: Vec<Share>,
    options: &PortOptions,
    started: &Sender<Result<Report, PortError>>,
) {
    let rings: Vec<usize> = shares.iter().map(|(ring, _)| *ring).collect();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut owner = match Owner::new(inside, shares, options) {
            Ok(owner) => owner,
            Err(error) => {
                let _starter_gave_up = started.send(Err(error));
                return Ok(());
            }
        };
        let _starter_gave_up = started.send(Ok(owner.ring.report().clone()));
        let outcome = owner.run();
        owner.withdraw();
        outcome
    }));
    let death = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(panic_text(&*panic)),
    };
    inside.control.owner_ended(owner, &rings, death.as_deref());
}

impl<'a> Owner<'a> {
    fn new(inside: &'a Inside, shares: Vec<Share>, options: &'a PortOptions) -> Result<Self, PortError> {
        let pool_bytes_max = options.ring.pool_bytes_max.saturating_mul(shares.len());
        let mut ring = Ring::new(&RingOptions { pool_bytes_max, ..options.ring }).map_err(PortError::Ring)?;
        let (mut lanes, mut sockets) = (Vec::with_capacity(shares.len()), Vec::new());
        for (at, fds) in shares {
            let side = &inside.rings[at];
            side.waker.get_or_init(|| ring.waker());
            for (socket, fd) in fds.into_iter().enumerate() {
                let from = PortSocket { ring: at, socket };
                let handle = Handle::new(fd);
                let failed = |error| PortError::Socket(from, error);
                let datagrams = ring.datagrams(handle.clone(), &options.datagrams).map_err(failed)?;
                let full = |_op| failed(io::Error::other("the ring takes no more operations"));
                let token = sockets.len() as u64;
                let receiving = Some(ring.submit(Op::Datagrams(datagrams), token).map_err(full)?);
                sockets.push(Socket { from, lane: lanes.len(), handle, receiving });
            }
            lanes.push(Lane { at, side, out: 0, is_long: false });
        }
        let rooms = Rooms::new(sockets.len());
        let returned = Vec::new();
        Ok(Self { inside, options, ring, lanes, sockets, rooms, returned, is_ending: false, idle_polls: 0 })
    }

    /// Works until it is told to stop and everything is handled, or nothing is left to receive from.
    fn run(&mut self) -> io::Result<()> {
        while !self.inside.control.is_given_up() {
            // Nothing is taken from the kernel that could not be handed over.
            self.collect(Need::Room);
            if self.inside.control.is_stopping() && !self.is_ending {
                self.end_reception();
            }
            let has_ended = self.sockets.iter().all(|socket| socket.receiving.is_none());
            if has_ended {
                self.collect(Need::Rest);
            }
            self.want_room();
            if has_ended && self.rooms.is_empty() {
                return Ok(());
            }
            self.ring.poll(self.options.wait.choose(self.idle_polls, None))?;
            let _ended_the_wait = self.ring.take_woken();
            let mut completions = 0;
            while let Some(completion) = self.ring.next_completion() {
                completions += 1;
                self.complete(completion);
            }
            self.idle_polls = if completions == 0 { self.idle_polls.saturating_add(1) } else { 0 };
            let counters = &self.lanes[0].side.counters;
            counters.wakes.add(1);
            counters.out_of_buffers.set(self.ring.counters().out_of_buffers);
        }
        Ok(())
    }

    /// Asks for the end of reception; what has been received comes before it.
    fn end_reception(&mut self) {
        self.is_ending = true;
        for id in self.sockets.iter().filter_map(|socket| socket.receiving) {
            self.ring.cancel(id);
        }
    }

    /// Waits for room at the sockets that have become full.
    fn want_room(&mut self) {
        for lane in 0..self.lanes.len() {
            let side = self.lanes[lane].side;
            if !side.has_full.swap(false, Ordering::Acquire) {
                continue;
            }
            for (place, socket) in self.sockets.iter().enumerate() {
                if socket.lane == lane && side.outlets[socket.from.socket].is_full() {
                    self.rooms.want(&mut self.ring, place, &socket.handle);
                }
            }
        }
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { token, result, more, payload, .. } = completion;
        if let Some(place) = Rooms::place_of(token) {
            let Socket { from, lane, handle, .. } = &self.sockets[place];
            let outlet = &self.lanes[*lane].side.outlets[from.socket];
            self.rooms.came(&mut self.ring, place, handle, outlet);
            return;
        }
        let Ok(place) = usize::try_from(token) else { return };
        if let Payload::Datagrams(batch) = payload {
            self.hand_over(place, batch);
        }
        if !more {
            self.sockets[place].receiving = None;
        }
        match result {
            Err(error) if more || !self.is_ending => {
                let counters = &self.lanes[self.sockets[place].lane].side.counters;
                counters.errors.add(1);
                counters.ended_sockets.add(u64::from(!more));
                self.report(place, &error);
            }
            _ => {}
        }
    }

    /// Has a batch handled: here if that may be, else on the pool.
    fn hand_over(&mut self, place: usize, batch: Batch) {
        let Socket { from, lane, .. } = self.sockets[place];
        let lane = &mut self.lanes[lane];
        lane.side.counters.received.add(batch.len() as u64);
        let may_be_here = match self.options.handover {
            Handover::WhenLong => !lane.is_long,
            Handover::WhenBusy => true,
            Handover::Always => false,
        };
        if may_be_here && let Some(permit) = Permit::claim(&self.inside.exchange, lane.at) {
            let busy = self.inside.handle(from, &batch);
            drop(permit);
            lane.is_long = busy > LONG;
            lane.side.counters.handled_by_owner.add(1);
            self.ring.recycle(batch);
            return;
        }
        match self.inside.exchange.offer(lane.at, Task { socket: from.socket, batch }) {
            Ok(()) => lane.out += 1,
            Err(Task { batch, .. }) => lane.side.counters.abandoned.add(batch.len() as u64),
        }
    }

    /// Takes back what pool threads have handled, when there is what is needed.
    fn collect(&mut self, need: Need) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.out > 0) {
            self.inside.exchange.collect(lane.at, need, &mut self.returned);
            lane.out -= self.returned.len();
            for Done { batch, busy } in self.returned.drain(..) {
                lane.is_long = busy > LONG;
                self.ring.recycle(batch);
            }
        }
    }

    /// Counts what was handed over and will not be handled.
    fn withdraw(&self) {
        for lane in &self.lanes {
            while let Some(Task { batch, .. }) = self.inside.exchange.withdraw(lane.at) {
                lane.side.counters.abandoned.add(batch.len() as u64);
            }
        }
    }

    fn report(&self, place: usize, error: &io::Error) {
        let Socket { from, lane, .. } = self.sockets[place];
        let told = catch_unwind(AssertUnwindSafe(|| self.inside.handler.error(from, error)));
        self.lanes[lane].side.counters.error_panics.add(u64::from(told.is_err()));
    }
}

impl<'a> Permit<'a> {
    fn claim(exchange: &'a Exchange<Task, Done>, lane: usize) -> Option<Self> {
        exchange.claim(lane).then(|| Self { exchange, lane })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.exchange.release(self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::super::PortHandler;
    use super::super::inside::work;
    use super::super::outlet::tests::{DATAGRAMS, drivers, full};
    use super::*;
    use crate::udp::Outgoing;
    use ringway_ring::socket::{DatagramSocketOptions, bind_datagrams};
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    /// Answers nothing of its own.
    struct Silent;

    impl PortHandler for Silent {
        fn batch(&self, _from: PortSocket, _batch: &Batch, _out: &mut Outgoing<'_>) {}
    }

    /// How many numbered datagrams come, in order and without long gaps.
    fn count(receiver: &UnixDatagram) -> u16 {
        receiver.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let is_next = |number: &u16| {
            let mut bytes = [0; 2];
            receiver.recv(&mut bytes).is_ok() && u16::from_le_bytes(bytes) == *number
        };
        (0..DATAGRAMS).take_while(is_next).fold(0, |count, _| count + 1)
    }

    #[test]
    fn answers_that_a_full_socket_did_not_take_follow_whoever_handled() {
        for driver in drivers() {
            for handover in [Handover::WhenBusy, Handover::Always] {
                let ring = RingOptions { driver, ..PortOptions::default().ring };
                let options = PortOptions { ring, handover, threads: 1, ..PortOptions::default() };
                let any = "127.0.0.1:0".parse().expect("an address");
                let fd = bind_datagrams(any, &DatagramSocketOptions::default()).expect("loopback");
                let asked = UdpSocket::from(fd.try_clone().expect("a descriptor"));
                // The way out is another socket, one that can be full.
                let (sender, outlet, receiver) = full();
                let rings = [vec![fd]];
                let mut inside = Inside::new(&rings, 1, &options, Arc::new(Silent)).expect("descriptors");
                inside.rings[0].outlets[0] = outlet;
                let [sockets] = rings;
                let shares = vec![(0, sockets)];
                let inside = &inside;
                let came = std::thread::scope(|scope| {
                    scope.spawn(|| work(inside, 0));
                    scope.spawn(|| {
                        let mut owner = Owner::new(inside, shares, &options).expect("a ring");
                        owner.sockets[0].handle = Handle::new(sender.into());
                        owner.run().expect("a good ring");
                        inside.exchange.close();
                    });
                    let at = asked.local_addr().expect("bound");
                    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback");
                    client.send_to(b"answers wait", at).expect("loopback");
                    let came = count(&receiver);
                    inside.control.stop();
                    inside.wake_owners();
                    came
                });
                assert_eq!(came, DATAGRAMS, "{driver:?} {handover:?}");
            }
        }
    }
}
