//! Protocols in shared libraries: the examples, what libraries do wrong, replacement under traffic.

mod examples;
mod faults;
mod outward;
mod replaced;
mod stand;
#[path = "../live/tls.rs"]
mod tls;
mod waiting;
