//! The governor's rules: its table of verdicts, and what they mean for one operation.

use super::{Kind, Line, Load, Verdict};

/// Largest write or transmit that is small, in bytes, wherever a piece of M is not less. Letting one wait costs about as much
/// processor time as sending so many bytes: `ringway-lab governor --small` measures it.
pub const SMALL_BYTES_MAX: u64 = 4_096;

/// Which table of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// | | allow | block | reject |
    /// |---|---|---|---|
    /// | B below M | read, write, transmit | | |
    /// | B about M | write, transmit | read | |
    /// | B above M | small write, small transmit | large write, large transmit | read, once the queue is long; before, block |
    #[default]
    Table,
    /// As the table, but above M every write is allowed, every transmit blocked and every read rejected.
    Simple,
}

impl Policy {
    /// What an operation may do.
    #[must_use]
    pub fn verdict(self, load: Load, kind: Kind, is_small: bool, is_queue_long: bool) -> Verdict {
        match (self, load, kind) {
            (_, Load::Below, _) | (_, Load::About, Kind::Write | Kind::Transmit) => Verdict::Allow,
            (_, Load::About, Kind::Read) => Verdict::Block,
            (Self::Table, Load::Above, Kind::Read) if is_queue_long => Verdict::Reject,
            (Self::Table, Load::Above, Kind::Read) => Verdict::Block,
            (Self::Table, Load::Above, Kind::Write | Kind::Transmit) if is_small => Verdict::Allow,
            (Self::Table, Load::Above, Kind::Write | Kind::Transmit) => Verdict::Block,
            (Self::Simple, Load::Above, Kind::Write) => Verdict::Allow,
            (Self::Simple, Load::Above, Kind::Transmit) => Verdict::Block,
            (Self::Simple, Load::Above, Kind::Read) => Verdict::Reject,
        }
    }
}

/// The verdicts as of the last look: for reads, for large writes, for large transmits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// For what begins new work.
    pub read: Verdict,
    /// For large writes.
    pub write: Verdict,
    /// For large transmits.
    pub transmit: Verdict,
}

impl Verdicts {
    /// The verdicts at a load.
    #[must_use]
    pub fn at(policy: Policy, load: Load, is_queue_long: bool) -> Self {
        let of = |kind| policy.verdict(load, kind, false, is_queue_long);
        Self { read: of(Kind::Read), write: of(Kind::Write), transmit: of(Kind::Transmit) }
    }

    /// The verdicts as one word, to be kept where many read it.
    #[must_use]
    pub fn bits(self) -> u32 {
        let code = |verdict: Verdict| verdict as u32;
        code(self.read) | code(self.write) << 8 | code(self.transmit) << 16
    }

    /// The verdicts of a word.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let verdict = |code: u32| match code & 0xff {
            0 => Verdict::Allow,
            1 => Verdict::Block,
            _ => Verdict::Reject,
        };
        Self { read: verdict(bits), write: verdict(bits >> 8), transmit: verdict(bits >> 16) }
    }
}

/// What a read may do.
pub type Admission = Verdict;

/// How much of a write or transmit may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// So many bytes, now.
    Now(u64),
    /// So many bytes, when it is this sender's turn.
    Wait(u64),
}

/// The rules of one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// M, in bytes a second.
    pub bytes_per_s: u64,
    /// Half the width of the band around M, in thousandths of M.
    pub delta_permille: u32,
    /// Which table.
    pub policy: Policy,
    /// Largest small write or transmit, in bytes; a piece of M is the most it can be.
    pub small_bytes_max: u64,
}

impl Rules {
    /// The ordinary rules for an M.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s, delta_permille: 50, policy: Policy::Table, small_bytes_max: SMALL_BYTES_MAX }
    }

    /// The line that carries M.
    #[must_use]
    pub fn line(&self) -> Line {
        Line::new(self.bytes_per_s)
    }

    /// Whether a write or transmit is small.
    #[must_use]
    pub fn is_small(&self, bytes: u64) -> bool {
        bytes <= self.small_bytes_max.min(self.line().piece_bytes())
    }

    /// What a read that begins new work may do: the verdict, but never more than to wait while what was sent before is not
    /// paid for, and no less.
    #[must_use]
    pub fn read(&self, verdicts: Verdicts, is_free: bool) -> Admission {
        match verdicts.read {
            Verdict::Allow if !is_free => Verdict::Block,
            verdict => verdict,
        }
    }

    /// How much of a write or transmit may go. `is_free`: what was sent before is paid for; `is_queued`: others wait already.
    #[must_use]
    pub fn send(&self, kind: Kind, bytes: u64, is_free: bool, is_queued: bool) -> Sending {
        // What is sent beyond M in this very moment is above it, whatever the average says.
        let load = if is_free && !is_queued { Load::Below } else { Load::Above };
        let is_small = self.is_small(bytes);
        let piece = bytes.min(self.line().piece_bytes());
        match self.policy.verdict(load, kind, is_small, false) {
            // What is never blocked is not cut either.
            Verdict::Allow if load == Load::Above => Sending::Now(bytes),
            Verdict::Allow => Sending::Now(piece),
            Verdict::Block | Verdict::Reject => Sending::Wait(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_plan() {
        use Kind::{Read, Transmit, Write};
        use Load::{About, Above, Below};
        use Verdict::{Allow, Block, Reject};
        let rows = [
            // load, kind, small, long queue: table, simple
            (Below, Read, Allow, Allow, Allow, Allow),
            (Below, Write, Allow, Allow, Allow, Allow),
            (Below, Transmit, Allow, Allow, Allow, Allow),
            (About, Read, Block, Block, Block, Block),
            (About, Write, Allow, Allow, Allow, Allow),
            (About, Transmit, Allow, Allow, Allow, Allow),
            (Above, Read, Block, Reject, Reject, Reject),
            (Above, Write, Block, Block, Allow, Allow),
            (Above, Transmit, Block, Block, Block, Block),
        ];
        for (load, kind, short, long, simple_short, simple_long) in rows {
            let large = |policy: Policy, is_long| policy.verdict(load, kind, false, is_long);
            assert_eq!(large(Policy::Table, false), short, "{load:?} {kind:?}");
            assert_eq!(large(Policy::Table, true), long, "{load:?} {kind:?}");
            assert_eq!(large(Policy::Simple, false), simple_short, "{load:?} {kind:?}");
            assert_eq!(large(Policy::Simple, true), simple_long, "{load:?} {kind:?}");
        }
        for is_long in [false, true] {
            assert_eq!(Policy::Table.verdict(Above, Write, true, is_long), Allow);
            assert_eq!(Policy::Table.verdict(Above, Transmit, true, is_long), Allow);
            assert_eq!(Policy::Simple.verdict(Above, Transmit, true, is_long), Block);
        }
    }

    #[test]
    fn verdicts_survive_as_a_word() {
        for policy in [Policy::Table, Policy::Simple] {
            for load in [Load::Below, Load::About, Load::Above] {
                for is_long in [false, true] {
                    let verdicts = Verdicts::at(policy, load, is_long);
                    assert_eq!(Verdicts::from_bits(verdicts.bits()), verdicts);
                }
            }
        }
        assert_eq!(Verdicts::from_bits(0), Verdicts::default());
    }

    #[test]
    fn reads_wait_for_what_is_not_paid_for_and_are_rejected_only_by_verdict() {
        let rules = Rules::new(125_000);
        let read = |load, is_long, is_free| rules.read(Verdicts::at(Policy::Table, load, is_long), is_free);
        assert_eq!(read(Load::Below, true, true), Verdict::Allow);
        assert_eq!(read(Load::Below, true, false), Verdict::Block);
        assert_eq!(read(Load::About, true, true), Verdict::Block);
        assert_eq!(read(Load::Above, false, true), Verdict::Block);
        assert_eq!(read(Load::Above, true, false), Verdict::Reject);
    }

    #[test]
    fn large_ones_are_cut_and_wait_and_small_ones_go() {
        let rules = Rules::new(125_000);
        let send = |bytes, is_free, is_queued| rules.send(Kind::Write, bytes, is_free, is_queued);
        assert_eq!(send(200_000, true, false), Sending::Now(1_250));
        assert_eq!(send(200_000, false, false), Sending::Wait(1_250));
        assert_eq!(send(200_000, true, true), Sending::Wait(1_250), "behind those who wait");
        assert_eq!(send(1_250, false, true), Sending::Now(1_250), "small");
        assert_eq!(send(1_251, false, true), Sending::Wait(1_250));
        let fast = Rules::new(125_000_000);
        assert_eq!(fast.send(Kind::Transmit, 4_096, false, true), Sending::Now(4_096));
        assert_eq!(fast.send(Kind::Transmit, 4_097, false, true), Sending::Wait(4_097));
        let simple = Rules { policy: Policy::Simple, ..rules };
        assert_eq!(simple.send(Kind::Write, 200_000, false, true), Sending::Now(200_000));
        assert_eq!(simple.send(Kind::Transmit, 100, false, true), Sending::Wait(100));
    }
}
