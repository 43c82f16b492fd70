//! Endpoints of messages over real sockets, on every driver.

mod echo;
mod faults;
mod stalls;
mod stand;
