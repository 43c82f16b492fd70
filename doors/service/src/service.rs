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
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Longest time a handler may take when nobody says otherwise, in milliseconds.
pub const ANSWER_MS_MAX: u64 = 30_000;

/// Longest body of a request when nobody says otherwise, in bytes.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;

type Check = fn(&Value) -> Result<(), ConfigMistake>;

type Setup = dyn Fn(&mut App) -> Result<(), SetupError> + Send + Sync;

/// A service. Clones are the same service; workers and sites share its counters and log.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    name: Box<str>,
    setup: Arc<Setup>,
    /// Whether a section of the configuration is what it takes, where that can be said before it is set up.
    check: Option<Check>,
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
    pub value: Value,
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

#[cfg(feature = "sqlite")]
impl From<crate::sqlite::SqliteError> for SetupError {
    fn from(error: crate::sqlite::SqliteError) -> Self {
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
        Self::made(name, Arc::new(setup), None)
    }

    /// A service that takes a section of the configuration of type `T`: [`App::config`] before `setup`. What it does not take is
    /// told with file and line by `ringway check`, and before anything is served.
    pub fn with_config<T: DeserializeOwned>(
        name: &str,
        setup: impl Fn(&mut App, T) -> Result<(), SetupError> + Send + Sync + 'static,
    ) -> Self {
        let read = move |app: &mut App| {
            let config = app.config()?;
            setup(app, config)
        };
        Self::made(name, Arc::new(read), Some(check::<T>))
    }

    fn made(name: &str, setup: Arc<Setup>, check: Option<Check>) -> Self {
        let stats = ServiceStats::new(name);
        Self { inner: Arc::new(Inner { name: name.into(), setup, check, stats }) }
    }

    /// The same service under another name, with counters and a log of its own.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self::made(name, Arc::clone(&self.inner.setup), self.inner.check)
    }

    /// Whether `other` is this very service.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the service takes this section of a configuration, as far as it says that before it is set up.
    ///
    /// # Errors
    /// What it does not take.
    pub fn check_config(&self, section: &Value) -> Result<(), ConfigMistake> {
        self.inner.check.map_or(Ok(()), |check| check(section))
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

/// What a service does not take of its section of the configuration, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMistake {
    path: Vec<String>,
    what: String,
}

impl ConfigMistake {
    /// The keys and places in lists that lead to it, from the outside. What is missing is missing in the table they lead to.
    #[must_use]
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// What is wrong there, without full stop.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "`{}`: {}", self.path.join("."), self.what),
        }
    }
}

impl std::error::Error for ConfigMistake {}

/// Reads a section as `T`, and forgets it.
fn check<T: DeserializeOwned>(section: &Value) -> Result<(), ConfigMistake> {
    serde_path_to_error::deserialize::<_, T>(section).map(drop).map_err(|error| {
        let keys = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        ConfigMistake { path: keys.collect(), what: error.inner().to_string() }
    })
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Chat {
        #[serde(default)]
        history: u32,
        #[serde(default)]
        rooms: Vec<Room>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Room {
        name: String,
    }

    #[test]
    fn mistakes_in_a_section_are_told_with_their_place() {
        let chat = Service::with_config("chat", |_app, _config: Chat| Ok(()));
        assert_eq!(chat.check_config(&json!({ "history": 3, "rooms": [{ "name": "a" }] })), Ok(()));
        let wrong = |section: Value| chat.check_config(&section).expect_err("it is wrong");
        let mistake = wrong(json!({ "history": "many" }));
        assert_eq!(mistake.path(), ["history"]);
        assert!(mistake.to_string().starts_with("`history`: invalid type: string \"many\""), "{mistake}");
        let mistake = wrong(json!({ "rooms": [{ "name": "a" }, {}] }));
        assert_eq!(
            (mistake.path().join("."), mistake.what()),
            ("rooms.1".to_owned(), "missing field `name`")
        );
        assert!(wrong(json!({ "histry": 1 })).what().contains("histry"));
        let any = Service::new("any", |_app| Ok(()));
        assert_eq!(any.check_config(&json!({ "whatever": 1 })), Ok(()));
    }

    #[test]
    fn a_renamed_service_is_another_one_with_the_same_wishes() {
        let chat = Service::with_config("chat", |_app, _config: Chat| Ok(()));
        let other = chat.renamed("other");
        assert!(chat.is(&chat.clone()) && !chat.is(&other));
        assert_eq!(other.name(), "other");
        assert!(other.check_config(&json!({ "history": -1 })).is_err());
    }
}
