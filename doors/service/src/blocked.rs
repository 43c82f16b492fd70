//! Handlers that keep their worker from everything else: named when they come back, and while they do not.
//!
//! A worker notes what it is in before it calls a handler: one store and one look at a coarse clock, no system call. One thread of the
//! process looks at these notes once a second, as long as there is a service.

use crate::log::Log;
use ringway_lock::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// A handler that runs for this long has blocked its worker, in milliseconds.
pub const BLOCKED_MS: u64 = 100;

/// How often the notes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bits of a note that are the route's number.
const ROUTE_BITS: u32 = 16;

/// What one worker is in: since when, above the number of the route; 0: in no handler.
pub(crate) struct Note {
    at: AtomicU64,
    names: Box<dyn Fn(usize) -> String + Send + Sync>,
    log: Log,
    is_told: AtomicBool,
}

static NOTES: Mutex<Vec<Weak<Note>>> = Mutex::new(Vec::new());

impl Note {
    /// A note that is looked at as long as it is kept. `names` says what a route is called.
    pub(crate) fn new(log: Log, names: impl Fn(usize) -> String + Send + Sync + 'static) -> Arc<Self> {
        let (at, is_told) = (AtomicU64::new(0), AtomicBool::new(false));
        let note = Arc::new(Self { at, names: Box::new(names), log, is_told });
        let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = notes.is_empty();
        notes.push(Arc::downgrade(&note));
        if is_first {
            let watcher = std::thread::Builder::new().name("ringway-watch".to_owned());
            // Without a thread handlers are named when they come back only.
            let _optional = watcher.stack_size(64 * 1024).spawn(watch);
        }
        note
    }

    /// The worker enters a handler of the route. Gives back what [`Note::leave`] wants.
    #[inline]
    pub(crate) fn enter(&self, route: usize) -> u64 {
        let now_ms = coarse_ms();
        // Released with what came before it; only this thread writes.
        self.at.store(now_ms << ROUTE_BITS | short(route), Ordering::Relaxed);
        now_ms
    }

    /// It has come back; how long that took, in milliseconds, if it was too long.
    #[inline]
    pub(crate) fn leave(&self, since_ms: u64) -> Option<u64> {
        self.at.store(0, Ordering::Relaxed);
        let took_ms = coarse_ms().saturating_sub(since_ms);
        if took_ms < BLOCKED_MS {
            return None;
        }
        self.is_told.store(false, Ordering::Relaxed);
        Some(took_ms)
    }

    /// Tells of a handler that has not come back.
    fn look(&self, now_ms: u64) {
        let at = self.at.load(Ordering::Relaxed);
        let took_ms = now_ms.saturating_sub(at >> ROUTE_BITS);
        if at == 0 || took_ms < BLOCKED_MS || self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let route = usize::try_from(at & ((1 << ROUTE_BITS) - 1)).unwrap_or(usize::MAX);
        let name = (self.names)(route);
        self.log.warn(format_args!("{name}: has kept its worker for {took_ms} ms, and still does"));
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("at", &self.at).finish_non_exhaustive()
    }
}

/// A route's number as a note has it: there are fewer routes than that.
fn short(route: usize) -> u64 {
    u64::try_from(route).unwrap_or(u64::MAX) & ((1 << ROUTE_BITS) - 1)
}

/// The time, as of the kernel's last tick: never 0.
fn coarse_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000 + 1
}

/// Looks at all notes until there is none.
fn watch() {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let kept: Vec<Arc<Note>> = {
            let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
            notes.retain(|note| note.strong_count() > 0);
            if notes.is_empty() {
                return;
            }
            notes.iter().filter_map(Weak::upgrade).collect()
        };
        let now_ms = coarse_ms();
        kept.iter().for_each(|note| note.look(now_ms));
    }
}
