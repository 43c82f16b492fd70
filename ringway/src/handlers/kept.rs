//! Handlers that outlive configurations: with what was counted under their endpoints' names, and as they are where nothing of
//! theirs has changed.

use super::source::Stamp;
use super::work::{Known, Replaceable, Work};
use crate::config::settings::{self, Limits, Trace};
use crate::snapshot::HandlerFigures;
use crate::web::log::errors::{ErrorLog, Level};
use ringway_lock::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// All handlers that configurations have had, by their endpoints' names. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct KeptHandlers(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    handlers: BTreeMap<String, Kept>,
    /// Handlers of datagrams in the engine, by the keys of their addresses.
    switches: BTreeMap<String, Replaceable>,
}

struct Kept {
    known: Arc<Known>,
    /// What serves.
    work: Option<Arc<Work>>,
}

impl KeptHandlers {
    /// The handler with these settings: the one that serves where nothing of it is another, else a new one.
    ///
    /// # Errors
    /// Why there is none, as words.
    pub(crate) fn work(
        &self,
        settings: &settings::Endpoint,
        limits: &Limits,
        log: &ErrorLog,
    ) -> Result<Arc<Work>, String> {
        let name = settings.name.as_str();
        let mut inside = self.lock();
        let known = || Kept { known: Known::new(name, log), work: None };
        let kept = inside.handlers.entry(name.to_owned()).or_insert_with(known);
        let stamp = Stamp::of(settings);
        if let Some(work) = kept.work.as_ref().filter(|work| work.is_the_same(settings, limits, &stamp)) {
            return Ok(Arc::clone(work));
        }
        Ok(Arc::new(Work::new(settings, limits, stamp, &kept.known)?))
    }

    /// The handler of an endpoint made anew, with the settings it has.
    ///
    /// # Errors
    /// Why there is none, as words.
    pub(crate) fn anew(&self, name: &str) -> Result<(Arc<Work>, Arc<Work>), String> {
        let before = self.served(name).ok_or_else(|| "it does not serve".to_owned())?;
        if before.settings.handler.as_ref().is_none_or(|handler| handler.library().is_none()) {
            return Err(format!("{} is built in; another program brings another one", before.handler()));
        }
        let stamp = Stamp::of(&before.settings);
        let work = Work::new(&before.settings, &before.limits, stamp, &before.known)?;
        Ok((before, Arc::new(work)))
    }

    /// These serve from now on; `log` has their lines, and their traffic is told as their settings say.
    pub(crate) fn serve(&self, works: &[Arc<Work>], config: &settings::Config, log: &ErrorLog) {
        let mut inside = self.lock();
        let served: Vec<&str> = works.iter().map(|work| work.name()).collect();
        inside.handlers.retain(|name, _| served.contains(&name.as_str()));
        for work in works {
            work.known.log_to(log);
            let endpoint = config.endpoint.iter().find(|endpoint| endpoint.name.as_str() == work.name());
            endpoint.into_iter().for_each(|endpoint| work.known.trace(endpoint.trace));
        }
        drop(inside);
        works.iter().for_each(|work| self.put(work));
    }

    /// This one serves its endpoint from now on.
    pub(crate) fn put(&self, work: &Arc<Work>) {
        let mut inside = self.lock();
        let kept = Kept { known: Arc::clone(&work.known), work: None };
        let kept = inside.handlers.entry(work.name().to_owned()).or_insert(kept);
        let before = kept.work.replace(Arc::clone(work));
        if before.is_some_and(|before| !Arc::ptr_eq(&before, work)) {
            work.known.replaced.fetch_add(1, Ordering::Relaxed);
            work.known.say(Level::Notice, format_args!("{}: {} serves now", work.name(), work.handler()));
        }
    }

    /// How the handler of an endpoint is.
    pub(crate) fn figures(&self, name: &str) -> HandlerFigures {
        self.served(name).map(|work| work.figures()).unwrap_or_default()
    }

    /// Changes what is told of an endpoint's traffic.
    pub(crate) fn trace(&self, name: &str, level: Trace) {
        self.served(name).into_iter().for_each(|work| work.known.trace(level));
    }

    /// Whether this very one serves its endpoint.
    pub(crate) fn is_served(&self, work: &Arc<Work>) -> bool {
        self.served(work.name()).is_some_and(|served| Arc::ptr_eq(&served, work))
    }

    /// Keeps who takes the datagrams of addresses, by their keys.
    pub(crate) fn keep_switches(&self, switches: impl Iterator<Item = (String, Replaceable)>) {
        self.lock().switches.extend(switches);
    }

    /// Who takes the datagrams of an address.
    pub(crate) fn switch(&self, key: &str) -> Option<Replaceable> {
        self.lock().switches.get(key).cloned()
    }

    fn served(&self, name: &str) -> Option<Arc<Work>> {
        self.lock().handlers.get(name)?.work.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeptHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptHandlers")
    }
}
