//! Connections to backends: addresses tried in turn, the header that tells of the client, the handshake of TLS.

use crate::upstream::backend::Backend;
use crate::upstream::group::Group;
use crate::upstream::key::Key;
use crate::upstream::options::{Origin, ProxyHeader};
use ringway_engine::ring::Handle;
use ringway_engine::ring::socket::Address;
use ringway_engine::{Stream, WorkerHandle};
use ringway_http::proxy_protocol::{self, Source, Version, WRITTEN_BYTES_MAX};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

/// Milliseconds until a Unix socket whose queue is full is tried again.
const FULL_QUEUE_RETRY_MS: u64 = 10;

// Linux's numbers of errors that are the fault of this machine's own state.
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EADDRNOTAVAIL: i32 = 99;
const ENOBUFS: i32 = 105;
/// A Unix socket's queue is full.
const EAGAIN: i32 = 11;

/// Opens a connection to a backend until the worker's clock reaches `until_ms`. `key` says for whom; `None`: for ourselves.
///
/// # Errors
/// What `connect(2)`, the resolver or TLS say; `TimedOut`.
pub(super) async fn open(
    worker: &WorkerHandle,
    group: &Group,
    backend: &Backend,
    key: Option<&Key>,
    until_ms: u64,
) -> io::Result<Stream> {
    let options = group.options();
    let filter = match &options.encryption {
        Some(encryption) => {
            let own = own_name(backend.origin());
            Some((encryption.filter)(encryption.server_name.as_deref().unwrap_or(&own))?)
        }
        None => None,
    };
    let is_encrypted = filter.is_some();
    let socket = socket(worker, backend, until_ms).await?;
    let mut memory = [0; WRITTEN_BYTES_MAX];
    let header = options
        .proxy_header
        .map_or(0, |header| proxy_protocol::write(version(header), &source(key), &mut memory));
    let mut stream = worker.hold_behind(options.outbound, socket, &memory[..header], filter)?;
    if is_encrypted {
        stream.set_deadline(until_ms);
        stream.handshake().await.map_err(explained)?;
        stream.clear_deadline();
    }
    Ok(stream)
}

/// Opens a connection to a backend and closes it: whether somebody listens there.
///
/// # Errors
/// As [`open`].
pub(super) async fn reach(worker: &WorkerHandle, backend: &Backend, until_ms: u64) -> io::Result<()> {
    socket(worker, backend, until_ms).await.map(drop)
}

/// Looks a backend's name up. Whether its addresses are others now.
///
/// # Errors
/// What the resolver says.
pub(super) async fn look_up(worker: &WorkerHandle, backend: &Backend) -> io::Result<bool> {
    let Origin::Named(name, port) = backend.origin() else { return Ok(false) };
    let found = worker.resolve(name, *port).await;
    let found =
        found.map_err(|error| io::Error::new(error.kind(), format!("{name} cannot be resolved: {error}")))?;
    Ok(backend.set_addresses(found))
}

/// Whether an error says nothing of the backend.
pub(super) fn is_own_fault(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) => [ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL, ENOBUFS].contains(&code),
        // The engine's and the ring's own limits.
        None => {
            let kinds = [
                io::ErrorKind::QuotaExceeded,
                io::ErrorKind::OutOfMemory,
                io::ErrorKind::WouldBlock,
                io::ErrorKind::Unsupported,
            ];
            kinds.contains(&error.kind())
        }
    }
}

/// A connected socket.
async fn socket(worker: &WorkerHandle, backend: &Backend, until_ms: u64) -> io::Result<Handle> {
    if let Origin::Unix(path) = backend.origin() {
        return connect(worker, &Address::Unix(path.clone()), until_ms).await;
    }
    let mut addresses = backend.addresses();
    if addresses.is_empty() {
        within(worker, until_ms, look_up(worker, backend)).await?;
        addresses = backend.addresses();
    }
    let mut latest = io::Error::from(io::ErrorKind::NotFound);
    let count = addresses.len();
    for (place, address) in addresses.into_iter().enumerate() {
        // One that does not answer leaves the others their part of the time.
        let now_ms = worker.now_ms();
        let part_ms = until_ms.saturating_sub(now_ms) / (count - place) as u64;
        match connect(worker, &Address::Tcp(address), now_ms.saturating_add(part_ms)).await {
            Ok(socket) => return Ok(socket),
            Err(error) if is_own_fault(&error) => return Err(error),
            Err(error) => latest = of_address(&error, address, count),
        }
    }
    Err(latest)
}

/// Where a name has several addresses, an error says which it is about.
fn of_address(error: &io::Error, address: SocketAddr, count: usize) -> io::Error {
    if count == 1 {
        return io::Error::new(error.kind(), error.to_string());
    }
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

async fn connect(worker: &WorkerHandle, address: &Address, until_ms: u64) -> io::Result<Handle> {
    loop {
        let outcome = worker.connect(address, until_ms, false).await;
        let retry_ms = worker.now_ms().saturating_add(FULL_QUEUE_RETRY_MS);
        match outcome {
            // EAGAIN: who listens is too slow to accept; a TCP connect would wait for that too.
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
    let (mut work, mut sleep) = (pin!(work), worker.sleep_until(until_ms));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        pin!(&mut sleep).poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

fn version(header: ProxyHeader) -> Version {
    match header {
        ProxyHeader::V1 => Version::V1,
        ProxyHeader::V2 => Version::V2,
    }
}

/// Whose connection it is, as far as that has addresses.
fn source(key: Option<&Key>) -> Source {
    match key.and_then(|key| key.client().zip(key.server())) {
        Some((client, server)) => Source::Client { client, server },
        None => Source::Own,
    }
}

/// What a backend's certificate is checked for, unless the options say it.
fn own_name(origin: &Origin) -> String {
    match origin {
        Origin::Tcp(address) => address.ip().to_string(),
        Origin::Named(name, _) => name.clone(),
        Origin::Unix(_) => "localhost".to_owned(),
    }
}

fn explained(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::TimedOut {
        return error;
    }
    io::Error::new(error.kind(), format!("TLS: {error}"))
}
