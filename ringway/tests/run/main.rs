//! `ringway run`: a supervisor and its server processes, as an operator meets them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod activation;
mod authority;
mod behind;
mod confined;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "dav")]
mod dav;
mod encrypted;
mod fastcgi;
mod guarded;
mod handover;
#[cfg(feature = "endpoints")]
mod isolated;
mod lives;
mod logs;
mod reload;
#[cfg(feature = "cgi")]
mod scripts;
mod stand;
mod stopping;
mod upstreams;
