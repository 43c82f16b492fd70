//! HTTP/2 (RFC 9113) as a pure machine: bytes and time in, requests and bytes out; no I/O, no clock, no threads.
//!
//! [`connection::Connection`] is a server's side of a connection. A request comes out of it as the text of an HTTP/1.1 head,
//! with one reading, so that who serves HTTP/1.1 serves this; an answer goes in as the text of a head, and its body as
//! lengths of DATA frames, which the caller fills from wherever the bytes are. [`client::Connection`] is the other side: the
//! text of a request's head goes in, that of an answer's comes out.
//!
//! [`frame`] and [`hpack`] are either side's.
//!
//! Everything a peer can make grow has a limit in [`limits::Limits`]. What one request allocates the next one reuses.
#![forbid(unsafe_code)]

mod buffers;
pub mod client;
pub mod code;
pub mod connection;
pub mod frame;
mod head;
pub mod hpack;
pub mod limits;
mod lines;
mod link;
mod streams;
