//! A worker's side of an upstream: its choices, and the connections it keeps.

use crate::site_counters::SiteCounters;
use crate::upstream::backend::{Backend, Tally};
use crate::upstream::balance::{Candidate, Picker};
use crate::upstream::connect;
use crate::upstream::group::{Chosen, Group};
use crate::upstream::keeper;
use crate::upstream::key::{Key, Tried};
use crate::upstream::lease::{Flight, Lease, LeaseError, Shared, Slot};
use crate::upstream::notify::Notify;
use crate::upstream::options::Speaks;
use ringway_engine::{Stream, WorkerHandle};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

/// How often kept connections are looked at, in milliseconds: those that a backend has closed shall not stay half open.
const SWEEP_MS: u64 = 5_000;

thread_local! {
    /// This worker's sides of the groups that are in use.
    static SIDES: RefCell<Vec<Weak<Side>>> = const { RefCell::new(Vec::new()) };
}

/// An upstream as a worker's handlers see it. Clones share the worker's kept connections.
#[derive(Clone)]
pub struct Upstream {
    side: Rc<Side>,
}

/// What a worker has of an upstream.
pub(super) struct Side {
    pub(super) group: Arc<Group>,
    worker: WorkerHandle,
    choosing: RefCell<(Picker, Vec<Candidate>)>,
    /// By the places of the backends.
    posts: Vec<Post>,
    /// Tells who looks after kept connections.
    sweep: Arc<Notify>,
    is_swept: Cell<bool>,
}

struct Post {
    counters: Arc<SiteCounters>,
    /// Kept connections, the one used last at the end.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    stream: Stream,
    slot: Slot,
    /// Of the backend's addresses when the connection was made.
    version: u32,
    until_ms: u64,
}

/// How a request begins.
enum Beginning {
    Reused(Lease),
    /// A connection is to be made; with the place for it, unless requests share connections.
    Fresh(Flight, Option<Slot>),
    /// There is no room anywhere.
    Full,
}

impl Upstream {
    /// The calling worker's side of `group`. Looks after its backends from now on if nobody does.
    #[must_use]
    pub fn of(group: &Arc<Group>, worker: &WorkerHandle) -> Self {
        let known = SIDES.with_borrow_mut(|sides| {
            sides.retain(|side| side.strong_count() > 0);
            sides.iter().filter_map(Weak::upgrade).find(|side| Arc::ptr_eq(&side.group, group))
        });
        let side = known.unwrap_or_else(|| {
            let side = Rc::new(Side::new(group, worker));
            SIDES.with_borrow_mut(|sides| sides.push(Rc::downgrade(&side)));
            side
        });
        keeper::keep(group, worker);
        Self { side }
    }

    /// What all workers share.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        &self.side.group
    }

    /// Has a backend chosen and a connection to it: a kept one that is quiet, or a new one. Backends that cannot be reached
    /// are passed over, up to [`crate::upstream::TryRules::attempts`] in all; that is counted, logged and held against them.
    /// Waits for room where the backends' connections are limited, and for a new connection and its TLS at most as long as
    /// the options say. What was tried is noted, so that the next lease for the same request is another one. For HTTP/2 see
    /// [`Upstream::choose`].
    ///
    /// # Errors
    /// [`LeaseError`]: what to answer, and for the error log why.
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue, or gives the connection up.
    pub async fn lease(&self, key: &Key, tried: &mut Tried) -> Result<Lease, LeaseError> {
        let side = &self.side;
        let mut latest = None;
        loop {
            let beginning = match side.begin(key, tried, &mut latest)? {
                Beginning::Full => side.wait_for_room(key, tried, &mut latest).await?,
                beginning => beginning,
            };
            let (mut flight, slot) = match beginning {
                Beginning::Reused(lease) => return Ok(lease),
                Beginning::Fresh(flight, slot) => (flight, slot),
                Beginning::Full => continue,
            };
            let version = flight.backend().addresses_version();
            match side.connect(&mut flight, key).await {
                Ok(stream) => {
                    let slot = slot.unwrap_or_else(|| side.slot(&flight));
                    return Ok(Lease { stream, slot, flight, version, is_reused: false });
                }
                Err(error @ LeaseError::Exhausted(_)) => return Err(error),
                Err(error) if tried.count() >= side.group.tries().attempts => return Err(error),
                Err(error) => latest = Some(error),
            }
        }
    }

    /// Has a backend chosen for a request whose connection others share, as HTTP/2's do.
    ///
    /// # Errors
    /// As [`Upstream::lease`].
    ///
    /// # Cancellation
    /// Dropping the future leaves the queue.
    pub async fn choose(&self, key: &Key, tried: &mut Tried) -> Result<Flight, LeaseError> {
        let beginning = match self.side.begin(key, tried, &mut None)? {
            Beginning::Full => self.side.wait_for_room(key, tried, &mut None).await?,
            beginning => beginning,
        };
        match beginning {
            Beginning::Fresh(flight, _) | Beginning::Reused(Lease { flight, .. }) => Ok(flight),
            Beginning::Full => Err(LeaseError::Busy(self.side.group.name().to_owned())),
        }
    }

    /// Connects to the backend of a flight. Failing is counted, logged and held against the backend.
    ///
    /// # Errors
    /// As [`Upstream::lease`].
    ///
    /// # Cancellation
    /// Dropping the future gives the connection up.
    pub async fn connect(&self, flight: &mut Flight, key: &Key) -> Result<Shared, LeaseError> {
        let stream = self.side.connect(flight, key).await?;
        Ok(Shared { stream, slot: self.side.slot(flight) })
    }
}

impl Side {
    fn new(group: &Arc<Group>, worker: &WorkerHandle) -> Self {
        let seed = group.workers.fetch_add(1, Ordering::Relaxed);
        let backends = group.backends();
        let post = |backend: &Arc<Backend>| Post { counters: backend.book.open(), idle: RefCell::default() };
        let side = Self {
            group: Arc::clone(group),
            worker: worker.clone(),
            choosing: RefCell::new((
                Picker::new(group.options().balance, backends.len(), seed),
                Vec::with_capacity(backends.len()),
            )),
            posts: backends.iter().map(post).collect(),
            sweep: Arc::default(),
            is_swept: Cell::new(false),
        };
        group.add_sweeper(&side.sweep);
        side
    }

    /// Begins a request, without waiting.
    fn begin(
        self: &Rc<Self>,
        key: &Key,
        tried: &mut Tried,
        latest: &mut Option<LeaseError>,
    ) -> Result<Beginning, LeaseError> {
        let is_limited = self.group.options().connections_max > 0;
        // Who has just come does not overtake those who wait.
        if is_limited && !self.group.queue.is_empty() {
            return Ok(Beginning::Full);
        }
        self.try_begin(key, tried, latest)
    }

    fn try_begin(
        self: &Rc<Self>,
        key: &Key,
        tried: &mut Tried,
        latest: &mut Option<LeaseError>,
    ) -> Result<Beginning, LeaseError> {
        // Others may be quicker to take the room that was seen, each time.
        for _ in 0..=self.posts.len() {
            let has_idle = |place: usize| !self.posts[place].idle.borrow().is_empty();
            let chosen = {
                let (picker, candidates) = &mut *self.choosing.borrow_mut();
                self.group.choose(picker, candidates, key, tried, &has_idle)
            };
            let name = || self.group.name().to_owned();
            let (place, is_trial) = match chosen {
                Chosen::Place(place, is_trial) => (place, is_trial),
                Chosen::Full => return Ok(Beginning::Full),
                Chosen::AllTried => {
                    return Err(latest.take().unwrap_or_else(|| LeaseError::AllTried(name())));
                }
                Chosen::NoneAlive => {
                    return Err(latest.take().unwrap_or_else(|| LeaseError::NoneAlive(name())));
                }
            };
            if let Some(beginning) = self.begin_at(place, is_trial, tried) {
                return Ok(beginning);
            }
        }
        Ok(Beginning::Full)
    }

    /// Begins a request at a backend; `None` when somebody else has taken the room.
    fn begin_at(self: &Rc<Self>, place: usize, is_trial: bool, tried: &mut Tried) -> Option<Beginning> {
        let (backend, most) = (&self.group.backends()[place], self.group.options().connections_max);
        let is_shared = self.group.speaks() == Speaks::Http2;
        if is_shared && !backend.enter_below(most) {
            return None;
        }
        if !is_shared {
            backend.enter();
        }
        let flight = |started| Flight::new(Rc::clone(self), place, is_trial, started);
        if !is_shared
            && tried.may_reuse(place)
            && let Some(Idle { stream, slot, version, .. }) = self.take_idle(place)
        {
            tried.note(place, true);
            let flight = flight(stream.arrived());
            return Some(Beginning::Reused(Lease { stream, slot, flight, version, is_reused: true }));
        }
        let flight = flight(Instant::now());
        if is_shared {
            tried.note(place, false);
            return Some(Beginning::Fresh(flight, None));
        }
        if !backend.open_below(most) {
            return None;
        }
        tried.note(place, false);
        let slot = Slot::counted(Arc::clone(backend), Arc::clone(&self.group.queue));
        Some(Beginning::Fresh(flight, Some(slot)))
    }

    /// One more connection to the backend of a flight, whatever the limit.
    fn slot(&self, flight: &Flight) -> Slot {
        let _always = flight.backend().open_below(0);
        Slot::counted(Arc::clone(flight.backend()), Arc::clone(&self.group.queue))
    }

    /// Waits until a backend has room.
    async fn wait_for_room(
        self: &Rc<Self>,
        key: &Key,
        tried: &mut Tried,
        latest: &mut Option<LeaseError>,
    ) -> Result<Beginning, LeaseError> {
        let options = self.group.options();
        let busy = || LeaseError::Busy(self.group.name().to_owned());
        let place = self.group.queue.join(options.queue_max).ok_or_else(busy)?;
        let until_ms = self.worker.now_ms().saturating_add(options.queue_ms_max);
        let mut sleep = self.worker.sleep_until(until_ms);
        let outcome = poll_fn(|context| {
            if place.wait(context) {
                match self.try_begin(key, tried, latest) {
                    Ok(Beginning::Full) => {}
                    outcome => return Poll::Ready(outcome),
                }
            }
            // Workers that keep connections that nobody uses there make room.
            self.group.want_room();
            Pin::new(&mut sleep).poll(context).map(|()| Err(busy()))
        });
        let outcome = outcome.await?;
        place.served();
        Ok(outcome)
    }

    /// Makes a connection for a flight.
    async fn connect(&self, flight: &mut Flight, key: &Key) -> Result<Stream, LeaseError> {
        let backend = Arc::clone(flight.backend());
        let until_ms = self.worker.now_ms().saturating_add(self.group.options().connect_timeout_ms);
        let error = match connect::open(&self.worker, &self.group, &backend, Some(key), until_ms).await {
            Ok(stream) => {
                Tally::count(&backend.tally.connects);
                return Ok(stream);
            }
            Err(error) => error,
        };
        if connect::is_own_fault(&error) {
            let reason = format!("cannot connect to {}: {error}", self.group.named(&backend));
            return Err(LeaseError::Exhausted(reason));
        }
        flight.end_trial();
        Tally::count(&backend.tally.connect_failures);
        let is_timeout = error.kind() == io::ErrorKind::TimedOut;
        let why = if is_timeout { "it took too long to connect".to_owned() } else { error.to_string() };
        self.failed(flight.place(), &why);
        Err(LeaseError::Unreachable { reason: format!("{}: {why}", self.group.named(&backend)), is_timeout })
    }

    // What becomes of requests.

    pub(super) fn answered(&self, place: usize, is_trial: bool, status: u16, latency_us: u64) {
        self.posts[place].counters.served(status, 0, latency_us);
        let backend = &self.group.backends()[place];
        let change = backend.answered(is_trial);
        self.group.note(backend, change);
    }

    pub(super) fn failed(&self, place: usize, reason: &str) {
        let backend = &self.group.backends()[place];
        let change = backend.failed(&self.group.rules, reason);
        self.group.say_failed(backend, &reason);
        self.group.note(backend, change);
    }

    pub(super) fn flight_ended(&self) {
        if self.group.speaks() == Speaks::Http2 {
            self.group.queue.call_next();
        }
    }

    // Connections that are kept.

    /// Keeps a connection for the next request, or closes it.
    pub(super) fn keep(self: &Rc<Self>, place: usize, mut stream: Stream, slot: Slot, version: u32) {
        let (options, backend) = (self.group.options(), &self.group.backends()[place]);
        let may_be_kept = options.idle_max > 0
            && options.proxy_header.is_none()
            && !backend.is_drained()
            && version == backend.addresses_version();
        stream.clear_deadline();
        // Who waits on another worker needs the room, not this connection.
        if !may_be_kept || !stream.is_quiet() || !self.group.queue.call_here() {
            return;
        }
        let until_ms = stream.now_ms().saturating_add(options.idle_ms_max);
        let too_many = {
            let mut idle = self.posts[place].idle.borrow_mut();
            idle.push(Idle { stream, slot, version, until_ms });
            (idle.len() > options.idle_max).then(|| idle.remove(0))
        };
        drop(too_many);
        self.sweep_later();
    }

    /// A kept connection that can be used.
    fn take_idle(&self, place: usize) -> Option<Idle> {
        let version = self.group.backends()[place].addresses_version();
        loop {
            let idle = self.posts[place].idle.borrow_mut().pop()?;
            // What was closed, or said something unasked for, is dropped here.
            if idle.version == version && idle.stream.is_quiet() {
                return Some(idle);
            }
        }
    }

    /// Has kept connections looked after while there are any.
    fn sweep_later(self: &Rc<Self>) {
        if self.is_swept.replace(true) {
            return;
        }
        let (side, worker, told) = (Rc::downgrade(self), self.worker.clone(), Arc::clone(&self.sweep));
        self.worker.spawn(async move {
            loop {
                let Some(side) = side.upgrade() else { return };
                let Some(next_ms) = side.sweep() else {
                    side.is_swept.set(false);
                    return;
                };
                drop(side);
                told.wait(Some(worker.sleep_until(next_ms))).await;
            }
        });
    }

    /// Closes what is kept for nobody. When to look again; `None` when nothing is kept any more.
    fn sweep(&self) -> Option<u64> {
        let now_ms = self.worker.now_ms();
        let mut next_ms = None;
        for (post, backend) in self.posts.iter().zip(self.group.backends()) {
            let closed: Vec<Idle> = {
                let mut idle = post.idle.borrow_mut();
                let is_wanted_elsewhere = !self.group.queue.is_empty() && !self.group.queue.is_next_here();
                let is_over = |idle: &mut Idle| {
                    backend.is_drained()
                        || is_wanted_elsewhere
                        || now_ms >= idle.until_ms
                        || idle.version != backend.addresses_version()
                        || !idle.stream.is_quiet()
                };
                let closed = idle.extract_if(.., is_over).collect();
                let ends = idle.iter().map(|idle| idle.until_ms.min(now_ms.saturating_add(SWEEP_MS)));
                next_ms = ends.chain(next_ms).min();
                closed
            };
            drop(closed);
        }
        next_ms
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.side.group).finish()
    }
}
