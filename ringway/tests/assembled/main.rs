//! Servers made of configurations, as `ringway run` makes them, on real sockets.
#![cfg(feature = "config")]

mod reload;
mod sites;
mod stand;
