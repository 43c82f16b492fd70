//! Answers on their way out: those of one batch leave together.

use crate::answer::PlanBody;
use crate::entry::{Content, Entry, FileEntry};
use crate::exchange::Link;
use crate::pipeline::{Reply, Source};
use ringway_engine::ring::{Handle, Pool, SLICE_BYTES_MAX, Slice, SliceMut};
use ringway_engine::{Conn, Session, Stream};
use std::net::SocketAddr;
use std::rc::Rc;

/// Room that every answer's head finds before it is written, in bytes.
const HEAD_ROOM_BYTES: usize = 1280;

/// The same for one that was waited for, and may be another server's.
#[cfg(feature = "bodies")]
const AMPLE_ROOM_BYTES: usize = 14 * 1024;

/// Capacity for one answer, and for a batch of pipelined ones, in bytes.
const SINGLE_BYTES: usize = 2048;
const BATCH_BYTES: usize = 16 * 1024;

/// Largest file whose being in memory is remembered, in bytes.
const WARM_BYTES_MAX: u64 = 1024 * 1024;

/// What answers are sent on.
pub trait Sink: Link {
    /// Where its slices come from.
    fn pool(&self) -> Pool;
    /// Sends bytes.
    fn send(&mut self, bytes: Slice);
    /// Sends the last bytes before the connection is closed.
    fn send_last(&mut self, bytes: Slice) {
        self.send(bytes);
    }
    /// Sends `head`, then a range of a file.
    fn send_file(&mut self, head: Option<Slice>, file: Handle, offset: u64, bytes: u64, is_warm: bool);
    /// Whether a range of a file is in memory. `false` when nobody looked.
    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool;
    /// The worker's clock in milliseconds.
    fn now_ms(&self) -> u64;
}

impl Link for Conn<'_> {
    fn peer(&mut self) -> Option<SocketAddr> {
        Conn::peer(self)
    }

    fn session(&mut self) -> Option<Rc<Session>> {
        Conn::session(self)
    }
}

impl Sink for Conn<'_> {
    fn pool(&self) -> Pool {
        Conn::pool(self)
    }

    fn send(&mut self, bytes: Slice) {
        Conn::send(self, bytes);
    }

    fn send_last(&mut self, bytes: Slice) {
        Conn::send_last(self, bytes);
    }

    fn send_file(&mut self, head: Option<Slice>, file: Handle, offset: u64, bytes: u64, is_warm: bool) {
        Conn::send_file(self, head, file, offset, bytes, is_warm);
    }

    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        Conn::is_resident(self, file, offset, bytes)
    }

    fn now_ms(&self) -> u64 {
        Conn::now_ms(self)
    }
}

impl Link for Stream {
    fn peer(&mut self) -> Option<SocketAddr> {
        Stream::peer(self)
    }

    fn session(&mut self) -> Option<Rc<Session>> {
        Stream::session(self)
    }
}

impl Sink for Stream {
    fn pool(&self) -> Pool {
        Stream::pool(self)
    }

    fn send(&mut self, bytes: Slice) {
        Stream::send(self, bytes);
    }

    fn send_file(&mut self, head: Option<Slice>, file: Handle, offset: u64, bytes: u64, _is_warm: bool) {
        Stream::send_file(self, head, file, offset, bytes);
    }

    fn is_resident(&mut self, _file: &Handle, _offset: u64, _bytes: u64) -> bool {
        // What a task sends has just been loaded: it is looked at piece by piece as it is sent.
        false
    }

    fn now_ms(&self) -> u64 {
        Stream::now_ms(self)
    }
}

/// No memory for an answer: the pool is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Collects answers in one buffer.
pub struct Output {
    pool: Pool,
    buffer: Option<SliceMut>,
    len: usize,
    wanted: usize,
}

impl Output {
    /// Collects the answers to `input_bytes` of requests.
    #[must_use]
    pub fn new(pool: Pool, input_bytes: usize) -> Self {
        let wanted = if input_bytes * 2 > SINGLE_BYTES / 2 { BATCH_BYTES } else { SINGLE_BYTES };
        Self { pool, buffer: None, len: 0, wanted }
    }

    /// Memory for the next head; what was collected is sent first when too little is left.
    ///
    /// # Errors
    /// At the pool's limit.
    pub fn room(&mut self, sink: &mut impl Sink) -> Result<&mut [u8], NoMemory> {
        self.reserve(sink, HEAD_ROOM_BYTES, self.wanted)?;
        let len = self.len;
        self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(len..)).ok_or(NoMemory)
    }

    /// Memory for the head of an answer that cannot be asked for twice.
    ///
    /// # Errors
    /// At the pool's limit.
    #[cfg(feature = "bodies")]
    pub fn ample_room(&mut self, sink: &mut impl Sink) -> Result<&mut [u8], NoMemory> {
        self.reserve(sink, AMPLE_ROOM_BYTES, AMPLE_ROOM_BYTES)?;
        let len = self.len;
        self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(len..)).ok_or(NoMemory)
    }

    /// The largest memory there is, for a head that did not fit.
    ///
    /// # Errors
    /// At the pool's limit.
    pub fn large_room(&mut self, sink: &mut impl Sink) -> Result<&mut [u8], NoMemory> {
        self.flush(sink);
        self.reserve(sink, SLICE_BYTES_MAX, SLICE_BYTES_MAX)?;
        self.buffer.as_deref_mut().ok_or(NoMemory)
    }

    /// Adds an answer whose head stands in the memory that [`Output::room`] gave.
    ///
    /// # Errors
    /// At the pool's limit; the connection must be reset then, because half an answer may be on its way.
    pub fn add(&mut self, sink: &mut impl Sink, reply: Reply) -> Result<(), NoMemory> {
        self.len += reply.plan.head_len;
        match (reply.plan.body, &reply.source) {
            // What is streamed follows piece by piece.
            (PlanBody::Empty | PlanBody::Stream | PlanBody::Sized | PlanBody::Raw, _) => Ok(()),
            (PlanBody::Static(text), _) => self.copy(sink, text),
            (PlanBody::Shared(bytes), _) => self.copy(sink, &bytes),
            (PlanBody::Memory(range), Source::Bytes(bytes)) => {
                self.copy(sink, bytes.get(range).unwrap_or_default())
            }
            (PlanBody::Memory(range), Source::Entry(entry)) => {
                let bytes = entry.file().and_then(FileEntry::memory).unwrap_or_default();
                self.copy(sink, bytes.get(range).unwrap_or_default())
            }
            (PlanBody::File { offset, len }, Source::Entry(entry)) => {
                self.file(sink, entry, offset, len);
                Ok(())
            }
            (PlanBody::Parts(parts), Source::Entry(entry)) => {
                for (head, range) in parts.iter() {
                    self.copy(sink, head)?;
                    self.range(sink, entry, range.start, range.len())?;
                }
                self.copy(sink, parts.end())
            }
            _ => Err(NoMemory),
        }
    }

    /// Sends what was collected.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        if let Some(bytes) = self.take() {
            sink.send(bytes);
        }
    }

    /// Sends what was collected, which is the connection's last.
    pub fn flush_last(&mut self, sink: &mut impl Sink) {
        if let Some(bytes) = self.take() {
            sink.send_last(bytes);
        }
    }

    fn range(
        &mut self,
        sink: &mut impl Sink,
        entry: &Entry<Handle>,
        start: u64,
        len: u64,
    ) -> Result<(), NoMemory> {
        match entry.file().and_then(FileEntry::memory) {
            Some(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                self.copy(sink, &bytes[place(start)..place(start + len)])
            }
            None => {
                self.file(sink, entry, start, len);
                Ok(())
            }
        }
    }

    /// What was collected leaves as the head of the file.
    fn file(&mut self, sink: &mut impl Sink, entry: &Entry<Handle>, offset: u64, len: u64) {
        let head = self.take();
        let Some(entry) = entry.file() else { return };
        let Content::File(file) = entry.content() else { return };
        let now_ms = sink.now_ms();
        let mut is_warm = entry.is_warm(now_ms);
        // A file that goes out often is looked at once a second, not once a request; a large one piece by piece.
        if !is_warm && entry.content_len() <= WARM_BYTES_MAX {
            is_warm = sink.is_resident(file, 0, entry.content_len());
            if is_warm {
                entry.note_warm(now_ms);
            }
        }
        sink.send_file(head, file.clone(), offset, len, is_warm);
    }

    fn copy(&mut self, sink: &mut impl Sink, mut bytes: &[u8]) -> Result<(), NoMemory> {
        while !bytes.is_empty() {
            let wanted = self.wanted.max(bytes.len().min(SLICE_BYTES_MAX));
            self.reserve(sink, bytes.len().min(SLICE_BYTES_MAX), wanted)?;
            let Some(room) = self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(self.len..)) else {
                return Err(NoMemory);
            };
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.len += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Makes sure that `least` bytes are free, with a new buffer of `wanted` if not. A head alone in the way moves along.
    fn reserve(&mut self, sink: &mut impl Sink, least: usize, wanted: usize) -> Result<(), NoMemory> {
        let free = self.buffer.as_ref().map_or(0, |buffer| buffer.len() - self.len);
        if free >= least {
            return Ok(());
        }
        let total = self.len + least;
        if self.len > 0 && total <= SLICE_BYTES_MAX && self.len < HEAD_ROOM_BYTES {
            let mut larger = self.pool.get(total.max(wanted)).ok_or(NoMemory)?;
            if let Some(old) = self.buffer.take() {
                larger[..self.len].copy_from_slice(&old[..self.len]);
            }
            self.buffer = Some(larger);
            return Ok(());
        }
        self.flush(sink);
        self.buffer = Some(self.pool.get(wanted.max(least)).ok_or(NoMemory)?);
        Ok(())
    }

    /// What was collected, for who sends it together with what follows.
    pub(crate) fn take(&mut self) -> Option<Slice> {
        let len = std::mem::take(&mut self.len);
        let buffer = self.buffer.take()?;
        (len > 0).then(|| buffer.freeze(len))
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({} bytes)", self.len)
    }
}
