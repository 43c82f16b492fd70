//! A worker's way to a log file: lines gathered, written by ring operations, dropped and counted rather than waited for.

use crate::log::files::LogFile;
use ringway_engine::ring::{Handle, Op, Payload, WriteFile};
use ringway_engine::{Sleep, WorkerHandle};
use rustix::fs::FileType;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Bytes of lines that may wait for a slow disk or reader before lines are dropped: some ten thousand.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of lines that are written without waiting for more.
const WRITE_BYTES: usize = 32 * 1024;

/// Memory for lines that is kept while there are always more of them; a sink that rests keeps none.
const KEPT_BYTES: usize = 4 * WRITE_BYTES;

/// Bytes that a pipe takes as a whole or not at all, so that the lines of several workers do not mix (pipe(7), PIPE_BUF).
const PIPE_BYTES: usize = 4096;

/// How long lines may wait to be written together, in milliseconds.
const GATHER_MS: u64 = 100;

/// A worker's way to a file. Clones gather lines together, in the order in which they come.
#[derive(Clone)]
pub struct LogSink {
    open: Rc<Open>,
}

/// Shared by clones; when the last is gone, what is there is written and the writing task ends.
struct Open {
    file: LogFile,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    lines: Vec<u8>,
    is_closed: bool,
    /// The task that writes, while it waits for so many bytes of lines.
    waiting: Option<(usize, Waker)>,
}

impl LogSink {
    /// A way to `file`, written by `worker`. What is dropped, because the file is too slow or fails, is counted there.
    ///
    /// # Errors
    /// When there is no descriptor left for it.
    pub fn new(file: LogFile, worker: &WorkerHandle) -> io::Result<Self> {
        let shared = Rc::new(RefCell::new(Shared { lines: Vec::new(), is_closed: false, waiting: None }));
        let target = Target::new(file.clone(), worker.clone())?;
        worker.spawn(write_lines(Rc::clone(&shared), target));
        Ok(Self { open: Rc::new(Open { file, shared }) })
    }

    /// Adds a line of at most `len_max` bytes, which `write` appends with its line feed.
    pub fn add(&self, len_max: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let shared = &mut *self.open.shared.borrow_mut();
        if shared.lines.len() + len_max > WAITING_BYTES_MAX {
            self.open.file.count_dropped(1);
            return;
        }
        write(&mut shared.lines);
        if let Some((_, waker)) = shared.waiting.take_if(|(bytes, _)| shared.lines.len() >= *bytes) {
            waker.wake();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let shared = &mut *self.shared.borrow_mut();
        shared.is_closed = true;
        if let Some((_, waker)) = shared.waiting.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogSink({:?}, {} bytes waiting)", self.open.file, self.open.shared.borrow().lines.len())
    }
}

/// The sinks of one worker, one for each file: many sites may write to one.
#[derive(Debug)]
pub struct LogSinks {
    worker: WorkerHandle,
    sinks: RefCell<Vec<LogSink>>,
}

impl LogSinks {
    /// No sinks yet.
    #[must_use]
    pub fn new(worker: &WorkerHandle) -> Self {
        Self { worker: worker.clone(), sinks: RefCell::default() }
    }

    /// The worker's sink of `file`.
    ///
    /// # Errors
    /// When there is no descriptor left for it.
    pub fn of(&self, file: &LogFile) -> io::Result<LogSink> {
        let sinks = &mut *self.sinks.borrow_mut();
        if let Some(sink) = sinks.iter().find(|sink| sink.open.file.is(file)) {
            return Ok(sink.clone());
        }
        let sink = LogSink::new(file.clone(), &self.worker)?;
        sinks.push(sink.clone());
        Ok(sink)
    }
}

/// Where lines go.
struct Target {
    log: LogFile,
    file: Handle,
    generation: u64,
    /// A regular file takes what it is given in one piece.
    is_file: bool,
    worker: WorkerHandle,
}

/// Writes lines until the sink is closed. An error loses what was being written, and is counted.
async fn write_lines(shared: Rc<RefCell<Shared>>, mut target: Target) {
    let mut spare = Vec::new();
    loop {
        wait_for_lines(&shared, 1, None).await;
        let _until_written = target.worker.unfinished();
        let gathered = target.worker.sleep_until(target.worker.now_ms() + GATHER_MS);
        wait_for_lines(&shared, WRITE_BYTES, Some(gathered)).await;
        let lines = std::mem::replace(&mut shared.borrow_mut().lines, std::mem::take(&mut spare));
        if lines.is_empty() && shared.borrow().is_closed {
            return;
        }
        target.renew();
        let bytes = lines.len();
        let (mut lines, written) =
            if target.is_file { target.write_all(lines).await } else { target.write_in_pieces(lines).await };
        match written {
            Ok(()) => target.note_written(bytes),
            Err(lost) => target.log.count_dropped(lost),
        }
        let rests = shared.borrow().lines.is_empty();
        lines.clear();
        // What a burst took is given back, and by a sink that rests everything: there may be one for each of many sites.
        lines.shrink_to(if rests { 0 } else { KEPT_BYTES });
        if rests {
            shared.borrow_mut().lines.shrink_to(0);
        }
        spare = lines;
    }
}

/// Waits until so many bytes of lines are there, the sink is closed, or the time is up.
async fn wait_for_lines(shared: &RefCell<Shared>, bytes: usize, mut until: Option<Sleep>) {
    std::future::poll_fn(|context| {
        if let Some(sleep) = &mut until
            && Pin::new(sleep).poll(context).is_ready()
        {
            return Poll::Ready(());
        }
        let shared = &mut *shared.borrow_mut();
        if shared.lines.len() >= bytes || shared.is_closed {
            return Poll::Ready(());
        }
        shared.waiting = Some((bytes, context.waker().clone()));
        Poll::Pending
    })
    .await;
}

impl Target {
    fn new(log: LogFile, worker: WorkerHandle) -> io::Result<Self> {
        let (file, generation) = log.current()?;
        let is_file = rustix::fs::fstat(&file)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Ok(Self { log, file: Handle::new(file), generation, is_file, worker })
    }

    /// Goes over to the file that was opened meanwhile, if one was. Without a descriptor for it, the old one is good for now.
    fn renew(&mut self) {
        if self.log.generation() == self.generation {
            return;
        }
        if let Ok(renewed) = Self::new(self.log.clone(), self.worker.clone()) {
            *self = renewed;
        }
    }

    /// Has the pool rotate the file when it is due.
    fn note_written(&self, bytes: usize) {
        if !self.log.note_written(bytes) {
            return;
        }
        let log = self.log.clone();
        // What fails is counted by the file. The pool does it unheard.
        if cfg!(feature = "rotation") && self.worker.pool().run(move || log.rotate()).is_err() {
            self.log.give_rotation_back();
        }
    }

    /// Writes whole lines, several workers' side by side; gives the memory back, and how many lines were lost.
    async fn write_in_pieces(&self, lines: Vec<u8>) -> (Vec<u8>, Result<(), usize>) {
        let mut piece = Vec::with_capacity(PIPE_BYTES);
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece_end(rest));
            piece.extend_from_slice(now);
            let (written, result) = self.write_all(std::mem::take(&mut piece)).await;
            if result.is_err() {
                return (Vec::new(), Err(count_lines(rest)));
            }
            piece = written;
            piece.clear();
            rest = later;
        }
        (lines, Ok(()))
    }

    /// Writes everything; gives the memory back, and how many lines were lost.
    async fn write_all(&self, lines: Vec<u8>) -> (Vec<u8>, Result<(), usize>) {
        let (mut lines, mut done) = (lines, 0);
        while done < lines.len() {
            let all = count_lines(&lines[done..]);
            let write = Op::Write(WriteFile::new(self.file.clone(), lines, done));
            // At the limit of operations the lines are lost with the operation.
            let Ok(operation) = self.worker.operation(write) else { return (Vec::new(), Err(all)) };
            let completion = operation.await;
            let Payload::Finished(Op::Write(write)) = completion.payload else {
                return (Vec::new(), Err(all));
            };
            lines = write.bytes;
            match completion.result {
                Ok(0) | Err(_) => return (lines, Err(all)),
                Ok(count) => done += count as usize,
            }
        }
        (lines, Ok(()))
    }
}

/// As many whole lines as a pipe takes at once; a single line that is longer goes alone.
fn piece_end(lines: &[u8]) -> usize {
    let window = &lines[..lines.len().min(PIPE_BYTES)];
    let end = memchr::memrchr(b'\n', window).or_else(|| memchr::memchr(b'\n', lines));
    end.map_or(lines.len(), |at| at + 1)
}

fn count_lines(lines: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lines).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_takes_at_once() {
        assert_eq!(piece_end(b"a\nb\n"), 4);
        let long = [b"a\n", &[b'x'; PIPE_BYTES][..], b"\nb\n"].concat();
        assert_eq!(piece_end(&long), 2);
        assert_eq!(piece_end(&long[2..]), PIPE_BYTES + 1);
        let many = b"0123456\n".repeat(1000);
        assert_eq!(piece_end(&many), PIPE_BYTES);
        assert_eq!(count_lines(&many), 1000);
    }
}
