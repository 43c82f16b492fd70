//! The times at which requests are due in an open loop: fixed beforehand, whatever the server does.
//!
//! A request that could not be sent at its time keeps it: its latency counts from then on. That is the correction for
//! coordinated omission, without a guess about what was left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds of a second in thousandths of a request a second.
const PERIOD_NS_MILLI: u128 = 1_000_000_000_000;

/// The requests of one worker: those of a common schedule whose number is `worker` modulo the number of workers.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The next request of each stream, the earliest first.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    streams: Vec<Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    /// Requests a second, in thousandths.
    rate_milli: u64,
    /// The number of the next request.
    number: u64,
    /// Workers that share the stream.
    step: u64,
}

impl Stream {
    /// When a request is due, in nanoseconds after the beginning.
    fn due_ns(&self, number: u64) -> u64 {
        let due = u128::from(number) * PERIOD_NS_MILLI / u128::from(self.rate_milli);
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

/// A request whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Which stream it belongs to.
    pub(super) stream: usize,
    /// When it was due, in nanoseconds after the beginning.
    pub(super) at_ns: u64,
}

impl Schedule {
    /// Streams with these rates (in requests a second, at least 0.001), for one of several workers.
    pub(super) fn new(rates: &[f64], worker: usize, workers: usize) -> Self {
        let stream =
            |rate: &f64| Stream { rate_milli: milli(*rate), number: worker as u64, step: workers as u64 };
        let streams: Vec<Stream> = rates.iter().map(stream).collect();
        let first = |(index, stream): (usize, &Stream)| Reverse((stream.due_ns(stream.number), index));
        Self { next: streams.iter().enumerate().map(first).collect(), streams }
    }

    /// When the next request is due, in nanoseconds after the beginning.
    pub(super) fn next_ns(&self) -> u64 {
        self.next.peek().map_or(u64::MAX, |Reverse((at_ns, _))| *at_ns)
    }

    /// The next request, if its time has come: those that are late come first, each with its own time.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<Due> {
        let mut first = self.next.peek_mut()?;
        let Reverse((at_ns, stream)) = *first;
        if at_ns > now_ns {
            return None;
        }
        let own = self.streams.get_mut(stream)?;
        own.number += own.step;
        *first = Reverse((own.due_ns(own.number), stream));
        Some(Due { stream, at_ns })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are checked: 0.001 to RATE_MAX"
)]
fn milli(rate: f64) -> u64 {
    ((rate * 1000.0).round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(schedule: &mut Schedule, until_ns: u64) -> Vec<Due> {
        std::iter::from_fn(|| schedule.take(until_ns)).collect()
    }

    #[test]
    fn requests_are_due_at_even_times_for_ever() {
        let mut schedule = Schedule::new(&[3.0], 0, 1);
        let times: Vec<u64> = taken(&mut schedule, 1_000_000_000).iter().map(|due| due.at_ns).collect();
        assert_eq!(times, [0, 333_333_333, 666_666_666, 1_000_000_000]);
        let late = Stream { rate_milli: 3000, number: 0, step: 1 };
        assert_eq!(
            late.due_ns(3 * 86_400 * 365),
            86_400 * 365 * 1_000_000_000,
            "a year later there is no drift"
        );
    }

    #[test]
    fn streams_keep_their_rates() {
        let mut schedule = Schedule::new(&[10.0, 40.0, 0.5], 0, 1);
        let all = taken(&mut schedule, 1_999_999_999);
        let of = |stream| all.iter().filter(|due| due.stream == stream).count();
        assert_eq!((of(0), of(1), of(2)), (20, 80, 1));
        assert!(all.is_sorted_by_key(|due| due.at_ns));
    }

    /// What a server with these service times does to requests of one connection, by plain simulation: each latency counts
    /// from the time the request was due.
    fn simulated(due: &[u64], service_ns: &[u64]) -> Vec<u64> {
        let mut free_at = 0;
        let latency = |(at, service): (&u64, &u64)| {
            free_at = free_at.max(*at) + service;
            free_at - at
        };
        due.iter().zip(service_ns).map(latency).collect()
    }

    proptest! {
        #[test]
        fn workers_together_send_what_one_would(rate in 0.1_f64..5000.0, workers in 1_usize..6, until_ms in 1_u64..3000) {
            let until_ns = until_ms * 1_000_000;
            let mut whole = taken(&mut Schedule::new(&[rate], 0, 1), until_ns);
            let parts = (0..workers).flat_map(|worker| taken(&mut Schedule::new(&[rate], worker, workers), until_ns));
            let mut parts: Vec<Due> = parts.collect();
            whole.sort_by_key(|due| due.at_ns);
            parts.sort_by_key(|due| due.at_ns);
            let expected = rate * until_ms as f64 / 1000.0;
            prop_assert!((whole.len() as f64 - expected).abs() <= 1.0 + expected / 100.0);
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn late_requests_keep_their_times(
            rate in 50.0_f64..2000.0,
            service_us in proptest::collection::vec(prop_oneof![9 => 1_u64..800, 1 => 5_000_u64..50_000], 1..200),
        ) {
            // A client with one connection that takes the next due request as soon as it is free, or waits for it.
            let service_ns: Vec<u64> = service_us.iter().map(|us| us * 1000).collect();
            let mut schedule = Schedule::new(&[rate], 0, 1);
            let (mut now, mut latencies, mut due) = (0, Vec::new(), Vec::new());
            for service in &service_ns {
                now = now.max(schedule.next_ns());
                let request = schedule.take(now).expect("its time has come");
                now += service;
                latencies.push(now - request.at_ns);
                due.push(request.at_ns);
            }
            let period = |number: usize| number as f64 * 1e9 / rate;
            let is_even = |(number, at): (usize, &u64)| (period(number) - *at as f64).abs() <= 1.0 + period(number) / 1e4;
            prop_assert!(due.iter().enumerate().all(is_even), "{:?}", due);
            prop_assert_eq!(latencies, simulated(&due, &service_ns));
        }
    }
}
