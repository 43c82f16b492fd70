//! How a worker accepts: multishot accepts on its listeners, pauses, hand-outs to other workers, and the end of accepting.

use crate::core::Core;
use crate::counters::Counters;
use crate::mailbox::{Mailbox, Message};
use crate::token::Token;
use ringway_ring::socket;
use ringway_ring::{Completion, Handle, Op, OpId, Payload};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

/// How long accepting rests after it failed for want of descriptors or memory, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// Connections of one listener that are opened in one turn of the loop: the others' come next.
pub(crate) const ACCEPTS_PER_TURN: u32 = 64;

/// Connections of one listener that are accepted and wait to be opened, from which on accepting stops.
const ACCEPTS_PENDING_MAX: usize = 1_024;

/// Connections taken from one listener's queue when accepting ends; what is left then is refused.
const SWEEP_MAX: usize = 65_536;

/// Our own cancel, on Linux.
const ECANCELED: i32 = 125;

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
    /// Connections handed to it, by whomever.
    handed: Arc<AtomicU64>,
    /// It has stopped and takes no more.
    is_gone: bool,
}

/// A listening socket as it is given to a worker.
#[derive(Debug)]
pub(crate) struct Listening {
    /// The endpoint's number.
    pub(crate) endpoint: u16,
    pub(crate) socket: OwnedFd,
    /// Its connections are handed to the worker with the fewest.
    pub(crate) is_shared_out: bool,
    /// Others have this socket too and go on accepting from it.
    pub(crate) is_inherited: bool,
}

/// A listening socket of this worker.
struct Listener {
    endpoint: u16,
    /// `None` once the server drains or the endpoint was removed.
    socket: Option<Handle>,
    is_shared_out: bool,
    is_inherited: bool,
    accepting: Option<OpId>,
    /// When a failed accept is tried again.
    retry_at_ms: Option<u64>,
    /// Accepted, and not opened yet.
    pending: VecDeque<Handle>,
    /// Connections opened in this turn of the loop.
    opened: u32,
    /// Its accept was asked to end: too many wait, or there is no room.
    is_stopping: bool,
    /// There is no room: see [`crate::OverCapacity::Resist`].
    is_full: bool,
    /// It accepts no more; dropped with the last completion, for whoever waits for that.
    ending: Option<Option<Sender<()>>>,
}

impl Peer {
    pub(crate) fn new(mailbox: Mailbox, counters: Arc<Counters>) -> Self {
        Self { mailbox, counters, handed: Arc::default(), is_gone: false }
    }

    /// Connections it has, those still on their way to it included.
    fn load(&self) -> u64 {
        let handed = self.handed.load(Ordering::Relaxed);
        self.counters.open.get() + handed.saturating_sub(self.counters.adopted.get())
    }
}

impl Listener {
    fn new(listening: Listening) -> Self {
        Self {
            endpoint: listening.endpoint,
            socket: Some(Handle::new(listening.socket)),
            is_shared_out: listening.is_shared_out,
            is_inherited: listening.is_inherited,
            accepting: None,
            retry_at_ms: None,
            pending: VecDeque::new(),
            opened: 0,
            is_stopping: false,
            is_full: false,
            ending: None,
        }
    }

    /// Whether connections wait that may be opened.
    fn can_open(&self) -> bool {
        !self.pending.is_empty() && !self.is_full
    }

    /// Ends the accept under way, for now.
    fn stop(&mut self, core: &mut Core) {
        if let Some(id) = self.accepting.filter(|_| !self.is_stopping) {
            self.is_stopping = true;
            core.ring.cancel(id);
        }
    }

    /// How many may wait in the queue of a listener that ends. Where others accept too, those who come after are theirs.
    fn left_over(&self) -> usize {
        let socket = self.socket.as_ref().and_then(Handle::kernel);
        match socket.map(socket::accept_queue) {
            Some(Ok((waiting, _room))) if self.is_inherited => waiting as usize,
            // A Unix socket cannot tell: whoever else accepts from it serves them.
            _ if self.is_inherited => 0,
            _ => SWEEP_MAX,
        }
    }
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listening>, index: usize, counters: Arc<Counters>) -> Self {
        let listeners = listeners.into_iter().map(Listener::new).collect();
        Self { listeners, peers: Vec::new(), index, counters }
    }

    /// Accepts from further sockets.
    pub(crate) fn add(&mut self, listeners: Vec<Listening>) {
        for listener in listeners.into_iter().map(Listener::new) {
            let is_over = |old: &Listener| old.socket.is_none() && old.accepting.is_none();
            match self.listeners.iter().position(is_over) {
                Some(place) => self.listeners[place] = listener,
                None => self.listeners.push(listener),
            }
        }
    }

    /// Stops accepting for an endpoint as a drain does; `told` is dropped when that is done.
    pub(crate) fn remove(&mut self, core: &mut Core, endpoint: u16, told: &Sender<()>) {
        for index in 0..self.listeners.len() {
            if self.listeners[index].endpoint == endpoint {
                self.end(core, index, Some(told.clone()));
            }
        }
    }

    /// Duplicates of the listening sockets, with their endpoints.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<(u16, OwnedFd)>> {
        let sockets = self.listeners.iter().filter_map(|listener| {
            let fd = listener.socket.as_ref().filter(|_| listener.ending.is_none())?.kernel()?;
            Some(fd.try_clone_to_owned().map(|fd| (listener.endpoint, fd)))
        });
        sockets.collect()
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
            if listener.is_full {
                let (endpoint, is_shared_out) = (listener.endpoint, listener.is_shared_out);
                let limit = core.resists_from(endpoint, true);
                listener.is_full = limit.is_some_and(|limit| {
                    !has_room(core, &self.peers, self.index, endpoint, is_shared_out, limit)
                });
                // Other workers do not tell when they have room.
                listener.retry_at_ms =
                    (listener.is_full && is_shared_out).then_some(core.now_ms + ACCEPT_PAUSE_MS);
            }
            if listener.ending.is_some()
                || listener.is_full
                || listener.pending.len() >= ACCEPTS_PENDING_MAX / 2
            {
                continue;
            }
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
            listener.is_stopping = false;
        }
        let is_ending = listener.ending.is_some();
        if let Payload::Connection(socket) = payload {
            if is_ending {
                core.open(listener.endpoint, socket);
            } else {
                self.take(core, index, socket);
            }
        } else if let Err(error) = result
            && !is_ending
            && error.raw_os_error() != Some(ECANCELED)
        {
            self.failed(index, &error, core.now_ms);
        }
        if !more && is_ending {
            self.retire(core, index);
        }
    }

    /// Opens what waits, as many of each listener as one turn allows; a new turn begins.
    pub(crate) fn open_pending(&mut self, core: &mut Core) {
        for index in 0..self.listeners.len() {
            self.listeners[index].opened = 0;
            while let Some(listener) = self.listeners.get_mut(index)
                && listener.can_open()
                && listener.opened < ACCEPTS_PER_TURN
                && let Some(socket) = listener.pending.pop_front()
            {
                self.open(core, index, socket);
            }
        }
    }

    /// Whether connections wait that the next turn may open.
    pub(crate) fn has_pending(&self) -> bool {
        self.listeners.iter().any(Listener::can_open)
    }

    /// Opens an accepted connection, or has it wait for its turn.
    fn take(&mut self, core: &mut Core, index: usize, socket: Handle) {
        let listener = &mut self.listeners[index];
        if listener.pending.is_empty() && !listener.is_full && listener.opened < ACCEPTS_PER_TURN {
            self.open(core, index, socket);
            return;
        }
        listener.pending.push_back(socket);
        if listener.pending.len() >= ACCEPTS_PENDING_MAX {
            listener.stop(core);
        }
    }

    fn open(&mut self, core: &mut Core, index: usize, socket: Handle) {
        let (endpoint, is_shared_out) = (self.listeners[index].endpoint, self.listeners[index].is_shared_out);
        let limit = core.resists_from(endpoint, false);
        let is_full = limit
            .is_some_and(|limit| !has_room(core, &self.peers, self.index, endpoint, is_shared_out, limit));
        if is_full {
            let listener = &mut self.listeners[index];
            listener.is_full = true;
            listener.pending.push_front(socket);
            listener.stop(core);
            return;
        }
        self.listeners[index].opened += 1;
        let is_elsewhere = is_shared_out && self.hand_out(core, endpoint, &socket, limit);
        if !is_elsewhere {
            core.open(endpoint, socket);
        }
    }

    /// Ends accepting; what was accepted or waits to be is still served.
    pub(crate) fn drain(&mut self, core: &mut Core) {
        (0..self.listeners.len()).for_each(|index| self.end(core, index, None));
    }

    fn end(&mut self, core: &mut Core, index: usize, told: Option<Sender<()>>) {
        let listener = &mut self.listeners[index];
        if listener.ending.is_some() {
            return;
        }
        listener.ending = Some(told);
        listener.retry_at_ms = None;
        for socket in std::mem::take(&mut listener.pending) {
            core.open(listener.endpoint, socket);
        }
        match listener.accepting {
            // Its last completion retires the listener.
            Some(id) => core.ring.cancel(id),
            None => self.retire(core, index),
        }
    }

    /// Ends the accepts under way and begins them anew, which looks at the queues. A process that was killed leaves its own
    /// accepts in the kernel for a moment, and they may be woken, in vain, for a connection that then waits for the next.
    pub(crate) fn renew(&mut self, core: &mut Core) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.ending.is_none()) {
            listener.stop(core);
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
        let left_over = listener.left_over();
        let Some(socket) = listener.socket.take() else { return };
        for _ in 0..left_over {
            match socket.kernel().map(socket::accept_waiting) {
                Some(Ok(Some(connection))) => core.open(listener.endpoint, Handle::new(connection)),
                Some(Ok(None) | Err(_)) | None => break,
            }
        }
        // Whoever waits for this listener's end is told by the drop.
        listener.ending = Some(None);
    }

    /// Hands a connection to the worker with the fewest; false when that is this one.
    /// Where the endpoint resists, those with so many connections of it get none.
    fn hand_out(&mut self, core: &Core, endpoint: u16, socket: &Handle, limit: Option<usize>) -> bool {
        if core.is_draining {
            return false;
        }
        let here = self.index;
        let takes =
            |peer: &Peer| limit.is_none_or(|limit| peer.counters.doors.open_of(endpoint) < limit as u64);
        let all = self.peers.iter_mut().enumerate();
        let all = all.filter(|(index, peer)| *index == here || !peer.is_gone).filter(|(_, peer)| takes(peer));
        let Some((chosen, peer)) = all.min_by_key(|(_, peer)| peer.load()) else { return false };
        if chosen == here {
            return false;
        }
        // A duplicate descriptor, because the handle is this thread's.
        let Some(Ok(fd)) = socket.kernel().map(|fd| fd.try_clone_to_owned()) else { return false };
        if peer.mailbox.send(Message::Connection(endpoint, fd)) {
            peer.handed.fetch_add(1, Ordering::Relaxed);
        } else {
            peer.is_gone = true;
        }
        !peer.is_gone
    }
}

/// Whether a worker that may get the endpoint's connections has fewer than so many of them.
fn has_room(
    core: &Core,
    peers: &[Peer],
    here: usize,
    endpoint: u16,
    is_shared_out: bool,
    limit: usize,
) -> bool {
    let own = core.doors.get(usize::from(endpoint)).map_or(0, |door| door.open);
    let elsewhere = peers.iter().enumerate().filter(|(index, peer)| *index != here && !peer.is_gone);
    let has_room = |peer: &Peer| peer.counters.doors.open_of(endpoint) < limit as u64;
    own < limit || (is_shared_out && elsewhere.map(|(_, peer)| peer).any(has_room))
}
