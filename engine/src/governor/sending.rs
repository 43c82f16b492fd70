//! How governed connections send: in pieces, each when it is its turn, and no faster than their own rate.

use super::side::Waiter;
use crate::core::Core;
use crate::record::{ConnId, Flags, Outgoing};
use ringway_pace::governor::{Kind, Line, PIECE_BYTES_MIN, Sending};
use ringway_ring::OpId;
use std::rc::Rc;

const NS_PER_MS: u64 = 1_000_000;

/// Stands in the place of a send operation while the governor keeps the next piece back: no operation has this name, and
/// everything that waits for one to end waits.
pub(crate) const WAITING: OpId = OpId::NONE;

/// A connection's own rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnRate {
    line: Line,
    burst_ns: u64,
    until_ns: u64,
}

impl ConnRate {
    fn new(bytes_per_s: u64, burst_bytes: u64) -> Self {
        let ns = u128::from(burst_bytes) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
        Self { line: Line::new(bytes_per_s), burst_ns: u64::try_from(ns).unwrap_or(u64::MAX), until_ns: 0 }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.line, self.burst_ns) == (other.line, other.burst_ns)
    }

    /// How much of `bytes` may go now; 0: none.
    fn room(&self, now_ns: u64, bytes: u64) -> u64 {
        if self.until_ns > now_ns {
            return 0;
        }
        let saved = self.line.bytes_in((now_ns - self.until_ns).min(self.burst_ns));
        bytes.min(saved.max(self.line.piece_bytes()))
    }

    fn charge(&mut self, now_ns: u64, bytes: u64) {
        self.until_ns = self.line.charged_within(self.until_ns, now_ns, bytes, self.burst_ns);
    }
}

impl Core {
    /// Gives a connection a rate of its own.
    pub(crate) fn set_send_rate(&mut self, id: ConnId, bytes_per_s: u64, burst_bytes: u64) {
        let Some(record) = self.conns.get(id) else { return };
        let limits = &self.doors[usize::from(record.endpoint)].limits;
        let (bytes_per_s, burst_bytes) = match bytes_per_s {
            0 => (limits.send_bytes_per_s, limits.send_burst_bytes),
            own => (own, burst_bytes),
        };
        if bytes_per_s == 0 {
            if let Some(extra) = &mut record.extra {
                extra.rate = None;
            }
            return;
        }
        let rate = ConnRate::new(bytes_per_s, burst_bytes);
        let known = &mut record.extra().rate;
        if !known.as_ref().is_some_and(|known| known.is_like(&rate)) {
            *known = Some(rate);
        }
        self.has_rates = true;
        self.is_governed = true;
    }

    /// Sends a piece, or as much of it as may go now; the rest waits at the front of the queue.
    pub(crate) fn send_governed(&mut self, id: ConnId, piece: Outgoing) {
        let mut next = Some(piece);
        while let Some(piece) = next.take() {
            let bytes = piece.bytes();
            let admitted = if bytes == 0 { 0 } else { self.admit(id, &piece, bytes) };
            if admitted >= bytes {
                self.start_piece(id, piece);
                return;
            }
            let Some(record) = self.conns.get(id) else { return };
            let (first, rest) = piece.split(admitted);
            record.extra().queue.push_front(rest);
            if admitted == 0 {
                record.sending = Some(WAITING);
                return;
            }
            if let Some(first) = first {
                self.start_piece(id, first);
            }
            // What went at once is followed by the rest, as far as that may go.
            let Some(record) = self.conns.get(id) else { return };
            if record.sending.is_some() || record.flags.has(Flags::BROKEN) {
                return;
            }
            next = record.extra().queue.pop_front();
        }
    }

    /// It is a connection's turn to send a piece of so many bytes.
    pub(super) fn send_granted(&mut self, id: ConnId, bytes: u64) {
        let Some(record) = self.conns.get(id) else { return };
        record.sending = None;
        record.extra().granted = bytes;
        self.continue_sending(id);
        self.tell_room(id);
    }

    /// A connection's own rate has room again.
    pub(super) fn pace_again(&mut self, index: u32) {
        let Some(id) = self.conns.current(index) else { return };
        let Some(record) = self.conns.get(id) else { return };
        if record.sending == Some(WAITING) && record.extra.as_ref().is_some_and(|extra| extra.is_paced) {
            record.extra().is_paced = false;
            record.sending = None;
            self.continue_sending(id);
            self.tell_room(id);
        }
    }

    /// How many bytes of a piece may go now. 0: it waits, and will be told.
    fn admit(&mut self, id: ConnId, piece: &Outgoing, bytes: u64) -> u64 {
        let own = self.admit_own(id, bytes);
        if own == 0 {
            return 0;
        }
        let Some(record) = self.conns.get(id) else { return bytes };
        let (mut granted, reserved) = match &mut record.extra {
            Some(extra) => (std::mem::take(&mut extra.granted), extra.reserved),
            None => (0, 0),
        };
        // What was reserved when the read was let go is paid for. A few bytes of it are not worth a send of their own.
        if reserved >= bytes.min(PIECE_BYTES_MIN) {
            granted = granted.max(reserved);
        }
        let mut admitted = own;
        if let Some(side) = &mut self.governor {
            let under = side.table.under(record.endpoint, record.site);
            let kind = if matches!(piece, Outgoing::File { .. }) { Kind::Transmit } else { Kind::Write };
            let table = Rc::clone(&side.table);
            let mut waits = None;
            for place in under.places().filter(|_| granted == 0) {
                let entry = &table.entries[place];
                let is_queued = !side.queues[place].round.is_empty();
                match entry.rules.send(kind, bytes, entry.is_free(side.now_ns), is_queued) {
                    _ if !entry.counts_sent() => {}
                    Sending::Now(now) => admitted = admitted.min(now),
                    Sending::Wait(later) => {
                        admitted = admitted.min(later);
                        waits.get_or_insert(place);
                    }
                }
            }
            if let Some(place) = waits {
                side.wait(place, Waiter::Send(id), admitted);
                return 0;
            }
            if granted > 0 {
                admitted = admitted.min(granted);
            }
            let paid = reserved.min(admitted);
            side.charge_sent(under, admitted, paid, 1);
            if let Some(extra) = &mut record.extra {
                extra.reserved -= paid;
            }
        }
        if let Some(rate) = record.extra.as_mut().and_then(|extra| extra.rate.as_mut()) {
            rate.charge(self.now_ms.saturating_mul(NS_PER_MS), admitted);
        }
        admitted
    }

    /// How many bytes the connection's own rate lets go now. 0: it waits for the clock.
    fn admit_own(&mut self, id: ConnId, bytes: u64) -> u64 {
        let now_ns = self.now_ms.saturating_mul(NS_PER_MS);
        let Some(record) = self.conns.get(id) else { return bytes };
        let Some(extra) = &mut record.extra else { return bytes };
        let Some(rate) = &extra.rate else { return bytes };
        let (room, until_ns) = (rate.room(now_ns, bytes), rate.until_ns);
        if room == 0 {
            extra.is_paced = true;
            self.paced.arm(id.index, until_ns.div_ceil(NS_PER_MS));
        }
        room
    }
}

impl Outgoing {
    /// What it puts on the wire.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { head, bytes, .. } => bytes + head.as_ref().map_or(0, |head| head.len() as u64),
        }
    }

    /// Cuts after so many bytes, fewer than there are.
    fn split(self, at: u64) -> (Option<Self>, Self) {
        let small = usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            whole if at == 0 => (None, whole),
            Self::Bytes(mut bytes) => {
                let first = bytes.split_to(small);
                (Some(Self::Bytes(first)), Self::Bytes(bytes))
            }
            Self::File { head: Some(mut head), file, offset, bytes, is_warm } if head.len() > small => {
                let first = head.split_to(small);
                (Some(Self::Bytes(first)), Self::File { head: Some(head), file, offset, bytes, is_warm })
            }
            Self::File { head, file, offset, bytes, is_warm } => {
                let part = at - head.as_ref().map_or(0, |head| head.len() as u64);
                let rest = Self::File {
                    head: None,
                    file: file.clone(),
                    offset: offset + part,
                    bytes: bytes - part,
                    is_warm,
                };
                if part == 0
                    && let Some(head) = head
                {
                    return (Some(Self::Bytes(head)), rest);
                }
                (Some(Self::File { head, file, offset, bytes: part, is_warm }), rest)
            }
        }
    }
}
