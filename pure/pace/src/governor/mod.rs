//! The bandwidth governor's judgement: what may go on, what waits, and what is refused, so that traffic keeps to a figure M.
//!
//! The governor estimates the current use B ([`Estimate`]), compares it with M and gives a verdict for each kind of operation
//! ([`Policy::verdict`]). Verdicts alone cannot hold a small M against one large transfer, so operations are also cut into
//! pieces of [`PIECE_MS`] worth of M and let go as a [`Line`] has room, in the order of a [`Round`]. All of this is
//! arithmetic: the engine keeps the words, the clock is an argument.

mod estimate;
mod line;
mod round;
mod rules;

pub use estimate::{Estimate, Histogram, IDLE_US_MAX, RunningAverage, SLOT_US, SLOTS};
pub use line::{DEBT_MS_MAX, DEPTH_MS, Line, PIECE_BYTES_MAX, PIECE_BYTES_MIN, PIECE_MS};
pub use round::{COST_QUANTA_MAX, Round};
pub use rules::{Admission, Policy, Rules, SMALL_BYTES_MAX, Sending, Verdicts};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Takes in what begins new work: the next request, the next message.
    Read,
    /// Sends bytes from memory.
    Write,
    /// Sends a range of a file.
    Transmit,
}

/// The current use B compared with M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// Clearly below M.
    Below,
    /// Within the band around M.
    About,
    /// Above M.
    Above,
}

impl Load {
    /// Compares `used` with `wanted`, both in bytes a second, inside a band of `delta_permille` thousandths of `wanted` to
    /// both sides.
    #[must_use]
    pub fn of(used: u64, wanted: u64, delta_permille: u32) -> Self {
        let band = u128::from(wanted) * u128::from(delta_permille) / 1_000;
        let (used, wanted) = (u128::from(used), u128::from(wanted));
        if used + band < wanted {
            Self::Below
        } else if used <= wanted + band {
            Self::About
        } else {
            Self::Above
        }
    }
}

/// What an operation may do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    #[default]
    Allow,
    /// Wait.
    Block,
    /// Do not begin.
    Reject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_lies_around_m_on_both_sides() {
        let load = |used| Load::of(used, 1_000, 50);
        assert_eq!([load(0), load(949)], [Load::Below; 2]);
        assert_eq!([load(950), load(1_000), load(1_050)], [Load::About; 3]);
        assert_eq!([load(1_051), load(u64::MAX)], [Load::Above; 2]);
        assert_eq!(Load::of(u64::MAX, u64::MAX, 1_000), Load::About);
        assert_eq!(
            [Load::of(9, 10, 0), Load::of(10, 10, 0), Load::of(11, 10, 0)],
            [Load::Below, Load::About, Load::Above]
        );
    }
}
