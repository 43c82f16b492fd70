//! The built-in handler `gateway`: a connection is passed on to a target, both ways, as the bytes come.

use crate::builtin::{BuiltinError, Settings, list};
use crate::connection::Connection;
use crate::counters::WorkerCounters;
use crate::handler::{Handler, HandlerFactory, Reason};
use crate::message::Message;
use crate::outbound::{CONNECT_MS_DEFAULT, ClientTls, Connector, Origin, Target, reach};
use ringway_engine::{Counter, DoorKey, SendProgress, Sleep, Stream, WorkerHandle};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Most bytes that wait in each direction.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Most pieces that one direction passes on before the other has its turn.
const PIECES_MAX: usize = 16;

/// Milliseconds of silence, and of a side that takes nothing, unless told otherwise.
const IDLE_MS_DEFAULT: u64 = 600_000;
const STALL_MS_DEFAULT: u64 = 60_000;

/// The longest of both: a day.
const TIME_MS_MAX: u64 = 24 * 3600 * 1000;

/// Most targets of a gateway.
pub const TARGETS_MAX: usize = 64;

/// What a gateway does.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Where to; each connection begins with the next one, and goes on to the others when one cannot be reached. At least one, at most
    /// [`TARGETS_MAX`].
    pub targets: Vec<Target>,
    /// With TLS, by the endpoint's client settings ([`crate::Terms::client_tls`]), where a target has no settings of its own.
    /// Without such settings no target can be reached then. Default: no.
    pub encrypts: bool,
    /// Milliseconds in which nothing goes either way until both sides are closed. Default 600,000.
    pub idle_ms_max: u64,
    /// Milliseconds in which one side takes nothing of what waits for it, until both are reset. Default 60,000.
    pub stall_ms_max: u64,
}

impl GatewayOptions {
    /// A gateway with ordinary times.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        Self { targets, encrypts: false, idle_ms_max: IDLE_MS_DEFAULT, stall_ms_max: STALL_MS_DEFAULT }
    }
}

/// The built-in handler `gateway`.
///
/// # Errors
/// A sentence when there are no targets, or too many.
pub fn gateway(options: GatewayOptions) -> Result<HandlerFactory, String> {
    if options.targets.is_empty() || options.targets.len() > TARGETS_MAX {
        return Err(format!("a gateway has 1 to {TARGETS_MAX} targets, not {}", options.targets.len()));
    }
    let options = Arc::new(options);
    Ok(Arc::new(move |_worker| {
        Ok(Rc::new(Gateway { options: RefCell::new(Arc::clone(&options)), next: Cell::new(0) })
            as Rc<dyn Handler>)
    }))
}

/// The names of its settings.
pub(crate) const SETTINGS: &[&str] = &["targets", "tls", "connect_ms", "idle_ms", "stall_ms"];

/// The built-in handler of settings as text: `targets` (places with commas between them), `tls`, `connect_ms`, `idle_ms`,
/// `stall_ms`.
///
/// # Errors
/// [`BuiltinError::Value`].
pub(crate) fn from_settings(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let wrong = |wanted: String| BuiltinError::Value { name: "targets".into(), wanted: wanted.into() };
    let connect_ms_max = settings.number("connect_ms", CONNECT_MS_DEFAULT, 1..=TIME_MS_MAX)?;
    let mut targets = Vec::new();
    for text in list(settings.text("targets").unwrap_or_default()) {
        let origin =
            text.parse::<Origin>().map_err(|error| wrong(format!("places to connect to: {error}")))?;
        targets.push(Target { connect_ms_max, ..Target::new(origin) });
    }
    let options = GatewayOptions {
        targets,
        encrypts: settings.flag("tls", false)?,
        idle_ms_max: settings.number("idle_ms", IDLE_MS_DEFAULT, 1..=TIME_MS_MAX)?,
        stall_ms_max: settings.number("stall_ms", STALL_MS_DEFAULT, 1..=TIME_MS_MAX)?,
    };
    gateway(options).map_err(|error| wrong(format!("places to connect to: {error}")))
}

struct Gateway {
    /// With the endpoint's TLS in the targets, once that is known.
    options: RefCell<Arc<GatewayOptions>>,
    /// The target that the next connection begins with.
    next: Cell<usize>,
}

impl Handler for Gateway {
    fn started(&self, connector: &Connector) {
        let options = &mut *self.options.borrow_mut();
        if options.encrypts {
            let tls = connector.client_tls();
            // Better no connection than one that is not encrypted.
            let none = || ClientTls {
                filter: Arc::new(|_| Err(io::Error::other("no settings of TLS for connections outward"))),
                server_name: None,
            };
            let tls = tls.unwrap_or_else(none);
            let targets = &mut Arc::make_mut(options).targets;
            targets.iter_mut().for_each(|target| {
                target.tls.get_or_insert_with(|| tls.clone());
            });
        }
    }

    fn opened(&self, conn: &mut Connection<'_>) {
        let options = Arc::clone(&self.options.borrow());
        let first = self.next.get();
        self.next.set((first + 1) % options.targets.len());
        let door = conn.door();
        let counters = conn.counters();
        conn.hand_to_task(|client| async move { pass_on(client, door, options, first, counters).await });
    }

    fn message(&self, conn: &mut Connection<'_>, _message: Message<'_>) {
        // Its task has every connection from its first turn on.
        conn.abort();
    }
}

/// The life of a connection; why it has ended.
async fn pass_on(
    client: Stream,
    door: DoorKey,
    options: Arc<GatewayOptions>,
    first: usize,
    counters: Arc<WorkerCounters>,
) -> Reason {
    let worker = client.worker();
    let count = options.targets.len();
    let mut server = None;
    for place in 0..count {
        let target = &options.targets[(first + place) % count];
        match reach_target(&worker, door, target).await {
            Ok(stream) => {
                server = Some(stream);
                break;
            }
            Err(_next) => counters.faults.add(1),
        }
    }
    let Some(server) = server else { return Reason::Unreachable };
    let active_ms = client.now_ms();
    let (up, down) = (Way::default(), Way::default());
    let mut relay = Relay { client, server, up, down, active_ms, timer: None, worker, options, counters };
    let reason = poll_fn(|context| relay.poll(context)).await;
    if reason.is_error() {
        // Who waits behind must not take what it has for all there was.
        relay.server.abort();
    }
    reason
}

/// A connection to a target, which this task owns.
async fn reach_target(worker: &WorkerHandle, door: DoorKey, target: &Target) -> io::Result<Stream> {
    let until_ms = worker.now_ms().saturating_add(target.connect_ms_max);
    let filter = target.filter()?;
    let is_encrypted = filter.is_some();
    let socket = reach::socket(worker, target, until_ms).await?;
    let mut stream = worker.hold_at(door, socket, filter)?;
    if is_encrypted {
        stream.set_deadline(until_ms);
        stream.handshake().await?;
        stream.clear_deadline();
    }
    Ok(stream)
}

/// Both directions of a connection.
struct Relay {
    client: Stream,
    server: Stream,
    /// What the client sends.
    up: Way,
    /// What the server sends.
    down: Way,
    /// When something was passed on last, either way.
    active_ms: u64,
    timer: Option<Sleep>,
    worker: WorkerHandle,
    options: Arc<GatewayOptions>,
    counters: Arc<WorkerCounters>,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Its end was passed on, or nobody is there who takes anything.
    is_done: bool,
    /// How far sending had come when that was last seen to move, and when.
    progress: Option<(SendProgress, u64)>,
}

/// What came of a look at one direction.
enum Passed {
    /// All there was, or all there is room for.
    Enough,
    /// There may be more: others first.
    More,
    /// Who sends broke.
    SourceBroke,
    /// Who receives broke.
    SinkBroke,
}

impl Relay {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        if let Some(reason) = self.look_at_the_clock(context) {
            return Poll::Ready(reason);
        }
        let Self { client, server, up, down, active_ms, counters, .. } = self;
        let came = pass(client, server, up, context, active_ms, &counters.bytes_in);
        let went = pass(server, client, down, context, active_ms, &counters.bytes_out);
        match (&came, &went) {
            // The client is gone, or the server broke: the other side must not take what it has for all there was.
            (Passed::SourceBroke, _) | (_, Passed::SinkBroke | Passed::SourceBroke) => {
                return Poll::Ready(Reason::Broken);
            }
            // The server takes nothing more; what it has said still goes to the client.
            (Passed::SinkBroke, _) => up.is_done = true,
            _ => {}
        }
        if matches!(came, Passed::More) || matches!(went, Passed::More) {
            context.waker().wake_by_ref();
        }
        if !(up.is_done && down.is_done) {
            return Poll::Pending;
        }
        // Dropped before all is sent, the server's connection would be reset.
        match server.poll_flush(context) {
            Poll::Ready(_flushed_or_gone) => Poll::Ready(Reason::Peer),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Why it is over, if the time says so; sees to it that this is asked again.
    fn look_at_the_clock(&mut self, context: &mut Context<'_>) -> Option<Reason> {
        let GatewayOptions { idle_ms_max, stall_ms_max, .. } = *self.options;
        loop {
            let now_ms = self.worker.now_ms();
            let idle_at_ms = self.active_ms.saturating_add(idle_ms_max.max(1));
            let timer = self.timer.get_or_insert_with(|| {
                let look_at_ms = now_ms.saturating_add((stall_ms_max / 2).max(1));
                self.worker.sleep_until(idle_at_ms.min(look_at_ms))
            });
            if Pin::new(timer).poll(context).is_pending() {
                return None;
            }
            self.timer = None;
            let ways = [(&mut self.up, &self.server), (&mut self.down, &self.client)];
            if ways.into_iter().any(|(way, sink)| way.is_stalled(sink, now_ms, stall_ms_max)) {
                self.counters.timeouts.add(1);
                return Some(Reason::Stalled);
            }
            let is_waiting = self.up.progress.is_some() || self.down.progress.is_some();
            if now_ms >= idle_at_ms && !is_waiting {
                self.counters.timeouts.add(1);
                return Some(Reason::Idle);
            }
            if now_ms >= idle_at_ms {
                // Who takes what is sent, slowly, is not idle.
                self.active_ms = now_ms;
            }
        }
    }
}

impl Way {
    /// Whether what waits for `sink` has not moved for too long.
    fn is_stalled(&mut self, sink: &Stream, now_ms: u64, stall_ms_max: u64) -> bool {
        if sink.queued_bytes() == 0 {
            self.progress = None;
            return false;
        }
        let now = sink.send_progress();
        match self.progress {
            Some((before, at_ms)) if !now.has_moved(before, 1) => {
                now_ms.saturating_sub(at_ms) >= stall_ms_max
            }
            _ => {
                self.progress = Some((now, now_ms));
                false
            }
        }
    }
}

/// Passes on what has come, as far as there is room.
fn pass(
    source: &Stream,
    sink: &mut Stream,
    way: &mut Way,
    context: &mut Context<'_>,
    active_ms: &mut u64,
    counted: &Counter,
) -> Passed {
    for _ in 0..PIECES_MAX {
        if way.is_done {
            return Passed::Enough;
        }
        match sink.poll_queued(context, QUEUED_BYTES_MAX) {
            Poll::Pending => return Passed::Enough,
            Poll::Ready(Err(_gone)) => return Passed::SinkBroke,
            Poll::Ready(Ok(())) => {}
        }
        match source.poll_read(context) {
            Poll::Pending => return Passed::Enough,
            Poll::Ready(Err(_gone)) => return Passed::SourceBroke,
            Poll::Ready(Ok(Some(piece))) => {
                *active_ms = source.now_ms();
                counted.add(piece.len() as u64);
                sink.send(piece);
            }
            Poll::Ready(Ok(None)) => {
                sink.shutdown_write();
                way.is_done = true;
            }
        }
    }
    Passed::More
}
