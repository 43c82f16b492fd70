//! Requests whose handlers may have the body: they are asked first, and what nobody takes is discarded before the answer.

use super::{WAITS_MAX, Waiting, persistence_behind_stream, send_body};
use crate::clock::Persistence;
#[cfg(feature = "guests")]
use crate::connection::State;
use crate::exchange::Course;
use crate::execution::{Answered, Asked, Shared};
#[cfg(feature = "guests")]
use crate::guest;
use crate::limits::deadline;
use crate::output::Output;
use crate::pipeline::{Finish, Later};
use crate::request_body::incoming::Incoming;
use crate::request_body::{BodyError, Carrier, Upload};
use crate::timing::Timing;
use ringway_engine::{Stream, Turn};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Goes on with a request until its answer is out, and its body out of the way of the next request.
pub(super) async fn go_on(
    shared: &Rc<Shared>,
    stream: &mut Stream,
    mut output: Output,
    mut asked: Asked<'_>,
    waiting: Waiting,
    requests: u32,
    is_last: bool,
) -> (Turn, Persistence) {
    stream.clear_deadline();
    let (mut answered, mut course) = match waiting {
        Waiting::Answer(later, course) => (Answered::Later(later), course),
        Waiting::Body(streamed, course) => (Answered::Stream(streamed), course),
        Waiting::Request => {
            // What it had arrived with was another turn.
            let upload = Upload::of(Carrier::Http1(Incoming::new(stream, asked.request, &shared.limits)));
            let mut course = Course { upload, ..Course::default() };
            (shared.answer(stream, &mut output, &asked, &mut course, None), course)
        }
    };
    for _ in 0..WAITS_MAX {
        let incoming = course.upload.bind(stream).cloned();
        answered = match answered {
            Answered::Later(later) => {
                let needs_client = course.upload.needs_client;
                let Some(finish) = wait(stream, later, needs_client).await else {
                    return (Turn::Abort, asked.kept);
                };
                shared.clock.borrow_mut().advance(stream.now_ms());
                // The server may have begun to drain, and behind a bad body nothing can be read.
                let has_failed = incoming.as_ref().is_some_and(|incoming| incoming.error().is_some());
                let is_last = is_last || has_failed || stream.is_draining();
                asked.kept = shared.persistence(asked.request, requests, is_last);
                shared.answer(stream, &mut output, &asked, &mut course, Some(finish))
            }
            Answered::Held(reply) => match discard(shared, stream, incoming.as_deref()).await {
                Ok(()) => shared.give(stream, &mut output, &asked, &course, reply),
                Err(BodyError::Gone) => return (Turn::Close, asked.kept),
                Err(error) => {
                    let turn = refuse(shared, stream, &mut output, &asked, error);
                    return (turn, Persistence::Close);
                }
            },
            Answered::Stream(streamed) => {
                note_answer(incoming.as_ref());
                let kept = persistence_behind_stream(asked.request, streamed.extent, asked.kept);
                let own = Timing::default();
                let timing = incoming.as_ref().map_or(&own, |incoming| &incoming.timing);
                let head = output.take();
                let turn = send_body(shared, stream, head, &asked, &course, streamed, timing).await;
                return settle(shared, stream, incoming, turn, kept).await;
            }
            Answered::Done => {
                note_answer(incoming.as_ref());
                output.flush(stream);
                return settle(shared, stream, incoming, Turn::Idle, asked.kept).await;
            }
            #[cfg(feature = "guests")]
            Answered::Guest(guest) => {
                let is_clean = incoming.is_none_or(|incoming| incoming.is_done());
                if !is_clean {
                    // What is left of a body would be taken for the guest's input.
                    return (Turn::Abort, asked.kept);
                }
                let state = State::unpack(stream.context());
                let state = guest::seat(shared, &asked, &mut course, stream, guest, state);
                stream.clear_deadline();
                stream.set_context(state.pack());
                output.flush(stream);
                return (Turn::Idle, Persistence::Keep);
            }
            Answered::Close => return (Turn::Close, asked.kept),
            Answered::Abort => return (Turn::Abort, asked.kept),
        };
    }
    (Turn::Abort, asked.kept)
}

/// What an answer waits for; `None` when there is nobody left to be answered.
async fn wait(stream: &mut Stream, mut later: Later, needs_client: bool) -> Option<Finish> {
    poll_fn(|context| {
        if let Poll::Ready(finish) = later.as_mut().poll(context) {
            return Poll::Ready(Some(finish));
        }
        if needs_client && stream.is_ended() {
            return Poll::Ready(None);
        }
        match pin!(stream.flush()).poll(context) {
            // Time is a matter of whoever reads the body.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::TimedOut => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await
}

async fn discard(shared: &Shared, stream: &mut Stream, incoming: Option<&Incoming>) -> Result<(), BodyError> {
    let Some(incoming) = incoming else { return Ok(()) };
    let discarded = incoming.discard(&shared.limits).await;
    incoming.timing.clear(stream);
    shared.clock.borrow_mut().advance(stream.now_ms());
    discarded
}

/// Answers a body that is none; the connection's last answer.
fn refuse(
    shared: &Shared,
    stream: &mut Stream,
    output: &mut Output,
    asked: &Asked<'_>,
    error: BodyError,
) -> Turn {
    if shared.refuse(stream, output, error.status(), Some(asked)).is_err() {
        return Turn::Abort;
    }
    // What little there is to send must not wait for ever for a client that does not read.
    stream.set_deadline(deadline(stream.now_ms(), shared.limits.send_window_ms));
    Turn::Linger
}

fn note_answer(incoming: Option<&Rc<Incoming>>) {
    if let Some(incoming) = incoming {
        incoming.note_answer();
    }
}

/// The answer is out, or on its way: what is left of the body must not be taken for the next request.
async fn settle(
    shared: &Shared,
    stream: &mut Stream,
    incoming: Option<Rc<Incoming>>,
    turn: Turn,
    kept: Persistence,
) -> (Turn, Persistence) {
    let Some(incoming) = incoming else { return (turn, kept) };
    let goes_on = matches!(turn, Turn::Idle) && kept != Persistence::Close;
    let is_whole = incoming.is_done()
        || goes_on && incoming.error().is_none() && incoming.discard(&shared.limits).await.is_ok();
    incoming.timing.clear(stream);
    incoming.close();
    (turn, if is_whole { kept } else { Persistence::Close })
}
