//! Changes of a running server: endpoints swapped, added and removed, and its listening sockets handed on.

use crate::counters::{Counters, Totals};
use crate::endpoint::{Endpoint, EndpointLimits, ProtocolFactory};
use crate::filter::{FilterFactory, FilterSource};
use crate::mailbox::{Mailbox, Message, Visit};
use crate::preface::Preface;
use crate::protocol::Protocol;
use crate::worker::{self, Worker, WorkerHandle};
use ringway_lock::{Mutex, MutexGuard};
use ringway_ring::socket::Address;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Most endpoints that a server has had in its life: the places of removed ones are not used again.
pub const ENDPOINTS_MAX: usize = 60_000;

/// Changes a server from any thread but its workers'. Clones are the same. Calls wait until the workers have done their part.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    workers: Vec<Seat>,
    /// How many doors come before the endpoints.
    outbound: usize,
    /// Where each endpoint listens; `None` when it was removed. Held while a change is under way: one at a time.
    endpoints: Mutex<Vec<Option<Address>>>,
}

/// A worker, as others see it.
struct Seat {
    mailbox: Mailbox,
    counters: Arc<Counters>,
}

/// The listening sockets of one endpoint, to be handed on: see [`Endpoint::listeners`].
#[derive(Debug)]
pub struct Listeners {
    /// The endpoint's place.
    pub endpoint: usize,
    /// Where they listen.
    pub address: Address,
    /// Duplicates.
    pub sockets: Vec<OwnedFd>,
}

/// Why a server was not changed. Nothing of the change is in place then.
#[derive(Debug)]
pub enum ChangeError {
    /// There is no such endpoint, or not any more.
    NoSuchEndpoint(usize),
    /// The server has had [`ENDPOINTS_MAX`] endpoints.
    TooMany,
    /// The endpoint could not be bound.
    Bind(Address, io::Error),
    /// A worker could not build what shall speak there.
    Build(io::Error),
    /// A worker has stopped.
    Stopped,
    /// A worker's own thread asked: it would wait for itself.
    OnWorker,
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchEndpoint(endpoint) => write!(f, "there is no endpoint {endpoint}"),
            Self::TooMany => {
                write!(f, "this server has had {ENDPOINTS_MAX} endpoints and must be started anew")
            }
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Build(error) => write!(f, "{error}"),
            Self::Stopped => f.write_str("the server has stopped"),
            Self::OnWorker => f.write_str("a worker cannot wait for a change of its own server"),
        }
    }
}

impl std::error::Error for ChangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, error) | Self::Build(error) => Some(error),
            _ => None,
        }
    }
}

/// What each worker builds an endpoint from.
#[derive(Clone)]
pub(crate) struct Builder {
    pub(crate) protocol: ProtocolFactory,
    pub(crate) limits: EndpointLimits,
    pub(crate) filter: Option<FilterFactory>,
    pub(crate) preface: Option<Arc<dyn Preface>>,
}

/// What a worker has built and not yet put in place.
pub(crate) struct Prepared {
    pub(crate) protocol: Rc<dyn Protocol>,
    pub(crate) limits: EndpointLimits,
    pub(crate) filters: Option<Rc<dyn FilterSource>>,
    pub(crate) preface: Option<Arc<dyn Preface>>,
}

impl Builder {
    pub(crate) fn build(&self, worker: &WorkerHandle) -> io::Result<Prepared> {
        let filters = self.filter.as_ref().map(|filter| filter(worker)).transpose()?;
        let preface = self.preface.clone();
        if preface.is_some() && !cfg!(feature = "preface") {
            return Err(io::Error::other("the engine was built without its feature preface"));
        }
        Ok(Prepared { protocol: (self.protocol)(worker)?, limits: self.limits, filters, preface })
    }
}

impl Control {
    pub(crate) fn new(
        workers: impl Iterator<Item = (Mailbox, Arc<Counters>)>,
        outbound: usize,
        addresses: &[Address],
    ) -> Self {
        let workers = workers.map(|(mailbox, counters)| Seat { mailbox, counters }).collect();
        let endpoints = Mutex::new(addresses.iter().cloned().map(Some).collect());
        Self { shared: Arc::new(Shared { workers, outbound, endpoints }) }
    }

    /// Gives an endpoint another protocol, other limits, and another filter and preface, which only new connections go through. Each worker builds the new protocol on its thread; when all have,
    /// each puts it in place: connections that no task holds are the new one's from their next turn on (their context words
    /// mean the same to it), tasks end under the old one. No connection is closed or refused by this. The address and its
    /// sockets stay.
    ///
    /// # Errors
    /// [`ChangeError::Build`] says what the first worker that could not build said.
    pub fn swap(
        &self,
        endpoint: usize,
        protocol: ProtocolFactory,
        limits: EndpointLimits,
        filter: Option<FilterFactory>,
        preface: Option<Arc<dyn Preface>>,
    ) -> Result<(), ChangeError> {
        let endpoints = self.endpoints();
        if !endpoints.get(endpoint).is_some_and(Option::is_some) {
            return Err(ChangeError::NoSuchEndpoint(endpoint));
        }
        self.prepare(&Builder { protocol, limits, filter, preface })?;
        let door = self.door(endpoint);
        self.on_each((0..self.shared.workers.len()).map(|_| {
            move |worker: &mut Worker| {
                worker.put_in_place(door);
            }
        }))?;
        drop(endpoints);
        Ok(())
    }

    /// Adds an endpoint; its place is returned. When this returns, it accepts.
    ///
    /// # Errors
    /// As [`Control::swap`], and [`ChangeError::Bind`].
    pub fn add(&self, endpoint: &Endpoint) -> Result<usize, ChangeError> {
        let mut endpoints = self.endpoints();
        let place = endpoints.len();
        if place + self.shared.outbound >= ENDPOINTS_MAX {
            return Err(ChangeError::TooMany);
        }
        let bound = endpoint.bind(self.shared.workers.len());
        let bound = bound.map_err(|error| ChangeError::Bind(endpoint.address.clone(), error))?;
        let Endpoint { protocol, limits, filter, preface, .. } = endpoint.clone();
        self.prepare(&Builder { protocol, limits, filter, preface })?;
        let door = self.door(place);
        let (address, listeners) = bound.for_workers(door);
        // Two rounds: a worker that accepts for others hands them nothing before they know the endpoint.
        self.on_each(listeners.iter().map(|_| {
            move |worker: &mut Worker| {
                worker.put_in_place(door);
            }
        }))?;
        self.on_each(listeners.into_iter().map(|own| move |worker: &mut Worker| worker.listen(own)))?;
        endpoints.push(Some(address));
        Ok(place)
    }

    /// Removes an endpoint: no worker accepts there any more when this returns. What waited in its queues was accepted.
    /// Its connections end as those of a server that drains, without a time limit: idle ones at once, others when they have
    /// finished.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchEndpoint`], [`ChangeError::Stopped`].
    pub fn remove(&self, endpoint: usize) -> Result<(), ChangeError> {
        let mut endpoints = self.endpoints();
        let removed = endpoints.get_mut(endpoint).and_then(Option::take);
        if removed.is_none() {
            return Err(ChangeError::NoSuchEndpoint(endpoint));
        }
        let door = self.door(endpoint);
        let count = self.shared.workers.len();
        let (sender, ended) = channel::<()>();
        let stop =
            |told: std::sync::mpsc::Sender<()>| move |worker: &mut Worker| worker.stop_accepting(door, &told);
        self.on_each((0..count).map(|_| stop(sender.clone())))?;
        drop(sender);
        // Until every listener has dropped its sender: what they hand to other workers is on its way before this.
        let _all_gone = ended.recv();
        self.on_each((0..count).map(|_| move |worker: &mut Worker| worker.retire(door)))?;
        Ok(())
    }

    /// Where the endpoints listen, with their places.
    #[must_use]
    pub fn addresses(&self) -> Vec<(usize, Address)> {
        let endpoints = self.endpoints();
        let known = endpoints.iter().enumerate();
        known.filter_map(|(place, address)| address.clone().map(|address| (place, address))).collect()
    }

    /// Duplicates of all listening sockets, for a successor: what is queued in them is not lost when this server drains.
    ///
    /// # Errors
    /// [`ChangeError::Build`] when there are no descriptors for them, [`ChangeError::Stopped`].
    pub fn listeners(&self) -> Result<Vec<Listeners>, ChangeError> {
        let endpoints = self.endpoints();
        let asked =
            self.on_each(self.shared.workers.iter().map(|_| |worker: &mut Worker| worker.listeners()))?;
        let mut found: Vec<Listeners> = Vec::new();
        for (endpoint, address) in endpoints.iter().enumerate() {
            let Some(address) = address.clone() else { continue };
            found.push(Listeners { endpoint, address, sockets: Vec::new() });
        }
        for own in asked {
            for (door, socket) in own.map_err(ChangeError::Build)? {
                let place = usize::from(door).checked_sub(self.shared.outbound);
                let listeners = found.iter_mut().find(|listeners| Some(listeners.endpoint) == place);
                if let Some(listeners) = listeners {
                    listeners.sockets.push(socket);
                }
            }
        }
        Ok(found)
    }

    /// Has every worker look at its listening sockets' queues. For a server that has inherited them from a process that was
    /// killed: the accepts of that one linger in the kernel for a moment, and take wake-ups that are meant for this one.
    pub fn renew_accepts(&self) {
        for seat in &self.shared.workers {
            let _stopped = seat.ask(Worker::renew_accepts);
        }
    }

    /// Whether every worker comes to what it is asked within a time: one that a panic, a deadlock or a disk holds does not.
    #[must_use]
    pub fn is_alive(&self, within: Duration) -> bool {
        let deadline = std::time::Instant::now() + within;
        let asked: Vec<_> = self.shared.workers.iter().map(|seat| seat.ask(|_worker| ())).collect();
        let left = || deadline.saturating_duration_since(std::time::Instant::now());
        asked.into_iter().all(|answer| answer.is_some_and(|answer| answer.recv_timeout(left()).is_ok()))
    }

    /// As [`crate::Server::drain`].
    pub fn drain(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for worker in &self.shared.workers {
            worker.mailbox.send(Message::Drain(within_ms));
        }
    }

    /// As [`crate::Server::totals`].
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.shared.workers.iter().for_each(|worker| totals.add(&worker.counters));
        totals
    }

    /// Has every worker build; when one cannot, all drop what they built.
    fn prepare(&self, builder: &Builder) -> Result<(), ChangeError> {
        let built = self.on_each(self.shared.workers.iter().map(|_| {
            let builder = builder.clone();
            move |worker: &mut Worker| worker.prepare(&builder)
        }));
        let failure = match built {
            Ok(built) => built.into_iter().find_map(Result::err).map(ChangeError::Build),
            Err(error) => Some(error),
        };
        let Some(failure) = failure else { return Ok(()) };
        let _some_have_stopped =
            self.on_each(self.shared.workers.iter().map(|_| |worker: &mut Worker| worker.forget_prepared()));
        Err(failure)
    }

    /// Has each worker do its part, all at the same time, and waits for what came of it.
    fn on_each<T: Send + 'static, F: FnOnce(&mut Worker) -> T + Send + 'static>(
        &self,
        works: impl Iterator<Item = F>,
    ) -> Result<Vec<T>, ChangeError> {
        if worker::is_current() {
            return Err(ChangeError::OnWorker);
        }
        let asked: Vec<Option<Receiver<T>>> =
            self.shared.workers.iter().zip(works).map(|(seat, work)| seat.ask(work)).collect();
        let answers = asked.into_iter().map(|answer| answer?.recv().ok());
        answers.collect::<Option<Vec<T>>>().ok_or(ChangeError::Stopped)
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Option<Address>>> {
        self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self, endpoint: usize) -> u16 {
        u16::try_from(self.shared.outbound + endpoint).unwrap_or(u16::MAX)
    }
}

impl Seat {
    /// Has something done on the worker's thread; `None` when it has stopped.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Option<Receiver<T>> {
        let (sender, answer) = channel();
        let visit = move |worker: &mut Worker| {
            let _nobody_waits = sender.send(work(worker));
        };
        self.mailbox.send(Message::Visit(Visit(Box::new(visit)))).then_some(answer)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("workers", &self.shared.workers.len()).finish_non_exhaustive()
    }
}
