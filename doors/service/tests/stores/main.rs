//! Stores as services use them, on workers and against the real servers: sessions, Redis, memcached.
#![cfg(all(feature = "sessions", feature = "sqlite"))]

#[cfg(any(feature = "memcached", feature = "redis"))]
mod daemon;
mod killed;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(feature = "redis")]
mod redis;
mod requests;
#[allow(dead_code, reason = "the services' own tests use the rest of it")]
#[path = "../service/stand.rs"]
mod server;
mod sessions;
mod stand;
