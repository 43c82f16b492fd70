//! Latencies: a histogram with three significant digits from a nanosecond to an hour, in bounded memory.

use hdrhistogram::Histogram;

/// The longest latency that is told from longer ones.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl Latency {
    /// An empty histogram; it takes about 270 KiB.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    #[must_use]
    pub fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Latency { histogram: histogram.expect("the bounds are right") }
    }

    /// One latency in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(1));
    }

    /// The same latency `count` times.
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.histogram.saturating_record_n(ns.max(1), count);
    }

    /// One latency of a client that meant to ask every `interval_ns` and could not while it waited: the requests that
    /// were left out are recorded with the time that each would have waited (coordinated omission).
    pub fn record_corrected(&mut self, ns: u64, interval_ns: u64) {
        self.record(ns);
        if interval_ns == 0 {
            return;
        }
        let mut waited = ns.min(LATENCY_NS_MAX).saturating_sub(interval_ns);
        while waited >= interval_ns {
            self.record(waited);
            waited -= interval_ns;
        }
    }

    /// Adds what another thread recorded.
    pub fn merge(&mut self, other: &Latency) {
        self.histogram += &other.histogram;
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency in nanoseconds that `percent` (0 to 100) of all did not exceed; 0 when there are none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        self.histogram.value_at_quantile(percent / 100.0)
    }

    /// The longest in nanoseconds; 0 when there are none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The mean in nanoseconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// Points for a figure, (share of requests that were slower, latency in µs): 0.5 is the median, 0.001 is p99.9.
    #[must_use]
    pub fn tail(&self) -> Vec<(f64, f64)> {
        let slower = (0..=60).map(|index| 10f64.powf(-f64::from(index) / 10.0));
        let count = self.count() as f64;
        slower
            .take_while(|slower| slower * count >= 1.0)
            .map(|slower| (slower, self.percentile(100.0 - 100.0 * slower) as f64 / 1000.0))
            .collect()
    }
}

#[test]
fn percentiles_have_three_digits() {
    let mut latency = Latency::new();
    (1..=100_000u64).for_each(|microseconds| latency.record(microseconds * 1000));
    for (percent, expected) in [(50.0, 50_000_000.0), (99.0, 99_000_000.0), (99.9, 99_900_000.0)] {
        let ratio = latency.percentile(percent) as f64 / expected;
        assert!((0.999..1.001).contains(&ratio), "p{percent}: {ratio}");
    }
    assert_eq!(latency.count(), 100_000);
}

#[test]
fn omitted_requests_are_counted() {
    // One request a millisecond was meant; one took ten. Nine others would have waited 9, 8, … 1 ms.
    let mut latency = Latency::new();
    latency.record_corrected(10_000_000, 1_000_000);
    assert_eq!(latency.count(), 10);
    assert!((4_990_000..=5_010_000).contains(&latency.percentile(50.0)), "{}", latency.percentile(50.0));
    latency.record_corrected(5, 0);
    assert_eq!(latency.count(), 11);
}

#[test]
fn the_longest_and_the_none() {
    let mut latency = Latency::new();
    assert_eq!((latency.percentile(99.0), latency.max(), latency.tail().len()), (0, 0, 0));
    latency.record(u64::MAX);
    assert!(latency.max() >= LATENCY_NS_MAX);
    let mut sum = Latency::new();
    sum.merge(&latency);
    assert_eq!(sum.count(), 1);
}
