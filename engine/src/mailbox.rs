//! A worker's mailbox: what other threads want of it.

use crate::observe::Survey;
use crate::worker::Worker;
use ringway_lock::{Mutex, MutexGuard};
use ringway_ring::Waker;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

/// Something to be done on a worker's thread, between turns.
pub(crate) struct Visit(pub(crate) Box<dyn FnOnce(&mut Worker) + Send>);

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visit")
    }
}

/// A message to a worker.
#[derive(Debug)]
pub(crate) enum Message {
    /// Poll this task.
    Wake(u64),
    /// Serve this connection, accepted elsewhere for the endpoint.
    Connection(u16, OwnedFd),
    /// Finish what is there and stop; at the latest after this many milliseconds.
    Drain(u64),
    /// Tell of the connections.
    Survey(Survey),
    /// Change something of the worker's own.
    Visit(Visit),
}

/// The sending side; the worker takes everything at once.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    inside: Arc<Mutex<Inside>>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Inside {
    messages: Vec<Message>,
    is_closed: bool,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { inside: Arc::default(), waker }
    }

    /// Leaves a message and wakes the worker; false when the worker has stopped and nobody will read it.
    pub(crate) fn send(&self, message: Message) -> bool {
        {
            let mut inside = self.lock();
            if inside.is_closed {
                return false;
            }
            inside.messages.push(message);
        }
        self.waker.wake();
        true
    }

    /// Takes what is there, swapping `empty` in so that its room is used again.
    pub(crate) fn take(&self, empty: &mut Vec<Message>) {
        std::mem::swap(&mut self.lock().messages, empty);
    }

    /// Closes the mailbox for good, unless a connection that was accepted elsewhere still waits in it.
    pub(crate) fn close_if_served(&self) -> bool {
        let mut inside = self.lock();
        inside.is_closed = !inside.messages.iter().any(|message| matches!(message, Message::Connection(..)));
        inside.is_closed
    }

    /// Closes the mailbox of a worker that stops; what is in it is dropped.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut inside = self.lock();
            inside.is_closed = true;
            std::mem::take(&mut inside.messages)
        };
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
