//! The health of a backend as a pure machine: what happens to requests and probes comes in with the time, its standing comes
//! out.
//!
//! A backend is *up* until requests to it fail in a row, or until it answers questions badly in a row. Then it is *down*: it
//! gets no requests, and is probed. Where there are no questions, a probe only connects, so it is *on trial* after a good
//! one: it gets one request at a time until one of them is answered. A trial that fails doubles the time until the next.

use crate::upstream::balance::SHARE_FULL;
use crate::upstream::options::{Check, PassiveRules};

/// Milliseconds from going down to the first probe, and from one probe of a backend that is down to the next.
pub const PROBE_MS: u64 = 250;

/// One that goes down again so soon after it came up has not been well, in milliseconds.
const RELAPSE_MS: u64 = 1_000;

/// A trial without an outcome is in nobody's way after so many milliseconds.
const TRIAL_MS: u64 = 500;

/// What decides about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) passive: PassiveRules,
    /// Of questions, where they are asked.
    pub(super) asking: Option<Asking>,
}

/// When questions change a backend's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) interval_ms: u64,
    pub(super) rise: u32,
    pub(super) fall: u32,
}

impl Rules {
    pub(super) fn new(passive: PassiveRules, check: Option<&Check>) -> Self {
        let asking = |check: &Check| Asking {
            interval_ms: check.interval_ms.max(1),
            rise: check.rise.max(1),
            fall: check.fall.max(1),
        };
        Self { passive, asking: check.map(asking) }
    }
}

/// Whether a backend gets requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// It does.
    #[default]
    Up = 0,
    /// One at a time, to see whether it answers.
    Trial = 1,
    /// It does not, because requests failed.
    Down = 2,
    /// It does not, because it answers questions badly.
    Unwell = 3,
}

impl Standing {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Trial,
            2 => Self::Down,
            3 => Self::Unwell,
            _ => Self::Up,
        }
    }

    /// A word for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Trial => "on trial",
            Self::Down | Self::Unwell => "down",
        }
    }
}

/// What has become of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    WentDown,
    CameUp,
}

/// The health of one backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    standing: Standing,
    /// Failed requests in a row.
    failures: u32,
    first_failure_ms: u64,
    /// How long it is left alone when it goes down next.
    offline_ms: u64,
    /// When it came up; `None`: it has never been down.
    up_since_ms: Option<u64>,
    /// When the next probe is due.
    probe_ms: u64,
    /// When the latest trial began, while it has no outcome.
    trial_ms: Option<u64>,
    /// Good and bad answers to questions in a row.
    rises: u32,
    falls: u32,
}

impl Health {
    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether something is noted that an answered request takes back: while not, [`Health::answered`] changes nothing.
    pub(super) const fn is_troubled(&self) -> bool {
        self.failures > 0 || matches!(self.standing, Standing::Trial)
    }

    /// When a request may be sent there to try it; only [`Standing::Trial`] asks.
    pub(super) fn begin_trial(&mut self, now_ms: u64) -> bool {
        let is_free = self.trial_ms.is_none_or(|since_ms| now_ms >= since_ms.saturating_add(TRIAL_MS));
        let may = self.standing == Standing::Trial && is_free;
        if may {
            self.trial_ms = Some(now_ms);
        }
        may
    }

    /// A trial ended without a verdict.
    pub(super) const fn abandon_trial(&mut self) {
        self.trial_ms = None;
    }

    /// A request failed there.
    pub(super) fn failed(&mut self, rules: &Rules, now_ms: u64) -> Option<Change> {
        match self.standing {
            Standing::Down | Standing::Unwell => None,
            Standing::Trial => {
                self.go_down(rules, now_ms);
                None
            }
            Standing::Up => {
                let window_ms = rules.passive.fail_window_ms;
                if self.failures == 0 || now_ms.saturating_sub(self.first_failure_ms) > window_ms {
                    (self.failures, self.first_failure_ms) = (0, now_ms);
                }
                self.failures += 1;
                if rules.passive.fail_max == 0 || self.failures < rules.passive.fail_max {
                    return None;
                }
                self.go_down(rules, now_ms);
                Some(Change::WentDown)
            }
        }
    }

    /// A request was answered there; `is_trial` when it was sent there although nothing good was known.
    pub(super) fn answered(&mut self, now_ms: u64, is_trial: bool) -> Option<Change> {
        self.failures = 0;
        let is_news = self.standing == Standing::Trial || (is_trial && self.standing == Standing::Down);
        is_news.then(|| self.come_up(now_ms))
    }

    /// When it is to be probed or asked next; `None` while nobody wants to know.
    pub(super) fn next_probe_ms(&self, rules: &Rules) -> Option<u64> {
        let is_wanted = rules.asking.is_some() || self.standing == Standing::Down;
        is_wanted.then_some(self.probe_ms)
    }

    /// A probe, or a question where there are some, came out well or not.
    pub(super) fn probed(&mut self, rules: &Rules, now_ms: u64, is_well: bool) -> Option<Change> {
        let Some(asking) = rules.asking else { return self.reached(now_ms, is_well) };
        if self.standing == Standing::Down && now_ms < self.probe_ms {
            // It was asked before it failed.
            return None;
        }
        if is_well {
            (self.rises, self.falls) = (self.rises.saturating_add(1), 0);
        } else {
            (self.rises, self.falls) = (0, self.falls.saturating_add(1));
        }
        let change = match self.standing {
            Standing::Up | Standing::Trial if self.falls >= asking.fall => {
                let is_news = self.standing == Standing::Up;
                self.leave(Standing::Unwell);
                is_news.then_some(Change::WentDown)
            }
            Standing::Down | Standing::Unwell | Standing::Trial if self.rises >= asking.rise => {
                Some(self.come_up(now_ms))
            }
            _ => None,
        };
        let pause_ms = match self.standing {
            Standing::Up => asking.interval_ms,
            _ => asking.interval_ms.min(PROBE_MS),
        };
        self.probe_ms = now_ms.saturating_add(pause_ms);
        change
    }

    /// When its slow start began; 0: it has never been down.
    pub(super) fn up_since_ms(&self) -> u64 {
        self.up_since_ms.unwrap_or(0)
    }

    /// A connection could be made, or not.
    fn reached(&mut self, now_ms: u64, is_well: bool) -> Option<Change> {
        if self.standing != Standing::Down {
            return None;
        }
        if is_well {
            self.standing = Standing::Trial;
            self.trial_ms = None;
        } else {
            self.probe_ms = now_ms.saturating_add(PROBE_MS);
        }
        None
    }

    fn go_down(&mut self, rules: &Rules, now_ms: u64) {
        let is_relapse = self.standing == Standing::Trial
            || self.up_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) <= RELAPSE_MS);
        let offline_ms = if is_relapse { self.offline_ms.saturating_mul(2) } else { PROBE_MS };
        self.offline_ms = offline_ms.clamp(PROBE_MS, rules.passive.offline_ms_max.max(PROBE_MS));
        self.probe_ms = now_ms.saturating_add(self.offline_ms);
        self.leave(Standing::Down);
    }

    const fn leave(&mut self, standing: Standing) {
        self.standing = standing;
        (self.failures, self.rises, self.trial_ms) = (0, 0, None);
    }

    const fn come_up(&mut self, now_ms: u64) -> Change {
        self.standing = Standing::Up;
        // 0 stands for never.
        self.up_since_ms = Some(if now_ms == 0 { 1 } else { now_ms });
        (self.failures, self.falls, self.trial_ms) = (0, 0, None);
        Change::CameUp
    }
}

/// The part of [`SHARE_FULL`] that a backend gets `now_ms`, which came up at `since_ms`; 0: long ago.
pub(super) fn share(since_ms: u64, slow_start_ms: u64, now_ms: u64) -> u64 {
    let up_ms = now_ms.saturating_sub(since_ms);
    if since_ms == 0 || up_ms >= slow_start_ms {
        return SHARE_FULL;
    }
    (SHARE_FULL * up_ms / slow_start_ms).max(SHARE_FULL / 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn passive(fail_max: u32) -> Rules {
        Rules { passive: PassiveRules { fail_max, ..PassiveRules::default() }, asking: None }
    }

    fn asking(rise: u32, fall: u32) -> Rules {
        Rules { asking: Some(Asking { interval_ms: 1_000, rise, fall }), ..passive(3) }
    }

    #[test]
    fn failures_in_a_row_take_it_down_and_an_answer_between_them_does_not() {
        let rules = passive(3);
        let mut health = Health::default();
        for now_ms in 0..10 {
            assert_eq!(health.failed(&rules, now_ms), None);
            assert_eq!(health.failed(&rules, now_ms), None);
            assert!(health.is_troubled());
            assert_eq!(health.answered(now_ms, false), None);
            assert!(!health.is_troubled());
        }
        assert_eq!([health.failed(&rules, 20), health.failed(&rules, 30)], [None, None]);
        assert_eq!(health.failed(&rules, 40), Some(Change::WentDown));
        assert_eq!(health.standing(), Standing::Down);
        assert_eq!(health.failed(&rules, 41), None, "what was under way fails too");
        assert_eq!(health.next_probe_ms(&rules), Some(40 + PROBE_MS));
    }

    #[test]
    fn old_failures_are_forgotten_and_without_a_limit_none_counts() {
        let rules = passive(2);
        let mut health = Health::default();
        assert_eq!(health.failed(&rules, 0), None);
        assert_eq!(health.failed(&rules, 10_001), None);
        assert_eq!(health.failed(&rules, 10_002), Some(Change::WentDown));
        let mut patient = Health::default();
        assert!((0..1000).all(|now_ms| patient.failed(&passive(0), now_ms).is_none()));
        assert_eq!(patient.standing(), Standing::Up);
    }

    #[test]
    fn one_that_restarts_is_back_within_a_second() {
        let rules = passive(1);
        let mut health = Health::default();
        health.failed(&rules, 1_000);
        // Dead for a minute: every probe fails, and the next is never later than a quarter of a second.
        let mut now_ms = 1_000;
        while now_ms < 60_000 {
            let due_ms = health.next_probe_ms(&rules).unwrap();
            assert!(due_ms - now_ms <= PROBE_MS);
            now_ms = due_ms;
            assert_eq!(health.probed(&rules, now_ms, false), None);
        }
        now_ms = health.next_probe_ms(&rules).unwrap();
        assert_eq!(health.probed(&rules, now_ms, true), None);
        assert_eq!(health.standing(), Standing::Trial);
        assert!(health.begin_trial(now_ms) && !health.begin_trial(now_ms + 1), "one at a time");
        assert_eq!(health.answered(now_ms + 2, true), Some(Change::CameUp));
        assert_eq!(health.next_probe_ms(&rules), None);
    }

    #[test]
    fn one_that_connects_but_does_not_answer_is_tried_less_and_less_often() {
        let rules = passive(1);
        let mut health = Health::default();
        health.failed(&rules, 0);
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let due_ms = health.next_probe_ms(&rules).unwrap();
            pauses.push(due_ms - now_ms);
            now_ms = due_ms;
            health.probed(&rules, now_ms, true);
            assert!(health.begin_trial(now_ms));
            assert_eq!(health.failed(&rules, now_ms), None, "it was down already");
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        now_ms += 10_000;
        health.probed(&rules, now_ms, true);
        health.answered(now_ms, true);
        health.failed(&rules, now_ms + RELAPSE_MS + 1);
        let due_ms = now_ms + RELAPSE_MS + 1 + PROBE_MS;
        assert_eq!(health.next_probe_ms(&rules), Some(due_ms), "it was well for some time");
    }

    #[test]
    fn one_that_answers_what_it_got_for_want_of_others_is_up_at_once() {
        let rules = passive(1);
        let mut health = Health::default();
        health.failed(&rules, 10);
        assert_eq!(health.answered(20, false), None, "an answer to what had begun before");
        assert_eq!(health.answered(30, true), Some(Change::CameUp));
    }

    #[test]
    fn a_trial_without_an_outcome_blocks_nobody() {
        let rules = passive(1);
        let mut health = Health::default();
        health.failed(&rules, 0);
        health.probed(&rules, 500, true);
        assert!(health.begin_trial(500) && !health.begin_trial(999) && health.begin_trial(1_000));
        health.abandon_trial();
        assert!(health.begin_trial(1_001));
    }

    #[test]
    fn questions_need_a_row_of_answers_either_way() {
        let rules = asking(2, 3);
        let mut health = Health::default();
        let mut now_ms = 0;
        let mut ask = |health: &mut Health, is_well| {
            now_ms += 1_000;
            health.probed(&rules, now_ms, is_well)
        };
        assert!((0..5).all(|_| [false, false, true].iter().all(|well| ask(&mut health, *well).is_none())));
        assert_eq!([ask(&mut health, false), ask(&mut health, false)], [None, None]);
        assert_eq!(ask(&mut health, false), Some(Change::WentDown));
        assert_eq!(health.standing(), Standing::Unwell);
        assert_eq!([ask(&mut health, true), ask(&mut health, false), ask(&mut health, true)], [None; 3]);
        assert_eq!(ask(&mut health, true), Some(Change::CameUp));
        assert_eq!(health.next_probe_ms(&rules), Some(now_ms + 1_000));
    }

    #[test]
    fn where_questions_are_asked_they_bring_back_what_requests_took_down() {
        let rules = asking(1, 3);
        let mut health = Health::default();
        (0..3).for_each(|_| {
            health.failed(&rules, 100);
        });
        assert_eq!(health.standing(), Standing::Down);
        assert_eq!(health.probed(&rules, 600, true), Some(Change::CameUp));
    }

    #[test]
    fn a_slow_start_grows_evenly() {
        assert_eq!(share(0, 10_000, 5), SHARE_FULL, "it has never been down");
        assert_eq!(share(100, 0, 100), SHARE_FULL);
        assert_eq!(share(1_000, 10_000, 6_000), SHARE_FULL / 2);
        assert_eq!(share(1_000, 10_000, 11_000), SHARE_FULL);
        assert!(share(1_000, 10_000, 1_000) > 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens: ups and downs alternate in what is told, one that is down has a probe within the longest
        /// pause, and one that is well again comes up by the probes and one answer.
        #[test]
        fn it_is_never_lost(
            events in vec((0..6_u8, 0..2_000_u64), 0..200), fail_max in 1..4_u32, is_asking in any::<bool>(),
        ) {
            let rules = if is_asking { Rules { passive: passive(fail_max).passive, ..asking(2, 2) } } else { passive(fail_max) };
            let mut health = Health::default();
            let (mut now_ms, mut is_up) = (1_u64, true);
            for (event, pause_ms) in events {
                now_ms += pause_ms;
                let change = match event {
                    0 => health.failed(&rules, now_ms),
                    1 => health.answered(now_ms, pause_ms % 2 == 0),
                    2 | 3 => {
                        let is_due = health.next_probe_ms(&rules).is_some_and(|due_ms| due_ms <= now_ms);
                        if is_due { health.probed(&rules, now_ms, event == 2) } else { None }
                    }
                    4 => { health.begin_trial(now_ms); None }
                    _ => { health.abandon_trial(); None }
                };
                match change {
                    Some(Change::WentDown) => { prop_assert!(is_up); is_up = false; }
                    Some(Change::CameUp) => { prop_assert!(!is_up); is_up = true; }
                    None => {}
                }
                prop_assert_eq!(is_up, health.standing() == Standing::Up);
                if health.standing() == Standing::Down {
                    let due_ms = health.next_probe_ms(&rules).unwrap();
                    prop_assert!(due_ms <= now_ms + 10_000);
                }
            }
            for _ in 0..3 {
                if let Some(due_ms) = health.next_probe_ms(&rules) {
                    now_ms = now_ms.max(due_ms);
                    health.probed(&rules, now_ms, true);
                }
            }
            if health.standing() == Standing::Trial {
                prop_assert!(health.begin_trial(now_ms + TRIAL_MS));
                health.answered(now_ms + TRIAL_MS, true);
            }
            prop_assert_eq!(health.standing(), Standing::Up);
        }
    }
}
