//! A service of a configuration: what it is, where its data and log are, whether it answers, and what it has done.

use super::Directory;
use super::source::Source;
use crate::config::settings;
use crate::engine::WorkerHandle;
use crate::service::log::{Level as LineLevel, Line, LogTarget};
use crate::service::{ConfigSection, Placement, Service};
use crate::snapshot::ServiceFigures;
use crate::web::exchange::Exchange;
use crate::web::file_store::FileStore;
use crate::web::log::errors::{ErrorLog, Level};
use crate::web::pipeline::{Handled, Handler};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_lock::{Mutex, RwLock};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Lines of a service's log in figures: the youngest.
const LOG_LINES_SHOWN: usize = 40;

/// A client that is turned away may come again after so many seconds.
const RETRY_AFTER: &[u8] = b"Retry-After: 30\r\n";

/// A service by its number, and where it is mounted.
type Place = (u64, Box<str>);

thread_local! {
    /// What this worker has set up, by service and mount, as long as a site has it: a reload that leaves a service as it is
    /// leaves what it keeps, too.
    static SET_UP: RefCell<HashMap<Place, Weak<dyn Handler>>> = RefCell::default();
}

/// A service of a configuration. One that another configuration has unchanged is the same.
pub(crate) struct Hosted {
    /// Of this one alone.
    number: u64,
    settings: settings::Service,
    source: Source,
    service: Service,
    config: Value,
    known: Arc<Known>,
    is_enabled: AtomicBool,
}

/// What is kept under a service's name as long as the process lives.
struct Known {
    /// Requests that came while it was off.
    turned_away: AtomicU64,
    /// Where its lines go now.
    log: RwLock<ErrorLog>,
}

/// What a service is made with.
pub(crate) struct Surroundings<'a> {
    pub(crate) log: ErrorLog,
    pub(crate) services: &'a Directory,
}

/// All services that configurations have had, by their names.
#[derive(Clone, Default)]
pub(crate) struct KeptServices(Arc<Mutex<BTreeMap<String, Kept>>>);

struct Kept {
    source: Source,
    service: Service,
    known: Arc<Known>,
    /// The one of the configuration that is served.
    hosted: Option<Arc<Hosted>>,
}

/// A service, as the faces for operators see it.
#[derive(Clone)]
pub struct ServicePost {
    hosted: Arc<Hosted>,
    /// Sites and paths that lead to it.
    places: Vec<String>,
}

impl KeptServices {
    /// The service with these settings: the one that is served where nothing but `enabled` is another, else a new one with what
    /// was counted under its name.
    ///
    /// # Errors
    /// Why there is none, as words.
    pub(crate) fn hosted(
        &self,
        settings: &settings::Service,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<Hosted>, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = settings.name.as_str();
        if all.get(name).is_some_and(|kept| !kept.source.may_become(settings)) {
            all.remove(name);
        }
        let kept = match all.get_mut(name) {
            Some(kept) => {
                kept.source.renew(settings)?;
                kept
            }
            None => {
                let kept = Kept::new(settings, surroundings)?;
                all.entry(name.to_owned()).or_insert(kept)
            }
        };
        *kept.known.log.write().unwrap_or_else(PoisonError::into_inner) = surroundings.log.of_site(name);
        if let Some(hosted) = kept.hosted.as_ref().filter(|hosted| hosted.is_the_same(settings)) {
            return Ok(Arc::clone(hosted));
        }
        Ok(Arc::new(Hosted::new(settings, kept)?))
    }

    /// These are served from now on, switched on as their settings say.
    pub(crate) fn serve(&self, services: &[Arc<Hosted>], settings: &[settings::Service]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values_mut().for_each(|kept| kept.hosted = None);
        for (hosted, settings) in services.iter().zip(settings) {
            hosted.enable(settings.enabled);
            if let Some(kept) = all.get_mut(hosted.name()) {
                kept.hosted = Some(Arc::clone(hosted));
            }
        }
    }
}

impl Kept {
    fn new(settings: &settings::Service, surroundings: &Surroundings<'_>) -> Result<Self, String> {
        let name = settings.name.as_str();
        let (source, service) = Source::open(settings, surroundings.services)?;
        let known = Arc::new(Known {
            turned_away: AtomicU64::new(0),
            log: RwLock::new(surroundings.log.of_site(name)),
        });
        // Where it was said before, another server of this process has its lines.
        let _is_first = service.log().set_target(Arc::clone(&known) as Arc<dyn LogTarget>);
        Ok(Self { source, service, known, hosted: None })
    }
}

impl LogTarget for Known {
    fn line(&self, _service: &str, line: &Line) {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let level = match line.level {
            LineLevel::Debug => Level::Debug,
            LineLevel::Info => Level::Info,
            LineLevel::Warn => Level::Warn,
            LineLevel::Error => Level::Error,
        };
        log.say(level, "service", format_args!("{}", line.text));
    }
}

impl Hosted {
    fn new(settings: &settings::Service, kept: &Kept) -> Result<Self, String> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let config: Map<String, Value> = settings.config.clone().into_iter().collect();
        let config = Value::Object(config);
        kept.service.check_config(&config).map_err(|mistake| mistake.to_string())?;
        Ok(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            settings: settings.clone(),
            source: kept.source.clone(),
            service: kept.service.clone(),
            config,
            known: Arc::clone(&kept.known),
            is_enabled: AtomicBool::new(settings.enabled),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    /// Switches it on or off.
    pub(crate) fn enable(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    /// Whether these settings make the same service of it. Being switched off makes no difference, nor where it logs; and a
    /// library has been told of other settings.
    fn is_the_same(&self, settings: &settings::Service) -> bool {
        let mut settings = settings.clone();
        settings.enabled = self.settings.enabled;
        settings.log.clone_from(&self.settings.log);
        if settings.library.is_some() {
            settings.library.clone_from(&self.settings.library);
            settings.config.clone_from(&self.settings.config);
        }
        settings == self.settings
    }

    /// What answers below `mount` on the calling worker: what was set up there before, or is now.
    pub(crate) fn handler(
        self: &Arc<Self>,
        worker: &WorkerHandle,
        store: &FileStore,
        mount: &str,
    ) -> io::Result<Box<dyn Handler>> {
        let key = (self.number, Box::from(mount));
        let known = SET_UP.with_borrow(|all| all.get(&key).and_then(Weak::upgrade));
        let inner = match known {
            Some(known) => known,
            None => {
                let inner: Rc<dyn Handler> = Rc::from(self.set_up(worker, store, mount)?);
                SET_UP.with_borrow_mut(|all| {
                    all.retain(|_, handler| handler.strong_count() > 0);
                    all.insert(key, Rc::downgrade(&inner));
                });
                inner
            }
        };
        Ok(Box::new(Switch { hosted: Arc::clone(self), inner }))
    }

    /// The service's section of the configuration. Where in a file it stands is told by `check`, before it comes here.
    fn section(&self) -> Arc<ConfigSection> {
        let explain = |place: &str, what: &str| match place {
            "" => format!("its `config`: {what}"),
            place => format!("`{place}` in its `config`: {what}"),
        };
        Arc::new(ConfigSection { value: self.config.clone(), explain: Box::new(explain) })
    }

    fn set_up(&self, worker: &WorkerHandle, store: &FileStore, mount: &str) -> io::Result<Box<dyn Handler>> {
        let placement = Placement {
            prefix: mount.into(),
            data: self.settings.data.as_ref().map(|data| data.as_path().to_owned()),
            store: Some(store.clone()),
            config: Some(self.section()),
            ..Placement::default()
        };
        self.service.handler(worker, &placement).map_err(io::Error::other)
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted")
            .field("name", &self.name())
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptServices")
    }
}

/// A service that may be off.
struct Switch {
    hosted: Arc<Hosted>,
    inner: Rc<dyn Handler>,
}

impl Handler for Switch {
    #[inline]
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if self.hosted.is_enabled.load(Ordering::Relaxed) {
            return self.inner.handle(exchange);
        }
        let answer = exchange.error_with(Status::SERVICE_UNAVAILABLE, RETRY_AFTER)?;
        self.hosted.known.turned_away.fetch_add(1, Ordering::Relaxed);
        Ok(Handled::Answer(answer))
    }
}

impl ServicePost {
    /// A service and the sites and paths that lead to it.
    pub(crate) fn new(hosted: Arc<Hosted>, places: Vec<String>) -> Self {
        Self { hosted, places }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.hosted.name()
    }

    /// Switches it on or off.
    pub fn enable(&self, is_enabled: bool) {
        self.hosted.enable(is_enabled);
    }

    /// How it is.
    #[must_use]
    pub fn figures(&self) -> ServiceFigures {
        let hosted = &self.hosted;
        let totals = hosted.service.stats().totals();
        let lines = hosted.service.log().since(0);
        let shown = lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN));
        ServiceFigures {
            name: hosted.name().to_owned(),
            kind: hosted.source.told(),
            is_enabled: hosted.is_enabled.load(Ordering::Relaxed),
            places: self.places.clone(),
            routes: hosted.source.routes(&totals),
            requests: totals.requests,
            errors: totals.errors,
            panics: totals.panics,
            in_flight: totals.in_flight,
            turned_away: hosted.known.turned_away.load(Ordering::Relaxed),
            memory_bytes: None,
            log: shown.map(|line| format!("{} {}", line.level.as_str(), line.text)).collect(),
        }
    }
}

impl fmt::Debug for ServicePost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServicePost").field("name", &self.name()).finish_non_exhaustive()
    }
}
