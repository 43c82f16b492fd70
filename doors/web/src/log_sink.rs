//! The access log: records gathered per worker, written by ring operations, dropped and counted rather than waited for.

use crate::access_log::{Format, LINE_LEN_MAX, LineWriter, Peer, Record};
use crate::pipeline::{Served, ServedStage};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::{Handle, Op, Payload, WriteFile};
use ringway_http::head::Version;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Bytes of lines that may wait for a slow disk or reader before records are dropped.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// Bytes of lines that are written without waiting for more.
const WRITE_BYTES: usize = 32 * 1024;

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
    dropped: u64,
    /// The task that writes, when it has nothing to do or waits for more lines.
    idle: Option<Waker>,
}

impl AccessLog {
    /// A log in `format` that goes to `target`, written by `worker`.
    #[must_use]
    pub fn new(format: Format, target: OwnedFd, worker: &WorkerHandle) -> Self {
        let shared = Shared { writer: LineWriter::new(format), lines: Vec::new(), dropped: 0, idle: None };
        let log = Self { shared: Rc::new(RefCell::new(shared)) };
        worker.spawn(write_lines(Rc::clone(&log.shared), Handle::new(target), worker.clone()));
        log
    }

    /// Records dropped because the target was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.borrow().dropped
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
            shared.dropped += 1;
            return;
        }
        shared.writer.write(&record(served), &mut shared.lines);
        if let Some(waker) = shared.idle.take() {
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

/// Writes lines for as long as the worker lives. An error loses what was being written, and is counted as dropped.
async fn write_lines(shared: Rc<RefCell<Shared>>, target: Handle, worker: WorkerHandle) {
    let mut spare = Vec::new();
    loop {
        some_lines(&shared).await;
        let _until_written = worker.hold();
        if shared.borrow().lines.len() < WRITE_BYTES {
            worker.sleep_until(worker.now_ms() + GATHER_MS).await;
        }
        let lines = std::mem::replace(&mut shared.borrow_mut().lines, std::mem::take(&mut spare));
        let (mut lines, result) = write_all(&worker, &target, lines).await;
        if result.is_err() {
            let lost = lines.iter().filter(|&&byte| byte == b'\n').count();
            shared.borrow_mut().dropped += lost as u64;
        }
        lines.clear();
        spare = lines;
    }
}

/// Waits until there is something to write.
async fn some_lines(shared: &RefCell<Shared>) {
    std::future::poll_fn(|context| {
        let shared = &mut *shared.borrow_mut();
        if !shared.lines.is_empty() {
            return Poll::Ready(());
        }
        shared.idle = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

async fn write_all(worker: &WorkerHandle, target: &Handle, lines: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
    let (mut lines, mut done) = (lines, 0);
    while done < lines.len() {
        let operation = match worker.operation(Op::Write(WriteFile::new(target.clone(), lines, done))) {
            Ok(operation) => operation,
            // At the limit of operations the lines are lost with the operation.
            Err(error) => return (Vec::new(), Err(error)),
        };
        let completion = operation.await;
        let Payload::Finished(Op::Write(write)) = completion.payload else {
            return (Vec::new(), Err(io::ErrorKind::BrokenPipe.into()));
        };
        lines = write.bytes;
        match completion.result {
            Ok(0) => return (lines, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count as usize,
            Err(error) => return (lines, Err(error)),
        }
    }
    (lines, Ok(()))
}
