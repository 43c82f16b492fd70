//! Urgent data of TCP (RFC 9293 section 3.8.5): what becomes of the byte that a peer marks.
//!
//! A receive says nothing of them, so a worker watches the sockets of endpoints that want to know with one epoll of its own, which
//! one task waits for.

use ringway_engine::ring::{Handle, Interest, Op};
use ringway_engine::{Conn, ConnKey, WorkerHandle};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::cell::OnceCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

/// What becomes of urgent data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgent {
    /// It is an ordinary byte where it stands, as RFC 6093 recommends. The engine's endpoint has to say so, too:
    /// [`ringway_engine::Endpoint::urgent_inline`].
    #[default]
    Inline,
    /// It is taken out and given to [`crate::Handler::urgent`].
    Separate,
    /// The connection is reset.
    Abort,
}

/// News of so many sockets are taken at once.
const NEWS_MAX: usize = 64;

/// Bytes that are received at once.
const RECEIVE_BYTES_MAX: usize = 16 * 1024;

/// How long the watch rests when the ring has no room for it, in milliseconds.
const REST_MS: u64 = 10;

thread_local! {
    /// The sockets that are watched on this worker. They leave it when they are closed.
    static WATCHED: OnceCell<Rc<OwnedFd>> = const { OnceCell::new() };
}

/// Readies the calling worker for [`watch`]. Not during a turn.
pub(crate) fn ready(worker: &WorkerHandle) -> io::Result<()> {
    WATCHED.with(|watched| {
        if watched.get().is_some() {
            return Ok(());
        }
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waited_for = Handle::new(set.try_clone()?);
        let set = watched.get_or_init(|| Rc::new(set));
        worker.spawn(tell(worker.clone(), Rc::clone(set), waited_for));
        Ok(())
    })
}

/// Has a connection's data noticed: it is nudged then, and receives by itself. An ordinary receive may run past the mark, which
/// loses the byte, so none is under way.
pub(crate) fn watch(conn: &mut Conn<'_>) -> io::Result<()> {
    let events = epoll::EventFlags::IN | epoll::EventFlags::PRI | epoll::EventFlags::RDHUP;
    let key = epoll::EventData::new_u64(conn.key().bits());
    conn.pause(true);
    let Some(socket) = conn.socket() else { return Ok(()) };
    let Some(fd) = socket.kernel() else { return Ok(()) };
    WATCHED.with(|watched| {
        let Some(set) = watched.get() else { return Err(io::ErrorKind::Unsupported.into()) };
        Ok(epoll::add(set, fd, key, events | epoll::EventFlags::ET)?)
    })
}

/// What a connection that receives by itself has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An urgent byte.
    Urgent(u8),
    /// Bytes, which are unread.
    Bytes,
    /// Nothing more for now, or the end.
    Nothing,
    /// There is no buffer.
    NoMemory,
}

/// Receives what comes next. Never more than what had come before the look at urgent data: none of those is run past.
pub(crate) fn receive(conn: &mut Conn<'_>) -> News {
    let Some(socket) = conn.socket() else { return News::Nothing };
    let Some(fd) = socket.kernel() else { return News::Nothing };
    let present = rustix::io::ioctl_fionread(fd).unwrap_or(0);
    if let Some(byte) = urgent_byte(fd) {
        return News::Urgent(byte);
    }
    // At the mark of a byte that was taken nothing counts as present, so one is looked for.
    let present = if present == 0 { peek(fd) } else { Ok(usize::try_from(present).unwrap_or(usize::MAX)) };
    let received = present.and_then(|present| {
        if present == 0 {
            return Ok(News::Bytes);
        }
        let count = present.min(RECEIVE_BYTES_MAX);
        let Some(mut buffer) = conn.pool().get(count) else { return Ok(News::NoMemory) };
        let (_, count) = rustix::net::recv(fd, &mut buffer[..count], RecvFlags::DONTWAIT)?;
        conn.arrived_apart(buffer.freeze(count));
        Ok(if count == 0 { News::Nothing } else { News::Bytes })
    });
    match received {
        Ok(News::NoMemory) => News::NoMemory,
        Ok(News::Bytes) if !matches!(present, Ok(0)) => News::Bytes,
        Err(Errno::AGAIN | Errno::INTR) => News::Nothing,
        // The end, or an error: the engine's own receive says so to whom it concerns.
        Ok(_) | Err(_) => {
            conn.ended_apart();
            News::Nothing
        }
    }
}

/// Whether a byte is there: 1, or 0 at the end.
fn peek(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut byte = [0];
    let (_, count) = rustix::net::recv(fd, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// The urgent byte that waits; one at most does.
fn urgent_byte(fd: BorrowedFd<'_>) -> Option<u8> {
    let mut byte = [0];
    // EINVAL: there is none, or it was read before. EAGAIN: it is announced and not there yet. Of an error that the connection
    // has its own receive tells.
    let received = rustix::net::recv(fd, &mut byte, RecvFlags::OOB | RecvFlags::DONTWAIT);
    received.is_ok_and(|(_, count)| count == 1).then_some(byte[0])
}

/// Nudges the connections that have news, as long as the worker runs.
async fn tell(worker: WorkerHandle, set: Rc<OwnedFd>, waited_for: Handle) {
    loop {
        let wait = worker.operation(Op::Ready { socket: waited_for.clone(), interest: Interest::Readable });
        match wait {
            Ok(operation) => drop(operation.await),
            // The ring is at its limit of operations: what is news stays so.
            Err(_full) => worker.sleep_until(worker.now_ms() + REST_MS).await,
        }
        let mut events = Vec::with_capacity(NEWS_MAX);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // EINTR: a signal came first; the next wait is over at once.
        let _interrupted = epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&now));
        for event in events {
            worker.nudge(ConnKey::from_bits(event.data.u64()));
        }
    }
}
