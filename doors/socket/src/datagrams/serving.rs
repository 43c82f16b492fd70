//! A handler of datagrams at work on a worker: its peers and their time, limits, ticks, and what is counted.

use crate::datagrams::peers::{Peers, Why, address_key};
use crate::datagrams::replies::{Given, Peer, Replies, Train};
use crate::datagrams::rules::DatagramRules;
use crate::datagrams::sender::DatagramSender;
use crate::datagrams::{DatagramHandler, DatagramHandlerFactory};
use crate::stalls::{self, Watched};
use crate::{EndpointCounters, WorkerCounters};
use ringway_engine::ring::{Batch, Datagram};
use ringway_engine::stall::Note;
use ringway_engine::{Outgoing, WorkerHandle};
use ringway_pace::{BucketTable, Taken, TokenRate};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

/// Addresses whose rate is remembered on a worker; beyond them, those that have sent least are forgotten.
const RATED_ADDRESSES: usize = 16_384;

/// Peers that expire in one turn of the worker.
const EXPIRED_BATCH: usize = 1024;

/// An endpoint's handler with its rules, as the engine wants it.
#[derive(Clone)]
pub struct DatagramService {
    handler: DatagramHandlerFactory,
    rules: DatagramRules,
    counters: EndpointCounters,
    watched: Option<Watched>,
}

impl DatagramService {
    /// A handler with its rules. What is counted: peers that became known as `opened` and those that are not any more as
    /// `closed`, datagrams as messages (those of trains singly), what was not heard for a limit as `refused`, what was longer
    /// than the endpoint's buffers as `faults`, peers that expired as `timeouts`, answers that found no room as `errors`.
    #[must_use]
    pub fn new(handler: DatagramHandlerFactory, rules: DatagramRules, counters: EndpointCounters) -> Self {
        Self { handler, rules, counters, watched: None }
    }

    /// Tells of a handler that keeps its worker from everything else.
    #[must_use]
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched: Some(watched), ..self }
    }

    /// What an engine's [`ringway_engine::UdpEndpoint::handler`] is to be.
    #[must_use]
    pub fn factory(self) -> ringway_engine::DatagramHandlerFactory {
        let made = move |worker: &WorkerHandle| {
            let (handler, counters) = ((self.handler)(worker)?, self.counters.here());
            let serving = Serving::new(worker, handler, self.rules.clone(), counters);
            let note =
                self.watched.as_ref().map(|watched| (stalls::watched(watched.clone()), watched.clone()));
            let serving = Rc::new(Serving { note, ..serving });
            Ok(Rc::new(Seat { serving }) as Rc<dyn ringway_engine::DatagramHandler>)
        };
        Arc::new(made)
    }
}

impl fmt::Debug for DatagramService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramService").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What the engine holds. Tasks hold what it holds weakly, so they end with it.
struct Seat {
    serving: Rc<Serving>,
}

struct Serving {
    worker: WorkerHandle,
    handler: Rc<dyn DatagramHandler>,
    rules: DatagramRules,
    counters: Arc<WorkerCounters>,
    /// Whether the worker is in the handler.
    note: Option<(Arc<Note>, Watched)>,
    peers: RefCell<Peers>,
    rate: Option<RefCell<Rate>>,
    endpoint: Cell<usize>,
    sender: RefCell<Option<DatagramSender>>,
    /// A task waits for peers to expire.
    is_watching: Cell<bool>,
}

/// How often addresses may send.
struct Rate {
    table: BucketTable,
    rate: TokenRate,
}

/// What came in a batch, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    datagrams: u64,
    bytes: u64,
    refused: u64,
    faults: u64,
    opened: u64,
    closed: u64,
}

impl Serving {
    fn new(
        worker: &WorkerHandle,
        handler: Rc<dyn DatagramHandler>,
        rules: DatagramRules,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let rate = rules.rate_per_address.map(|rate| {
            let hasher = RandomState::new();
            let secret = [hasher.hash_one(1), hasher.hash_one(2)];
            RefCell::new(Rate { table: BucketTable::new(RATED_ADDRESSES, secret), rate })
        });
        let peers = RefCell::new(Peers::new(&rules, worker.now_ms()));
        Self {
            worker: worker.clone(),
            handler,
            rules,
            counters,
            note: None,
            peers,
            rate,
            endpoint: Cell::new(0),
            sender: RefCell::default(),
            is_watching: Cell::new(false),
        }
    }

    /// Handles what came in one buffer: a datagram, or a train.
    fn handle(
        &self,
        head: Datagram<'_>,
        payload: &mut [u8],
        now_ms: u64,
        came: &mut Came,
        out: &mut Replies<'_>,
    ) {
        let segment_bytes = head.segment_bytes().and_then(|bytes| u16::try_from(bytes).ok());
        let train_bytes = segment_bytes.filter(|&bytes| bytes > 0 && payload.len() > usize::from(bytes));
        let datagrams = train_bytes.map_or(1, |bytes| payload.len().div_ceil(usize::from(bytes)) as u64);
        came.datagrams += datagrams;
        came.bytes += payload.len() as u64;
        let Some(address) = head.source().filter(|_| !head.is_truncated()) else {
            // Longer than the endpoint's limit: what is left of it is no message.
            came.faults += datagrams;
            return;
        };
        let allowed = self.allowed(address, datagrams, now_ms);
        came.refused += datagrams - allowed;
        let payload = match train_bytes {
            _ if allowed == 0 => return,
            Some(bytes) if allowed < datagrams => {
                let most = usize::try_from(allowed).unwrap_or(usize::MAX).saturating_mul(usize::from(bytes));
                &mut payload[..most]
            }
            _ => payload,
        };
        let mut peer = Peer::new(address, head, 0, true);
        let mut place = None;
        if self.rules.peers_max > 0 {
            let heard = self.peers.borrow_mut().hear(address, now_ms);
            let Some((known, user, is_new)) = heard else {
                came.refused += allowed;
                return;
            };
            (peer.user, peer.is_new) = (user, is_new);
            came.opened += u64::from(is_new);
            place = Some(known);
        }
        out.to = Some(address);
        match train_bytes {
            Some(bytes) => self.handler.train(&mut peer, Train::new(payload, bytes), out),
            None => self.handler.datagram(&mut peer, payload, out),
        }
        if let Some(place) = place {
            let mut peers = self.peers.borrow_mut();
            peers.set_user(place, peer.user);
            if peer.is_forgotten {
                peers.remove(place, Why::Forgotten);
                came.closed += 1;
            }
        }
    }

    /// How many of so many datagrams an address may send.
    fn allowed(&self, address: SocketAddr, datagrams: u64, now_ms: u64) -> u64 {
        let Some(rate) = &self.rate else { return datagrams };
        let Rate { table, rate } = &mut *rate.borrow_mut();
        let key = address_key(address.ip());
        let is_taken = |_: &u64| table.take(key, rate, now_ms) == Taken::Yes;
        (0..datagrams).take_while(is_taken).count() as u64
    }

    /// Sends of one's own accord, outside of a batch.
    fn act(&self, give: impl FnOnce(&dyn DatagramHandler, &mut Replies<'_>)) {
        let mut given = Given::default();
        let outcome = self.worker.send_datagrams(self.endpoint.get(), |out| {
            let mut replies = Replies::new(Some(out.again()), &self.peers);
            let outcome = catch_unwind(AssertUnwindSafe(|| give(&*self.handler, &mut replies)));
            given = replies.tally;
            outcome
        });
        self.note_given(given, matches!(outcome, Some(Err(_))));
    }

    fn note_came(&self, came: Came) {
        let counters = &*self.counters;
        counters.messages_in.add(came.datagrams);
        counters.bytes_in.add(came.bytes);
        counters.refused.add(came.refused);
        counters.faults.add(came.faults);
        counters.opened.add(came.opened);
        counters.closed.add(came.closed);
    }

    fn note_given(&self, given: Given, panicked: bool) {
        let counters = &*self.counters;
        counters.messages_out.add(given.datagrams);
        counters.bytes_out.add(given.bytes);
        counters.errors.add(given.refused);
        counters.panics.add(u64::from(panicked));
    }

    /// Tells the handler of peers whose time is up.
    fn expire(&self) {
        let now_ms = self.worker.now_ms();
        for _ in 0..EXPIRED_BATCH {
            let Some(expired) = self.peers.borrow_mut().expire(now_ms) else { return };
            self.counters.timeouts.add(1);
            self.counters.closed.add(1);
            self.act(|handler, out| handler.expired(&expired, out));
        }
    }
}

/// Waits for peers to expire, until nobody is known or the handler is gone.
async fn watch(worker: WorkerHandle, serving: Weak<Serving>) {
    loop {
        let at_ms = {
            let Some(serving) = serving.upgrade() else { return };
            serving.expire();
            let next = serving.peers.borrow().next_expiry_ms();
            match next {
                Some(at_ms) => at_ms,
                None => return serving.is_watching.set(false),
            }
        };
        worker.sleep_until(at_ms).await;
    }
}

/// Ticks until the handler is gone. A tick that comes late moves those behind it.
async fn tick(worker: WorkerHandle, serving: Weak<Serving>, every_ms: u64) {
    loop {
        worker.sleep_until(worker.now_ms().saturating_add(every_ms)).await;
        let Some(serving) = serving.upgrade() else { return };
        serving.act(|handler, out| handler.tick(out));
    }
}

impl ringway_engine::DatagramHandler for Seat {
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>) {
        let serving = &*self.serving;
        let now_ms = serving.worker.now_ms();
        let mut replies = Replies::new(Some(out.again()), &serving.peers);
        let mut came = Came::default();
        let started = Instant::now();
        let (mut index, count) = (0, batch.len());
        if let Some((note, _)) = &serving.note {
            note.enter(0);
        }
        while index < count {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                while let Some((head, payload)) = batch.at_mut(index) {
                    index += 1;
                    serving.handle(head, payload, now_ms, &mut came, &mut replies);
                }
            }));
            // A datagram that the handler cannot bear is its own loss, and none of those behind it.
            serving.counters.panics.add(u64::from(outcome.is_err()));
        }
        if let Some((note, watched)) = &serving.note
            && let Some(took) = note.leave()
        {
            stalls::say_back(watched, took);
        }
        serving.note_came(came);
        // One look at the clock before and behind a batch: what a datagram of it took on average.
        let datagrams = u32::try_from(came.datagrams).unwrap_or(u32::MAX).max(1);
        serving.counters.time(started.elapsed() / datagrams);
        serving.note_given(replies.tally, false);
        if serving.rules.peers_max > 0 && !serving.is_watching.get() && serving.peers.borrow().len() > 0 {
            serving.is_watching.set(true);
            serving.worker.spawn(watch(serving.worker.clone(), Rc::downgrade(&self.serving)));
        }
    }

    fn placed(&self, endpoint: usize) {
        let serving = &*self.serving;
        serving.endpoint.set(endpoint);
        let rules = &serving.rules;
        let counters = Arc::clone(&serving.counters);
        let told = move |given: Given| {
            counters.messages_out.add(given.datagrams);
            counters.bytes_out.add(given.bytes);
            counters.errors.add(given.refused);
        };
        let limits = (rules.posted_max, rules.posted_bytes_max);
        let sender = DatagramSender::new(&serving.worker, endpoint, limits, told);
        serving.handler.started(&sender);
        serving.sender.replace(Some(sender));
        if rules.tick_ms > 0 {
            let ticking = tick(serving.worker.clone(), Rc::downgrade(&self.serving), rules.tick_ms);
            serving.worker.spawn(ticking);
        }
    }

    fn error(&self, error: &io::Error) {
        self.serving.handler.error(error);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let serving = &*self.serving;
        if let Some(sender) = serving.sender.take() {
            sender.stop();
        }
        // Peers end with the handler that knows them: it may hold something for each.
        loop {
            let Some(expired) = serving.peers.borrow_mut().take_any() else { return };
            serving.counters.closed.add(1);
            let mut out = Replies::new(None, &serving.peers);
            let told = catch_unwind(AssertUnwindSafe(|| serving.handler.expired(&expired, &mut out)));
            serving.note_given(Given::default(), told.is_err());
        }
    }
}
