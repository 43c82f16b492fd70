//! Threads that do the epoll driver's file operations: epoll cannot wait for a disk, and a worker must not.

use crate::file::{self, OpenHow};
use crate::op::Op;
use crate::slots::OpId;
use crate::wake::Waker;
use std::ffi::CStr;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A lane; its thread starts with the first operation.
pub(crate) struct Lane {
    name: &'static str,
    waker: Waker,
    results: Arc<Mutex<Vec<Outcome>>>,
    running: Option<(Sender<Job>, JoinHandle<()>)>,
    under_way: usize,
}

/// How a file operation ended.
pub(crate) struct Outcome {
    pub(crate) id: OpId,
    pub(crate) result: io::Result<u32>,
    pub(crate) opened: Option<OwnedFd>,
}

struct Job {
    id: OpId,
    work: Work,
}

/// A file operation by address. What it points to belongs to the operation in its slot.
enum Work {
    Open { directory: RawFd, path: *const CStr, how: *const OpenHow },
    Stat { file: RawFd, target: *mut libc::statx },
    Read { file: RawFd, target: *mut [u8], offset: u64 },
    Write { file: RawFd, offset: Option<u64>, source: *const [u8] },
}

// SAFETY: I4: the pointers lead into boxes and buffers of an operation that stays in its slot, untouched by the
// worker, until the lane has reported it; the channel and the mutex order the accesses.
#[expect(unsafe_code, reason = "the lane is to its operations what the kernel is to a ring's")]
unsafe impl Send for Work {}

impl Lane {
    /// `name` is the thread's.
    pub(crate) fn new(name: &'static str, waker: Waker) -> Self {
        Self { name, waker, results: Arc::default(), running: None, under_way: 0 }
    }

    /// Starts a file operation; `None` when `op` is none.
    pub(crate) fn start(&mut self, id: OpId, op: &mut Op) -> Option<io::Result<()>> {
        let work = match op {
            Op::Open(open) => Work::Open {
                directory: open.directory.raw(),
                path: &raw const *open.path,
                how: &raw const open.how,
            },
            Op::Stat(stat) => Work::Stat { file: stat.file.raw(), target: &raw mut stat.stat },
            Op::Read(read) => {
                Work::Read { file: read.file.raw(), offset: read.offset, target: &raw mut *read.target() }
            }
            Op::Write(write) => {
                let source = &raw const *write.left();
                Work::Write { file: write.file.raw(), offset: write.offset, source }
            }
            _ => return None,
        };
        Some(self.send(Job { id, work }))
    }

    /// Whether an operation is with the thread.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// What has ended since the last call.
    pub(crate) fn take_results(&mut self) -> Vec<Outcome> {
        if self.under_way == 0 {
            return Vec::new();
        }
        let done = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
        self.under_way -= done.len();
        done
    }

    fn send(&mut self, job: Job) -> io::Result<()> {
        if self.running.is_none() {
            self.running = Some(self.spawn()?);
        }
        let Some((sender, _)) = &self.running else { return Err(io::ErrorKind::BrokenPipe.into()) };
        sender.send(job).map_err(|_closed| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.under_way += 1;
        Ok(())
    }

    fn spawn(&self) -> io::Result<(Sender<Job>, JoinHandle<()>)> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let (results, waker) = (Arc::clone(&self.results), self.waker.clone());
        let run = move || {
            for job in jobs {
                let outcome = carry_out(job);
                results.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                waker.wake();
            }
        };
        let thread = std::thread::Builder::new().name(self.name.to_owned()).spawn(run)?;
        Ok((sender, thread))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let Some((sender, thread)) = self.running.take() else { return };
        drop(sender);
        // A thread that still has an operation may be stuck with it for ever (a pipe that nobody reads, a disk that is
        // gone). The ring keeps such operations for good (I4), so the thread may go on alone.
        if self.under_way == 0 {
            let _panicked = thread.join();
        }
    }
}

fn carry_out(job: Job) -> Outcome {
    let mut opened = None;
    let result = match job.work {
        Work::Open { directory, path, how } => {
            // SAFETY: I4: path and how belong to the operation in its slot.
            let (path, how) = unsafe { (&*path, &*how) };
            file::open_at(directory, path, how).map(|fd| {
                opened = Some(fd);
                0
            })
        }
        // SAFETY: I4: the buffer belongs to the operation in its slot, and only this thread touches it now.
        Work::Stat { file, target } => file::stat(file, unsafe { &mut *target }).map(|()| 0),
        Work::Read { file, target, offset } => {
            // SAFETY: I4: the buffer belongs to the operation in its slot, and only this thread touches it now.
            let target = unsafe { &mut *target };
            file::read_at(file, target, offset).map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX))
        }
        Work::Write { file, offset, source } => {
            // SAFETY: I4: the bytes belong to the operation in its slot, and nobody changes them now.
            let source = unsafe { &*source };
            file::write(file, source, offset).map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX))
        }
    };
    Outcome { id: job.id, result, opened }
}
