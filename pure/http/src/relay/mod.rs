//! Heads as a gateway passes them on (RFC 9110 section 7.6): what belongs to one connection stays behind, what says who asked
//! is made anew, and how the message is framed is never copied.
//!
//! ```
//! use ringway_http::head::{Limits, Request};
//! use ringway_http::relay::{Asking, Framing, RequestRules, write_request};
//!
//! let head = b"GET /api/x HTTP/1.1\r\nHost: example.org\r\nConnection: x-mine\r\nX-Mine: 1\r\nAccept: */*\r\n\r\n";
//! let request = Request::parse(head, &Limits::default()).unwrap();
//! let asking = Asking { path: [b"/x", b""], host: b"example.org", ..Asking::default() };
//! let mut memory = [0; 256];
//! let len = write_request(&request, &RequestRules::default(), &asking, &mut memory)?;
//! assert_eq!(&memory[..len], b"GET /x HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n");
//! # Ok::<(), ringway_http::relay::RelayError>(())
//! ```

mod hop;
mod path;
mod reply;
mod request;

use std::fmt;

use crate::refusal::Refusal;
use crate::response::EncodeError;

pub use hop::CONNECTION_OPTIONS_MAX;
pub use path::{encoded_path, is_spelling_of, strip};
pub use reply::{Told, write_reply};
pub use request::{Asking, Framing, LOOPS_MAX, RequestRules, VIA_NAME, write_request};

/// Why a head cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelayError {
    /// It does not fit the memory.
    Full,
    /// `Connection` names more than [`CONNECTION_OPTIONS_MAX`] fields.
    Options,
    /// It has come through here more than [`LOOPS_MAX`] times.
    Loop,
    /// What is added has a byte that no field can hold.
    Value,
}

impl From<EncodeError> for RelayError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Full => Self::Full,
            EncodeError::FieldName | EncodeError::FieldValue => Self::Value,
        }
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the head does not fit its buffer",
            Self::Options => Refusal::ConnectionOptions.reason(),
            Self::Loop => "the request goes round in a circle",
            Self::Value => "an added field has a byte that no field can hold",
        })
    }
}

impl std::error::Error for RelayError {}
