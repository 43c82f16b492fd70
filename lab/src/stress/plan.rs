//! What stressing clients are to do, and what they found.

use std::time::Duration;

use ringway_ring::DriverChoice;
use ringway_ring::socket::Address;

use super::cursor::Shape;
use super::failure::Failure;
use super::frame::Frame;
use super::seal::Sealing;
use super::series::Row;
use super::upgrade::Ask;
use crate::measure::Latency;
use crate::measure::process::{Cpu, Reading};
use crate::refusal::Refusal;

/// Most connections of a run: a local address has no more ports for one peer.
pub const CONNECTIONS_MAX: u32 = 60_000;

/// Most messages a connection has under way.
pub const WINDOW_MAX: u32 = 1_024;

/// Descriptors for connections that have ended and not gone yet.
const AGAIN_MAX: usize = 1_024;

/// Failures that are described; the others are counted.
pub const FAILURES_KEPT: usize = 16;

/// A share of everything, as [`Disconnects::share`] counts it.
pub const WHOLE: u32 = 1_000_000;

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: Address,
    /// How many connections, 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Connections opened a second; 0: as fast as they are accepted.
    pub ramp_per_s: u32,
    /// Sizes, bytes and framing of what is said.
    pub shape: Shape,
    /// How connections are sealed, where they are.
    pub sealing: Option<Sealing>,
    /// What is asked for where messages go by WebSocket.
    pub ask: Ask,
    /// Messages a connection has under way, 1 to [`WINDOW_MAX`].
    pub window: u32,
    /// Messages begun a second by all together; 0: as fast as they are answered.
    pub rate_per_s: u64,
    /// When the run ends.
    pub length: Length,
    /// Pause of a connection after the answers to a window of messages, shortest and longest, in milliseconds.
    pub pause_ms: (u32, u32),
    /// When and how connections end before their time.
    pub disconnects: Disconnects,
    /// The clients' driver.
    pub driver: DriverChoice,
    /// How long a connect or an answer may take.
    pub patience: Duration,
    /// How often is noted what happens.
    pub interval: Duration,
}

/// When and how connections end before their time, to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnects {
    /// After so many of [`WHOLE`] answers.
    pub share: u32,
    /// The ways that are taken, each as often as it stands here.
    pub ways: [Way; 3],
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// Orderly, after the last answer.
    Close,
    /// The sending half closes behind a last message; its answer and the server's end are waited for.
    Half,
    /// Within a message.
    Reset,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// When all connections together have had so many answers, each its share.
    Messages(u64),
    /// So long after all connections were open and the warm-up was over.
    Time {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
}

/// Points of a run at which its caller may want to look at something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The measured part begins.
    Begin,
    /// It goes on.
    Underway {
        /// Connections that are open.
        open: u32,
        /// Answers so far.
        answers: u64,
        /// Failures so far.
        failed: u64,
    },
    /// It is over; what is under way is still waited for.
    End,
}

/// What the clients found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Answers in the measured part.
    pub messages: u64,
    /// Bytes of them as they came, what frames them included.
    pub bytes: u64,
    /// Time from a message's sending to its whole answer.
    pub latency: Latency,
    /// How long the measured part took.
    pub elapsed: Duration,
    /// CPU time that the clients used in it.
    pub client_cpu: Duration,
    /// Connections opened, the first ones included.
    pub opened: u64,
    /// Connections ended on purpose, by [`Way`].
    pub ended: [u64; 3],
    /// The first failures.
    pub failures: Vec<Failure>,
    /// All failures.
    pub failed: u64,
    /// What the network or the server kept of datagrams.
    pub datagrams: Datagrams,
    /// What happened when.
    pub rows: Vec<Row>,
    /// What the server used in the measured part.
    pub server: Option<Used>,
    /// The driver that carried the clients.
    pub driver: &'static str,
}

/// What became of datagrams that did not simply come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Datagrams that were said.
    pub sent: u64,
    /// Nothing came back in time.
    pub lost: u64,
    /// What was counted lost came after all.
    pub late: u64,
    /// Came once more.
    pub twice: u64,
    /// Came after one that was said later.
    pub overtaken: u64,
}

/// What a server used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// CPU time.
    pub cpu: Cpu,
    /// When clients began.
    pub before: Reading,
    /// When they ended.
    pub after: Reading,
}

impl Plan {
    /// Answers that a connection has to have; nothing where time decides.
    #[must_use]
    pub fn share(&self, connection: u32) -> Option<u64> {
        let Length::Messages(total) = self.length else { return None };
        let (count, connection) = (u64::from(self.connections.max(1)), u64::from(connection));
        Some(total / count + u64::from(connection < total % count))
    }

    /// Whether messages go by WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        matches!(self.shape.frame, Frame::WebSocket { .. })
    }

    /// Bytes that are sent for the largest message.
    #[must_use]
    pub fn size_max(&self) -> u32 {
        let (_, high) = self.shape.messages.sizes.ends();
        self.shape.frame.sent(high, 0).whole(high)
    }

    /// Raises this process's limit of descriptors as far as needed.
    ///
    /// # Errors
    /// Refuses when the hard limit is in the way.
    pub fn reserve_descriptors(&self) -> Result<(), Refusal> {
        // Where connections come again, the old descriptor may live a moment longer than the connection.
        let more = if self.disconnects.share > 0 { AGAIN_MAX } else { 0 };
        crate::http::load::raise_descriptors(self.connections as usize + more)
    }
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(driver: &'static str) -> Report {
        Report {
            messages: 0,
            bytes: 0,
            latency: Latency::new(),
            elapsed: Duration::ZERO,
            client_cpu: Duration::ZERO,
            opened: 0,
            ended: [0; 3],
            failures: Vec::new(),
            failed: 0,
            datagrams: Datagrams::default(),
            rows: Vec::new(),
            server: None,
            driver,
        }
    }

    /// Counts a failure, and keeps it if it is among the first.
    pub fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(failure);
        }
    }
}
