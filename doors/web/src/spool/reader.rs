//! Spooled bodies read again, as often as they are wanted.

use super::Spooled;
use ringway_engine::ring::{Op, Payload, ReadFile, Slice};
use ringway_engine::{Operation, WorkerHandle};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of a piece that is copied out of memory, and of one that is read from a file.
const MEMORY_PIECE_BYTES: usize = 16 * 1024;
const FILE_PIECE_BYTES: usize = 64 * 1024;

/// Reads a spooled body piece by piece.
pub struct SpoolReader {
    spooled: Spooled,
    worker: WorkerHandle,
    at: u64,
    reading: Option<Operation>,
}

impl SpoolReader {
    pub(super) fn new(spooled: Spooled, worker: WorkerHandle) -> Self {
        Self { spooled, worker, at: 0, reading: None }
    }

    /// The body's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.spooled.len()
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spooled.is_empty()
    }

    /// Begins again.
    pub fn rewind(&mut self) {
        self.at = 0;
        self.reading = None;
    }

    /// The next piece, never an empty one; `None` at the end. While a disk is waited for the waker is kept.
    ///
    /// # Errors
    /// What the disk says; `OutOfMemory` at the limit of the worker's slices.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        let left = self.spooled.len() - self.at;
        if left == 0 {
            return Poll::Ready(Ok(None));
        }
        let Some(file) = self.spooled.file() else {
            return Poll::Ready(self.copy().map(Some));
        };
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_PIECE_BYTES);
                let buffer = self.worker.slices().get(want).ok_or(io::ErrorKind::OutOfMemory)?;
                let want = u32::try_from(want).unwrap_or(u32::MAX);
                let read = Op::Read(ReadFile::new(file.clone(), buffer, self.at, want));
                self.reading.insert(self.worker.operation(read)?)
            }
        };
        let completion = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let count = completion.result?;
        let Payload::Finished(Op::Read(read)) = completion.payload else {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        };
        if count == 0 {
            // Nobody else has the file: the disk has lost it.
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.at += u64::from(count);
        Poll::Ready(Ok(Some(read.buffer.freeze(count as usize))))
    }

    /// Waits for the next piece: see [`SpoolReader::poll_next`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Slice>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn copy(&mut self) -> io::Result<Slice> {
        let from = usize::try_from(self.at).unwrap_or(usize::MAX);
        let rest = self.spooled.memory.get(from..).unwrap_or_default();
        let piece = &rest[..rest.len().min(MEMORY_PIECE_BYTES)];
        let slice = self.worker.slices().copy_of(piece).ok_or(io::ErrorKind::OutOfMemory)?;
        self.at += slice.len() as u64;
        Ok(slice)
    }
}

impl fmt::Debug for SpoolReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolReader({:?}, at {})", self.spooled, self.at)
    }
}
