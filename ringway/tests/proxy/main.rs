//! `ringway run` before other servers, as clients and those servers meet it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod bad;
mod bodies;
mod h2;
mod h2_clients;
mod h2_peer;
mod heads;
mod lives;
mod nginx;
mod ringway;
mod smuggling;
mod stand;
mod trusted;
mod upgrades;
mod upstream;
