//! How a worker accepts: multishot accepts on its listeners, pauses, hand-outs to other workers, and the end of accepting.

use crate::core::Core;
use crate::counters::Counters;
use crate::mailbox::{Mailbox, Message};
use crate::token::Token;
use ringway_ring::socket;
use ringway_ring::{Completion, Handle, Op, OpId, Payload};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How long accepting rests after it failed for want of descriptors or memory, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// Connections taken from one listener's queue when accepting ends; what is left then is refused.
const SWEEP_MAX: usize = 65_536;

/// The peer gave up while it waited, on Linux.
const ECONNABORTED: i32 = 103;

/// What accepts connections on a worker.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    /// All workers, for the one that accepts for others.
    peers: Vec<Peer>,
    /// Which of them this one is.
    index: usize,
    counters: Arc<Counters>,
}

/// Another worker, as an acceptor sees it.
#[derive(Clone)]
pub(crate) struct Peer {
    mailbox: Mailbox,
    counters: Arc<Counters>,
    /// Connections handed to it.
    handed: u64,
    /// It has stopped and takes no more.
    is_gone: bool,
}

/// A listening socket of this worker.
pub(crate) struct Listener {
    endpoint: u16,
    /// `None` once the server drains.
    socket: Option<Handle>,
    is_shared_out: bool,
    accepting: Option<OpId>,
    /// When a failed accept is tried again.
    retry_at_ms: Option<u64>,
}

impl Peer {
    pub(crate) fn new(mailbox: Mailbox, counters: Arc<Counters>) -> Self {
        Self { mailbox, counters, handed: 0, is_gone: false }
    }

    /// Connections it has, those still on their way to it included.
    fn load(&self) -> u64 {
        self.counters.open.get() + self.handed.saturating_sub(self.counters.adopted.get())
    }
}

impl Listener {
    pub(crate) fn new(endpoint: u16, socket: OwnedFd, is_shared_out: bool) -> Self {
        Self {
            endpoint,
            socket: Some(Handle::new(socket)),
            is_shared_out,
            accepting: None,
            retry_at_ms: None,
        }
    }
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listener>, index: usize, counters: Arc<Counters>) -> Self {
        Self { listeners, peers: Vec::new(), index, counters }
    }

    pub(crate) fn set_peers(&mut self, peers: Vec<Peer>) {
        self.peers = peers;
    }

    /// Starts the accepts that are not under way and need not rest.
    pub(crate) fn arm(&mut self, core: &mut Core) {
        if core.is_draining {
            return;
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let rests = listener.retry_at_ms.is_some_and(|at_ms| at_ms > core.now_ms);
            let Some(socket) = listener.socket.as_ref().filter(|_| listener.accepting.is_none() && !rests)
            else {
                continue;
            };
            listener.retry_at_ms = None;
            let op = Op::Accept { listener: socket.clone() };
            let token = Token::Accept(u32::try_from(index).unwrap_or(u32::MAX)).bits();
            match core.ring.submit(op, token) {
                Ok(id) => listener.accepting = Some(id),
                Err(_full) => listener.retry_at_ms = Some(core.now_ms + ACCEPT_PAUSE_MS),
            }
        }
    }

    /// When the first listener that rests is to be armed again.
    pub(crate) fn next_retry_ms(&self) -> Option<u64> {
        self.listeners.iter().filter_map(|listener| listener.retry_at_ms).min()
    }

    pub(crate) fn is_accepting(&self) -> bool {
        self.listeners.iter().any(|listener| listener.accepting.is_some())
    }

    /// An accept has completed, once or for the last time.
    pub(crate) fn accepted(&mut self, core: &mut Core, index: u32, completion: Completion) {
        let Completion { result, more, payload, .. } = completion;
        let index = index as usize;
        let Some(listener) = self.listeners.get_mut(index) else { return };
        if !more {
            listener.accepting = None;
        }
        let (endpoint, is_shared_out) = (listener.endpoint, listener.is_shared_out && !core.is_draining);
        if let Payload::Connection(socket) = payload {
            let is_elsewhere = is_shared_out && self.hand_out(endpoint, &socket);
            if !is_elsewhere {
                core.open(endpoint, socket);
            }
        } else if let Err(error) = result
            && !core.is_draining
        {
            self.failed(index, &error, core.now_ms);
        }
        if !more && core.is_draining {
            self.retire(core, index);
        }
    }

    /// Ends accepting; what was accepted or waits to be is still served.
    pub(crate) fn drain(&mut self, core: &mut Core) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            listener.retry_at_ms = None;
            match listener.accepting {
                // Its last completion retires the listener.
                Some(id) => core.ring.cancel(id),
                None => self.retire(core, index),
            }
        }
    }

    /// Looks at the accept queues: a multishot accept empties them as fast as the worker turns, so a full one means that
    /// the worker is overloaded and clients are being turned away.
    pub(crate) fn check_backlog(&self) {
        for listener in &self.listeners {
            let fd = listener.socket.as_ref().and_then(Handle::kernel);
            let Some(Ok((waiting, room))) = fd.map(socket::accept_queue) else { continue };
            self.counters.backlog_high.raise(u64::from(waiting));
            if room > 0 && u64::from(waiting) * 5 >= u64::from(room) * 4 {
                self.counters.backlog_alarms.add(1);
            }
        }
    }

    fn failed(&mut self, index: usize, error: &io::Error, now_ms: u64) {
        if error.raw_os_error() == Some(ECONNABORTED) {
            return;
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM: slow down; what waits in the queue is served when there is room.
        self.counters.accept_failures.add(1);
        self.listeners[index].retry_at_ms = Some(now_ms + ACCEPT_PAUSE_MS);
    }

    /// Serves what waits in a listener's queue and closes it: clients then go elsewhere instead of waiting in vain.
    fn retire(&mut self, core: &mut Core, index: usize) {
        let listener = &mut self.listeners[index];
        let Some(socket) = listener.socket.take() else { return };
        for _ in 0..SWEEP_MAX {
            match socket.kernel().map(socket::accept_waiting) {
                Some(Ok(Some(connection))) => core.open(listener.endpoint, Handle::new(connection)),
                Some(Ok(None) | Err(_)) | None => break,
            }
        }
    }

    /// Hands a connection to the worker with the fewest; false when that is this one.
    fn hand_out(&mut self, endpoint: u16, socket: &Handle) -> bool {
        let here = self.index;
        let all = self.peers.iter_mut().enumerate().filter(|(index, peer)| *index == here || !peer.is_gone);
        let Some((chosen, peer)) = all.min_by_key(|(_, peer)| peer.load()) else { return false };
        if chosen == here {
            return false;
        }
        // A duplicate descriptor, because the handle is this thread's.
        let Some(Ok(fd)) = socket.kernel().map(|fd| fd.try_clone_to_owned()) else { return false };
        if peer.mailbox.send(Message::Connection(endpoint, fd)) {
            peer.handed += 1;
        } else {
            peer.is_gone = true;
        }
        !peer.is_gone
    }
}
