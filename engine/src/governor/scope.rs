//! A governed scope: its rules, and the words that all workers read and write without locks.

use super::{Bandwidth, Direction, EstimateBy, SAMPLE_MS, Scope, ScopeStatus};
use crate::counters::Counter;
use ringway_lock::Mutex;
use ringway_pace::governor::{Estimate, Histogram, IDLE_US_MAX, Load, Rules, Verdicts};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, TryLockError};

const SAMPLE_NS: u64 = SAMPLE_MS * 1_000_000;

/// A scope that has an M. A change of M makes another entry with the same words.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) scope: Scope,
    pub(crate) bandwidth: Bandwidth,
    pub(crate) rules: Rules,
    pub(crate) words: Arc<Words>,
}

/// What workers share of a scope.
pub(crate) struct Words {
    /// Until when the line is taken, in nanoseconds since the governor's beginning.
    until_ns: AtomicU64,
    /// See [`Verdicts::bits`].
    verdicts: AtomicU32,
    /// B, in bytes a second.
    used: AtomicU64,
    /// When the next sample is due.
    sample_at_ns: AtomicU64,
    sampler: Mutex<Sampler>,
    seats: Box<[Seat]>,
}

/// A worker's own words: it alone writes them.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Seat {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) waiting: Counter,
    pub(crate) blocked: Counter,
    pub(crate) rejected: Counter,
    /// The running average, in bytes a second, and when it was told.
    pub(crate) average: Counter,
    pub(crate) average_at_us: Counter,
}

#[derive(Default)]
struct Sampler {
    histogram: Histogram,
    counted: u64,
}

impl Words {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            until_ns: AtomicU64::new(0),
            verdicts: AtomicU32::new(0),
            used: AtomicU64::new(0),
            sample_at_ns: AtomicU64::new(0),
            sampler: Mutex::default(),
            seats: (0..workers).map(|_| Seat::default()).collect(),
        }
    }

    fn sum(&self, of: impl Fn(&Seat) -> u64) -> u64 {
        self.seats.iter().map(of).fold(0, u64::wrapping_add)
    }
}

impl Entry {
    pub(crate) fn new(scope: Scope, bandwidth: Bandwidth, words: Arc<Words>) -> Self {
        Self { scope, bandwidth, rules: bandwidth.rules(), words }
    }

    pub(crate) fn is(&self, scope: Scope, direction: Direction) -> bool {
        (self.scope, self.bandwidth.direction) == (scope, direction)
    }

    pub(crate) fn set(&mut self, bandwidth: Bandwidth) {
        (self.bandwidth, self.rules) = (bandwidth, bandwidth.rules());
    }

    pub(crate) fn seat(&self, worker: usize) -> &Seat {
        &self.words.seats[worker]
    }

    pub(crate) fn counts_sent(&self) -> bool {
        self.bandwidth.direction != Direction::Received
    }

    pub(crate) fn counts_received(&self) -> bool {
        self.bandwidth.direction != Direction::Sent
    }

    /// The verdicts as of the last look: one relaxed load.
    pub(crate) fn verdicts(&self) -> Verdicts {
        Verdicts::from_bits(self.words.verdicts.load(Ordering::Relaxed))
    }

    /// Whether everything that went before is paid for.
    pub(crate) fn is_free(&self, now_ns: u64) -> bool {
        self.rules.line().is_free(self.words.until_ns.load(Ordering::Relaxed), now_ns)
    }

    /// How long until it is, in nanoseconds.
    pub(crate) fn free_in_ns(&self, now_ns: u64) -> u64 {
        self.words.until_ns.load(Ordering::Relaxed).saturating_sub(now_ns)
    }

    /// Takes the line for so many bytes.
    pub(crate) fn charge(&self, now_ns: u64, bytes: u64) {
        let line = self.rules.line();
        let charged = |until_ns| Some(line.charged(until_ns, now_ns, bytes));
        let _always_charged = self.words.until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }

    /// Gives back what was charged and will not be sent.
    pub(crate) fn refund(&self, bytes: u64) {
        let line = self.rules.line();
        let refunded = |until_ns| Some(line.refunded(until_ns, bytes));
        let _always_refunded =
            self.words.until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refunded);
    }

    /// Looks at the use when it is time to: whoever comes first adds up for all, the others go on.
    pub(crate) fn sample(&self, now_ns: u64) {
        let due_ns = self.words.sample_at_ns.load(Ordering::Relaxed);
        if now_ns < due_ns {
            return;
        }
        let mut sampler = match self.words.sampler.try_lock() {
            Ok(sampler) => sampler,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.words.sample_at_ns.store(now_ns.saturating_add(SAMPLE_NS), Ordering::Relaxed);
        let used = match self.bandwidth.estimate {
            EstimateBy::Histogram => {
                let total = self.words.sum(|seat| self.counted(seat));
                let fresh = total.wrapping_sub(sampler.counted);
                sampler.counted = total;
                sampler.histogram.add(now_ns / 1_000, fresh, 0);
                sampler.histogram.bytes_per_s(now_ns / 1_000)
            }
            EstimateBy::RunningAverage => self.averages(now_ns / 1_000),
        };
        drop(sampler);
        self.judge(used);
    }

    /// Keeps what this worker's running average says, and judges by all of them.
    pub(crate) fn averaged(&self, worker: usize, now_ns: u64, bytes_per_s: u64) {
        let seat = self.seat(worker);
        seat.average.set(bytes_per_s);
        seat.average_at_us.set(now_ns / 1_000);
        self.judge(self.averages(now_ns / 1_000));
    }

    pub(crate) fn status(&self, now_ns: u64) -> ScopeStatus {
        self.sample(now_ns);
        ScopeStatus {
            scope: self.scope,
            bandwidth: self.bandwidth,
            used_bytes_per_s: self.words.used.load(Ordering::Relaxed),
            verdicts: self.verdicts(),
            waiting: self.words.sum(|seat| seat.waiting.get()),
            blocked: self.words.sum(|seat| seat.blocked.get()),
            rejected: self.words.sum(|seat| seat.rejected.get()),
            bytes_sent: self.words.sum(|seat| seat.sent.get()),
            bytes_received: self.words.sum(|seat| seat.received.get()),
        }
    }

    fn judge(&self, used: u64) {
        let load = Load::of(used, self.rules.bytes_per_s, self.rules.delta_permille);
        let is_long = self.words.sum(|seat| seat.waiting.get()) >= self.bandwidth.long_queue as u64;
        self.words.used.store(used, Ordering::Relaxed);
        self.words.verdicts.store(Verdicts::at(self.rules.policy, load, is_long).bits(), Ordering::Relaxed);
    }

    fn counted(&self, seat: &Seat) -> u64 {
        let sent = if self.counts_sent() { seat.sent.get() } else { 0 };
        let received = if self.counts_received() { seat.received.get() } else { 0 };
        sent.wrapping_add(received)
    }

    fn averages(&self, now_us: u64) -> u64 {
        let is_fresh = |seat: &&Seat| now_us.saturating_sub(seat.average_at_us.get()) <= IDLE_US_MAX;
        let fresh = self.words.seats.iter().filter(is_fresh);
        fresh.map(|seat| seat.average.get()).fold(0, u64::saturating_add)
    }
}

/// All scopes that have an M, as a worker finds them.
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
    server: Places,
    /// By door.
    endpoints: HashMap<u16, Places>,
    sites: HashMap<u16, Places>,
}

/// The places of a scope's entries, by direction.
type Places = [Option<u16>; 3];

/// The scopes a connection is under, by their places in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Under([Places; 3]);

impl Under {
    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().flatten().flatten().map(usize::from)
    }
}

impl Table {
    /// `alike`: endpoints that are governed as others.
    pub(crate) fn new(entries: Vec<Entry>, outbound: usize, alike: &HashMap<usize, usize>) -> Self {
        let (mut server, mut endpoints, mut sites) = (Places::default(), HashMap::new(), HashMap::new());
        // An endpoint beyond what there can be has no connections.
        let door = |endpoint: usize| u16::try_from(outbound.saturating_add(endpoint)).unwrap_or(u16::MAX);
        for (place, entry) in (0_u16..).zip(&entries) {
            let places: &mut Places = match entry.scope {
                Scope::Server => &mut server,
                Scope::Endpoint(endpoint) => endpoints.entry(door(endpoint)).or_default(),
                Scope::Site(site) => sites.entry(site).or_default(),
            };
            places[entry.bandwidth.direction as usize] = Some(place);
        }
        for (&one, &other) in alike {
            if let Some(places) = endpoints.get(&door(other)).copied() {
                endpoints.insert(door(one), places);
            }
        }
        Self { entries, server, endpoints, sites }
    }

    pub(crate) fn under(&self, door: u16, site: u16) -> Under {
        let of = |places: &HashMap<u16, Places>, key| places.get(&key).copied().unwrap_or_default();
        Under([self.server, of(&self.endpoints, door), of(&self.sites, site)])
    }
}
