//! Figures of upstreams: their backends, how they are, what has become of requests there.

use super::{Percentiles, as_float};
use crate::web::site_counters::{LATENCY_BUCKETS, STATUS_CLASSES};
use crate::web::upstream::{Backend, BackendOptions, Group, Standing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamFigures {
    /// Its name.
    pub name: String,
    /// What is spoken there: `http`, `h2` or `fastcgi`.
    pub protocol: String,
    /// Who gets the next request, such as `round-robin`.
    pub balance: String,
    /// Requests that wait for a backend with room now.
    pub waiting: u64,
    /// Its backends, in their order.
    pub backends: Vec<BackendFigures>,
}

/// One backend of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFigures {
    /// Where it is.
    pub address: String,
    /// `up`, `on trial` (one request at a time), `down`, `draining` (taken out by an operator) or `drained` (and done).
    pub state: String,
    /// Its weight.
    pub weight: u16,
    /// Whether it only gets something while none of the others can.
    pub is_backup: bool,
    /// Requests under way now.
    pub in_flight: u64,
    /// Connections open now, kept ones included.
    pub connections: u64,
    /// Answers by class of status, 1xx to 5xx; the first place is for what is none of them.
    pub by_class: [u64; STATUS_CLASSES],
    /// All times until an answer began added up, in microseconds.
    pub latency_sum_us: u64,
    /// The histogram's buckets that are not empty: place and count.
    pub latencies: Vec<(usize, u64)>,
    /// Tries that failed, for any reason.
    pub failures: u64,
    /// Of them, connections that could not be made.
    pub connect_failures: u64,
    /// Of them, answers that did not come in time.
    pub timeouts: u64,
    /// Kept connections that had been closed when they were used again.
    pub stale: u64,
    /// Connections made.
    pub connects: u64,
    /// How often it went down.
    pub downs: u64,
    /// Why a try failed last.
    pub latest: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub latest_unix_ms: Option<u64>,
}

impl From<&Group> for UpstreamFigures {
    fn from(group: &Group) -> Self {
        let options = group.options();
        let backends = group.backends().iter().zip(&options.backends);
        Self {
            name: group.name().to_owned(),
            protocol: options.speaks.as_str().to_owned(),
            balance: options.balance.as_str().to_owned(),
            waiting: group.waiting() as u64,
            backends: backends.map(|(backend, options)| BackendFigures::new(backend, options)).collect(),
        }
    }
}

impl BackendFigures {
    fn new(backend: &Backend, options: &BackendOptions) -> Self {
        let figures = backend.figures();
        let counted = figures.answers.latencies.iter().copied().enumerate();
        Self {
            state: state(figures.standing, figures.is_drained, figures.in_flight).to_owned(),
            address: figures.address,
            weight: options.weight,
            is_backup: options.is_backup,
            in_flight: figures.in_flight.into(),
            connections: figures.connections.into(),
            by_class: figures.answers.by_class,
            latency_sum_us: figures.answers.latency_sum_us,
            latencies: counted.filter(|(_, count)| *count > 0).collect(),
            failures: figures.failures,
            connect_failures: figures.connect_failures,
            timeouts: figures.timeouts,
            stale: figures.stale,
            connects: figures.connects,
            downs: figures.downs,
            latest_unix_ms: figures.latest.as_ref().map(|latest| latest.unix_ms),
            latest: figures.latest.map(|latest| latest.reason),
        }
    }

    /// All answers.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// Whether it gets requests.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == "up" || self.state == "on trial"
    }

    /// All buckets of the histogram.
    #[must_use]
    pub fn histogram(&self) -> [u64; LATENCY_BUCKETS] {
        super::histogram(&self.latencies)
    }
}

fn state(standing: Standing, is_drained: bool, in_flight: u32) -> &'static str {
    match (is_drained, in_flight) {
        (true, 0) => "drained",
        (true, _) => "draining",
        (false, _) => standing.as_str(),
    }
}

/// What happened at one backend; rates are per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BackendRates {
    /// The upstream.
    pub upstream: String,
    /// Where the backend is.
    pub address: String,
    /// As in [`BackendFigures::state`].
    pub state: String,
    /// Whether it is a backup.
    pub is_backup: bool,
    /// Answers a second.
    pub requests: f64,
    /// Answers 5xx a second.
    pub errors: f64,
    /// Failed tries a second.
    pub failures: f64,
    /// Failed tries so far.
    pub failures_so_far: u64,
    /// Requests under way now.
    pub in_flight: u64,
    /// Connections open now.
    pub connections: u64,
    /// Times until answers began.
    pub latency: Percentiles,
    /// Why a try failed last.
    pub latest: Option<String>,
}

/// What happened at all backends between two moments.
pub(super) fn rates(
    before: &[UpstreamFigures],
    now: &[UpstreamFigures],
    period_ms: u64,
) -> Vec<BackendRates> {
    let all = |upstreams: &'_ [UpstreamFigures]| -> Vec<(String, BackendFigures)> {
        let backends = |upstream: &UpstreamFigures| {
            let name = upstream.name.clone();
            upstream.backends.iter().map(move |backend| (name.clone(), backend.clone())).collect::<Vec<_>>()
        };
        upstreams.iter().flat_map(backends).collect()
    };
    let earlier: BTreeMap<(String, String), BackendFigures> =
        all(before).into_iter().map(|(name, backend)| ((name, backend.address.clone()), backend)).collect();
    let per_s = |old: u64, new: u64| as_float(new.saturating_sub(old)) * 1000.0 / as_float(period_ms);
    let nothing = BackendFigures::default();
    let rate = |(upstream, backend): (String, BackendFigures)| {
        let old = earlier.get(&(upstream.clone(), backend.address.clone())).unwrap_or(&nothing);
        let grown = super::grown(&old.histogram(), &backend.histogram());
        BackendRates {
            upstream,
            requests: per_s(old.requests(), backend.requests()),
            errors: per_s(old.by_class[5], backend.by_class[5]),
            failures: per_s(old.failures, backend.failures),
            failures_so_far: backend.failures,
            in_flight: backend.in_flight,
            connections: backend.connections,
            latency: Percentiles::of(&grown),
            address: backend.address,
            state: backend.state,
            is_backup: backend.is_backup,
            latest: backend.latest,
        }
    };
    all(now).into_iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(answers: u64, failures: u64) -> UpstreamFigures {
        let backend = BackendFigures {
            address: "127.0.0.1:1".to_owned(),
            state: "up".to_owned(),
            by_class: [0, 0, answers, 0, 0, failures],
            failures,
            latencies: vec![(4, answers)],
            ..BackendFigures::default()
        };
        UpstreamFigures { name: "app".to_owned(), backends: vec![backend], ..UpstreamFigures::default() }
    }

    #[test]
    fn rates_are_differences_and_what_is_new_counts_from_zero() {
        let rates_of = |before: &[UpstreamFigures]| rates(before, &[upstream(30, 4)], 2000);
        let known = rates_of(&[upstream(10, 2)]);
        assert_eq!((known[0].requests, known[0].failures, known[0].errors), (11.0, 1.0, 1.0));
        assert_eq!(rates_of(&[])[0].requests, 17.0);
        assert!(known[0].latency.p50_us.is_some());
    }

    #[test]
    fn an_operators_word_is_told_before_the_backends_standing() {
        assert_eq!(state(Standing::Down, true, 3), "draining");
        assert_eq!(state(Standing::Up, true, 0), "drained");
        assert_eq!(
            [state(Standing::Trial, false, 1), state(Standing::Unwell, false, 0)],
            ["on trial", "down"]
        );
    }
}
