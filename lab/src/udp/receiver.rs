//! The seven receivers and what can be chosen of each.

use clap::ValueEnum;
use std::fmt;

/// A way to receive datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Receiver {
    /// One ring; the completion queue is polled and the thread never sleeps
    #[value(name = "ring-polled")]
    RingPolled,
    /// One ring; the thread sleeps until a batch of completions is there
    #[value(name = "ring-event")]
    RingEvent,
    /// A port: rings served by one thread
    #[value(name = "ring-port-1")]
    RingPort1,
    /// A port: rings served by several threads
    #[value(name = "ring-port-N", alias = "ring-port-n")]
    RingPortN,
    /// A loop around one blocking receive
    #[value(name = "plain-polled")]
    PlainPolled,
    /// Readiness, then a receive, on one thread
    #[value(name = "plain-port-1")]
    PlainPort1,
    /// Readiness, then a receive, on several threads
    #[value(name = "plain-port-N", alias = "plain-port-n")]
    PlainPortN,
}

impl Receiver {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Receiver; 7] = [
        Receiver::RingPolled,
        Receiver::RingEvent,
        Receiver::RingPort1,
        Receiver::RingPortN,
        Receiver::PlainPolled,
        Receiver::PlainPort1,
        Receiver::PlainPortN,
    ];

    /// Whether it is built on our rings.
    #[must_use]
    pub fn is_ring(self) -> bool {
        matches!(self, Receiver::RingPolled | Receiver::RingEvent | Receiver::RingPort1 | Receiver::RingPortN)
    }

    /// Whether it is a port of our engine's.
    #[must_use]
    pub fn is_ring_port(self) -> bool {
        matches!(self, Receiver::RingPort1 | Receiver::RingPortN)
    }

    /// Whether the number of its threads can be chosen.
    #[must_use]
    pub fn has_pool(self) -> bool {
        matches!(self, Receiver::RingPortN | Receiver::PlainPortN)
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Receiver::RingPolled => "ring-polled",
            Receiver::RingEvent => "ring-event",
            Receiver::RingPort1 => "ring-port-1",
            Receiver::RingPortN => "ring-port-N",
            Receiver::PlainPolled => "plain-polled",
            Receiver::PlainPort1 => "plain-port-1",
            Receiver::PlainPortN => "plain-port-N",
        })
    }
}

#[test]
fn receivers_are_called_what_the_command_line_calls_them() {
    for receiver in Receiver::ALL {
        assert_eq!(Receiver::from_str(&receiver.to_string(), false), Ok(receiver));
    }
    assert_eq!(Receiver::from_str("ring-port-n", false), Ok(Receiver::RingPortN));
    assert_eq!(Receiver::ALL.len(), Receiver::value_variants().len());
}
