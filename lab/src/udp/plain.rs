//! The plain receivers: a blocking loop, and readiness with a pool of threads, as servers without rings are written.

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;

use super::kernel;
use super::serve::Bound;
use super::served::Closing;
use super::settings::Settings;
use super::trial::{Tally, Trial};
use crate::refusal::Refusal;

/// What epoll calls the socket.
const SOCKET: u64 = 0;
/// What epoll calls the end of the trial.
const END: u64 = 1;

/// Binds the socket of a blocking receive loop.
pub(super) fn bind_polled(settings: &Settings, trial: &Arc<Trial>) -> Result<Bound, Refusal> {
    let (socket, receive_buffer_bytes) = bind(settings)?;
    let address = socket.local_addr().map_err(Refusal::because("cannot read the socket's address"))?;
    let mut buffer = vec![0; settings.buffer_bytes];
    let mut tally = trial.tally();
    let serve = move || {
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) if tally.take(&buffer[..length]) => {}
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Refusal::failed(format!("cannot receive: {error}"))),
            }
        }
        drop(tally);
        Ok(Closing { dropped: kernel::drops_at(address), counters: Vec::new() })
    };
    Ok(Bound { addresses: vec![address], receive_buffer_bytes, facts: Vec::new(), serve: Box::new(serve) })
}

/// Binds the socket that a pool of threads receives from when epoll says that it is ready.
pub(super) fn bind_port(settings: &Settings, trial: &Arc<Trial>) -> Result<Bound, Refusal> {
    let (socket, receive_buffer_bytes) = bind(settings)?;
    let address = socket.local_addr().map_err(Refusal::because("cannot read the socket's address"))?;
    let port = Port::new(socket, settings).map_err(Refusal::because("cannot watch the socket"))?;
    let (threads, trial) = (settings.threads, Arc::clone(trial));
    let serve = move || {
        let results: Vec<Result<(), Errno>> = thread::scope(|scope| {
            let pool: Vec<_> = (0..threads).map(|_| scope.spawn(|| port.serve(trial.tally()))).collect();
            pool.into_iter().map(|thread| thread.join().unwrap_or(Err(Errno::CANCELED))).collect()
        });
        results
            .into_iter()
            .collect::<Result<(), Errno>>()
            .map_err(|error| Refusal::failed(format!("a thread of the pool could not go on: {error}")))?;
        Ok(Closing { dropped: kernel::drops_at(address), counters: Vec::new() })
    };
    Ok(Bound { addresses: vec![address], receive_buffer_bytes, facts: Vec::new(), serve: Box::new(serve) })
}

fn bind(settings: &Settings) -> Result<(UdpSocket, usize), Refusal> {
    let bind = settings.bind;
    let socket = UdpSocket::bind(bind).map_err(Refusal::because(format!("cannot listen on {bind}")))?;
    let bytes = kernel::set_receive_buffer(&socket, settings.receive_buffer_bytes)?;
    Ok((socket, bytes))
}

/// A socket, the epoll that watches it, and the way to end all threads that wait there.
struct Port {
    socket: UdpSocket,
    epoll: OwnedFd,
    end: OwnedFd,
    buffer_bytes: usize,
    results_per_turn: usize,
}

impl Port {
    fn new(socket: UdpSocket, settings: &Settings) -> io::Result<Port> {
        socket.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(SOCKET), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &end, epoll::EventData::new_u64(END), epoll::EventFlags::IN)?;
        let (buffer_bytes, results_per_turn) = (settings.buffer_bytes, settings.results);
        Ok(Port { socket, epoll, end, buffer_bytes, results_per_turn })
    }

    /// One thread of the pool: waits, then takes as many datagrams as a turn may.
    fn serve(&self, mut tally: Tally) -> Result<(), Errno> {
        let mut buffer = vec![0; self.buffer_bytes];
        let mut events = Vec::with_capacity(1);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            if events.iter().any(|event| event.data.u64() == END) {
                return Ok(());
            }
            if !self.turn(&mut tally, &mut buffer)? {
                // Readable for good, so every thread sees it.
                rustix::io::write(&self.end, &1_u64.to_ne_bytes())?;
                return Ok(());
            }
        }
    }

    fn turn(&self, tally: &mut Tally, buffer: &mut [u8]) -> Result<bool, Errno> {
        for _ in 0..self.results_per_turn {
            match self.socket.recv(buffer) {
                Ok(length) if tally.take(&buffer[..length]) => {}
                Ok(_) => return Ok(false),
                // Another thread was faster, or the socket is empty.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        Ok(true)
    }
}
