//! A worker's mailbox: what other threads want of it.

use ringway_ring::Waker;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// A message to a worker.
#[derive(Debug)]
pub(crate) enum Message {
    /// Poll this task.
    Wake(u64),
    /// Serve this connection, accepted elsewhere for the endpoint.
    Connection(u16, OwnedFd),
    /// Finish what is there and stop; at the latest after this many milliseconds.
    Drain(u64),
}

/// The sending side; the worker takes everything at once.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    messages: Arc<Mutex<Vec<Message>>>,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { messages: Arc::default(), waker }
    }

    /// Leaves a message and wakes the worker.
    pub(crate) fn send(&self, message: Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.waker.wake();
    }

    /// Takes what is there, swapping `empty` in so that its room is used again.
    pub(crate) fn take(&self, empty: &mut Vec<Message>) {
        std::mem::swap(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner), empty);
    }
}
