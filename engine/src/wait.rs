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
    /// Sleeps until so many completions are there, or some are and the time is up, so that they are handled together: the
    /// least CPU time for each, at the price of waiting. For workers that do nothing but take datagrams, or are saturated;
    /// the sockets' receive buffers must hold what comes meanwhile. What really counts is the time: see
    /// [`ringway_ring::Wait::Batch`].
    Batch {
        /// How many are enough, at least 1.
        completions: u32,
        /// How long fewer wait for more.
        at_most: Duration,
    },
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
            Self::Batch { .. } if until_ms == Some(0) => Wait::Poll,
            Self::Batch { completions, at_most } => {
                Wait::Batch { completions, at_most, limit: until_ms.map(Duration::from_millis) }
            }
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
        match self {
            Self::Polled => f.write_str("polled"),
            Self::Event => f.write_str("event"),
            Self::Adaptive => f.write_str("adaptive"),
            Self::Batch { completions, at_most } => {
                write!(f, "batch:{completions}:{}us", at_most.as_micros())
            }
        }
    }
}

impl FromStr for WaitMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "polled" => Ok(Self::Polled),
            "event" => Ok(Self::Event),
            "adaptive" => Ok(Self::Adaptive),
            _ => parse_batch(text).ok_or_else(|| {
                format!(
                    "{text:?} is no wait mode; there are polled, event, adaptive and batch:COUNT:TIME, such as \
                     batch:32:500us or batch:64:2ms"
                )
            }),
        }
    }
}

/// Longest time of a batch.
const BATCH_TIME_MAX: Duration = Duration::from_secs(1);

fn parse_batch(text: &str) -> Option<WaitMode> {
    let (completions, time) = text.strip_prefix("batch:")?.split_once(':')?;
    let completions = completions.parse().ok().filter(|&count| count > 0)?;
    let at_most = match (time.strip_suffix("us"), time.strip_suffix("ms")) {
        (Some(us), _) => Duration::from_micros(us.parse().ok()?),
        (_, Some(ms)) => Duration::from_millis(ms.parse().ok()?),
        _ => return None,
    };
    (at_most <= BATCH_TIME_MAX).then_some(WaitMode::Batch { completions, at_most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_a_count_and_a_time_and_respects_deadlines() {
        let batch = WaitMode::Batch { completions: 32, at_most: Duration::from_micros(500) };
        assert_eq!("batch:32:500us".parse(), Ok(batch));
        assert_eq!("batch:8:2ms".parse::<WaitMode>().expect("one").to_string(), "batch:8:2000us");
        for wrong in
            ["batch", "batch:32", "batch:0:1us", "batch:x:1us", "batch:1:1", "batch:1:-1us", "batch:1:2000ms"]
        {
            assert!(wrong.parse::<WaitMode>().is_err(), "{wrong}");
        }
        assert_eq!(batch.choose(0, Some(0)), Wait::Poll);
        let (completions, at_most) = (32, Duration::from_micros(500));
        assert_eq!(batch.choose(9, None), Wait::Batch { completions, at_most, limit: None });
        let limit = Some(Duration::from_millis(7));
        assert_eq!(batch.choose(9, Some(7)), Wait::Batch { completions, at_most, limit });
    }

    #[test]
    fn adaptive_sleeps_only_after_empty_polls() {
        assert_eq!(WaitMode::Adaptive.choose(0, None), Wait::Poll);
        assert_eq!(WaitMode::Adaptive.choose(ADAPTIVE_POLLS_MAX, None), Wait::Forever);
        assert_eq!(WaitMode::Polled.choose(1000, Some(5)), Wait::Poll);
        assert_eq!(WaitMode::Event.choose(0, Some(5)), Wait::AtMost(Duration::from_millis(5)));
        assert_eq!(WaitMode::Event.choose(0, Some(0)), Wait::Poll);
    }
}
