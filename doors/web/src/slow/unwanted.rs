//! Requests whose bodies nobody has a use for: they are discarded before anybody is asked.

use super::{WAITS_MAX, Waiting, persistence_behind_stream, send_body};
use crate::clock::Persistence;
use crate::exchange::Course;
use crate::execution::{Answered, Asked, Shared};
use crate::limits::deadline;
use crate::output::Output;
use crate::timing::Timing;
use ringway_engine::{Stream, Turn};
use ringway_http::body::{BodyDecoder, Step};
use ringway_http::head::Request;
use ringway_http::status::Status;
use std::io;
use std::ops::ControlFlow;

/// Reads the body, and goes on with the request until its answer is out.
pub(super) async fn go_on(
    shared: &Shared,
    stream: &mut Stream,
    mut output: Output,
    mut asked: Asked<'_>,
    mut waiting: Waiting,
    requests: u32,
    is_last: bool,
) -> (Turn, Persistence) {
    let request = asked.request;
    if request.expects_continue() && !request.body().is_empty() {
        match refuse_unseen(shared, stream, &mut output, &asked) {
            ControlFlow::Break(turn) => return (turn, asked.kept),
            ControlFlow::Continue(still) => waiting = still,
        }
    }
    if let Waiting::Body(streamed, course) = waiting {
        let timing = Timing::default();
        let turn = send_body(shared, stream, None, &asked, &course, streamed, &timing).await;
        return (turn, asked.kept);
    }
    if !request.body().is_empty() {
        stream.set_deadline(deadline(stream.now_ms(), shared.limits.body_ms_max));
        if let Err(status) = discard_body(shared, stream, request).await {
            let Some(status) = status else { return (Turn::Close, asked.kept) };
            if shared.refuse(stream, &mut output, status, Some(&asked)).is_err() {
                return (Turn::Abort, asked.kept);
            }
            // What little there is to send must not wait for ever for a client that does not read.
            stream.set_deadline(deadline(stream.now_ms(), shared.limits.send_window_ms));
            return (Turn::Linger, asked.kept);
        }
    }
    stream.clear_deadline();
    // The server may have begun to drain, and time has passed.
    asked.kept = shared.persistence(request, requests, is_last || stream.is_draining());
    shared.clock.borrow_mut().advance(stream.now_ms());
    answer(shared, stream, &mut output, &asked, waiting).await
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
        Waiting::Request | Waiting::Body(..) => {
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
            Answered::Stream(streamed) => {
                let head = output.take();
                let kept = persistence_behind_stream(asked.request, streamed.extent, asked.kept);
                let timing = Timing::default();
                return (send_body(shared, stream, head, asked, &course, streamed, &timing).await, kept);
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
) -> ControlFlow<Turn, Waiting> {
    let mut course = Course::default();
    match shared.answer(stream, output, asked, &mut course, None) {
        Answered::Done => {
            output.flush(stream);
            ControlFlow::Break(Turn::Idle)
        }
        Answered::Close => ControlFlow::Break(Turn::Close),
        Answered::Abort => ControlFlow::Break(Turn::Abort),
        Answered::Stream(streamed) => {
            output.flush(stream);
            ControlFlow::Continue(Waiting::Body(streamed, course))
        }
        Answered::Later(later) => {
            if let Ok(interim) = stream.slice_of(b"HTTP/1.1 100 Continue\r\n\r\n") {
                stream.send(interim);
            }
            ControlFlow::Continue(Waiting::Answer(later, course))
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
