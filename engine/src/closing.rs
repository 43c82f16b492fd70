//! How connections end: closed, lingering, reset.

use crate::core::{Core, Ended};
use crate::governor::WAITING;
use crate::record::{ConnId, Flags, Mode};
use ringway_ring::socket;
use std::net::Shutdown;

/// How long a lingering connection may go on sending, in milliseconds.
const LINGER_MS: u64 = 5_000;

impl Core {
    /// Closes once everything is sent. A deadline that is set still holds: then what is not sent is given up.
    pub(crate) fn close(&mut self, id: ConnId) {
        self.finish_writing(id);
        let Some(record) = self.conns.get(id) else { return };
        record.flags.set(Flags::CLOSING);
        if record.is_flushed() || record.flags.has(Flags::BROKEN) {
            self.close_now(id);
        } else {
            self.watch_closing(id);
        }
    }

    /// Sends a FIN once everything is sent and discards what still arrives, for a limited time.
    pub(crate) fn linger(&mut self, id: ConnId) {
        self.finish_writing(id);
        let Some(record) = self.conns.get(id) else { return };
        record.flags.set(Flags::LINGER_NEXT);
        if record.flags.has(Flags::ENDED) {
            record.flags.clear(Flags::LINGER_NEXT);
            self.close(id);
        } else if record.is_flushed() {
            self.begin_linger(id);
        } else {
            self.watch_closing(id);
        }
    }

    /// A closing connection's deadline has passed: it is reset unless the deadline was the engine's own and something was
    /// sent since.
    pub(crate) fn closing_timed_out(&mut self, id: ConnId) {
        let now = self.closing_progress(id);
        let Some(record) = self.conns.get(id) else { return };
        match record.extra.as_ref().and_then(|extra| extra.closing) {
            Some(before) if before != now => self.watch_closing(id),
            _ => self.abort(id),
        }
    }

    /// Sees to it that a peer that reads nothing does not keep a closing connection for ever.
    fn watch_closing(&mut self, id: ConnId) {
        if self.deadlines.deadline(id.index).is_some() {
            return;
        }
        let progress = self.closing_progress(id);
        let Some(record) = self.conns.get(id) else { return };
        record.extra().closing = Some(progress);
        let stall_ms_max = self.doors[usize::from(record.endpoint)].limits.close_stall_ms_max;
        self.deadlines.arm(id.index, self.now_ms.saturating_add(stall_ms_max));
    }

    /// What is under way, how much of it is sent, and how much waits behind it.
    fn closing_progress(&mut self, id: ConnId) -> (u64, u64, usize) {
        let Some(record) = self.conns.get(id) else { return (0, 0, 0) };
        let queued = record.queued();
        match record.sending {
            // What the governor keeps back is not the peer's fault.
            Some(WAITING) => (WAITING.bits(), self.now_ms, queued),
            sending => sending.map_or((0, 0, queued), |op| (op.bits(), self.ring.progress(op), queued)),
        }
    }

    pub(crate) fn begin_linger(&mut self, id: ConnId) {
        let deadline = self.now_ms + LINGER_MS;
        let Some(record) = self.conns.get(id) else { return };
        if record.flags.has(Flags::ENDED) {
            // The peer finished while the last bytes went out: nothing is left to be discarded.
            self.close_now(id);
            return;
        }
        record.flags.set(Flags::LINGERING);
        record.flags.clear(Flags::LINGER_NEXT);
        record.inbox.clear();
        if let Some(extra) = &mut record.extra {
            extra.wire.clear();
        }
        if self.ring.shutdown(&record.socket, Shutdown::Write).is_err() {
            self.close_now(id);
            return;
        }
        self.deadlines.arm(id.index, deadline);
        self.set_mode(id, Mode::Stream);
        self.rearm(id);
    }

    /// Whether a connection is broken and its protocol knows.
    pub(crate) fn is_lost(&mut self, id: ConnId) -> bool {
        let record = self.conns.get(id);
        record.is_some_and(|record| record.flags.has(Flags::BROKEN) && record.events.is_empty())
    }

    /// Resets the connection: the peer sees that what it got is not whole.
    pub(crate) fn abort(&mut self, id: ConnId) {
        if let Some(record) = self.conns.get(id) {
            if let Some(fd) = record.socket.kernel() {
                let _gone_already = socket::set_abort_on_close(fd);
            }
            record.flags.set(Flags::BROKEN);
        }
        self.close_now(id);
    }

    /// Forgets the connection. Its operations keep descriptor and buffers until the kernel has let go of them.
    pub(crate) fn close_now(&mut self, id: ConnId) {
        let Some(mut record) = self.conns.remove(id) else { return };
        self.wakes.extend(record.extra.as_mut().and_then(|extra| extra.waker.take()));
        let is_owned = record.is_owned();
        if let Some(op) = record.receiving {
            if !record.flags.has(Flags::ENDED) && !record.flags.has(Flags::BROKEN) {
                // The descriptor lives until the receive is cancelled; the FIN need not wait for that.
                let _gone_already = self.ring.shutdown(&record.socket, Shutdown::Write);
            }
            self.ring.orphan(op);
        }
        let reading = record.extra.as_ref().and_then(|extra| extra.reading);
        for op in [record.sending, reading].into_iter().flatten() {
            self.ring.orphan(op);
        }
        self.discount(&record);
        self.deadlines.disarm(id.index);
        if self.has_rates {
            self.paced.disarm(id.index);
        }
        self.nap_no_more(id);
        self.doors[usize::from(record.endpoint)].leave();
        self.counters.closed.add(1);
        self.counters.open.set(self.conns.len() as u64);
        let filter = record.extra.as_mut().and_then(|extra| extra.filter.take());
        let is_shaking = record.flags.has(Flags::SHAKING);
        if is_shaking {
            self.counters.handshakes_failed.add(1);
        }
        #[cfg(feature = "held")]
        let is_awaited = record.extra.as_ref().is_some_and(|extra| extra.is_outbound);
        #[cfg(not(feature = "held"))]
        let is_awaited = false;
        let is_known = (!is_shaking || is_awaited) && !is_owned;
        self.ended.push_back(Ended { endpoint: record.endpoint, context: record.context, filter, is_known });
        if is_owned {
            self.owned -= 1;
            // Who polled it last is another connection's task, or a free one.
            record.task.into_iter().for_each(crate::task::schedule);
        } else if let Some(task) = record.task {
            // The task may be the one running: the worker removes it after this.
            self.orphaned_tasks.push(task);
        }
    }
}
