//! Tests of the engine on real sockets, each on both drivers.

#[path = "../stand/mod.rs"]
mod stand;

mod closing;
mod deaths;
mod drain;
mod dropped_reads;
mod echo;
mod endpoints;
mod governor;
mod held;
mod limits;
mod members;
mod observe;
mod outbound;
mod overload;
mod prefaces;
mod private_heap;
mod records;
mod reload;
mod sessions;
mod udp;
mod wakes;
