//! Wait modes: how a worker waits for completions.

use ringway_ring::Wait;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a worker waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitMode {
    /// Never sleeps: lowest latency, one core busy for good.
    Polled,
    /// Sleeps in the kernel until something happens.
    #[default]
    Event,
    /// Sleeps, but goes on polling while completions keep coming.
    Adaptive,
}

/// Empty polls in a row after which the adaptive mode sleeps.
const ADAPTIVE_POLLS_MAX: u32 = 32;

impl WaitMode {
    /// How to wait this time: `idle_polls` polls in a row brought nothing, and the next deadline is `until_ms` away.
    pub(crate) fn choose(self, idle_polls: u32, until_ms: Option<u64>) -> Wait {
        match self {
            Self::Polled => Wait::Poll,
            Self::Adaptive if idle_polls < ADAPTIVE_POLLS_MAX => Wait::Poll,
            Self::Event | Self::Adaptive => match until_ms {
                Some(0) => Wait::Poll,
                Some(ms) => Wait::AtMost(Duration::from_millis(ms)),
                None => Wait::Forever,
            },
        }
    }
}

impl fmt::Display for WaitMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Polled => "polled",
            Self::Event => "event",
            Self::Adaptive => "adaptive",
        })
    }
}

impl FromStr for WaitMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "polled" => Ok(Self::Polled),
            "event" => Ok(Self::Event),
            "adaptive" => Ok(Self::Adaptive),
            _ => Err(format!("{text:?} is no wait mode; there are polled, event and adaptive")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_sleeps_only_after_empty_polls() {
        assert_eq!(WaitMode::Adaptive.choose(0, None), Wait::Poll);
        assert_eq!(WaitMode::Adaptive.choose(ADAPTIVE_POLLS_MAX, None), Wait::Forever);
        assert_eq!(WaitMode::Polled.choose(1000, Some(5)), Wait::Poll);
        assert_eq!(WaitMode::Event.choose(0, Some(5)), Wait::AtMost(Duration::from_millis(5)));
        assert_eq!(WaitMode::Event.choose(0, Some(0)), Wait::Poll);
    }
}
