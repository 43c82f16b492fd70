//! News for one task of another thread: a flag and who waits for it.

use ringway_lock::Mutex;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

/// Told by any thread, waited for by one task. What is told while nobody waits is not lost.
#[derive(Debug, Default)]
pub(super) struct Notify {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_told: bool,
    waker: Option<Waker>,
}

impl Notify {
    pub(super) fn tell(&self) {
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_told = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once it was told since it was ready last.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.is_told) {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until it is told, or for `sleep`.
    pub(super) async fn wait(&self, sleep: Option<ringway_engine::Sleep>) {
        let mut sleep = sleep;
        std::future::poll_fn(|context| {
            if self.poll(context).is_ready() {
                return Poll::Ready(());
            }
            sleep.as_mut().map_or(Poll::Pending, |sleep| Future::poll(Pin::new(sleep), context))
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_heard_once() {
        let notify = Notify::default();
        let context = Context::from_waker(Waker::noop());
        assert!(notify.poll(&context).is_pending());
        notify.tell();
        notify.tell();
        assert!(notify.poll(&context).is_ready());
        assert!(notify.poll(&context).is_pending());
    }
}
