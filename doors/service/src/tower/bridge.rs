//! The bridge: a service of tower as a handler of the web door.

use super::body::Body;
use super::call::{Call, Content, Outcome, Slot};
use super::inlet::{self, Arrived, Inlet};
use super::notes::Notes;
use super::outlet::Outlet;
use super::request::Heads;
use super::trouble::Trouble;
use super::{BoxError, Facts, Settings};
use crate::background::{self, Background};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::header::{HeaderMap, HeaderName};
use http::response::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use ringway_engine::WorkerHandle;
use ringway_engine::heap::local_future;
use ringway_http::method::Method;
use ringway_http::response::{EncodeError, HeadWriter};
use ringway_http::status::Status;
use ringway_web::answer::{Plan, PlanBody};
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled, Handler, Reply, Source};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// Room that the server's own field lines need besides a service's, in bytes.
const OWN_LINES_BYTES: usize = 768;

/// Places for futures that are kept for later calls, while several are under way.
const SLOTS_KEPT_MAX: usize = 8;

/// What the calls of one service on one worker share.
pub(super) struct Side<S: Service<Request<Body>>> {
    pub(super) background: Background,
    worker: WorkerHandle,
    notes: Rc<Notes>,
    heads: RefCell<Heads>,
    /// Field lines of the answer that is being written.
    lines: RefCell<Vec<u8>>,
    slots: RefCell<Vec<Slot<S::Future>>>,
}

impl<S: Service<Request<Body>>> Side<S> {
    pub(super) fn take_slot(&self) -> Slot<S::Future> {
        self.slots.borrow_mut().pop().unwrap_or_else(|| Box::pin(None))
    }

    /// Keeps an empty one.
    pub(super) fn put_slot(&self, slot: Slot<S::Future>) {
        let slots = &mut *self.slots.borrow_mut();
        if slots.len() < SLOTS_KEPT_MAX {
            slots.push(slot);
        }
    }
}

/// A service on one worker.
pub(super) struct Bridge<S: Service<Request<Body>>> {
    service: S,
    /// The path that it is mounted at and does not see, without a slash at its end.
    prefix: Box<str>,
    settings: Settings,
    side: Rc<Side<S>>,
}

impl<S, B> Bridge<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        service: S,
        prefix: &str,
        settings: Settings,
        worker: WorkerHandle,
        notes: Rc<Notes>,
    ) -> io::Result<Self> {
        let side = Side {
            background: background::handle()?,
            worker,
            notes,
            heads: RefCell::default(),
            lines: RefCell::default(),
            slots: RefCell::default(),
        };
        let prefix = prefix.trim_end_matches('/').into();
        Ok(Self { service, prefix, settings, side: Rc::new(side) })
    }

    fn call(&self, exchange: &mut Exchange<'_>) -> Result<Call<S, B>, Status> {
        if let Some(bytes_max) = self.settings.body_bytes_max {
            exchange.set_body_limit(bytes_max);
        }
        let (body, inlet) = match inlet::take(exchange) {
            Arrived::Whole(body) => (body, None),
            Arrived::Part(body, inlet) => (body, Some(inlet)),
            Arrived::Bad(error) => return Err(error.status()),
        };
        let mut request = self.side.heads.borrow_mut().make(exchange, &self.prefix)?.map(|()| body);
        #[cfg(feature = "axum")]
        super::websocket::note(exchange, request.extensions_mut());
        if let Some(extend) = &self.settings.extend {
            extend(&mut Facts { exchange }, request.extensions_mut());
        }
        // What a service has done is not undone by asking it again, and it costs too much to be done for nobody.
        exchange.ask_once();
        exchange.needs_client();
        let has_body = exchange.request.method() != Method::Head;
        Ok(Call::new(Rc::clone(&self.side), self.service.clone(), request, inlet, has_body))
    }
}

impl<S, B> Handler for Bridge<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let mut call = match self.call(exchange) {
            Ok(call) => call,
            Err(status) => {
                self.side.notes.answered(status.code());
                return exchange.error(status).map(Handled::Answer);
            }
        };
        // Nobody needs to be woken: one that is pending is polled again by its task, with that one's waker.
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = call.poll_outcome(&mut context) {
            let inlet = call.take_inlet();
            drop(call);
            return give(&self.side, exchange, outcome, inlet);
        }
        let side = Rc::clone(&self.side);
        let active = side.notes.enter();
        let ms_max = self.settings.answer_ms_max;
        let mut sleep = side.worker.sleep_until(exchange.moment.ms.saturating_add(ms_max));
        Ok(Handled::Later(local_future(async move {
            let outcome = poll_fn(|context| match call.poll_outcome(context) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => {
                    Pin::new(&mut sleep).poll(context).map(|()| Outcome::Failed(Trouble::Late(ms_max)))
                }
            })
            .await;
            let inlet = call.take_inlet();
            drop(call);
            drop(active);
            finish(side, outcome, inlet)
        })))
    }
}

fn finish<S, B>(side: Rc<Side<S>>, outcome: Outcome<B>, inlet: Option<Inlet>) -> Finish
where
    S: Service<Request<Body>> + 'static,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |exchange: &mut Exchange<'_>| give(&side, exchange, outcome, inlet))
}

/// Answers the client.
fn give<S, B>(
    side: &Rc<Side<S>>,
    exchange: &mut Exchange<'_>,
    outcome: Outcome<B>,
    inlet: Option<Inlet>,
) -> Result<Handled, EncodeError>
where
    S: Service<Request<Body>> + 'static,
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    // A body that is none is refused whatever the answer would have been.
    if let Some(error) = inlet.as_ref().and_then(Inlet::error) {
        side.notes.answered(error.status().code());
        return exchange.error(error.status()).map(Handled::Answer);
    }
    let (parts, content) = match outcome {
        Outcome::Answer(parts, content) => (parts, content),
        Outcome::Failed(trouble) => return fail(side, exchange, &trouble),
    };
    let code = parts.status.as_u16();
    #[cfg(feature = "axum")]
    if let Some(reply) = switch(&parts, exchange, side) {
        side.notes.answered(code);
        return reply.map(Handled::Answer);
    }
    let Some(status) = Status::new(code).filter(|_| code >= 200) else {
        return fail(side, exchange, &Trouble::Status(code));
    };
    let mut lines = side.lines.take();
    write_lines(&parts.headers, &mut lines);
    let is_tight = lines.len() + OWN_LINES_BYTES > exchange.memory.len();
    if is_tight && exchange.lacks_memory(lines.len()) {
        side.lines.replace(lines);
        let finish = finish(Rc::clone(side), Outcome::Answer(parts, content), inlet);
        return Ok(Handled::Later(local_future(ready(finish))));
    }
    side.notes.answered(code);
    let reply = match content {
        Content::Absent(length) => absent(exchange, status, &lines, length),
        Content::Whole(bytes) => exchange.text(status, &lines, bytes.into()),
        Content::Coming(ahead, body, length) => {
            let outlet = Outlet {
                ahead,
                body,
                inlet,
                is_endless: is_event_stream(&parts),
                background: side.background.clone(),
                worker: side.worker.clone(),
                notes: Rc::clone(&side.notes),
                active: side.notes.enter(),
            };
            exchange.stream_with(status, &lines, length, outlet)
        }
    };
    side.lines.replace(lines);
    side.heads.borrow_mut().put_fields(parts.headers);
    reply.map(Handled::Answer)
}

/// The answer of whoever has asked for the connection, or was refused it.
#[cfg(feature = "axum")]
fn switch<S: Service<Request<Body>>>(
    parts: &Parts,
    exchange: &mut Exchange<'_>,
    side: &Side<S>,
) -> Option<Result<Reply, EncodeError>> {
    if parts.extensions.is_empty() || parts.status.is_success() {
        return None;
    }
    let reply = super::websocket::decide(&parts.extensions, exchange, &side.worker, &side.notes)?;
    // What the application adds to such an answer is added, too.
    let added = parts.headers.iter().filter(|(name, _)| !is_our_own(name));
    for (name, value) in added {
        if let Err(error) = exchange.add_field(name.as_str().as_bytes(), value.as_bytes()) {
            return Some(Err(error));
        }
    }
    Some(reply)
}

fn fail<S: Service<Request<Body>>>(
    side: &Side<S>,
    exchange: &mut Exchange<'_>,
    trouble: &Trouble,
) -> Result<Handled, EncodeError> {
    side.notes.trouble(trouble);
    exchange.error(trouble.status()).map(Handled::Answer)
}

/// An answer without a body, which may say how long it would be.
fn absent(
    exchange: &mut Exchange<'_>,
    status: Status,
    lines: &[u8],
    length: Option<u64>,
) -> Result<Reply, EncodeError> {
    let mut head = HeadWriter::new(exchange.memory);
    head.status(status)?;
    head.raw(exchange.common.fields)?;
    head.raw(lines)?;
    if let Some(length) = length {
        head.content_length(length)?;
    }
    let plan = Plan { status, head_len: head.finish()?, body: PlanBody::Empty, body_len: 0 };
    Ok(Reply { plan, source: Source::None })
}

/// The field lines of an answer, but for those that are the connection's or the server's own.
fn write_lines(fields: &HeaderMap, lines: &mut Vec<u8>) {
    lines.clear();
    // Names and values hold no byte that could end a line: their types see to that.
    for (name, value) in fields {
        if !is_our_own(name) {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
    }
}

fn is_our_own(name: &HeaderName) -> bool {
    const OWN: [HeaderName; 8] =
        [CONNECTION, CONTENT_LENGTH, DATE, SERVER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    OWN.contains(name) || name.as_str() == "keep-alive" || name.as_str() == "proxy-connection"
}

fn is_event_stream(parts: &Parts) -> bool {
    let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    content_type.is_some_and(|text| text.starts_with(b"text/event-stream"))
}

impl<S: Service<Request<Body>>> fmt::Debug for Bridge<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
