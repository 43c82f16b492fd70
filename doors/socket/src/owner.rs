//! Whose connections they are: a handler with its terms on a worker. Those of a replaced one stay its own to their end.

use crate::counters::{EndpointCounters, WorkerCounters};
use crate::framing::{Framing, FramingLimits};
use crate::handler::Handler;
use crate::log::{Level, Log};
use crate::out::Out;
use crate::outbound::{ClientTls, Connector};
use crate::stalls;
use crate::state;
use crate::trace::{Traced, Tracer};
use crate::urgent::Urgent;
use ringway_engine::stall::Note;
use ringway_engine::{Conn, Endpoint};
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// What an endpoint of messages is like.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Its name, for the log.
    pub name: Arc<str>,
    /// What its handler is called, for the log.
    pub handler: Arc<str>,
    /// How messages are told apart.
    pub framing: Framing,
    /// What a peer may send at a time.
    pub framing_limits: FramingLimits,
    /// What a connection may do, and for how long.
    pub limits: ConnectionLimits,
    /// What becomes of urgent data.
    pub urgent: Urgent,
    /// Pages that may open WebSockets, by their `Origin`; empty: all may, and what has none always may.
    pub origins: Vec<Box<str>>,
    /// What encrypts connections that the handler opens, where it asks for that.
    pub client_tls: Option<ClientTls>,
    /// What is counted.
    pub counters: EndpointCounters,
    /// Who is told what went wrong.
    pub log: Log,
    /// Who is told of messages, while somebody wants to know.
    pub tracer: Tracer,
}

impl Terms {
    /// Says to the engine what these terms want of its endpoint: how urgent data are received.
    pub fn prepare(&self, endpoint: &mut Endpoint) {
        endpoint.urgent_inline = self.urgent == Urgent::Inline;
        endpoint.limits.receives_apart = self.urgent != Urgent::Inline && endpoint.filter.is_none();
    }
}

/// What a connection may do, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How long a connection may be open on which nothing comes, in milliseconds; 0: without limit. At most
    /// [`IDLE_MS_MAX`]. 10 minutes.
    pub idle_ms_max: u64,
    /// How long a message may take from its first byte to its last, in milliseconds; 0: without limit. 60 seconds.
    pub read_ms_max: u64,
    /// How long a peer may take nothing of what is sent, in milliseconds; 0: without limit. 60 seconds.
    pub stall_ms_max: u64,
    /// Bytes that may wait to be sent: what is sent beyond is refused, but for the answer to a message, which is only taken
    /// while little waits. 1 MiB.
    pub queue_bytes_max: usize,
}

/// The longest [`ConnectionLimits::idle_ms_max`]: one day.
pub const IDLE_MS_MAX: u64 = 24 * 3600 * 1000;

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { idle_ms_max: 600_000, read_ms_max: 60_000, stall_ms_max: 60_000, queue_bytes_max: 1 << 20 }
    }
}

/// A handler at work on a worker.
pub(crate) struct Owner {
    pub(crate) handler: Rc<dyn Handler>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Whether the worker is in the handler.
    pub(crate) note: Arc<Note>,
    pub(crate) place: u16,
    /// Connections of it that are open.
    connections: Cell<usize>,
    /// It gets no new ones.
    is_retired: Cell<bool>,
    /// What makes connections outward for it; set when it is at its place.
    pub(crate) connector: OnceCell<Connector>,
    /// Messages until the next one is timed.
    until_timed: Cell<u32>,
    /// Bytes of messages that are assembled.
    assembling: Cell<usize>,
    /// What a turn sends with; kept for its room.
    out: Cell<Option<Box<Out>>>,
}

impl Owner {
    pub(crate) fn enter(handler: Rc<dyn Handler>, terms: Arc<Terms>) -> io::Result<Rc<Self>> {
        terms.framing.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let is_socket = matches!(terms.framing, Framing::WebSocket | Framing::Auto(_));
        if is_socket && !cfg!(feature = "websockets") {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "built without WebSockets"));
        }
        let counters = terms.counters.here();
        let note = stalls::note(&terms);
        let owner = state::enter(|place| {
            Rc::new(Self {
                handler,
                terms,
                counters,
                note,
                place,
                connections: Cell::new(0),
                is_retired: Cell::new(false),
                connector: OnceCell::new(),
                until_timed: Cell::new(0),
                assembling: Cell::new(0),
                out: Cell::new(None),
            })
        });
        owner.ok_or_else(|| io::Error::other("this worker has too many endpoints and replaced handlers"))
    }

    /// A connection has become its own.
    pub(crate) fn gained(&self) {
        self.connections.set(self.connections.get() + 1);
        self.counters.opened.add(1);
    }

    /// One of its own has ended.
    pub(crate) fn lost(&self) {
        self.connections.set(self.connections.get().saturating_sub(1));
        self.counters.closed.add(1);
        self.leave_if_over();
    }

    /// It gets no new connections.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
        if let Some(connector) = self.connector.get() {
            connector.retire();
        }
        self.leave_if_over();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    fn leave_if_over(&self) {
        if self.is_retired.get() && self.connections.get() == 0 {
            state::leave(self.place);
        }
    }

    /// Whether this message is to be timed.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        let left = self.until_timed.get();
        self.until_timed.set(if left == 0 { crate::counters::TIMED_SHARE - 1 } else { left - 1 });
        left == 0
    }

    /// Takes so much for a message that is assembled; false: there is too much already.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let all = self.assembling.get().saturating_add(bytes);
        let fits = all <= self.terms.framing_limits.assembling_bytes_max;
        if fits {
            self.assembling.set(all);
        }
        fits
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.assembling.set(self.assembling.get().saturating_sub(bytes));
    }

    pub(crate) fn take_out(&self) -> Box<Out> {
        self.out.take().unwrap_or_default()
    }

    pub(crate) fn put_out(&self, out: Box<Out>) {
        self.out.set(Some(out));
    }

    /// Tells of a message, where that is wanted.
    #[inline]
    pub(crate) fn trace(&self, conn: &mut Conn<'_>, is_received: bool, payload: &[u8]) {
        if self.terms.tracer.is_on() {
            let (endpoint, peer, is_secret) = (&*self.terms.name, conn.peer(), conn.session().is_some());
            let message = Traced { endpoint, peer, is_received, payload, is_secret };
            self.terms.tracer.tell(conn.now_ms(), &message);
        }
    }

    /// Tells of what went wrong, if not too much of it was told already.
    pub(crate) fn log(&self, level: Level, now_ms: u64, text: &dyn Fn() -> String) {
        if !self.terms.log.tell(level, &self.terms.name, now_ms, text) {
            self.counters.lines_dropped.add(1);
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("name", &self.terms.name)
            .field("connections", &self.connections.get())
            .finish_non_exhaustive()
    }
}
