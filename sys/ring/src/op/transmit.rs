//! Transmit-file: a head from memory, then a range of a file, sent by `sendfile` from a warm page cache.

use crate::driver::Driver;
use crate::handle::Handle;
use crate::slice::Slice;
use crate::slots::OpId;
use std::io;

/// Most bytes one `sendfile` call moves: larger pieces fall out of the processor's cache before they are sent.
const PIECE_BYTES: usize = 256 * 1024;

/// Most bytes one transmit moves before others get their turn.
const TURN_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a cold file that are read ahead off the worker before `sendfile` goes on.
pub(crate) const COLD_BYTES: u32 = 64 * 1024;

/// Sends `head`, then `left` bytes of `file` from `offset`. The file is never mapped: one that shrinks meanwhile ends
/// the transmit with `UnexpectedEof` instead of a fault.
#[derive(Debug)]
pub struct Transmit {
    pub(crate) socket: Handle,
    head: Option<Slice>,
    pub(crate) file: Handle,
    offset: u64,
    left: u64,
    warm_to: u64,
    sent: u64,
    pub(crate) stage: Stage,
    pub(crate) is_cancelled: bool,
}

/// What a transmit in a slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The driver, to say that the socket is writable.
    Writable,
    /// A read of the file's next bytes.
    Read(OpId),
    /// Its next turn.
    Turn,
}

/// How far a transmit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is with the kernel.
    Done,
    /// The socket is full.
    Blocked,
    /// The next bytes of the file are not in memory; reading them here could block the worker.
    Cold,
    /// The turn's quota is used up; there is more to do at once.
    Yield,
}

impl Transmit {
    /// A transmit of `head` (may be empty) and `bytes` of `file` from `offset`, as an operation.
    #[must_use]
    pub fn new(socket: Handle, head: Option<Slice>, file: Handle, offset: u64, bytes: u64) -> Box<Self> {
        Box::new(Self::immediate(socket, head, file, offset, bytes))
    }

    /// The same for [`crate::Ring::try_transmit`]: what is sent at once needs no allocation.
    #[must_use]
    pub fn immediate(socket: Handle, head: Option<Slice>, file: Handle, offset: u64, bytes: u64) -> Self {
        let head = head.filter(|head| !head.is_empty());
        Self {
            socket,
            head,
            file,
            offset,
            left: bytes,
            warm_to: offset,
            sent: 0,
            stage: Stage::Turn,
            is_cancelled: false,
        }
    }

    /// Says that the caller knows the whole range to be in memory: it is not probed.
    pub fn assume_warm(&mut self) {
        self.warm_to = self.offset + self.left;
    }

    /// Bytes handed to the kernel so far, the head's included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes still to be handed over.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left + self.head.as_ref().map_or(0, |head| head.len() as u64)
    }

    /// Where in the file the next byte comes from.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The range that was read off the worker is in memory now.
    pub(crate) fn warmed(&mut self, bytes: u64) {
        self.warm_to = self.warm_to.max(self.offset + bytes);
    }

    /// Moves what can be moved without blocking.
    pub(crate) fn advance(&mut self, driver: &mut dyn Driver) -> io::Result<Progress> {
        let stop = self.sent + TURN_BYTES_MAX;
        while let Some(head) = &mut self.head {
            match driver.try_send(&self.socket, head, self.left > 0) {
                Ok(bytes) => {
                    self.sent += bytes as u64;
                    head.advance(bytes);
                    if head.is_empty() {
                        self.head = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) => return Err(error),
            }
        }
        while self.left > 0 {
            if self.sent >= stop {
                return Ok(Progress::Yield);
            }
            if self.offset >= self.warm_to {
                let window = self.left.min(TURN_BYTES_MAX);
                if !driver.is_resident(&self.file, self.offset, window) {
                    return Ok(Progress::Cold);
                }
                self.warm_to = self.offset + window;
            }
            if !self.send_piece(driver)? {
                return Ok(Progress::Blocked);
            }
        }
        Ok(Progress::Done)
    }

    /// One `sendfile`; false when the socket is full.
    fn send_piece(&mut self, driver: &mut dyn Driver) -> io::Result<bool> {
        let warm = usize::try_from(self.left.min(self.warm_to - self.offset)).unwrap_or(PIECE_BYTES);
        match driver.try_sendfile(&self.socket, &self.file, self.offset, warm.min(PIECE_BYTES)) {
            // The file is shorter than announced: the peer must not get a body of another length as if it were whole.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.offset += bytes as u64;
                self.left -= bytes as u64;
                self.sent += bytes as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
