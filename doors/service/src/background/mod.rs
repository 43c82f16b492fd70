//! The background runtime: one small tokio runtime for the process, so that crates that need one work in handlers.
//!
//! Nothing of Ringway runs on it. A handler's future is polled on its worker, with the runtime's context entered
//! ([`Background::enter`]), so that timers, sockets, `tokio::spawn` and `spawn_blocking` find it; what they wait for is watched by the
//! runtime's thread, which wakes the worker. It is started by whoever asks first, has one thread until told otherwise, and
//! needs of a confined process what workers need too: threads, epoll, an eventfd. Connections outward are the sandbox's
//! matter.

use ringway_lock::{Mutex, MutexGuard};
use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

/// Most threads that may be asked for.
pub const THREADS_MAX: usize = 64;

/// Most threads for `spawn_blocking` that may be asked for.
pub const BLOCKING_THREADS_MAX: usize = 512;

/// How long a thread for `spawn_blocking` waits for more work before it ends.
const BLOCKING_KEPT: Duration = Duration::from_secs(10);

/// What the runtime is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads that run tasks, 1 to [`THREADS_MAX`]. Default 1.
    pub threads: usize,
    /// Most threads for `spawn_blocking`, 1 to [`BLOCKING_THREADS_MAX`]; they are started when needed, and what finds none waits.
    /// Default 64.
    pub blocking_threads_max: usize,
}

impl Options {
    const fn new() -> Self {
        Self { threads: 1, blocking_threads_max: 64 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

enum State {
    NotStarted(Options),
    Running(Runtime),
    Over,
}

static STATE: Mutex<State> = Mutex::new(State::NotStarted(Options::new()));

/// A handle of the process's background runtime.
#[derive(Clone, Debug)]
pub struct Background {
    handle: Handle,
}

/// Why options were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// A number of threads is 0 or too large.
    Threads,
    /// The runtime has been started already.
    Started,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => write!(
                f,
                "the background runtime has 1 to {THREADS_MAX} threads, and 1 to {BLOCKING_THREADS_MAX} for blocking work"
            ),
            Self::Started => f.write_str("the background runtime has been started already"),
        }
    }
}

impl std::error::Error for OptionsError {}

/// Says what the runtime shall be made of, before anybody has asked for it.
///
/// # Errors
/// [`OptionsError`]; nothing changes then.
pub fn configure(options: Options) -> Result<(), OptionsError> {
    let Options { threads, blocking_threads_max } = options;
    if !(1..=THREADS_MAX).contains(&threads) || !(1..=BLOCKING_THREADS_MAX).contains(&blocking_threads_max) {
        return Err(OptionsError::Threads);
    }
    let state = &mut *lock();
    if !matches!(state, State::NotStarted(_)) {
        return Err(OptionsError::Started);
    }
    *state = State::NotStarted(options);
    Ok(())
}

/// The process's background runtime, which is started now if nobody has asked for it before.
///
/// # Errors
/// What the kernel says when it grants no thread or descriptor; `BrokenPipe` after [`shut_down`].
pub fn handle() -> io::Result<Background> {
    let state = &mut *lock();
    if let State::NotStarted(options) = state {
        *state = State::Running(start(*options)?);
    }
    match state {
        State::Running(runtime) => Ok(Background { handle: runtime.handle().clone() }),
        State::NotStarted(_) | State::Over => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Ends the runtime for good, if it runs: its tasks are dropped at their next wait, and blocking work is waited for no longer
/// than `within`. For the end of a program, after its servers; not from a task of the runtime.
pub fn shut_down(within: Duration) {
    // The lock is free again while it is waited for.
    let state = std::mem::replace(&mut *lock(), State::Over);
    if let State::Running(runtime) = state {
        runtime.shutdown_timeout(within);
    }
}

impl Background {
    /// Makes this thread one of the runtime's as long as the guard lives: what needs a runtime finds this one.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// The runtime's handle.
    #[must_use]
    pub fn tokio(&self) -> &Handle {
        &self.handle
    }
}

fn start(options: Options) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(options.threads)
        .max_blocking_threads(options.blocking_threads_max)
        .thread_keep_alive(BLOCKING_KEPT)
        .thread_name("ringway-tokio")
        .on_thread_start(|| {
            // A worker asks for many things in a batch. Where it has to share its core, being interrupted at the first of them
            // would make a batch of each; a sandbox that forbids it costs no more than that.
            let _as_before = ringway_engine::ring::schedule::wait_for_who_wakes();
        })
        .enable_all()
        .build()
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
