//! Connections made: names looked up off the worker, addresses tried in turn, all within one time.

use crate::outbound::target::{Origin, Target};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::Handle;
use ringway_engine::ring::socket::Address;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Milliseconds until a Unix socket whose queue is full is tried again.
const FULL_QUEUE_RETRY_MS: u64 = 10;

/// Linux: a Unix socket's queue is full.
const EAGAIN: i32 = 11;

/// A connected socket, until the worker's clock reaches `until_ms`.
///
/// # Errors
/// What `connect(2)` or the resolver say of the address that was tried last; `TimedOut`.
///
/// # Cancellation
/// Dropping it closes what is under way.
pub(crate) async fn socket(worker: &WorkerHandle, target: &Target, until_ms: u64) -> io::Result<Handle> {
    let addresses: Vec<SocketAddr> = match &target.origin {
        Origin::Unix(path) => return connect(worker, &Address::Unix(path.clone()), until_ms).await,
        Origin::Tcp(address) => vec![*address],
        Origin::Named(name, port) => {
            let found = within(worker, until_ms, worker.resolve(name, *port)).await;
            let told = |error: io::Error| {
                io::Error::new(error.kind(), format!("{name} cannot be resolved: {error}"))
            };
            found.map_err(told)?.into_iter().take(ADDRESSES_MAX).collect()
        }
    };
    let mut latest = io::Error::from(io::ErrorKind::NotFound);
    let count = addresses.len();
    for (place, address) in addresses.into_iter().enumerate() {
        // One that does not answer leaves the others their part of the time.
        let now_ms = worker.now_ms();
        let part_ms = until_ms.saturating_sub(now_ms) / (count - place) as u64;
        match connect(worker, &Address::Tcp(address), now_ms.saturating_add(part_ms)).await {
            Ok(socket) => return Ok(socket),
            Err(error) if count == 1 => return Err(error),
            // Where a name has several addresses, an error says which it is about.
            Err(error) => latest = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(latest)
}

async fn connect(worker: &WorkerHandle, address: &Address, until_ms: u64) -> io::Result<Handle> {
    loop {
        let outcome = worker.connect(address, until_ms, false).await;
        let retry_ms = worker.now_ms().saturating_add(FULL_QUEUE_RETRY_MS);
        match outcome {
            // Who listens is too slow to accept; a TCP connect would wait for that too.
            Err(error) if error.raw_os_error() == Some(EAGAIN) && retry_ms < until_ms => {
                worker.sleep_until(retry_ms).await;
            }
            outcome => return outcome,
        }
    }
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
