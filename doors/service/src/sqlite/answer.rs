//! One value from a database thread to whoever awaits it, on whatever thread that is.

use super::SqliteError;
use ringway_lock::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// The database's side of an answer. Dropped unused, it says that the database is closed.
pub(super) struct Teller<T, E: From<SqliteError>> {
    /// `None` when it has told.
    slot: Option<Arc<Mutex<Slot<T, E>>>>,
}

/// The asker's side: resolves when the answer is there.
pub(super) struct Answer<T, E: From<SqliteError>> {
    slot: Arc<Mutex<Slot<T, E>>>,
}

struct Slot<T, E> {
    value: Option<Result<T, E>>,
    waker: Option<Waker>,
}

/// Both sides of an answer.
pub(super) fn pair<T, E: From<SqliteError>>() -> (Teller<T, E>, Answer<T, E>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None }));
    (Teller { slot: Some(Arc::clone(&slot)) }, Answer { slot })
}

impl<T, E: From<SqliteError>> Teller<T, E> {
    /// Whether somebody still waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| Arc::strong_count(slot) > 1)
    }

    pub(super) fn tell(mut self, value: Result<T, E>) {
        self.put(value);
    }

    fn put(&mut self, value: Result<T, E>) {
        let Some(slot) = self.slot.take() else { return };
        let waker = {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T, E: From<SqliteError>> Drop for Teller<T, E> {
    fn drop(&mut self) {
        self.put(Err(SqliteError::Closed.into()));
    }
}

impl<T, E: From<SqliteError>> Future for Answer<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
