//! Heads of answers as a client reads them (RFC 9112 sections 4 to 6): where one ends, what it says, what follows it.
//!
//! ```
//! use ringway_http::reply::{Delivery, Limits, Reply, ReplyScan};
//!
//! let limits = Limits::default();
//! let mut scan = ReplyScan::new();
//! let received = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
//! assert_eq!(scan.find(&received[..9], &limits), Ok(None));
//! let end = scan.find(received, &limits)?.unwrap();
//! let reply = Reply::parse(&received[..end], false, &limits)?;
//! assert_eq!((reply.status().code(), reply.delivery()), (200, Delivery::Length(5)));
//! # Ok::<(), ringway_http::reply::Fault>(())
//! ```

mod body;
mod fault;
mod likeness;
mod parse;
mod scan;
#[cfg(test)]
mod splits;

pub use body::ReplyBody;
pub use fault::Fault;
pub use likeness::Likeness;
pub use parse::{Delivery, Reply};
pub use scan::ReplyScan;

use crate::head::HEAD_BYTES_CEILING;

/// What a server may make grow in the head of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest head from the version to the empty line, both included, in bytes. Values above
    /// [`HEAD_BYTES_CEILING`] mean the ceiling.
    pub head_bytes_max: u32,
    /// Most header fields.
    pub fields_max: u16,
}

impl Default for Limits {
    /// 32 KiB of head, 200 fields.
    fn default() -> Self {
        Self { head_bytes_max: 32 * 1024, fields_max: 200 }
    }
}

impl Limits {
    pub(crate) fn head_max(&self) -> usize {
        (self.head_bytes_max as usize).min(HEAD_BYTES_CEILING)
    }
}
