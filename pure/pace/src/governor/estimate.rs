//! Estimates of the current use B: a sampled histogram, and a running average of each operation's own speed.

/// How long one slot of the histogram is, in microseconds.
pub const SLOT_US: u64 = 20_000;

/// Slots of the histogram: together half a second.
pub const SLOTS: usize = 25;

/// After this long without an operation the running average is nothing again, in microseconds.
pub const IDLE_US_MAX: u64 = 1_000_000;

/// What tells the current use from operations that are done.
pub trait Estimate {
    /// `bytes` were moved by an operation that took `took_us` and is done at `now_us`.
    fn add(&mut self, now_us: u64, bytes: u64, took_us: u64);

    /// The use as of `now_us`, in bytes a second.
    fn bytes_per_s(&mut self, now_us: u64) -> u64;
}

/// Bytes by the time at which they were done, over half a second. Ignores how long operations took: when many are done at
/// once it jumps, as far as a slot's share of the window lets it.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    slots: [u64; SLOTS],
    sum: u64,
    /// The slot of the last look, counted from the beginning of time.
    slot: u64,
    /// The first slot that was used.
    first: Option<u64>,
}

impl Estimate for Histogram {
    fn add(&mut self, now_us: u64, bytes: u64, _took_us: u64) {
        self.advance(now_us / SLOT_US);
        self.first.get_or_insert(self.slot);
        self.slots[place(self.slot)] += bytes;
        self.sum += bytes;
    }

    fn bytes_per_s(&mut self, now_us: u64) -> u64 {
        self.advance(now_us / SLOT_US);
        let Some(first) = self.first else { return 0 };
        // Over the part of the window that has been; a beginning is no less than one slot.
        let oldest = first.max((self.slot + 1).saturating_sub(SLOTS as u64)) * SLOT_US;
        let span_us = now_us.max(self.slot * SLOT_US).saturating_sub(oldest).max(SLOT_US);
        per_second(self.sum, span_us)
    }
}

impl Histogram {
    /// Forgets the slots that have left the window. A clock that goes back is taken as one that stands.
    fn advance(&mut self, slot: u64) {
        let steps = slot.saturating_sub(self.slot);
        for step in 1..=steps.min(SLOTS as u64) {
            let old = &mut self.slots[place(self.slot + step)];
            self.sum -= std::mem::take(old);
        }
        if steps > 0 {
            self.slot = slot;
        }
        if self.sum == 0 {
            self.first = None;
        }
    }
}

/// The time that a KiB takes, averaged half and half with each operation's own: no window, and nobody has to sample. Begins at
/// 0 bytes a second. Operations that go on side by side each count as if they were alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningAverage {
    /// Nanoseconds; 0: nothing is known.
    kib_ns: u64,
    last_us: u64,
}

impl Estimate for RunningAverage {
    fn add(&mut self, now_us: u64, bytes: u64, took_us: u64) {
        if bytes == 0 {
            return;
        }
        let is_stale = now_us.saturating_sub(self.last_us) > IDLE_US_MAX;
        let took_ns = u128::from(took_us.max(1)) * 1_000;
        let own = u64::try_from(took_ns * 1_024 / u128::from(bytes)).unwrap_or(u64::MAX).max(1);
        self.kib_ns = if self.kib_ns == 0 || is_stale { own } else { (self.kib_ns / 2 + own / 2).max(1) };
        self.last_us = now_us;
    }

    fn bytes_per_s(&mut self, now_us: u64) -> u64 {
        if self.kib_ns == 0 || now_us.saturating_sub(self.last_us) > IDLE_US_MAX {
            return 0;
        }
        1_024_000_000_000 / self.kib_ns
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

fn per_second(bytes: u64, span_us: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000 / u128::from(span_us.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations: when they are done, their bytes, how long they took.
    type Trace = Vec<(u64, u64, u64)>;

    /// One after the other: 10,000 bytes every 10 ms, a million a second.
    fn steady() -> Trace {
        (1..=300).map(|step| (step * 10_000, 10_000, 10_000)).collect()
    }

    /// The same bytes, ten operations at once every 100 ms, each of which took all of it.
    fn in_lumps() -> Trace {
        (1..=300_u64).map(|step| (step.div_ceil(10) * 100_000, 10_000, 100_000)).collect()
    }

    /// What an estimate says along a trace: the least and the most after its first second, and what it says in the end.
    fn along(estimate: &mut dyn Estimate, trace: &Trace) -> (u64, u64, u64) {
        let (mut least, mut most) = (u64::MAX, 0);
        let settled_us = trace.first().map_or(0, |&(now_us, _, _)| now_us) + 1_000_000;
        for &(now_us, bytes, took_us) in trace {
            estimate.add(now_us, bytes, took_us);
            if now_us > settled_us {
                let found = estimate.bytes_per_s(now_us);
                (least, most) = (least.min(found), most.max(found));
            }
        }
        let end_us = trace.last().map_or(0, |&(now_us, _, _)| now_us);
        (least, most, estimate.bytes_per_s(end_us))
    }

    #[test]
    fn both_know_nothing_at_first_and_forget_in_the_end() {
        let both: [Box<dyn Estimate>; 2] =
            [Box::new(Histogram::default()), Box::new(RunningAverage::default())];
        for mut estimate in both {
            assert_eq!(estimate.bytes_per_s(0), 0);
            assert_eq!(estimate.bytes_per_s(77_000_000), 0);
            estimate.add(80_000_000, 0, 5);
            assert_eq!(estimate.bytes_per_s(80_000_000), 0);
            estimate.add(80_000_000, 10_000, 10_000);
            assert!(estimate.bytes_per_s(80_000_000) > 0);
            assert_eq!(estimate.bytes_per_s(82_000_000), 0, "idle");
            // A second beginning is like the first.
            let (least, most, _) = along(&mut *estimate, &steady().iter().map(later).collect());
            assert!(least > 900_000 && most < 1_100_000, "{least} to {most}");
        }
    }

    fn later(&(now_us, bytes, took_us): &(u64, u64, u64)) -> (u64, u64, u64) {
        (now_us + 100_000_000, bytes, took_us)
    }

    #[test]
    fn both_find_the_rate_of_one_operation_after_the_other() {
        let (least, most, _) = along(&mut Histogram::default(), &steady());
        assert!(least >= 980_000 && most <= 1_040_000, "{least} to {most}");
        assert!(along(&mut RunningAverage::default(), &steady()).2.abs_diff(1_000_000) <= 1);
    }

    #[test]
    fn many_at_once_make_the_histogram_jump_and_deceive_the_average() {
        let (least, most, _) = along(&mut Histogram::default(), &in_lumps());
        // A lump is a fifth of the window.
        assert!(least >= 780_000 && most <= 1_060_000, "{least} to {most}");
        let mut histogram = Histogram::default();
        in_lumps()
            .iter()
            .take(10)
            .for_each(|&(now_us, bytes, took_us)| histogram.add(now_us, bytes, took_us));
        assert_eq!(histogram.bytes_per_s(100_000), 5_000_000, "the first lump is all there is");
        // Each alone took a hundred milliseconds: the average does not see that there were ten.
        assert!(along(&mut RunningAverage::default(), &in_lumps()).2.abs_diff(100_000) <= 1);
    }

    #[test]
    fn one_fast_operation_moves_the_average_by_half() {
        let mut average = RunningAverage::default();
        average.add(1_000, 1_024, 1_000);
        assert_eq!(average.bytes_per_s(1_000), 1_024_000);
        average.add(2_000, 1_024, 3_000);
        assert_eq!(average.bytes_per_s(2_000), 512_000);
        average.add(3_000, u64::MAX, 0);
        assert!(average.bytes_per_s(3_000) > 1_000_000);
    }

    #[test]
    fn a_histogram_holds_what_the_window_holds() {
        let mut histogram = Histogram::default();
        for step in 0..1_000 {
            let now_us = step * 7_001;
            histogram.add(now_us, step, 0);
            let slot = now_us / SLOT_US;
            let since = (slot + 1).saturating_sub(SLOTS as u64);
            let held: u64 = (0..=step).filter(|&at| at * 7_001 / SLOT_US >= since).sum();
            assert_eq!(histogram.sum, held);
        }
        // A clock that goes back stands.
        histogram.add(0, 5, 0);
        assert!(histogram.bytes_per_s(0) > 0);
    }
}
