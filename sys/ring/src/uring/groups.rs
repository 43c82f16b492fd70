//! Buffer groups of datagram operations: registered when one starts, unregistered when it has ended.

use crate::datagram::{Provided, Supply};
use crate::driver::{Arrival, Event};
use crate::op::Datagrams;
use crate::slots::OpId;
use io_uring::squeue::Entry;
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};
use std::io;

/// Group ids in use; the first ones are the streams'.
pub(super) struct Groups {
    next: u16,
    free: Vec<u16>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self { next: super::LARGE_GROUP + 1, free: Vec::new() }
    }

    /// Gives an operation's buffers to the kernel, as a group of their own, unless they are with it already.
    ///
    /// # Errors
    /// What `io_uring_register(2)` or `mmap(2)` say.
    pub(super) fn register(&mut self, ring: &IoUring, datagrams: &mut Datagrams) -> io::Result<()> {
        let Supply::Free(free) = &mut datagrams.supply else { return Ok(()) };
        let group = self.take_id()?;
        let registered = Provided::map(&datagrams.region, group).and_then(|provided| {
            let (address, entries) = provided.registration();
            // SAFETY: I7: the mapping is page-aligned, large enough, and stays until the group is unregistered.
            match unsafe { ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) } {
                Ok(()) => Ok(provided),
                Err(error) => {
                    // SAFETY: I7: the kernel refused the mapping, so nothing uses it.
                    unsafe { provided.unmap() };
                    Err(error)
                }
            }
        });
        match registered {
            Ok(mut provided) => {
                provided.give(std::mem::take(free).into_iter());
                datagrams.supply = Supply::Provided(provided);
                Ok(())
            }
            Err(error) => {
                self.free.push(group);
                Err(error)
            }
        }
    }

    /// Takes an operation's buffers from the kernel. Nothing of the operation is in flight.
    pub(super) fn unregister(&mut self, ring: &IoUring, datagrams: &mut Datagrams) {
        let Some(provided) = datagrams.reclaim() else { return };
        let group = provided.group();
        // A group that the kernel will not let go of stays mapped, and its id taken: `provided` drops without unmapping.
        if ring.submitter().unregister_buf_ring(group).is_ok() {
            // SAFETY: I7: the operation has ended and the kernel has let go of the group.
            unsafe { provided.unmap() };
            self.free.push(group);
        }
    }

    fn take_id(&mut self) -> io::Result<u16> {
        if let Some(group) = self.free.pop() {
            return Ok(group);
        }
        let group = self.next;
        // ENOSPC: 65,535 datagram operations on one ring.
        self.next = group.checked_add(1).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        Ok(group)
    }
}

/// The submission entry of a datagram operation whose group is registered.
pub(super) fn prepare(datagrams: &Datagrams) -> Entry {
    let group = match &datagrams.supply {
        Supply::Provided(provided) => provided.group(),
        // Never submitted so; the kernel would answer that the group is not there.
        Supply::Free(_) => u16::MAX,
    };
    // MSG_TRUNC: the header tells a cut datagram's real length.
    opcode::RecvMsgMulti::new(Fd(datagrams.socket.raw()), &raw const datagrams.header, group)
        .flags(libc::MSG_TRUNC.cast_unsigned())
        .build()
}

/// Notes what an operation's completions in a row brought, and returns the next one that is another's. One event a poll
/// says that something came, another one that reception has ended.
pub(super) fn reap(
    id: OpId,
    first: cqueue::Entry,
    completions: &mut cqueue::CompletionQueue<'_>,
    datagrams: &mut Datagrams,
    events: &mut Vec<Event>,
) -> Option<cqueue::Entry> {
    let mut entry = first;
    let next = loop {
        let (result, flags) = (entry.result(), entry.flags());
        if let (Some(buffer), Ok(bytes)) = (cqueue::buffer_select(flags), u32::try_from(result)) {
            datagrams.arrive(buffer, bytes);
        }
        if !cqueue::more(flags) {
            announce(id, datagrams, events);
            events.push(Event { id, result: result.min(0), more: false, arrival: Arrival::None });
        }
        match completions.next() {
            Some(next) if next.user_data() == id.bits() => entry = next,
            other => break other,
        }
    };
    announce(id, datagrams, events);
    next
}

/// Says that something came, once until it has been fetched.
fn announce(id: OpId, datagrams: &mut Datagrams, events: &mut Vec<Event>) {
    if datagrams.has_arrived() && !std::mem::replace(&mut datagrams.is_announced, true) {
        events.push(Event { id, result: 0, more: true, arrival: Arrival::Datagrams });
    }
}
