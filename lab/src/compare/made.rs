//! What a load made, where it was not the lab's own HTTP client that made it.

use std::time::Duration;

/// What a generator made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Right answers.
    pub(super) answers: u64,
    /// What was to be answered.
    asked: u64,
    /// The generator's own CPU time.
    pub(super) cpu: Duration,
}

impl Made {
    pub(super) fn new(answers: u64, asked: u64, cpu: Duration) -> Self {
        Self { answers, asked, cpu }
    }

    /// Where a wrong answer would have ended everything.
    pub(super) fn all_right(answers: u64, cpu: Duration) -> Self {
        Self::new(answers, answers, cpu)
    }

    /// What was wrong with it.
    pub(super) fn wrong(&self) -> Option<String> {
        let missing = self.asked.saturating_sub(self.answers);
        (missing > 0).then(|| format!("{missing} of {} requests had no right answer", self.asked))
    }
}

#[test]
fn what_is_missing_is_told() {
    let made = Made::new(4980, 5000, Duration::ZERO);
    assert_eq!(made.wrong().as_deref(), Some("20 of 5000 requests had no right answer"));
    assert_eq!(Made::all_right(5000, Duration::ZERO).wrong(), None);
}
