//! A hook as stages of a site: what it says is looked at before anything is done.

use super::Side;
use super::pledge::{Decided, Pledge};
use super::view::{Done, View};
use ringway_engine::heap::local_future;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_plugin::{Over, StageSaid};
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{
    AcceptedStage, AnswerStage, ClosedStage, Finish, Handled, Later, Reply, RequestStage, Served,
    ServedStage, Verdict,
};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

/// A hook on a worker.
#[derive(Clone, Debug)]
pub(crate) struct Ear(pub(crate) Rc<Side>);

impl AcceptedStage for Ear {
    fn accepted(&self, peer: Option<SocketAddr>) -> bool {
        let peer = peer.map(|peer| peer.to_string());
        match self.0.stage.accepted(peer.as_deref().map(str::as_bytes)) {
            StageSaid::Pass => true,
            StageSaid::Refuse => false,
            said => {
                self.0.fault(format_args!("of a connection its `accepted` says {said:?}; it is closed"));
                false
            }
        }
    }
}

impl RequestStage for Ear {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        let side = &self.0;
        if !side.covers(exchange.path) {
            return Ok(Verdict::Pass);
        }
        let view = View::new(side, exchange, None);
        let said = side.stage.request(&view);
        let (done, _nothing_to_remove) = view.into_done();
        match (said, done) {
            (StageSaid::Pass, Done::Nothing) => Ok(Verdict::Pass),
            (StageSaid::Refuse, Done::Nothing) => Ok(Verdict::Close),
            (StageSaid::Done, Done::Answered(written)) => written.send(exchange).map(verdict),
            (StageSaid::Later, Done::Promised(pledge)) => Ok(Verdict::Later(later(pledge))),
            (said, done) => {
                abort(done);
                side.fault(format_args!("of a request its `request` says {said:?}, which it has not done"));
                exchange.error(Status::INTERNAL_SERVER_ERROR).map(Verdict::Answer)
            }
        }
    }
}

impl AnswerStage for Ear {
    fn answer(&self, exchange: &mut Exchange<'_>, mut reply: Reply) -> Result<Handled, EncodeError> {
        let side = &self.0;
        if !side.covers(exchange.path) {
            return Ok(Handled::Answer(reply));
        }
        let head = (reply.plan.status.code(), reply.plan.head_len);
        let view = View::new(side, exchange, Some(head));
        let said = side.stage.answer(&view);
        let (done, removed) = view.into_done();
        match (said, done) {
            (StageSaid::Pass, Done::Nothing) => {
                reply.plan.head_len = removed.apply(exchange.memory, reply.plan.head_len)?;
                Ok(Handled::Answer(reply))
            }
            (StageSaid::Done, Done::Answered(written)) => written.send(exchange),
            (said, done) => {
                abort(done);
                side.fault(format_args!("of an answer its `answer` says {said:?}, which it has not done"));
                exchange.error(Status::INTERNAL_SERVER_ERROR).map(Handled::Answer)
            }
        }
    }
}

impl ServedStage for Ear {
    fn served(&self, served: &Served<'_>) {
        let peer = served.peer.map(|peer| peer.to_string());
        self.0.stage.served(&ringway_plugin::Served {
            status: served.status,
            body_bytes: served.body_bytes,
            duration_us: served.duration_us,
            method: served.request.map(|request| request.method().as_str().as_bytes()),
            target: served.request.map(|request| request.target()),
            peer: peer.as_deref().map(str::as_bytes),
            user: served.user.map(str::as_bytes),
            site: served.site.name.as_bytes(),
        });
    }

    fn wants_details(&self) -> bool {
        true
    }
}

impl ClosedStage for Ear {
    fn closed(&self, requests: u32) {
        self.0.stage.closed(requests);
    }
}

/// What was promised and then not waited for is over.
fn abort(done: Done) {
    if let Done::Promised(mut pledge) = done {
        pledge.settle(Over::Aborted);
    }
}

fn verdict(handled: Handled) -> Verdict {
    match handled {
        Handled::Answer(reply) => Verdict::Answer(reply),
        Handled::Later(later) => Verdict::Later(later),
        Handled::Close => Verdict::Close,
        Handled::NotMine | Handled::Rewritten => Verdict::Pass,
    }
}

/// Waits for a decision, as long as it may take.
fn later(pledge: Pledge) -> Later {
    local_future(async move {
        let mut patience = None;
        let decided = poll_fn(|context| {
            if let Poll::Ready(decided) = pledge.owed.poll(context) {
                return Poll::Ready(Some(decided));
            }
            let patience = patience.get_or_insert_with(|| {
                let side = &pledge.side;
                let until_ms = side.handle.now_ms().saturating_add(side.options.answer_ms_max);
                Box::pin(side.handle.sleep_until(until_ms))
            });
            patience.as_mut().poll(context).map(|()| None)
        })
        .await;
        let finish: Finish = Box::new(move |exchange| finish(pledge, decided, exchange));
        finish
    })
}

fn finish(
    mut pledge: Pledge,
    decided: Option<Decided>,
    exchange: &mut Exchange<'_>,
) -> Result<Handled, EncodeError> {
    let (over, status) = match decided {
        Some(Decided::Answer(written)) => {
            pledge.settle(Over::Answered);
            return written.send(exchange);
        }
        Some(Decided::Pass { user, fields }) => {
            pledge.settle(Over::Answered);
            if let Some(user) = user {
                exchange.set_user(Rc::from(user));
            }
            for (name, value) in &fields {
                if exchange.add_field(name, value).is_err() {
                    pledge.side.fault(format_args!("a request went on without its field: no room"));
                }
            }
            return Ok(Handled::NotMine);
        }
        Some(Decided::Aborted) => (Over::Aborted, Status::INTERNAL_SERVER_ERROR),
        None => {
            let ms = pledge.side.options.answer_ms_max;
            pledge.side.fault(format_args!("it has promised a decision and not given it within {ms} ms"));
            (Over::Late, Status::GATEWAY_TIMEOUT)
        }
    };
    pledge.settle(over);
    exchange.error(status).map(Handled::Answer)
}
