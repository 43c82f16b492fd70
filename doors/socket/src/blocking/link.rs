//! What a worker and a thread share of a connection: events that go there, acts that come back.

use super::lanes::Lane;
use crate::groups::Group;
use crate::handler::Reason;
use crate::remote::Sender;
use ringway_lock::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

/// Events of a connection that wait for its thread at most, before its peer does.
pub const EVENTS_MAX: usize = 64;

/// Bytes of messages of a connection that wait for its thread at most, before its peer does. One message may be longer.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// What a handler hears of.
#[derive(Debug)]
pub(super) enum Event {
    Opened,
    Message(Box<[u8]>, bool),
    Ended,
    Written,
    Timeout,
    Urgent(u8),
    Nudged,
    Draining,
    Closed(Reason),
}

/// What a handler wants of its connection.
#[derive(Debug)]
pub(super) enum Act {
    Send(Box<[u8]>, bool),
    Raw(Box<[u8]>),
    File(OwnedFd, u64, u64),
    Shut,
    Close,
    CloseWith(u16, Box<str>),
    Abort,
    Timeout(u64),
    Pause(bool),
    WhenSent,
    Join(Group),
    Leave(Group),
    /// The handler panicked, saying this.
    Panicked(Box<str>),
    /// There is room for events again.
    Room,
}

/// What does not change while a connection is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) peer: Option<SocketAddr>,
    pub(super) is_websocket: bool,
    pub(super) is_outbound: bool,
    pub(super) session: Option<KnownSession>,
}

/// What was agreed on with TLS.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "libraries"), allow(dead_code, reason = "libraries ask for it"))]
pub(super) struct KnownSession {
    pub(super) version: Box<str>,
    pub(super) server_name: Option<Box<str>>,
    pub(super) protocol: Box<[u8]>,
    pub(super) client: Option<Box<str>>,
}

/// A connection, between its worker and its thread.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) known: Known,
    pub(super) sender: Sender,
    pub(super) lane: Arc<Lane>,
    /// The handler's own word.
    pub(super) user: AtomicU64,
    /// Bytes that wait to be sent: here, and in the connection when it was last looked at.
    acting: AtomicUsize,
    queued: AtomicUsize,
    queue_max: usize,
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    events: VecDeque<Event>,
    bytes: usize,
    /// The thread has it, or will.
    is_scheduled: bool,
    /// The worker was told that there is no room.
    is_full: bool,
    /// The handler panicked: it hears of the end alone.
    is_silent: bool,
}

#[derive(Debug, Default)]
struct Outbox {
    acts: Vec<Act>,
    /// The worker was asked to look.
    is_told: bool,
    is_closed: bool,
}

impl Link {
    pub(super) fn new(known: Known, sender: Sender, lane: Arc<Lane>, queue_max: usize) -> Self {
        Self {
            known,
            sender,
            lane,
            user: AtomicU64::new(0),
            acting: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            queue_max,
            inbox: Mutex::default(),
            outbox: Mutex::default(),
        }
    }

    /// On the worker: hands an event to the thread. Whether the peer is to wait.
    pub(super) fn tell(self: &Arc<Self>, event: Event) -> bool {
        let is_last = matches!(event, Event::Closed(_));
        let (is_new, is_full) = {
            let mut inbox = self.inbox();
            if inbox.is_silent && !is_last {
                return false;
            }
            if let Event::Message(bytes, _) = &event {
                inbox.bytes += bytes.len();
            }
            inbox.events.push_back(event);
            // What the thread has answered and this worker has not sent yet counts, too: it is done in another turn.
            let is_behind = self.acting.load(Ordering::Relaxed) >= EVENT_BYTES_MAX;
            inbox.is_full |= inbox.events.len() >= EVENTS_MAX || inbox.bytes >= EVENT_BYTES_MAX || is_behind;
            (!std::mem::replace(&mut inbox.is_scheduled, true), inbox.is_full)
        };
        if is_new {
            self.lane.schedule(Arc::clone(self));
        }
        is_full
    }

    /// On the thread: the next event. `None`: there is none, and the next one schedules the connection anew.
    pub(super) fn next(&self) -> Option<Event> {
        let (event, has_room) = {
            let mut inbox = self.inbox();
            let event = inbox.events.pop_front();
            match &event {
                Some(Event::Message(bytes, _)) => inbox.bytes -= bytes.len(),
                Some(_) => {}
                None => inbox.is_scheduled = false,
            }
            (event, inbox.has_room() && std::mem::take(&mut inbox.is_full))
        };
        if has_room {
            self.act(Act::Room);
        }
        event
    }

    /// On the worker, which has caught up with the thread: whether there is room for events again, where there was none.
    pub(super) fn has_room_again(&self) -> bool {
        let mut inbox = self.inbox();
        inbox.has_room() && std::mem::take(&mut inbox.is_full)
    }

    /// On the thread: the handler is not called again, but for the end.
    pub(super) fn silence(&self) {
        let mut inbox = self.inbox();
        inbox.is_silent = true;
        inbox.events.retain(|event| matches!(event, Event::Closed(_)));
        inbox.bytes = 0;
    }

    /// On the thread: wants something of the connection. Whether it is there still.
    pub(super) fn act(&self, act: Act) -> bool {
        let bytes = act.bytes();
        let is_first = {
            let mut outbox = self.outbox();
            if outbox.is_closed {
                return false;
            }
            self.acting.fetch_add(bytes, Ordering::Relaxed);
            outbox.acts.push(act);
            !std::mem::replace(&mut outbox.is_told, true)
        };
        !is_first || self.sender.nudge().is_ok()
    }

    /// On the worker: what the thread wants. `None`: it was somebody else who asked to look.
    pub(super) fn acts(&self) -> Option<Vec<Act>> {
        let mut outbox = self.outbox();
        let is_ours = std::mem::take(&mut outbox.is_told);
        is_ours.then(|| std::mem::take(&mut outbox.acts))
    }

    /// On the worker: what was taken is done, and so much waits in the connection.
    pub(super) fn acted(&self, bytes: usize, queued: usize) {
        self.acting.fetch_sub(bytes, Ordering::Relaxed);
        self.queued.store(queued, Ordering::Relaxed);
    }

    /// On the worker: nothing can be wanted any more.
    pub(super) fn close(&self) {
        let dropped = {
            let mut outbox = self.outbox();
            outbox.is_closed = true;
            std::mem::take(&mut outbox.acts)
        };
        drop(dropped);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.outbox().is_closed
    }

    /// Bytes that wait to be sent, about.
    pub(super) fn waiting(&self) -> usize {
        self.acting.load(Ordering::Relaxed).saturating_add(self.queued.load(Ordering::Relaxed))
    }

    /// Whether so much more may be sent.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.waiting();
        waiting == 0 || waiting.saturating_add(bytes) <= self.queue_max
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn has_room(&self) -> bool {
        self.events.len() <= EVENTS_MAX / 2 && self.bytes <= EVENT_BYTES_MAX / 2
    }
}

impl Act {
    /// Bytes that it sends.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Send(bytes, _) | Self::Raw(bytes) => bytes.len(),
            _ => 0,
        }
    }
}
