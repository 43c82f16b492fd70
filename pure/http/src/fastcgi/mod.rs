//! FastCGI 1.0 as pure machines, in both directions: what a web server writes and reads, and what a responder reads and writes.
//!
//! [`RequestWriter`] writes a request with its parameters into memory of the caller, [`Client`] walks the answer and hands
//! its data out in place. [`Responder`] is the other side. [`Pairs`] reads names and values, [`Capabilities`] what a
//! responder says of itself. A record that is not as it must be is refused with a [`Fault`] that says what was wrong;
//! nothing more of its connection can be read then.
//!
//! ```
//! use ringway_http::fastcgi::{Client, RequestWriter, Role, Step};
//!
//! let mut memory = [0; 256];
//! let mut writer = RequestWriter::new(&mut memory, 1, Role::RESPONDER, true);
//! writer.param(b"REQUEST_METHOD", b"GET");
//! writer.end_params();
//! writer.end_stdin();
//! assert_eq!(writer.finish(), Ok(59));
//!
//! let mut client = Client::new(1);
//! let received = b"\x01\x06\x00\x01\x00\x02\x06\x00hi______\x01\x03\x00\x01\x00\x08\x00\x00\0\0\0\0\0\0\0\0";
//! assert_eq!(client.step(received)?, Step::Stdout { data: 8..10 });
//! assert!(matches!(client.step(&received[10..])?, Step::Ended { consumed: 22, .. }));
//! # Ok::<(), ringway_http::fastcgi::Fault>(())
//! ```

mod client;
mod fault;
mod pairs;
mod record;
mod request;
mod responder;
#[cfg(test)]
mod splits;
mod values;

pub use client::{Client, End, Step};
pub use fault::Fault;
pub use pairs::{PAIR_HEAD_BYTES_MAX, Pairs, write_pair};
pub use record::{CONTENT_BYTES_MAX, HEAD_BYTES, Head, Kind, VERSION};
pub use request::{Full, RequestWriter, Role, abort, stdin_head};
pub use responder::{Asked, Responder, end_record, unknown_record};
pub use values::{Capabilities, VALUES_BYTES_MAX, Values, get_values};
