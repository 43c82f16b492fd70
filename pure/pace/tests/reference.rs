//! The wheel against an ordered map: any sequence of arming, disarming and time gives the same expiries.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringway_pace::{RESOLUTION_MS, Wheel};

/// Few enough keys that they are moved, disarmed and armed again all the time.
const KEYS: u32 = 48;

#[derive(Clone, Debug)]
enum Step {
    Arm { key: u32, in_ms: u64 },
    ArmPast { key: u32, ago_ms: u64 },
    Disarm { key: u32 },
    Advance { by_ms: u64, at_most: usize },
    Sleep,
}

/// Spans of every magnitude, so that every level of the wheel is used, and its slot borders hit.
fn span_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20u64,
        0..2_000u64,
        0..100_000u64,
        0..100_000_000u64,
        (0..40u32, 0..3u64).prop_map(|(bits, around)| ((1u64 << bits) + around).saturating_sub(1)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KEYS, span_ms()).prop_map(|(key, in_ms)| Step::Arm { key, in_ms }),
        1 => (0..KEYS, span_ms()).prop_map(|(key, ago_ms)| Step::ArmPast { key, ago_ms }),
        2 => (0..KEYS).prop_map(|key| Step::Disarm { key }),
        3 => (span_ms(), prop_oneof![Just(usize::MAX), 0..4usize])
            .prop_map(|(by_ms, at_most)| Step::Advance { by_ms, at_most }),
        3 => Just(Step::Sleep),
    ]
}

/// The obvious implementation, and the wheel beside it.
struct Pair {
    wheel: Wheel,
    deadlines: BTreeMap<u32, u64>,
    now_ms: u64,
}

fn can_expire_ms(deadline_ms: u64) -> u64 {
    deadline_ms.next_multiple_of(RESOLUTION_MS)
}

impl Pair {
    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Arm { key, in_ms } => self.arm(key, self.now_ms + in_ms),
            Step::ArmPast { key, ago_ms } => self.arm(key, self.now_ms.saturating_sub(ago_ms)),
            Step::Disarm { key } => {
                let had = self.deadlines.remove(&key).is_some();
                prop_assert_eq!(self.wheel.disarm(key), had);
            }
            Step::Advance { by_ms, at_most } => self.advance(self.now_ms + by_ms, at_most)?,
            Step::Sleep => {
                if let Some(wake_ms) = self.wheel.next_wakeup() {
                    self.advance(wake_ms.max(self.now_ms), usize::MAX)?;
                }
            }
        }
        self.check()
    }

    fn arm(&mut self, key: u32, deadline_ms: u64) {
        self.wheel.arm(key, deadline_ms);
        self.deadlines.insert(key, deadline_ms);
    }

    fn advance(&mut self, now_ms: u64, at_most: usize) -> Result<(), TestCaseError> {
        self.now_ms = now_ms;
        for _ in 0..at_most {
            let Some(key) = self.wheel.expire(now_ms) else {
                let late = self.deadlines.iter().find(|&(_, &deadline)| can_expire_ms(deadline) <= now_ms);
                prop_assert_eq!(late, None, "missed at {}", now_ms);
                return Ok(());
            };
            let deadline_ms = self.deadlines.remove(&key);
            prop_assert!(
                deadline_ms.is_some_and(|at| at <= now_ms),
                "{key} at {deadline_ms:?} early or not armed"
            );
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.wheel.len(), self.deadlines.len());
        for key in 0..KEYS {
            prop_assert_eq!(self.wheel.deadline(key), self.deadlines.get(&key).copied());
        }
        let earliest_ms = self.deadlines.values().copied().min().map(can_expire_ms);
        match (self.wheel.next_wakeup(), earliest_ms) {
            (None, None) => {}
            (Some(wake_ms), Some(earliest_ms)) => {
                prop_assert!(wake_ms <= earliest_ms.max(self.now_ms), "{wake_ms} sleeps past {earliest_ms}");
            }
            (wake_ms, earliest_ms) => prop_assert!(false, "wakes at {wake_ms:?}, earliest {earliest_ms:?}"),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wheel_and_map_agree(start_ms in span_ms(), steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair { wheel: Wheel::new(start_ms), deadlines: BTreeMap::new(), now_ms: start_ms };
        for step in &steps {
            pair.apply(step)?;
        }
        // Sleeping exactly as told must bring out everything that is left, each at its rounded deadline or later.
        let mut turns = 0;
        while pair.wheel.next_wakeup().is_some() {
            pair.apply(&Step::Sleep)?;
            turns += 1;
            prop_assert!(turns <= 100_000, "the wheel wakes for nothing");
        }
        prop_assert!(pair.deadlines.is_empty());
    }
}
