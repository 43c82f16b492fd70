//! Upstreams for Prometheus: one series a backend.

use super::{CLASSES, Kind, Page, seconds};
use crate::snapshot::{BackendFigures, UpstreamFigures};
use crate::web::site_counters::bucket_bound_us;

/// Families with one number a backend.
type Number = (&'static str, Kind, &'static str, fn(&BackendFigures) -> u64);

const NUMBERS: [Number; 8] = [
    ("ringway_upstream_backend_up", Kind::Gauge, "1 while a backend gets requests.", |backend| {
        u64::from(backend.is_up())
    }),
    ("ringway_upstream_requests_active", Kind::Gauge, "Requests under way at a backend.", |backend| {
        backend.in_flight
    }),
    (
        "ringway_upstream_connections_open",
        Kind::Gauge,
        "Connections to a backend, kept ones included.",
        |backend| backend.connections,
    ),
    ("ringway_upstream_connects", Kind::Counter, "Connections made to a backend.", |backend| {
        backend.connects
    }),
    (
        "ringway_upstream_failures",
        Kind::Counter,
        "Tries that failed at a backend, for any reason.",
        |backend| backend.failures,
    ),
    (
        "ringway_upstream_connect_failures",
        Kind::Counter,
        "Connections to a backend that could not be made.",
        |backend| backend.connect_failures,
    ),
    (
        "ringway_upstream_timeouts",
        Kind::Counter,
        "Answers of a backend that did not come in time.",
        |backend| backend.timeouts,
    ),
    ("ringway_upstream_downs", Kind::Counter, "How often a backend went down.", |backend| backend.downs),
];

/// Writes the families of upstreams, when there are any.
pub(super) fn write(page: &mut Page, upstreams: &[UpstreamFigures]) {
    if upstreams.is_empty() {
        return;
    }
    let all = || {
        upstreams.iter().flat_map(|upstream| upstream.backends.iter().map(move |backend| (upstream, backend)))
    };
    for (name, kind, help, read) in NUMBERS {
        page.family(name, kind, help);
        for (upstream, backend) in all() {
            page.sample("", &labels(upstream, backend), &read(backend).to_string());
        }
    }
    page.family("ringway_upstream_requests", Kind::Counter, "Answers by backend and class of status.");
    for (upstream, backend) in all() {
        let [upstream, backend_label] = labels(upstream, backend);
        for (class, count) in CLASSES.iter().zip(backend.by_class) {
            page.sample("", &[upstream, backend_label, ("code_class", class)], &count.to_string());
        }
    }
    let help = "Time from a request to a backend to the beginning of its answer.";
    page.family("ringway_upstream_duration_seconds", Kind::Histogram, help);
    all().for_each(|(upstream, backend)| durations(page, upstream, backend));
    page.family("ringway_upstream_waiting", Kind::Gauge, "Requests that wait for a backend with room.");
    for upstream in upstreams {
        page.sample("", &[("upstream", &upstream.name)], &upstream.waiting.to_string());
    }
}

/// A backend's histogram, in steps of two octaves.
fn durations(page: &mut Page, upstream: &UpstreamFigures, backend: &BackendFigures) {
    let [upstream, label] = labels(upstream, backend);
    let mut count = 0;
    for (place, bucket) in backend.histogram().iter().enumerate() {
        count += bucket;
        match bucket_bound_us(place) {
            Some(bound) if bound.is_power_of_two() && bound.trailing_zeros() % 2 == 0 => {
                page.sample("_bucket", &[upstream, label, ("le", &seconds(bound))], &count.to_string());
            }
            _ => {}
        }
    }
    page.sample("_bucket", &[upstream, label, ("le", "+Inf")], &count.to_string());
    page.sample("_sum", &[upstream, label], &seconds(backend.latency_sum_us));
    page.sample("_count", &[upstream, label], &count.to_string());
}

fn labels<'a>(upstream: &'a UpstreamFigures, backend: &'a BackendFigures) -> [(&'static str, &'a str); 2] {
    [("upstream", &upstream.name), ("backend", &backend.address)]
}
