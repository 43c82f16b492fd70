//! The ring's part in receiving datagrams: batches out, buffers back, reception started again after it ended.

use super::{Completion, Payload, Ring};
use crate::datagram::Batch;
use crate::driver::{Arrival, Event, Wait};
use crate::handle::Handle;
use crate::op::{DatagramCounters, DatagramOptions, Datagrams, Op};
use crate::slots::OpId;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Errors in a row after which reception pauses before it is tried again.
const ERRORS_IN_ROW_MAX: u32 = 8;

/// How long it pauses.
const ERROR_PAUSE: Duration = Duration::from_millis(1);

/// Datagram operations that need the ring's attention at its next poll.
#[derive(Default)]
pub(super) struct Attention {
    /// Have more than a batch.
    loud: Vec<OpId>,
    /// Have no buffer.
    hungry: Vec<OpId>,
    /// Met many errors in a row; when they are tried again.
    resting: Vec<(OpId, Instant)>,
}

impl Ring {
    /// Makes the operation that receives datagrams from `socket`, whose options are set. Its memory counts against the
    /// limit of the ring's pool as long as it or a batch of it lives. Submit it to this ring as [`Op::Datagrams`].
    ///
    /// # Errors
    /// `InvalidInput` for dimensions out of range and for sockets that are simulated or have GRO and smaller buffers;
    /// `OutOfMemory` when the pool's limit leaves no room; what `mmap(2)`, `madvise(2)` and `getsockopt(2)` say.
    pub fn datagrams(&self, socket: Handle, options: &DatagramOptions) -> io::Result<Box<Datagrams>> {
        Datagrams::new(socket, options, &self.pool, self.waker.clone())
    }

    /// Gives a batch's buffers back to the operation that received it. A batch of another ring, or of an operation that
    /// has ended, is dropped.
    pub fn recycle(&mut self, batch: Batch) {
        let id = batch.id;
        let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { return };
        if Arc::ptr_eq(&datagrams.region, &batch.region) {
            datagrams.recycle(batch);
            if !self.attention.hungry.is_empty() {
                self.feed();
            }
        }
    }

    /// What a datagram operation did; `None` when the id is another's or not current.
    #[must_use]
    pub fn datagram_counters(&self, id: OpId) -> Option<DatagramCounters> {
        match self.slots.get(id) {
            Some(Op::Datagrams(datagrams)) => Some(datagrams.counters),
            _ => None,
        }
    }

    /// What datagram operations need before a poll; how long it may sleep.
    pub(super) fn attend(&mut self, wait: Wait) -> Wait {
        if !self.attention.hungry.is_empty() {
            self.feed();
        }
        let wait = if self.attention.resting.is_empty() { wait } else { self.end_rests(wait) };
        if self.attention.loud.is_empty() { wait } else { Wait::Poll }
    }

    /// Announces the operations that had more than a batch.
    pub(super) fn announce_loud(&mut self) {
        for id in std::mem::take(&mut self.attention.loud) {
            if let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id)
                && !std::mem::replace(&mut datagrams.is_announced, true)
            {
                self.events.push_back(Event { id, result: 0, more: true, arrival: Arrival::Datagrams });
            }
        }
    }

    /// What a driver's event of a datagram operation means.
    pub(super) fn digest_datagrams(&mut self, event: Event) -> Option<Completion> {
        let Event { id, result, more, arrival } = event;
        if let Arrival::Datagrams = arrival {
            if let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) {
                datagrams.is_announced = false;
            }
            return self.hand_over(id);
        }
        if more { None } else { self.stopped(id, result) }
    }

    /// Ends a cancelled operation that no driver carries; false when one does.
    pub(super) fn cancel_datagrams(&mut self, id: OpId) -> bool {
        let Some(Op::Datagrams(datagrams)) = self.slots.get(id) else { return false };
        if datagrams.is_armed {
            return false;
        }
        self.end_later(id);
        true
    }

    /// The next batch of an operation, if anybody waits for it.
    fn hand_over(&mut self, id: OpId) -> Option<Completion> {
        let (token, is_orphan) = (self.slots.token(id)?, self.slots.is_orphan(id));
        let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { return None };
        datagrams.collect_returned(false);
        let batch = datagrams.take_batch(id)?;
        if datagrams.has_arrived() {
            self.attention.loud.push(id);
        }
        if is_orphan {
            self.recycle(batch);
            return None;
        }
        let result = Ok(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        Some(Completion { id, token, result, more: true, payload: Payload::Datagrams(batch) })
    }

    /// The kernel ended a reception: it goes on, waits for a buffer, rests, or that was its end.
    fn stopped(&mut self, id: OpId, result: i32) -> Option<Completion> {
        let is_cancelled = self.slots.is_cancelled(id) || self.slots.is_orphan(id);
        let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { return None };
        datagrams.is_armed = false;
        if is_cancelled {
            return self.end_datagrams(id, -libc::ECANCELED);
        }
        match -result {
            // A full completion queue or an empty datagram ended it.
            ..=0 => self.rearm(id),
            libc::ENOBUFS => {
                datagrams.counters.out_of_buffers += 1;
                self.counters.out_of_buffers += 1;
                self.attention.hungry.push(id);
                self.feed();
            }
            errno if is_fatal(errno) => return self.end_datagrams(id, result),
            errno => {
                datagrams.counters.errors += 1;
                datagrams.errors_in_row = datagrams.errors_in_row.saturating_add(1);
                if datagrams.errors_in_row > ERRORS_IN_ROW_MAX {
                    self.attention.resting.push((id, Instant::now() + ERROR_PAUSE));
                } else {
                    self.rearm(id);
                }
                let (token, error) = (self.slots.token(id)?, io::Error::from_raw_os_error(errno));
                return Some(Completion {
                    id,
                    token,
                    result: Err(error),
                    more: true,
                    payload: Payload::None,
                });
            }
        }
        None
    }

    /// The last completion, after the last batch.
    fn end_datagrams(&mut self, id: OpId, result: i32) -> Option<Completion> {
        let (token, is_orphan) = (self.slots.token(id)?, self.slots.is_orphan(id));
        let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { return None };
        if datagrams.has_arrived() && !is_orphan {
            self.events.push_front(Event { id, result, more: false, arrival: Arrival::None });
            return self.hand_over(id);
        }
        let op = self.retire(id)?;
        let error = io::Error::from_raw_os_error(-result);
        let payload = Payload::Finished(op);
        (!is_orphan).then_some(Completion { id, token, result: Err(error), more: false, payload })
    }

    /// Starts reception again, unless its end was asked for.
    fn rearm(&mut self, id: OpId) {
        if self.slots.is_cancelled(id) {
            self.end_later(id);
            return;
        }
        let Some(op) = self.slots.get_mut(id) else { return };
        if let Op::Datagrams(datagrams) = op {
            datagrams.counters.rearms += 1;
            datagrams.is_armed = true;
        }
        self.driver.submit(id, op);
    }

    fn end_later(&mut self, id: OpId) {
        let result = -libc::ECANCELED;
        self.events.push_back(Event { id, result, more: false, arrival: Arrival::None });
    }

    /// Starts those again that had no buffer and have one now.
    fn feed(&mut self) {
        for id in std::mem::take(&mut self.attention.hungry) {
            let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { continue };
            if datagrams.is_armed || self.slots.is_cancelled(id) {
                continue;
            }
            let Some(Op::Datagrams(datagrams)) = self.slots.get_mut(id) else { continue };
            datagrams.collect_returned(datagrams.supplied() == 0);
            if datagrams.supplied() > 0 {
                self.rearm(id);
            } else {
                self.attention.hungry.push(id);
            }
        }
    }

    /// Starts those again that have rested; how long the others let us sleep.
    fn end_rests(&mut self, wait: Wait) -> Wait {
        let now = Instant::now();
        let mut next = ERROR_PAUSE;
        for (id, until) in std::mem::take(&mut self.attention.resting) {
            let is_cancelled = self.slots.is_cancelled(id);
            match self.slots.get(id) {
                Some(Op::Datagrams(datagrams)) if !datagrams.is_armed && !is_cancelled => {}
                _ => continue,
            }
            if until <= now {
                self.rearm(id);
            } else {
                next = next.min(until - now);
                self.attention.resting.push((id, until));
            }
        }
        if self.attention.resting.is_empty() { wait } else { wait.limited(next) }
    }
}

/// Errors that trying again cannot mend: of the call itself, not of a datagram or the network.
fn is_fatal(errno: i32) -> bool {
    match errno {
        // EBADF, ENOTSOCK: the descriptor is no socket. EFAULT, EINVAL: we asked in a wrong way, or this kernel has no
        // multishot recvmsg. EACCES, EPERM: refused by policy. EPIPE, ENOTCONN: shut down. EBUSY: another operation
        // reads this socket.
        libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::EACCES | libc::EPERM => true,
        libc::EPIPE | libc::ENOTCONN | libc::EBUSY | libc::ECANCELED => true,
        _ => false,
    }
}
