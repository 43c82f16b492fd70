//! How connections receive: three modes, one inbox, nothing lost when a reader goes away.

use crate::core::Core;
use crate::protocol::Events;
use crate::record::{ConnId, Extra, Flags, Mode, Outgoing};
use crate::token::Token;
use ringway_ring::{Completion, Op, Payload, SLICE_BYTES_MAX, Slice};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Unread memory a connection may pin before it is paused, unless its endpoint says otherwise. What is on its way when the pause is asked for still arrives:
/// at most the provided buffers of one completion batch.
pub const INBOX_BYTES_MAX: usize = 64 * 1024;

/// The same for connections that receive into large buffers.
const LARGE_INBOX_BYTES_MAX: usize = 4 * SLICE_BYTES_MAX;

/// Unread bytes below which a paused connection receives again.
const INBOX_BYTES_RESUME: usize = 16 * 1024;

/// What a lingering connection may still send before it is cut.
const LINGER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Connections that wait for a buffer and are armed again in one turn.
const STARVED_BATCH: usize = 64;

/// Our own cancel, on Linux.
pub(crate) const ECANCELED: i32 = 125;
/// No provided buffer was free, on Linux.
const ENOBUFS: i32 = 105;

impl Core {
    pub(crate) fn received(&mut self, id: ConnId, completion: Completion) {
        let Some(record) = self.conns.get(id) else { return };
        if record.is_owned() {
            self.watched(id, &completion);
            return;
        }
        let Completion { result, more, payload, .. } = completion;
        if matches!(payload, Payload::Bytes(_)) {
            record.flags.set(Flags::FED);
        }
        // A receive that was asked to end comes back short; that is not the end of the stream. Were it, the next
        // receive would say so again.
        let was_switching = record.flags.has(Flags::SWITCHING);
        if !more {
            record.receiving = None;
            record.flags.clear(Flags::SWITCHING);
        }
        match (payload, result) {
            (Payload::Bytes(slice), _) => {
                self.fit_width(id, &slice);
                self.arrived(id, slice, 0);
            }
            (Payload::Finished(Op::Exact { buffer, filled, want, .. }), result) => {
                let prefix = record.extra.as_mut().map_or(0, |extra| std::mem::take(&mut extra.exact_prefix));
                self.arrived(id, buffer.freeze(filled as usize), prefix as usize);
                match result {
                    Err(error) => self.receive_failed(id, &error),
                    Ok(_) if filled == want => self.exact_is_done(id),
                    Ok(_) if !was_switching => self.peer_ended(id),
                    Ok(_) => {}
                }
            }
            (_, Ok(0)) if !more => self.peer_ended(id),
            (_, Err(error)) => self.receive_failed(id, &error),
            _ => {}
        }
        if !more {
            self.rearm(id);
        }
    }

    /// Chooses how much is received at once by how much came.
    fn fit_width(&mut self, id: ConnId, slice: &Slice) {
        let Some(record) = self.conns.get(id) else { return };
        if record.mode != Mode::Stream || !record.width.note(slice.len(), slice.capacity()) {
            return;
        }
        // The next receive is of the new width; this one ends first.
        if let Some(op) = record.receiving
            && !record.flags.has(Flags::SWITCHING)
        {
            record.flags.set(Flags::SWITCHING);
            self.ring.cancel(op);
        }
    }

    /// The next receive is for whoever takes these bytes to ask for.
    fn exact_is_done(&mut self, id: ConnId) {
        if let Some(record) = self.conns.get(id)
            && matches!(record.mode, Mode::Exact(_))
        {
            record.mode = Mode::Paused;
        }
    }

    /// Takes in what was received. Its first `known` bytes were there before and are counted already.
    pub(crate) fn arrived(&mut self, id: ConnId, slice: Slice, known: usize) {
        let fresh = slice.len().saturating_sub(known) as u64;
        self.counters.bytes_received.add(fresh);
        if self.governs(id) {
            self.govern_received(id, fresh);
        }
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.has(Flags::LINGERING) {
            let discarded = &mut record.extra().discarded;
            *discarded += slice.len() as u64;
            if *discarded > LINGER_BYTES_MAX {
                self.close_now(id);
            }
            return;
        }
        let is_refused = record.flags.has(Flags::SHAKING) && record.flags.is_closing();
        if slice.is_empty() || record.flags.has(Flags::BROKEN) || is_refused {
            return;
        }
        if record.awaits_preface() {
            record.inbox.push(slice);
            self.read_preface(id);
        } else if record.has_filter() {
            record.extra().wire.push(slice);
            self.decode(id);
            self.dam(id);
        } else {
            record.inbox.push(slice);
            self.notify(id, Events::DATA);
        }
        self.limit_inbox(id);
    }

    /// Pauses a connection that is read too slowly.
    fn limit_inbox(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let bytes_max = self.doors[usize::from(record.endpoint)].limits.inbox_bytes_max;
        // Large buffers are rarely full.
        let bytes_max =
            if record.width.is_large() { bytes_max.max(LARGE_INBOX_BYTES_MAX) } else { bytes_max };
        // What is owned receives only what was asked for.
        if record.mode == Mode::Stream && record.inbox.capacity() > bytes_max && !record.is_owned() {
            self.set_mode(id, Mode::Paused);
        }
    }

    pub(crate) fn peer_ended(&mut self, id: ConnId) {
        let Some(mut record) = self.conns.get(id) else { return };
        let was_ended = record.flags.has(Flags::ENDED);
        if !was_ended && record.has_filter() && !record.flags.is_closing() {
            if self.ends_later(id) {
                return;
            }
            record = match self.conns.get(id) {
                Some(record) if !record.flags.has(Flags::ENDED) => record,
                _ => return,
            };
        }
        record.flags.set(Flags::ENDED);
        if record.flags.has(Flags::LINGERING) {
            self.close_now(id);
        } else if !record.flags.is_closing() && !was_ended && !self.is_whole(id) {
            self.broke(id);
        } else if !was_ended {
            self.notify(id, Events::END);
        }
    }

    /// Whether a filter, if there is one, agrees that the peer has said all it wanted to.
    fn is_whole(&mut self, id: ConnId) -> bool {
        let Some(record) = self.conns.get(id) else { return true };
        if !record.has_filter() {
            return true;
        }
        let Some(filter) = record.extra.as_mut().and_then(|extra| extra.filter.as_mut()) else { return true };
        let ended = catch_unwind(AssertUnwindSafe(|| filter.ended()));
        self.is_sound(ended)
    }

    fn receive_failed(&mut self, id: ConnId, error: &io::Error) {
        let Some(record) = self.conns.get(id) else { return };
        match error.raw_os_error() {
            // Our own cancel: the connection changes its mode.
            Some(ECANCELED) => {}
            // No buffer was free: the connection waits for its turn.
            Some(ENOBUFS) => {
                self.counters.starved.add(1);
                // There are more of the ordinary ones.
                record.width.reset();
                self.starve(id);
            }
            // ECONNRESET, ETIMEDOUT, EPIPE …: the peer is gone.
            _ => self.broke(id),
        }
    }

    pub(crate) fn broke(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        record.flags.set(Flags::BROKEN);
        record.flags.set(Flags::ENDED);
        // What is queued can never be delivered, and what still arrives is of no use.
        if let Some(extra) = &mut record.extra {
            extra.queue.clear();
            extra.plain.clear();
            extra.wire.clear();
        }
        if let Some(op) = record.receiving
            && !record.flags.has(Flags::SWITCHING)
        {
            record.flags.set(Flags::SWITCHING);
            self.ring.cancel(op);
        }
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.is_closing() {
            self.close_now(id);
        } else {
            self.notify(id, Events::END);
        }
    }

    /// Changes how a connection receives. The change is complete when the operation under way has ended.
    pub(crate) fn set_mode(&mut self, id: ConnId, mode: Mode) {
        let Some(record) = self.conns.get(id) else { return };
        // A filter's records have lengths of their own: above it, "exactly" is the reader's business.
        let mode = if record.has_filter() && mode != Mode::Paused { Mode::Stream } else { mode };
        if mode != Mode::Paused {
            record.flags.clear(Flags::HELD);
        }
        if record.mode == mode {
            return;
        }
        record.mode = mode;
        match record.receiving {
            Some(op) if !record.flags.has(Flags::SWITCHING) => {
                record.flags.set(Flags::SWITCHING);
                self.ring.cancel(op);
            }
            Some(_) => {}
            None => self.rearm(id),
        }
    }

    /// Starts the receive operation that the mode asks for, if none is under way.
    pub(crate) fn rearm(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        if record.receiving.is_some() || record.flags.has(Flags::ENDED) || record.flags.has(Flags::STARVED) {
            return;
        }
        if record.is_dammed() {
            return;
        }
        let socket = record.socket.clone();
        let op = match record.mode {
            Mode::Paused => return,
            _ if record.is_owned() => Op::Watch { socket },
            Mode::Stream if record.width.is_large() => Op::LargeStream { socket },
            Mode::Stream => Op::Stream { socket },
            Mode::Exact(want) => {
                let Some(mut buffer) = self.ring.pool().get(want as usize) else {
                    self.starve(id);
                    return;
                };
                let filled = record.inbox.copy_to(&mut buffer[..want as usize]);
                let filled = u32::try_from(filled).unwrap_or(0);
                if filled > 0 {
                    record.extra().exact_prefix = filled;
                }
                if filled == want {
                    record.mode = Mode::Paused;
                    record.inbox.unread(buffer.freeze(filled as usize));
                    self.notify(id, Events::DATA);
                    return;
                }
                Op::Exact { socket, buffer, filled, want }
            }
        };
        match self.ring.submit(op, Token::Receive(id).bits()) {
            Ok(op) => {
                if let Some(record) = self.conns.get(id) {
                    record.receiving = Some(op);
                    record.flags.clear(Flags::FED);
                }
            }
            // At the ring's limit of operations: wait like for a buffer. What an exact receive had is kept.
            Err(op) => {
                if let (Op::Exact { buffer, filled, .. }, Some(record)) = (op, self.conns.get(id)) {
                    record.inbox.unread(buffer.freeze(filled as usize));
                }
                self.starve(id);
            }
        }
    }

    pub(crate) fn starve(&mut self, id: ConnId) {
        self.is_scarce = true;
        if let Some(record) = self.conns.get(id)
            && !record.flags.has(Flags::STARVED)
        {
            record.flags.set(Flags::STARVED);
            let was_fed = record.flags.has(Flags::FED);
            if was_fed { &mut self.starved } else { &mut self.hungry }.push_back(id);
        }
    }

    /// Gives connections that found no buffer another try: those first that got nothing the last time, oldest first.
    pub(crate) fn feed_starved(&mut self) {
        if self.until_feeding_ms() != Some(0) {
            return;
        }
        self.is_scarce = false;
        self.fed_at_ms = self.now_ms;
        for _ in 0..(self.hungry.len() + self.starved.len()).min(STARVED_BATCH) {
            let Some(id) = self.hungry.pop_front().or_else(|| self.starved.pop_front()) else { break };
            if let Some(record) = self.conns.get(id) {
                record.flags.clear(Flags::STARVED);
                record.flags.clear(Flags::FED);
            }
            self.rearm(id);
            self.feed_owner(id);
        }
    }

    /// How soon starved connections are to be fed; `None` when there are none. When the last feeding did not satisfy, the
    /// next one waits for the clock instead of spinning.
    pub(crate) fn until_feeding_ms(&self) -> Option<u64> {
        let is_in_vain = self.is_scarce && self.fed_at_ms == self.now_ms;
        let is_any = !self.starved.is_empty() || !self.hungry.is_empty();
        is_any.then_some(u64::from(is_in_vain))
    }

    /// The first receive of a new connection, without an operation: its request is often there already.
    pub(crate) fn receive_at_once(&mut self, id: ConnId, bytes: usize) {
        let Some(record) = self.conns.get(id) else { return };
        let Some(mut buffer) = self.ring.pool().get(bytes) else { return };
        match self.ring.try_recv(&record.socket, &mut buffer) {
            Ok(0) => self.peer_ended(id),
            Ok(count) => self.arrived(id, buffer.freeze(count), 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_reset) => self.broke(id),
        }
    }

    /// After a turn: short rests are copied out of large buffers, and receiving goes on.
    pub(crate) fn settle(&mut self, id: ConnId) {
        let pool = self.ring.pool().clone();
        let Some(record) = self.conns.get(id) else { return };
        if !record.inbox.is_empty() {
            record.inbox.compact(&pool);
        }
        // A protocol that left everything in one piece has seen all of it and may be waiting for more.
        let has_room = || record.inbox.capacity() <= INBOX_BYTES_RESUME || record.inbox.is_joined();
        match record.mode {
            _ if record.task.is_some() => {}
            Mode::Paused if record.flags.has(Flags::HELD) || !has_room() => {}
            // An exact receive was for a task that is gone.
            Mode::Paused | Mode::Stream | Mode::Exact(_) => self.set_mode(id, Mode::Stream),
        }
        self.rearm(id);
    }

    pub(crate) fn decode(&mut self, id: ConnId) {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return };
        let Some(extra) = record.extra.as_mut().filter(|_| cfg!(feature = "filters")) else { return };
        let Extra { filter: Some(filter), wire, plain, .. } = &mut **extra else { return };
        let before = record.inbox.len();
        let held = filter.holds();
        let mut replies = Vec::new();
        let received = catch_unwind(AssertUnwindSafe(|| {
            filter.receive(wire, &mut record.inbox, &mut |slice| replies.push(slice), &pool)
        }));
        let has_news = record.inbox.len() > before;
        // No record layer of ours has records that large: this one waits for an end that does not come.
        let is_stuck = wire.len() > SLICE_BYTES_MAX && filter.wants_input();
        let is_ended = filter.is_ended() && !record.flags.has(Flags::ENDED);
        let is_waiting = !plain.is_empty() || held;
        let is_agreed = record.flags.has(Flags::SHAKING) && filter.is_open();
        let nap_ms = filter.nap_ms();
        self.note_failure(id, &received);
        if !self.is_sound(received) || is_stuck {
            self.filter_failed(id, replies);
            return;
        }
        self.nap(id, nap_ms);
        for reply in replies {
            self.send_wire(id, Outgoing::Bytes(reply));
        }
        if is_agreed {
            self.shaken(id);
        }
        if is_waiting {
            self.continue_sending(id);
        }
        if has_news {
            self.notify(id, Events::DATA);
        }
        if is_ended {
            self.peer_ended(id);
        }
        self.undam(id);
    }

    /// The handshake is done: the protocol hears of its connection.
    fn shaken(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        record.flags.clear(Flags::SHAKING);
        self.deadlines.disarm(id.index);
        if !self.client_is_told(id) {
            return;
        }
        self.counters.handshakes.add(1);
        self.notify(id, Events::OPENED);
    }

    /// Receives on for a handshake, or gives it up.
    pub(crate) fn keep_shaking(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.has(Flags::ENDED) || record.flags.has(Flags::BROKEN) {
            self.close_now(id);
        } else {
            self.rearm(id);
        }
    }

    /// A filter cannot go on. Its last words are tried to be delivered; nothing else is.
    fn filter_failed(&mut self, id: ConnId, last_words: Vec<Slice>) {
        let Some(record) = self.conns.get(id) else { return };
        // It has said all it has to say.
        record.flags.set(Flags::SHUT);
        record.flags.set(Flags::SAID);
        if record.flags.has(Flags::SHAKING) && !record.flags.is_closing() {
            for words in last_words {
                self.send_wire(id, Outgoing::Bytes(words));
            }
            // Nobody above knows of the connection: what still arrives is discarded so that the words are not lost.
            self.linger(id);
            return;
        }
        if record.is_flushed() {
            for words in last_words {
                let _too_late = self.ring.try_send(&record.socket, &words);
            }
        }
        self.broke(id);
    }
}
