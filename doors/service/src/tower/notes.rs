//! What is noted of a tower service on one worker: its troubles in a log, its answers in counters.

use super::trouble::Trouble;
use crate::stats::{Active, WorkerStats};
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

/// Takes words for a log.
type Report = dyn Fn(&dyn fmt::Display);

/// Where notes go.
pub(super) struct Notes {
    report: Box<Report>,
    /// The counters of the service that it is part of, once they are there.
    stats: OnceCell<Arc<WorkerStats>>,
}

impl Notes {
    pub(super) fn new(report: impl Fn(&dyn fmt::Display) + 'static) -> Self {
        Self { report: Box::new(report), stats: OnceCell::new() }
    }

    /// Counts with these from now on, if with none yet.
    pub(super) fn count_with(&self, stats: &Arc<WorkerStats>) {
        self.stats.get_or_init(|| Arc::clone(stats));
    }

    /// Something went wrong.
    pub(super) fn trouble(&self, trouble: &Trouble) {
        (self.report)(trouble);
        let Some(stats) = self.stats.get() else { return };
        match trouble {
            Trouble::Panic(_) => stats.panics.add(1),
            Trouble::Late(_) => stats.late.add(1),
            _ => {}
        }
        stats.errors.add(1);
    }

    /// There is an answer with that status.
    pub(super) fn answered(&self, code: u16) {
        let Some(stats) = self.stats.get() else { return };
        match code {
            500.. => stats.errors.add(1),
            400..500 => stats.refused.add(1),
            _ => {}
        }
    }

    /// A request is under way until the guard is dropped.
    pub(super) fn enter(&self) -> Option<Active> {
        self.stats.get().map(Active::new)
    }
}
