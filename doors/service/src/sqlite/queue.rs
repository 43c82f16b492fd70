//! What waits for a database thread: bounded, taken singly or as many as there are.

use super::SqliteError;
use ringway_lock::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// A bounded queue between the workers and the threads of one kind.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    news: Condvar,
    jobs_max: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    is_closed: bool,
}

impl<J> Queue<J> {
    pub(super) fn new(jobs_max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), is_closed: false };
        Self { state: Mutex::new(state), news: Condvar::new(), jobs_max }
    }

    /// Adds a job.
    ///
    /// # Errors
    /// [`SqliteError::QueueFull`], [`SqliteError::Closed`].
    pub(super) fn push(&self, job: J) -> Result<(), SqliteError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(SqliteError::Closed);
        }
        if state.jobs.len() >= self.jobs_max {
            return Err(SqliteError::QueueFull);
        }
        state.jobs.push_back(job);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Waits for jobs and moves at most `count_max` of them to `target`; false when the queue is closed and empty.
    pub(super) fn take(&self, target: &mut VecDeque<J>, count_max: usize) -> bool {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.is_closed {
                return false;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.jobs.len().min(count_max);
        target.extend(state.jobs.drain(..count));
        true
    }

    /// No more jobs are taken in; threads end when they have done those that wait.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
