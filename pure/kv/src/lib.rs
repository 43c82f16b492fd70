//! Protocols of key-value servers as pure machines, a client's side: Redis's (RESP) and memcached's. No I/O, no clock.
#![forbid(unsafe_code)]

mod line;
pub mod memcached;
pub mod resp;
