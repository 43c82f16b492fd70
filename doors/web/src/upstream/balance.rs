//! Balancers: who gets the next request. Pure: what is known of the backends comes in, a place goes out.

/// What is added to a weight's unit, so that a slow start can give a part of it.
pub(super) const SHARE_FULL: u64 = 1_024;

/// Who gets the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, as often as its weight says, evenly spread (smooth weighted round robin).
    #[default]
    RoundRobin,
    /// Who has fewest under way, in relation to its weight.
    LeastConnections,
    /// The client's address decides, so that a client meets the same backend again; when one goes, only its clients move
    /// (weighted rendezvous hashing).
    SourceHash,
    /// The first that is alive, in the order of the configuration.
    FirstAlive,
    /// Of two that are drawn, who has fewer under way in relation to its weight.
    RandomTwo,
}

impl Balance {
    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastConnections => "least-connections",
            Self::SourceHash => "source-hash",
            Self::FirstAlive => "first-alive",
            Self::RandomTwo => "random-two",
        }
    }
}

/// What a balancer knows of a backend.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Candidate {
    /// It may be chosen.
    pub(super) is_able: bool,
    /// Its weight times its share of it ([`SHARE_FULL`] when it is not starting slowly); at least 1.
    pub(super) weight: u64,
    /// What it has under way.
    pub(super) in_flight: u32,
    /// What stands for it in hashes.
    pub(super) hash: u64,
}

/// A worker's memory between its choices.
#[derive(Debug)]
pub(super) struct Picker {
    balance: Balance,
    /// Of smooth weighted round robin: what each is owed.
    owed: Vec<i64>,
    /// Of a generator of numbers that need not surprise anybody (SplitMix64).
    state: u64,
}

impl Picker {
    /// `seed` sets workers apart from each other, so that they do not all begin with the same backend.
    pub(super) fn new(balance: Balance, backends: usize, seed: u64) -> Self {
        let mut picker = Self { balance, owed: vec![0; backends], state: seed };
        let first = usize::try_from(picker.random() % backends.max(1) as u64).unwrap_or(0);
        if let Some(owed) = picker.owed.get_mut(first) {
            *owed = 1;
        }
        picker
    }

    /// The place of the one that gets the next request; `None` when none is able. `source` is the hash of the client's
    /// address.
    pub(super) fn pick(&mut self, candidates: &[Candidate], source: Option<u64>) -> Option<usize> {
        match (self.balance, source) {
            (Balance::RoundRobin, _) | (Balance::SourceHash, None) => self.in_turn(candidates, |_| true),
            (Balance::LeastConnections, _) => self.least(candidates),
            (Balance::SourceHash, Some(source)) => by_hash(candidates, source),
            (Balance::FirstAlive, _) => candidates.iter().position(|candidate| candidate.is_able),
            (Balance::RandomTwo, _) => self.of_two(candidates),
        }
    }

    /// Smooth weighted round robin among those that are able and `wanted`.
    fn in_turn(&mut self, candidates: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let mut total = 0_i64;
        let mut best: Option<usize> = None;
        for (place, candidate) in candidates.iter().enumerate() {
            if !candidate.is_able || !wanted(candidate) {
                continue;
            }
            let weight = i64::try_from(candidate.weight).unwrap_or(i64::MAX / 2);
            total = total.saturating_add(weight);
            self.owed[place] = self.owed[place].saturating_add(weight);
            if best.is_none_or(|best| self.owed[place] > self.owed[best]) {
                best = Some(place);
            }
        }
        let best = best?;
        self.owed[best] = self.owed[best].saturating_sub(total);
        Some(best)
    }

    fn least(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let able = candidates.iter().filter(|candidate| candidate.is_able);
        let least = *able.reduce(|least, other| if is_less(other, least) { other } else { least })?;
        // Those that are equal take turns.
        self.in_turn(candidates, |candidate| !is_less(&least, candidate))
    }

    fn of_two(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let first = self.draw(candidates, None)?;
        let Some(second) = self.draw(candidates, Some(first)) else { return Some(first) };
        Some(if is_less(&candidates[second], &candidates[first]) { second } else { first })
    }

    /// Draws one that is able by weight, but not `except`.
    fn draw(&mut self, candidates: &[Candidate], except: Option<usize>) -> Option<usize> {
        let random = self.random();
        let places = || {
            let all = candidates.iter().enumerate();
            all.filter(|(place, candidate)| candidate.is_able && Some(*place) != except)
        };
        let total: u64 = places().map(|(_, candidate)| candidate.weight).sum();
        let mut left = random.checked_rem(total)?;
        places().find_map(|(place, candidate)| {
            if left < candidate.weight {
                return Some(place);
            }
            left -= candidate.weight;
            None
        })
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }
}

/// Whether `a` has less under way than `b`, in relation to their weights, with the request that is to come counted in: of two
/// idle ones the heavier has less.
fn is_less(a: &Candidate, b: &Candidate) -> bool {
    let load = |candidate: &Candidate, other: &Candidate| {
        (u128::from(candidate.in_flight) + 1) * u128::from(other.weight)
    };
    load(a, b) < load(b, a)
}

/// The able one with the highest score for this client: the logarithm makes the odds those of the weights, whoever else is
/// there.
fn by_hash(candidates: &[Candidate], source: u64) -> Option<usize> {
    let score = |candidate: &Candidate| {
        /// Hashes are looked at as numbers between 0 and 1 of this many bits, which a float holds exactly.
        const BITS: u32 = 52;
        let bits = mixed(source ^ candidate.hash) >> (u64::BITS - BITS);
        #[allow(clippy::cast_precision_loss, reason = "52 bits are exact, and weights are small")]
        let (part, weight) = ((bits as f64 + 0.5) / (1_u64 << BITS) as f64, candidate.weight as f64);
        -weight / part.ln()
    };
    let able = candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_able);
    let scored = able.map(|(place, candidate)| (place, score(candidate)));
    scored.reduce(|best, other| if other.1 > best.1 { other } else { best }).map(|(place, _)| place)
}

/// SplitMix64's finaliser.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What stands for a text in hashes, on any machine and in any process (FNV-1a, mixed).
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn able(weight: u64, in_flight: u32) -> Candidate {
        Candidate { is_able: true, weight, in_flight, hash: 0 }
    }

    const ALL: [Balance; 5] = [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::SourceHash,
        Balance::FirstAlive,
        Balance::RandomTwo,
    ];

    fn candidate((is_able, weight, in_flight, hash): (bool, u64, u32, u64)) -> Candidate {
        Candidate { is_able, weight, in_flight, hash }
    }

    fn unlike(weights: &[u64]) -> Vec<Candidate> {
        let one = |(place, weight): (usize, &u64)| {
            let hash = hash_of(format!("10.0.0.{place}:80").as_bytes());
            Candidate { hash, ..able(*weight, 0) }
        };
        weights.iter().enumerate().map(one).collect()
    }

    #[test]
    fn turns_are_smooth_and_weights_are_kept() {
        let candidates = [able(5, 0), able(1, 0), able(1, 0)];
        let mut picker = Picker::new(Balance::RoundRobin, 3, 0);
        let turns: Vec<usize> = (0..14).filter_map(|_| picker.pick(&candidates, None)).collect();
        for window in turns.windows(7) {
            assert_eq!(window.iter().filter(|place| **place == 0).count(), 5, "{turns:?}");
        }
        assert!(!turns.windows(4).any(|four| four == [1, 2, 1, 2]), "{turns:?}");
        assert!(turns.windows(4).all(|four| four.contains(&0)), "{turns:?}");
    }

    #[test]
    fn the_least_loaded_is_chosen_by_weight_and_equals_take_turns() {
        let mut picker = Picker::new(Balance::LeastConnections, 3, 1);
        assert_eq!(picker.pick(&[able(1, 3), able(1, 2), able(1, 4)], None), Some(1));
        assert_eq!(picker.pick(&[able(1, 1), able(4, 4), able(1, 1)], None), Some(1));
        let idle = [able(1, 0), able(1, 0), able(1, 0)];
        let mut seen: Vec<usize> = (0..3).filter_map(|_| picker.pick(&idle, None)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn workers_begin_with_different_backends() {
        let candidates = [able(1, 0), able(1, 0), able(1, 0)];
        let firsts =
            (0..64).filter_map(|seed| Picker::new(Balance::RoundRobin, 3, seed).pick(&candidates, None));
        let firsts: std::collections::BTreeSet<usize> = firsts.collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn of_two_the_less_loaded_wins_and_the_most_loaded_of_all_never_does() {
        let candidates = [able(1, 0), able(1, 1), able(1, 9)];
        let mut picker = Picker::new(Balance::RandomTwo, 3, 7);
        let mut counts = [0; 3];
        (0..3000).filter_map(|_| picker.pick(&candidates, None)).for_each(|place| counts[place] += 1);
        assert_eq!(counts[2], 0);
        assert!(counts[0] > counts[1] && counts[1] > 500, "{counts:?}");
    }

    #[test]
    fn hashing_keeps_weights_and_clients_stay_when_others_go() {
        let mut candidates = unlike(&[1, 2, 1]);
        let mut picker = Picker::new(Balance::SourceHash, 3, 0);
        let sources: Vec<u64> = (0..8000_u64).map(|client| hash_of(&client.to_be_bytes())).collect();
        let place = |picker: &mut Picker, candidates: &[Candidate], source: u64| {
            picker.pick(candidates, Some(source))
        };
        let before: Vec<_> = sources.iter().map(|source| place(&mut picker, &candidates, *source)).collect();
        let shares: Vec<usize> =
            (0..3).map(|backend| before.iter().filter(|place| **place == Some(backend)).count()).collect();
        assert!((1800..2200).contains(&shares[0]) && (3800..4200).contains(&shares[1]), "{shares:?}");
        candidates[1].is_able = false;
        for (source, before) in sources.iter().zip(&before) {
            let after = place(&mut picker, &candidates, *source);
            assert!(if *before == Some(1) { after != Some(1) } else { after == *before });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whoever_is_chosen_is_able_and_somebody_is_if_anybody_is(
            backends in vec((any::<bool>(), 1..2000_u64, 0..50_u32, any::<u64>()), 1..12),
            which in 0..5_usize, seed in any::<u64>(), source in any::<Option<u64>>(),
        ) {
            let candidates: Vec<Candidate> = backends.into_iter().map(candidate).collect();
            let mut picker = Picker::new(ALL[which], candidates.len(), seed);
            for _ in 0..20 {
                match picker.pick(&candidates, source) {
                    Some(place) => prop_assert!(candidates[place].is_able),
                    None => prop_assert!(candidates.iter().all(|candidate| !candidate.is_able)),
                }
            }
        }

        #[test]
        fn in_a_round_everybody_has_as_many_turns_as_its_weight(weights in vec(1..20_u64, 1..8), seed in any::<u64>()) {
            let candidates: Vec<Candidate> = weights.iter().map(|weight| able(*weight, 0)).collect();
            let mut picker = Picker::new(Balance::RoundRobin, candidates.len(), seed);
            let mut counts = vec![0_u64; weights.len()];
            for _ in 0..weights.iter().sum::<u64>() * 10 {
                counts[picker.pick(&candidates, None).unwrap()] += 1;
            }
            // The head start of a worker is worth one turn at most.
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert!(count.abs_diff(weight * 10) <= 1, "{counts:?} {weights:?}");
            }
        }

        #[test]
        fn the_least_loaded_has_nobody_below_it(loads in vec((1..50_u64, 0..50_u32), 1..10), seed in any::<u64>()) {
            let candidates: Vec<Candidate> = loads.iter().map(|(weight, in_flight)| able(*weight, *in_flight)).collect();
            let chosen = Picker::new(Balance::LeastConnections, candidates.len(), seed).pick(&candidates, None).unwrap();
            prop_assert!(candidates.iter().all(|other| !is_less(other, &candidates[chosen])));
        }
    }
}
