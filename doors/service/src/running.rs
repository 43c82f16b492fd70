//! A service at work on one worker: from an exchange to a route, its handler, and an answer.

use crate::blocked::Note;
use crate::handler::{Call, Endpoint, Served};
use crate::later::Waiting;
use crate::log::Level;
use crate::owned::Behind;
use crate::request::Request;
use crate::response::{self, Body, Response};
use crate::routes::{Found, Table};
use crate::service::Service;
#[cfg(feature = "sessions")]
use crate::session::Sessions;
use crate::stats::{Active, WorkerStats};
use crate::worker::{Worker, words};
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled, Handler};
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

/// The number of what answers where no route does.
const FALLBACK: usize = usize::MAX;

/// Called when the service is taken out of the server.
pub(crate) type ExitHook = Box<dyn FnOnce()>;

/// Looks at a request before its handler does, and may answer.
pub(crate) type Check = Rc<dyn Fn(&Request<'_>) -> Option<Response>>;

/// A service as one worker has built it.
pub(crate) struct Built {
    pub(crate) service: Service,
    /// Where it is mounted, without slash at its end.
    pub(crate) prefix: Box<[u8]>,
    pub(crate) table: Table,
    pub(crate) routes: Vec<Route>,
    pub(crate) fallback: Option<Route>,
    pub(crate) worker: Worker,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) note: Note,
    pub(crate) exits: RefCell<Vec<ExitHook>>,
    #[cfg(feature = "sessions")]
    pub(crate) sessions: Option<Sessions>,
}

/// What stands behind a route.
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    /// Asked before it, each of which may answer instead.
    pub(crate) checks: Rc<[Check]>,
    /// Longest body its handlers get, in bytes.
    pub(crate) body_bytes_max: u64,
    /// How long its handlers may take, in milliseconds.
    pub(crate) answer_ms_max: u64,
}

/// A service in a site. Dropping it ends the service on this worker once its last request is over.
pub(crate) struct Running {
    built: Rc<Built>,
}

impl Running {
    pub(crate) fn new(built: Built) -> Self {
        Self { built: Rc::new(built) }
    }
}

impl Handler for Running {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let built = &self.built;
        let Some(path) = built.local_path(exchange.path) else { return Ok(Handled::NotMine) };
        let path = match path {
            // The place itself, without its slash: links on its page would lead elsewhere.
            b"" if is_read(exchange) => return built.add_slash(exchange),
            b"" => b"/",
            path => path,
        };
        match built.table.find(path, exchange.request.method()) {
            Found::Route(number) => built.call(number, exchange, path),
            Found::Methods(allow) if exchange.request.method() == Method::Options => {
                built.stats.requests.add(1);
                let answer = Response::status(Status::NO_CONTENT).with_field("Allow", allow);
                response::write(answer, exchange, &built.stats)
            }
            Found::Methods(allow) => {
                built.stats.requests.add(1);
                built.stats.refused.add(1);
                let answer = Response::page(Status::METHOD_NOT_ALLOWED).with_field("Allow", allow);
                response::write(answer, exchange, &built.stats)
            }
            Found::Nothing if built.fallback.is_some() => built.call(FALLBACK, exchange, path),
            Found::Nothing => Ok(Handled::NotMine),
        }
    }
}

fn is_read(exchange: &Exchange<'_>) -> bool {
    matches!(exchange.request.method(), Method::Get | Method::Head)
}

impl Built {
    /// What is left of a path behind the place where the service is mounted.
    fn local_path<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = path.strip_prefix(&*self.prefix)?;
        matches!(rest.first(), None | Some(b'/')).then_some(rest)
    }

    fn add_slash(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        self.stats.requests.add(1);
        let mut location = Vec::with_capacity(self.prefix.len() + 1);
        ringway_web::path::write_directory_location(&mut location, exchange.path, exchange.query);
        let mut answer = Response::status(Status::PERMANENT_REDIRECT);
        answer.add_field(b"Location", &location);
        response::write(answer, exchange, &self.stats)
    }

    fn route(&self, number: usize) -> Option<&Route> {
        if number == FALLBACK { self.fallback.as_ref() } else { self.routes.get(number) }
    }

    fn answer_ms_max(&self, number: usize) -> u64 {
        self.route(number).map_or(0, |route| route.answer_ms_max)
    }

    /// The route's name, for the log.
    fn name(&self, number: usize) -> String {
        self.stats.name(number)
    }

    fn log(&self, level: Level, text: impl fmt::Display) {
        self.service.log().write(level, text);
    }

    /// Asks a route's handler.
    fn call<'x>(
        self: &Rc<Self>,
        number: usize,
        exchange: &mut Exchange<'x>,
        path: &'x [u8],
    ) -> Result<Handled, EncodeError> {
        let Some(route) = self.route(number) else { return Ok(Handled::NotMine) };
        self.stats.requests.add(1);
        if let Some(counters) = self.stats.routes.get(number) {
            counters.requests.add(1);
        }
        if exchange.has_body() {
            exchange.set_body_limit(route.body_bytes_max);
        }
        let mut call = Call { built: self, route: number, exchange: &mut *exchange, path };
        let served = self.watched(number, || {
            let refused = route.checks.iter().find_map(|check| check(&call.request()));
            refused.map_or_else(|| route.endpoint.0.serve(call), Served::Answer)
        });
        match served {
            Ok(Served::Answer(answer)) => self.finish(number, answer, exchange),
            Ok(Served::Pending(future, behind)) => {
                let until_ms = exchange.moment.ms.saturating_add(route.answer_ms_max);
                exchange.ask_once();
                Ok(self.wait(number, until_ms, behind, future))
            }
            Ok(Served::Handled(handled)) => handled,
            Err(panic) => {
                let answer = self.panicked(&*panic);
                self.finish(number, answer, exchange)
            }
        }
    }

    /// Runs a handler's code: its panics are caught, and whether it takes too long is seen.
    #[inline]
    fn watched<T>(&self, number: usize, work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
        let since_ms = self.note.enter(number);
        let outcome = catch_unwind(AssertUnwindSafe(work));
        if let Some(took_ms) = self.note.leave(since_ms) {
            self.stats.blocked.add(1);
            let name = self.name(number);
            self.log(Level::Warn, format_args!("{name}: kept its worker from all others for {took_ms} ms"));
        }
        outcome
    }

    /// Gives a handler's answer to the exchange, or waits for it.
    pub(crate) fn finish(
        self: &Rc<Self>,
        number: usize,
        mut answer: Response,
        exchange: &mut Exchange<'_>,
    ) -> Result<Handled, EncodeError> {
        match answer.body {
            Body::Later(waiting) => {
                let until_ms = exchange.moment.ms.saturating_add(self.answer_ms_max(number));
                exchange.ask_once();
                return Ok(self.wait(number, until_ms, Rc::default(), self.later(waiting)));
            }
            Body::Pass => return Ok(Handled::NotMine),
            body => answer.body = body,
        }
        if answer.is_bad {
            self.log(
                Level::Error,
                format_args!("{}: a field line of the answer cannot be sent", self.name(number)),
            );
            answer = Response::page(Status::INTERNAL_SERVER_ERROR);
        }
        self.count(number, &answer);
        if !exchange.request.method().is_safe() {
            exchange.ask_once();
        }
        response::write(answer, exchange, &self.stats)
    }

    fn count(&self, number: usize, answer: &Response) {
        let code = answer.status.code();
        if code >= 500 {
            self.stats.errors.add(1);
            if let Some(counters) = self.stats.routes.get(number) {
                counters.errors.add(1);
            }
        } else if code >= 400 {
            self.stats.refused.add(1);
        }
        if let Some(note) = &answer.note {
            let level = if code >= 500 { Level::Error } else { Level::Warn };
            self.log(level, format_args!("{}: {note} ({code})", self.name(number)));
        }
    }

    /// Waits for an answer in a task.
    fn wait(
        self: &Rc<Self>,
        number: usize,
        until_ms: u64,
        behind: Rc<Behind>,
        mut future: LocalFuture<Response>,
    ) -> Handled {
        let (built, active) = (Rc::clone(self), Active::new(&self.stats));
        let mut sleep = self.worker.handle().sleep_until(until_ms);
        Handled::Later(local_future(async move {
            let answer = poll_fn(|context| {
                match built.watched(number, || future.as_mut().poll(context)) {
                    Ok(Poll::Ready(answer)) => return Poll::Ready(answer),
                    Ok(Poll::Pending) => {}
                    Err(panic) => return Poll::Ready(built.panicked(&*panic)),
                }
                ready!(Pin::new(&mut sleep).poll(context));
                let until_ms = behind.read_ms.get().saturating_add(built.answer_ms_max(number));
                let handle = built.worker.handle();
                if until_ms <= handle.now_ms() {
                    return Poll::Ready(built.is_late(number));
                }
                // The body was coming meanwhile.
                sleep = handle.sleep_until(until_ms);
                Pin::new(&mut sleep).poll(context).map(|()| built.is_late(number))
            })
            .await;
            drop(active);
            let finish: Finish = Box::new(move |exchange| {
                exchange.ask_once();
                built.finish(number, answer, exchange)
            });
            finish
        }))
    }

    fn later(self: &Rc<Self>, waiting: Waiting) -> LocalFuture<Response> {
        let built = Rc::clone(self);
        local_future(async move {
            match waiting.await {
                Some(make) => make(),
                None => {
                    built.stats.dropped.add(1);
                    Response::page(Status::INTERNAL_SERVER_ERROR)
                        .with_note(Some("the answer was promised, and its handle dropped".to_owned()))
                }
            }
        })
    }

    fn is_late(&self, number: usize) -> Response {
        self.stats.late.add(1);
        let ms_max = self.answer_ms_max(number);
        Response::page(Status::SERVICE_UNAVAILABLE).with_note(Some(format!("no answer within {ms_max} ms")))
    }

    fn panicked(&self, panic: &(dyn Any + Send)) -> Response {
        self.stats.panics.add(1);
        let text = panic.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        Response::page(Status::INTERNAL_SERVER_ERROR).with_note(Some(format!("the handler panicked: {text}")))
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        for exit in self.exits.take().into_iter().rev() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(exit)) {
                self.stats.panics.add(1);
                self.log(Level::Error, format_args!("an exit hook panicked: {}", words(&*panic)));
            }
        }
        self.worker.end();
        self.service.stats().close(&self.stats);
    }
}
