//! Values from other threads to a worker: a bounded queue with any number of senders and one receiver.

use crate::channel::SendError;
use ringway_lock::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Sends values to a worker, from any thread. Clones send to the same.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Receives what was sent. It may be sent to its worker before it is used there.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    values_max: usize,
}

struct State<T> {
    values: VecDeque<T>,
    senders: usize,
    is_gone: bool,
    waker: Option<Waker>,
}

/// A queue of at most `values_max` values.
#[must_use]
pub fn channel<T: Send>(values_max: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { values: VecDeque::new(), senders: 1, is_gone: false, waker: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), values_max });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> Sender<T> {
    /// Sends a value, without waiting.
    ///
    /// # Errors
    /// [`SendError`], and the value.
    pub fn send(&self, value: T) -> Result<(), (SendError, T)> {
        let waker = {
            let mut state = self.shared.lock();
            if state.is_gone {
                return Err((SendError::Gone, value));
            }
            if state.values.len() >= self.shared.values_max {
                return Err((SendError::Full, value));
            }
            state.values.push_back(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.shared.lock();
            state.senders -= 1;
            if state.senders == 0 { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` when no sender is left.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for who polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.shared.lock();
        if let Some(value) = state.values.pop_front() {
            return Poll::Ready(Some(value));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let values = {
            let mut state = self.shared.lock();
            state.is_gone = true;
            std::mem::take(&mut state.values)
        };
        // With the lock released: their drops may be anything.
        drop(values);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("values", &self.shared.lock().values.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("values", &self.shared.lock().values.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(receiver: &mut Receiver<u8>) -> Poll<Option<u8>> {
        receiver.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn values_come_in_order_until_nobody_sends_any_more() {
        let (sender, mut receiver) = channel(2);
        assert!(poll(&mut receiver).is_pending());
        let other = sender.clone();
        sender.send(1).expect("room");
        other.send(2).expect("room");
        assert_eq!(sender.send(3), Err((SendError::Full, 3)));
        drop(sender);
        assert_eq!(poll(&mut receiver), Poll::Ready(Some(1)));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some(2)));
        assert!(poll(&mut receiver).is_pending());
        drop(other);
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        let (sender, receiver) = channel(2);
        drop(receiver);
        assert_eq!(sender.send(1), Err((SendError::Gone, 1)));
    }
}
