//! Where a store is, and connecting to it.

use super::LinkOptions;
use ringway_engine::ring::socket::Address;
use ringway_engine::{Filter, Stream, WorkerHandle};
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Makes what encrypts a connection to the server of that name.
pub type MakeFilter = Arc<dyn Fn(&str) -> io::Result<Box<dyn Filter>> + Send + Sync>;

/// Where a store listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// At a port of a host, which is looked up with each new connection.
    Host(String, u16),
    /// At a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Host(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Opens a connection until the worker's clock reaches `until_ms`.
///
/// # Errors
/// What the resolver, `connect(2)` and the encryption say; `TimedOut`.
pub(crate) async fn connect(
    worker: &WorkerHandle,
    address: &StoreAddress,
    options: &LinkOptions,
    until_ms: u64,
) -> io::Result<Stream> {
    let (name, addresses) = match address {
        StoreAddress::Unix(path) => ("localhost", vec![Address::Unix(path.clone())]),
        StoreAddress::Host(name, port) => {
            let found = within(worker, until_ms, worker.resolve(name, *port)).await?;
            (name.as_str(), found.into_iter().map(Address::Tcp).collect())
        }
    };
    let count = addresses.len();
    let mut latest = io::Error::from(io::ErrorKind::NotFound);
    for (place, address) in addresses.iter().enumerate() {
        // One that does not answer leaves the others their part of the time.
        let now_ms = worker.now_ms();
        let part_ms = until_ms.saturating_sub(now_ms) / (count - place) as u64;
        match worker.connect(address, now_ms.saturating_add(part_ms), false).await {
            Ok(socket) => {
                let filter = options.encryption.as_ref().map(|make| make(name)).transpose()?;
                let mut stream = worker.hold(options.outbound, socket, filter)?;
                stream.set_deadline(until_ms);
                stream.handshake().await?;
                return Ok(stream);
            }
            Err(error) => latest = error,
        }
    }
    Err(latest)
}

/// Milliseconds until the next try after so many that failed: twice as many each time, and some more by chance, so that not
/// all workers of all machines come at once.
pub(crate) fn pause_ms(options: &LinkOptions, failures: u32) -> u64 {
    let doubled = options.retry_ms_min.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let pause_ms = doubled.min(options.retry_ms_max).max(1);
    let chance = RandomState::new().hash_one(failures);
    pause_ms + chance % (pause_ms / 4 + 1)
}

async fn within<T>(
    worker: &WorkerHandle,
    until_ms: u64,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let (mut work, mut sleep) = (pin!(work), pin!(worker.sleep_until(until_ms)));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        sleep.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_vary() {
        let options = LinkOptions { retry_ms_min: 100, retry_ms_max: 1_000, ..LinkOptions::default() };
        for (failures, least) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (100, 1_000)] {
            for _ in 0..50 {
                let pause_ms = pause_ms(&options, failures);
                assert!((least..=least + least / 4).contains(&pause_ms), "{failures}: {pause_ms}");
            }
        }
        let different: std::collections::HashSet<u64> = (0..50).map(|_| pause_ms(&options, 4)).collect();
        assert!(different.len() > 1);
    }
}
