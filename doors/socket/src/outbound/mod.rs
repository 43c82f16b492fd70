//! Connections outward: made for a handler that asks, or maintained for it, and then like any other of its connections.

mod backoff;
mod link;
pub(crate) mod reach;
mod target;

pub use backoff::{PAUSE_MS_MAX, PAUSE_MS_MIN};
pub(crate) use link::Link;
pub use target::{CONNECT_MS_DEFAULT, ClientTls, MakeFilter, Origin, Target};

use crate::handler::{Closed, Reason};
use crate::log::Level;
use crate::owner::Owner;
use crate::state::{self, Facts, Word};
use backoff::BackOff;
use link::Watcher;
use ringway_engine::{DoorKey, WorkerHandle};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

/// Most connections of a handler that are being made at once, on a worker.
pub const MAKING_MAX: usize = 4_096;

/// Most connections that are maintained for a handler on a worker.
pub const MAINTAINED_MAX: usize = 4_096;

/// Makes connections for a handler, on its worker. They are its own like those that come: the same events tell of them, the same
/// framing and limits hold, and they count against the endpoint's limit. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    inside: Rc<Inside>,
}

struct Inside {
    worker: WorkerHandle,
    /// The one that its handler was put at last.
    door: Cell<DoorKey>,
    owner: Weak<Owner>,
    making: Cell<usize>,
    maintained: RefCell<Vec<Weak<Upkeep>>>,
}

/// What is known of a connection that is maintained.
struct Upkeep {
    is_stopped: Cell<bool>,
    present: RefCell<Option<Rc<Watcher>>>,
}

/// A connection that is made anew when it has ended, and again and again when it cannot be made. Dropping this changes nothing.
#[derive(Clone)]
pub struct Maintained {
    upkeep: Rc<Upkeep>,
}

/// Why a connection is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// [`MAKING_MAX`] are being made, or [`MAINTAINED_MAX`] maintained.
    TooMany,
    /// The handler was replaced, or the server drains.
    Ending,
}

impl Connector {
    pub(crate) fn new(worker: &WorkerHandle, door: DoorKey, owner: &Rc<Owner>) -> Self {
        let inside = Inside {
            worker: worker.clone(),
            door: Cell::new(door),
            owner: Rc::downgrade(owner),
            making: Cell::new(0),
            maintained: RefCell::default(),
        };
        Self { inside: Rc::new(inside) }
    }

    /// Has a connection made, with `user` for its word. [`crate::Handler::opened`] tells of it (behind TLS, when the handshake is
    /// done), and [`crate::Connection::is_outbound`] knows it. When it cannot be made, [`crate::Handler::closed`] brings the
    /// word back with [`Reason::Unreachable`]; the log says why.
    ///
    /// # Errors
    /// [`ConnectError`]: nothing is told of it then.
    pub fn connect(&self, target: &Target, user: u64) -> Result<(), ConnectError> {
        let owner = self.live()?;
        let making = self.making()?;
        let target = target.clone();
        self.inside.worker.spawn(async move {
            let made = making.connector.make(&owner, &target, user, false).await;
            if let Err(reason) = made {
                making.connector.tell_unreachable(&owner, &target, &reason);
                let closed = Closed { user, reason: Reason::Unreachable };
                if catch_unwind(AssertUnwindSafe(|| owner.handler.closed(&closed))).is_err() {
                    owner.counters.panics.add(1);
                }
            }
        });
        Ok(())
    }

    /// Has a connection made and made anew whenever it has ended or could not be made: after 100 milliseconds, then ever later, up
    /// to 30 seconds, with a part of chance; one that has held begins anew. Each of them begins with `user` for its word;
    /// [`crate::Handler::opened`] and [`crate::Handler::closed`] tell of those that came up. It ends with the handler: a
    /// replaced one is told by [`crate::Handler::draining`].
    ///
    /// # Errors
    /// [`ConnectError`]: nothing is told of it then.
    pub fn maintain(&self, target: &Target, user: u64) -> Result<Maintained, ConnectError> {
        self.live()?;
        let upkeep = Rc::new(Upkeep { is_stopped: Cell::new(false), present: RefCell::default() });
        {
            let mut maintained = self.inside.maintained.borrow_mut();
            maintained.retain(|upkeep| upkeep.strong_count() > 0);
            if maintained.len() >= MAINTAINED_MAX {
                return Err(ConnectError::TooMany);
            }
            maintained.push(Rc::downgrade(&upkeep));
        }
        let keep = self.clone().keep(target.clone(), user, Rc::clone(&upkeep));
        self.inside.worker.spawn(keep);
        Ok(Maintained { upkeep })
    }

    /// What encrypts connections of this endpoint's handlers, for [`Target::tls`]; `None` where nothing was set up.
    #[must_use]
    pub fn client_tls(&self) -> Option<ClientTls> {
        self.inside.owner.upgrade()?.terms.client_tls.clone()
    }

    /// The handler is at another door now, or at one more.
    pub(crate) fn moved(&self, door: DoorKey) {
        self.inside.door.set(door);
    }

    /// The handler gets no new connections: those that are maintained are asked to end.
    pub(crate) fn retire(&self) {
        for upkeep in self.inside.maintained.take().iter().filter_map(Weak::upgrade) {
            upkeep.is_stopped.set(true);
            let key = upkeep.present.borrow().as_ref().and_then(|watcher| watcher.key());
            key.into_iter().for_each(|key| self.inside.worker.nudge(key));
        }
    }

    async fn keep(self, target: Target, user: u64, upkeep: Rc<Upkeep>) {
        let worker = &self.inside.worker;
        let mut pauses = BackOff::new();
        let mut is_failing = false;
        while !upkeep.is_stopped.get()
            && let Ok(owner) = self.live()
            && !worker.is_draining()
        {
            match self.make(&owner, &target, user, true).await {
                Ok(watcher) => {
                    if std::mem::take(&mut is_failing) {
                        owner.log(Level::Info, worker.now_ms(), &|| format!("{target} is reached again"));
                    }
                    drop(owner);
                    let since_ms = worker.now_ms();
                    let watcher = Rc::new(watcher);
                    upkeep.present.replace(Some(Rc::clone(&watcher)));
                    watcher.ended().await;
                    upkeep.present.replace(None);
                    pauses.held_for(worker.now_ms().saturating_sub(since_ms));
                }
                Err(reason) if !is_failing => {
                    is_failing = true;
                    self.tell_unreachable(&owner, &target, &reason);
                }
                Err(_as_before) => owner.counters.errors.add(1),
            }
            worker.sleep_until(worker.now_ms().saturating_add(pauses.next_ms())).await;
        }
    }

    /// Makes a connection; the handler has heard of it when this is done.
    ///
    /// # Errors
    /// Why there is none: the handler has not heard of it and will not.
    async fn make(
        &self,
        owner: &Rc<Owner>,
        target: &Target,
        user: u64,
        is_maintained: bool,
    ) -> Result<Watcher, String> {
        let worker = &self.inside.worker;
        let until_ms = worker.now_ms().saturating_add(target.connect_ms_max);
        let filter = target.filter().map_err(|error| format!("TLS: {error}"))?;
        let socket = reach::socket(worker, target, until_ms).await.map_err(|error| error.to_string())?;
        // Whoever has its number now must not get its connections.
        if !state::owner(owner.place).is_some_and(|at_place| Rc::ptr_eq(&at_place, owner)) {
            return Err("the handler was replaced".to_owned());
        }
        let (link, watcher) = link::pair(is_maintained);
        let filter = filter.map(|filter| watcher.heard(filter));
        let mut rare = state::fresh();
        rare.link = Some(link);
        let place =
            state::keep(0, rare).ok_or("this worker has too many connections with something to keep")?;
        let mut word = Word { owner: owner.place, rare: place, ..Word::default() };
        word.facts.set(Facts::OUTBOUND);
        let opened = worker.open_at(self.inside.door.get(), socket, filter, [word.bits(), user]);
        if let Err(error) = opened {
            state::release(place, state::take(place));
            return Err(match error.kind() {
                std::io::ErrorKind::QuotaExceeded => "the endpoint has connections_max already".to_owned(),
                _ => error.to_string(),
            });
        }
        watcher.up().await?;
        Ok(watcher)
    }

    fn tell_unreachable(&self, owner: &Owner, target: &Target, reason: &str) {
        owner.counters.errors.add(1);
        let now_ms = self.inside.worker.now_ms();
        owner.log(Level::Error, now_ms, &|| format!("{target} cannot be reached: {reason}"));
    }

    fn live(&self) -> Result<Rc<Owner>, ConnectError> {
        self.inside.owner.upgrade().filter(|owner| !owner.is_retired()).ok_or(ConnectError::Ending)
    }

    fn making(&self) -> Result<Making, ConnectError> {
        let making = self.inside.making.get();
        if making >= MAKING_MAX {
            return Err(ConnectError::TooMany);
        }
        self.inside.making.set(making + 1);
        Ok(Making { connector: self.clone() })
    }
}

/// One that is being made.
struct Making {
    connector: Connector,
}

impl Drop for Making {
    fn drop(&mut self) {
        let making = &self.connector.inside.making;
        making.set(making.get().saturating_sub(1));
    }
}

impl Maintained {
    /// Makes it anew no more. The present connection stays.
    pub fn stop(&self) {
        self.upkeep.is_stopped.set(true);
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.upkeep.present.borrow().is_some()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("making", &self.inside.making.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Maintained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintained").field("is_connected", &self.is_connected()).finish_non_exhaustive()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "too many connections are being made or maintained",
            Self::Ending => "the handler gets no new connections",
        })
    }
}

impl std::error::Error for ConnectError {}
