//! Names looked up off the worker: the C library's lookup blocks, so threads of its own do it, and a name server that does not
//! answer takes none of those that files need.

use crate::pool::{PoolError, ThreadPool};
use crate::worker::WorkerHandle;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::Poll;

/// Most lookups at once, in the whole process.
const THREADS_MAX: usize = 2;

/// Most that wait for one of them.
const QUEUE_MAX: usize = 256;

/// How long a lookup is waited for, in milliseconds. One that nobody waits for any more ends when the C library gives up.
const RESOLVE_MS_MAX: u64 = 10_000;

/// Most addresses of a name that are told.
const ADDRESSES_MAX: usize = 64;

/// The threads, of which none runs before it is needed; `None` where nobody connects to names.
pub(crate) fn threads() -> Option<ThreadPool> {
    cfg!(feature = "held").then(|| ThreadPool::new(THREADS_MAX, QUEUE_MAX))
}

impl WorkerHandle {
    /// The addresses of a name, as the machine's resolver finds them (`/etc/hosts`, DNS), at most 64, each with `port`. An
    /// address in the place of a name is told at once.
    ///
    /// # Errors
    /// What the resolver says; `NotFound` when it names no address; `TimedOut` after ten seconds; `WouldBlock` when too many
    /// lookups wait; `Unsupported` in an engine that was built without held connections.
    ///
    /// # Cancellation
    /// Dropping the future lets the lookup end unheard.
    pub async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let name = name.to_owned();
        let lookup = move || -> io::Result<Vec<SocketAddr>> {
            Ok((name.as_str(), port).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
        };
        let resolver = self.local.resolver.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let mut lookup = resolver.run(lookup).map_err(refused)?;
        let mut sleep = self.sleep_until(self.now_ms().saturating_add(RESOLVE_MS_MAX));
        let found = std::future::poll_fn(|context| {
            if let Poll::Ready(found) = Pin::new(&mut lookup).poll(context) {
                return Poll::Ready(Some(found));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        });
        match found.await {
            Some(Ok(Ok(addresses))) if addresses.is_empty() => Err(io::ErrorKind::NotFound.into()),
            Some(Ok(found)) => found,
            Some(Err(error)) => Err(refused(error)),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn refused(error: PoolError) -> io::Error {
    match error {
        PoolError::Full => io::ErrorKind::WouldBlock.into(),
        PoolError::NoThread | PoolError::Panicked => io::Error::other(error),
    }
}
