//! What libraries were asked, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a library was asked, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryStats {
    /// Requests that it was asked to answer.
    pub requests: u64,
    /// Of them, those it has promised to answer later.
    pub promised: u64,
    /// Those it has passed on.
    pub passed: u64,
    /// Requests that it has spoilt: no answer, one that cannot be sent, a panic.
    pub faults: u64,
    /// Promises that were not kept in time.
    pub late: u64,
    /// Promises whose client has left.
    pub gone: u64,
}

/// The counters, one for all workers: each is one addition a request, beside a call out of this program.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    pub(crate) promised: AtomicU64,
    pub(crate) passed: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) gone: AtomicU64,
}

impl Tally {
    pub(crate) fn stats(&self) -> LibraryStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LibraryStats {
            requests: read(&self.requests),
            promised: read(&self.promised),
            passed: read(&self.passed),
            faults: read(&self.faults),
            late: read(&self.late),
            gone: read(&self.gone),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
