//! Programs behind FastCGI: PHP's own process manager, and programs that do everything wrong.
#![cfg(feature = "fastcgi")]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod bad;
mod php;
mod program;
mod scripts;
mod sending;
mod stand;
mod tools;
