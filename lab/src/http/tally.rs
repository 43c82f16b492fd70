//! What a load counted: right answers with their latencies, and every fault under its kind.

use crate::measure::Latency;
use std::fmt;

/// Sentences kept about what was wrong.
pub const EXAMPLES_MAX: usize = 8;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $words:literal;)*) => {
        /// What can go wrong with a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($(#[$doc])* $name,)* }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name in tables.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

faults! {
    /// No connection could be made.
    Connect "connect";
    /// The connection was reset before the answer was whole.
    Reset "reset";
    /// The connection ended before the answer was whole.
    Cut "cut short";
    /// The answer took too long.
    Timeout "timeout";
    /// The answer had another status than expected.
    Status "wrong status";
    /// The body had another length than expected.
    Length "wrong length";
    /// What came is no HTTP answer, or one that nobody asked for.
    Malformed "malformed";
}

/// How many requests failed, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([u64; FaultKind::ALL.len()]);

impl Faults {
    /// How many of a kind.
    #[must_use]
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind as usize]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, kind: FaultKind, count: u64) {
        self.0[kind as usize] += count;
    }
}

/// The counts of one load, or of one of its workers.
#[derive(Clone, Default)]
pub struct Tally {
    /// Latencies of the right answers, in nanoseconds: from the moment when the request was due (open loop), or when it was
    /// sent, or when the connection for it was begun.
    pub latency: Latency,
    /// Right answers.
    pub answers: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Failed requests.
    pub faults: Faults,
    /// The first things that were wrong, each in a sentence.
    pub examples: Vec<String>,
    /// Connections made.
    pub connections: u64,
    /// Requests sent again because the server closed the connection in an orderly way before them.
    pub resent: u64,
    /// Requests that were due and could not be sent before the end (open loop).
    pub unsent: u64,
    /// Requests without an answer when the measurement ended; not failed yet.
    pub unanswered: u64,
    /// A latency that was seen so often in a row, which is not recorded yet: a pipeline's answers mostly come together.
    run: (u64, u64),
}

impl Tally {
    /// A right answer.
    pub(super) fn right(&mut self, latency_ns: u64, body_bytes: u64) {
        if self.run.0 != latency_ns {
            self.settle();
            self.run.0 = latency_ns;
        }
        self.run.1 += 1;
        self.answers += 1;
        self.body_bytes += body_bytes;
    }

    /// Records what is not recorded yet; before anybody looks at the latencies.
    pub(super) fn settle(&mut self) {
        if self.run.1 > 0 {
            self.latency.record_many(self.run.0, self.run.1);
            self.run.1 = 0;
        }
    }

    /// `count` requests that failed for one reason.
    pub(super) fn wrong(&mut self, kind: FaultKind, count: u64, sentence: impl FnOnce() -> String) {
        self.faults.add(kind, count);
        if count > 0 && self.examples.len() < EXAMPLES_MAX {
            let sentence = sentence();
            if !self.examples.contains(&sentence) {
                self.examples.push(sentence);
            }
        }
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Tally) {
        self.latency.merge(&other.latency);
        for kind in FaultKind::ALL {
            self.faults.add(*kind, other.faults.of(*kind));
        }
        self.answers += other.answers;
        self.body_bytes += other.body_bytes;
        self.connections += other.connections;
        self.resent += other.resent;
        self.unsent += other.unsent;
        self.unanswered += other.unanswered;
        for sentence in &other.examples {
            if self.examples.len() < EXAMPLES_MAX && !self.examples.contains(sentence) {
                self.examples.push(sentence.clone());
            }
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally")
            .field("answers", &self.answers)
            .field("body_bytes", &self.body_bytes)
            .field("faults", &self.faults)
            .field("examples", &self.examples)
            .field("connections", &self.connections)
            .field("resent", &self.resent)
            .field("unsent", &self.unsent)
            .field("unanswered", &self.unanswered)
            .finish_non_exhaustive()
    }
}

#[test]
fn faults_are_counted_by_kind_and_told_once() {
    let mut one = Tally::default();
    for _ in 0..3 {
        one.wrong(FaultKind::Status, 2, || "a".to_owned());
    }
    let mut other = Tally::default();
    other.right(1000, 5);
    other.right(1000, 5);
    other.right(2000, 5);
    other.settle();
    other.wrong(FaultKind::Cut, 1, || "b".to_owned());
    other.wrong(FaultKind::Cut, 0, || "nothing".to_owned());
    (0..20).for_each(|index| other.wrong(FaultKind::Connect, 1, || format!("c{index}")));
    one.merge(&other);
    assert_eq!(
        (one.faults.of(FaultKind::Status), one.faults.of(FaultKind::Cut), one.faults.total()),
        (6, 1, 27)
    );
    assert_eq!((one.answers, one.body_bytes, one.latency.count(), one.latency.max() / 10), (3, 15, 3, 200));
    assert_eq!(one.examples.len(), EXAMPLES_MAX);
    assert_eq!(one.examples[..2], ["a", "b"]);
}
