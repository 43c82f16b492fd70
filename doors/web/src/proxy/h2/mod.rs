//! Backends that speak HTTP/2: a worker's requests share few connections, each with a stream of its own.

mod line;
mod post;
mod relayed;
mod timer;

use super::attempt::Head;
use super::job::{Job, Outcome};
use super::pump::{Pump, Stop};
use super::why::{Stage, Why};
use crate::upstream::{Fault, Flight, LeaseError, Tried, TryRules};
use line::Asked;
use post::Post;
use ringway_engine::WorkerHandle;
use ringway_engine::ring::Slice;
use ringway_h2::client::{Failure, Unsent};
use ringway_http::relay;
use ringway_http::reply::Reply;
use ringway_http::status::Status;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use timer::Timer;

pub(super) use relayed::Relayed;

/// Connections that one try at a backend is begun on: what one did not take because it was about to end goes to another.
const LINES_TRIED_MAX: u32 = 3;

/// Why a try at a backend gave no answer.
enum Trouble {
    /// The client's own fault, or it is gone.
    Client(Status),
    /// There is no connection; that was counted and logged.
    Unreached(LeaseError),
    /// It took too long for this.
    Late(&'static str),
    /// It failed, over a connection that had served others before.
    Failed(Failure, Option<ringway_h2::code::Fault>, bool),
    /// Its answer cannot be passed on, for this reason.
    Answer(Why),
    /// The request cannot be sent.
    Unsent(Unsent),
}

/// Tries backends until one answers, or none is left that may be tried.
pub(super) async fn run(mut job: Job, worker: &WorkerHandle) -> Outcome {
    let rules = job.upstream.group().tries();
    let mut tried = Tried::default();
    let mut latest = None;
    loop {
        let mut flight = match job.upstream.choose(&job.key, &mut tried).await {
            Ok(flight) => flight,
            Err(error) => {
                job.note(&error);
                return Outcome::Refuse(latest.unwrap_or(error.status()));
            }
        };
        let trouble = match attempt(&mut job, &mut flight, &rules, worker).await {
            Ok((head, arrived, asked)) => {
                flight.answered(head.status.code(), arrived);
                let pump = job.request.pump.filter(|pump| !pump.is_over());
                let relayed = Relayed::new(asked, flight, pump, rules, worker.clone());
                return Outcome::Shared(head, relayed);
            }
            Err(trouble) => trouble,
        };
        let status = trouble.status();
        let has_given = job.request.pump.as_ref().is_some_and(|pump| pump.has_given);
        let may_repeat = job.is_idempotent || trouble.is_unprocessed();
        let is_final = trouble.is_final();
        let is_late = worker.now_ms() >= job.request.until_ms;
        let is_last = is_final || is_late || has_given || !may_repeat || tried.count() >= rules.attempts;
        if let Trouble::Unreached(error) = &trouble
            && is_last
        {
            job.note(error);
        }
        trouble.tell(flight);
        if is_last {
            return Outcome::Refuse(status);
        }
        latest = Some(status);
    }
}

/// One try at a backend, over as many connections as it takes to have the request taken by one.
async fn attempt(
    job: &mut Job,
    flight: &mut Flight,
    rules: &TryRules,
    worker: &WorkerHandle,
) -> Result<(Head, Instant, Asked), Trouble> {
    let post = Post::of(job.upstream.group(), flight.place());
    let own_ms = if rules.try_timeout_ms == 0 { rules.read_timeout_ms } else { rules.try_timeout_ms };
    let mut lines_tried = 0;
    loop {
        lines_tried += 1;
        let mut timer = Timer::default();
        let left_ms = job.request.until_ms.saturating_sub(worker.now_ms());
        // How long a client takes to send its body is not the backend's time.
        timer.begin(worker.now_ms(), if job.request.pump.is_none() { own_ms.min(left_ms) } else { own_ms });
        let head_bytes_max = job.request.limits.head_bytes_max;
        let line = post.line(&job.upstream, flight, head_bytes_max, &mut timer, worker).await;
        let line = line.map_err(Trouble::Unreached)?;
        let asked = match line.ask(&job.request.head, job.request.pump.is_none()) {
            Ok(asked) => asked,
            Err(Unsent::Full | Unsent::Leaving) if lines_tried < LINES_TRIED_MAX => continue,
            Err(unsent) => return Err(Trouble::Unsent(unsent)),
        };
        let answer =
            poll_fn(|context| poll_answer(&asked, &mut job.request.pump, rules, &mut timer, worker, context));
        let trouble = match answer.await {
            Ok((text, arrived)) => {
                let head = head_of(&text, &asked, job).map_err(Trouble::Answer)?;
                return Ok((head, arrived, asked));
            }
            Err(trouble) => trouble,
        };
        // The connection ended as the request came, or had just been asked to end: nobody's fault.
        let is_free = match trouble {
            Trouble::Failed(Failure::Unprocessed, ..) => true,
            Trouble::Failed(Failure::Lost, None, is_reused) => is_reused && job.is_idempotent,
            _ => false,
        };
        let has_given = job.request.pump.as_ref().is_some_and(|pump| pump.has_given);
        if !is_free || has_given || lines_tried >= LINES_TRIED_MAX {
            return Err(trouble);
        }
    }
}

/// Gives the request's body on until the head of the answer is there.
fn poll_answer(
    asked: &Asked,
    pump: &mut Option<Pump>,
    rules: &TryRules,
    timer: &mut Timer,
    worker: &WorkerHandle,
    context: &mut Context<'_>,
) -> Poll<Result<(Slice, Instant), Trouble>> {
    // A backend that takes no more of the body may have answered already.
    match asked.poll_head(context) {
        Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
        Poll::Ready(Err(failure)) => {
            let trouble = Trouble::Failed(failure, asked.fault(), asked.is_reused());
            return Poll::Ready(Err(trouble));
        }
        Poll::Pending => {}
    }
    if let Some(pump) = pump
        && let Poll::Ready(Err(stop)) = poll_give(asked, pump, rules, timer, worker, context)
    {
        return Poll::Ready(Err(match stop {
            Stop::Client(error) => Trouble::Client(error.status()),
            Stop::Upstream(why) => Trouble::Answer(why),
        }));
    }
    if timer.poll(context, worker) {
        asked.suspect();
        let is_sent = pump.as_ref().is_none_or(Pump::is_over);
        return Poll::Ready(Err(Trouble::Late(if is_sent { "its answer" } else { "the request's body" })));
    }
    Poll::Pending
}

/// Gives on what there is of the request's body, no faster than the backend's windows allow.
fn poll_give(
    asked: &Asked,
    pump: &mut Pump,
    rules: &TryRules,
    timer: &mut Timer,
    worker: &WorkerHandle,
    context: &mut Context<'_>,
) -> Poll<Result<(), Stop>> {
    while !pump.is_over() {
        let Some(room) = ready!(asked.poll_room(context)) else {
            pump.refuse();
            break;
        };
        // The client is waited for now, and has a time of its own.
        timer.forget();
        match ready!(pump.poll_piece(context)?) {
            None => asked.finish(),
            Some(mut piece) => {
                if piece.len() > room {
                    let front = piece.split_to(room);
                    pump.put_back(std::mem::replace(&mut piece, front));
                }
                let ends = pump.has_all();
                if asked.send(piece, ends).is_err() {
                    pump.refuse();
                    break;
                }
                if !ends {
                    timer.begin(worker.now_ms(), rules.send_timeout_ms);
                    continue;
                }
            }
        }
        pump.finish();
        timer.begin(worker.now_ms(), rules.read_timeout_ms);
    }
    Poll::Ready(Ok(()))
}

/// What the head of an answer comes to for the client.
fn head_of(text: &Slice, asked: &Asked, job: &Job) -> Result<Head, Why> {
    let request = &job.request;
    let reply = Reply::parse(text, request.is_head, &request.limits)?;
    let mut lines = asked.pool().get(text.len()).ok_or(Why::NoMemory)?;
    let told = relay::write_reply(&reply, &[], &mut lines).map_err(|_too_many| Why::Options)?;
    // Bodies come apart from heads.
    let mut rest = text.clone();
    rest.advance(text.len());
    Ok(Head {
        status: reply.status(),
        lines: lines.freeze(told.len),
        delivery: reply.delivery(),
        announced: reply.announced_length(),
        keeps: true,
        is_refused: request.pump.as_ref().is_some_and(Pump::is_refused),
        rest,
    })
}

impl Trouble {
    /// Whether the backend has done nothing with the request.
    fn is_unprocessed(&self) -> bool {
        match self {
            Self::Unreached(_) => true,
            Self::Failed(failure, ..) => failure.is_unprocessed(),
            _ => false,
        }
    }

    /// Whether it would be the same anywhere.
    fn is_final(&self) -> bool {
        match self {
            Self::Client(_) | Self::Unsent(_) | Self::Answer(Why::NoMemory) => true,
            Self::Unreached(error) => matches!(error, LeaseError::Exhausted(_)),
            _ => false,
        }
    }

    /// What the client is told.
    fn status(&self) -> Status {
        match self {
            Self::Client(status) => *status,
            Self::Unreached(error) => error.status(),
            Self::Late(_) => Status::GATEWAY_TIMEOUT,
            Self::Answer(why) => why.status(),
            Self::Unsent(Unsent::Head) => Status::NOT_IMPLEMENTED,
            Self::Unsent(_) => Status::SERVICE_UNAVAILABLE,
            Self::Failed(..) => Status::BAD_GATEWAY,
        }
    }

    /// Has it counted, logged and held against the backend.
    fn tell(self, flight: Flight) {
        match self {
            Self::Client(_) | Self::Unreached(_) | Self::Unsent(_) | Self::Answer(Why::NoMemory) => {}
            Self::Late(what) => flight.failed(&Fault::TimedOut(what)),
            Self::Failed(failure, fault, is_reused) => {
                flight.failed(&fault_of(failure, fault, Stage::Before, is_reused));
            }
            Self::Answer(why) => flight.failed(&why.fault(Stage::Before, false)),
        }
    }
}

/// What a failure is to the upstream.
fn fault_of(
    failure: Failure,
    fault: Option<ringway_h2::code::Fault>,
    stage: Stage,
    is_reused: bool,
) -> Fault {
    let invalid = |why: &dyn fmt::Display| Fault::Invalid(why.to_string());
    match (failure, fault) {
        (Failure::Lost, Some(fault)) => invalid(&fault),
        (Failure::Lost, None) if stage == Stage::Before && is_reused => Fault::Stale,
        (Failure::Lost, None) => Fault::Closed(stage.when()),
        (failure, _) => invalid(&failure),
    }
}
