//! Services in shared libraries, behind the C interface of plug-ins (`ringway.h`).
//!
//! A [`Library`] is one place in a configuration that names a library. On each worker it is a handler of requests; what that
//! says is looked at before it is sent, and whatever the library does wrong costs the request it did it with. It answers at
//! once, or later from any thread, whole or in pieces. It can be replaced while it runs: requests that have begun end where
//! they began, and the old version is unmapped behind the last of them.

mod collect;
mod flow;
mod hosted;
mod owed;
#[cfg(feature = "sessions")]
mod sessions;
#[cfg(not(feature = "sessions"))]
#[path = "no_sessions.rs"]
mod sessions;
mod settle;
#[cfg(feature = "websockets")]
mod sockets;
#[cfg(not(feature = "websockets"))]
#[path = "no_sockets.rs"]
mod sockets;
mod stats;
mod view;
mod written;

pub use ringway_plugin::{Level, Listener, LoadError, census};
pub use stats::LibraryStats;

use crate::log::{self, Log};
use crate::routes::Methods;
use crate::{App, Service, SetupError};
use hosted::Hosted;
use ringway_engine::WorkerHandle;
use ringway_lock::{Mutex, MutexGuard};
use ringway_plugin::{Broadcast, Instance, Setting};
use ringway_web::pipeline::Handler;
use sockets::Rooms;
use stats::Tally;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;
pub(crate) use written::Written;

/// How long an answer that was promised is waited for, in milliseconds, if nobody says.
pub const ANSWER_MS_MAX: u64 = 30_000;

/// How libraries are used.
#[derive(Clone)]
pub struct LibraryOptions {
    /// What the library and its messages are called: the service's name.
    pub name: String,
    /// How long a promised answer, and each piece of one, is waited for, in milliseconds.
    pub answer_ms_max: u64,
    /// Who hears what it says, and what it does wrong; a service's log does as well.
    pub listener: Listener,
    /// The sessions that its requests have, if it wants some.
    #[cfg(feature = "sessions")]
    pub sessions: Option<crate::session::Sessions>,
    /// The directory whose files it may answer with, as a [`Library::service`].
    pub files: Option<PathBuf>,
}

impl Default for LibraryOptions {
    /// [`ANSWER_MS_MAX`], and nobody listens.
    fn default() -> Self {
        Self {
            name: String::from("library"),
            answer_ms_max: ANSWER_MS_MAX,
            listener: Arc::new(|_, _| {}),
            #[cfg(feature = "sessions")]
            sessions: None,
            files: None,
        }
    }
}

impl fmt::Debug for LibraryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibraryOptions")
            .field("name", &self.name)
            .field("answer_ms_max", &self.answer_ms_max)
            .finish_non_exhaustive()
    }
}

/// A library that answers requests in one place of a configuration. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Library {
    shared: Arc<Shared>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) options: LibraryOptions,
    /// Counted up when the instance is another one.
    generation: AtomicU64,
    current: Mutex<Instance>,
    /// The workers' watches.
    watches: Mutex<Vec<(u64, Waker)>>,
    pub(crate) tally: Tally,
    /// Groups of WebSockets.
    pub(crate) rooms: Arc<Rooms>,
    /// The log of the service that it is, if it is one.
    log: Arc<OnceLock<Log>>,
}

impl Library {
    /// Loads the library at `path` and has it make an instance with `config`, its own section of the configuration as text.
    ///
    /// Loading maps code: it is for before a process is confined. Both run code of the library on this thread.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and the symbol or whatever is wrong with it.
    pub fn load(path: &Path, config: &str) -> Result<Self, LoadError> {
        Self::load_with(path, config, LibraryOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As above.
    pub fn load_with(path: &Path, config: &str, options: LibraryOptions) -> Result<Self, LoadError> {
        Self::of(&ringway_plugin::Library::open(path)?, config, options)
    }

    /// The same of one that is loaded, or the program's own.
    ///
    /// # Errors
    /// As above.
    pub fn of(
        library: &ringway_plugin::Library,
        config: &str,
        options: LibraryOptions,
    ) -> Result<Self, LoadError> {
        let (options, log) = with_log(options);
        let rooms = Rooms::new();
        let instance = instance(library, config, &options, &rooms)?;
        let shared = Shared {
            rooms,
            options,
            log,
            generation: AtomicU64::new(1),
            current: Mutex::new(instance),
            watches: Mutex::default(),
            tally: Tally::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Has another version, or another configuration, take over on all workers: each goes over to it between two requests. It may
    /// be the same file.
    ///
    /// # Errors
    /// As [`Library::load`]; everything then stays as it is.
    pub fn replace(&self, path: &Path, config: &str) -> Result<(), LoadError> {
        let library = ringway_plugin::Library::open(path)?;
        let fresh = instance(&library, config, &self.shared.options, &self.shared.rooms)?;
        drop(library);
        let old = std::mem::replace(&mut *self.shared.current(), fresh);
        self.shared.generation.fetch_add(1, Ordering::Release);
        let watches = std::mem::take(&mut *self.shared.watches());
        watches.into_iter().for_each(|(_, waker)| waker.wake());
        // Outside of every lock: it may be the last user.
        drop(old);
        Ok(())
    }

    /// The handler for a worker, of requests below `mount`, such as `/app`; an empty one is all of a site. Not during a turn.
    ///
    /// # Errors
    /// The library cannot begin on this worker.
    pub fn handler(&self, worker: &WorkerHandle, mount: &str) -> io::Result<Box<dyn Handler>> {
        let hosted = Hosted::new(Arc::clone(&self.shared), worker, None).map_err(io::Error::other)?;
        Ok(Box::new(hosted.at(mount)))
    }

    /// The library as a service, with a service's counters and log. Its routes are the library's own matter, as another version
    /// may have others.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service_behind(|_app| Ok(()))
    }

    /// The same; on each worker `first` is called before the library is.
    pub fn service_behind(
        &self,
        first: impl Fn(&mut App) -> Result<(), SetupError> + Send + Sync + 'static,
    ) -> Service {
        let shared = Arc::clone(&self.shared);
        let service = Service::new(&self.shared.options.name, move |app| {
            first(app)?;
            let files = shared.options.files.as_ref().map(|files| app.directory(files)).transpose()?;
            let hosted = Hosted::new(Arc::clone(&shared), app.worker().handle(), files);
            let hosted = hosted.map_err(|error| SetupError::new(error.to_string()))?;
            for pattern in ["/", "/{*rest}"] {
                let hosted = hosted.clone();
                app.raw(Methods::Any, pattern, move |call| hosted.call(call));
            }
            Ok(())
        });
        self.shared.log.get_or_init(|| service.log().clone());
        service
    }

    /// What it calls itself, and its version.
    #[must_use]
    pub fn identity(&self) -> (String, String) {
        let instance = self.shared.current();
        (instance.library().name().to_owned(), instance.library().version().to_owned())
    }

    /// Its number, by which it logs and reaches its groups.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.shared.current().number()
    }

    /// The file it was loaded from.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.current().library().path().to_owned()
    }

    /// Methods and patterns of its routes; without any it is asked for every request.
    #[must_use]
    pub fn routes(&self) -> Vec<(String, String)> {
        let instance = self.shared.current().clone();
        let routes = instance.library().requests().map(|requests| requests.routes().to_vec());
        let named = |route: &ringway_plugin::Route| {
            (route.method.clone().unwrap_or_else(|| "*".to_owned()), route.pattern.clone())
        };
        routes.unwrap_or_default().iter().map(named).collect()
    }

    /// How it is: fine, or not, for a reason.
    ///
    /// # Errors
    /// What it says of itself.
    pub fn health(&self) -> Result<(), String> {
        // It may take its time, so the lock is not held.
        let instance = self.shared.current().clone();
        instance.health()
    }

    /// What it was asked and what came of it, on all workers, all versions.
    #[must_use]
    pub fn stats(&self) -> LibraryStats {
        self.shared.tally.stats()
    }
}

/// Has the log of a service, once there is one, hear what its listener hears.
fn with_log(mut options: LibraryOptions) -> (LibraryOptions, Arc<OnceLock<Log>>) {
    let log: Arc<OnceLock<Log>> = Arc::default();
    let (listener, heard) = (Arc::clone(&options.listener), Arc::clone(&log));
    options.listener = Arc::new(move |level, text| {
        listener(level, text);
        if let Some(log) = heard.get() {
            let level = match level {
                Level::Error => log::Level::Error,
                Level::Warn => log::Level::Warn,
                Level::Notice | Level::Info => log::Level::Info,
                Level::Debug => log::Level::Debug,
            };
            log.write(level, text);
        }
    });
    (options, log)
}

fn instance(
    library: &ringway_plugin::Library,
    config: &str,
    options: &LibraryOptions,
    rooms: &Arc<Rooms>,
) -> Result<Instance, LoadError> {
    hosted::table(library)?;
    let listener = Arc::clone(&options.listener);
    let broadcast: Arc<dyn Broadcast> = Arc::<Rooms>::clone(rooms);
    let setting =
        Setting { name: &options.name, config, listener, broadcast: Some(broadcast), connections: None };
    Instance::of_requests(library, &setting)
}

impl Shared {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The current instance.
    pub(crate) fn current(&self) -> MutexGuard<'_, Instance> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who wait for another version, by numbers of their own.
    pub(crate) fn watches(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the library did wrong.
    pub(crate) fn complain(&self, what: fmt::Arguments<'_>) {
        (self.options.listener)(Level::Error, &what.to_string());
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).field("instance", &*self.current()).finish()
    }
}
