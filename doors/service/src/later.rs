//! Answers that are given later, from any thread.

use crate::response::{IntoResponse, Response};
use ringway_lock::Mutex;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Makes the answer on the worker, where it belongs.
type Made = Box<dyn FnOnce() -> Response + Send>;

/// Gives an answer, once, from any thread. Dropping it without one answers 500, so that no client waits for what will never come.
pub struct Later {
    slot: Option<Arc<Mutex<Slot>>>,
}

#[derive(Default)]
struct Slot {
    state: State,
    waker: Option<Waker>,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    Made(Made),
    /// The handle was dropped without an answer.
    Dropped,
    /// Nobody waits any more.
    Gone,
}

/// Nobody waits for the answer any more: the client is gone, or the service's time for it was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyWaits;

impl fmt::Display for NobodyWaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody waits for the answer any more")
    }
}

impl std::error::Error for NobodyWaits {}

impl Later {
    pub(crate) fn new() -> (Self, Waiting) {
        let slot = Arc::new(Mutex::new(Slot::default()));
        (Self { slot: Some(Arc::clone(&slot)) }, Waiting { slot })
    }

    /// Answers with this.
    ///
    /// # Errors
    /// [`NobodyWaits`].
    pub fn answer(self, answer: impl IntoResponse + Send + 'static) -> Result<(), NobodyWaits> {
        self.answer_with(move || answer.into_response())
    }

    /// Answers with what this makes, on the worker.
    ///
    /// # Errors
    /// [`NobodyWaits`]; it is dropped here then.
    pub fn answer_with(
        mut self,
        make: impl FnOnce() -> Response + Send + 'static,
    ) -> Result<(), NobodyWaits> {
        match self.slot.take() {
            Some(slot) => settle(&slot, State::Made(Box::new(make))),
            None => Err(NobodyWaits),
        }
    }

    /// Whether nobody waits any more, so that work for the answer can be given up.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| {
            matches!(slot.lock().unwrap_or_else(PoisonError::into_inner).state, State::Gone)
        })
    }
}

/// Sets what the other side finds, and wakes it.
fn settle(slot: &Mutex<Slot>, state: State) -> Result<(), NobodyWaits> {
    let waker = {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(slot.state, State::Gone) {
            return Err(NobodyWaits);
        }
        slot.state = state;
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
    Ok(())
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let _gone = settle(&slot, State::Dropped);
        }
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later").field("is_in_vain", &self.is_in_vain()).finish()
    }
}

/// The worker's side: gives the answer, or `None` when the handle was dropped.
pub(crate) struct Waiting {
    slot: Arc<Mutex<Slot>>,
}

impl Future for Waiting {
    type Output = Option<Made>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut slot.state) {
            State::Made(make) => Poll::Ready(Some(make)),
            State::Dropped | State::Gone => Poll::Ready(None),
            State::Open => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let unwanted = {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut slot.state, State::Gone)
        };
        // With the lock released: what it holds may be anything.
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll(waiting: &mut Waiting) -> Poll<Option<Made>> {
        pin!(waiting).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_is_given_once_or_known_to_be_missing() {
        let (later, mut waiting) = Later::new();
        assert!(poll(&mut waiting).is_pending());
        std::thread::spawn(move || later.answer("done")).join().expect("no panic").expect("somebody waits");
        let Poll::Ready(Some(make)) = poll(&mut waiting) else { panic!("the answer is there") };
        assert_eq!(make().body(), Some(&b"done"[..]));

        let (later, mut waiting) = Later::new();
        drop(later);
        assert!(matches!(poll(&mut waiting), Poll::Ready(None)));

        let (later, waiting) = Later::new();
        assert!(!later.is_in_vain());
        drop(waiting);
        assert!(later.is_in_vain());
        assert_eq!(later.answer("late"), Err(NobodyWaits));
    }
}
