//! Held connections: those that this side opened and a [`Stream`] owns. They have no turns; they receive when their owner asks,
//! into buffers as large as what comes, and wake whoever asked last.

use crate::core::Core;
use crate::filter::Filter;
#[cfg(feature = "held")]
use crate::outbound::DoorKey;
use crate::protocol::{Events, Protocol, Turn};
use crate::receiving::ECANCELED;
use crate::record::{ConnId, Flags, Outgoing, Record};
use crate::stream::Stream;
use crate::task;
use crate::worker::WorkerHandle;
use crate::{Conn, EndpointLimits, Outbound};
use ringway_ring::{Completion, Handle, Pool, SLICE_BYTES_MAX, SliceMut};
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// Bytes that a receive asks for while what comes is short.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Bytes it asks for at the pool's limit, when there is no larger buffer.
const RECEIVE_BYTES_MIN: usize = 2 * 1024;

/// What is kept of an owned connection.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// What its owner waits for.
    wants: Events,
    /// The last receive filled its buffer: the next one gets a large one.
    is_plentiful: bool,
    /// Its end or an error was told of: a short receive does not mean that nothing is left.
    lasts: bool,
    /// Sending failed. What the peer has said before can still be read.
    write_failed: bool,
    /// Why the filter could not go on.
    failure: Option<(io::ErrorKind, Box<str>)>,
}

/// Where a connection keeps that. Who builds without held connections carries no code for dropping it.
#[cfg(feature = "held")]
pub(crate) type HeldSlot = Option<Box<Held>>;
#[cfg(not(feature = "held"))]
pub(crate) type HeldSlot = ();

/// What is kept in a slot.
#[cfg(feature = "held")]
pub(crate) fn of(slot: &mut HeldSlot) -> Option<&mut Held> {
    slot.as_deref_mut()
}

#[cfg(not(feature = "held"))]
pub(crate) fn of(_slot: &mut HeldSlot) -> Option<&mut Held> {
    None
}

#[cfg(feature = "held")]
fn filled() -> HeldSlot {
    Some(Box::default())
}

#[cfg(not(feature = "held"))]
fn filled() -> HeldSlot {}

/// Stands where the protocol of held connections would be: they have no turns.
struct Nobody;

impl Protocol for Nobody {
    fn turn(&self, _conn: &mut Conn<'_>, _events: Events) -> Turn {
        Turn::Abort
    }
}

impl Outbound {
    /// Connections that are held (see [`WorkerHandle::hold`]), with these limits.
    #[must_use]
    pub fn held(limits: EndpointLimits) -> Self {
        Self { limits, protocol: Arc::new(|_worker| Ok(Rc::new(Nobody) as Rc<dyn Protocol>)) }
    }
}

impl WorkerHandle {
    /// Makes a connected stream socket (see [`WorkerHandle::connect`]) a connection of this worker that the returned
    /// [`Stream`] owns: no protocol hears of it, and dropping the stream closes it (with a reset when something was not
    /// sent or not read). `outbound` is the place in [`crate::ServerOptions::outbound`] whose limits hold; `filter` is put
    /// between transport and owner, as TLS is. What the owner waits for wakes whichever task polled last; where that is a
    /// task's own waker, nothing is allocated or counted for it. It receives only while its owner asks, up to 64 KiB at
    /// once, so a slow owner slows its peer. Bandwidths that are set for this server do not hold for it, and a server that
    /// drains does not wait for it. Not during a turn.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such place, `QuotaExceeded` at [`EndpointLimits::connections_max`], `Unsupported`
    /// for a filter in an engine that was built without them. The socket is closed then.
    pub fn hold(
        &self,
        outbound: usize,
        socket: Handle,
        filter: Option<Box<dyn Filter>>,
    ) -> io::Result<Stream> {
        self.hold_behind(outbound, socket, &[], filter)
    }

    /// As [`WorkerHandle::hold`], with bytes that are sent as they are before the filter says its first word: a header of the
    /// PROXY protocol.
    ///
    /// # Errors
    /// As [`WorkerHandle::hold`]; `OutOfMemory` at the pool's limit.
    pub fn hold_behind(
        &self,
        outbound: usize,
        socket: Handle,
        preface: &[u8],
        filter: Option<Box<dyn Filter>>,
    ) -> io::Result<Stream> {
        let id = {
            let core = &mut *self.local.core.borrow_mut();
            let endpoint = core.outbound_room(outbound)?;
            core.hold(endpoint, socket, preface, filter)?
        };
        Ok(Stream::owner(Rc::clone(&self.local), id))
    }

    /// As [`WorkerHandle::hold`], for a connection that belongs to an endpoint's own work: it counts against the limits there,
    /// beside those that were accepted.
    ///
    /// # Errors
    /// As [`WorkerHandle::open_at`].
    #[cfg(feature = "held")]
    pub fn hold_at(
        &self,
        door: DoorKey,
        socket: Handle,
        filter: Option<Box<dyn Filter>>,
    ) -> io::Result<Stream> {
        let id = {
            let core = &mut *self.local.core.borrow_mut();
            core.room_at(door)?;
            core.hold(door.0, socket, &[], filter)?
        };
        Ok(Stream::owner(Rc::clone(&self.local), id))
    }
}

impl Core {
    fn hold(
        &mut self,
        endpoint: u16,
        socket: Handle,
        preface: &[u8],
        filter: Option<Box<dyn Filter>>,
    ) -> io::Result<ConnId> {
        if !cfg!(feature = "held") || (filter.is_some() && !cfg!(feature = "filters")) {
            // Better no connection than one that is not encrypted.
            return Err(io::ErrorKind::Unsupported.into());
        }
        let preface = match preface {
            [] => None,
            bytes => Some(self.pool().copy_of(bytes).ok_or(io::ErrorKind::OutOfMemory)?),
        };
        let mut record = Record::new(socket, endpoint);
        record.flags.set(Flags::OWNED);
        record.extra().held = filled();
        let id = self.insert(record);
        self.owned += 1;
        self.counters.connected.add(1);
        if let Some(preface) = preface {
            self.send_wire(id, Outgoing::Bytes(preface));
        }
        if let (Some(filter), Some(record)) = (filter, self.conns.get(id)) {
            record.extra().filter = Some(filter);
            // A side that speaks first does so now.
            self.decode(id);
        }
        self.rearm(id);
        Ok(id)
    }

    /// Whether a bandwidth may hold for a connection: not for those to upstreams, whose bytes come from or go to others.
    pub(crate) fn governs(&mut self, id: ConnId) -> bool {
        self.is_governed() && !self.conns.get(id).is_some_and(|record| record.is_owned())
    }

    /// A watch of an owned connection has told something.
    pub(crate) fn watched(&mut self, id: ConnId, completion: &Completion) {
        let Some(record) = self.conns.get(id) else { return };
        if !completion.more {
            record.receiving = None;
            record.flags.clear(Flags::SWITCHING);
        }
        match &completion.result {
            Ok(lasting) => {
                record.flags.set(Flags::READABLE);
                if let Some(held) = record.held() {
                    held.lasts |= *lasting > 0;
                }
                self.notify(id, Events::DATA);
            }
            // Our own cancel: the connection is being closed.
            Err(error) if error.raw_os_error() == Some(ECANCELED) => return,
            Err(_) => self.broke(id),
        }
        if !completion.more {
            self.rearm(id);
        }
    }

    /// Wakes an owned connection's owner when that waits for such news.
    pub(crate) fn tell_owner(&mut self, id: ConnId, events: Events) {
        let Some(record) = self.conns.get(id) else { return };
        let task = record.task;
        let Some(held) = record.held() else { return };
        // Room in the queue is news of sending.
        let news = if events.is_empty() { Events::SENT } else { events };
        if !held.wants.has(news) {
            return;
        }
        held.wants = Events::default();
        task.into_iter().for_each(task::schedule);
        if let Some(waker) = record.extra.as_mut().and_then(|extra| extra.waker.take()) {
            self.wakes.push_back(waker);
        }
    }

    /// A connection that found no buffer may try again.
    pub(crate) fn feed_owner(&mut self, id: ConnId) {
        if self.conns.get(id).is_some_and(|record| record.is_owned()) {
            self.notify(id, Events::DATA);
        }
    }

    /// Receives for the owner while no more than `bytes` are unread and there may be something to receive.
    pub(crate) fn pull_beyond(&mut self, id: ConnId, bytes: usize) {
        loop {
            let Some(record) = self.conns.get(id) else { return };
            let is_open = !record.flags.has(Flags::ENDED) && !record.flags.has(Flags::BROKEN);
            let may_come = record.is_owned() && record.flags.has(Flags::READABLE);
            let is_dammed = record.is_dammed();
            if !is_open || !may_come || is_dammed || record.inbox.len() > bytes || !self.pull(id) {
                return;
            }
        }
    }

    /// One receive; false when there is nothing to be had now.
    fn pull(&mut self, id: ConnId) -> bool {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return false };
        let is_plentiful = record.held().is_some_and(|held| held.is_plentiful);
        let Some(mut buffer) = buffer(&pool, is_plentiful) else {
            self.counters.starved.add(1);
            self.starve(id);
            return false;
        };
        let received = self.ring.try_recv(&record.socket, &mut buffer);
        let room = buffer.len();
        match received {
            Ok(0) => self.peer_ended(id),
            Ok(count) => {
                if let Some(held) = record.held() {
                    held.is_plentiful = count == room;
                    if count < room && !held.lasts {
                        record.flags.clear(Flags::READABLE);
                    }
                }
                self.arrived(id, buffer.freeze(count), 0);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => record.flags.clear(Flags::READABLE),
            // A signal came first.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            // ECONNRESET, ETIMEDOUT …: the peer is gone.
            Err(_) => self.broke(id),
        }
        false
    }

    /// Notes who waits for what; false when that is nobody's task, and a waker is to be kept.
    pub(crate) fn attend(&mut self, id: ConnId, wants: Events, task: Option<task::TaskId>) -> bool {
        let Some(record) = self.conns.get(id) else { return true };
        record.task = task;
        let has_filter = record.has_filter();
        if let Some(held) = record.held() {
            held.wants.add(wants);
            held.wants.add(Events::END);
            held.wants.add(Events::TIMEOUT);
            if has_filter {
                // A handshake that is not done keeps what is to be sent back.
                held.wants.add(Events::DATA);
            }
        }
        task.is_some()
    }

    /// Whether an owned connection can be used for something new: see [`Stream::is_quiet`].
    pub(crate) fn is_quiet(&mut self, id: ConnId) -> bool {
        let Some(record) = self.conns.get(id) else { return false };
        if let Some(held) = record.held() {
            // Whoever waited is done with it.
            held.wants = Events::default();
            record.task = None;
        }
        self.pull_beyond(id, 0);
        let Some(record) = self.conns.get(id) else { return false };
        let flags = [Flags::ENDED, Flags::BROKEN, Flags::SHUT, Flags::STARVED];
        let is_open = !flags.into_iter().any(|flag| record.flags.has(flag));
        let has_wire = record.extra.as_ref().is_some_and(|extra| !extra.wire.is_empty());
        let is_late = record.events.has(Events::TIMEOUT);
        is_open && record.inbox.is_empty() && !has_wire && !is_late && record.is_flushed()
    }

    /// Its owner is gone: the connection is closed, or reset when something was not sent or not read. What is returned is
    /// dropped when the core is not lent out.
    pub(crate) fn let_go(&mut self, id: ConnId) -> Option<Waker> {
        let record = self.conns.get(id)?;
        record.task = None;
        let waker = record.extra.as_mut().and_then(|extra| extra.waker.take());
        let is_whole = record.is_flushed() && record.inbox.is_empty();
        if is_whole && !record.flags.has(Flags::BROKEN) {
            self.close(id);
        } else {
            self.abort(id);
        }
        waker
    }

    /// Sending failed: nothing more is sent, and what has been said can still be read.
    pub(crate) fn write_failed(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        record.flags.set(Flags::SHUT);
        record.flags.set(Flags::SAID);
        if let Some(extra) = &mut record.extra {
            extra.queue.clear();
            extra.plain.clear();
        }
        if let Some(held) = record.held() {
            held.write_failed = true;
        }
        if record.flags.is_closing() {
            self.close_now(id);
        } else {
            self.notify(id, Events::SENT);
        }
    }

    /// Keeps why a filter could not go on, for who asks the connection next.
    pub(crate) fn note_failure(&mut self, id: ConnId, outcome: &std::thread::Result<io::Result<()>>) {
        let Ok(Err(error)) = outcome else { return };
        if let Some(held) = self.conns.get(id).and_then(Record::held) {
            held.failure = Some((error.kind(), error.to_string().into()));
        }
    }

    /// The end of what is sent: now, or behind what is still queued.
    pub(crate) fn shutdown_write(&mut self, id: ConnId) {
        self.finish_writing(id);
        let Some(record) = self.conns.get(id) else { return };
        if !record.flags.has(Flags::BROKEN) {
            record.extra().finishes = true;
            if record.is_flushed() {
                self.send_end(id);
            }
        }
    }

    /// Everything is with the kernel: the end follows if it is to.
    pub(crate) fn send_end(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let Some(extra) = record.extra.as_mut().filter(|_| cfg!(feature = "held")) else { return };
        if std::mem::take(&mut extra.finishes) {
            // ENOTCONN: the peer is gone, as the next receive will say.
            let _gone_already = self.ring.shutdown(&record.socket, Shutdown::Write);
        }
    }

    /// Whether so little is queued now that who waits for that is to be woken.
    pub(crate) fn has_room_wanted(&mut self, id: ConnId) -> bool {
        if !cfg!(feature = "held") {
            return false;
        }
        let wanted = self
            .conns
            .get(id)
            .and_then(|record| record.extra.as_ref())
            .map_or(0, |extra| extra.room_at_bytes);
        if wanted == 0 || self.queued_bytes(id) > wanted {
            return false;
        }
        if let Some(extra) = self.conns.get(id).and_then(|record| record.extra.as_mut()) {
            extra.room_at_bytes = 0;
        }
        true
    }

    /// Bytes that were given to a connection and are not with the kernel.
    pub(crate) fn queued_bytes(&mut self, id: ConnId) -> usize {
        let Some(record) = self.conns.get(id) else { return 0 };
        let under_way = record.sending.map_or(0, |op| self.ring.left(op));
        let waiting = |extra: &crate::record::Extra| {
            extra.queue.iter().chain(&extra.plain).map(Outgoing::bytes).fold(0, u64::saturating_add)
        };
        let waiting = record.extra.as_ref().map_or(0, |extra| waiting(extra));
        usize::try_from(under_way.saturating_add(waiting)).unwrap_or(usize::MAX)
    }
}

impl Record {
    /// Why nothing more can be sent, if that is so.
    pub(crate) fn write_failure(&mut self) -> Option<io::Error> {
        let has_failed = self.held().is_some_and(|held| held.write_failed);
        has_failed.then(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Why the filter gave up, if it did.
    pub(crate) fn filter_failure(&mut self) -> Option<io::Error> {
        let held = self.held()?;
        held.failure.as_ref().map(|(kind, reason)| io::Error::new(*kind, reason.to_string()))
    }
}

/// A buffer for what comes: a large one where much comes, and what there is at the pool's limit.
fn buffer(pool: &Pool, is_plentiful: bool) -> Option<SliceMut> {
    let wanted = if is_plentiful { SLICE_BYTES_MAX } else { RECEIVE_BYTES };
    [wanted, RECEIVE_BYTES, RECEIVE_BYTES_MIN].into_iter().find_map(|bytes| pool.get(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Door;
    use crate::counters::Counters;
    use crate::task::{TaskId, take_scheduled};
    use ringway_ring::{DriverChoice, Ring, RingOptions};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn core() -> Core {
        let ring = Ring::new(&RingOptions { driver: DriverChoice::Epoll, ..RingOptions::default() });
        let doors = vec![Door::new(EndpointLimits::default())];
        Core::new(ring.expect("every kernel has it"), doors, 1, Arc::new(Counters::default()))
    }

    /// A held connection and its peer.
    fn held(core: &mut Core) -> (ConnId, UnixStream) {
        let (ours, peer) = UnixStream::pair().expect("descriptors");
        ours.set_nonblocking(true).expect("a socket");
        let socket = Handle::new(ours.into());
        (core.hold(0, socket, b"", None).expect("room"), peer)
    }

    fn scheduled() -> Vec<TaskId> {
        let mut queue = Vec::new();
        take_scheduled(&mut queue);
        queue
    }

    #[test]
    fn whoever_asked_last_is_woken_once_and_by_its_number() {
        let mut core = core();
        let (id, _peer) = held(&mut core);
        let (first, second) = (TaskId::from_bits(1 << 32), TaskId::from_bits(1 << 32 | 7));
        core.notify(id, Events::DATA);
        assert_eq!(scheduled(), [], "nobody waits");
        assert!(core.attend(id, Events::DATA, Some(first)), "no waker is asked for");
        assert!(core.attend(id, Events::DATA, Some(second)));
        core.notify(id, Events::SENT);
        assert_eq!(scheduled(), [], "that is not what is waited for");
        core.notify(id, Events::DATA);
        core.notify(id, Events::DATA);
        assert_eq!(scheduled(), [second]);
        assert!(core.conns.get(id).is_some_and(|record| record.extra().waker.is_none()));
        assert!(core.wakes.is_empty());
        // A wait for room hears of room, and every wait of the end.
        core.attend(id, Events::SENT, Some(first));
        core.notify(id, Events::default());
        assert_eq!(scheduled(), [first]);
        core.attend(id, Events::SENT, Some(first));
        core.notify(id, Events::END);
        assert_eq!(scheduled(), [first]);
        assert!(!core.attend(id, Events::DATA, None), "a foreign waker must be kept");
    }

    #[test]
    fn a_small_buffer_is_followed_by_a_large_one_only_where_it_was_filled() {
        let mut core = core();
        let (id, mut peer) = held(&mut core);
        peer.write_all(&[1; 100_000]).expect("it fits");
        let mut capacities = Vec::new();
        for _ in 0..4 {
            let record = core.conns.get(id).expect("open");
            record.flags.set(Flags::READABLE);
            core.pull_beyond(id, 0);
            let slice = core.conns.get(id).and_then(|record| record.inbox.take_first()).expect("bytes");
            capacities.push((slice.capacity(), slice.len()));
            if slice.len() < slice.capacity() {
                break;
            }
        }
        assert_eq!(capacities[0], (RECEIVE_BYTES, RECEIVE_BYTES));
        assert_eq!(capacities[1].0, SLICE_BYTES_MAX);
        core.pull_beyond(id, 0);
        peer.write_all(b"short").expect("it fits");
        let record = core.conns.get(id).expect("open");
        record.flags.set(Flags::READABLE);
        core.pull_beyond(id, 0);
        let slice = core.conns.get(id).and_then(|record| record.inbox.take_first()).expect("bytes");
        assert_eq!(slice.capacity(), RECEIVE_BYTES);
    }
}
