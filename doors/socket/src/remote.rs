//! Connections reached from other threads: what is sent to them there waits for a turn of theirs.

use ringway_engine::{ConnKey, Post};
use ringway_lock::{Mutex, MutexGuard};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

/// What somebody on another thread wants of a connection.
#[derive(Debug)]
pub(crate) enum Wish {
    /// A message, with its frame; whether it is text.
    Send(Box<[u8]>, bool),
    /// Bytes as they are.
    Raw(Box<[u8]>),
    Shut,
    Close,
    Abort,
    Nudge,
}

impl Wish {
    /// What it takes, its place in the queue included.
    fn bytes(&self) -> usize {
        let own = size_of::<Self>();
        match self {
            Self::Send(bytes, _) | Self::Raw(bytes) => own + bytes.len(),
            _ => own,
        }
    }
}

/// A connection's place for wishes.
pub(crate) struct Remote {
    post: Post,
    key: ConnKey,
    queue: Mutex<Queue>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    wishes: Vec<Wish>,
    is_closed: bool,
}

impl Remote {
    pub(crate) fn new(post: Post, key: ConnKey, bytes_max: usize) -> Self {
        Self { post, key, queue: Mutex::default(), bytes: AtomicUsize::new(0), bytes_max }
    }

    /// What is wished, in order.
    pub(crate) fn take(&self) -> Vec<Wish> {
        self.bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut self.lock().wishes)
    }

    /// The connection is no more.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut queue = self.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.wishes)
        };
        drop(dropped);
    }

    fn wish(&self, wish: Wish) -> Result<(), RemoteError> {
        let bytes = wish.bytes();
        let is_first = {
            let mut queue = self.lock();
            if queue.is_closed {
                return Err(RemoteError::Closed);
            }
            let all = self.bytes.load(Ordering::Relaxed).saturating_add(bytes);
            if all > self.bytes_max && all > bytes {
                return Err(RemoteError::Full);
            }
            self.bytes.store(all, Ordering::Relaxed);
            queue.wishes.push(wish);
            queue.wishes.len() == 1
        };
        // Whoever wished first has woken the worker for all.
        let key = self.key;
        if is_first && !self.post.leave(move |worker| worker.nudge(key)) {
            return Err(RemoteError::Closed);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a connection does not get what another thread has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteError {
    /// It has ended.
    Closed,
    /// Too much waits for it: [`crate::ConnectionLimits::queue_bytes_max`].
    Full,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed",
            Self::Full => "too much waits for the connection",
        })
    }
}

impl std::error::Error for RemoteError {}

/// Reaches one connection from any thread. Cheap to clone. What it is told happens in a turn of the connection's, in order.
#[derive(Clone, Debug)]
pub struct Sender {
    remote: Arc<Remote>,
}

impl Sender {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self { remote }
    }

    /// Sends a message, framed as the connection's are.
    ///
    /// # Errors
    /// [`RemoteError`]: it is not sent then.
    pub fn send(&self, payload: impl Into<Box<[u8]>>) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Send(payload.into(), false))
    }

    /// Sends a text: see [`crate::Connection::send_text`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_text(&self, text: &str) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Send(text.as_bytes().into(), true))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_raw(&self, bytes: impl Into<Box<[u8]>>) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Raw(bytes.into()))
    }

    /// Ends what is sent: see [`crate::Connection::shut_down_write`].
    ///
    /// # Errors
    /// [`RemoteError::Closed`].
    pub fn shut_down_write(&self) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Shut)
    }

    /// Closes when everything is sent.
    ///
    /// # Errors
    /// [`RemoteError::Closed`]: it has ended.
    pub fn close(&self) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Close)
    }

    /// Resets the connection.
    ///
    /// # Errors
    /// [`RemoteError::Closed`]: it has ended.
    pub fn abort(&self) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Abort)
    }

    /// Asks for a call of [`crate::Handler::nudged`].
    ///
    /// # Errors
    /// [`RemoteError::Closed`].
    pub fn nudge(&self) -> Result<(), RemoteError> {
        self.remote.wish(Wish::Nudge)
    }

    /// Whether both reach the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.remote, &other.remote)
    }
}
