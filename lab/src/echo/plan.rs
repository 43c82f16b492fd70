//! What echo clients are to do, and what they found.

use crate::echo::failure::Failure;
use crate::echo::script::Script;
use crate::measure::Latency;
use crate::refusal::Refusal;
use ringway_ring::DriverChoice;
use std::net::SocketAddr;
use std::time::Duration;

/// Most connections of a run: a local address has no more ports for one peer.
pub const CONNECTIONS_MAX: u32 = 60_000;

/// Most messages a connection has under way.
pub const WINDOW_MAX: u32 = 1_024;

/// Failures that are described; the others are counted.
pub const FAILURES_KEPT: usize = 16;

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How many connections, 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Connections opened a second; 0: as fast as they are accepted.
    pub ramp_per_s: u32,
    /// Sizes, pattern and framing of what is said; its key is not used.
    pub shape: Script,
    /// Messages a connection has under way, 1 to [`WINDOW_MAX`].
    pub window: u32,
    /// When the run ends.
    pub length: Length,
    /// Pause of a connection after the answers to a window of messages, shortest and longest, in milliseconds.
    pub pause_ms: (u32, u32),
    /// After how many of 1000 messages a connection ends, in one of three ways, and comes again.
    pub disconnect_per_mille: u16,
    /// Everything that looks random follows from it.
    pub seed: u64,
    /// The clients' driver.
    pub driver: DriverChoice,
    /// Whether the clients spin instead of sleeping.
    pub is_polled: bool,
    /// How long a connect or an answer may take.
    pub patience: Duration,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// When each connection has had so many answers.
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
    /// It goes on: connections that were opened, answers so far.
    Underway(u32, u64),
    /// It is over; what is under way is still waited for.
    End,
}

/// What the clients found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Answers in the measured part.
    pub messages: u64,
    /// Payload and prefix bytes of them and of what followed, as received in the measured part.
    pub bytes: u64,
    /// Time from a message's sending to its whole answer.
    pub latency: Latency,
    /// How long the measured part took.
    pub elapsed: Duration,
    /// CPU time that the clients used in it.
    pub client_cpu: Duration,
    /// Connections opened, the first ones included.
    pub opened: u64,
    /// Connections ended on purpose: after the last answer; by a FIN behind the last message; by a reset within a message.
    pub ended: [u64; 3],
    /// The first failures.
    pub failures: Vec<Failure>,
    /// All failures.
    pub failed: u64,
    /// The driver that carried the clients.
    pub driver: &'static str,
}

impl Plan {
    /// Raises this process's limit of descriptors as far as needed.
    ///
    /// # Errors
    /// Refuses when the hard limit is in the way.
    pub fn reserve_descriptors(&self) -> Result<(), Refusal> {
        use rustix::process::{Resource, getrlimit, setrlimit};
        // Standard streams, rings, files that are read for figures.
        const OTHERS: u64 = 64;
        let needed = u64::from(self.connections) + OTHERS;
        // Where connections come again, the old descriptor may live a moment longer than the connection.
        let wanted = needed + u64::from(self.connections);
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current.is_none_or(|current| current >= wanted) {
            return Ok(());
        }
        let allowed = limit.maximum.unwrap_or(u64::MAX);
        if allowed < needed {
            return Err(Refusal::new(format!(
                "{} connections need {needed} descriptors, and this process may have {allowed}; raise the hard limit \
                 (ulimit -Hn) or take fewer connections",
                self.connections
            )));
        }
        limit.current = Some(allowed.min(wanted));
        setrlimit(Resource::Nofile, limit).map_err(Refusal::because("cannot raise the limit of descriptors"))
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
            driver,
        }
    }
}
