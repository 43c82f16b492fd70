//! How long is waited between tries: ever longer, up to a limit, and never the same for all who wait.

use std::hash::{BuildHasher, RandomState};

/// The shortest pause, in milliseconds.
pub const PAUSE_MS_MIN: u64 = 100;

/// The longest pause, in milliseconds.
pub const PAUSE_MS_MAX: u64 = 30_000;

/// The pauses of one target.
#[derive(Debug)]
pub(super) struct BackOff {
    /// What the next pause is at most.
    most_ms: u64,
    hasher: RandomState,
    taken: u64,
}

impl BackOff {
    const FIRST_MS: u64 = PAUSE_MS_MIN * 3 / 2;

    pub(super) fn new() -> Self {
        Self { most_ms: Self::FIRST_MS, hasher: RandomState::new(), taken: 0 }
    }

    /// The next pause in milliseconds: a third of it is chance, so that those who lost their server together do not come back
    /// together.
    pub(super) fn next_ms(&mut self) -> u64 {
        self.taken += 1;
        let chance_ms = self.hasher.hash_one(self.taken) % (self.most_ms / 3 + 1);
        let pause_ms = self.most_ms - chance_ms;
        self.most_ms = (self.most_ms * 2).min(PAUSE_MS_MAX);
        pause_ms
    }

    /// A connection has held for so long: if that was longer than the pause before it, the next one is short again.
    pub(super) fn held_for(&mut self, held_ms: u64) {
        if held_ms >= self.most_ms {
            self.most_ms = Self::FIRST_MS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_differ() {
        let mut pauses = BackOff::new();
        let mut most_ms = 150;
        for _ in 0..20 {
            let pause_ms = pauses.next_ms();
            assert!((most_ms * 2 / 3..=most_ms).contains(&pause_ms), "{pause_ms} of {most_ms}");
            assert!((PAUSE_MS_MIN..=PAUSE_MS_MAX).contains(&pause_ms));
            most_ms = (most_ms * 2).min(PAUSE_MS_MAX);
        }
        assert_eq!(most_ms, PAUSE_MS_MAX);
        let (mut one, mut other) = (BackOff::new(), BackOff::new());
        assert!((0..20).any(|_| one.next_ms() != other.next_ms()));
    }

    #[test]
    fn a_connection_that_held_makes_the_next_pause_short_and_one_that_did_not_does_not() {
        let mut pauses = BackOff::new();
        for _ in 0..5 {
            pauses.next_ms();
        }
        pauses.held_for(4_799);
        assert!(pauses.next_ms() >= 3_200);
        pauses.held_for(9_600);
        assert!(pauses.next_ms() <= 150);
    }
}
