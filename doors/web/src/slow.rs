//! Requests that must wait: for their body, for a disk. A task holds the connection until the answer is out.

use crate::body_source::{self, BodySource, Broken};
use crate::clock::Persistence;
use crate::connection::Ending;
use crate::exchange::Course;
use crate::execution::{Answered, Asked, Shared};
use crate::limits::deadline;
use crate::output::Output;
use crate::pipeline::Later;
use crate::protocol::name_of;
use ringway_engine::ring::Slice;
use ringway_engine::{Stream, Turn};
use ringway_http::body::{BodyDecoder, Step};
use ringway_http::head::{Request, Version};
use ringway_http::status::Status;
use std::io;
use std::rc::Rc;
use std::time::Instant;

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
}

/// What a request waits for.
pub(crate) enum Waiting {
    /// The rest of itself.
    Request,
    /// Something without which there is no answer, and where it stands.
    Answer(Later, Course),
    /// Its head is on its way, and this follows.
    Body(Box<dyn BodySource>),
}

/// Reads the body, answers, and gives the connection back: its next turn sees to it that the answer is sent, and ends the
/// connection if it was the last one.
pub(crate) async fn serve(shared: Rc<Shared>, mut stream: Stream, pending: Pending) -> Turn {
    let Pending { head, mut waiting, kept, ending, requests } = pending;
    let started = shared.stopwatch(Instant::now);
    let Ok(request) = Request::parse(&head, &shared.limits.head) else { return Turn::Abort };
    let mut asked = Asked { request: &request, kept, started, protocol: name_of(request.version()) };
    let _active = shared.enter(&request);
    let mut output = Output::new(stream.pool(), 0);
    if request.expects_continue() && !request.body().is_empty() {
        match refuse_unseen(&shared, &mut stream, &mut output, &asked) {
            Ok(turn) => return turn,
            Err(still) => waiting = still,
        }
    }
    if let Waiting::Body(body) = waiting {
        let turn = send_body(&shared, &mut stream, &request, body).await;
        return behind_answer(turn, kept, ending);
    }
    if !request.body().is_empty() {
        stream.set_deadline(deadline(stream.now_ms(), shared.limits.body_ms_max));
        if let Err(status) = discard_body(&shared, &mut stream, &request).await {
            let Some(status) = status else { return Turn::Close };
            if shared.refuse(&mut stream, &mut output, status, Some(&asked)).is_err() {
                return Turn::Abort;
            }
            // What little there is to send must not wait for ever for a client that does not read.
            stream.set_deadline(deadline(stream.now_ms(), shared.limits.send_window_ms));
            return Turn::Linger;
        }
    }
    stream.clear_deadline();
    // The server may have begun to drain, and time has passed.
    asked.kept = shared.persistence(&request, requests, ending != Ending::No || stream.is_draining());
    shared.clock.borrow_mut().advance(stream.now_ms());
    let (turn, kept) = answer(&shared, &mut stream, &mut output, &asked, waiting).await;
    behind_answer(turn, kept, ending)
}

fn behind_answer(turn: Turn, kept: Persistence, ending: Ending) -> Turn {
    match turn {
        // That the answer was the last one is news to the connection's state.
        Turn::Idle if kept == Persistence::Close && ending == Ending::No => Turn::Linger,
        turn => turn,
    }
}

/// What becomes of a connection behind a body of unknown length: HTTP/1.0 sees its end in the connection's.
pub(crate) fn persistence_behind_stream(request: &Request<'_>, kept: Persistence) -> Persistence {
    if request.version() == Version::Http10 { Persistence::Close } else { kept }
}

/// Sends the body of an answer whose head is on its way.
async fn send_body(
    shared: &Shared,
    stream: &mut Stream,
    request: &Request<'_>,
    mut body: Box<dyn BodySource>,
) -> Turn {
    let is_chunked = request.version() != Version::Http10;
    match body_source::pour(shared, stream, &mut *body, is_chunked).await {
        Ok(body_bytes) => {
            shared.count_body(request, body_bytes);
            Turn::Idle
        }
        Err(Broken) => Turn::Abort,
    }
}

async fn answer(
    shared: &Shared,
    stream: &mut Stream,
    output: &mut Output,
    asked: &Asked<'_>,
    waiting: Waiting,
) -> (Turn, Persistence) {
    let (mut answered, mut course) = match waiting {
        Waiting::Answer(later, course) => (Answered::Later(later), course),
        Waiting::Request | Waiting::Body(_) => {
            let mut course = Course::default();
            (shared.answer(stream, output, asked, &mut course, None), course)
        }
    };
    for _ in 0..WAITS_MAX {
        answered = match answered {
            Answered::Later(later) => {
                let finish = later.await;
                shared.clock.borrow_mut().advance(stream.now_ms());
                shared.answer(stream, output, asked, &mut course, Some(finish))
            }
            Answered::Stream(body) => {
                output.flush(stream);
                let kept = persistence_behind_stream(asked.request, asked.kept);
                return (send_body(shared, stream, asked.request, body).await, kept);
            }
            Answered::Done => {
                output.flush(stream);
                return (Turn::Idle, asked.kept);
            }
            Answered::Close => return (Turn::Close, asked.kept),
            Answered::Abort => return (Turn::Abort, asked.kept),
        };
    }
    (Turn::Abort, asked.kept)
}

/// A client that waits for "100 Continue" is told the outcome instead, and its body is never read: files want none. Where it
/// takes a disk to know the outcome, the body may come meanwhile.
fn refuse_unseen(
    shared: &Shared,
    stream: &mut Stream,
    output: &mut Output,
    asked: &Asked<'_>,
) -> Result<Turn, Waiting> {
    let mut course = Course::default();
    match shared.answer(stream, output, asked, &mut course, None) {
        Answered::Done => {
            output.flush(stream);
            Ok(Turn::Idle)
        }
        Answered::Close => Ok(Turn::Close),
        Answered::Abort => Ok(Turn::Abort),
        Answered::Stream(body) => {
            output.flush(stream);
            Err(Waiting::Body(body))
        }
        Answered::Later(later) => {
            if let Ok(interim) = stream.slice_of(b"HTTP/1.1 100 Continue\r\n\r\n") {
                stream.send(interim);
            }
            Err(Waiting::Answer(later, course))
        }
    }
}

/// Reads a body to its end and drops it. The status to refuse with on an error; none when the connection is gone.
async fn discard_body(
    shared: &Shared,
    stream: &mut Stream,
    request: &Request<'_>,
) -> Result<(), Option<Status>> {
    let mut decoder =
        BodyDecoder::new(request.body(), shared.limits.body).map_err(|refusal| Some(refusal.status()))?;
    let mut kept_bytes = 0;
    loop {
        let mut input = match stream.read_beyond(kept_bytes).await {
            Ok(Some(input)) => input,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Some(Status::REQUEST_TIMEOUT));
            }
            Ok(None) | Err(_) => return Err(None),
        };
        loop {
            let step = decoder.decode(&input).map_err(|refusal| Some(refusal.status()))?;
            input.advance(step.consumed());
            match step {
                Step::Done { .. } => {
                    stream.unread(input);
                    return Ok(());
                }
                Step::NeedMore { .. } => break,
                Step::Data { .. } | Step::Trailer { .. } => {}
            }
        }
        // Part of a trailer line is read again with what follows.
        kept_bytes = input.len();
        stream.unread(input);
    }
}
