//! The driver that a simulated network gives to a ring.

use super::files;
use super::world::World;
use ringway_ring::{
    Arrival, Driver, Event, Handle, Interest, Op, OpId, Pool, SLICE_BYTES_MAX, Slots, Wait, Waker,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::rc::Rc;

/// Polls that a delayed operation or cancel waits at most.
const DELAY_POLLS_MAX: usize = 3;

/// Completions that a multishot operation brings in one poll at most.
const BURST_MAX: usize = 8;

/// A [`Driver`] on a [`super::SimNet`].
pub struct SimDriver {
    world: Rc<RefCell<World>>,
    pool: Pool,
    waker: Waker,
    woken: bool,
    stream_buffer_bytes: usize,
    /// By the bits of their ids, so that a seed always meets the same order.
    active: BTreeMap<u64, Active>,
    cancels: Vec<Cancel>,
    /// Completions that have happened and were not reported yet, in order for each operation.
    outbox: BTreeMap<u64, VecDeque<Event>>,
    /// Directions of sockets in use, until the last completion of their operation has been reported.
    lanes: BTreeMap<Lane, OpId>,
}

/// An operation that has not ended.
#[derive(Clone, Copy)]
struct Active {
    id: OpId,
    delay: usize,
    /// A zero-copy send that is done and waits for the "kernel" to let go of its buffer.
    is_notifying: bool,
}

/// One direction of one socket.
type Lane = (i32, bool);

struct Cancel {
    id: OpId,
    delay: usize,
}

/// How far an attempt came.
enum Attempt {
    Ended(i32, Arrival),
    /// Something happened, and more can.
    Goes,
    Waits,
}

impl SimDriver {
    pub(super) fn new(
        world: Rc<RefCell<World>>,
        pool: Pool,
        waker: Waker,
        stream_buffer_bytes: usize,
    ) -> Self {
        Self {
            world,
            pool,
            waker,
            woken: false,
            stream_buffer_bytes,
            active: BTreeMap::new(),
            cancels: Vec::new(),
            outbox: BTreeMap::new(),
            lanes: BTreeMap::new(),
        }
    }

    fn chance(&self, pick: impl FnOnce(&super::Faults) -> u16) -> bool {
        let mut world = self.world.borrow_mut();
        let per_mille = pick(&world.faults);
        world.rng.chance(per_mille)
    }

    fn delay(&self, pick: impl FnOnce(&super::Faults) -> u16) -> usize {
        if self.chance(pick) { self.world.borrow_mut().rng.between(1, DELAY_POLLS_MAX) } else { 0 }
    }

    /// Lets everything happen that can; false when nothing did and nothing is under way.
    fn step(&mut self, slots: &mut Slots) -> bool {
        self.world.borrow_mut().sweep();
        let mut moved = self.carry_out_cancels(slots);
        let mut order: Vec<OpId> = self.active.values().map(|active| active.id).collect();
        self.world.borrow_mut().rng.shuffle(&mut order);
        for id in order {
            moved |= self.advance(id, slots);
        }
        moved
    }

    fn carry_out_cancels(&mut self, slots: &mut Slots) -> bool {
        let mut moved = false;
        for mut cancel in std::mem::take(&mut self.cancels) {
            moved = true;
            if cancel.delay > 0 {
                cancel.delay -= 1;
                self.cancels.push(cancel);
                continue;
            }
            // The race: the operation may get a last chance before the cancel reaches it.
            if self.world.borrow_mut().rng.chance(500) {
                self.attempt(cancel.id, slots);
            }
            self.end_cancelled(cancel.id, slots);
        }
        moved
    }

    fn end_cancelled(&mut self, id: OpId, slots: &Slots) {
        let Some(active) = self.active.get(&id.bits()).copied() else { return };
        if active.is_notifying {
            // Sent already: it ends by itself.
            return;
        }
        let moved = slots.get(id).map_or(0, Op::moved);
        let result = if moved > 0 { signed(moved) } else { -libc::ECANCELED };
        self.end(id, result, Arrival::None);
    }

    /// One operation's turn; false when it waits for the other side.
    fn advance(&mut self, id: OpId, slots: &mut Slots) -> bool {
        let Some(active) = self.active.get_mut(&id.bits()) else { return false };
        if active.delay > 0 {
            active.delay -= 1;
            return true;
        }
        let waits = self.delay(|faults| faults.delay);
        if waits > 0 {
            // Only what could move is delayed: an idle network must come to rest.
            let could_move = slots.get(id).is_some_and(|op| self.could_move(op));
            if let Some(active) = self.active.get_mut(&id.bits()) {
                active.delay = if could_move { waits } else { 0 };
            }
            return could_move;
        }
        self.attempt(id, slots)
    }

    fn could_move(&self, op: &Op) -> bool {
        let Some((socket, interest)) = op.target() else { return true };
        !matches!(op, Op::Connect(_)) && self.world.borrow().is_ready(socket.raw(), interest)
    }

    fn attempt(&mut self, id: OpId, slots: &mut Slots) -> bool {
        let is_active = self.active.contains_key(&id.bits());
        let Some(op) = slots.get_mut(id).filter(|_| is_active) else { return false };
        let attempt = match op {
            Op::Accept { listener } => self.accept(id, listener.raw()),
            Op::Stream { socket } => self.stream(id, socket.raw(), self.stream_buffer_bytes),
            Op::LargeStream { socket } => self.stream(id, socket.raw(), SLICE_BYTES_MAX),
            Op::Exact { socket, buffer, filled, want } => {
                let target = buffer.get_mut(*filled as usize..*want as usize).unwrap_or_default();
                exact(&mut self.world.borrow_mut(), socket.raw(), target, filled)
            }
            Op::Send { socket, bytes, sent } => {
                let left = bytes.get(*sent as usize..).unwrap_or_default();
                transfer(self.world.borrow_mut().send(socket.raw(), left), left.len(), *sent, |count| {
                    *sent += count;
                    *sent
                })
            }
            Op::SendZeroCopy(_) => self.send_zero_copy(id, op),
            Op::Gather(_) => self.gather(op),
            // A watch may end whenever it has told something: this one always does.
            Op::Transmit(_) | Op::Ready { .. } | Op::Watch { .. } => self.readiness(op),
            Op::Connect(connect) => {
                let (socket, address) = (connect.socket.raw(), connect.address.socket_address());
                match self.world.borrow_mut().connect(socket, address) {
                    Some(Ok(())) => Attempt::Ended(0, Arrival::None),
                    Some(Err(error)) => Attempt::Ended(negative(&error), Arrival::None),
                    None => Attempt::Waits,
                }
            }
            // Datagrams are received from real sockets only; a simulated one never gets as far as an operation.
            Op::Datagrams(_) => Attempt::Ended(-libc::ENOTSOCK, Arrival::None),
            Op::Open(_) | Op::Stat(_) | Op::Read(_) | Op::Write(_) => self.file(op),
        };
        match attempt {
            Attempt::Waits => false,
            Attempt::Goes => true,
            Attempt::Ended(result, arrival) => {
                self.end(id, result, arrival);
                true
            }
        }
    }

    fn accept(&mut self, id: OpId, listener: i32) -> Attempt {
        let burst = self.world.borrow_mut().rng.between(1, BURST_MAX);
        for taken in 0..burst {
            let is_waiting = self.world.borrow().is_ready(listener, Interest::Readable);
            if is_waiting && self.chance(|faults| faults.out_of_descriptors) {
                return Attempt::Ended(-libc::EMFILE, Arrival::None);
            }
            let accepted = self.world.borrow_mut().accept(listener);
            match accepted {
                Ok(handle) if self.chance(|faults| faults.end_multishot) => {
                    return Attempt::Ended(0, Arrival::Simulated(handle));
                }
                Ok(handle) => self.report(id, 0, Arrival::Simulated(handle), true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if taken > 0 { Attempt::Goes } else { Attempt::Waits };
                }
                Err(error) => return Attempt::Ended(negative(&error), Arrival::None),
            }
        }
        Attempt::Goes
    }

    fn stream(&mut self, id: OpId, socket: i32, buffer_bytes: usize) -> Attempt {
        let burst = self.world.borrow_mut().rng.between(1, BURST_MAX);
        for taken in 0..burst {
            if !self.world.borrow().is_ready(socket, Interest::Readable) {
                return if taken > 0 { Attempt::Goes } else { Attempt::Waits };
            }
            let is_refused = self.chance(|faults| faults.out_of_buffers);
            let buffer = if is_refused { None } else { self.pool.get(buffer_bytes) };
            let Some(mut buffer) = buffer else { return Attempt::Ended(-libc::ENOBUFS, Arrival::None) };
            let received = self.world.borrow_mut().receive(socket, &mut buffer);
            match received {
                Ok(0) => return Attempt::Ended(0, Arrival::None),
                Ok(count) => {
                    let (result, arrival) = (signed(count), Arrival::Bytes(buffer.freeze(count)));
                    if self.chance(|faults| faults.end_multishot) {
                        return Attempt::Ended(result, arrival);
                    }
                    self.report(id, result, arrival, true);
                }
                Err(error) => return Attempt::Ended(negative(&error), Arrival::None),
            }
        }
        Attempt::Goes
    }

    fn send_zero_copy(&mut self, id: OpId, op: &mut Op) -> Attempt {
        let Op::SendZeroCopy(send) = op else { return Attempt::Waits };
        let is_notifying = self.active.get(&id.bits()).is_some_and(|active| active.is_notifying);
        if is_notifying {
            return Attempt::Ended(signed(send.sent()), Arrival::None);
        }
        let Some(socket) = send.socket().map(Handle::raw) else { return Attempt::Waits };
        let left = send.bytes().get(send.sent() as usize..).unwrap_or_default();
        let result = self.world.borrow_mut().send(socket, left);
        let attempt = transfer(result, left.len(), send.sent(), |count| {
            send.advance(count);
            send.sent()
        });
        if !matches!(attempt, Attempt::Ended(1.., _)) {
            return attempt;
        }
        // All is sent; the buffer is let go of at a later poll.
        send.release_socket();
        let delay = self.world.borrow_mut().rng.between(0, DELAY_POLLS_MAX);
        if let Some(active) = self.active.get_mut(&id.bits()) {
            (active.is_notifying, active.delay) = (true, delay);
        }
        if delay == 0 {
            send.set_copied();
        }
        Attempt::Goes
    }

    fn gather(&self, op: &mut Op) -> Attempt {
        let Op::Gather(gather) = op else { return Attempt::Waits };
        let (socket, total) = (gather.socket().raw(), gather.left().len());
        let first = gather.left().slices().first().map_or(&[][..], |slice| slice);
        let result = self.world.borrow_mut().send(socket, first);
        transfer(result, total, gather.sent(), |count| {
            gather.advance(count);
            gather.sent()
        })
    }

    fn readiness(&self, op: &Op) -> Attempt {
        let is_ready = op
            .target()
            .is_some_and(|(socket, interest)| self.world.borrow().is_ready(socket.raw(), interest));
        // What lasts is not told apart from what does not.
        let result = i32::from(matches!(op, Op::Watch { .. }));
        if is_ready { Attempt::Ended(result, Arrival::None) } else { Attempt::Waits }
    }

    fn file(&self, op: &mut Op) -> Attempt {
        match files::carry_out(op) {
            Ok((result, warmed)) => {
                if let Op::Read(read) = op {
                    self.world.borrow_mut().warm(read.file().raw(), warmed);
                }
                Attempt::Ended(signed(result), Arrival::None)
            }
            Err(error) => Attempt::Ended(negative(&error), Arrival::None),
        }
    }

    /// The last completion.
    fn end(&mut self, id: OpId, result: i32, arrival: Arrival) {
        self.report(id, result, arrival, false);
        self.active.remove(&id.bits());
    }

    fn report(&mut self, id: OpId, result: i32, arrival: Arrival, more: bool) {
        self.outbox.entry(id.bits()).or_default().push_back(Event { id, result, more, arrival });
    }

    /// Hands completions over: operations in random order, each one's own in their order, some held back.
    fn deliver(&mut self, events: &mut Vec<Event>) {
        let mut order: Vec<_> = std::mem::take(&mut self.outbox).into_iter().collect();
        self.world.borrow_mut().rng.shuffle(&mut order);
        for (id, mut waiting) in order {
            while !waiting.is_empty() && !self.chance(|faults| faults.hold) {
                events.extend(waiting.pop_front());
            }
            if !waiting.is_empty() {
                self.outbox.insert(id, waiting);
            }
        }
        let is_over = |id: OpId, driver: &Self| {
            !driver.active.contains_key(&id.bits()) && !driver.outbox.contains_key(&id.bits())
        };
        let lanes = std::mem::take(&mut self.lanes);
        self.lanes = lanes.into_iter().filter(|(_, id)| !is_over(*id, self)).collect();
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn submit(&mut self, id: OpId, op: &mut Op) {
        let lane = op.target().map(|(socket, interest)| (socket.raw(), interest == Interest::Writable));
        let delay = self.delay(|faults| faults.delay);
        self.active.insert(id.bits(), Active { id, delay, is_notifying: false });
        let is_taken = lane.is_some_and(|lane| self.lanes.contains_key(&lane));
        if let Some(lane) = lane.filter(|_| !is_taken) {
            self.lanes.insert(lane, id);
        }
        if is_taken {
            self.end(id, -libc::EBUSY, Arrival::None);
        } else if op.is_complete() {
            self.end(id, signed(op.moved()), Arrival::None);
        }
    }

    fn cancel(&mut self, id: OpId) {
        let delay = self.delay(|faults| faults.late_cancel);
        self.cancels.push(Cancel { id, delay });
    }

    /// Never sleeps: when nothing can happen it returns, even from [`Wait::Forever`].
    fn poll(&mut self, wait: Wait, slots: &mut Slots, events: &mut Vec<Event>) -> io::Result<()> {
        if self.chance(|faults| faults.spurious_wake) {
            self.woken |= self.world.borrow_mut().rng.chance(500);
            return Ok(());
        }
        loop {
            self.woken |= self.waker.take();
            let moved = self.step(slots);
            self.deliver(events);
            if !events.is_empty() || self.woken || wait == Wait::Poll {
                return Ok(());
            }
            if !moved && self.outbox.is_empty() {
                break;
            }
        }
        match wait {
            Wait::AtMost(time) | Wait::Batch { limit: Some(time), .. } => {
                let mut world = self.world.borrow_mut();
                if world.advances_itself {
                    world.now += time;
                }
            }
            // Only another thread can end this wait: let it run.
            Wait::Forever | Wait::Batch { limit: None, .. } => std::thread::yield_now(),
            Wait::Poll => {}
        }
        Ok(())
    }

    fn prefers_direct_send(&self) -> bool {
        self.world.borrow().prefers_direct_send
    }

    fn try_recv(&mut self, socket: &Handle, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chance(|faults| faults.would_block) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.world.borrow_mut().receive(socket.raw(), buffer)
    }

    fn try_send(&mut self, socket: &Handle, bytes: &[u8], _more: bool) -> io::Result<usize> {
        if self.chance(|faults| faults.would_block) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.world.borrow_mut().send(socket.raw(), bytes)
    }

    fn try_sendfile(
        &mut self,
        socket: &Handle,
        file: &Handle,
        offset: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        if self.chance(|faults| faults.would_block) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // A full window is found out by the send.
        let room = self
            .world
            .borrow_mut()
            .connection_mut(socket.raw())
            .map_or(1, |connection| connection.to_peer.room());
        let contents = files::range(file, offset, bytes.min(room.max(1)))?;
        if contents.is_empty() {
            return Ok(0);
        }
        self.world.borrow_mut().send(socket.raw(), &contents)
    }

    fn try_read(&mut self, file: &Handle, targets: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        let bytes = targets.iter().map(|target| target.len()).sum();
        if !self.is_resident(file, offset, bytes as u64) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let contents = files::range(file, offset, bytes)?;
        let mut left = contents.as_slice();
        for target in targets {
            let (part, rest) = left.split_at(left.len().min(target.len()));
            target[..part.len()].copy_from_slice(part);
            left = rest;
        }
        Ok(contents.len())
    }

    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        let end = (offset + bytes).min(files::length(file));
        offset >= end || self.world.borrow_mut().is_resident(file.raw(), offset..end)
    }

    fn shutdown(&mut self, socket: &Handle, how: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().shutdown(socket.raw(), how)
    }

    fn take_woken(&mut self) -> bool {
        self.woken |= self.waker.take();
        std::mem::take(&mut self.woken)
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDriver").field("active", &self.active.len()).finish_non_exhaustive()
    }
}

fn exact(world: &mut World, socket: i32, target: &mut [u8], filled: &mut u32) -> Attempt {
    match world.receive(socket, target) {
        Ok(0) => Attempt::Ended(signed(*filled), Arrival::None),
        Ok(count) => {
            *filled += u32::try_from(count).unwrap_or(0);
            if count == target.len() { Attempt::Ended(signed(*filled), Arrival::None) } else { Attempt::Goes }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Waits,
        Err(_) if *filled > 0 => Attempt::Ended(signed(*filled), Arrival::None),
        Err(error) => Attempt::Ended(negative(&error), Arrival::None),
    }
}

/// What one send of an operation with `left` bytes comes to; `advance` counts it and gives the new total.
fn transfer(result: io::Result<usize>, left: usize, moved: u32, advance: impl FnOnce(u32) -> u32) -> Attempt {
    match result {
        Ok(count) => {
            let total = advance(u32::try_from(count).unwrap_or(0));
            if count >= left { Attempt::Ended(signed(total), Arrival::None) } else { Attempt::Goes }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Attempt::Waits,
        Err(_) if moved > 0 => Attempt::Ended(signed(moved), Arrival::None),
        Err(error) => Attempt::Ended(negative(&error), Arrival::None),
    }
}

fn signed(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

fn negative(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EIO)
}
