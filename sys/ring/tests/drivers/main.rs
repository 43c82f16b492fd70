//! Every operation and every race on io_uring, epoll and the simulated network.
#![allow(
    unsafe_code,
    reason = "urgent bytes, page-cache advice and socket buffers have no safe interface here"
)]

#[allow(dead_code, reason = "the bench is shared with the leak tests")]
#[path = "../bench/mod.rs"]
mod bench;

mod accept;
mod cancel;
mod connect;
mod datagram_faults;
mod datagrams;
mod files;
mod limits;
mod modes;
mod receive;
mod send;
mod send_datagrams;
mod transmit;
mod wait_batch;
mod wake;
mod watch;
