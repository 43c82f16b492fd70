//! The service door: applications on the web door, with routes, WebSockets, stores, and the tower world beside them.
#![forbid(unsafe_code)]

#[cfg(feature = "tower")]
pub mod background;
pub mod cookie;
#[cfg(feature = "sessions")]
pub mod session;
#[cfg(feature = "sqlite")]
pub mod sqlite;
