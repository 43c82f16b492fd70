//! What the console says of upstreams and does with their backends.

use super::as_float;
use crate::console::Answer;
use crate::console::show::{count, latency, table};
use crate::running::Running;
use crate::snapshot::{Percentiles, Snapshot};
use serde_json::json;

/// All upstreams with their backends.
pub(super) fn list(now: &Snapshot) -> Answer {
    if now.upstreams.is_empty() {
        return Answer::done(json!([]), "there are no upstreams.");
    }
    let heading = [
        "UPSTREAM",
        "BACKEND",
        "STATE",
        ">WEIGHT",
        ">UNDER WAY",
        ">CONNECTIONS",
        ">REQUESTS",
        ">5XX",
        ">FAILURES",
        ">DOWNS",
        ">P50",
        ">P99",
        "LATEST FAILURE",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for upstream in &now.upstreams {
        for backend in &upstream.backends {
            let latencies = Percentiles::of(&backend.histogram());
            let backup = if backend.is_backup { " (backup)" } else { "" };
            rows.push(vec![
                upstream.name.clone(),
                format!("{}{backup}", backend.address),
                backend.state.clone(),
                backend.weight.to_string(),
                backend.in_flight.to_string(),
                backend.connections.to_string(),
                count(as_float(backend.requests())),
                count(as_float(backend.by_class[5])),
                count(as_float(backend.failures)),
                backend.downs.to_string(),
                latency(latencies.p50_us),
                latency(latencies.p99_us),
                backend.latest.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    let mut text = table(&rows);
    for upstream in now.upstreams.iter().filter(|upstream| upstream.waiting > 0) {
        text +=
            &format!("{} requests wait for a backend of {} with room.\n", upstream.waiting, upstream.name);
    }
    Answer::done(json!(now.upstreams), text)
}

/// Takes a backend out, or in again.
pub(super) fn drain(running: &Running, upstream: &str, address: &str, is_drained: bool) -> Answer {
    match running.drain_backend(upstream, address, is_drained) {
        Ok(()) => {
            let told =
                if is_drained { "no more requests; those under way are finished" } else { "requests again" };
            let data = json!({ "upstream": upstream, "address": address, "drained": is_drained });
            Answer::done(data, format!("{address} of {upstream} gets {told}."))
        }
        Err(reason) => Answer::refused(reason),
    }
}
