//! Minimum transfer rate: tells a slow peer from a stuck or hostile one.

/// The least a peer must move, and how patiently it is judged.
///
/// Progress usually arrives in lumps (a socket buffer drains, then the next piece is accepted), so the window should
/// be long enough for one lump at the slowest rate that is still welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes per second that must be reached in every window. 0 switches the judgement off.
    pub bytes_per_s: u32,
    /// How long one window lasts, in milliseconds. 0 counts as 1.
    pub window_ms: u32,
    /// How much longer the first window lasts, in milliseconds: time for the path to open up.
    pub grace_ms: u32,
}

impl Default for MinRate {
    /// 500 bytes per second in every 5 seconds, after a grace of 5 seconds.
    fn default() -> Self {
        MinRate { bytes_per_s: 500, window_ms: 5_000, grace_ms: 5_000 }
    }
}

impl MinRate {
    /// Bytes that one window must bring, rounded up, so that even the smallest rate asks for a byte.
    fn bytes_per_window(&self) -> u64 {
        (u64::from(self.bytes_per_s) * self.window_len_ms()).div_ceil(1_000)
    }

    fn window_len_ms(&self) -> u64 {
        u64::from(self.window_ms.max(1))
    }
}

/// What [`Meter::judge`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing to hold against the peer; the next judgement is due at `check_ms`.
    Fine {
        /// When to call [`Meter::judge`] next, in milliseconds since the caller's epoch.
        check_ms: u64,
    },
    /// The window is over and brought fewer bytes than the rule asks: cut the peer.
    TooSlow,
}

/// One transfer under judgement: 16 bytes, made when the transfer starts and dropped when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    check_ms: u64,
    bytes: u64,
}

impl Meter {
    /// Starts the first window, grace included, at `now_ms`.
    pub fn new(rule: &MinRate, now_ms: u64) -> Self {
        let first_ms = rule.window_len_ms() + u64::from(rule.grace_ms);
        Meter { check_ms: now_ms.saturating_add(first_ms), bytes: 0 }
    }

    /// Counts `bytes` that the peer sent or took.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// When the window in progress ends, in milliseconds since the caller's epoch.
    pub fn check_ms(&self) -> u64 {
        self.check_ms
    }

    /// Judges the window if it is over, and starts the next one.
    ///
    /// Before the end of the window this changes nothing. A judgement that comes late (a busy worker) asks for no
    /// more than one window's bytes: the delay is not the peer's.
    pub fn judge(&mut self, rule: &MinRate, now_ms: u64) -> Verdict {
        if now_ms < self.check_ms {
            return Verdict::Fine { check_ms: self.check_ms };
        }
        if self.bytes < rule.bytes_per_window() {
            return Verdict::TooSlow;
        }
        self.bytes = 0;
        self.check_ms = now_ms.saturating_add(rule.window_len_ms());
        Verdict::Fine { check_ms: self.check_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: MinRate = MinRate { bytes_per_s: 100, window_ms: 2_000, grace_ms: 3_000 };

    #[test]
    fn the_first_window_includes_the_grace() {
        let mut meter = Meter::new(&RULE, 1_000);
        assert_eq!(meter.check_ms(), 6_000);
        assert_eq!(meter.judge(&RULE, 5_999), Verdict::Fine { check_ms: 6_000 });
        assert_eq!(meter.judge(&RULE, 6_000), Verdict::TooSlow);
    }

    #[test]
    fn exactly_the_rate_is_enough_and_one_byte_less_is_not() {
        for (bytes, fine) in [(200, true), (199, false)] {
            let mut meter = Meter::new(&RULE, 0);
            meter.add(bytes);
            assert_eq!(meter.judge(&RULE, 5_000) != Verdict::TooSlow, fine, "{bytes} bytes");
        }
    }

    #[test]
    fn bytes_of_one_window_do_not_pay_for_the_next() {
        let mut meter = Meter::new(&RULE, 0);
        meter.add(1_000_000);
        assert_eq!(meter.judge(&RULE, 5_000), Verdict::Fine { check_ms: 7_000 });
        meter.add(199);
        assert_eq!(meter.judge(&RULE, 7_000), Verdict::TooSlow);
    }

    #[test]
    fn a_late_judgement_asks_for_one_window_only() {
        let mut meter = Meter::new(&RULE, 0);
        meter.add(200);
        assert_eq!(meter.judge(&RULE, 60_000), Verdict::Fine { check_ms: 62_000 });
    }

    #[test]
    fn a_rate_of_zero_never_cuts_and_the_smallest_rate_asks_for_a_byte() {
        let off = MinRate { bytes_per_s: 0, ..RULE };
        let mut meter = Meter::new(&off, 0);
        assert_eq!(meter.judge(&off, 5_000), Verdict::Fine { check_ms: 7_000 });
        let least = MinRate { bytes_per_s: 1, window_ms: 0, grace_ms: 0 };
        let mut meter = Meter::new(&least, 0);
        assert_eq!(meter.judge(&least, 1), Verdict::TooSlow);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut meter = Meter::new(&RULE, u64::MAX - 1);
        meter.add(u64::MAX);
        meter.add(1);
        assert_eq!(meter.judge(&RULE, u64::MAX), Verdict::Fine { check_ms: u64::MAX });
    }
}
