//! What a server process knows of itself: where its faces (console, metrics, dashboard, health) get what they tell.

use crate::config::settings::Trace;
use crate::engine::{
    Bandwidth, ConnectionFacts, Direction, Drainer, GovernorHandle, Observer, Scope, ScopeStatus, Server,
    Verdict,
};
use crate::snapshot::{
    EndpointFigures, GovernorFigures, HandlerFigures, ServiceFigures, SiteFigures, Snapshot, State,
    UpstreamFigures, WorkerFigures,
};
use crate::web::log::errors::{ErrorLog, Level};
use crate::web::log::files::LogFiles;
use crate::web::site_counters::SiteBook;
use crate::web::upstream::Group;
use ringway_lock::Mutex;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the workers may take to tell of their connections.
const SURVEY_WITHIN: Duration = Duration::from_secs(2);

/// A running server. Any thread may ask.
pub struct Running {
    started: Instant,
    started_unix_s: u64,
    generation: u64,
    driver: String,
    observer: Observer,
    drainer: Drainer,
    governor: GovernorHandle,
    /// The rules of scopes whose figure was taken away here, for when it is set again.
    rules: Mutex<Vec<(Scope, Bandwidth)>>,
    is_draining: AtomicBool,
    posts: Mutex<Arc<Posts>>,
    /// Endpoints that have processes of their own, as the supervisor has told last.
    apart: Mutex<Value>,
}

/// What a configuration brings along; replaced as a whole by a reload.
#[derive(Default)]
pub struct Posts {
    /// By the endpoints' places; `None` where one was removed.
    pub endpoints: Vec<Option<EndpointPost>>,
    /// Endpoints that have no place among those, as those of datagrams.
    pub others: Vec<EndpointPost>,
    /// Endpoints with handlers of their own, in their configured order.
    pub handlers: Vec<Arc<dyn HandlerPost>>,
    /// In their configured order.
    pub sites: Vec<SitePost>,
    /// Servers behind this one.
    pub upstreams: Vec<Arc<Group>>,
    /// Services.
    #[cfg(feature = "services")]
    pub services: Vec<crate::hosting::ServicePost>,
    /// Limits by their settings' names, as text with units.
    pub limits: Vec<(String, String)>,
    /// What is part of the server, and where it comes in.
    pub modules: Vec<ModulePost>,
    /// The configuration as it was resolved. What looks like a secret is not told.
    pub config: Value,
    /// Every file that lines are written to.
    pub log_files: LogFiles,
    /// The error log, if there is one.
    pub error_log: Option<ErrorLog>,
}

/// An endpoint, as operators call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPost {
    /// Its name, or its address where it has none.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// What is spoken there, such as `http/1.1, h2 over TLS`.
    pub speaks: String,
}

/// An endpoint with a handler of its own, as operators deal with it.
pub trait HandlerPost: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// How it is.
    fn figures(&self) -> HandlerFigures;

    /// Changes what is told of its traffic.
    fn trace(&self, level: Trace);

    /// Takes its handler anew; what serves now: a sentence.
    ///
    /// # Errors
    /// Why it was not replaced: a sentence. The old one serves on.
    fn replace(&self) -> Result<String, String>;
}

/// A site, as operators call it.
#[derive(Clone, Debug)]
pub struct SitePost {
    /// Its name.
    pub name: String,
    /// The names it answers for.
    pub hosts: Vec<String>,
    /// Where its files are, if it has any.
    pub root: Option<String>,
    /// Its number among the governor's scopes, if its bandwidth can be governed.
    pub scope: Option<u16>,
    /// Its counters.
    pub book: Arc<SiteBook>,
}

/// There is no service of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownService;

/// A part of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModulePost {
    /// Its name.
    pub name: String,
    /// Where it comes in: `accepted`, `request`, `handler`, `answer`, `served`, `closed`, `transport`.
    pub stage: &'static str,
    /// How many sites and endpoints have it.
    pub uses: usize,
}

impl Running {
    /// A server that has just been started. `generation` counts the processes that have served for one supervisor.
    #[must_use]
    pub fn new(server: &Server, generation: u64, posts: Posts) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix_s: since.as_secs(),
            generation,
            driver: server.report().to_string(),
            observer: server.observer(),
            drainer: server.drainer(),
            governor: server.governor(),
            rules: Mutex::default(),
            is_draining: AtomicBool::new(false),
            posts: Mutex::new(Arc::new(posts)),
            apart: Mutex::new(Value::Null),
        }
    }

    /// What the configuration in force has brought along.
    #[must_use]
    pub fn posts(&self) -> Arc<Posts> {
        Arc::clone(&self.posts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the endpoints that have processes of their own: a list of objects with `name`, `process` (its number, or
    /// null while none serves), `deaths`, `failure`, `restart_in_ms`, and `figures`, which is what the command `endpoints` of
    /// that process's console answered last. Null where there are none, or before the supervisor has told of them.
    #[must_use]
    pub fn apart(&self) -> Value {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what the supervisor tells of them.
    pub(crate) fn note_apart(&self, figures: Value) {
        *self.apart.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// Puts a new configuration's posts in force, after a reload. Counters go on where a site keeps its [`SiteBook`].
    pub fn replace(&self, posts: Posts) {
        *self.posts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(posts);
    }

    /// Whether it has been asked to finish.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed) || self.observer.totals().draining > 0
    }

    /// Asks the server to finish what is under way and stop.
    pub fn drain(&self, within: Duration) {
        // The workers will have heard of it a moment later.
        self.is_draining.store(true, Ordering::Relaxed);
        self.drainer.drain(within);
    }

    /// At most `most` of the open connections. Not for workers' threads: it waits for them.
    #[must_use]
    pub fn connections(&self, most: usize) -> Vec<ConnectionFacts> {
        self.observer.connections(most, SURVEY_WITHIN)
    }

    /// The name of an endpoint.
    #[must_use]
    pub fn endpoint_name(&self, place: usize) -> String {
        let posts = self.posts();
        let post = posts.endpoints.get(place).and_then(Option::as_ref);
        post.map_or_else(|| format!("{place}"), |post| post.name.clone())
    }

    /// Changes the figure that a scope's bandwidth is kept below, in bits per second; `None`: no limit from now on.
    /// Connections are not touched. `name` is `server`, `endpoint NAME` or `site NAME`.
    ///
    /// # Errors
    /// Why it cannot be, as a sentence.
    pub fn govern(&self, name: &str, limit_bits_per_s: Option<u64>) -> Result<(), String> {
        let posts = self.posts();
        let scope = scope_of(&posts, name)?;
        let current = self.governor.get(scope);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current {
            rules.retain(|(other, _)| *other != scope);
            rules.push((scope, current));
        }
        let known = rules.iter().find(|(other, _)| *other == scope).map(|(_, bandwidth)| *bandwidth);
        let bandwidth = limit_bits_per_s.map(|bits| {
            let plain = Bandwidth::new(bits / 8);
            Bandwidth { bytes_per_s: plain.bytes_per_s, ..known.unwrap_or(plain) }
        });
        match self.governor.set(scope, bandwidth) {
            true => Ok(()),
            false => Err("too much is governed already.".to_owned()),
        }
    }

    /// Takes a backend of an upstream out, or in again. Those that are under way there are finished.
    ///
    /// # Errors
    /// Why it cannot be, as a sentence.
    pub fn drain_backend(&self, upstream: &str, address: &str, is_drained: bool) -> Result<(), String> {
        let posts = self.posts();
        let Some(group) = posts.upstreams.iter().find(|group| group.name() == upstream) else {
            return Err(format!("there is no upstream {upstream:?}; upstreams lists them."));
        };
        match group.drain(address, is_drained) {
            true => Ok(()),
            false => Err(format!("{upstream} has no backend {address:?}; upstreams lists them.")),
        }
    }

    /// Switches a service on or off, until the next reload.
    ///
    /// # Errors
    /// There is none of that name.
    #[cfg(feature = "services")]
    pub fn enable_service(&self, name: &str, is_enabled: bool) -> Result<(), UnknownService> {
        let posts = self.posts();
        let post = posts.services.iter().find(|post| post.name() == name).ok_or(UnknownService)?;
        post.enable(is_enabled);
        Ok(())
    }

    /// Changes what is told of the traffic of an endpoint with a handler, until the next reload; what comes of it: a sentence.
    ///
    /// # Errors
    /// Nothing, where no endpoint of that name has a handler; else why it cannot be: a sentence.
    pub fn trace(&self, name: &str, level: Trace) -> Result<String, Option<String>> {
        let posts = self.posts();
        let post = posts.handlers.iter().find(|post| post.name() == name).ok_or(None)?;
        post.trace(level);
        Ok(match level {
            Trace::Off => format!("nothing is told of the traffic of {name} from now on."),
            Trace::Sizes => {
                format!("the error log tells how much comes and goes at {name}, until the next reload.")
            }
            Trace::Bytes => {
                format!("the error log tells what comes and goes at {name}, until the next reload.")
            }
        })
    }

    /// Takes the handler of an endpoint anew; what serves now: a sentence. Waits for the workers, so it is not for them.
    ///
    /// # Errors
    /// Nothing, where no endpoint of that name has a handler; else why it was not replaced: a sentence.
    pub fn replace_handler(&self, name: &str) -> Result<String, Option<String>> {
        let posts = self.posts();
        let post = posts.handlers.iter().find(|post| post.name() == name).ok_or(None)?;
        post.replace().map_err(Some)
    }

    /// There are no services in a program that was built without them.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "services"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub fn enable_service(&self, _name: &str, _is_enabled: bool) -> Result<(), UnknownService> {
        Err(UnknownService)
    }

    fn governors(&self, posts: &Posts) -> Vec<GovernorFigures> {
        let figures = |status: ScopeStatus| GovernorFigures {
            name: scope_name(posts, status.scope),
            direction: match status.bandwidth.direction {
                Direction::Sent => "sent",
                Direction::Received => "received",
                Direction::Both => "both",
            }
            .to_owned(),
            limit_bits_per_s: status.bandwidth.bytes_per_s * 8,
            used_bits_per_s: status.used_bytes_per_s * 8,
            read: verdict(status.verdicts.read).to_owned(),
            write: verdict(status.verdicts.write).to_owned(),
            transmit: verdict(status.verdicts.transmit).to_owned(),
            waiting: status.waiting,
            delayed: status.blocked,
            rejected: status.rejected,
        };
        self.governor.status().into_iter().map(figures).collect()
    }

    /// Opens the log files anew, after somebody has moved them.
    ///
    /// # Errors
    /// What could not be opened; it is written to where it was.
    pub fn reopen_logs(&self) -> Result<usize, String> {
        let posts = self.posts();
        let failures = posts.log_files.reopen();
        if failures.is_empty() {
            return Ok(posts.log_files.living().iter().filter(|file| file.path().is_some()).count());
        }
        let told = failures.iter().map(|(path, error)| format!("{}: {error}", path.display()));
        Err(format!("not opened anew: {}", told.collect::<Vec<_>>().join("; ")))
    }

    /// Which messages the error log takes from now on.
    ///
    /// # Errors
    /// When there is no error log.
    pub fn set_log_level(&self, level: Level) -> Result<(), String> {
        let posts = self.posts();
        let log = posts.error_log.as_ref().ok_or("this server has no error log")?;
        log.set_level(level);
        Ok(())
    }

    /// Which messages the error log takes; `None` without one.
    #[must_use]
    pub fn log_level(&self) -> Option<Level> {
        let posts = self.posts();
        let log = posts.error_log.as_ref()?;
        let levels = [Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error];
        levels.into_iter().find(|level| log.wants(*level))
    }

    /// All figures at this moment. Waits for nobody.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let posts = self.posts();
        let uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let totals = self.observer.totals();
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation,
            started_unix_s: self.started_unix_s,
            uptime_ms,
            state: if self.is_draining() { State::Draining } else { State::Serving },
            driver: self.driver.clone(),
            totals: totals.iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            workers: self.observer.workers().iter().map(WorkerFigures::from).collect(),
            handlers: self.handler_figures(&posts),
            endpoints: self.endpoint_figures(&posts),
            sites: posts.sites.iter().map(|site| SiteFigures::new(&site.name, &site.book.totals())).collect(),
            upstreams: posts.upstreams.iter().map(|group| UpstreamFigures::from(&**group)).collect(),
            services: service_figures(&posts),
            governors: self.governors(&posts),
            log_lines_dropped: posts.log_files.dropped(),
        }
    }

    /// Figures of the handlers here, and of those in processes of their own as they told last.
    fn handler_figures(&self, posts: &Posts) -> Vec<HandlerFigures> {
        let mut all: Vec<HandlerFigures> = posts.handlers.iter().map(|post| post.figures()).collect();
        let apart = self.apart();
        all.extend(apart.as_array().into_iter().flatten().filter_map(figures_apart));
        all
    }

    fn endpoint_figures(&self, posts: &Posts) -> Vec<EndpointFigures> {
        let counted = self.observer.endpoints();
        let figures = |(place, post): (usize, &Option<EndpointPost>)| {
            let counted = counted.get(place).copied().unwrap_or_default();
            let post = post.as_ref()?;
            Some(EndpointFigures {
                name: post.name.clone(),
                address: post.address.clone(),
                open: counted.open,
                accepted: counted.accepted,
                refused: counted.refused,
            })
        };
        let placed = posts.endpoints.iter().enumerate().filter_map(figures);
        placed.chain(posts.others.iter().map(|post| other_figures(posts, post))).collect()
    }
}

#[cfg(feature = "services")]
fn service_figures(posts: &Posts) -> Vec<ServiceFigures> {
    posts.services.iter().map(crate::hosting::ServicePost::figures).collect()
}

#[cfg(not(feature = "services"))]
fn service_figures(_posts: &Posts) -> Vec<ServiceFigures> {
    Vec::new()
}

/// Figures of a handler in a process of its own, from what the supervisor tells of it.
fn figures_apart(told: &Value) -> Option<HandlerFigures> {
    let name = told.get("name")?.as_str()?.to_owned();
    let number = |key: &str| told.get(key).and_then(Value::as_u64);
    let figures = told.get("figures").and_then(|figures| HandlerFigures::deserialize(figures).ok());
    let state = match (number("process"), number("restart_in_ms")) {
        (Some(process), _) => format!("process {process}"),
        (None, Some(wait_ms)) => format!("no process, the next one in {wait_ms} ms"),
        (None, None) => "its process starts".to_owned(),
    };
    let failure = told.get("failure").and_then(Value::as_str).map(|why| format!(": {why}"));
    let about = format!("{state}, {} died{}", number("deaths").unwrap_or(0), failure.unwrap_or_default());
    Some(HandlerFigures { name, about, ..figures.unwrap_or_default() })
}

/// Figures of an endpoint that the engine counts nothing of: its handler does.
fn other_figures(posts: &Posts, post: &EndpointPost) -> EndpointFigures {
    let handler = posts.handlers.iter().find(|handler| handler.name() == post.name);
    let figures = handler.map(|handler| handler.figures()).unwrap_or_default();
    EndpointFigures {
        name: post.name.clone(),
        address: post.address.clone(),
        open: figures.open,
        accepted: figures.opened,
        refused: figures.refused,
    }
}

/// The scope of that name.
fn scope_of(posts: &Posts, name: &str) -> Result<Scope, String> {
    let is_it =
        |post: &Option<EndpointPost>, wanted: &str| post.as_ref().is_some_and(|post| post.name == wanted);
    let found = match name.split_once(' ') {
        None if name == "server" => Some(Scope::Server),
        Some(("endpoint", wanted)) => {
            posts.endpoints.iter().position(|post| is_it(post, wanted)).map(Scope::Endpoint)
        }
        Some(("site", wanted)) => {
            let site = posts.sites.iter().find(|site| site.name == wanted);
            site.and_then(|site| site.scope).map(Scope::Site)
        }
        _ => None,
    };
    found.ok_or_else(|| {
        format!(
            "there is no {name:?} to govern; there are server, endpoint NAME and site NAME, by their names."
        )
    })
}

fn scope_name(posts: &Posts, scope: Scope) -> String {
    match scope {
        Scope::Server => "server".to_owned(),
        Scope::Endpoint(place) => {
            let post = posts.endpoints.get(place).and_then(Option::as_ref);
            post.map_or_else(|| format!("endpoint {place}"), |post| format!("endpoint {}", post.name))
        }
        Scope::Site(number) => {
            let site = posts.sites.iter().find(|site| site.scope == Some(number));
            site.map_or_else(|| format!("site {number}"), |site| format!("site {}", site.name))
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Block => "delay",
        Verdict::Reject => "reject",
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posts")
            .field("endpoints", &self.endpoints)
            .field("sites", &self.sites.len())
            .finish_non_exhaustive()
    }
}
