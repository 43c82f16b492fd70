//! A line that carries M bytes a second: a word that says until when it is taken, and what may be sent at once.

/// How much of M one operation may be, in milliseconds.
pub const PIECE_MS: u64 = 10;

/// Smallest piece, in bytes: below about a segment's half the costs of sending are all that is left.
pub const PIECE_BYTES_MIN: u64 = 512;

/// Largest piece, in bytes.
pub const PIECE_BYTES_MAX: u64 = 2 << 20;

/// How much of what was not sent may be made up for, in milliseconds of M: wake-ups come late, and what they cost must not
/// be lost. Within a second it is the most by which M can be exceeded.
pub const DEPTH_MS: u64 = 30;

/// How far ahead the line can be taken, in milliseconds: what small writes send beyond is not held against the others.
pub const DEBT_MS_MAX: u64 = 1_500;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u128 = 1_000_000_000;

/// A line of some bandwidth. What is sent over it is told by one word, the moment until which it is taken, in nanoseconds of
/// the caller's clock; 0 at first. The word may be shared: [`Line::charged`] is to be used in a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    bytes_per_s: u64,
}

impl Line {
    /// A line of `bytes_per_s`; 0 counts as 1.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1) }
    }

    /// What one operation may send at once, in bytes.
    #[must_use]
    pub fn piece_bytes(self) -> u64 {
        (self.bytes_per_s.saturating_mul(PIECE_MS) / 1_000).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX)
    }

    /// Whether something may be sent: everything before is paid for.
    #[must_use]
    pub fn is_free(self, taken_until_ns: u64, now_ns: u64) -> bool {
        taken_until_ns <= now_ns
    }

    /// The word after `bytes` were sent now. They may be sent although the line is not free: then those after them wait for
    /// longer.
    #[must_use]
    pub fn charged(self, taken_until_ns: u64, now_ns: u64, bytes: u64) -> u64 {
        let latest = now_ns.saturating_add(DEBT_MS_MAX * NS_PER_MS);
        let until = self.charged_within(taken_until_ns, now_ns, bytes, DEPTH_MS * NS_PER_MS);
        until.min(latest.max(taken_until_ns))
    }

    /// As [`Line::charged`], on a line that saves up for longer or shorter than [`DEPTH_MS`], and whose debts have no end.
    #[must_use]
    pub fn charged_within(self, taken_until_ns: u64, now_ns: u64, bytes: u64, depth_ns: u64) -> u64 {
        let cost = u128::from(bytes) * NS_PER_S / u128::from(self.bytes_per_s);
        let until = u128::from(taken_until_ns.max(now_ns.saturating_sub(depth_ns))) + cost;
        u64::try_from(until).unwrap_or(u64::MAX)
    }

    /// The word after `bytes` of what was charged will not be sent.
    #[must_use]
    pub fn refunded(self, taken_until_ns: u64, bytes: u64) -> u64 {
        let cost = u128::from(bytes) * NS_PER_S / u128::from(self.bytes_per_s);
        taken_until_ns.saturating_sub(u64::try_from(cost).unwrap_or(u64::MAX))
    }

    /// What the line carries in so many nanoseconds.
    #[must_use]
    pub fn bytes_in(self, ns: u64) -> u64 {
        u64::try_from(u128::from(ns) * u128::from(self.bytes_per_s) / NS_PER_S).unwrap_or(u64::MAX)
    }

    /// Bytes that were to be sent and are not paid for yet.
    #[must_use]
    pub fn debt_bytes(self, taken_until_ns: u64, now_ns: u64) -> u64 {
        self.bytes_in(taken_until_ns.saturating_sub(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABIT: Line = Line { bytes_per_s: 125_000 };

    #[test]
    fn what_is_refunded_was_never_charged() {
        let now_ns = 5_000_000_000;
        let charged = MEGABIT.charged(now_ns, now_ns, 10_000);
        assert_eq!(MEGABIT.refunded(charged, 4_000), MEGABIT.charged(now_ns, now_ns, 6_000));
        assert_eq!(MEGABIT.refunded(charged, 10_000), now_ns);
        assert_eq!(MEGABIT.refunded(5, 10_000), 0);
    }

    #[test]
    fn a_piece_is_ten_milliseconds_of_the_line() {
        assert_eq!(MEGABIT.piece_bytes(), 1_250);
        assert_eq!(Line::new(125_000_000).piece_bytes(), 1_250_000);
        assert_eq!(Line::new(0).piece_bytes(), PIECE_BYTES_MIN);
        assert_eq!(Line::new(u64::MAX).piece_bytes(), PIECE_BYTES_MAX);
    }

    #[test]
    fn a_sender_that_waits_until_the_line_is_free_sends_exactly_its_rate() {
        let (mut now_ns, mut until, mut sent) = (5_000 * NS_PER_MS, 0, 0_u64);
        let start = now_ns;
        while now_ns < start + 10_000 * NS_PER_MS {
            if MEGABIT.is_free(until, now_ns) {
                until = MEGABIT.charged(until, now_ns, 1_250);
                sent += 1_250;
            }
            now_ns += 3 * NS_PER_MS;
        }
        // What it may make up for at the beginning, and the piece under way.
        let depth = 125 * DEPTH_MS;
        assert!(sent.abs_diff(1_250_000 + depth) <= 1_250, "{sent}");
    }

    #[test]
    fn an_idle_line_saves_no_more_than_its_depth_and_debts_end() {
        let now_ns = 1_000_000 * NS_PER_MS;
        let until = MEGABIT.charged(0, now_ns, 1_250);
        assert_eq!(until, now_ns - DEPTH_MS * NS_PER_MS + 10 * NS_PER_MS);
        let deep = MEGABIT.charged(until, now_ns, u64::MAX);
        assert_eq!(deep, now_ns + DEBT_MS_MAX * NS_PER_MS);
        assert_eq!(MEGABIT.charged(deep, now_ns, 1), deep);
        assert_eq!(MEGABIT.debt_bytes(deep, now_ns), 125 * DEBT_MS_MAX);
        assert_eq!(MEGABIT.debt_bytes(now_ns, now_ns + 1), 0);
        // A lower rate than before cannot shorten what is taken already.
        assert_eq!(MEGABIT.charged(now_ns + 9_000 * NS_PER_MS, now_ns, 1), now_ns + 9_000 * NS_PER_MS);
        assert_eq!(MEGABIT.charged(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}
