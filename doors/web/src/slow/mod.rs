//! Requests that must wait: for their body, for a disk, for others. A task holds the connection until the answer is out.

#[cfg(feature = "bodies")]
mod given;
#[cfg(not(feature = "bodies"))]
mod unwanted;

use crate::body_source::{Extent, Pouring, Streamed};
use crate::clock::Persistence;
use crate::connection::Ending;
use crate::exchange::Course;
use crate::execution::{Asked, Shared};
use crate::output::Output;
use crate::pipeline::Later;
use crate::protocol::name_of;
use crate::timing::Timing;
#[cfg(feature = "bodies")]
use given::go_on;
use ringway_engine::ring::Slice;
use ringway_engine::{Stream, Turn};
use ringway_http::head::{Request, Version};
use std::rc::Rc;
use std::time::Instant;
#[cfg(not(feature = "bodies"))]
use unwanted::go_on;

/// How often one request may wait for something before it is given up.
const WAITS_MAX: usize = 24;

/// A request to go on with.
pub(crate) struct Pending {
    pub(crate) head: Slice,
    pub(crate) waiting: Waiting,
    pub(crate) kept: Persistence,
    /// What the connection's state says follows the answer.
    pub(crate) ending: Ending,
    pub(crate) requests: u32,
    /// When it arrived, if anybody wants to know.
    pub(crate) started: Option<Instant>,
}

/// What a request waits for.
pub(crate) enum Waiting {
    /// The rest of itself.
    Request,
    /// Something without which there is no answer, and where it stands.
    Answer(Later, Course),
    /// Its head is on its way, and this follows.
    Body(Streamed, Course),
}

/// Answers, and gives the connection back: its next turn sees to it that the answer is sent, and ends the connection if it was
/// the last one.
pub(crate) async fn serve(shared: Rc<Shared>, mut stream: Stream, pending: Pending) -> Turn {
    let Pending { head, waiting, kept, ending, requests, started } = pending;
    let Ok(request) = Request::parse(&head, &shared.limits.head) else { return Turn::Abort };
    let asked = Asked { request: &request, kept, started, protocol: name_of(request.version()) };
    let _active = shared.enter(&request);
    let output = Output::new(stream.pool(), 0);
    let is_last = ending != Ending::No;
    let (turn, kept) = go_on(&shared, &mut stream, output, asked, waiting, requests, is_last).await;
    match turn {
        // That the answer was the last one is news to the connection's state.
        Turn::Idle if kept == Persistence::Close && ending == Ending::No => Turn::Linger,
        turn => turn,
    }
}

/// What becomes of a connection behind a body that is made while it is sent: HTTP/1.0 sees the end of one of unknown length in
/// the connection's, and so does another protocol.
pub(crate) fn persistence_behind_stream(
    request: &Request<'_>,
    extent: Extent,
    kept: Persistence,
) -> Persistence {
    match extent {
        Extent::Unknown if request.version() == Version::Http10 => Persistence::Close,
        Extent::Raw => Persistence::Close,
        Extent::Unknown | Extent::Length(_) => kept,
    }
}

/// Sends the body of an answer behind its `head`, if that is not on its way yet, and tells of the answer.
async fn send_body(
    shared: &Shared,
    stream: &mut Stream,
    head: Option<Slice>,
    asked: &Asked<'_>,
    course: &Course,
    streamed: Streamed,
    timing: &Timing,
) -> Turn {
    let Streamed { mut source, extent, status, .. } = streamed;
    let knows_chunks = asked.request.version() != Version::Http10;
    let mut pouring = Pouring::new(shared, stream, timing, head, extent, knows_chunks);
    let poured = pouring.pour(&mut *source).await;
    let body_bytes = pouring.body_bytes;
    drop(source);
    shared.clock.borrow_mut().advance(stream.now_ms());
    shared.tell_served(Some(asked), course, stream, status, body_bytes);
    if poured.is_ok() { Turn::Idle } else { Turn::Abort }
}
