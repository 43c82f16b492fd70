//! Randomness that can be had again: a seed per test, told when the test fails.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The variable that fixes every [`Seed`].
const VARIABLE: &str = "RINGWAY_SEED";

/// A test's seed. Keep it alive for the length of the test: dropped by a panic, it tells how to repeat the run.
#[derive(Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seed of `RINGWAY_SEED`, else one nobody has seen before.
    ///
    /// # Panics
    /// When `RINGWAY_SEED` is not a decimal number of 64 bits.
    #[must_use]
    pub fn take() -> Self {
        match std::env::var(VARIABLE) {
            Ok(text) => Self(text.trim().parse().expect("RINGWAY_SEED is a number of 64 bits")),
            Err(_unset) => Self(RandomState::new().build_hasher().finish()),
        }
    }

    /// A seed that is always the same.
    #[must_use]
    pub fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// The number itself.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0
    }

    /// A generator that begins at the seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this run: {VARIABLE}={}", self.0);
        }
    }
}

/// A small generator (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` exclusive; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        // The bias of the remainder is below 2^-32 for every end that tests use.
        usize::try_from(self.bits() % end.max(1)).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        self.below(1000) < usize::from(per_mille)
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_run_and_numbers_stay_in_range() {
        let runs: Vec<Vec<u64>> = (0..2)
            .map(|_| Seed::fixed(7).rng())
            .map(|mut rng| (0..100).map(|_| rng.bits()).collect())
            .collect();
        assert_eq!(runs[0], runs[1]);
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!(rng.below(10) < 10);
        }
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| !rng.chance(0)) && (0..1000).all(|_| rng.chance(1000)));
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>(), "50 items in order: not in this universe");
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
