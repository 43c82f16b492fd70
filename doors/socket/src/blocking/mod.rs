//! Handlers that may wait: they are called on threads, one connection's events in order, and never on a worker.
//!
//! A connection's events go to a thread that has the handler, and what the handler does with the connection comes back and is done
//! in a turn of the connection's. A connection stays with its thread, so a handler has values of its own on each, as it would on
//! workers. What waits for a thread is bounded for each connection: beyond that its peer is not read from, and waits in turn.

mod distant;
mod lanes;
mod link;
mod moved;

#[cfg(feature = "libraries")]
pub(crate) use distant::SessionParts;
pub use distant::{Distant, Received};
pub use lanes::Thread;
pub use link::{EVENT_BYTES_MAX, EVENTS_MAX};

use crate::handler::{Closed, HandlerFactory};
use lanes::Lanes;
use moved::Moved;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A protocol's own part that may wait, for a disk or for somebody else: one value per thread, for all connections of that thread.
///
/// Everything is as with [`crate::Handler`], but that the worker goes on meanwhile.
pub trait BlockingHandler: 'static {
    /// As [`crate::Handler::opened`].
    fn opened(&self, conn: &mut Distant) {
        let _nothing_to_say = conn;
    }

    /// As [`crate::Handler::message`].
    fn message(&self, conn: &mut Distant, message: &mut Received);

    /// As [`crate::Handler::ended`].
    fn ended(&self, conn: &mut Distant) {
        conn.close();
    }

    /// As [`crate::Handler::written`].
    fn written(&self, conn: &mut Distant) {
        let _nothing_to_do = conn;
    }

    /// As [`crate::Handler::timeout`].
    fn timeout(&self, conn: &mut Distant) {
        let _nothing_to_do = conn;
    }

    /// As [`crate::Handler::urgent`].
    fn urgent(&self, conn: &mut Distant, byte: u8) {
        let _nothing_to_do = (conn, byte);
    }

    /// As [`crate::Handler::nudged`].
    fn nudged(&self, conn: &mut Distant) {
        let _nothing_to_do = conn;
    }

    /// As [`crate::Handler::draining`].
    fn draining(&self, conn: &mut Distant) {
        conn.close();
    }

    /// As [`crate::Handler::closed`], after everything that came before it was handled.
    fn closed(&self, closed: &Closed) {
        let _nothing_to_do = closed;
    }

    /// As [`crate::Handler::tick_ms`], on each thread.
    fn tick_ms(&self) -> u64 {
        0
    }

    /// As [`crate::Handler::tick`].
    fn tick(&self) {}

    /// Somebody has woken the waker of the thread: [`Thread::waker`].
    fn woken(&self) {}
}

/// Makes a thread's handler, on that thread.
pub type BlockingFactory = Arc<dyn Fn(&Thread) -> io::Result<Rc<dyn BlockingHandler>> + Send + Sync>;

/// How handlers are moved to threads.
#[derive(Clone)]
pub struct BlockingOptions {
    /// What its threads are called, and its messages: the endpoint's name.
    pub name: String,
    /// Most threads, at least one is there when a connection is. They are started when all that are there are busy. 16.
    pub threads_max: usize,
    /// Who says on workers how long messages are, where the framing is [`crate::Framing::Handler`]. That must not wait.
    pub measure: Option<HandlerFactory>,
}

impl Default for BlockingOptions {
    fn default() -> Self {
        Self { name: String::from("blocking"), threads_max: 16, measure: None }
    }
}

impl fmt::Debug for BlockingOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingOptions")
            .field("name", &self.name)
            .field("threads_max", &self.threads_max)
            .finish_non_exhaustive()
    }
}

/// Has a handler called on threads. All workers of the endpoint share them; they end when the last connection has that was made
/// with it, after all that waits for them.
#[must_use]
pub fn blocking(handlers: BlockingFactory, options: BlockingOptions) -> HandlerFactory {
    let measure = options.measure.clone();
    let lanes = Arc::new(Lanes::new(handlers, options));
    Arc::new(move |worker| {
        let measure = measure.as_ref().map(|measure| measure(worker)).transpose()?;
        Ok(Rc::new(Moved::new(Arc::clone(&lanes), measure)) as Rc<dyn crate::Handler>)
    })
}
