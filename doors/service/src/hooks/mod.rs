//! Hooks into the stages of requests, in shared libraries behind the C interface of plug-ins (`ringway.h`, kind 3).
//!
//! A [`Hook`] is one place in a configuration that names a library. On each worker it is a stage that is asked about requests, one
//! that is shown answers, and ears for what was served and for connections that come and go: those of them that the library has.
//! It decides at once, or later from any thread; whatever it does wrong costs the request it did it with.

mod pledge;
mod stages;
mod view;

use crate::library::{ANSWER_MS_MAX, Listener, LoadError};
use ringway_engine::WorkerHandle;
use ringway_plugin::{Instance, Level, Setting, StageWorker};
use ringway_web::pattern::Pattern;
use ringway_web::pipeline::{AcceptedStage, AnswerStage, ClosedStage, RequestStage, ServedStage};
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// How a hook is used.
#[derive(Clone)]
pub struct HookOptions {
    /// What the library and its messages are called.
    pub name: String,
    /// The paths that it is asked about; none: all.
    pub paths: Vec<Pattern>,
    /// How long a promised decision is waited for, in milliseconds.
    pub answer_ms_max: u64,
    /// Who hears what it says, and what it does wrong.
    pub listener: Listener,
}

impl Default for HookOptions {
    /// All paths, [`ANSWER_MS_MAX`], and nobody listens.
    fn default() -> Self {
        let listener: Listener = Arc::new(|_level, _line| {});
        Self { name: "hook".to_owned(), paths: Vec::new(), answer_ms_max: ANSWER_MS_MAX, listener }
    }
}

impl fmt::Debug for HookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookOptions")
            .field("name", &self.name)
            .field("paths", &self.paths)
            .field("answer_ms_max", &self.answer_ms_max)
            .finish_non_exhaustive()
    }
}

/// A library that hooks into the stages of a site's requests. Clones are the same one; it is unmapped when the last of them and the
/// last of its stages are gone.
#[derive(Clone, Debug)]
pub struct Hook {
    instance: Instance,
    options: Arc<HookOptions>,
}

/// A hook on a worker. Clones are the same one.
#[derive(Clone, Debug)]
pub struct HookWorker {
    ear: stages::Ear,
}

impl HookWorker {
    /// The stage that is asked about requests, if the library has one.
    #[must_use]
    pub fn request(&self) -> Option<Box<dyn RequestStage>> {
        self.stage().hears_requests().then(|| Box::new(self.ear.clone()) as Box<dyn RequestStage>)
    }

    /// The stage that is shown answers.
    #[must_use]
    pub fn answer(&self) -> Option<Box<dyn AnswerStage>> {
        self.stage().hears_answers().then(|| Box::new(self.ear.clone()) as Box<dyn AnswerStage>)
    }

    /// The stage that is told what was served.
    #[must_use]
    pub fn served(&self) -> Option<Box<dyn ServedStage>> {
        self.stage().hears_served().then(|| Box::new(self.ear.clone()) as Box<dyn ServedStage>)
    }

    /// The stage that is asked about connections.
    #[must_use]
    pub fn accepted(&self) -> Option<Box<dyn AcceptedStage>> {
        self.stage().hears_accepted().then(|| Box::new(self.ear.clone()) as Box<dyn AcceptedStage>)
    }

    /// The stage that is told of connections that have ended.
    #[must_use]
    pub fn closed(&self) -> Option<Box<dyn ClosedStage>> {
        self.stage().hears_closed().then(|| Box::new(self.ear.clone()) as Box<dyn ClosedStage>)
    }

    fn stage(&self) -> &StageWorker {
        &self.ear.0.stage
    }
}

impl Hook {
    /// Loads the library at `path` and has it make an instance with `config`, its own section of the configuration as text.
    ///
    /// Loading maps code: it is for before a process is confined. Both run code of the library on this thread.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and the symbol or whatever is wrong with it.
    pub fn load(path: &Path, config: &str, options: HookOptions) -> Result<Self, LoadError> {
        let library = ringway_plugin::Library::open(path)?;
        let listener = Arc::clone(&options.listener);
        let setting = Setting { name: &options.name, config, listener, broadcast: None, connections: None };
        let instance = Instance::of_stages(&library, &setting)?;
        Ok(Self { instance, options: Arc::new(options) })
    }

    /// What it is on a worker, with its state there. Not during a turn.
    ///
    /// # Errors
    /// The library cannot begin on this worker.
    pub fn worker(&self, worker: &WorkerHandle) -> io::Result<HookWorker> {
        let stage = StageWorker::start(&self.instance).map_err(io::Error::other)?;
        let side = Side { stage, options: Arc::clone(&self.options), handle: worker.clone() };
        Ok(HookWorker { ear: stages::Ear(Rc::new(side)) })
    }

    /// What it calls itself, and its version.
    #[must_use]
    pub fn identity(&self) -> (String, String) {
        let library = self.instance.library();
        (library.name().to_owned(), library.version().to_owned())
    }
}

/// What a worker has of a hook.
pub(crate) struct Side {
    pub(crate) stage: StageWorker,
    pub(crate) options: Arc<HookOptions>,
    pub(crate) handle: WorkerHandle,
}

impl Side {
    /// Whether it is asked about a path.
    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        let paths = &self.options.paths;
        paths.is_empty() || paths.iter().any(|pattern| pattern.matches(path).is_some())
    }

    /// Says what the library did wrong.
    pub(crate) fn fault(&self, what: fmt::Arguments<'_>) {
        let file = self.stage.instance().library().path().display();
        (self.options.listener)(Level::Error, &format!("hook {file}: {what}"));
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("options", &self.options).finish_non_exhaustive()
    }
}
