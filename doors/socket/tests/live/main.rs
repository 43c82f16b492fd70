//! Endpoints of messages over real sockets, on every driver.

mod blocking;
mod builtins;
mod deadlines;
mod echo;
mod faults;
mod gateway;
mod mixing;
mod outbound;
mod sockets;
mod stalls;
mod stand;
mod tls;
mod urgent;
