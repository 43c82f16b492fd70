//! Figures of endpoints with handlers of their own: what came and went, and how long handlers took.

use super::{Percentiles, as_float};
use serde::{Deserialize, Serialize};

/// One endpoint with a handler, all its addresses together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerFigures {
    /// The endpoint's name.
    pub name: String,
    /// Its handler, as it is configured: `builtin:echo`, or `lib:` and the path of its library.
    pub handler: String,
    /// What more there is to say of the handler: a library's name and version, the process it runs in.
    pub about: String,
    /// What it is spoken to over: `tcp` or `udp`.
    pub protocol: String,
    /// What is told of its traffic: `off`, `sizes` or `bytes`.
    pub trace: String,
    /// Connections open, or peers known, now.
    pub open: u64,
    /// Connections, or peers, so far.
    pub opened: u64,
    /// Connections, or datagrams, that were refused at a limit.
    pub refused: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections that ended because something went wrong; answers that found no room.
    pub errors: u64,
    /// Those that broke the framing, or were too long.
    pub faults: u64,
    /// Limits of time that were reached.
    pub timeouts: u64,
    /// Calls of the handler that panicked.
    pub panics: u64,
    /// How often the handler was replaced by another one.
    pub replaced: u64,
    /// Calls of the handler that were timed: a sample.
    pub timed: u64,
    /// What those took together, in nanoseconds.
    pub timed_ns: u64,
    /// How many of them were below so many nanoseconds and not below the place before; 0: beyond all of these.
    pub times: Vec<(u64, u64)>,
}

/// What happened at one endpoint with a handler; rates are per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HandlerRates {
    /// Its name.
    pub name: String,
    /// Connections, or peers, that came.
    pub opened: f64,
    /// Messages received.
    pub messages_in: f64,
    /// Messages sent.
    pub messages_out: f64,
    /// Bytes received.
    pub bytes_in: f64,
    /// Bytes sent.
    pub bytes_out: f64,
    /// Connections that ended because something went wrong.
    pub errors: f64,
    /// How long the handler took for a message.
    pub time: Percentiles,
}

impl HandlerFigures {
    /// How long the handler took for a message so far.
    #[must_use]
    pub fn time(&self) -> Percentiles {
        percentiles(&self.times)
    }

    /// How many of the timed calls there were in the place that ends at so many nanoseconds.
    fn at(&self, end_ns: u64) -> u64 {
        self.times.iter().find(|(end, _)| *end == end_ns).map_or(0, |(_, count)| *count)
    }
}

/// From one moment to a later one.
pub(super) fn rates(
    before: &[HandlerFigures],
    now: &[HandlerFigures],
    per_s: impl Fn(u64, u64) -> f64,
) -> Vec<HandlerRates> {
    let nothing = HandlerFigures::default();
    let rates = now.iter().map(|handler| {
        let old = before.iter().find(|old| old.name == handler.name).unwrap_or(&nothing);
        let grown = handler.times.iter().map(|(end, count)| (*end, count.saturating_sub(old.at(*end))));
        HandlerRates {
            name: handler.name.clone(),
            opened: per_s(old.opened, handler.opened),
            messages_in: per_s(old.messages_in, handler.messages_in),
            messages_out: per_s(old.messages_out, handler.messages_out),
            bytes_in: per_s(old.bytes_in, handler.bytes_in),
            bytes_out: per_s(old.bytes_out, handler.bytes_out),
            errors: per_s(old.errors, handler.errors),
            time: percentiles(&grown.collect::<Vec<_>>()),
        }
    });
    rates.collect()
}

/// The ends of the places that shares of the calls stayed below.
fn percentiles(times: &[(u64, u64)]) -> Percentiles {
    let all: u64 = times.iter().map(|(_, count)| count).sum();
    let at = |share: f64| {
        let mut seen = 0;
        let found = times.iter().find(|(_, count)| {
            seen += count;
            *count > 0 && as_float(seen) >= share * as_float(all)
        });
        // What is beyond all places is at least as long as the last one's end.
        let last = || times.iter().map(|(end, _)| *end).max().unwrap_or(0);
        found.map(|(end, _)| if *end == 0 { last() } else { *end }.div_ceil(1000))
    };
    Percentiles { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_the_ends_of_their_places() {
        assert_eq!(percentiles(&[]), Percentiles::default());
        let times = percentiles(&[(1_000, 90), (2_000, 8), (4_000, 0), (0, 2)]);
        assert_eq!(times, Percentiles { p50_us: Some(1), p90_us: Some(1), p99_us: Some(4) });
    }

    #[test]
    fn rates_are_those_of_the_same_endpoint() {
        let figures = |name: &str, messages_in, times: &[(u64, u64)]| HandlerFigures {
            name: name.to_owned(),
            messages_in,
            times: times.to_vec(),
            ..HandlerFigures::default()
        };
        let before = [figures("a", 10, &[(1_000, 5)]), figures("b", 1, &[])];
        let now = [figures("b", 3, &[(2_000, 2)]), figures("a", 30, &[(1_000, 5), (8_000, 1)])];
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let rates = rates(&before, &now, |old, new| (new - old) as f64 / 2.0);
        let told: Vec<_> =
            rates.iter().map(|rate| (rate.name.as_str(), rate.messages_in, rate.time.p50_us)).collect();
        assert_eq!(told, [("b", 1.0, Some(2)), ("a", 10.0, Some(8))]);
    }
}
