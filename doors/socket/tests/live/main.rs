//! Endpoints of messages over real sockets, on every driver.

mod blocking;
mod builtins;
mod echo;
mod faults;
mod gateway;
mod outbound;
mod stalls;
mod stand;
mod tls;
mod urgent;
