//! Stores as services use them, on workers and against the real servers: sessions, Redis, memcached.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(all(feature = "sessions", feature = "sqlite"))]

mod killed;
mod sessions;
mod stand;
