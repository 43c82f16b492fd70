//! A library on a worker: which version it is, what it is asked, and what is made of its word.

use super::Shared;
use super::collect::{self, Collected};
use super::flow::Flow;
use super::sessions::{self, Browser, Finding, Trouble};
use super::settle;
use super::sockets::{self, Acceptor};
use super::stats::count;
use super::view::{Asked, Done, View};
use super::written::Written;
use crate::files::Directory;
use crate::handler::Call;
use crate::routes::{Found, Methods, Pattern, Table};
use crate::stats::{Active, WorkerStats};
use ringway_engine::heap::local_future;
use ringway_engine::{Sleep, WorkerHandle};
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_plugin::{LoadError, Over, Problem, Said, Worker};
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled, Handler};
use ringway_web::request_body::RequestBody;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

/// The longest body that is collected for a library that does not say.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// The handler of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Hosted {
    side: Rc<Side>,
}

/// What a worker has of a library.
pub(crate) struct Side {
    pub(crate) shared: Arc<Shared>,
    handle: WorkerHandle,
    version: RefCell<Version>,
    /// Names its watch.
    number: u64,
    /// Where it is mounted, once that is known, without slash at its end.
    mount: OnceCell<Box<[u8]>>,
    /// The counters of the service that it is, if it is one.
    stats: OnceCell<Arc<WorkerStats>>,
    /// The files that it may answer with.
    pub(crate) files: Option<Directory>,
    pub(crate) collected_bytes: Cell<usize>,
}

/// A version of the library in use.
#[derive(Clone)]
struct Version {
    generation: u64,
    worker: Rc<Worker>,
    table: Rc<Routes>,
    acceptor: Option<Rc<Acceptor>>,
}

/// Routes of a library.
pub(crate) struct Routes {
    table: Table,
    numbers: Vec<u32>,
}

/// A route that was found for a request.
pub(crate) struct Place {
    pub(crate) table: Rc<Routes>,
    pub(crate) route: usize,
    /// What the library knows it by.
    pub(crate) number: u32,
}

impl Routes {
    pub(crate) fn param<'p>(&self, route: usize, path: &'p [u8], name: &str) -> Option<&'p [u8]> {
        self.table.param(route, path, name)
    }
}

/// The table of a library's routes.
pub(crate) fn table(library: &ringway_plugin::Library) -> Result<Routes, LoadError> {
    let mut table = Table::default();
    let mut numbers = Vec::new();
    let objection = |index: usize, what: String| library.objection(Problem::Route(index, what));
    for (index, route) in library.requests()?.routes().iter().enumerate() {
        let methods =
            route.method.as_ref().map_or(Methods::Any, |method| Methods::One(method.as_str().into()));
        let pattern = Pattern::parse(&route.pattern).map_err(|error| objection(index, error.to_string()))?;
        table.add(methods, pattern).map_err(|error| objection(index, error.to_string()))?;
        numbers.push(route.number);
    }
    table.compile().map_err(|error| objection(numbers.len(), error.to_string()))?;
    Ok(Routes { table, numbers })
}

impl Version {
    fn start(shared: &Shared, handle: &WorkerHandle) -> Result<Self, LoadError> {
        // Read before the instance: at worst this is asked to renew once more.
        let generation = shared.generation();
        let instance = shared.current().clone();
        let table = Rc::new(table(instance.library())?);
        let worker = Rc::new(Worker::start(&instance)?);
        let acceptor = sockets::acceptor(&worker, handle);
        Ok(Self { generation, worker, table, acceptor })
    }
}

impl Hosted {
    pub(crate) fn new(
        shared: Arc<Shared>,
        handle: &WorkerHandle,
        files: Option<Directory>,
    ) -> Result<Self, LoadError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let version = RefCell::new(Version::start(&shared, handle)?);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let side = Rc::new(Side {
            shared,
            handle: handle.clone(),
            version,
            number,
            mount: OnceCell::new(),
            stats: OnceCell::new(),
            files,
            collected_bytes: Cell::new(0),
        });
        handle.spawn(watch(Arc::clone(&side.shared), Rc::downgrade(&side), number));
        Ok(Self { side })
    }

    /// The same as a part of a site.
    pub(crate) fn at(self, mount: &str) -> Self {
        self.side.mount.get_or_init(|| mount.trim_end_matches('/').as_bytes().into());
        self
    }

    /// Answers a request of the service that this is.
    pub(crate) fn call(&self, call: &mut Call<'_, '_>) -> Result<Handled, EncodeError> {
        self.side.mount.get_or_init(|| call.built.prefix.clone());
        self.side.stats.get_or_init(|| Arc::clone(&call.built.stats));
        self.handle(call.exchange())
    }
}

/// Has a worker go over to another version although nobody asks it for anything.
async fn watch(shared: Arc<Shared>, side: Weak<Side>, number: u64) {
    poll_fn(|context| {
        loop {
            let Some(side) = side.upgrade() else { return Poll::Ready(()) };
            side.renew();
            {
                let mut watches = shared.watches();
                watches.retain(|(of, _)| *of != number);
                watches.push((number, context.waker().clone()));
            }
            // Whoever has replaced it since has not seen the waker.
            if !side.has_news() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Handler for Hosted {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        self.side.note(self.begin(exchange))
    }
}

impl Hosted {
    /// Asks the library, or first collects what it wants to have.
    fn begin(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let side = &self.side;
        side.renew();
        let (limit, wants_sessions) = {
            let version = side.version.borrow();
            let Ok(requests) = version.worker.instance().library().requests() else {
                return Ok(Handled::NotMine);
            };
            let is_collected = exchange.has_body() && !requests.wants_pieces();
            let limit = is_collected.then(|| requests.body_bytes_max().unwrap_or(BODY_BYTES_MAX));
            (limit, requests.wants_sessions())
        };
        if limit.is_none() && !wants_sessions {
            return side.ask(exchange, None, None);
        }
        match side.find(exchange) {
            Ok(_place) => {}
            Err(elsewhere) => return elsewhere.answer(exchange),
        }
        let finding = wants_sessions.then(|| sessions::find(&side.shared.options, &side.handle, exchange));
        let body = limit.and_then(|limit| {
            exchange.set_body_limit(limit);
            exchange.take_body()
        });
        if let Some(error) = body.as_ref().and_then(|body| body.error()) {
            return exchange.error(error.status()).map(Handled::Answer);
        }
        self.prepare(exchange, body, finding.flatten())
    }

    /// Asks the library at once where everything is there, and else when it is.
    fn prepare(
        &self,
        exchange: &mut Exchange<'_>,
        body: Option<RequestBody>,
        mut finding: Option<Finding>,
    ) -> Result<Handled, EncodeError> {
        let side = &self.side;
        let now =
            finding.as_mut().map(|finding| finding.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        let found = match now {
            None => None,
            Some(Poll::Ready(Ok(browser))) => Some(browser),
            Some(Poll::Ready(Err(trouble))) => return side.troubled(exchange, trouble),
            Some(Poll::Pending) => return Ok(collect::first(Rc::clone(side), body, finding, None)),
        };
        if body.is_some() {
            return Ok(collect::first(Rc::clone(side), body, None, found));
        }
        side.ask(exchange, None, found)
    }
}

/// Why a library is not asked.
enum Elsewhere {
    /// It has no route for the path.
    NotMine,
    /// It has none for the method: a line that says for which.
    Methods(String),
}

impl Elsewhere {
    fn answer(self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        match self {
            Self::NotMine => Ok(Handled::NotMine),
            Self::Methods(line) if exchange.request.method() == Method::Options => {
                Written::head(Status::NO_CONTENT, line.into_bytes()).send(exchange)
            }
            Self::Methods(line) => {
                exchange.error_with(Status::METHOD_NOT_ALLOWED, line.as_bytes()).map(Handled::Answer)
            }
        }
    }
}

impl Side {
    /// Asks the library, and makes of its word what can be.
    pub(crate) fn ask(
        self: &Rc<Self>,
        exchange: &mut Exchange<'_>,
        body: Option<&Collected>,
        browser: Option<Browser>,
    ) -> Result<Handled, EncodeError> {
        let version = self.version.borrow().clone();
        let (place, path) = match self.find(exchange) {
            Ok(found) => found,
            Err(elsewhere) => return elsewhere.answer(exchange),
        };
        let worker = &version.worker;
        count(&self.shared.tally.requests);
        let body = body.map(Collected::as_bytes);
        let asked = Asked { place: place.as_ref(), path, body, browser: browser.as_ref() };
        let view = View::new(self, worker, exchange, asked, version.acceptor.as_deref());
        let said = worker.request(&view);
        match (said, view.into_done()) {
            (Said::Later, Done::Promised(mut pledge)) => {
                count(&self.shared.tally.promised);
                pledge.browser = browser;
                exchange.ask_once();
                if self.needs_client(worker) {
                    exchange.needs_client();
                }
                let upload = if self.wants_pieces(worker) { self.upload(exchange) } else { None };
                Ok(settle::later(Flow::new(pledge, upload, exchange.moment.ms)))
            }
            (said, done) => match browser {
                Some(browser) => self.keep(exchange, &version, said, done, browser),
                None => self.conclude(exchange, &version, said, done),
            },
        }
    }

    /// Keeps what the library has changed of the session, and then answers.
    fn keep(
        self: &Rc<Self>,
        exchange: &mut Exchange<'_>,
        version: &Version,
        said: Said,
        done: Done,
        browser: Browser,
    ) -> Result<Handled, EncodeError> {
        let mut keeping = sessions::keep(browser);
        if let Poll::Ready(kept) = keeping.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.kept(exchange, version, said, done, kept);
        }
        exchange.ask_once();
        let (side, version) = (Rc::clone(self), version.clone());
        Ok(Handled::Later(local_future(async move {
            let kept = keeping.await;
            let finish: Finish = Box::new(move |exchange| {
                exchange.ask_once();
                side.note(side.kept(exchange, &version, said, done, kept))
            });
            finish
        })))
    }

    fn kept(
        self: &Rc<Self>,
        exchange: &mut Exchange<'_>,
        version: &Version,
        said: Said,
        done: Done,
        kept: Result<Option<String>, Trouble>,
    ) -> Result<Handled, EncodeError> {
        match kept {
            Ok(None) => {}
            Ok(Some(cookie)) => exchange.add_field(b"Set-Cookie", cookie.as_bytes())?,
            Err(trouble) => return self.troubled(exchange, trouble),
        }
        self.conclude(exchange, version, said, done)
    }

    /// Answers as the library has said.
    fn conclude(
        self: &Rc<Self>,
        exchange: &mut Exchange<'_>,
        version: &Version,
        said: Said,
        done: Done,
    ) -> Result<Handled, EncodeError> {
        match (said, done) {
            (Said::Done, Done::Answered(written)) => written.send(exchange),
            (Said::Done, Done::File(file)) => {
                exchange.ask_once();
                file.answer(exchange)
            }
            (Said::Done, Done::Socket(opening)) => match &version.acceptor {
                Some(acceptor) => opening.answer(self, &version.worker, acceptor, exchange),
                None => self.spoilt(exchange, said, Done::Nothing),
            },
            (Said::Pass, Done::Nothing) => {
                count(&self.shared.tally.passed);
                Ok(Handled::NotMine)
            }
            (said, done) => self.spoilt(exchange, said, done),
        }
    }

    /// Answers where the session cannot be had or kept.
    pub(crate) fn troubled(
        &self,
        exchange: &mut Exchange<'_>,
        (status, words): Trouble,
    ) -> Result<Handled, EncodeError> {
        exchange.ask_once();
        self.complain(format_args!("{words}"));
        exchange.error(status).map(Handled::Answer)
    }

    /// What a library wants that takes bodies as they come.
    fn upload(&self, exchange: &mut Exchange<'_>) -> Option<RequestBody> {
        let version = self.version.borrow();
        let requests = version.worker.instance().library().requests().ok()?;
        if let Some(limit) = requests.body_bytes_max() {
            exchange.set_body_limit(limit);
        }
        exchange.take_body()
    }

    /// Answers for a library that did not.
    fn spoilt(&self, exchange: &mut Exchange<'_>, said: Said, done: Done) -> Result<Handled, EncodeError> {
        exchange.ask_once();
        let did = match &done {
            Done::Nothing => "has neither answered nor promised to",
            Done::Answered(_) => "has answered",
            Done::Promised(_) => "has promised an answer",
            Done::Socket(_) => "has opened a socket",
            Done::File(_) => "has answered with a file",
        };
        let path = exchange.path.escape_ascii();
        match said {
            Said::Panicked => self.fault(format_args!("it panicked at {path}")),
            Said::Unknown(code) => {
                self.fault(format_args!("it says {code} of {path}, which means nothing, and {did}"))
            }
            said => self.fault(format_args!("it says {said:?} of {path} and {did}")),
        }
        if let Done::Promised(mut pledge) = done {
            pledge.settle(Over::Aborted);
        }
        exchange.error(Status::INTERNAL_SERVER_ERROR).map(Handled::Answer)
    }

    /// The route of a request, and its path below the mount.
    fn find<'a>(&self, exchange: &Exchange<'a>) -> Result<(Option<Place>, &'a [u8]), Elsewhere> {
        let mount = self.mount.get().map_or(&b""[..], |mount| mount);
        let path = below(mount, exchange.path).ok_or(Elsewhere::NotMine)?;
        let version = self.version.borrow();
        if version.table.numbers.is_empty() {
            return Ok((None, path));
        }
        // Over HTTP/2 a WebSocket is asked for with another method than over HTTP/1 (RFC 8441).
        let method = match exchange.request.method() {
            Method::Connect => Method::Get,
            method => method,
        };
        match version.table.table.find(path, method) {
            Found::Route(route) => {
                let number = version.table.numbers.get(route).copied().unwrap_or_default();
                Ok((Some(Place { table: Rc::clone(&version.table), route, number }), path))
            }
            Found::Methods(allow) => Err(Elsewhere::Methods(format!("Allow: {allow}\r\n"))),
            Found::Nothing => Err(Elsewhere::NotMine),
        }
    }

    fn has_news(&self) -> bool {
        self.version.borrow().generation != self.shared.generation()
    }

    /// Goes over to another version, if there is one.
    fn renew(&self) {
        if !self.has_news() {
            return;
        }
        let generation = self.shared.generation();
        match Version::start(&self.shared, &self.handle) {
            Ok(version) => drop(self.version.replace(version)),
            Err(error) => {
                self.complain(format_args!("a worker goes on with the old version: {error}"));
                // It is not tried again before there is another one.
                self.version.borrow_mut().generation = generation;
            }
        }
    }

    /// As long as a library may take, from now on.
    pub(crate) fn patience(&self, now_ms: u64) -> Sleep {
        self.handle.sleep_until(now_ms.saturating_add(self.shared.options.answer_ms_max))
    }

    /// The worker's clock. Not during a turn.
    pub(crate) fn now_ms(&self) -> u64 {
        self.handle.now_ms()
    }

    /// Counts one more that is under way, until it is dropped.
    pub(crate) fn active(&self) -> Option<Active> {
        self.stats.get().map(Active::new)
    }

    /// Counts what came of a request.
    pub(crate) fn note(&self, handled: Result<Handled, EncodeError>) -> Result<Handled, EncodeError> {
        if let (Ok(Handled::Answer(reply)), Some(stats)) = (&handled, self.stats.get()) {
            match reply.plan.status.code() {
                500.. => stats.errors.add(1),
                400.. => stats.refused.add(1),
                _ => {}
            }
        }
        handled
    }

    pub(crate) fn needs_client(&self, worker: &Worker) -> bool {
        worker.instance().library().requests().is_ok_and(ringway_plugin::Requests::needs_client)
    }

    fn wants_pieces(&self, worker: &Worker) -> bool {
        worker.instance().library().requests().is_ok_and(ringway_plugin::Requests::wants_pieces)
    }

    /// Counts what the library did wrong, and says so.
    pub(crate) fn fault(&self, what: fmt::Arguments<'_>) {
        count(&self.shared.tally.faults);
        self.complain(what);
    }

    pub(crate) fn complain(&self, what: fmt::Arguments<'_>) {
        self.shared.complain(what);
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let watch = {
            let mut watches = self.shared.watches();
            let place = watches.iter().position(|(of, _)| *of == self.number);
            place.map(|place| watches.swap_remove(place))
        };
        // It finds nobody and ends.
        if let Some((_, waker)) = watch {
            waker.wake();
        }
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// What of a path is below a mount: itself a path.
fn below<'a>(mount: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(mount)?;
    match rest {
        [] => Some(b"/"),
        [b'/', ..] => Some(rest),
        _ => None,
    }
}
