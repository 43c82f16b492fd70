//! The worker's state: ring, connections, deadlines, and how a completion finds its owner.

use crate::counters::{Counters, DoorCounters};
use crate::endpoint::{BUSY_MAX, EndpointLimits, OverCapacity};
use crate::filter::{Filter, FilterSource};
use crate::governor::Side;
use crate::preface::{Expected, Preface};
use crate::protocol::Events;
#[cfg(feature = "members")]
use crate::record::Mode;
use crate::record::{ConnId, Flags, Record, Records};
use crate::task::TaskId;
use crate::token::Token;
use crate::udp;
use ringway_pace::Wheel;
use ringway_ring::{Completion, Handle, OpId, Pool, Ring};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// How often memory that bursts have left is looked at, in milliseconds.
const TRIM_MS: u64 = 1_000;

/// A task's own operation, or the place where its result waits.
pub(crate) struct Waiter {
    pub(crate) id: Option<OpId>,
    pub(crate) result: Option<Completion>,
    pub(crate) waker: Option<Waker>,
}

/// What is left of a connection: its protocol hears of it outside of the core, and its filter is dropped there.
pub(crate) struct Ended {
    pub(crate) endpoint: u16,
    pub(crate) context: [u64; 2],
    pub(crate) filter: Option<Box<dyn Filter>>,
    /// The protocol has heard of the connection, so it shall hear of its end.
    pub(crate) is_known: bool,
}

/// What connections come through: an endpoint, or a kind of outbound connections, as the core knows it.
pub(crate) struct Door {
    pub(crate) limits: EndpointLimits,
    /// Connections of it that are open.
    pub(crate) open: usize,
    /// It was removed: its connections shall end as those of a server that drains.
    pub(crate) is_draining: bool,
    pub(crate) counters: Arc<DoorCounters>,
    /// What its new connections go through.
    pub(crate) filters: Option<Rc<dyn FilterSource>>,
    /// What they begin with.
    pub(crate) preface: Option<Arc<dyn Preface>>,
}

/// Whether one more connection may come through a door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Free,
    /// To be told that there is none.
    Busy,
    Full,
}

impl Door {
    pub(crate) fn new(limits: EndpointLimits) -> Self {
        Self { limits, open: 0, is_draining: false, counters: Arc::default(), filters: None, preface: None }
    }

    /// Whether one more may come through.
    fn room(&self) -> Room {
        let most = self.limits.connections_max;
        match self.limits.over_capacity {
            _ if self.open < most => Room::Free,
            // What accepts has looked; what another worker accepted meanwhile comes in too.
            OverCapacity::Resist => Room::Free,
            OverCapacity::Busy if self.filters.is_none() && self.open < most.saturating_add(BUSY_MAX) => {
                Room::Busy
            }
            OverCapacity::Busy | OverCapacity::Drop => Room::Full,
        }
    }

    /// Puts the endpoint's filter on a new connection; says whether there is one.
    pub(crate) fn put_filter(&self, record: &mut Record) -> std::thread::Result<bool> {
        let Some(source) = self.filters.as_ref() else { return Ok(false) };
        if !cfg!(feature = "filters") {
            // Better no connection than one that is not encrypted.
            return Err(Box::new(()));
        }
        let filter = catch_unwind(AssertUnwindSafe(|| source.make_for(&mut || record.peer())))?;
        record.extra().filter = Some(filter);
        record.flags.set(Flags::SHAKING);
        Ok(true)
    }

    /// A connection has come through.
    fn enter(&mut self) {
        self.open += 1;
        self.counters.open.set(self.open as u64);
    }

    /// A connection of it has ended.
    pub(crate) fn leave(&mut self) {
        self.open -= 1;
        self.counters.open.set(self.open as u64);
    }

    /// Whether nothing of it will be heard any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_draining && self.open == 0
    }
}

pub(crate) struct Core {
    pub(crate) ring: Ring,
    pub(crate) conns: Records,
    pub(crate) deadlines: Wheel,
    pub(crate) udp: udp::Side,
    pub(crate) counters: Arc<Counters>,
    pub(crate) now_ms: u64,
    trim_at_ms: u64,
    /// When this turn of the loop began, its wait excluded.
    pub(crate) turn_started: Instant,
    pub(crate) is_draining: bool,
    /// Of the kinds of outbound connections, and behind them of all endpoints, which may be added while the worker runs.
    pub(crate) doors: Vec<Door>,
    /// How many of them are kinds of outbound connections.
    pub(crate) outbound: usize,
    /// Connections that a [`crate::Stream`] owns.
    pub(crate) owned: usize,
    /// Connections that shall have a turn.
    pub(crate) ready: Vec<ConnId>,
    /// Connections whose stream found no buffer.
    pub(crate) starved: VecDeque<ConnId>,
    /// Those among them that got nothing the last time either: they come first, or loud peers would take every buffer.
    pub(crate) hungry: VecDeque<ConnId>,
    /// Some connection found none since the last feeding, which was at `fed_at_ms`.
    pub(crate) is_scarce: bool,
    pub(crate) fed_at_ms: u64,
    pub(crate) per_address: HashMap<u32, u32>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) free_waiters: Vec<u32>,
    /// Wakers to be used once the core is not lent out: what they run may reach for it.
    pub(crate) wakes: VecDeque<Waker>,
    /// What ended since the last look, for the protocol.
    pub(crate) ended: VecDeque<Ended>,
    epoch: Instant,
    pub(crate) prefers_direct_send: bool,
    /// Tasks whose connection is gone.
    pub(crate) orphaned_tasks: Vec<TaskId>,
    /// Whether there is a governor, or any connection with a rate of its own: all that ungoverned sending looks at.
    pub(crate) is_governed: bool,
    pub(crate) governor: Option<Box<Side>>,
    pub(crate) has_rates: bool,
    /// Connections whose next piece waits for their own rate.
    pub(crate) paced: Wheel,
    /// Connections whose filter wants to be called again.
    #[cfg(feature = "filters")]
    pub(crate) naps: Wheel,
}

impl Core {
    pub(crate) fn new(ring: Ring, doors: Vec<Door>, outbound: usize, counters: Arc<Counters>) -> Self {
        let prefers_direct_send = ring.prefers_direct_send();
        for (place, door) in doors.iter().enumerate() {
            counters.doors.push(&door.counters, place < outbound);
        }
        Self {
            ring,
            conns: Records::default(),
            deadlines: Wheel::new(0),
            udp: udp::Side::default(),
            counters,
            now_ms: 0,
            trim_at_ms: TRIM_MS,
            turn_started: Instant::now(),
            is_draining: false,
            doors,
            outbound,
            owned: 0,
            ready: Vec::new(),
            starved: VecDeque::new(),
            hungry: VecDeque::new(),
            is_scarce: false,
            fed_at_ms: 0,
            per_address: HashMap::new(),
            waiters: Vec::new(),
            free_waiters: Vec::new(),
            wakes: VecDeque::new(),
            ended: VecDeque::new(),
            epoch: Instant::now(),
            prefers_direct_send,
            orphaned_tasks: Vec::new(),
            is_governed: false,
            governor: None,
            has_rates: false,
            paced: Wheel::new(0),
            #[cfg(feature = "filters")]
            naps: Wheel::new(0),
        }
    }

    pub(crate) fn update_clock(&mut self) {
        self.now_ms = self.clock_ms();
        if let Some(side) = &mut self.governor {
            side.update_clock();
        }
    }

    pub(crate) fn clock_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When memory that bursts have left is to be looked at; `None` when there is none.
    pub(crate) fn next_trim_ms(&self) -> Option<u64> {
        self.ring.pool().has_surplus().then_some(self.trim_at_ms)
    }

    /// Gives memory back that nobody has needed for a while.
    pub(crate) fn trim_pool(&mut self) {
        if self.now_ms >= self.trim_at_ms && self.ring.pool().has_surplus() {
            self.ring.pool().trim();
            self.trim_at_ms = self.now_ms + TRIM_MS;
        }
    }

    /// Whether any operation may have to wait for a bandwidth's sake.
    #[inline]
    pub(crate) fn is_governed(&self) -> bool {
        // Without the feature all that the governor needs is dead code.
        cfg!(feature = "governor") && self.is_governed
    }

    /// Writes the levels into the counters; before the worker sleeps, so that they are not of long ago.
    pub(crate) fn publish(&self) {
        self.counters.operations.set(self.ring.in_flight() as u64);
        self.counters.memory_bytes.set(self.ring.pool().mapped_bytes() as u64);
    }

    pub(crate) fn pool(&self) -> Pool {
        self.ring.pool().clone()
    }

    /// Takes a new connection in, or refuses it at a limit.
    pub(crate) fn open(&mut self, endpoint: u16, socket: Handle) {
        self.counters.accepted.add(1);
        let Some(door) = self.doors.get(usize::from(endpoint)) else { return };
        door.counters.accepted.add(1);
        let limits = door.limits;
        let mut record = Record::new(socket, endpoint);
        let room = door.room();
        if room == Room::Busy || room == Room::Full {
            self.refused(endpoint);
        }
        if room == Room::Full {
            return;
        }
        let Some(is_shaking) = self.prepare(&mut record, &limits) else { return };
        #[cfg(feature = "members")]
        if limits.receives_apart && !is_shaking {
            record.mode = Mode::Paused;
            record.flags.set(Flags::HELD);
        }
        let id = self.insert(record);
        if limits.send_bytes_per_s > 0 {
            self.set_send_rate(id, limits.send_bytes_per_s, limits.send_burst_bytes);
        }
        if is_shaking {
            self.deadlines.arm(id.index, self.now_ms.saturating_add(limits.handshake_ms_max));
        }
        if is_shaking {
            self.begin_filter(id);
        }
        let mut events = Events::OPENED;
        if self.is_draining || self.doors[usize::from(endpoint)].is_draining {
            events.add(Events::DRAIN);
        }
        if room == Room::Busy {
            events.add(Events::BUSY);
        }
        self.notify(id, events);
    }

    /// Makes a new connection ready for its endpoint: whether its protocol has to wait for a preface or a handshake. `None`:
    /// it is refused.
    fn prepare(&mut self, record: &mut Record, limits: &EndpointLimits) -> Option<bool> {
        let endpoint = record.endpoint;
        let mut is_counted = limits.connections_per_address_max > 0;
        match self.expects(record) {
            Expected::Preface => {
                // It counts against the address that is said, and is filtered behind what says it.
                record.extra().awaits_preface = true;
                record.flags.set(Flags::SHAKING);
                return Some(true);
            }
            Expected::Stranger => {
                self.refused(endpoint);
                return None;
            }
            Expected::Proxy => is_counted = false,
            Expected::Client => {}
        }
        let peer = if is_counted { record.kernel_peer() } else { None };
        if !count_address(&mut self.per_address, record, peer, limits) {
            self.refused(endpoint);
            return None;
        }
        let is_filtered = self.doors[usize::from(endpoint)].put_filter(record);
        if is_filtered.is_err() {
            self.counters.panics.add(1);
            self.discount(record);
        }
        is_filtered.ok()
    }

    pub(crate) fn refused(&self, endpoint: u16) {
        self.counters.refused.add(1);
        self.doors[usize::from(endpoint)].counters.refused.add(1);
    }

    /// From how many open connections on an endpoint that leaves what is too much in the kernel's queue has no room; `was_full`:
    /// it had none before, and has some again when a tenth of it is free. `None`: it does not do that.
    pub(crate) fn resists_from(&self, endpoint: u16, was_full: bool) -> Option<usize> {
        let limits = &self.doors.get(usize::from(endpoint))?.limits;
        let most = limits.connections_max;
        let low_water = (most - (most / 10).max(1).min(most) + 1).min(most);
        (limits.over_capacity == OverCapacity::Resist).then_some(if was_full { low_water } else { most })
    }

    /// Counts and keeps a new connection.
    pub(crate) fn insert(&mut self, record: Record) -> ConnId {
        self.doors[usize::from(record.endpoint)].enter();
        let id = self.conns.insert(record);
        self.counters.open.set(self.conns.len() as u64);
        id
    }

    /// Puts a door's limits and filters in place; it is there, or is the next one.
    pub(crate) fn set_door(
        &mut self,
        place: usize,
        limits: EndpointLimits,
        filters: Option<Rc<dyn FilterSource>>,
        preface: Option<Arc<dyn Preface>>,
    ) -> Option<Rc<dyn FilterSource>> {
        if self.doors.len() == place {
            let door = Door::new(limits);
            self.counters.doors.push(&door.counters, false);
            self.doors.push(door);
        }
        let door = self.doors.get_mut(place)?;
        door.limits = limits;
        door.preface = preface;
        std::mem::replace(&mut door.filters, filters)
    }

    /// Whether a connection shall end: the server drains, or its endpoint was removed.
    pub(crate) fn drains(&mut self, id: ConnId) -> bool {
        let endpoint = self.conns.get(id).map(|record| usize::from(record.endpoint));
        self.is_draining || endpoint.is_some_and(|endpoint| self.doors[endpoint].is_draining)
    }

    /// Gives back what a connection counted for.
    pub(crate) fn discount(&mut self, record: &Record) {
        if record.flags.has(Flags::COUNTED) {
            self.discount_key(record.address_key);
        }
    }

    /// One connection of that address is another's, or none any more.
    pub(crate) fn discount_key(&mut self, key: u32) {
        if let Some(count) = self.per_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&key);
            }
        }
    }

    /// Hands a completion to its owner. Accepts are the worker's and come back.
    pub(crate) fn complete(&mut self, completion: Completion) -> Option<(u32, Completion)> {
        match Token::from_bits(completion.token) {
            Token::Accept(listener) => return Some((listener, completion)),
            Token::Receive(id) => self.received(id, completion),
            Token::Send(id) => self.sent(id, completion),
            Token::Pump(id) => self.pumped(id, completion),
            Token::Waiter(place) => self.wake_waiter(place, completion),
            Token::Datagrams(place) => self.datagrams_came(place, completion),
            Token::DatagramRoom(place) => self.datagrams_have_room(place),
        }
        None
    }

    /// Records that something happened; the connection gets a turn.
    pub(crate) fn notify(&mut self, id: ConnId, events: Events) {
        let Some(record) = self.conns.get(id) else { return };
        record.events.add(events);
        if record.is_owned() {
            self.tell_owner(id, events);
            return;
        }
        if let Some(waker) = record.extra.as_mut().and_then(|extra| extra.waker.take()) {
            self.wakes.push_back(waker);
        }
        if let Some(task) = record.task {
            crate::task::schedule(task);
        } else if !record.flags.has(Flags::QUEUED) {
            record.flags.set(Flags::QUEUED);
            self.ready.push(id);
        }
    }

    fn wake_waiter(&mut self, place: u32, completion: Completion) {
        if let Some(waiter) = self.waiters.get_mut(place as usize) {
            waiter.result = Some(completion);
            self.wakes.extend(waiter.waker.take());
        }
    }
}

/// Counts a connection against an address; false when the address has its share.
pub(crate) fn count_address(
    per_address: &mut HashMap<u32, u32>,
    record: &mut Record,
    peer: Option<SocketAddr>,
    limits: &EndpointLimits,
) -> bool {
    if limits.connections_per_address_max == 0 {
        return true;
    }
    let Some(key) = peer.map(|peer| crate::endpoint::address_key(&peer.ip())) else { return true };
    let count = per_address.entry(key).or_insert(0);
    if *count >= limits.connections_per_address_max {
        return false;
    }
    *count += 1;
    record.address_key = key;
    record.flags.set(Flags::COUNTED);
    true
}
