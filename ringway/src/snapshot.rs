//! The figures of a server at one moment, and what two moments say of the time between them.

mod handler;
mod service;
mod upstream;

pub use handler::{HandlerFigures, HandlerRates};
pub use service::{ServiceFigures, ServiceRates};
pub use upstream::{BackendFigures, BackendRates, UpstreamFigures};

use crate::engine::Totals;
use crate::web::site_counters::{LATENCY_BUCKETS, STATUS_CLASSES, SiteTotals, quantile_us};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether the server takes new work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    #[default]
    Serving,
    /// It finishes what is under way.
    Draining,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// All figures at one moment. Counters count since the start; levels say so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Ringway's version.
    pub version: String,
    /// Which process of the supervisor's this is; 0 without one.
    pub generation: u64,
    /// When it started, in seconds since 1970.
    pub started_unix_s: u64,
    /// For how long it has run by the monotonic clock: the moment of this snapshot.
    pub uptime_ms: u64,
    /// Whether it takes new work.
    pub state: State,
    /// What carries operations out, and why.
    pub driver: String,
    /// The engine's counters by name.
    pub totals: BTreeMap<String, u64>,
    /// By worker.
    pub workers: Vec<WorkerFigures>,
    /// By endpoint.
    pub endpoints: Vec<EndpointFigures>,
    /// By site.
    pub sites: Vec<SiteFigures>,
    /// By upstream.
    #[serde(default)]
    pub upstreams: Vec<UpstreamFigures>,
    /// By service.
    #[serde(default)]
    pub services: Vec<ServiceFigures>,
    /// By endpoint that has a handler of its own.
    #[serde(default)]
    pub handlers: Vec<HandlerFigures>,
    /// By governor.
    pub governors: Vec<GovernorFigures>,
    /// Log lines that were lost.
    pub log_lines_dropped: u64,
}

/// One worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFigures {
    /// Connections open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Time at work, in nanoseconds.
    pub busy_ns: u64,
    /// Turns of protocols.
    pub turns: u64,
    /// Tasks started.
    pub tasks: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Longest turn of the loop so far, in microseconds.
    pub longest_turn_us: u64,
    /// I/O memory mapped now, in bytes.
    pub memory_bytes: u64,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFigures {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Connections open now.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Of them those refused at a limit.
    pub refused: u64,
}

/// One site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFigures {
    /// Its name.
    pub name: String,
    /// Answers by class of status, 1xx to 5xx; the first place is for what is none of them.
    pub by_class: [u64; STATUS_CLASSES],
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Requests that wait or whose answer is in the making now.
    pub active: u64,
    /// All latencies added up, in microseconds.
    pub latency_sum_us: u64,
    /// The histogram's buckets that are not empty: place and count.
    pub latencies: Vec<(usize, u64)>,
}

/// One governor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GovernorFigures {
    /// What is governed: `server`, `endpoint web`, `site example.org`.
    pub name: String,
    /// Which bytes count: `sent`, `received` or `both`.
    pub direction: String,
    /// The figure M, in bits per second.
    pub limit_bits_per_s: u64,
    /// The estimated use B, in bits per second.
    pub used_bits_per_s: u64,
    /// What happens to new reads now: `allow`, `delay` or `reject`.
    pub read: String,
    /// The same for large writes.
    pub write: String,
    /// The same for large transfers of files.
    pub transmit: String,
    /// Operations that wait now.
    pub waiting: u64,
    /// Operations that had to wait.
    pub delayed: u64,
    /// Operations that were refused.
    pub rejected: u64,
}

impl From<&Totals> for WorkerFigures {
    fn from(totals: &Totals) -> Self {
        Self {
            open: totals.open,
            accepted: totals.accepted,
            busy_ns: totals.busy_ns,
            turns: totals.turns,
            tasks: totals.tasks,
            bytes_received: totals.bytes_received,
            bytes_sent: totals.bytes_sent,
            longest_turn_us: totals.longest_turn_us,
            memory_bytes: totals.memory_bytes,
        }
    }
}

impl SiteFigures {
    /// A site's totals under its name.
    #[must_use]
    pub fn new(name: &str, totals: &SiteTotals) -> Self {
        let counted = totals.latencies.iter().copied().enumerate().filter(|(_, count)| *count > 0);
        Self {
            name: name.to_owned(),
            by_class: totals.by_class,
            body_bytes: totals.body_bytes,
            active: totals.active,
            latency_sum_us: totals.latency_sum_us,
            latencies: counted.collect(),
        }
    }

    /// All answers.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// All buckets of the histogram.
    #[must_use]
    pub fn histogram(&self) -> [u64; LATENCY_BUCKETS] {
        histogram(&self.latencies)
    }
}

/// All buckets of a histogram, from those that are not empty.
fn histogram(latencies: &[(usize, u64)]) -> [u64; LATENCY_BUCKETS] {
    let mut all = [0; LATENCY_BUCKETS];
    for (place, count) in latencies {
        if let Some(bucket) = all.get_mut(*place) {
            *bucket += count;
        }
    }
    all
}

impl Snapshot {
    /// One of the engine's counters.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.totals.get(name).copied().unwrap_or(0)
    }

    /// Answers of all sites.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.sites.iter().map(SiteFigures::requests).sum()
    }
}

/// What happened between two snapshots; rates are per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// How long that was, in milliseconds.
    pub period_ms: u64,
    /// Requests.
    pub requests: f64,
    /// Those answered 5xx.
    pub failures: f64,
    /// Connections accepted.
    pub accepted: f64,
    /// Connections refused.
    pub refused: f64,
    /// Bytes received.
    pub bytes_received: f64,
    /// Bytes sent.
    pub bytes_sent: f64,
    /// Latencies of all sites.
    pub latency: Percentiles,
    /// By site, in the snapshot's order.
    pub sites: Vec<SiteRates>,
    /// By backend of the upstreams, in the snapshot's order.
    pub backends: Vec<BackendRates>,
    /// By service, in the snapshot's order.
    pub services: Vec<ServiceRates>,
    /// By endpoint with a handler, in the snapshot's order.
    pub handlers: Vec<HandlerRates>,
    /// By worker: the share of the time it was at work, 0 to 1.
    pub busy: Vec<f64>,
}

/// What happened at one site.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SiteRates {
    /// Its name.
    pub name: String,
    /// Requests per second.
    pub requests: f64,
    /// Those answered 4xx.
    pub refusals: f64,
    /// Those answered 5xx.
    pub failures: f64,
    /// Bytes of bodies per second.
    pub bytes: f64,
    /// Requests under way now.
    pub active: u64,
    /// Its latencies.
    pub latency: Percentiles,
}

/// Latencies that shares of the requests stayed below, in microseconds; `None` without requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50_us: Option<u64>,
    /// Nine of ten.
    pub p90_us: Option<u64>,
    /// All but one of a hundred.
    pub p99_us: Option<u64>,
}

impl Percentiles {
    /// Of a histogram.
    #[must_use]
    pub fn of(histogram: &[u64]) -> Self {
        let at = |share| quantile_us(histogram, share);
        Self { p50_us: at(0.5), p90_us: at(0.9), p99_us: at(0.99) }
    }
}

impl Rates {
    /// From one snapshot to a later one of the same process. Counters that went back (a new process) count from zero.
    #[must_use]
    pub fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let is_same = before.started_unix_s == now.started_unix_s && before.uptime_ms <= now.uptime_ms;
        let none = Snapshot::default();
        let before = if is_same { before } else { &none };
        let period_ms = now.uptime_ms.saturating_sub(before.uptime_ms).max(1);
        let per_s = |old: u64, new: u64| as_float(new.saturating_sub(old)) * 1000.0 / as_float(period_ms);
        let total = |name: &str| per_s(before.total(name), now.total(name));
        let earlier: BTreeMap<&str, &SiteFigures> =
            before.sites.iter().map(|site| (site.name.as_str(), site)).collect();
        let mut all = [0; LATENCY_BUCKETS];
        let sites: Vec<SiteRates> = now
            .sites
            .iter()
            .map(|site| {
                let nothing = SiteFigures::default();
                let old = earlier.get(site.name.as_str()).copied().unwrap_or(&nothing);
                let grown = grown(&old.histogram(), &site.histogram());
                all.iter_mut().zip(&grown).for_each(|(total, more)| *total += more);
                SiteRates {
                    name: site.name.clone(),
                    requests: per_s(old.requests(), site.requests()),
                    refusals: per_s(old.by_class[4], site.by_class[4]),
                    failures: per_s(old.by_class[5], site.by_class[5]),
                    bytes: per_s(old.body_bytes, site.body_bytes),
                    active: site.active,
                    latency: Percentiles::of(&grown),
                }
            })
            .collect();
        let busy = now.workers.iter().enumerate().map(|(place, worker)| {
            let old = before.workers.get(place).map_or(0, |old| old.busy_ns);
            (as_float(worker.busy_ns.saturating_sub(old)) / 1e6 / as_float(period_ms)).min(1.0)
        });
        Self {
            period_ms,
            requests: sites.iter().map(|site| site.requests).sum(),
            failures: sites.iter().map(|site| site.failures).sum(),
            accepted: total("accepted"),
            refused: total("refused"),
            bytes_received: total("bytes_received"),
            bytes_sent: total("bytes_sent"),
            latency: Percentiles::of(&all),
            busy: busy.collect(),
            handlers: handler::rates(&before.handlers, &now.handlers, per_s),
            services: service::rates(&before.services, &now.services, per_s),
            backends: upstream::rates(&before.upstreams, &now.upstreams, period_ms),
            sites,
        }
    }
}

fn grown(old: &[u64; LATENCY_BUCKETS], new: &[u64; LATENCY_BUCKETS]) -> [u64; LATENCY_BUCKETS] {
    let mut grown = *new;
    grown.iter_mut().zip(old).for_each(|(bucket, old)| *bucket = bucket.saturating_sub(*old));
    grown
}

#[allow(clippy::cast_precision_loss, reason = "figures for people: 53 bits are enough")]
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str, by_class: [u64; 6], latencies: &[(usize, u64)]) -> SiteFigures {
        let latencies = latencies.to_vec();
        SiteFigures {
            name: name.to_owned(),
            by_class,
            body_bytes: 0,
            active: 2,
            latency_sum_us: 0,
            latencies,
        }
    }

    fn moment(uptime_ms: u64, accepted: u64, sites: Vec<SiteFigures>) -> Snapshot {
        let totals = BTreeMap::from([("accepted".to_owned(), accepted)]);
        let workers = vec![WorkerFigures { busy_ns: uptime_ms * 250_000, ..WorkerFigures::default() }];
        Snapshot { started_unix_s: 7, uptime_ms, totals, workers, sites, ..Snapshot::default() }
    }

    #[test]
    fn rates_are_differences_by_time() {
        let before = moment(1000, 10, vec![site("a", [0, 0, 100, 0, 0, 0], &[(3, 100)])]);
        let sites = vec![
            site("b", [0, 0, 0, 0, 4, 6], &[(9, 10)]),
            site("a", [0, 0, 140, 0, 0, 0], &[(3, 100), (5, 40)]),
        ];
        let now = moment(3000, 30, sites);
        let rates = Rates::between(&before, &now);
        assert_eq!(
            (rates.period_ms, rates.accepted, rates.requests, rates.failures),
            (2000, 10.0, 25.0, 3.0)
        );
        assert_eq!(rates.busy, [0.25]);
        let [b, a] = rates.sites.as_slice() else { panic!("two sites") };
        assert_eq!((b.requests, b.refusals, b.failures, b.active), (5.0, 2.0, 3.0, 2));
        assert_eq!((a.requests, a.latency.p50_us), (20.0, crate::web::site_counters::bucket_bound_us(5)));
        assert_eq!(rates.latency.p99_us, b.latency.p99_us);
    }

    #[test]
    fn another_process_counts_from_zero() {
        let before = moment(9000, 500, vec![site("a", [0, 0, 900, 0, 0, 0], &[])]);
        let mut now = moment(1000, 5, vec![site("a", [0, 0, 3, 0, 0, 0], &[])]);
        now.started_unix_s = 8;
        let rates = Rates::between(&before, &now);
        assert_eq!((rates.accepted, rates.requests, rates.latency), (5.0, 3.0, Percentiles::default()));
    }

    #[test]
    fn a_snapshot_survives_its_json() {
        let snapshot = moment(5, 1, vec![site("a", [0, 1, 2, 3, 4, 5], &[(1, 2)])]);
        let text = serde_json::to_string(&snapshot).expect("plain data");
        assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("the same"), snapshot);
        assert!(text.contains("\"state\":\"serving\""), "{text}");
    }
}
