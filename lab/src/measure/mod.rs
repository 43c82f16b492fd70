//! What instruments share: cores, clocks, statistics, latencies, the machine's own jitter.

pub mod clock;
pub mod cores;
pub mod jitter;
pub mod latency;
pub mod process;
pub mod statistics;

pub use jitter::Jitter;
pub use latency::Latency;
pub use statistics::{Spread, geometric_mean, median};
