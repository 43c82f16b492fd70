//! Figures of services: where they answer, what they have answered, what they said last.

use serde::{Deserialize, Serialize};

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFigures {
    /// Its name.
    pub name: String,
    /// What it is: `linked`, or the path of its library.
    pub kind: String,
    /// Whether it answers.
    pub is_enabled: bool,
    /// Where it answers: the site's name and the path that leads to it.
    pub places: Vec<String>,
    /// Its own routes: method and path.
    pub routes: Vec<String>,
    /// Requests that it was asked.
    pub requests: u64,
    /// Of them those answered 5xx.
    pub errors: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Requests whose answer is in the making now.
    pub in_flight: u64,
    /// Requests that were answered 503 because it is off.
    pub turned_away: u64,
    /// Bytes of memory it takes, where that is known.
    pub memory_bytes: Option<u64>,
    /// What it has logged last, the youngest at the end.
    pub log: Vec<String>,
}

/// What happened at one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceRates {
    /// Its name.
    pub name: String,
    /// Requests per second.
    pub requests: f64,
    /// Those answered 5xx.
    pub errors: f64,
}

/// From one moment to a later one.
pub(super) fn rates(
    before: &[ServiceFigures],
    now: &[ServiceFigures],
    per_s: impl Fn(u64, u64) -> f64,
) -> Vec<ServiceRates> {
    let nothing = ServiceFigures::default();
    let rates = now.iter().map(|service| {
        let old = before.iter().find(|old| old.name == service.name).unwrap_or(&nothing);
        ServiceRates {
            name: service.name.clone(),
            requests: per_s(old.requests, service.requests),
            errors: per_s(old.errors, service.errors),
        }
    });
    rates.collect()
}
