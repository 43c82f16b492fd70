//! Endpoints with handlers of their own, in `ringway run`, as clients and operators meet them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod builtins;
mod libraries;
mod operated;
mod reloaded;
mod site;
mod spoken;
#[path = "../run/stand.rs"]
#[allow(dead_code, reason = "others use more of it")]
mod stand;
