//! How connections send: in order, flow-controlled, through the filter when there is one.

use crate::core::Core;
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Outgoing};
use crate::token::Token;
use ringway_ring::{Completion, Op, Payload, Progress, ReadFile, Slice, Transmit};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Pieces that may wait behind the one being sent; a protocol asks [`crate::Conn::can_send`] before it adds more.
pub const QUEUE_PIECES_MAX: usize = 16;

/// Bytes of a file that a filtered connection reads and encodes at once.
const PUMP_BYTES: u32 = 16 * 1024;

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
            self.continue_sending(id);
        } else {
            self.send_wire(id, piece);
        }
    }

    /// Sends the last bytes of a connection that is closed or lingers right after.
    pub(crate) fn send_last(&mut self, id: ConnId, bytes: Slice) {
        let Some(record) = self.conns.get(id) else { return };
        let is_open = !record.flags.has(Flags::BROKEN) && !record.flags.has(Flags::SHUT);
        if is_open && record.is_flushed() && !record.has_filter() {
            self.start_bytes(id, bytes, true);
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
        let is_through = match record.extra().plain.front_mut() {
            Some(Outgoing::File { offset, bytes, .. }) => {
                *offset += u64::from(count);
                *bytes -= u64::from(count).min(*bytes);
                *bytes == 0
            }
            _ => false,
        };
        if is_through {
            record.extra().plain.pop_front();
        }
        let plain = read.buffer.freeze(count as usize);
        self.encode(id, &plain);
        self.continue_sending(id);
    }

    /// Starts what waits, the wire's queue before the filter's; tells the protocol when nothing does.
    fn continue_sending(&mut self, id: ConnId) {
        loop {
            let Some(record) = self.conns.get(id) else { return };
            if record.sending.is_some() {
                return;
            }
            let is_shut = record.flags.has(Flags::SHUT) && !record.flags.has(Flags::SAID);
            let Some(extra) = &mut record.extra else { break };
            if extra.reading.is_some() {
                return;
            }
            if let Some(piece) = extra.queue.pop_front() {
                self.start_send(id, piece);
                continue;
            }
            match extra.plain.pop_front() {
                Some(Outgoing::Bytes(plain)) => self.encode(id, &plain),
                Some(Outgoing::File { head: Some(head), file, offset, bytes, is_warm }) => {
                    extra.plain.push_front(Outgoing::File { head: None, file, offset, bytes, is_warm });
                    self.encode(id, &head);
                }
                Some(file @ Outgoing::File { bytes: 1.., .. }) => {
                    extra.plain.push_front(file);
                    self.pump(id);
                    return;
                }
                Some(Outgoing::File { .. }) => {}
                None if is_shut && extra.filter.is_some() => self.say_last_words(id),
                None => break,
            }
        }
        self.flushed(id);
    }

    /// Wakes a task that waits for room in the queue when half of it is empty again.
    fn tell_room(&mut self, id: ConnId) {
        if let Some(record) = self.conns.get(id)
            && record.task.is_some()
            && record.queued() == QUEUE_PIECES_MAX / 2
        {
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
            self.notify(id, Events::SENT);
        }
    }

    fn encode(&mut self, id: ConnId, plain: &[u8]) {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return };
        let Some(filter) = &mut record.extra().filter else { return };
        let mut records = Vec::new();
        let sent =
            catch_unwind(AssertUnwindSafe(|| filter.send(plain, &mut |slice| records.push(slice), &pool)));
        for slice in records {
            self.send_wire(id, Outgoing::Bytes(slice));
        }
        if !self.is_sound(sent) {
            self.abort(id);
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
        match piece {
            Outgoing::Bytes(bytes) => self.start_bytes(id, bytes, false),
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

    /// `is_last`: the connection is closed right after these bytes, which then travel in one segment with the FIN.
    fn start_bytes(&mut self, id: ConnId, mut bytes: Slice, is_last: bool) {
        let Some(record) = self.conns.get(id) else { return };
        // A connection that has no operation yet may be gone before one would be submitted.
        if self.prefers_direct_send || record.receiving.is_none() {
            let sent = match is_last {
                true => self.ring.try_send_more(&record.socket, &bytes),
                false => self.ring.try_send(&record.socket, &bytes),
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
                Err(_gone) => {
                    self.broke(id);
                    return;
                }
            }
        }
        let socket = record.socket.clone();
        self.submit_send(id, Op::Send { socket, bytes, sent: 0 });
    }

    fn start_file(&mut self, id: ConnId, mut transmit: Transmit) {
        match self.ring.try_transmit(&mut transmit) {
            Ok(Progress::Done) => self.counters.bytes_sent.add(transmit.sent()),
            Ok(_) => self.submit_send(id, Op::Transmit(Box::new(transmit))),
            Err(_gone) => self.abort(id),
        }
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
