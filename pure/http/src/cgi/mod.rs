//! CGI/1.1 (RFC 3875) as FastCGI speaks it too: what a script is told of a request, and the head of what it answers.
//!
//! ```
//! use ringway_http::cgi::{AnswerHead, AnswerScan};
//! use ringway_http::reply::Limits;
//!
//! let limits = Limits::default();
//! let mut scan = AnswerScan::new();
//! let written = b"Content-Type: text/plain\nStatus: 404 Nothing here\n\nnothing";
//! assert_eq!(scan.find(&written[..9], &limits), Ok(None));
//! let end = scan.find(written, &limits)?.unwrap();
//! let answer = AnswerHead::parse(&written[..end], &limits)?;
//! assert_eq!((answer.status().code(), &written[end..]), (404, &b"nothing"[..]));
//! # Ok::<(), ringway_http::cgi::Fault>(())
//! ```

mod answer;
mod environment;
mod fault;
pub mod order;
mod scan;
#[cfg(test)]
mod splits;

pub use answer::{AnswerFields, AnswerHead};
pub use environment::{Facts, ShortScratch};
pub use fault::Fault;
pub use scan::AnswerScan;
