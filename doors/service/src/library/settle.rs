//! Waiting for an answer that was promised.

use super::flow::{Flow, Stuck};
use super::owed::Came;
use super::sessions::{self, Trouble};
use ringway_engine::heap::local_future;
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_plugin::Over;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled};
use ringway_web::request_body::BodyError;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What came of a promise.
enum Outcome {
    Came(Came),
    Late,
    Body(BodyError),
    Fault,
}

/// Answers when the promise is kept, or for it.
pub(crate) fn later(flow: Flow) -> Handled {
    Handled::Later(local_future(async move {
        let mut flow = flow;
        let outcome = poll_fn(|context| poll(&mut flow, context)).await;
        let kept = match flow.pledge.browser.take() {
            Some(browser) => sessions::keep(browser).await,
            None => Ok(None),
        };
        let side = Rc::clone(flow.pledge.side());
        let finish: Finish = Box::new(move |exchange| side.note(tell(flow, outcome, kept, exchange)));
        finish
    }))
}

/// Tells the browser of its session, and then answers.
fn tell(
    mut flow: Flow,
    outcome: Outcome,
    kept: Result<Option<String>, Trouble>,
    exchange: &mut Exchange<'_>,
) -> Result<Handled, EncodeError> {
    match kept {
        Ok(None) => {}
        Ok(Some(cookie)) => exchange.add_field(b"Set-Cookie", cookie.as_bytes())?,
        Err(trouble) => {
            flow.pledge.settle(Over::Aborted);
            let side = Rc::clone(flow.pledge.side());
            return side.troubled(exchange, trouble);
        }
    }
    finish(flow, outcome, exchange)
}

fn poll(flow: &mut Flow, context: &mut Context<'_>) -> Poll<Outcome> {
    match flow.pump(context) {
        Ok(()) => {}
        Err(Stuck::Body(error)) => return Poll::Ready(Outcome::Body(error)),
        Err(Stuck::Fault) => return Poll::Ready(Outcome::Fault),
    }
    if let Poll::Ready(came) = flow.pledge.owed.poll_came(context) {
        return Poll::Ready(Outcome::Came(came));
    }
    if flow.is_late(context) { Poll::Ready(Outcome::Late) } else { Poll::Pending }
}

fn finish(mut flow: Flow, outcome: Outcome, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
    // The library has done its work: it is not asked to do it again.
    exchange.ask_once();
    let (over, status) = match outcome {
        Outcome::Came(Came::Whole(written)) => {
            flow.pledge.settle(Over::Answered);
            return written.send(exchange);
        }
        Outcome::Came(Came::Begun(head)) => {
            if exchange.lacks_memory(head.lines.len()) {
                let outcome = Outcome::Came(Came::Begun(head));
                let side = Rc::clone(flow.pledge.side());
                let again: Finish = Box::new(move |exchange| side.note(finish(flow, outcome, exchange)));
                return Ok(Handled::Later(local_future(std::future::ready(again))));
            }
            flow.begun(head.length, exchange.request.method() != Method::Head);
            return exchange.stream_with(head.status, &head.lines, head.length, flow).map(Handled::Answer);
        }
        Outcome::Body(BodyError::Gone) => return Ok(Handled::Close),
        Outcome::Body(error) => (Over::Body, error.status()),
        Outcome::Came(Came::Aborted) | Outcome::Fault => (Over::Aborted, Status::INTERNAL_SERVER_ERROR),
        Outcome::Late => {
            let side = flow.pledge.side();
            let ms = side.shared.options.answer_ms_max;
            side.complain(format_args!("it has promised an answer and not given it within {ms} ms"));
            (Over::Late, Status::GATEWAY_TIMEOUT)
        }
    };
    flow.pledge.settle(over);
    exchange.error(status).map(Handled::Answer)
}
