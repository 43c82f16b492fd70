//! A service: a name, what sets it up on each worker, and what it has done.

use crate::app::App;
use crate::error::Error;
use crate::log::Log;
use crate::routes::RouteError;
use crate::running::Running;
use crate::stats::ServiceStats;
use ringway_engine::WorkerHandle;
use ringway_web::file_store::FileStore;
use ringway_web::load::LoadOptions;
use ringway_web::pipeline::Handler;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest time a handler may take when nobody says otherwise, in milliseconds.
pub const ANSWER_MS_MAX: u64 = 30_000;

/// Longest body of a request when nobody says otherwise, in bytes.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;

type Setup = dyn Fn(&mut App) -> Result<(), SetupError> + Send + Sync;

/// A service. Clones are the same service; workers and sites share its counters and log.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    name: Box<str>,
    setup: Box<Setup>,
    stats: ServiceStats,
}

/// Where and how a host runs a service.
#[derive(Clone, Default)]
pub struct Placement {
    /// The path it is mounted at, without slash at its end; empty for all paths.
    pub prefix: Box<str>,
    /// Its own directory for data, if it has one.
    pub data: Option<PathBuf>,
    /// Its own section of the configuration, if it has one.
    pub config: Option<Arc<ConfigSection>>,
    /// The worker's open-file cache; without one files of the service share what other handlers use by default.
    pub store: Option<FileStore>,
    /// How files of the service become answers.
    pub load: Option<Arc<LoadOptions>>,
}

/// A service's own section of the configuration, in which the service says what may stand there: see [`App::config`].
pub struct ConfigSection {
    /// What was written.
    pub value: serde_json::Value,
    /// Makes an error of where in the section something is wrong (such as `mail.port`; empty for the section itself) and of
    /// what is: with the file, the line, whatever the host knows.
    pub explain: Box<Explain>,
}

/// See [`ConfigSection::explain`].
pub type Explain = dyn Fn(&str, &str) -> String + Send + Sync;

impl fmt::Debug for ConfigSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSection").field("value", &self.value).finish_non_exhaustive()
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placement")
            .field("prefix", &self.prefix)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// Why a service cannot run: said when the server starts or reloads.
#[derive(Debug)]
pub struct SetupError {
    text: String,
}

impl SetupError {
    /// An error in these words.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SetupError {}

impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<RouteError> for SetupError {
    fn from(error: RouteError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Error> for SetupError {
    fn from(error: Error) -> Self {
        Self::new(error.log_text().unwrap_or_else(|| error.public_text().to_owned()))
    }
}

impl From<String> for SetupError {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for SetupError {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Service {
    /// A service. `setup` runs once on each worker (and again for a reload), so handlers may capture what belongs to the
    /// worker; what workers share is captured from outside.
    pub fn new(
        name: &str,
        setup: impl Fn(&mut App) -> Result<(), SetupError> + Send + Sync + 'static,
    ) -> Self {
        let stats = ServiceStats::new(name);
        Self { inner: Arc::new(Inner { name: name.into(), setup: Box::new(setup), stats }) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> &ServiceStats {
        &self.inner.stats
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.inner.stats.log()
    }

    /// Sets it up on the calling worker, as a handler for a site or route of the web door. Not during a turn.
    ///
    /// # Errors
    /// [`SetupError`]: the service's own, or that of its routes.
    pub fn handler(
        &self,
        worker: &WorkerHandle,
        placement: &Placement,
    ) -> Result<Box<dyn Handler>, SetupError> {
        let mut app = App::new(self, worker, placement);
        self.run_setup(&mut app)?;
        Ok(Box::new(Running::new(app.build()?)))
    }

    pub(crate) fn run_setup(&self, app: &mut App) -> Result<(), SetupError> {
        (self.inner.setup)(app).map_err(|error| SetupError::new(format!("service {}: {error}", self.name())))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.name()).finish()
    }
}
