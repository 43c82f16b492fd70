//! Endpoints with handlers for Prometheus: one series an endpoint.

use super::{Kind, Page, seconds};
use crate::snapshot::HandlerFigures;

/// Families with one number an endpoint.
type Number = (&'static str, Kind, &'static str, fn(&HandlerFigures) -> u64);

const NUMBERS: [Number; 12] = [
    ("ringway_endpoint_open", Kind::Gauge, "Connections open, or peers known, at a handler.", |of| of.open),
    ("ringway_endpoint_opened", Kind::Counter, "Connections, or peers, of a handler.", |of| of.opened),
    ("ringway_endpoint_refused", Kind::Counter, "Connections, or datagrams, refused at a limit.", |of| {
        of.refused
    }),
    ("ringway_endpoint_messages_received", Kind::Counter, "Messages that a handler got.", |of| {
        of.messages_in
    }),
    ("ringway_endpoint_messages_sent", Kind::Counter, "Messages that a handler sent.", |of| of.messages_out),
    ("ringway_endpoint_received_bytes", Kind::Counter, "Bytes received for a handler.", |of| of.bytes_in),
    ("ringway_endpoint_sent_bytes", Kind::Counter, "Bytes that a handler sent.", |of| of.bytes_out),
    (
        "ringway_endpoint_errors",
        Kind::Counter,
        "Connections of a handler that ended because something went wrong.",
        |of| of.errors,
    ),
    ("ringway_endpoint_faults", Kind::Counter, "Messages that broke the framing or were too long.", |of| {
        of.faults
    }),
    ("ringway_endpoint_timeouts", Kind::Counter, "Limits of time that were reached.", |of| of.timeouts),
    ("ringway_endpoint_panics", Kind::Counter, "Calls of a handler that panicked.", |of| of.panics),
    ("ringway_endpoint_replaced", Kind::Counter, "How often a handler was replaced.", |of| of.replaced),
];

/// Writes the families of handlers, when there are any.
pub(super) fn write(page: &mut Page, handlers: &[HandlerFigures]) {
    if handlers.is_empty() {
        return;
    }
    for (name, kind, help, read) in NUMBERS {
        page.family(name, kind, help);
        for handler in handlers {
            page.sample("", &[("endpoint", &handler.name)], &read(handler).to_string());
        }
    }
    let help = "Time that a handler took for a message, of a sample of them.";
    page.family("ringway_endpoint_handler_duration_seconds", Kind::Histogram, help);
    handlers.iter().for_each(|handler| durations(page, handler));
}

fn durations(page: &mut Page, handler: &HandlerFigures) {
    let mut count = 0;
    for (end_ns, times) in &handler.times {
        count += times;
        if *end_ns > 0 {
            let end = seconds(end_ns.div_ceil(1000));
            page.sample("_bucket", &[("endpoint", &handler.name), ("le", &end)], &count.to_string());
        }
    }
    page.sample("_bucket", &[("endpoint", &handler.name), ("le", "+Inf")], &count.to_string());
    page.sample("_sum", &[("endpoint", &handler.name)], &seconds(handler.timed_ns / 1000));
    page.sample("_count", &[("endpoint", &handler.name)], &count.to_string());
}
