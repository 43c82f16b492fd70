//! Applications of axum on Ringway, through real sockets and on both drivers.
#![cfg(feature = "tower")]

mod answers;
mod bodies;
mod on_tokio;
mod over_h2;
mod routes;
mod runtime;
mod service;
mod stand;
#[cfg(feature = "axum")]
mod websockets;
