//! How connections send: in order, flow-controlled, through the filter when there is one.

use crate::core::Core;
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Outgoing};
use crate::sealing::Sealed;
use crate::token::Token;
#[cfg(feature = "gather")]
use ringway_ring::{Chain, Gather};
use ringway_ring::{Completion, Op, Payload, Progress, ReadFile, Slice, Transmit};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Pieces that may wait behind the one being sent; a protocol asks [`crate::Conn::can_send`] before it adds more.
pub const QUEUE_PIECES_MAX: usize = 16;

/// Bytes of a file that are read for a filtered connection at once where the disk must be waited for.
const PUMP_BYTES: u32 = 64 * 1024;

/// Bytes of files that a filtered connection sends before others get their turn.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// How bytes go to the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direct {
    /// Tried at once.
    Yes,
    /// As an operation: others have their turn before.
    Later,
    /// As the driver likes it best.
    AsPreferred,
    /// As the driver likes it best; the connection is closed right after these bytes, which then travel in one segment
    /// with the FIN.
    Last,
}

impl Core {
    /// Sends a piece: at once, or behind what is under way; through the filter if there is one.
    pub(crate) fn send(&mut self, id: ConnId, piece: Outgoing) {
        let Some(record) = self.conns.get(id) else { return };
        let is_empty = matches!(&piece, Outgoing::Bytes(bytes) if bytes.is_empty());
        if is_empty || record.flags.has(Flags::BROKEN) || record.flags.has(Flags::SHUT) {
            return;
        }
        if record.has_filter() {
            record.extra().plain.push_back(piece);
            self.advance_sending(id);
        } else {
            self.send_wire(id, piece);
        }
    }

    /// Sends two pieces, in one go where nothing else is on its way.
    #[cfg(feature = "gather")]
    pub(crate) fn send_both(&mut self, id: ConnId, first: Slice, second: Slice) {
        let Some(record) = self.conns.get(id) else { return };
        let is_open = !record.flags.has(Flags::BROKEN) && !record.flags.has(Flags::SHUT);
        let is_free = is_open && record.is_flushed() && !record.has_filter() && !self.is_governed();
        if !is_free || first.is_empty() || second.is_empty() {
            self.send(id, Outgoing::Bytes(first));
            self.send(id, Outgoing::Bytes(second));
        } else if self.prefers_direct_send {
            // More follows at once, as behind the last bytes the end does.
            self.start_bytes(id, first, Direct::Last);
            self.send(id, Outgoing::Bytes(second));
        } else if let Some(record) = self.conns.get(id) {
            let mut chain = Chain::from(first);
            chain.push(second);
            let gather = Gather::new(record.socket.clone(), chain);
            self.submit_send(id, Op::Gather(gather));
        }
    }

    /// Sends the last bytes of a connection that is closed or lingers right after.
    pub(crate) fn send_last(&mut self, id: ConnId, bytes: Slice) {
        let Some(record) = self.conns.get(id) else { return };
        let is_open = !record.flags.has(Flags::BROKEN) && !record.flags.has(Flags::SHUT);
        if is_open && record.is_flushed() && !record.has_filter() && !self.is_governed() {
            self.start_bytes(id, bytes, Direct::Last);
        } else {
            self.send(id, Outgoing::Bytes(bytes));
        }
    }

    /// Sends a piece as it is.
    pub(crate) fn send_wire(&mut self, id: ConnId, piece: Outgoing) {
        let Some(record) = self.conns.get(id) else { return };
        if record.sending.is_some() || record.queued() > 0 {
            record.extra().queue.push_back(piece);
        } else {
            self.start_send(id, piece);
        }
    }

    /// No more plain bytes follow; a filter says its last words.
    pub(crate) fn finish_writing(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.has(Flags::SHUT) || record.flags.has(Flags::BROKEN) {
            return;
        }
        record.flags.set(Flags::SHUT);
        // With plain pieces still waiting, the last words follow when they are through.
        if record.extra.as_ref().is_none_or(|extra| extra.plain.is_empty()) {
            self.say_last_words(id);
        }
    }

    fn say_last_words(&mut self, id: ConnId) {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return };
        record.flags.set(Flags::SAID);
        let Some(filter) = record.extra.as_mut().and_then(|extra| extra.filter.as_mut()) else { return };
        let mut words = Vec::new();
        let finished =
            catch_unwind(AssertUnwindSafe(|| filter.finish(&mut |slice| words.push(slice), &pool)));
        for slice in words {
            self.send_wire(id, Outgoing::Bytes(slice));
        }
        if !self.is_sound(finished) {
            // Without them the peer must not take what it got for the whole.
            self.abort(id);
        }
    }

    /// Whether a filter did its work; a panic of one is counted, and takes its connection only.
    pub(crate) fn is_sound(&self, outcome: std::thread::Result<io::Result<()>>) -> bool {
        match outcome {
            Ok(result) => result.is_ok(),
            Err(_panic) => {
                self.counters.panics.add(1);
                false
            }
        }
    }

    /// A send operation has ended.
    pub(crate) fn sent(&mut self, id: ConnId, completion: Completion) {
        let Some(record) = self.conns.get(id) else { return };
        record.sending = None;
        let is_whole = match (&completion.result, &completion.payload) {
            (Ok(count), Payload::Finished(Op::Send { bytes, .. })) => {
                self.counters.bytes_sent.add(u64::from(*count));
                *count as usize == bytes.len()
            }
            #[cfg(feature = "gather")]
            (Ok(count), Payload::Finished(Op::Gather(gather))) => {
                self.counters.bytes_sent.add(u64::from(*count));
                gather.left().is_empty()
            }
            (Ok(_), Payload::Finished(Op::Transmit(transmit))) => {
                self.counters.bytes_sent.add(transmit.sent());
                transmit.left() == 0
            }
            (result, _) => result.is_ok(),
        };
        if is_whole {
            self.continue_sending(id);
            self.tell_room(id);
        } else {
            self.send_failed(id);
        }
    }

    /// Something could not be sent.
    fn send_failed(&mut self, id: ConnId) {
        if self.conns.get(id).is_some_and(|record| record.is_owned()) {
            // What its peer had said before can still be read.
            self.write_failed(id);
        } else {
            // A body that ends early must not look whole: the connection is reset.
            self.abort(id);
        }
    }

    /// A filtered connection's file read has ended.
    pub(crate) fn pumped(&mut self, id: ConnId, completion: Completion) {
        let Some(record) = self.conns.get(id) else { return };
        let count = *completion.result.as_ref().unwrap_or(&0);
        record.extra().reading = None;
        let (Payload::Finished(Op::Read(read)), true) = (completion.payload, count > 0) else {
            // An error, or the file ended before its announced range did.
            self.abort(id);
            return;
        };
        let plain = &mut record.extra().plain;
        if let Some(Outgoing::File { offset, bytes, .. }) = plain.front_mut() {
            *offset += u64::from(count);
            *bytes -= u64::from(count).min(*bytes);
        }
        plain.push_front(Outgoing::Bytes(read.buffer.freeze(count as usize)));
        self.continue_sending(id);
    }

    /// Starts what waits; tells the protocol when nothing does.
    pub(crate) fn continue_sending(&mut self, id: ConnId) {
        if self.advance_sending(id) {
            self.flushed(id);
        }
    }

    /// Starts what waits, the wire's queue before the filter's; says whether everything is with the kernel.
    fn advance_sending(&mut self, id: ConnId) -> bool {
        let mut turn_bytes = 0;
        loop {
            let Some(record) = self.conns.get(id) else { return false };
            if record.sending.is_some() {
                return false;
            }
            let is_shut = record.flags.has(Flags::SHUT) && !record.flags.has(Flags::SAID);
            let Some(extra) = &mut record.extra else { return true };
            if extra.reading.is_some() {
                return false;
            }
            if let Some(piece) = extra.queue.pop_front() {
                self.start_send(id, piece);
                continue;
            }
            if extra.plain.is_empty() {
                if !is_shut || extra.filter.is_none() {
                    return !extra.holds();
                }
                self.say_last_words(id);
                continue;
            }
            match self.seal_next(id) {
                Sealed::Records { wire, has_file } => {
                    turn_bytes += wire.len();
                    let direct = match has_file {
                        _ if turn_bytes > TURN_BYTES_MAX => Direct::Later,
                        // Like `sendfile` without a filter.
                        true => Direct::Yes,
                        false => Direct::AsPreferred,
                    };
                    self.send_records(id, wire, direct);
                }
                Sealed::Nothing => {}
                Sealed::Waits => return false,
                Sealed::Cold => {
                    self.pump(id);
                    return false;
                }
                Sealed::Failed => {
                    self.abort(id);
                    return false;
                }
            }
        }
    }

    /// Sends what `seal_next` made, behind what it had to send before.
    fn send_records(&mut self, id: ConnId, wire: Slice, direct: Direct) {
        let Some(record) = self.conns.get(id) else { return };
        let is_behind = record.extra.as_ref().is_some_and(|extra| !extra.queue.is_empty());
        if record.sending.is_some() || is_behind {
            record.extra().queue.push_back(Outgoing::Bytes(wire));
        } else if self.governs(id) {
            self.send_governed(id, Outgoing::Bytes(wire));
        } else {
            self.start_bytes(id, wire, direct);
        }
    }

    /// Wakes a task that waits for room in the queue when half of it is empty again.
    pub(crate) fn tell_room(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let is_waited_for = record.task.is_some() || record.is_owned();
        let is_half_empty = is_waited_for && record.queued() == QUEUE_PIECES_MAX / 2;
        if is_half_empty || self.has_room_wanted(id) {
            self.notify(id, Events::default());
        }
    }

    fn flushed(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.has(Flags::LINGER_NEXT) {
            self.begin_linger(id);
        } else if record.flags.has(Flags::CLOSING) {
            self.close_now(id);
        } else {
            self.send_end(id);
            self.notify(id, Events::SENT);
        }
    }

    /// Reads the next piece of the file at the front of a filtered connection's queue.
    fn pump(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let Some(Outgoing::File { file, offset, bytes, .. }) = record.extra().plain.front() else { return };
        let want = u32::try_from(*bytes).unwrap_or(u32::MAX).min(PUMP_BYTES);
        let (file, offset) = (file.clone(), *offset);
        let Some(buffer) = self.ring.pool().get(want as usize) else {
            self.abort(id);
            return;
        };
        let read = Op::Read(ReadFile::new(file, buffer, offset, want));
        match self.ring.submit(read, Token::Pump(id).bits()) {
            Ok(op) => {
                if let Some(record) = self.conns.get(id) {
                    record.extra().reading = Some(op);
                }
            }
            Err(_op) => self.abort(id),
        }
    }

    fn start_send(&mut self, id: ConnId, piece: Outgoing) {
        if self.governs(id) {
            self.send_governed(id, piece);
        } else {
            self.start_piece(id, piece);
        }
    }

    pub(crate) fn start_piece(&mut self, id: ConnId, piece: Outgoing) {
        match piece {
            Outgoing::Bytes(bytes) => self.start_bytes(id, bytes, Direct::AsPreferred),
            Outgoing::File { head, file, offset, bytes, is_warm } => {
                let Some(record) = self.conns.get(id) else { return };
                let mut transmit = Transmit::immediate(record.socket.clone(), head, file, offset, bytes);
                if is_warm {
                    transmit.assume_warm();
                }
                self.start_file(id, transmit);
            }
        }
    }

    fn start_bytes(&mut self, id: ConnId, mut bytes: Slice, direct: Direct) {
        let Some(record) = self.conns.get(id) else { return };
        // A connection that has no operation yet may be gone before one would be submitted.
        let is_preferred = self.prefers_direct_send || record.receiving.is_none() || direct == Direct::Yes;
        if is_preferred && direct != Direct::Later {
            let sent = match direct {
                Direct::Last => self.ring.try_send_more(&record.socket, &bytes),
                Direct::Yes | Direct::AsPreferred | Direct::Later => {
                    self.ring.try_send(&record.socket, &bytes)
                }
            };
            match sent {
                Ok(count) => {
                    self.counters.bytes_sent.add(count as u64);
                    bytes.advance(count);
                    if bytes.is_empty() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_gone) if record.is_owned() => return self.write_failed(id),
                Err(_gone) => return self.broke(id),
            }
        }
        let socket = record.socket.clone();
        self.submit_send(id, Op::Send { socket, bytes, sent: 0 });
    }

    fn start_file(&mut self, id: ConnId, mut transmit: Transmit) {
        match self.ring.try_transmit(&mut transmit) {
            Ok(Progress::Done) => self.counters.bytes_sent.add(transmit.sent()),
            Ok(_) => self.submit_send(id, Op::Transmit(Box::new(transmit))),
            Err(_gone) => self.send_failed(id),
        }
    }

    /// What a direct send has left.
    #[cfg(feature = "members")]
    pub(crate) fn send_rest(&mut self, id: ConnId, bytes: Slice) {
        let Some(record) = self.conns.get(id) else { return };
        let socket = record.socket.clone();
        self.submit_send(id, Op::Send { socket, bytes, sent: 0 });
    }

    fn submit_send(&mut self, id: ConnId, op: Op) {
        let submitted = self.ring.submit(op, Token::Send(id).bits());
        match (submitted, self.conns.get(id)) {
            (Ok(op), Some(record)) => record.sending = Some(op),
            // At the limit of operations an answer cannot be delivered; cut silently short it would look whole.
            _ => self.abort(id),
        }
    }
}
