//! Upstreams against real backends: leases, kept connections, failures, health, queues, names.

mod checks;
mod failures;
mod leases;
mod queues;
mod stand;
