//! The machine's own jitter: how long a thread that never waits is kept from running.
//!
//! A loop reads the clock without pause. Whatever lies between two readings beyond the reading itself was taken by the
//! kernel, another process, or the host of a virtual machine; no server on this machine can be better than that.

use std::time::{Duration, Instant};

use super::latency::Latency;
use crate::outcome::table::number;

/// A longer gap is an interruption; reading the clock takes a few tens of nanoseconds.
pub const INTERRUPTION: Duration = Duration::from_micros(10);

/// What the loop saw.
#[derive(Clone, Debug)]
pub struct Jitter {
    /// How long it ran.
    pub ran: Duration,
    /// Gaps weighted by their length: the 99th percentile is the gap that a moment taken at random has a chance of 1 % to
    /// fall into a longer one.
    gaps: Latency,
    /// Gaps of [`INTERRUPTION`] and longer.
    pub interruptions: u64,
    /// The time in them.
    pub taken: Duration,
}

impl Jitter {
    /// Spins on the calling thread for `time`. Pin the thread first to judge one core.
    #[must_use]
    pub fn measure(time: Duration) -> Jitter {
        let mut jitter =
            Jitter { ran: Duration::ZERO, gaps: Latency::new(), interruptions: 0, taken: Duration::ZERO };
        let begin = Instant::now();
        let mut last = begin;
        while jitter.ran < time {
            let now = Instant::now();
            jitter.see(now - last);
            last = now;
            jitter.ran = now - begin;
        }
        jitter
    }

    fn see(&mut self, gap: Duration) {
        let ns = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        self.gaps.record_many(ns, ns);
        if gap >= INTERRUPTION {
            self.interruptions += 1;
            self.taken += gap;
        }
    }

    /// The gap, in nanoseconds, that `percent` of the time lay in none longer than.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        self.gaps.percentile(percent)
    }

    /// The longest gap in nanoseconds.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.gaps.max()
    }

    /// Interruptions a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.interruptions as f64 / self.ran.as_secs_f64()
    }

    /// The share of the time, in percent, that was taken by interruptions.
    #[must_use]
    pub fn taken_percent(&self) -> f64 {
        100.0 * self.taken.as_secs_f64() / self.ran.as_secs_f64()
    }

    /// A sentence to stand beside percentiles.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "the machine's own jitter: in {:.1} s a spinning thread was interrupted {:.0} times a second (≥ 10 µs), the \
             longest gap was {} µs, p99 {} µs; percentiles near these are the machine's, not the server's",
            self.ran.as_secs_f64(),
            self.rate(),
            number(self.longest() as f64 / 1000.0, 0),
            number(self.percentile(99.0) as f64 / 1000.0, 1)
        )
    }
}

#[test]
fn gaps_are_weighted_by_their_length() {
    let mut jitter = Jitter::measure(Duration::ZERO);
    // 98 µs in gaps of 100 ns, and one gap of 2 ms: nearly all of the time lies in the long one.
    (0..980).for_each(|_| jitter.see(Duration::from_nanos(100)));
    jitter.see(Duration::from_millis(2));
    assert!(jitter.percentile(50.0) >= 1_990_000);
    assert!(jitter.percentile(1.0) < 101);
    assert_eq!(jitter.interruptions, 1);
}

#[test]
fn a_run_lasts_as_long_as_it_was_asked_to() {
    let jitter = Jitter::measure(Duration::from_millis(5));
    assert!(jitter.ran >= Duration::from_millis(5));
    assert!(jitter.longest() >= jitter.percentile(99.0) / 1001 * 1000);
    assert!(jitter.sentence().contains("a spinning thread"));
}
