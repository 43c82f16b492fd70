//! What a plug-in's author writes: a handler, its routes, and what it says.

use crate::answer::Answer;
use crate::request::Request;
use crate::server;
use ringway_plugin::abi;
use std::ffi::CStr;
use std::ptr;

/// Answers requests. One value is one place in a configuration that names the library, for all workers; it is dropped when
/// nobody uses it any more, on a thread that may wait.
pub trait RequestHandler: Send + Sync + Sized + 'static {
    /// What each worker keeps for itself: made, used and dropped on the worker's thread.
    type Worker: 'static;

    /// Its routes. Without any it is asked for every request; with them what none matches is somebody else's.
    const ROUTES: &'static [Route] = &[];

    /// The longest body of a request, in bytes; a longer one is refused (413).
    const BODY_BYTES_MAX: u64 = 1024 * 1024;

    /// Makes one.
    ///
    /// # Errors
    /// Why that cannot be: the operator reads it where the configuration is read.
    fn create(setup: &Setup<'_>) -> Result<Self, String>;

    /// Makes what a worker keeps.
    fn worker(&self) -> Self::Worker;

    /// Answers a request, or says who will. It must not wait: other requests of the worker do, meanwhile.
    fn request(&self, worker: &Self::Worker, request: &Request<'_>) -> Reply;

    /// Whether it is well. Any thread.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What is said of a request.
#[derive(Debug)]
#[must_use]
pub enum Reply {
    /// This is the answer.
    Answer(Answer),
    /// It comes later: what [`Request::later`] gave.
    Later(Promised),
    /// It is somebody else's.
    Pass,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Shows that an answer was promised. There is one way to have it.
#[derive(Debug)]
pub struct Promised(pub(crate) ());

/// A route: a method, a pattern such as `/files/{*rest}`, and a number to know it by.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Route(abi::Route);

// SAFETY: it points to constants (I4).
unsafe impl Sync for Route {}

impl Route {
    /// The route of a method.
    #[must_use]
    pub const fn new(method: &'static CStr, pattern: &'static CStr, number: u32) -> Self {
        Self(abi::Route { method: method.as_ptr(), pattern: pattern.as_ptr(), number, reserved: 0 })
    }

    /// The route of all methods.
    #[must_use]
    pub const fn any(pattern: &'static CStr, number: u32) -> Self {
        Self(abi::Route { method: ptr::null(), pattern: pattern.as_ptr(), number, reserved: 0 })
    }
}

/// What a handler is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a str,
    pub(crate) log: Log,
}

impl<'a> Setup<'a> {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its own section of the configuration.
    #[must_use]
    pub fn config(&self) -> &'a str {
        self.config
    }

    /// Where it says things to the operator. It may be kept.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log
    }
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "they are as usual")]
pub enum Level {
    Error = 1,
    Warn = 2,
    Notice = 3,
    Info = 4,
    Debug = 5,
}

/// The operator's log, from any thread. Lines carry the name of the place in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Log(pub(crate) u64);

impl Log {
    /// Says a line.
    pub fn say(self, level: Level, text: &str) {
        server::log(self.0, level as u32, text);
    }

    /// Says a line that is an error.
    pub fn error(self, text: &str) {
        self.say(Level::Error, text);
    }

    /// Says a line that is for information.
    pub fn info(self, text: &str) {
        self.say(Level::Info, text);
    }
}
