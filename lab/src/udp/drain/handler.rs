//! What a port does with a datagram: computes for a time, or blocks for one.

use std::fmt;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crate::udp::work::Work;

/// The longest time that a handler may take for one datagram.
const TIME_MAX: Duration = Duration::from_millis(100);

/// What is done with every datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// Computes: takes so much CPU time when nothing disturbs it.
    Compute(Duration),
    /// Sleeps.
    Block(Duration),
}

impl Handler {
    /// A handler that computes, as the bar for it has it.
    pub(super) const COMPUTES: Handler = Handler::Compute(Duration::from_micros(10));
    /// A handler that blocks, as the bar for it has it.
    pub(super) const BLOCKS: Handler = Handler::Block(Duration::from_micros(100));

    /// Whether a core of its own makes it faster.
    pub(super) fn computes(self) -> bool {
        matches!(self, Handler::Compute(_))
    }

    /// The work that one datagram takes.
    pub(super) fn work(self) -> Work {
        match self {
            Handler::Compute(time) => Work::new(Work::iterations_for(time)),
            Handler::Block(_) => Work::new(0),
        }
    }

    /// Does it once.
    pub(super) fn handle(self, work: &mut Work) {
        match self {
            Handler::Compute(_) => work.step(),
            Handler::Block(time) => thread::sleep(time),
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handler::Compute(time) => write!(f, "compute:{time:?}"),
            Handler::Block(time) => write!(f, "block:{time:?}"),
        }
    }
}

impl FromStr for Handler {
    type Err = String;

    fn from_str(text: &str) -> Result<Handler, String> {
        let refused = || format!("{text:?} is no handler; say compute:10us or block:100us");
        let (kind, time) = text.split_once(':').ok_or_else(refused)?;
        let time = time_of(time).filter(|time| !time.is_zero() && *time <= TIME_MAX).ok_or_else(refused)?;
        match kind {
            "compute" => Ok(Handler::Compute(time)),
            "block" => Ok(Handler::Block(time)),
            _ => Err(refused()),
        }
    }
}

/// A time in µs (or us) or ms.
fn time_of(text: &str) -> Option<Duration> {
    let units = [("us", 1), ("µs", 1), ("ms", 1000)];
    let (number, microseconds) =
        units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(Duration::from_micros(number.parse::<u64>().ok()?.checked_mul(microseconds)?))
}

#[test]
fn handlers_are_read_as_they_are_shown() {
    for (text, handler) in [
        ("compute:10us", Handler::COMPUTES),
        ("block:100µs", Handler::BLOCKS),
        ("block:2ms", Handler::Block(Duration::from_millis(2))),
    ] {
        assert_eq!(text.parse(), Ok(handler));
        assert_eq!(handler.to_string().parse(), Ok(handler));
    }
    for text in
        ["compute", "compute:0us", "compute:10", "sleep:10us", "block:2000ms", "block:99999999999999999999ms"]
    {
        assert!(text.parse::<Handler>().is_err(), "{text}");
    }
}
