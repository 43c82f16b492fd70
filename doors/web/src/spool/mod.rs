//! Bodies of requests kept whole until they are wanted: short ones in memory, longer ones in files that have no name.
//!
//! Who must know a body's length before it comes (CGI, FastCGI), or may have to give it away twice (a proxy that tries the next
//! server), spools it. Files are written by ring operations, so a slow disk holds up the client that sends and nobody else.

mod reader;
mod space;

pub use reader::SpoolReader;
pub use space::{SpoolOptions, SpoolSpace};

use crate::request_body::{BodyError, RequestBody};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::{Handle, Op, Payload, WriteFile};
use ringway_http::status::Status;
use space::Charge;
use std::fmt;
use std::io;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// Why a body was not spooled.
#[derive(Debug)]
pub enum SpoolError {
    /// The body cannot be read to its end.
    Body(BodyError),
    /// The body is longer than may be spooled.
    TooLarge,
    /// There is no room: the disk is full, or as much is spooled as may be.
    Full,
    /// The disk fails, or its directory does.
    Io(io::Error),
}

impl SpoolError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Body(error) => error.status(),
            Self::TooLarge => Status::CONTENT_TOO_LARGE,
            Self::Full => Status::INSUFFICIENT_STORAGE,
            Self::Io(_) => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::TooLarge => f.write_str("the request's body is longer than may be spooled"),
            Self::Full => f.write_str("there is no room to spool the request's body"),
            Self::Io(error) => write!(f, "the request's body cannot be spooled: {error}"),
        }
    }
}

impl std::error::Error for SpoolError {}

impl From<BodyError> for SpoolError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // ENOSPC, EDQUOT, EFBIG: somebody must make room.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            _ => Self::Io(error),
        }
    }
}

/// A whole body. What it takes of memory and disk is free again when it is dropped.
pub struct Spooled {
    memory: Vec<u8>,
    file: Option<Handle>,
    len: u64,
    charge: Charge,
}

impl Spooled {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of it, if it is short enough to be in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&*self.memory)
    }

    /// The file that it is in from its first byte on, if it is too long to be in memory.
    #[must_use]
    pub fn file(&self) -> Option<&Handle> {
        self.file.as_ref()
    }

    /// Reads it from its beginning.
    #[must_use]
    pub fn into_reader(self, worker: WorkerHandle) -> SpoolReader {
        SpoolReader::new(self, worker)
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spooled({} bytes, {})", self.len, if self.file.is_some() { "a file" } else { "memory" })
    }
}

impl SpoolSpace {
    /// Reads a body to its end and keeps it.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing is kept then.
    ///
    /// # Cancellation
    /// Dropping the future keeps nothing either; what was read of the body is gone.
    pub async fn spool(&self, body: &mut RequestBody, worker: &WorkerHandle) -> Result<Spooled, SpoolError> {
        let bytes_max = self.options().body_bytes_max;
        if body.length().is_some_and(|length| length > bytes_max) {
            return Err(SpoolError::TooLarge);
        }
        let mut spooled = Spooled { memory: Vec::new(), file: None, len: 0, charge: self.charge() };
        while let Some(piece) = body.next().await? {
            spooled.len += piece.len() as u64;
            if spooled.len > bytes_max {
                return Err(SpoolError::TooLarge);
            }
            let fits = spooled.file.is_none()
                && spooled.memory.len() + piece.len() <= self.options().memory_bytes_max
                && spooled.charge.add_memory(piece.len());
            if !fits && spooled.file.is_none() {
                spooled.file = Some(self.make_file(worker).await?);
            }
            spooled.memory.extend_from_slice(&piece);
            drop(piece);
            if spooled.file.is_some() && spooled.memory.len() >= WRITE_BYTES {
                spooled.write(worker).await?;
            }
        }
        spooled.write(worker).await?;
        if spooled.file.is_some() {
            spooled.memory = Vec::new();
            spooled.charge.drop_memory();
        }
        Ok(spooled)
    }
}

impl Spooled {
    /// Writes what is gathered behind what is in the file.
    async fn write(&mut self, worker: &WorkerHandle) -> Result<(), SpoolError> {
        let Some(file) = &self.file else { return Ok(()) };
        if !self.charge.add_disk(self.memory.len()) {
            return Err(SpoolError::Full);
        }
        let (mut done, end) = (0, self.memory.len());
        let start = self.len - end as u64;
        while done < end {
            let offset = start + done as u64;
            let write =
                Op::Write(WriteFile::at(file.clone(), std::mem::take(&mut self.memory), done, offset));
            let completion = worker.operation(write)?.await;
            if let Payload::Finished(Op::Write(write)) = completion.payload {
                self.memory = write.bytes;
            }
            match completion.result? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                count => done += count as usize,
            }
        }
        self.memory.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        // ENOSPC, EDQUOT and EFBIG, then EIO.
        for errno in [28, 122, 27] {
            let error = SpoolError::from(io::Error::from_raw_os_error(errno));
            assert_eq!(error.status(), Status::INSUFFICIENT_STORAGE, "{error}");
        }
        let error = SpoolError::from(io::Error::from_raw_os_error(5));
        assert_eq!(error.status(), Status::INTERNAL_SERVER_ERROR, "{error}");
        assert_eq!(SpoolError::TooLarge.status(), Status::CONTENT_TOO_LARGE);
        assert_eq!(SpoolError::Body(BodyError::Late).status(), Status::REQUEST_TIMEOUT);
    }
}
