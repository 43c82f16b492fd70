//! The access log: records gathered per worker, written by ring operations, dropped and counted rather than waited for.

use crate::access_log::{Format, LINE_LEN_MAX, LineWriter, Peer, Record};
use crate::pipeline::{Served, ServedStage};
use ringway_engine::ring::{Handle, Op, Payload, WriteFile};
use ringway_engine::{Sleep, WorkerHandle};
use ringway_http::head::Version;
use rustix::fs::FileType;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

/// Bytes of lines that may wait for a slow disk or reader before records are dropped: some ten thousand.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of lines that are written without waiting for more.
const WRITE_BYTES: usize = 32 * 1024;

/// Memory for lines that is kept when they are written.
const KEPT_BYTES: usize = 4 * WRITE_BYTES;

/// Bytes that a pipe takes as a whole or not at all, so that the lines of several workers do not mix (pipe(7), PIPE_BUF).
const PIPE_BYTES: usize = 4096;

/// How long lines may wait to be written together, in milliseconds.
const GATHER_MS: u64 = 100;

/// A worker's access log.
#[derive(Clone)]
pub struct AccessLog {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    writer: LineWriter,
    lines: Vec<u8>,
    /// Counts records that were dropped, on all workers.
    dropped: Arc<AtomicU64>,
    /// The task that writes, while it waits for so many bytes of lines.
    waiting: Option<(usize, Waker)>,
}

impl AccessLog {
    /// A log in `format` that goes to `target`, written by `worker`. What is dropped, because the target is too slow or
    /// fails, is added to `dropped`.
    #[must_use]
    pub fn new(format: Format, target: OwnedFd, worker: &WorkerHandle, dropped: Arc<AtomicU64>) -> Self {
        let shared = Shared { writer: LineWriter::new(format), lines: Vec::new(), dropped, waiting: None };
        let log = Self { shared: Rc::new(RefCell::new(shared)) };
        let is_file = rustix::fs::fstat(&target)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let target = Target { file: Handle::new(target), is_file, worker: worker.clone() };
        worker.spawn(write_lines(Rc::clone(&log.shared), target));
        log
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessLog({} bytes waiting)", self.shared.borrow().lines.len())
    }
}

impl ServedStage for AccessLog {
    fn served(&self, served: &Served<'_>) {
        let shared = &mut *self.shared.borrow_mut();
        if shared.lines.len() + LINE_LEN_MAX > WAITING_BYTES_MAX {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        shared.writer.write(&record(served), &mut shared.lines);
        if let Some((_, waker)) = shared.waiting.take_if(|(bytes, _)| shared.lines.len() >= *bytes) {
            waker.wake();
        }
    }

    fn wants_details(&self) -> bool {
        true
    }
}

fn record<'a>(served: &'a Served<'a>) -> Record<'a> {
    let request = served.request;
    Record {
        unix_ms: served.unix_ms,
        peer: served.peer.map_or(Peer::Text(b"unix"), |peer| Peer::Ip(peer.ip().to_canonical())),
        user: None,
        method: request.map(|request| request.method().as_str().as_bytes()),
        target: request.map_or(b"", |request| request.target()),
        protocol: match request.map(|request| request.version()) {
            Some(Version::Http10) => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        host: request.and_then(|request| request.host()).map(|host| host.as_bytes()),
        status: served.status,
        bytes: served.body_bytes,
        duration_us: served.duration_us,
        referer: request.and_then(|request| request.referer()),
        user_agent: request.and_then(|request| request.user_agent()),
    }
}

/// Where lines go.
struct Target {
    file: Handle,
    /// A regular file takes what it is given in one piece.
    is_file: bool,
    worker: WorkerHandle,
}

/// Writes lines for as long as the worker lives. An error loses what was being written, and is counted as dropped.
async fn write_lines(shared: Rc<RefCell<Shared>>, target: Target) {
    let mut spare = Vec::new();
    loop {
        wait_for_lines(&shared, 1, None).await;
        let _until_written = target.worker.hold();
        let gathered = target.worker.sleep_until(target.worker.now_ms() + GATHER_MS);
        wait_for_lines(&shared, WRITE_BYTES, Some(gathered)).await;
        let lines = std::mem::replace(&mut shared.borrow_mut().lines, std::mem::take(&mut spare));
        let (mut lines, written) =
            if target.is_file { target.write_all(lines).await } else { target.write_in_pieces(lines).await };
        if let Err(lost) = written {
            shared.borrow().dropped.fetch_add(lost as u64, Ordering::Relaxed);
        }
        lines.clear();
        // What a burst took is given back.
        lines.shrink_to(KEPT_BYTES);
        spare = lines;
    }
}

/// Waits until so many bytes of lines are there, or the time is up.
async fn wait_for_lines(shared: &RefCell<Shared>, bytes: usize, mut until: Option<Sleep>) {
    std::future::poll_fn(|context| {
        if let Some(sleep) = &mut until
            && Pin::new(sleep).poll(context).is_ready()
        {
            return Poll::Ready(());
        }
        let shared = &mut *shared.borrow_mut();
        if shared.lines.len() >= bytes {
            return Poll::Ready(());
        }
        shared.waiting = Some((bytes, context.waker().clone()));
        Poll::Pending
    })
    .await;
}

impl Target {
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
