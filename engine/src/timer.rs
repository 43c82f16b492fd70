//! Sleeping tasks.

use crate::worker::WorkerHandle;
use ringway_pace::Wheel;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The timers of a worker's tasks, apart from the connections' deadlines.
pub(crate) struct Timers {
    state: Rc<RefCell<State>>,
}

struct State {
    wheel: Wheel,
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
}

impl Default for Timers {
    fn default() -> Self {
        let state = State { wheel: Wheel::new(0), wakers: Vec::new(), free: Vec::new() };
        Self { state: Rc::new(RefCell::new(state)) }
    }
}

impl Timers {
    pub(crate) fn next_wakeup(&self) -> Option<u64> {
        self.state.borrow().wheel.next_wakeup()
    }

    /// Wakes the tasks whose time has come.
    pub(crate) fn expire(&self, now_ms: u64) {
        loop {
            let waker = {
                let state = &mut *self.state.borrow_mut();
                let Some(key) = state.wheel.expire(now_ms) else { return };
                state.wakers[key as usize].take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timers({})", self.state.borrow().wheel.len())
    }
}

/// A sleep; see [`WorkerHandle::sleep_until`].
pub struct Sleep {
    timers: Rc<RefCell<State>>,
    at_ms: u64,
    key: Option<u32>,
}

impl WorkerHandle {
    /// Sleeps until the worker's clock reaches `at_ms`. Never early; at most a wheel's tick late.
    ///
    /// # Cancellation
    /// Dropping it drops the timer.
    #[must_use]
    pub fn sleep_until(&self, at_ms: u64) -> Sleep {
        Sleep { timers: Rc::clone(&self.local.timers.state), at_ms, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let (key, at_ms) = (self.key, self.at_ms);
        // What is replaced is dropped after the timers are released.
        let (key, polled, _replaced) = self.timers.borrow_mut().poll(key, at_ms, waker);
        self.key = Some(key);
        polled
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let _waker = self.timers.borrow_mut().release(key);
        }
    }
}

impl State {
    fn poll(&mut self, key: Option<u32>, at_ms: u64, waker: Waker) -> (u32, Poll<()>, Option<Waker>) {
        let Some(key) = key else {
            let key = self.free.pop().unwrap_or_else(|| {
                self.wakers.push(None);
                u32::try_from(self.wakers.len() - 1).unwrap_or(u32::MAX)
            });
            self.wheel.arm(key, at_ms);
            return (key, Poll::Pending, self.wakers[key as usize].replace(waker));
        };
        if self.wheel.deadline(key).is_none() {
            return (key, Poll::Ready(()), Some(waker));
        }
        (key, Poll::Pending, self.wakers[key as usize].replace(waker))
    }

    fn release(&mut self, key: u32) -> Option<Waker> {
        self.wheel.disarm(key);
        self.free.push(key);
        self.wakers[key as usize].take()
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep(until {} ms)", self.at_ms)
    }
}
