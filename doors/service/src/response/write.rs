//! From an answer as a handler describes it to one as the web door sends it.

use super::{Body, Kind, Response};
use crate::stats::{Active, WorkerStats};
use ringway_engine::heap::local_future;
use ringway_engine::ring::Slice;
use ringway_http::method::Method;
use ringway_http::response::{EncodeError, HeadWriter};
use ringway_http::status::Status;
use ringway_web::body_source::BodySource;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled, Plan, PlanBody, Reply, Source};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes of a head besides field lines: the status line, the length, the empty line.
const REST_BYTES: usize = 96;

/// Gives the answer to the exchange. `added` are lines from elsewhere than the handler. A head that has no room here waits for more,
/// so that the handler is not asked twice.
pub(crate) fn write(
    mut response: Response,
    exchange: &mut Exchange<'_>,
    stats: &Arc<WorkerStats>,
) -> Result<Handled, EncodeError> {
    if response.is_bad {
        response = Response::page(Status::INTERNAL_SERVER_ERROR);
    }
    let lines_bytes = response.lines.len();
    if lines_bytes + exchange.common.fields.len() + REST_BYTES > exchange.memory.len() {
        let stats = Arc::clone(stats);
        return Ok(with_more_memory(move |exchange| write(response, exchange, &stats)));
    }
    let Response { status, kind, mut lines, body, .. } = response;
    let (source, plan_body, len) = match body {
        Body::Empty => (Source::None, PlanBody::Empty, 0),
        Body::Static(bytes) => (Source::None, PlanBody::Static(bytes), bytes.len()),
        Body::Shared(bytes) => {
            let len = bytes.len();
            (Source::None, PlanBody::Shared(bytes), len)
        }
        Body::Bytes(bytes) => {
            let len = bytes.len();
            (Source::Bytes(bytes), PlanBody::Memory(0..len), len)
        }
        Body::Page => return exchange.error_with(status, &lines).map(Handled::Answer),
        Body::Stream(source, length) => {
            if let Kind::Line(line) = kind {
                lines.extend_from_slice(line.as_bytes());
            }
            let source = Streaming { source, _active: Active::new(stats) };
            return exchange.stream_with(status, &lines, length, source).map(Handled::Answer);
        }
        Body::File(place) => {
            add_fields(exchange, &lines)?;
            return place.answer(exchange);
        }
        // Waited for before this.
        Body::Later(_) | Body::Pass => return Ok(Handled::NotMine),
    };
    at_hand(exchange, status, kind, &lines, plan_body, source, len)
}

#[inline]
fn at_hand(
    exchange: &mut Exchange<'_>,
    status: Status,
    kind: Kind,
    lines: &[u8],
    body: PlanBody,
    source: Source,
    len: usize,
) -> Result<Handled, EncodeError> {
    let mut head = HeadWriter::new(exchange.memory);
    head.status(status)?;
    head.raw(exchange.common.fields)?;
    if !status.is_bodiless() {
        head.content_length(len as u64)?;
        if let Kind::Line(line) = kind {
            head.raw(line.as_bytes())?;
        }
    }
    head.raw(lines)?;
    let head_len = head.finish()?;
    let has_body = len > 0 && !status.is_bodiless() && exchange.request.method() != Method::Head;
    let reply = if has_body {
        Reply { plan: Plan { status, head_len, body, body_len: len as u64 }, source }
    } else {
        Plan { status, head_len, body: PlanBody::Empty, body_len: 0 }.into()
    };
    Ok(Handled::Answer(reply))
}

/// Goes on once there is more memory for the head.
fn with_more_memory(
    go_on: impl FnOnce(&mut Exchange<'_>) -> Result<Handled, EncodeError> + 'static,
) -> Handled {
    let finish: Finish = Box::new(move |exchange| {
        exchange.ask_once();
        // Lines are bounded below what the largest memory holds.
        if exchange.lacks_memory(super::LINES_BYTES_MAX) {
            return Ok(with_more_memory(go_on));
        }
        go_on(exchange)
    });
    Handled::Later(local_future(std::future::ready(finish)))
}

/// Adds lines, each with its CR LF, to whatever the answer will be.
pub(crate) fn add_fields(exchange: &mut Exchange<'_>, lines: &[u8]) -> Result<(), EncodeError> {
    let mut rest = lines;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..at];
        rest = &rest[at + 2..];
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            exchange.add_field(&line[..colon], line[colon + 1..].trim_ascii())?;
        }
    }
    Ok(())
}

/// A body in the making, and what counts it as under way.
struct Streaming {
    source: Box<dyn BodySource>,
    _active: Active,
}

impl BodySource for Streaming {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        self.source.poll_piece(context, memory)
    }

    fn gives_slices(&self) -> bool {
        self.source.gives_slices()
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        self.source.poll_slice(context)
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        self.source.go_on(context);
    }

    fn needs_reader(&self) -> bool {
        self.source.needs_reader()
    }

    fn is_endless(&self) -> bool {
        self.source.is_endless()
    }
}
