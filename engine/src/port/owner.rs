//! A ring's owner: the thread that receives for it, hands its batches over, and takes their buffers back.

use super::exchange::Exchange;
use super::inside::{Done, Inside, RingSide, Task};
use super::outlet::Rooms;
use super::schedule::Need;
use super::{Handover, PortError, PortOptions, PortSocket};
use crate::server::panic_text;
use ringway_ring::{Batch, Completion, Handle, Op, OpId, Payload, Report, Ring};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A batch that took longer is long: handing the next one over costs less than a twentieth of this.
const LONG: Duration = Duration::from_micros(200);

struct Owner<'a> {
    inside: &'a Inside,
    side: &'a RingSide,
    lane: usize,
    options: &'a PortOptions,
    ring: Ring,
    /// What receives from each socket; none for one that has ended.
    receiving: Vec<Option<OpId>>,
    sockets: Vec<Handle>,
    rooms: Rooms,
    /// Batches handed over and not back yet.
    out: usize,
    returned: Vec<Done>,
    /// Whether the last batch took long.
    is_long: bool,
    is_ending: bool,
    idle_polls: u32,
}

/// The right to handle a batch, held by an owner.
struct Permit<'a> {
    exchange: &'a Exchange<Task, Done>,
    lane: usize,
}

/// An owner's thread.
pub(super) fn own(
    inside: &Inside,
    lane: usize,
    sockets: Vec<OwnedFd>,
    options: &PortOptions,
    started: &Sender<Result<Report, PortError>>,
) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut owner = match Owner::new(inside, lane, sockets, options) {
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
    inside.control.owner_ended(lane, death);
}

impl<'a> Owner<'a> {
    fn new(
        inside: &'a Inside,
        lane: usize,
        sockets: Vec<OwnedFd>,
        options: &'a PortOptions,
    ) -> Result<Self, PortError> {
        let mut ring = Ring::new(&options.ring).map_err(PortError::Ring)?;
        let side = &inside.rings[lane];
        side.waker.get_or_init(|| ring.waker());
        let sockets: Vec<Handle> = sockets.into_iter().map(Handle::new).collect();
        let mut receiving = Vec::with_capacity(sockets.len());
        for (socket, handle) in sockets.iter().enumerate() {
            let failed = |error| PortError::Socket(PortSocket { ring: lane, socket }, error);
            let datagrams = ring.datagrams(handle.clone(), &options.datagrams).map_err(failed)?;
            let full = |_op| failed(io::Error::other("the ring takes no more operations"));
            receiving.push(Some(ring.submit(Op::Datagrams(datagrams), socket as u64).map_err(full)?));
        }
        Ok(Self {
            inside,
            side,
            lane,
            options,
            ring,
            receiving,
            rooms: Rooms::new(sockets.len()),
            sockets,
            out: 0,
            returned: Vec::new(),
            is_long: false,
            is_ending: false,
            idle_polls: 0,
        })
    }

    /// Works until it is told to stop and everything is handled, or nothing is left to receive from.
    fn run(&mut self) -> io::Result<()> {
        while !self.inside.control.is_given_up() {
            // Nothing is taken from the kernel that could not be handed over.
            self.collect(Need::Room);
            if self.inside.control.is_stopping() && !self.is_ending {
                self.end_reception();
            }
            let has_ended = self.receiving.iter().all(Option::is_none);
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
            let counters = &self.side.counters;
            counters.wakes.add(1);
            counters.out_of_buffers.set(self.ring.counters().out_of_buffers);
        }
        Ok(())
    }

    /// Asks for the end of reception; what has been received comes before it.
    fn end_reception(&mut self) {
        self.is_ending = true;
        for id in self.receiving.iter().flatten() {
            self.ring.cancel(*id);
        }
    }

    /// Waits for room at the sockets that have become full.
    fn want_room(&mut self) {
        if !self.side.has_full.swap(false, Ordering::Acquire) {
            return;
        }
        for (socket, outlet) in self.side.outlets.iter().enumerate() {
            if outlet.is_full() {
                self.rooms.want(&mut self.ring, socket, &self.sockets[socket]);
            }
        }
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { token, result, more, payload, .. } = completion;
        if let Some(socket) = Rooms::socket_of(token) {
            let outlet = &self.side.outlets[socket];
            self.rooms.came(&mut self.ring, socket, &self.sockets[socket], outlet);
            return;
        }
        let Ok(socket) = usize::try_from(token) else { return };
        if let Payload::Datagrams(batch) = payload {
            self.hand_over(socket, batch);
        }
        if !more {
            self.receiving[socket] = None;
        }
        match result {
            Err(error) if more || !self.is_ending => {
                self.side.counters.errors.add(1);
                self.side.counters.ended_sockets.add(u64::from(!more));
                self.report(socket, &error);
            }
            _ => {}
        }
    }

    /// Has a batch handled: here if that may be, else on the pool.
    fn hand_over(&mut self, socket: usize, batch: Batch) {
        let may_be_here = match self.options.handover {
            Handover::WhenLong => !self.is_long,
            Handover::WhenBusy => true,
            Handover::Always => false,
        };
        if may_be_here && let Some(permit) = Permit::claim(&self.inside.exchange, self.lane) {
            let busy = self.inside.handle(PortSocket { ring: self.lane, socket }, &batch);
            drop(permit);
            self.is_long = busy > LONG;
            self.side.counters.handled_by_owner.add(1);
            self.ring.recycle(batch);
            return;
        }
        match self.inside.exchange.offer(self.lane, Task { socket, batch }) {
            Ok(()) => self.out += 1,
            Err(Task { batch, .. }) => self.side.counters.abandoned.add(batch.len() as u64),
        }
    }

    /// Takes back what pool threads have handled, when there is what is needed.
    fn collect(&mut self, need: Need) {
        if self.out == 0 {
            return;
        }
        self.inside.exchange.collect(self.lane, need, &mut self.returned);
        self.out -= self.returned.len();
        for Done { batch, busy } in self.returned.drain(..) {
            self.is_long = busy > LONG;
            self.ring.recycle(batch);
        }
    }

    /// Counts what was handed over and will not be handled.
    fn withdraw(&self) {
        while let Some(Task { batch, .. }) = self.inside.exchange.withdraw(self.lane) {
            self.side.counters.abandoned.add(batch.len() as u64);
        }
    }

    fn report(&self, socket: usize, error: &io::Error) {
        let from = PortSocket { ring: self.lane, socket };
        let told = catch_unwind(AssertUnwindSafe(|| self.inside.handler.error(from, error)));
        self.side.counters.error_panics.add(u64::from(told.is_err()));
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
    use ringway_ring::RingOptions;
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
                let mut inside = Inside::new(&rings, &options, Arc::new(Silent)).expect("descriptors");
                inside.rings[0].outlets[0] = outlet;
                let [sockets] = rings;
                let inside = &inside;
                let came = std::thread::scope(|scope| {
                    scope.spawn(|| work(inside, 0));
                    scope.spawn(|| {
                        let mut owner = Owner::new(inside, 0, sockets, &options).expect("a ring");
                        owner.sockets[0] = Handle::new(sender.into());
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
