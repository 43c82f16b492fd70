//! A backend as all workers of a process see it: its standing, its load, what has become of its requests.

use crate::site_counters::{SiteBook, SiteTotals};
use crate::upstream::balance::hash_of;
use crate::upstream::health::{self, Change, Health, Rules, Standing};
use crate::upstream::notify::Notify;
use crate::upstream::options::{ADDRESSES_MAX, Origin};
use ringway_lock::{Mutex, MutexGuard};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Bytes that are kept of the reason for the latest failure.
const REASON_BYTES_MAX: usize = 256;

/// What the times of backends count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time that the health of all backends is told in, in milliseconds.
pub(super) fn now_ms() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A backend. It outlives configurations that have it in common, with its health and its figures.
pub struct Backend {
    origin: Origin,
    name: String,
    hash: u64,
    // What every choice looks at.
    standing: AtomicU8,
    is_drained: AtomicBool,
    /// An answered request is to be told to `health`.
    is_troubled: AtomicBool,
    /// When its slow start began; 0: never.
    up_since_ms: AtomicU64,
    in_flight: AtomicU32,
    /// Connections, idle ones included.
    open: AtomicU32,
    noted: Mutex<Noted>,
    addresses: Mutex<Addresses>,
    /// Counts the changes of the addresses.
    addresses_version: AtomicU32,
    watchers: Mutex<Vec<Weak<Notify>>>,
    /// Answers, by class and latency.
    pub(super) book: SiteBook,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
struct Noted {
    health: Health,
    latest: Option<Mishap>,
}

/// The latest failure of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mishap {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// What went wrong.
    pub reason: String,
}

#[derive(Debug, Default)]
struct Addresses {
    list: Arc<[SocketAddr]>,
    next: usize,
}

/// What happens seldom enough to be counted by all workers together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Connections that were made.
    pub(super) connects: AtomicU64,
    /// Failures of all kinds.
    pub(super) failures: AtomicU64,
    /// Of them, connections that could not be made.
    pub(super) connect_failures: AtomicU64,
    /// Of them, answers that did not come in time.
    pub(super) timeouts: AtomicU64,
    /// Kept connections that had been closed when they were used again; no failures.
    pub(super) stale: AtomicU64,
    /// How often it went down.
    pub(super) downs: AtomicU64,
    /// Probes and questions.
    pub(super) probes: AtomicU64,
}

impl Tally {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A backend's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFigures {
    /// Where it is.
    pub address: String,
    /// Whether it gets requests.
    pub standing: Standing,
    /// Whether an operator has taken it out.
    pub is_drained: bool,
    /// Requests under way.
    pub in_flight: u32,
    /// Connections, idle ones included.
    pub connections: u32,
    /// Its answers by class of status, and how long they took to begin.
    pub answers: SiteTotals,
    /// Failures of all kinds.
    pub failures: u64,
    /// Of them, connections that could not be made.
    pub connect_failures: u64,
    /// Of them, answers that did not come in time.
    pub timeouts: u64,
    /// Kept connections that had been closed when they were used again; no failures.
    pub stale: u64,
    /// Connections that were made.
    pub connects: u64,
    /// How often it went down.
    pub downs: u64,
    /// How often it was probed, or asked how it is.
    pub probes: u64,
    /// The latest failure.
    pub latest: Option<Mishap>,
}

impl Backend {
    pub(super) fn new(origin: Origin) -> Self {
        let name = origin.to_string();
        let list: Arc<[SocketAddr]> = match &origin {
            Origin::Tcp(address) => Arc::new([*address]),
            Origin::Named(..) | Origin::Unix(_) => Arc::new([]),
        };
        Self {
            hash: hash_of(name.as_bytes()),
            name,
            origin,
            standing: AtomicU8::new(Standing::Up as u8),
            is_drained: AtomicBool::new(false),
            is_troubled: AtomicBool::new(false),
            up_since_ms: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            open: AtomicU32::new(0),
            noted: Mutex::default(),
            addresses: Mutex::new(Addresses { list, next: 0 }),
            addresses_version: AtomicU32::new(0),
            watchers: Mutex::default(),
            book: SiteBook::default(),
            tally: Tally::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where it is, in words.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it gets requests.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::from_bits(self.standing.load(Ordering::Relaxed))
    }

    /// Whether an operator has taken it out.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }

    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Connections, idle ones included.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    /// Its figures, as of a moment ago.
    #[must_use]
    pub fn figures(&self) -> BackendFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.tally;
        BackendFigures {
            address: self.name.clone(),
            standing: self.standing(),
            is_drained: self.is_drained(),
            in_flight: self.in_flight(),
            connections: self.connections(),
            answers: self.book.totals(),
            failures: read(&tally.failures),
            connect_failures: read(&tally.connect_failures),
            timeouts: read(&tally.timeouts),
            stale: read(&tally.stale),
            connects: read(&tally.connects),
            downs: read(&tally.downs),
            probes: read(&tally.probes),
            latest: self.noted().latest.clone(),
        }
    }

    /// Why it failed last.
    pub(super) fn latest_reason(&self) -> String {
        self.noted().latest.as_ref().map_or_else(String::new, |latest| latest.reason.clone())
    }

    /// What stands for it in hashes.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn set_drained(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Ordering::SeqCst);
        if !is_drained {
            self.tell_watchers();
        }
    }

    /// The part of its weight that it gets.
    pub(super) fn share(&self, slow_start_ms: u64) -> u64 {
        match self.up_since_ms.load(Ordering::Relaxed) {
            since_ms if since_ms > 0 && slow_start_ms > 0 => health::share(since_ms, slow_start_ms, now_ms()),
            _ => health::share(0, slow_start_ms, 0),
        }
    }

    // Its load.

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    /// Enters if fewer than `most` have.
    pub(super) fn enter_below(&self, most: u32) -> bool {
        add_below(&self.in_flight, most)
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts one more connection if there are fewer than `most`.
    pub(super) fn open_below(&self, most: u32) -> bool {
        add_below(&self.open, most)
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    // Its health.

    pub(super) fn begin_trial(&self) -> bool {
        self.noted().health.begin_trial(now_ms())
    }

    pub(super) fn abandon_trial(&self) {
        self.noted().health.abandon_trial();
    }

    pub(super) fn answered(&self, is_trial: bool) -> Option<Change> {
        if !is_trial && !self.is_troubled.load(Ordering::Relaxed) {
            return None;
        }
        self.change(None, |health| health.answered(now_ms(), is_trial))
    }

    pub(super) fn failed(&self, rules: &Rules, reason: &str) -> Option<Change> {
        Tally::count(&self.tally.failures);
        self.change(Some(reason), |health| health.failed(rules, now_ms()))
    }

    /// A probe came out well, or badly for a reason.
    pub(super) fn probed(&self, rules: &Rules, reason: Option<&str>) -> Option<Change> {
        Tally::count(&self.tally.probes);
        self.change(reason, |health| health.probed(rules, now_ms(), reason.is_none()))
    }

    pub(super) fn next_probe_ms(&self, rules: &Rules) -> Option<u64> {
        self.noted().health.next_probe_ms(rules)
    }

    fn change(
        &self,
        reason: Option<&str>,
        change: impl FnOnce(&mut Health) -> Option<Change>,
    ) -> Option<Change> {
        let mut noted = self.noted();
        if let Some(reason) = reason {
            noted.latest = Some(Mishap::now(reason));
        }
        let before = noted.health.standing();
        let change = change(&mut noted.health);
        let health = &noted.health;
        // Written under the lock, so that it is never older than what it tells of.
        self.up_since_ms.store(health.up_since_ms(), Ordering::Relaxed);
        self.is_troubled.store(health.is_troubled(), Ordering::Relaxed);
        self.standing.store(health.standing() as u8, Ordering::SeqCst);
        let is_different = before != health.standing();
        drop(noted);
        if change == Some(Change::WentDown) {
            Tally::count(&self.tally.downs);
        }
        if is_different {
            self.tell_watchers();
        }
        change
    }

    // Who is told when its standing changes, or room is wanted.

    pub(super) fn watch(&self, watcher: &Arc<Notify>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(watcher));
    }

    pub(super) fn tell_watchers(&self) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.tell());
    }

    // Its addresses.

    /// Its addresses, the one whose turn it is first; none when a name has not been looked up.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let first = addresses.next;
        addresses.next = first.wrapping_add(1);
        let list = &addresses.list;
        let rotated = list.iter().cycle().skip(first % list.len().max(1)).take(list.len());
        rotated.copied().collect()
    }

    /// Changes when the addresses do: connections to old ones are not used again.
    pub(crate) fn addresses_version(&self) -> u32 {
        self.addresses_version.load(Ordering::Relaxed)
    }

    /// Its name was looked up. Whether its addresses are others now.
    pub(super) fn set_addresses(&self, mut found: Vec<SocketAddr>) -> bool {
        found.sort_unstable();
        found.dedup();
        found.truncate(ADDRESSES_MAX);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() || *addresses.list == *found {
            return false;
        }
        let had_some = !addresses.list.is_empty();
        addresses.list = found.into();
        if had_some {
            self.addresses_version.fetch_add(1, Ordering::Relaxed);
        }
        had_some
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mishap {
    fn now(reason: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        Self { unix_ms, reason: reason[..end].to_owned() }
    }
}

/// Adds one if there are fewer than `most`; 0: in any case.
fn add_below(count: &AtomicU32, most: u32) -> bool {
    if most == 0 {
        count.fetch_add(1, Ordering::SeqCst);
        return true;
    }
    let add = |count: u32| (count < most).then_some(count + 1);
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({}, {})", self.name, self.standing().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::options::PassiveRules;

    fn backend(text: &str) -> Backend {
        Backend::new(text.parse().unwrap())
    }

    #[test]
    fn what_failed_is_seen_by_all_and_remembered() {
        let backend = backend("127.0.0.1:1");
        let rules = Rules { passive: PassiveRules { fail_max: 2, ..PassiveRules::default() }, asking: None };
        let told = Arc::new(Notify::default());
        backend.watch(&told);
        assert_eq!(backend.failed(&rules, "refused"), None);
        assert_eq!(backend.failed(&rules, &"é".repeat(1000)), Some(Change::WentDown));
        assert_eq!(backend.standing(), Standing::Down);
        let context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.poll(&context).is_ready());
        let figures = backend.figures();
        assert_eq!((figures.failures, figures.downs), (2, 1));
        assert!(figures.latest.unwrap().reason.len() <= REASON_BYTES_MAX);
        assert!(backend.next_probe_ms(&rules).is_some_and(|due_ms| due_ms > now_ms()));
    }

    #[test]
    fn connections_are_limited_whoever_makes_them() {
        let backend = backend("unix:/run/x");
        let made: usize = std::thread::scope(|scope| {
            let make = || (0..1000).filter(|_| backend.open_below(700)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((made, backend.connections()), (700, 700));
        backend.closed();
        assert!(backend.open_below(700) && !backend.open_below(700) && backend.open_below(0));
    }

    #[test]
    fn addresses_take_turns_and_changes_are_seen() {
        let backend = backend("app.internal:80");
        assert!(backend.addresses().is_empty());
        let [a, b, c] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|text| text.parse().unwrap());
        assert!(!backend.set_addresses(vec![b, a]), "nothing was connected yet");
        let firsts: Vec<SocketAddr> = (0..4).map(|_| backend.addresses()[0]).collect();
        assert!(firsts[0] != firsts[1] && firsts[0] == firsts[2] && firsts[1] == firsts[3]);
        assert_eq!(backend.addresses().len(), 2);
        let version = backend.addresses_version();
        assert!(!backend.set_addresses(vec![a, b, a]) && !backend.set_addresses(vec![]));
        assert_eq!(backend.addresses_version(), version);
        assert!(backend.set_addresses(vec![c]));
        assert_ne!(backend.addresses_version(), version);
    }
}
