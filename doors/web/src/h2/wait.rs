//! What answers wait for: each has a waker of its own, so that one that is ready costs nothing of the others.

use crate::pipeline::{Finish, Later};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Work that is waited for.
pub(super) struct Waiting {
    later: Later,
    /// Whether it was woken, and a waker that says so; made when it is polled first.
    woken: Option<(Arc<Flag>, Waker)>,
}

struct Flag {
    is_woken: AtomicBool,
    task: Waker,
}

impl Waiting {
    pub(super) fn new(later: Later) -> Self {
        Self { later, woken: None }
    }

    /// Polls it if it was woken.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Finish> {
        let (flag, waker) = self.woken.get_or_insert_with(|| {
            let task = context.waker().clone();
            let flag = Arc::new(Flag { is_woken: AtomicBool::new(true), task });
            (Arc::clone(&flag), Waker::from(flag))
        });
        if !flag.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.later.as_mut().poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}
