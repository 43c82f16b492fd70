//! Files that are written while their content arrives: by the ring, so that a slow disk holds up nobody else.

use crate::error::Error;
use crate::worker::Worker;
use ringway_engine::ring::{Handle, Op, Payload, WriteFile};
use ringway_http::status::Status;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// A file in the making; removed unless it is finished.
pub(crate) struct Saving {
    worker: Worker,
    file: Handle,
    path: Option<PathBuf>,
    gathered: Vec<u8>,
    written: u64,
}

impl Saving {
    /// Makes the file, which must not be there.
    pub(crate) async fn begin(worker: &Worker, path: &Path) -> Result<Self, Error> {
        let place = path.to_owned();
        let opened = worker
            .blocking(move || OpenOptions::new().write(true).create_new(true).open(place).map(OwnedFd::from))
            .await?;
        let file = opened.map_err(|error| trouble(path, error))?;
        let (file, path) = (Handle::new(file), Some(path.to_owned()));
        Ok(Self { worker: worker.clone(), file, path, gathered: Vec::new(), written: 0 })
    }

    pub(crate) async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// The file is whole; its length.
    pub(crate) async fn finish(mut self) -> Result<u64, Error> {
        self.flush().await?;
        self.path = None;
        Ok(self.written)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.worker.off_turn().await;
        let (mut done, end) = (0, self.gathered.len());
        while done < end {
            let offset = self.written + done as u64;
            let bytes = std::mem::take(&mut self.gathered);
            let write = Op::Write(WriteFile::at(self.file.clone(), bytes, done, offset));
            let completion = self.worker.handle().operation(write)?.await;
            if let Payload::Finished(Op::Write(write)) = completion.payload {
                self.gathered = write.bytes;
            }
            let path = self.path.as_deref().unwrap_or(Path::new(""));
            match completion.result.map_err(|error| trouble(path, error))? {
                0 => return Err(trouble(path, io::ErrorKind::WriteZero.into())),
                count => done += count as usize,
            }
        }
        self.written += end as u64;
        self.gathered.clear();
        Ok(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // A directory may be slow; where no thread is left for it the file is removed here all the same.
            let place = path.clone();
            if self.worker.handle().pool().run(move || drop(fs::remove_file(place))).is_err() {
                let _left = fs::remove_file(path);
            }
        }
    }
}

/// What the client and the log are told of a disk.
fn trouble(path: &Path, error: io::Error) -> Error {
    let status = match error.kind() {
        // ENOSPC, EDQUOT, EFBIG: somebody must make room.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Status::INSUFFICIENT_STORAGE
        }
        _ => Status::INTERNAL_SERVER_ERROR,
    };
    Error::of(status).because(format!("{}: {error}", path.display()))
}
