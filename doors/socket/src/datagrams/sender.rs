//! Datagrams sent from other threads, by a worker's socket: bounded, and with one wake-up for many.

use crate::datagrams::replies::Given;
use ringway_engine::{Post, WorkerHandle};
use ringway_lock::{Mutex, MutexGuard};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

/// Sends datagrams by the socket of one worker, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct DatagramSender {
    shared: Arc<Shared>,
}

/// Why a datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// Too many wait already.
    Full,
    /// The worker has stopped, or another handler is at its place.
    Stopped,
}

struct Shared {
    post: Post,
    /// The place of the endpoint.
    endpoint: usize,
    local_address: Option<SocketAddr>,
    datagrams_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// Hears, on the worker, what was given to the socket.
    told: Box<dyn Fn(Given) + Send + Sync>,
}

/// Datagrams one behind the other.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, usize)>,
    is_stopped: bool,
}

impl DatagramSender {
    pub(super) fn new(
        worker: &WorkerHandle,
        endpoint: usize,
        (datagrams_max, bytes_max): (usize, usize),
        told: impl Fn(Given) + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            post: worker.post(),
            endpoint,
            local_address: worker.datagram_address(endpoint),
            datagrams_max,
            bytes_max,
            waiting: Mutex::default(),
            told: Box::new(told),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends a datagram to any address; it leaves in the worker's next turn, behind those that were sent before. The first
    /// that waits costs one system call, which wakes the worker; those behind it cost none.
    ///
    /// # Errors
    /// [`Unsent::Full`] at [`crate::datagrams::DatagramRules::posted_max`] or `posted_bytes_max`; [`Unsent::Stopped`].
    pub fn send(&self, to: SocketAddr, payload: &[u8]) -> Result<(), Unsent> {
        let is_first = {
            let mut waiting = self.shared.lock();
            if waiting.is_stopped {
                return Err(Unsent::Stopped);
            }
            let has_room = waiting.datagrams.len() < self.shared.datagrams_max
                && waiting.bytes.len() + payload.len() <= self.shared.bytes_max;
            if !has_room {
                return Err(Unsent::Full);
            }
            waiting.bytes.extend_from_slice(payload);
            waiting.datagrams.push((to, payload.len()));
            waiting.datagrams.len() == 1
        };
        if is_first {
            let shared = Arc::clone(&self.shared);
            if !self.shared.post.leave(move |worker| shared.flush(worker)) {
                self.stop();
                return Err(Unsent::Stopped);
            }
        }
        Ok(())
    }

    /// Where this worker's socket receives, with its real port.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.shared.local_address
    }

    /// Takes nothing more.
    pub(super) fn stop(&self) {
        let mut waiting = self.shared.lock();
        *waiting = Waiting { is_stopped: true, ..Waiting::default() };
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits, on the worker.
    fn flush(&self, worker: &WorkerHandle) {
        let waiting = {
            let mut waiting = self.lock();
            let is_stopped = waiting.is_stopped;
            std::mem::replace(&mut *waiting, Waiting { is_stopped, ..Waiting::default() })
        };
        let mut rest = waiting.bytes.as_slice();
        let mut tally = Given::default();
        let given = worker.send_datagrams(self.endpoint, |out| {
            for (to, len) in &waiting.datagrams {
                let (payload, behind) = rest.split_at(*len);
                rest = behind;
                tally.note(out.send_joined(*to, payload).is_ok(), 1, *len);
            }
        });
        if given.is_none() {
            tally.refused = waiting.datagrams.len() as u64;
        }
        (self.told)(tally);
    }
}

impl fmt::Debug for DatagramSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramSender(endpoint {})", self.shared.endpoint)
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many datagrams wait to be sent",
            Self::Stopped => "the endpoint has stopped",
        })
    }
}

impl std::error::Error for Unsent {}
