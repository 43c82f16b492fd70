//! Hooks of a configuration's sites: loaded once, kept over reloads that change nothing of theirs, and made stages of workers.

use super::{AssemblyError, Kept};
use crate::config::settings::{Hook as Settings, Site};
use crate::engine::WorkerHandle;
use crate::hosting::{section_text, stamp_of};
use crate::service::hooks::{Hook, HookOptions, HookWorker};
use crate::service::library::Level;
use crate::web::log::errors::{self, ErrorLog};
use crate::web::pattern::Pattern;
use ringway_lock::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, Weak};

/// Hooks that are loaded, by what they were loaded from.
#[derive(Clone, Default)]
pub(super) struct KeptHooks(Arc<Mutex<Known>>);

type Known = Vec<(Loaded, Weak<Hook>)>;

/// What a hook was loaded from.
#[derive(Clone, PartialEq)]
struct Loaded {
    site: String,
    settings: Settings,
    stamp: Option<[i64; 7]>,
}

impl KeptHooks {
    /// The hook that was loaded from the same.
    fn find(&self, loaded: &Loaded) -> Option<Arc<Hook>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, hook)| hook.strong_count() > 0);
        known.iter().find(|(other, _)| other == loaded).and_then(|(_, hook)| hook.upgrade())
    }

    fn keep(&self, loaded: Loaded, hook: &Arc<Hook>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((loaded, Arc::downgrade(hook)));
    }
}

/// The hooks of a site, in their order.
pub(super) fn plan(
    site: &Site,
    name: &str,
    kept: &Kept,
    log: &ErrorLog,
) -> Result<Vec<Arc<Hook>>, AssemblyError> {
    site.hook.iter().map(|settings| one(settings, name, kept, log)).collect()
}

fn one(settings: &Settings, name: &str, kept: &Kept, log: &ErrorLog) -> Result<Arc<Hook>, AssemblyError> {
    let cannot =
        |why: String| AssemblyError::new(format_args!("a hook of the site {name} cannot be had"), why);
    let path = settings.library.as_path();
    let loaded = Loaded { site: name.to_owned(), settings: settings.clone(), stamp: stamp_of(path) };
    if let Some(hook) = kept.hooks.find(&loaded) {
        return Ok(hook);
    }
    let paths = settings.paths.iter().map(|path| Pattern::parse(path.as_str()));
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|why| cannot(why.to_string()))?;
    let log = log.of_site(name);
    let options = HookOptions {
        name: name.to_owned(),
        paths,
        answer_ms_max: settings.timeout.ms(),
        listener: Arc::new(move |level, line| {
            let level = match level {
                Level::Error => errors::Level::Error,
                Level::Warn => errors::Level::Warn,
                Level::Notice => errors::Level::Notice,
                Level::Info => errors::Level::Info,
                Level::Debug => errors::Level::Debug,
            };
            log.say(level, "hook", format_args!("{line}"));
        }),
    };
    let hook = Hook::load(path, &section_text(&settings.config), options);
    let hook = Arc::new(hook.map_err(|error| cannot(error.to_string()))?);
    kept.hooks.keep(loaded, &hook);
    Ok(hook)
}

/// What a worker has made of hooks: a site on several endpoints has one state of each.
#[derive(Default)]
pub(super) struct MadeHooks(HashMap<*const Hook, HookWorker>);

impl MadeHooks {
    /// A hook on this worker, made when it is first wanted.
    pub(super) fn of(&mut self, hook: &Arc<Hook>, worker: &WorkerHandle) -> io::Result<HookWorker> {
        let key = Arc::as_ptr(hook);
        if let Some(made) = self.0.get(&key) {
            return Ok(made.clone());
        }
        let made = hook.worker(worker)?;
        self.0.insert(key, made.clone());
        Ok(made)
    }
}
