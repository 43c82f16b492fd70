//! The dashboard: one page, and the stream of figures that it shows.

use crate::engine::{Pooled, Sleep, ThreadPool, WorkerHandle};
use crate::faces::{Desk, refuse_method};
use crate::running::Running;
use crate::snapshot::{
    BackendRates, EndpointFigures, GovernorFigures, HandlerFigures, HandlerRates, Rates, ServiceFigures,
    Snapshot, State,
};
use crate::web::auth::Auth;
use crate::web::body_source::BodySource;
use crate::web::exchange::Exchange;
use crate::web::pipeline::{Handled, Handler, RequestStage, Verdict};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_lock::Mutex;
use serde::Serialize;
use std::fmt;
use std::fmt::Write;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

/// Most viewers at the same time.
pub const VIEWERS_MAX: usize = 32;

/// Sites in a frame: those with the most requests.
pub const SITES_SHOWN_MAX: usize = 100;

/// Backends of upstreams in a frame: those that are not up come first.
pub const BACKENDS_SHOWN_MAX: usize = 200;

/// Services in a frame: the first of the configuration.
pub const SERVICES_SHOWN_MAX: usize = 50;

/// Endpoints with handlers in a frame: the first of the configuration.
pub const HANDLERS_SHOWN_MAX: usize = 50;

/// From frame to frame, in milliseconds.
const FRAME_MS: u64 = 1000;

/// A frame that is not older is given to further viewers, in milliseconds.
const FRESH_MS: u64 = FRAME_MS * 9 / 10;

/// The page. Style and script carry a number that is new in every answer: nothing else on the page is obeyed.
const PAGE: &str = include_str!("dashboard.html");
const NONCE: &str = "@NONCE@";

const EVENT_LINES: &[u8] = b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\nX-Accel-Buffering: no\r\n";

/// What every viewer of a server shares. Clones are the same.
#[derive(Clone, Debug)]
pub struct Live {
    desk: Desk,
    viewers: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<Last>>>,
}

/// The last frame, and what the next one is compared with.
struct Last {
    snapshot: Snapshot,
    event: Arc<[u8]>,
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Last({} ms)", self.snapshot.uptime_ms)
    }
}

/// The page's address and its stream's. Only for requests whose client has proved who it is: a stage for that stands before
/// it, and without one nobody sees anything.
pub struct Dashboard {
    live: Live,
    worker: WorkerHandle,
    prefix: Box<[u8]>,
}

impl Live {
    /// For one server.
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self { desk, viewers: Arc::default(), last: Arc::default() }
    }

    /// How many look.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// One more viewer; `None` when there are enough.
    fn enter(&self) -> Option<Viewer> {
        let more = |count| (count < VIEWERS_MAX).then_some(count + 1);
        let entered = self.viewers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Viewer(Arc::clone(&self.viewers)))
    }

    /// The frame of this moment as an event; made once for all who look. For pool threads.
    fn event(&self, running: &Running) -> Arc<[u8]> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = running.snapshot();
        if let Some(last) = &*last
            && now.uptime_ms < last.snapshot.uptime_ms + FRESH_MS
        {
            return Arc::clone(&last.event);
        }
        let none = Snapshot::default();
        let before = last.as_ref().map_or(&none, |last| &last.snapshot);
        let event: Arc<[u8]> = event(before, &now).into();
        *last = Some(Last { snapshot: now, event: Arc::clone(&event) });
        event
    }
}

/// Somebody who looks.
struct Viewer(Arc<AtomicUsize>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who comes to the dashboard has to prove who it is; everybody else passes. Stands before it.
#[derive(Debug)]
pub struct Guard {
    prefix: Box<[u8]>,
    auth: Auth,
}

impl Guard {
    /// Below `prefix`, which begins and ends with a slash.
    #[must_use]
    pub fn new(prefix: &str, auth: Auth) -> Self {
        Self { prefix: prefix.as_bytes().into(), auth }
    }
}

impl RequestStage for Guard {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        let is_below = exchange.path.starts_with(&self.prefix);
        let is_bare = self.prefix.strip_suffix(b"/") == Some(exchange.path);
        if is_below || is_bare { self.auth.request(exchange) } else { Ok(Verdict::Pass) }
    }
}

impl Dashboard {
    /// Below `prefix`, which begins and ends with a slash.
    #[must_use]
    pub fn new(live: Live, worker: &WorkerHandle, prefix: &str) -> Self {
        Self { live, worker: worker.clone(), prefix: prefix.as_bytes().into() }
    }

    fn page(exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let mut random = [0; 16];
        if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()) != Ok(random.len()) {
            return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
        }
        let mut nonce = String::new();
        for byte in random {
            let _infallible = write!(nonce, "{byte:02x}");
        }
        let lines = format!(
            "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; script-src 'nonce-{nonce}'; \
             style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
        );
        let page = PAGE.replace(NONCE, &nonce).into_bytes();
        exchange.text(Status::OK, lines.as_bytes(), page).map(Handled::Answer)
    }

    fn events(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let running = self.live.desk.running().cloned();
        let (Some(running), Some(viewer)) = (running, self.live.enter()) else {
            return exchange
                .error_with(Status::SERVICE_UNAVAILABLE, b"Retry-After: 5\r\n")
                .map(Handled::Answer);
        };
        let events = Events {
            live: self.live.clone(),
            running,
            worker: self.worker.clone(),
            pool: exchange.pool.clone(),
            // A page whose connection breaks asks again after two seconds.
            event: Arc::from(*b"retry: 2000\n\n"),
            sent: 0,
            step: Step::Sending,
            _viewer: viewer,
        };
        exchange.stream(Status::OK, EVENT_LINES, events).map(Handled::Answer)
    }
}

impl Handler for Dashboard {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let path = exchange.path;
        let bare = self.prefix.strip_suffix(b"/").filter(|bare| !bare.is_empty());
        let is_bare = bare == Some(path);
        let Some(rest) = path.strip_prefix(&*self.prefix).or(is_bare.then_some(b"".as_slice())) else {
            return Ok(Handled::NotMine);
        };
        if exchange.user().is_none() {
            return exchange.error(Status::FORBIDDEN).map(Handled::Answer);
        }
        if let Some(refused) = refuse_method(exchange) {
            return refused;
        }
        match rest {
            // Without the slash the page would look for its stream one level too high.
            b"" if is_bare => {
                let mut lines = b"Location: ".to_vec();
                crate::web::escape::url_path(&mut lines, &self.prefix);
                lines.extend_from_slice(b"\r\n");
                exchange.error_with(Status::PERMANENT_REDIRECT, &lines).map(Handled::Answer)
            }
            b"" => Self::page(exchange),
            b"events" => self.events(exchange),
            _ => exchange.error(Status::NOT_FOUND).map(Handled::Answer),
        }
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dashboard({})", self.prefix.escape_ascii())
    }
}

/// One viewer's stream: a frame a second.
struct Events {
    live: Live,
    running: Arc<Running>,
    worker: WorkerHandle,
    pool: ThreadPool,
    event: Arc<[u8]>,
    /// Bytes of it that were taken.
    sent: usize,
    step: Step,
    _viewer: Viewer,
}

enum Step {
    Sending,
    Sleeping(Pin<Box<Sleep>>),
    Making(Pin<Box<Pooled<Arc<[u8]>>>>),
}

impl Events {
    /// Has the next frame made; later when the pool is busy.
    fn make(&self) -> Step {
        let (live, running) = (self.live.clone(), Arc::clone(&self.running));
        match self.pool.run(move || live.event(&running)) {
            Ok(pooled) => Step::Making(Box::pin(pooled)),
            Err(_busy) => self.sleep(),
        }
    }

    fn sleep(&self) -> Step {
        Step::Sleeping(Box::pin(self.worker.sleep_until(self.worker.now_ms() + FRAME_MS)))
    }
}

impl BodySource for Events {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            self.step = match &mut self.step {
                Step::Sending if self.sent < self.event.len() => {
                    let rest = &self.event[self.sent..];
                    let count = rest.len().min(memory.len());
                    memory[..count].copy_from_slice(&rest[..count]);
                    self.sent += count;
                    return Poll::Ready(Ok(count));
                }
                // The first frame comes at once.
                Step::Sending if self.event.starts_with(b"retry") => self.make(),
                Step::Sending => self.sleep(),
                Step::Sleeping(sleep) => {
                    ready!(sleep.as_mut().poll(context));
                    self.make()
                }
                Step::Making(made) => match ready!(made.as_mut().poll(context)) {
                    Ok(event) => {
                        (self.event, self.sent) = (event, 0);
                        Step::Sending
                    }
                    Err(_busy) => self.sleep(),
                },
            };
        }
    }

    fn is_endless(&self) -> bool {
        true
    }
}

/// What the page shows at a time.
#[derive(Serialize)]
struct Frame<'a> {
    now: Now<'a>,
    rates: Rates,
    sites_left_out: usize,
    backends_left_out: usize,
    upstreams_waiting: Vec<Waiting<'a>>,
    workers: Vec<WorkerRow>,
    endpoints: &'a [EndpointFigures],
    governors: &'a [GovernorFigures],
    services: Vec<ServiceRow<'a>>,
    services_left_out: usize,
    handlers: Vec<HandlerRow<'a>>,
    handlers_left_out: usize,
}

#[derive(Serialize)]
struct Now<'a> {
    version: &'a str,
    generation: u64,
    uptime_ms: u64,
    state: State,
    driver: &'a str,
    requests: u64,
    requests_active: u64,
    by_class: [u64; 6],
    connections_open: u64,
    bytes_sent: u64,
}

/// Requests that wait for a backend of an upstream.
#[derive(Serialize)]
struct Waiting<'a> {
    name: &'a str,
    waiting: u64,
}

#[derive(Serialize)]
struct WorkerRow {
    busy: f64,
    open: u64,
}

/// A service, with what it does now.
#[derive(Serialize)]
struct ServiceRow<'a> {
    #[serde(flatten)]
    figures: &'a ServiceFigures,
    requests_per_s: f64,
    errors_per_s: f64,
}

fn services<'a>(now: &'a Snapshot, rates: &Rates) -> Vec<ServiceRow<'a>> {
    let rows = now.services.iter().zip(&rates.services).map(|(figures, rates)| ServiceRow {
        figures,
        requests_per_s: rates.requests,
        errors_per_s: rates.errors,
    });
    rows.take(SERVICES_SHOWN_MAX).collect()
}

/// An endpoint with a handler, with what it does now.
#[derive(Serialize)]
struct HandlerRow<'a> {
    figures: &'a HandlerFigures,
    rates: &'a HandlerRates,
}

fn handlers<'a>(now: &'a Snapshot, rates: &'a [HandlerRates]) -> Vec<HandlerRow<'a>> {
    let rows = now.handlers.iter().zip(rates).map(|(figures, rates)| HandlerRow { figures, rates });
    rows.take(HANDLERS_SHOWN_MAX).collect()
}

/// A frame as a server-sent event.
fn event(before: &Snapshot, now: &Snapshot) -> Vec<u8> {
    let mut rates = Rates::between(before, now);
    // In their configured order as far as they all fit, else the busiest.
    let left_out = rates.sites.len().saturating_sub(SITES_SHOWN_MAX);
    if left_out > 0 {
        rates.sites.sort_by(|one, other| other.requests.total_cmp(&one.requests));
        rates.sites.truncate(SITES_SHOWN_MAX);
    }
    let backends_left_out = shorten(&mut rates.backends);
    let waiting = now.upstreams.iter().filter(|upstream| upstream.waiting > 0);
    let waiting = waiting.map(|upstream| Waiting { name: &upstream.name, waiting: upstream.waiting });
    let by_class = now.sites.iter().fold([0; 6], |mut all, site| {
        all.iter_mut().zip(site.by_class).for_each(|(total, more)| *total += more);
        all
    });
    let busy = rates.busy.iter().copied();
    let workers = now.workers.iter().zip(busy).map(|(worker, busy)| WorkerRow { busy, open: worker.open });
    let of_handlers = std::mem::take(&mut rates.handlers);
    let frame = Frame {
        handlers: handlers(now, &of_handlers),
        handlers_left_out: now.handlers.len().saturating_sub(HANDLERS_SHOWN_MAX),
        workers: workers.collect(),
        sites_left_out: left_out,
        backends_left_out,
        upstreams_waiting: waiting.collect(),
        endpoints: &now.endpoints,
        governors: &now.governors,
        services: services(now, &rates),
        services_left_out: now.services.len().saturating_sub(SERVICES_SHOWN_MAX),
        now: Now {
            version: &now.version,
            generation: now.generation,
            uptime_ms: now.uptime_ms,
            state: now.state,
            driver: &now.driver,
            requests: now.requests(),
            requests_active: now.sites.iter().map(|site| site.active).sum(),
            by_class,
            connections_open: now.total("open"),
            bytes_sent: now.total("bytes_sent"),
        },
        rates,
    };
    // Plain data always has a JSON form, and it has no line ends.
    let json = serde_json::to_string(&frame).unwrap_or_default();
    format!("data: {json}\n\n").into_bytes()
}

/// Leaves so many backends as are shown, those in trouble first where they do not all fit. How many are left out.
fn shorten(backends: &mut Vec<BackendRates>) -> usize {
    let left_out = backends.len().saturating_sub(BACKENDS_SHOWN_MAX);
    if left_out > 0 {
        backends.sort_by_key(|backend| backend.state == "up");
        backends.truncate(BACKENDS_SHOWN_MAX);
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SiteFigures;

    #[test]
    fn the_page_loads_nothing_and_says_where_its_parts_are_from() {
        assert_eq!(PAGE.matches(NONCE).count(), 2, "style and script");
        for foreign in [
            "http:",
            "https:",
            "<link",
            "src=",
            "@import",
            "url(",
            " style=",
            " onclick=",
            "innerHTML",
            "eval(",
        ] {
            let allowed = foreign == "http:" && PAGE.matches("http:").count() == 1;
            assert!(allowed || !PAGE.contains(foreign), "{foreign}");
        }
        assert!(PAGE.contains("http://www.w3.org/2000/svg"), "a name, not an address");
    }

    #[test]
    fn a_frame_is_one_event_with_a_bounded_number_of_sites() {
        let site = |number: u64| SiteFigures {
            name: format!("s{number}\n"),
            by_class: [0, 0, number, 0, 0, 0],
            ..SiteFigures::default()
        };
        let now = Snapshot { uptime_ms: 1000, sites: (0..500).map(site).collect(), ..Snapshot::default() };
        let event = String::from_utf8(event(&Snapshot::default(), &now)).expect("UTF-8");
        let json = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("an event");
        assert!(!json.contains('\n'));
        let frame: serde_json::Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(frame["sites_left_out"], 400);
        assert_eq!(frame["rates"]["sites"].as_array().map(Vec::len), Some(SITES_SHOWN_MAX));
        assert_eq!(frame["rates"]["sites"][0]["name"], "s499\n");
        assert_eq!(frame["now"]["requests"], 124_750);
    }

    #[test]
    fn viewers_are_bounded() {
        let live = Live::new(Desk::default());
        let viewers: Vec<_> = (0..VIEWERS_MAX).map(|_| live.enter().expect("there is room")).collect();
        assert!(live.enter().is_none());
        drop(viewers);
        assert_eq!(live.viewers(), 0);
    }
}
