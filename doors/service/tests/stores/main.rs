//! Stores as services use them, on workers and against the real servers: sessions, Redis, memcached.
#![cfg(all(feature = "sessions", feature = "sqlite"))]

#[cfg(any(feature = "memcached", feature = "redis"))]
mod daemon;
mod killed;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(feature = "redis", feature = "websockets"))]
mod relay;
mod requests;
#[allow(dead_code, reason = "the services' own tests use the rest of it")]
#[path = "../service/stand.rs"]
mod server;
mod sessions;
#[cfg(all(feature = "redis", feature = "websockets"))]
#[allow(dead_code, reason = "the sockets' own tests use the rest of it")]
#[path = "../sockets/stand.rs"]
mod sockets;
mod stand;
