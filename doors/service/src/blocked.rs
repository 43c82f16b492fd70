//! Handlers that keep their worker from everything else: named when they come back, and while they do not.

use crate::log::Log;
use ringway_engine::stall;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::Duration;

/// A handler that runs for this long has blocked its worker, in milliseconds.
pub const BLOCKED_MS: u64 = 100;

/// What one worker is in. It costs two stores and two looks at a coarse clock, no system call.
#[derive(Debug)]
pub(crate) struct Note {
    note: Arc<stall::Note>,
}

impl Note {
    /// A note that is looked at as long as it is kept. `names` says what a route is called.
    pub(crate) fn new(log: Log, names: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let tell = move |route, took: Duration| {
            let (name, took_ms) = (names(route), took.as_millis());
            log.warn(format_args!("{name}: has kept its worker for {took_ms} ms, and still does"));
        };
        Self { note: stall::Note::new(Duration::from_millis(BLOCKED_MS), tell) }
    }

    /// The worker enters a handler of the route. Gives back what [`Note::leave`] wants.
    #[inline]
    pub(crate) fn enter(&self, route: usize) -> u64 {
        self.note.enter(route);
        coarse_ms()
    }

    /// It has come back; how long that took, in milliseconds, if it was too long.
    #[inline]
    pub(crate) fn leave(&self, since_ms: u64) -> Option<u64> {
        let _told_below = self.note.leave();
        let took_ms = coarse_ms().saturating_sub(since_ms);
        (took_ms >= BLOCKED_MS).then_some(took_ms)
    }
}

/// The time, as of the kernel's last tick.
fn coarse_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
