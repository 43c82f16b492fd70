//! CGI scripts as clients meet them: real ones in PHP, Python, shell and C, and bad ones of all kinds.
#![cfg(feature = "cgi")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod bad;
mod kinds;
mod php;
mod protocol;
mod stand;
