//! Servers without an engine, for comparison: one thread on epoll, and a thread a connection.

use crate::ceiling::Service;
use crate::ceiling::answers::{Answers, Ends};
use rustix::event::epoll;
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes taken from a socket at once.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// Stack of a blocking connection's thread: the buffer is on the heap.
const STACK_BYTES: usize = 64 * 1024;

/// Most connections at once of the server with a thread a connection.
const THREADS_MAX: u64 = 20_000;

/// What a plain server counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open.
    pub open: AtomicU64,
}

/// Serves on epoll, edge-triggered, until the process ends.
///
/// # Errors
/// What `epoll` says; a broken connection ends itself only.
pub fn on_epoll(listener: &OwnedFd, service: &Service, tally: &Tally) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    let mut talks: Vec<Option<Talk>> = Vec::new();
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            // EINTR: a signal whose handler is elsewhere.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            // Copied out: the kernel's struct is packed.
            let (flags, data) = (event.flags, event.data.u64());
            if data == LISTENER {
                accept_all(listener, &poll, &mut talks, tally)?;
                continue;
            }
            let Some(place) = usize::try_from(data).ok().and_then(|index| talks.get_mut(index)) else {
                continue;
            };
            let Some(talk) = place else { continue };
            let is_ending =
                flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            if talk.go_on(service, &mut buffer, is_ending) == Step::Over {
                *place = None;
                tally.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Serves with a thread a connection until the process ends.
///
/// # Errors
/// What `accept` says; a broken connection ends itself only.
pub fn blocking(listener: &OwnedFd, service: &Service, tally: &Arc<Tally>) -> io::Result<()> {
    rustix::io::ioctl_fionbio(listener, false)?;
    loop {
        let socket = match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // The peer gave up while it waited; the next one may not have.
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        if tally.open.load(Ordering::Relaxed) >= THREADS_MAX {
            continue;
        }
        tally.open.fetch_add(1, Ordering::Relaxed);
        let (service, counted) = (service.clone(), Arc::clone(tally));
        let serve = move || {
            let mut talk = Talk::new(socket);
            // A blocking socket never says "not now": only the end ends this.
            talk.go_on(&service, &mut vec![0; RECEIVE_BYTES], true);
            counted.open.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().stack_size(STACK_BYTES).spawn(serve).is_err() {
            // The connection was closed with the closure; the next one may find a thread.
            tally.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The listener's mark among the numbers of connections.
const LISTENER: u64 = u64::MAX;

fn accept_all(
    listener: &OwnedFd,
    poll: &OwnedFd,
    talks: &mut Vec<Option<Talk>>,
    tally: &Tally,
) -> io::Result<()> {
    loop {
        let socket = match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::CONNABORTED | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        tally.open.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(socket.as_raw_fd()).unwrap_or(0);
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(poll, &socket, epoll::EventData::new_u64(index as u64), flags)?;
        if index >= talks.len() {
            talks.resize_with(index + 1, || None);
        }
        talks[index] = Some(Talk::new(socket));
    }
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It waits for the kernel.
    Waits,
    /// It is over.
    Over,
}

/// Whether everything that was to be sent is with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    Yes,
    NotYet,
    /// It was the connection's last answer.
    Last,
}

/// One connection.
struct Talk {
    socket: OwnedFd,
    ends: Ends,
    /// Answers to be sent, the one under way included.
    owed: u64,
    /// Bytes of the one under way that are sent: of the batch, or of head and file.
    sent: u64,
    /// What an echo could not send yet.
    backlog: Vec<u8>,
}

impl Talk {
    fn new(socket: OwnedFd) -> Talk {
        Talk { socket, ends: Ends::default(), owed: 0, sent: 0, backlog: Vec::new() }
    }

    /// Reads and answers until the kernel has nothing more or takes nothing more. A short read is the last one for now,
    /// except where the end is announced.
    fn go_on(&mut self, service: &Service, buffer: &mut [u8], is_ending: bool) -> Step {
        loop {
            match self.flush(service) {
                Ok(Flushed::Yes) => {}
                Ok(Flushed::NotYet) => return Step::Waits,
                Ok(Flushed::Last) | Err(_) => return Step::Over,
            }
            let count = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Step::Over,
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Step::Waits,
                Err(Errno::INTR) => continue,
                Err(_) => return Step::Over,
            };
            let flushed = self.answer(service, &buffer[..count]);
            match flushed {
                Ok(Flushed::Yes) if count < buffer.len() && !is_ending => return Step::Waits,
                Ok(Flushed::Yes) => {}
                Ok(Flushed::NotYet) => return Step::Waits,
                Ok(Flushed::Last) | Err(_) => return Step::Over,
            }
        }
    }

    fn answer(&mut self, service: &Service, bytes: &[u8]) -> Result<Flushed, Errno> {
        match service {
            Service::Echo => {
                let sent = send_some(&self.socket, bytes, SendFlags::NOSIGNAL)?;
                self.backlog.extend_from_slice(&bytes[sent..]);
                if self.backlog.is_empty() { Ok(Flushed::Yes) } else { self.flush(service) }
            }
            Service::Answers(answers) => {
                self.owed += self.ends.count(bytes);
                self.flush_answers(answers)
            }
        }
    }

    fn flush(&mut self, service: &Service) -> Result<Flushed, Errno> {
        match service {
            Service::Echo => {
                while !self.backlog.is_empty() {
                    match send_some(&self.socket, &self.backlog, SendFlags::NOSIGNAL)? {
                        0 => return Ok(Flushed::NotYet),
                        sent => drop(self.backlog.drain(..sent)),
                    }
                }
                Ok(Flushed::Yes)
            }
            Service::Answers(answers) => self.flush_answers(answers),
        }
    }

    fn flush_answers(&mut self, answers: &Answers) -> Result<Flushed, Errno> {
        while self.owed > 0 {
            let sent = match answers.file() {
                None => self.send_batch(answers)?,
                Some((file, body_bytes)) => self.send_file(answers, file, body_bytes)?,
            };
            if sent == 0 {
                return Ok(Flushed::NotYet);
            }
            let body_bytes = answers.file().map_or(0, |(_, body_bytes)| body_bytes);
            let whole = answers.answer_bytes() as u64 + body_bytes;
            self.sent += sent as u64;
            self.owed -= self.sent / whole;
            let is_whole = self.sent >= whole;
            self.sent %= whole;
            if is_whole && answers.is_closing() {
                return Ok(Flushed::Last);
            }
        }
        Ok(Flushed::Yes)
    }

    fn send_batch(&self, answers: &Answers) -> Result<usize, Errno> {
        let from = usize::try_from(self.sent).unwrap_or(0);
        let owed = usize::try_from(self.owed).unwrap_or(usize::MAX).min(answers.per_batch());
        send_some(&self.socket, &answers.batch()[from..owed * answers.answer_bytes()], SendFlags::NOSIGNAL)
    }

    fn send_file(&self, answers: &Answers, file: &OwnedFd, body_bytes: u64) -> Result<usize, Errno> {
        let head = answers.batch();
        let from = usize::try_from(self.sent).unwrap_or(usize::MAX);
        if from < head.len() {
            let more = if body_bytes > 0 { SendFlags::MORE } else { SendFlags::empty() };
            return send_some(&self.socket, &head[from..], SendFlags::NOSIGNAL | more);
        }
        let mut offset = (from - head.len()) as u64;
        let left = usize::try_from(body_bytes - offset).unwrap_or(usize::MAX);
        no_room_is_zero(|| sendfile(&self.socket, file, Some(&mut offset), left))
    }
}

/// Sends what fits; 0 when nothing does.
fn send_some(socket: impl AsFd, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
    no_room_is_zero(|| send(&socket, bytes, flags))
}

fn no_room_is_zero(mut sent: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match sent() {
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            sent => return sent,
        }
    }
}
