//! The memory of one datagram operation: equal buffers in one mapping, shared with the batches that are out.

use crate::memory;
use crate::slice::Reservation;
use crate::wake::Waker;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of the header the kernel writes in front of name, control data and payload (`struct io_uring_recvmsg_out`).
pub(crate) const HEADER_BYTES: usize = 16;

/// Buffers begin at a multiple of this: a cache line.
const ALIGNMENT: usize = 64;

/// Where things are in a buffer: header, name, control data, payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) name_bytes: usize,
    pub(crate) control_bytes: usize,
    pub(crate) payload_bytes: usize,
}

impl Layout {
    /// Where the payload begins.
    pub(crate) fn payload_offset(self) -> usize {
        HEADER_BYTES + self.name_bytes + self.control_bytes
    }

    /// Bytes of a buffer that the kernel may write.
    pub(crate) fn buffer_bytes(self) -> usize {
        self.payload_offset() + self.payload_bytes
    }

    /// From one buffer to the next.
    fn stride(self) -> usize {
        self.buffer_bytes().next_multiple_of(ALIGNMENT)
    }

    /// Bytes of `count` buffers.
    pub(crate) fn region_bytes(self, count: u16) -> usize {
        self.stride() * usize::from(count)
    }
}

/// One datagram as the driver noted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Bytes of the buffer that the kernel filled, the space before the payload included.
    pub(crate) bytes: u32,
    pub(crate) buffer: u16,
}

/// A mapping of equal buffers. Which of them may be read is said by the records of a batch (I9).
pub(crate) struct Region {
    memory: NonNull<u8>,
    layout: Layout,
    count: u16,
    has_returned: AtomicBool,
    returned: Mutex<Returned>,
    waker: Waker,
    _reservation: Reservation,
}

/// Buffers of batches that were dropped instead of recycled.
#[derive(Default)]
struct Returned {
    buffers: Vec<u16>,
    /// The ring waits for buffers.
    is_wanted: bool,
}

// SAFETY: I9: the mapping belongs to the region; each buffer is touched by one side at a time, as the records say.
unsafe impl Send for Region {}
// SAFETY: I9: shared access only reads buffers that records name, and the kernel writes only the others.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `count` buffers; `wants_huge_pages` asks the kernel for huge pages, which it may refuse without a word.
    pub(crate) fn new(
        layout: Layout,
        count: u16,
        wants_huge_pages: bool,
        waker: Waker,
        reservation: Reservation,
    ) -> io::Result<Self> {
        let memory = memory::map(layout.region_bytes(count))?;
        if wants_huge_pages {
            // SAFETY: I9: a whole mapping of our own; the advice changes how it is backed, not what it holds.
            let advised = unsafe { memory::advise_huge_pages(memory, layout.region_bytes(count)) };
            if let Err(error) = advised {
                // SAFETY: I1: the mapping was just made and nothing uses it.
                unsafe { memory::unmap(memory, layout.region_bytes(count)) };
                return Err(error);
            }
        }
        Ok(Self {
            memory,
            layout,
            count,
            has_returned: AtomicBool::new(false),
            returned: Mutex::default(),
            waker,
            _reservation: reservation,
        })
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// Where a buffer begins, for the kernel to write to.
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "the ids of a region's buffers are checked where they come from");
        // SAFETY: I9: the buffer lies in the mapping (asserted above).
        unsafe { self.memory.as_ptr().add(usize::from(buffer) * self.layout.stride()) }
    }

    /// What the kernel wrote into a record's buffer.
    ///
    /// # Safety
    /// The record is held by a batch (or not handed out yet), so that nothing writes its buffer as long as the result lives.
    #[inline]
    pub(crate) unsafe fn filled(&self, record: Record) -> &[u8] {
        let bytes = (record.bytes as usize).min(self.layout.buffer_bytes());
        // SAFETY: I9: inside the mapping, which was zeroed when it was made, and the caller's promise.
        unsafe { std::slice::from_raw_parts(self.address(record.buffer), bytes) }
    }

    /// As [`Region::filled`], to be written.
    ///
    /// # Safety
    /// As there, and nobody else looks at the buffer as long as the result lives.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "the memory is the kernel's mapping, not the region's own value")]
    pub(crate) unsafe fn filled_mut(&self, record: Record) -> &mut [u8] {
        let bytes = (record.bytes as usize).min(self.layout.buffer_bytes());
        // SAFETY: I9: inside the mapping, which was zeroed when it was made, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.address(record.buffer), bytes) }
    }

    /// Takes buffers back from any thread.
    pub(crate) fn give_back(&self, buffers: impl Iterator<Item = u16>) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.buffers.extend(buffers);
        self.has_returned.store(true, Ordering::Release);
        if std::mem::take(&mut returned.is_wanted) {
            drop(returned);
            self.waker.wake();
        }
    }

    /// Buffers that came back by themselves since the last call. When there are none and `is_wanted`, the ring is woken
    /// by the next ones.
    pub(crate) fn take_returned(&self, is_wanted: bool) -> Vec<u16> {
        if !is_wanted && !self.has_returned.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_returned.store(false, Ordering::Release);
        let buffers = std::mem::take(&mut returned.buffers);
        returned.is_wanted = is_wanted && buffers.is_empty();
        buffers
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: I9: the last holder is gone: no batch is out, and the operation has ended, so the kernel has let go.
        unsafe { memory::unmap(self.memory, self.layout.region_bytes(self.count)) };
    }
}
