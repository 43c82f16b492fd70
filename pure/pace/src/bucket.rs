//! Token buckets: how often something may happen, with bursts, for one key or for a bounded table of them.
//!
//! A bucket is one number, the moment at which it is full again (the generic cell rate algorithm): each taking moves that
//! moment on by what one token costs, and is refused when it would lie further ahead than a whole burst. Nothing has to run
//! while nothing is taken.

/// Nanoseconds in a millisecond: buckets count in nanoseconds, so that a thousand a second and one an hour are both exact.
const NS_PER_MS: u64 = 1_000_000;

/// Longest period of a rate, in milliseconds: a day.
pub const PERIOD_MS_MAX: u32 = 86_400_000;

/// Buckets that compete for a place in a [`BucketTable`].
const WAYS: usize = 8;

/// So many tokens in so much time, and how many may be taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRate {
    token_ns: u64,
    burst_ns: u64,
}

impl TokenRate {
    /// `tokens` in every `period_ms` milliseconds, at most [`PERIOD_MS_MAX`], and `burst` of them at once. Each of them
    /// counts as 1 when it is 0.
    #[must_use]
    pub fn new(tokens: u32, period_ms: u32, burst: u32) -> Self {
        let period_ns = u64::from(period_ms.clamp(1, PERIOD_MS_MAX)) * NS_PER_MS;
        // Rounded up: over a long time there are never more tokens than were said, and a token takes some time.
        let token_ns = period_ns.div_ceil(u64::from(tokens.max(1)));
        Self { token_ns, burst_ns: token_ns.saturating_mul(u64::from(burst.max(1))) }
    }
}

/// What taking a token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// There was one.
    Yes,
    /// There is none; the next one is there in so many milliseconds, at least 1.
    Wait {
        /// Milliseconds from now.
        ms: u64,
    },
}

/// A bucket: 8 bytes. A new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_ns: u64,
}

impl Bucket {
    /// Takes a token at `now_ms`. A refusal changes nothing: who asks in vain does not wait longer for it.
    pub fn take(&mut self, rate: &TokenRate, now_ms: u64) -> Taken {
        let now_ns = now_ms.saturating_mul(NS_PER_MS);
        let full_ns = self.full_ns.max(now_ns).saturating_add(rate.token_ns);
        let latest_ns = now_ns.saturating_add(rate.burst_ns);
        if full_ns > latest_ns {
            return Taken::Wait { ms: (full_ns - latest_ns).div_ceil(NS_PER_MS) };
        }
        self.full_ns = full_ns;
        Taken::Yes
    }

    /// Whether the bucket is as good as a new one.
    #[must_use]
    pub const fn is_full(&self, now_ms: u64) -> bool {
        self.full_ns <= now_ms.saturating_mul(NS_PER_MS)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u128,
    bucket: Bucket,
}

/// A bucket for each of many keys, in memory that does not grow.
///
/// Keys share sets of eight places by a keyed hash. Where a set is full of buckets in use, a new key takes the place of the one
/// that is nearest to being full: who has asked for most is remembered longest, and a flood of new keys pushes out
/// each other.
#[derive(Clone, Debug)]
pub struct BucketTable {
    sets: Box<[[Place; WAYS]]>,
    secret: [u64; 2],
    forgotten: u64,
}

impl BucketTable {
    /// A table of about `keys_max` places (rounded up to whole sets, at least one), 32 bytes each. `secret` is the hash's key; nobody who
    /// chooses keys should know it.
    #[must_use]
    pub fn new(keys_max: usize, secret: [u64; 2]) -> Self {
        let sets = keys_max.div_ceil(WAYS).max(1);
        Self { sets: vec![[Place::default(); WAYS]; sets].into(), secret, forgotten: 0 }
    }

    /// Takes a token of `key` at `now_ms`.
    pub fn take(&mut self, key: u128, rate: &TokenRate, now_ms: u64) -> Taken {
        let index = self.set_of(key);
        let set = &mut self.sets[index];
        if let Some(place) = set.iter_mut().find(|place| place.key == key) {
            return place.bucket.take(rate, now_ms);
        }
        let Some(place) = set.iter_mut().min_by_key(|place| place.bucket.full_ns) else { return Taken::Yes };
        self.forgotten += u64::from(!place.bucket.is_full(now_ms));
        *place = Place { key, bucket: Bucket::default() };
        place.bucket.take(rate, now_ms)
    }

    /// What taking a token of `key` would come to at `now_ms`.
    pub fn peek(&self, key: u128, rate: &TokenRate, now_ms: u64) -> Taken {
        let found = self.sets[self.set_of(key)].iter().find(|place| place.key == key);
        let mut bucket = found.map_or(Bucket::default(), |place| place.bucket);
        bucket.take(rate, now_ms)
    }

    /// How many buckets in use have lost their place to another key: when it grows, the table is too small.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn set_of(&self, key: u128) -> usize {
        let hash = hash(key, self.secret);
        // The high bits of a product with the length are an index without a division.
        let index = (u128::from(hash) * self.sets.len() as u128) >> 64;
        usize::try_from(index).unwrap_or(0)
    }
}

/// Two rounds of multiplying and folding under a key.
fn hash(key: u128, secret: [u64; 2]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let [high, low] = [key >> 64, key & u128::from(u64::MAX)];
    let first = fold((low ^ u128::from(secret[0])) * u128::from(ODD | 1));
    let second = fold((high ^ u128::from(secret[1] ^ first)) * u128::from(secret[0] | 1));
    fold(u128::from(first ^ secret[1]) * u128::from(second ^ ODD))
}

fn fold(product: u128) -> u64 {
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_burst_is_there_at_once_and_then_one_token_at_a_time() {
        let rate = TokenRate::new(10, 1000, 3);
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(&rate, 5000), Taken::Yes);
        }
        assert_eq!(bucket.take(&rate, 5000), Taken::Wait { ms: 100 });
        assert_eq!(bucket.take(&rate, 5099), Taken::Wait { ms: 1 });
        assert_eq!(bucket.take(&rate, 5100), Taken::Yes);
        assert_eq!(bucket.take(&rate, 5100), Taken::Wait { ms: 100 });
        assert!(!bucket.is_full(5399) && bucket.is_full(5400));
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_stand_still() {
        for (tokens, period_ms, burst) in
            [(0, 0, 0), (u32::MAX, 1, u32::MAX), (1, u32::MAX, u32::MAX), (1, 1, 1)]
        {
            let rate = TokenRate::new(tokens, period_ms, burst);
            let mut bucket = Bucket::default();
            assert_eq!(bucket.take(&rate, 0), Taken::Yes, "{rate:?}");
            let Taken::Wait { ms } = (0..10).map(|_| bucket.take(&rate, 0)).last().unwrap() else { continue };
            assert!(ms >= 1 && ms <= u64::from(PERIOD_MS_MAX), "{ms}");
            assert_eq!(bucket.take(&rate, ms), Taken::Yes);
        }
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(&TokenRate::new(1, 1000, 1), u64::MAX), Taken::Yes);
    }

    #[test]
    fn a_flood_of_new_keys_does_not_free_who_asked_most() {
        let rate = TokenRate::new(1, 1000, 100);
        let mut table = BucketTable::new(64, [1, 2]);
        for _ in 0..100 {
            assert_eq!(table.take(7, &rate, 10), Taken::Yes);
        }
        for key in 1000..100_000 {
            assert_eq!(table.take(key, &rate, 10), Taken::Yes, "{key}");
        }
        assert!(matches!(table.take(7, &rate, 10), Taken::Wait { .. }));
        assert!(table.forgotten() > 0);
    }

    #[test]
    fn keys_spread_over_the_sets() {
        let table = BucketTable::new(8 * 64, [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);
        // Addresses next to each other, and networks next to each other.
        for shift in [0, 32, 64] {
            let mut counts = [0_u32; 64];
            (0..6400_u128).for_each(|key| counts[table.set_of(key << shift)] += 1);
            let most = counts.iter().max().unwrap();
            assert!(counts.iter().all(|&count| count > 40) && *most < 200, "{counts:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// In every window there are at most a burst and what the rate brings in it; a refusal says exactly how long.
        #[test]
        fn no_window_has_more_than_burst_and_rate(
            tokens in 1_u32..50, period_ms in 1_u32..5000, burst in 1_u32..20,
            gaps in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let rate = TokenRate::new(tokens, period_ms, burst);
            let mut bucket = Bucket::default();
            let (mut now_ms, mut taken) = (0, Vec::new());
            for gap in gaps {
                now_ms += gap;
                match bucket.take(&rate, now_ms) {
                    Taken::Yes => taken.push(now_ms),
                    Taken::Wait { ms } => {
                        let mut later = bucket;
                        prop_assert!(ms == 1 || later.take(&rate, now_ms + ms - 1) != Taken::Yes);
                        prop_assert_eq!(later.take(&rate, now_ms + ms), Taken::Yes);
                    }
                }
            }
            for (first, &from) in taken.iter().enumerate() {
                for (last, &to) in taken.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    let most = u64::from(burst) + (to - from) * u64::from(tokens) / u64::from(period_ms);
                    prop_assert!(count <= most, "{} in {}..{}", count, from, to);
                }
            }
        }

        /// A table that is large enough is a map of buckets.
        #[test]
        fn a_large_table_is_a_map(asks in prop::collection::vec((0_u128..12, 0_u64..50), 1..300), secret: [u64; 2]) {
            let rate = TokenRate::new(5, 200, 4);
            // Twelve keys could all fall into one set of eight; these sets are many.
            let mut table = BucketTable::new(8 * 4096, secret);
            let mut map: HashMap<u128, Bucket> = HashMap::new();
            let mut now_ms = 1;
            for (key, gap) in asks {
                now_ms += gap;
                let expected = map.entry(key).or_default().take(&rate, now_ms);
                prop_assert_eq!(table.peek(key, &rate, now_ms), expected);
                prop_assert_eq!(table.take(key, &rate, now_ms), expected);
            }
        }
    }
}
