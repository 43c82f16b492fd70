//! `ringway run`: a supervisor and its server processes, as an operator meets them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod activation;
mod authority;
mod confined;
mod handover;
mod lives;
mod reload;
mod stand;
mod stopping;
