//! What a service sets up on a worker: its routes and their handlers, files, timers, and what is done at its end.

use crate::blocked::Note;
use crate::files::Directory;
use crate::handler::{Call, Endpoint, Handler};
use crate::log::Log;
use crate::request::Request;
use crate::response::IntoResponse;
use crate::routes::{Methods, Pattern, RouteError, Table};
use crate::running::{Built, Check, ExitHook, Route};
use crate::service::{ANSWER_MS_MAX, BODY_BYTES_MAX, Placement, Service, SetupError};
#[cfg(feature = "sessions")]
use crate::session::Sessions;
use crate::worker::Worker;
use ringway_engine::WorkerHandle;
use ringway_http::response::EncodeError;
use ringway_web::file_cache::CacheLimits;
use ringway_web::file_store::FileStore;
use ringway_web::load::LoadOptions;
use ringway_web::pipeline::{Handled, Handler as _};
use ringway_web::root::{OpenRoot, RootOptions};
use ringway_web::static_files::{FilesOptions, StaticFiles};
use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A service as it is set up on one worker.
pub struct App {
    service: Service,
    worker: Worker,
    placement: Placement,
    table: Table,
    routes: Vec<Route>,
    fallback: Option<Route>,
    exits: Vec<ExitHook>,
    #[cfg(feature = "sessions")]
    sessions: Option<Sessions>,
    /// Of the groups that routes are added in.
    group: String,
    body_bytes_max: u64,
    answer_ms_max: u64,
    checks: Rc<[Check]>,
    /// The first route that cannot be; told when all is set up.
    error: Option<RouteError>,
}

impl App {
    pub(crate) fn new(service: &Service, worker: &WorkerHandle, placement: &Placement) -> Self {
        Self {
            service: service.clone(),
            worker: Worker::new(worker.clone(), service.log().clone()),
            placement: placement.clone(),
            table: Table::default(),
            routes: Vec::new(),
            fallback: None,
            exits: Vec::new(),
            #[cfg(feature = "sessions")]
            sessions: None,
            group: String::new(),
            body_bytes_max: BODY_BYTES_MAX,
            answer_ms_max: ANSWER_MS_MAX,
            checks: Rc::default(),
            error: None,
        }
    }

    /// Has `handler` answer `GET` (and `HEAD`) for the paths of this pattern: `/about`, `/users/{id}`, `/files/{*path}`.
    /// A pattern that is none fails the set-up.
    pub fn get<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.route("GET", pattern, handler)
    }

    /// The same for `POST`.
    pub fn post<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.route("POST", pattern, handler)
    }

    /// The same for `PUT`.
    pub fn put<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.route("PUT", pattern, handler)
    }

    /// The same for `PATCH`.
    pub fn patch<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.route("PATCH", pattern, handler)
    }

    /// The same for `DELETE`.
    pub fn delete<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.route("DELETE", pattern, handler)
    }

    /// The same for this method, in capitals as it is sent.
    pub fn route<M>(&mut self, method: &str, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.add(Methods::One(method.into()), pattern, handler.into_endpoint())
    }

    /// The same for all methods that no other route of the path is for.
    pub fn any<M>(&mut self, pattern: &str, handler: impl Handler<M>) -> &mut Self {
        self.add(Methods::Any, pattern, handler.into_endpoint())
    }

    /// The same for who works on the exchange itself: other protocols, bodies of their own making.
    pub fn raw(
        &mut self,
        methods: Methods,
        pattern: &str,
        handler: impl Fn(&mut Call<'_, '_>) -> Result<Handled, EncodeError> + 'static,
    ) -> &mut Self {
        self.add(methods, pattern, Endpoint::raw(handler))
    }

    /// Has `handler` answer for all paths that no route is for. Without it such requests go on to whatever else the site has.
    pub fn fallback<M>(&mut self, handler: impl Handler<M>) -> &mut Self {
        self.fallback = Some(self.route_of(handler.into_endpoint()));
        self
    }

    /// The same for who works on the exchange itself.
    #[cfg(feature = "tower")]
    pub(crate) fn raw_fallback(
        &mut self,
        handler: impl Fn(&mut Call<'_, '_>) -> Result<Handled, EncodeError> + 'static,
    ) -> &mut Self {
        self.fallback = Some(self.route_of(Endpoint::raw(handler)));
        self
    }

    /// Of the groups that routes are added in.
    #[cfg(feature = "tower")]
    pub(crate) fn group_prefix(&self) -> &str {
        &self.group
    }

    /// Adds routes whose patterns all begin with `prefix`, which may have parameters. Limits that are set within hold within.
    pub fn group(&mut self, prefix: &str, add: impl FnOnce(&mut Self)) -> &mut Self {
        let before = (self.group.len(), self.body_bytes_max, self.answer_ms_max, Rc::clone(&self.checks));
        self.group.push_str(prefix.trim_end_matches('/'));
        add(self);
        self.group.truncate(before.0);
        (self.body_bytes_max, self.answer_ms_max, self.checks) = (before.1, before.2, before.3);
        self
    }

    /// Sets another service up below `prefix`, as part of this one.
    ///
    /// # Errors
    /// Its own.
    pub fn mount(&mut self, prefix: &str, other: &Service) -> Result<&mut Self, SetupError> {
        let mut done = Ok(());
        self.group(prefix, |app| done = other.run_setup(app));
        done.map(|()| self)
    }

    /// Serves the files below a directory for the paths below `prefix`. Relative names are those of the process.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn files(&mut self, prefix: &str, directory: impl AsRef<Path>) -> Result<&mut Self, SetupError> {
        let place = format!("{}{}", self.group, prefix.trim_end_matches('/'));
        let whole = format!("{}{place}", self.placement.prefix);
        let files = self.open_files(directory.as_ref(), whole.as_bytes())?;
        self.raw(Methods::Any, &format!("{}/{{*file}}", prefix.trim_end_matches('/')), move |call| {
            files.handle(call.exchange())
        });
        Ok(self)
    }

    /// A directory whose files handlers may answer with: see [`Directory::file`].
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn directory(&self, directory: impl AsRef<Path>) -> Result<Directory, SetupError> {
        self.open_files(directory.as_ref(), b"").map(Directory::new)
    }

    fn open_files(&self, directory: &Path, prefix: &[u8]) -> Result<StaticFiles, SetupError> {
        let explain = |error| SetupError::new(format!("the directory {}: {error}", directory.display()));
        let root = OpenRoot::open(directory, RootOptions::default()).map_err(explain)?;
        let store = match &self.placement.store {
            Some(store) => store.clone(),
            None => FileStore::of(self.worker.handle(), CacheLimits::default()),
        };
        let load = self.placement.load.clone().unwrap_or_else(|| Arc::new(LoadOptions::default()));
        let options = FilesOptions { prefix: prefix.into(), ..FilesOptions::default() };
        StaticFiles::new(&root, load, options, &store).map_err(explain)
    }

    /// Sets how long bodies of requests may be, in bytes, for the routes that are added next.
    pub fn body_limit(&mut self, bytes_max: u64) -> &mut Self {
        self.body_bytes_max = bytes_max;
        self
    }

    /// Sets how long handlers may take for their answer, for the routes that are added next; who takes longer is dropped, and the
    /// client answered 503. While a handler reads the body with [`crate::OwnedRequest::bytes`] and its kin the time begins anew with
    /// each piece: how slow a client may be is the server's limit.
    pub fn answer_limit(&mut self, longest: Duration) -> &mut Self {
        self.answer_ms_max = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Calls `action` every so often on this worker: see [`Worker::every`].
    pub fn every(&mut self, period: Duration, action: impl FnMut() + 'static) -> &mut Self {
        self.worker.every(period, action);
        self
    }

    /// Calls `action` after that long on this worker: see [`Worker::after`].
    pub fn after(&mut self, duration: Duration, action: impl FnOnce() + 'static) -> &mut Self {
        self.worker.after(duration, action);
        self
    }

    /// Calls `action` when the service is taken out of the server on this worker, behind its last request: the last added first.
    pub fn on_exit(&mut self, action: impl FnOnce() + 'static) -> &mut Self {
        self.exits.push(Box::new(action));
        self
    }

    /// Gives the service sessions: what [`crate::OwnedRequest::session`] finds them in. One that is mounted has those of the
    /// whole.
    #[cfg(feature = "sessions")]
    pub fn sessions(&mut self, sessions: &Sessions) -> &mut Self {
        self.sessions = Some(sessions.clone());
        self
    }

    /// The worker.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Where and how the host runs the service.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The service's section of the configuration as a value; where there is no section, what an empty one is.
    ///
    /// # Errors
    /// One that says where the section is wrong, and how.
    pub fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T, SetupError> {
        let empty = serde_json::Value::Object(serde_json::Map::new());
        let section = self.placement.config.as_deref();
        let value = section.map_or(&empty, |section| &section.value);
        serde_path_to_error::deserialize(value).map_err(|error| {
            let place = error.path().to_string();
            let (place, what) = (if place == "." { "" } else { &*place }, error.inner().to_string());
            SetupError::new(match section {
                Some(section) => (section.explain)(place, &what),
                None => format!("the service has no section in the configuration, and needs one: {what}"),
            })
        })
    }

    /// The service's own directory for data; it is made when it is missing.
    ///
    /// # Errors
    /// When the host has given it none, or it cannot be made.
    pub fn data(&self) -> Result<&Path, SetupError> {
        let none = || SetupError::new("the service has no directory for data, and needs one");
        let data = self.placement.data.as_deref().ok_or_else(none)?;
        if data.is_dir() {
            return Ok(data);
        }
        std::fs::create_dir_all(data).map_err(|error| {
            SetupError::new(format!("the directory for data, {}: {error}", data.display()))
        })?;
        Ok(data)
    }

    /// Has `check` look at every request for the routes that are added next, before their handlers: what it gives as an error is
    /// the answer. Checks run in the order they were added; those of a group hold within it.
    pub fn check<R: IntoResponse>(
        &mut self,
        check: impl Fn(&Request<'_>) -> Result<(), R> + 'static,
    ) -> &mut Self {
        let check: Check = Rc::new(move |request| check(request).err().map(IntoResponse::into_response));
        self.checks = self.checks.iter().cloned().chain([check]).collect();
        self
    }

    /// The service's log.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.service.log()
    }

    /// The routes so far.
    #[must_use]
    pub fn routes(&self) -> &Table {
        &self.table
    }

    fn route_of(&self, endpoint: Endpoint) -> Route {
        let (body_bytes_max, answer_ms_max) = (self.body_bytes_max, self.answer_ms_max);
        Route { endpoint, checks: Rc::clone(&self.checks), body_bytes_max, answer_ms_max }
    }

    fn add(&mut self, methods: Methods, pattern: &str, endpoint: Endpoint) -> &mut Self {
        let route = self.route_of(endpoint);
        let added = Pattern::parse(&format!("{}{pattern}", self.group))
            .map_err(RouteError::from)
            .and_then(|pattern| self.table.add(methods, pattern));
        match added {
            Ok(_number) => self.routes.push(route),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    pub(crate) fn build(mut self) -> Result<Built, SetupError> {
        if let Some(error) = self.error.take() {
            return Err(SetupError::new(format!("service {}: {error}", self.service.name())));
        }
        self.table.compile()?;
        let stats = self.service.stats().open(&self.table);
        let named = Arc::clone(&stats);
        let note = Note::new(self.service.log().clone(), move |route| named.name(route));
        Ok(Built {
            prefix: self.placement.prefix.trim_end_matches('/').as_bytes().into(),
            service: self.service,
            table: self.table,
            routes: self.routes,
            fallback: self.fallback,
            worker: self.worker,
            stats,
            note,
            exits: RefCell::new(self.exits),
            #[cfg(feature = "sessions")]
            sessions: self.sessions,
        })
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("service", &self.service.name())
            .field("routes", &self.table)
            .finish_non_exhaustive()
    }
}
