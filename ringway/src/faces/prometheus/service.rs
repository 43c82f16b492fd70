//! Services for Prometheus: one series a service.

use super::{Kind, Page};
use crate::snapshot::ServiceFigures;

/// Families with one number a service.
type Number = (&'static str, Kind, &'static str, fn(&ServiceFigures) -> u64);

const NUMBERS: [Number; 6] = [
    ("ringway_service_enabled", Kind::Gauge, "1 while a service answers.", |service| {
        u64::from(service.is_enabled)
    }),
    ("ringway_service_requests", Kind::Counter, "Requests that a service was asked.", |service| {
        service.requests
    }),
    ("ringway_service_errors", Kind::Counter, "Requests that a service answered 5xx.", |service| {
        service.errors
    }),
    ("ringway_service_panics", Kind::Counter, "Handlers of a service that panicked.", |service| {
        service.panics
    }),
    (
        "ringway_service_requests_active",
        Kind::Gauge,
        "Requests whose answer a service is making.",
        |service| service.in_flight,
    ),
    (
        "ringway_service_turned_away",
        Kind::Counter,
        "Requests that were answered 503 because a service was switched off.",
        |service| service.turned_away,
    ),
];

/// Writes the families of services, when there are any.
pub(super) fn write(page: &mut Page, services: &[ServiceFigures]) {
    if services.is_empty() {
        return;
    }
    for (name, kind, help, read) in NUMBERS {
        page.family(name, kind, help);
        for service in services {
            page.sample("", &[("service", &service.name)], &read(service).to_string());
        }
    }
    let known = || services.iter().filter_map(|service| Some((service, service.memory_bytes?)));
    if known().next().is_some() {
        page.family("ringway_service_memory_bytes", Kind::Gauge, "Memory that a service takes.");
        known()
            .for_each(|(service, bytes)| page.sample("", &[("service", &service.name)], &bytes.to_string()));
    }
}
