//! What ties a connection to who has asked for it: whether it has come up, why not, and when it has ended.

use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{ConnKey, Filter, Inbox, Room, Session};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Held by the connection; its drop is the connection's end.
pub(crate) struct Link(Rc<Shared>);

/// Held by who has asked.
pub(super) struct Watcher(Rc<Shared>);

#[derive(Default)]
struct Shared {
    stage: Cell<Stage>,
    key: Cell<Option<ConnKey>>,
    is_maintained: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Why the filter gave up.
    failure: RefCell<Option<String>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Coming,
    Open,
    /// Whether the handler has heard of it.
    Ended(bool),
}

/// The two ends of a tie.
pub(super) fn pair(is_maintained: bool) -> (Link, Watcher) {
    let shared = Rc::<Shared>::default();
    shared.is_maintained.set(is_maintained);
    (Link(Rc::clone(&shared)), Watcher(shared))
}

impl Link {
    /// The handler hears of the connection.
    pub(crate) fn came_up(&self, key: ConnKey) {
        self.0.key.set(Some(key));
        self.0.step(Stage::Open);
    }

    /// Whether another one follows it.
    pub(crate) fn is_maintained(&self) -> bool {
        self.0.is_maintained.get()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let was_open = self.0.stage.get() == Stage::Open;
        self.0.step(Stage::Ended(was_open));
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Watcher {
    /// Waits until the handler has heard of the connection.
    ///
    /// # Errors
    /// Why it never will.
    pub(super) async fn up(&self) -> Result<(), String> {
        self.until(|stage| match stage {
            Stage::Coming => None,
            Stage::Open | Stage::Ended(true) => Some(Ok(())),
            Stage::Ended(false) => {
                let said = self.0.failure.borrow_mut().take();
                Some(Err(said.unwrap_or_else(|| "the connection ended before it was of use".to_owned())))
            }
        })
        .await
    }

    /// Waits for the connection's end.
    pub(super) async fn ended(&self) {
        self.until(|stage| matches!(stage, Stage::Ended(_)).then_some(())).await;
    }

    /// The connection's name, once the handler has heard of it.
    pub(super) fn key(&self) -> Option<ConnKey> {
        self.0.key.get()
    }

    /// A filter whose failures are heard here.
    pub(super) fn heard(&self, filter: Box<dyn Filter>) -> Box<dyn Filter> {
        Box::new(Heard { filter, shared: Rc::clone(&self.0) })
    }

    async fn until<T>(&self, is_over: impl Fn(Stage) -> Option<T>) -> T {
        poll_fn(|context| match is_over(self.0.stage.get()) {
            Some(over) => Poll::Ready(over),
            None => {
                self.0.waker.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Shared {
    fn step(&self, stage: Stage) {
        self.stage.set(stage);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A filter that tells why it gave up.
struct Heard {
    filter: Box<dyn Filter>,
    shared: Rc<Shared>,
}

impl Heard {
    fn noted<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            self.shared.failure.replace(Some(format!("TLS: {error}")));
        }
        outcome
    }
}

impl Filter for Heard {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        let received = self.filter.receive(wire, plain, reply, pool);
        self.noted(received)
    }

    fn room(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<Option<Room>> {
        self.filter.room(wire, pool)
    }

    fn seal(&mut self, record: &mut [u8]) -> io::Result<()> {
        self.filter.seal(record)
    }

    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        self.filter.finish(wire, pool)
    }

    fn ended(&mut self) -> io::Result<()> {
        let ended = self.filter.ended();
        self.noted(ended)
    }

    fn is_ended(&self) -> bool {
        self.filter.is_ended()
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.filter.session()
    }
}
