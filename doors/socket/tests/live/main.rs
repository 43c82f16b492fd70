//! Endpoints of messages over real sockets, on every driver.

mod builtins;
mod echo;
mod faults;
mod stalls;
mod stand;
mod urgent;
