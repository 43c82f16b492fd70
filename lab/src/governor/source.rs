//! The server whose bandwidth is governed: every byte that comes is answered with so many bytes.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::refusal::Refusal;
use ringway_engine::ring::Handle;
use ringway_engine::ring::socket::Address;
use ringway_engine::{
    Bandwidth, Conn, Endpoint, Events, GovernedRead, GovernorHandle, Protocol, ProtocolFactory, Scope,
    Server, ServerOptions, Turn,
};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// Length of a large file.
pub(super) const LARGE_BYTES: usize = 64 << 20;

/// Longest answer from memory.
const MEMORY_BYTES_MAX: usize = 16 * 1024;

const DRAIN: Duration = Duration::from_secs(5);

/// A running server.
pub(super) struct Source {
    server: Server,
    address: SocketAddr,
}

/// Answers `l`, `f`, `m`, `s`: see [`request_of`].
struct Answers {
    file: Handle,
}

/// The request for an answer of so many bytes.
pub(super) fn request_of(answer_bytes: usize) -> u8 {
    match answer_bytes {
        LARGE_BYTES => b'l',
        200_000 => b'f',
        10_000 => b'm',
        _ => b's',
    }
}

fn answer_of(request: u8) -> usize {
    match request {
        b'l' => LARGE_BYTES,
        b'f' => 200_000,
        b'm' => 10_000,
        _ => 1_000,
    }
}

impl Source {
    pub(super) fn start(workers: usize) -> Result<Self, Refusal> {
        let file = memfd_create("ringway-lab-governor", MemfdFlags::CLOEXEC)
            .and_then(|file| ftruncate(&file, LARGE_BYTES as u64).map(|()| file))
            .map_err(|error| Refusal::new(format!("cannot make a file of 64 MiB in memory: {error}")))?;
        let file = Arc::new(file);
        let protocol: ProtocolFactory = Arc::new(move |_worker| {
            let own: OwnedFd = file.try_clone()?;
            Ok(Rc::new(Answers { file: Handle::new(own) }) as Rc<dyn Protocol>)
        });
        let endpoint = Endpoint::new(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), protocol);
        let options = ServerOptions { workers, ..ServerOptions::default() };
        let server = Server::start(&[endpoint], &options).map_err(|error| Refusal::new(error.to_string()))?;
        let Some(Address::Tcp(address)) = server.addresses().first().cloned() else {
            return Err(Refusal::failed("the server has no address"));
        };
        Ok(Self { server, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn driver(&self) -> String {
        self.server.report().to_string()
    }

    /// Puts everything under a bandwidth.
    pub(super) fn govern(&self, bandwidth: Bandwidth) -> GovernorHandle {
        let governor = self.server.governor();
        governor.set(Scope::Server, Some(bandwidth));
        governor
    }

    pub(super) fn stop(self) -> Result<(), Refusal> {
        self.server.drain(DRAIN);
        self.server.wait(DRAIN).map(drop).map_err(Refusal::failed)
    }
}

impl Answers {
    fn answer(&self, conn: &mut Conn<'_>, bytes: usize) -> Option<()> {
        if bytes > MEMORY_BYTES_MAX {
            conn.send_file(None, self.file.clone(), 0, bytes as u64, true);
        } else {
            let answer = conn.pool().get(bytes)?;
            conn.send(answer.freeze(bytes));
        }
        Some(())
    }
}

impl Protocol for Answers {
    fn turn(&self, conn: &mut Conn<'_>, _events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        while conn.is_flushed()
            && let Some(request) = conn.take()
        {
            match conn.governed_read() {
                GovernedRead::Allow => {}
                GovernedRead::Block => {
                    conn.unread(request);
                    return Turn::Idle;
                }
                GovernedRead::Reject { .. } => return Turn::Abort,
            }
            if self.answer(conn, answer_of(request[0])).is_none() {
                return Turn::Abort;
            }
        }
        if conn.is_ended() || conn.is_draining() { Turn::Close } else { Turn::Idle }
    }
}
