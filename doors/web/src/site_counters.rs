//! What a site has done: counters with one writer each, a histogram of latencies, and the book that adds them up.

use ringway_engine::Counter;
use ringway_lock::{Mutex, MutexGuard};
use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock, PoisonError};

/// Bounds of the histogram: four to an octave, from 16 µs to 67 s.
const OCTAVES: usize = 22;
const BUCKETS_PER_OCTAVE: usize = 4;
const FIRST_OCTAVE_BITS: u32 = 4;

/// How many buckets a histogram of latencies has: one for what is below 16 µs, then four to an octave, the last for what takes
/// 67 s or longer.
pub const LATENCY_BUCKETS: usize = OCTAVES * BUCKETS_PER_OCTAVE + 2;

/// Classes of statuses: 1xx to 5xx; the first place is for what is none of them.
pub const STATUS_CLASSES: usize = 6;

/// What one worker has done for a site on one endpoint. Only that worker writes, with plain stores.
#[derive(Default)]
pub struct SiteCounters {
    /// Answers by class of status; what is no class counts as the first.
    pub by_class: [Counter; STATUS_CLASSES],
    /// Bytes of their bodies.
    pub body_bytes: Counter,
    /// Requests that wait for something now, or whose answer is being made.
    pub active: Counter,
    /// Made with the first request, so that a thousand quiet sites cost little.
    latencies: OnceLock<Box<[Counter; LATENCY_BUCKETS]>>,
    /// All latencies added up, in microseconds.
    pub latency_sum_us: Counter,
}

impl SiteCounters {
    /// Counts an answer. By the owning worker only.
    pub fn served(&self, status: u16, body_bytes: u64, latency_us: u64) {
        let class = usize::from(status / 100);
        self.by_class[if class < STATUS_CLASSES { class } else { 0 }].add(1);
        self.body_bytes.add(body_bytes);
        let latencies = self.latencies.get_or_init(|| Box::new([const { Counter::new() }; LATENCY_BUCKETS]));
        latencies[bucket(latency_us)].add(1);
        self.latency_sum_us.add(latency_us);
    }

    /// Counts a request as active until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Active {
        self.active.add(1);
        Active(Arc::clone(self))
    }
}

impl fmt::Debug for SiteCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteCounters").field("by_class", &self.by_class).finish_non_exhaustive()
    }
}

/// A request under way.
pub(crate) struct Active(Arc<SiteCounters>);

impl Drop for Active {
    fn drop(&mut self) {
        let active = &self.0.active;
        active.set(active.get().saturating_sub(1));
    }
}

/// The bucket of a latency.
fn bucket(latency_us: u64) -> usize {
    let bits = u64::BITS - latency_us.leading_zeros();
    if bits <= FIRST_OCTAVE_BITS {
        return 0;
    }
    let octave = bits - 1 - FIRST_OCTAVE_BITS;
    // The two bits behind the first tell the quarter of the octave.
    let quarter = latency_us >> (bits - 3) & 3;
    let place = 1 + octave as usize * BUCKETS_PER_OCTAVE + usize::try_from(quarter).unwrap_or(0);
    place.min(LATENCY_BUCKETS - 1)
}

/// The latencies of a bucket are below this, in microseconds; `None` for the last one, which has no bound.
#[must_use]
pub fn bucket_bound_us(bucket: usize) -> Option<u64> {
    let octave = u32::try_from(bucket / BUCKETS_PER_OCTAVE).unwrap_or(u32::MAX);
    let quarter = (bucket % BUCKETS_PER_OCTAVE) as u64;
    let first = 1_u64 << FIRST_OCTAVE_BITS;
    (bucket < LATENCY_BUCKETS - 1).then(|| (first << octave) + (first << octave) / 4 * quarter)
}

/// A site's counters of all workers added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteTotals {
    /// As in [`SiteCounters`].
    pub by_class: [u64; STATUS_CLASSES],
    /// As in [`SiteCounters`].
    pub body_bytes: u64,
    /// As in [`SiteCounters`].
    pub active: u64,
    /// How many latencies are in each bucket; see [`bucket_bound_us`].
    pub latencies: [u64; LATENCY_BUCKETS],
    /// As in [`SiteCounters`].
    pub latency_sum_us: u64,
}

impl Default for SiteTotals {
    fn default() -> Self {
        Self {
            by_class: [0; STATUS_CLASSES],
            body_bytes: 0,
            active: 0,
            latencies: [0; LATENCY_BUCKETS],
            latency_sum_us: 0,
        }
    }
}

impl SiteTotals {
    /// All answers.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// The latency that `share` (0 to 1) of the requests stay below, in microseconds, as fine as the buckets are. `None`
    /// without requests.
    #[must_use]
    pub fn latency_us(&self, share: f64) -> Option<u64> {
        quantile_us(&self.latencies, share)
    }

    fn add(&mut self, counters: &SiteCounters) {
        let pairs = self.by_class.iter_mut().zip(&counters.by_class);
        pairs.for_each(|(total, counter)| *total += counter.get());
        self.body_bytes += counters.body_bytes.get();
        self.active += counters.active.get();
        self.latency_sum_us += counters.latency_sum_us.get();
        if let Some(latencies) = counters.latencies.get() {
            let pairs = self.latencies.iter_mut().zip(latencies.iter());
            pairs.for_each(|(total, counter)| *total += counter.get());
        }
    }
}

/// The latency that `share` (0 to 1) of the counted ones stay below, in microseconds: the bound of the bucket where that share
/// is reached, or the last bound. `None` when nothing is counted.
#[must_use]
pub fn quantile_us(latencies: &[u64], share: f64) -> Option<u64> {
    let count: u64 = latencies.iter().sum();
    if count == 0 {
        return None;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts below 2^53 and a share within 0 and 1"
    )]
    let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).clamp(1, count);
    let mut seen = 0;
    let reached = latencies.iter().position(|bucket| {
        seen += bucket;
        seen >= wanted
    });
    bucket_bound_us(reached?.min(LATENCY_BUCKETS - 2))
}

/// A site's counters wherever it is served, kept over reloads.
#[derive(Debug, Default)]
pub struct SiteBook {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// What those have counted that count no more.
    past: SiteTotals,
    present: Vec<Arc<SiteCounters>>,
}

impl SiteBook {
    /// Counters for one more worker and endpoint. When their last owner drops them, what they counted stays in the book.
    #[must_use]
    pub fn open(&self) -> Arc<SiteCounters> {
        let counters = Arc::new(SiteCounters::default());
        let mut pages = self.lock();
        let Pages { past, present } = &mut *pages;
        present.retain(|counters| {
            let is_owned = Arc::strong_count(counters) > 1;
            if !is_owned {
                // What the last owner wrote is seen after its release.
                fence(Ordering::Acquire);
                past.add(counters);
                // What was active ended with its owner.
                past.active = 0;
            }
            is_owned
        });
        present.push(Arc::clone(&counters));
        counters
    }

    /// Everything added up, as of a moment ago.
    #[must_use]
    pub fn totals(&self) -> SiteTotals {
        let pages = self.lock();
        let mut totals = pages.past.clone();
        pages.present.iter().for_each(|counters| totals.add(counters));
        totals
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_without_gaps_and_hold_what_is_below_their_bound() {
        assert_eq!((bucket(0), bucket(15), bucket(16)), (0, 0, 1));
        let mut before = 0;
        for place in 0..LATENCY_BUCKETS - 1 {
            let bound = bucket_bound_us(place).expect("all but the last have a bound");
            assert!(bound > before, "{place}: {bound} after {before}");
            assert_eq!((bucket(bound - 1), bucket(bound)), (place, place + 1), "{bound}");
            before = bound;
        }
        assert_eq!(before, 1 << 26, "67 seconds");
        assert_eq!(bucket_bound_us(LATENCY_BUCKETS - 1), None);
        assert_eq!(bucket(u64::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_the_bounds_of_their_buckets() {
        let counters = SiteCounters::default();
        (1..=100).for_each(|number| counters.served(200, 10, number * 1000));
        let mut totals = SiteTotals::default();
        assert_eq!(totals.latency_us(0.5), None);
        totals.add(&counters);
        for (share, exact) in [(0.5, 50_000), (0.9, 90_000), (0.99, 99_000), (0.0, 1_000), (1.0, 100_000)] {
            let found = totals.latency_us(share).expect("there are some");
            assert!(found > exact && found <= exact * 5 / 4, "{share}: {found} for {exact}");
        }
        assert_eq!(totals.latency_sum_us, 5_050_000);
        counters.served(200, 0, u64::MAX);
        let mut slow = SiteTotals::default();
        slow.add(&counters);
        assert_eq!(slow.latency_us(1.0), Some(1 << 26), "the last bound there is");
    }

    #[test]
    fn a_book_keeps_what_dropped_counters_counted() {
        let book = SiteBook::default();
        let first = book.open();
        first.served(200, 5, 20);
        first.served(404, 7, 20);
        first.served(999, 0, 20);
        let active = first.enter();
        assert_eq!(book.totals().active, 1);
        assert_eq!(book.totals().by_class, [1, 0, 1, 0, 1, 0]);
        drop(first);
        let second = book.open();
        assert_eq!(book.lock().present.len(), 2, "a request under way owns its counters");
        drop(active);
        let third = book.open();
        assert_eq!(book.lock().present.len(), 2, "the first are in the past");
        second.served(500, 1, 20);
        third.served(301, 0, 20);
        let totals = book.totals();
        assert_eq!((totals.by_class, totals.body_bytes, totals.active), ([1, 0, 1, 1, 1, 1], 13, 0));
        assert_eq!(totals.requests(), 5);
        assert_eq!(totals.latencies.iter().sum::<u64>(), 5);
    }
}
