//! A time until which something is waited for, moved on without touching the worker's timers.

use ringway_engine::{Sleep, WorkerHandle};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Set by [`Timer::begin`]; what is begun already goes on.
#[derive(Default)]
pub(super) struct Timer {
    due_ms: Option<u64>,
    /// May end before that, and is begun again then.
    sleep: Option<Sleep>,
}

impl Timer {
    /// Waits from now on, at most `ms_max`, unless it waits already.
    pub(super) fn begin(&mut self, now_ms: u64, ms_max: u64) {
        self.due_ms.get_or_insert(now_ms.saturating_add(ms_max));
    }

    /// What was waited for has come.
    pub(super) fn forget(&mut self) {
        self.due_ms = None;
    }

    /// Whether the time has passed. If not, and it is waited for, the task is woken then.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, worker: &WorkerHandle) -> bool {
        let Some(due_ms) = self.due_ms else { return false };
        loop {
            if worker.now_ms() >= due_ms {
                return true;
            }
            let sleep = self.sleep.get_or_insert_with(|| worker.sleep_until(due_ms));
            match Pin::new(sleep).poll(context) {
                Poll::Pending => return false,
                Poll::Ready(()) => self.sleep = None,
            }
        }
    }
}
