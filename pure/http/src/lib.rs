//! HTTP/1.1 (RFC 9110, 9112) as pure machines: bytes and time in, decisions out; no I/O, no clock, no threads.
//!
//! A connection runs a request through these rooms in this order:
//!
//! 1. [`head::HeadScan`] finds the end of the head as bytes arrive, [`head::Request::parse`] reads it.
//! 2. [`target::normalise`] turns the raw path into the one form that rules and files are matched against.
//! 3. [`body::BodyDecoder`] walks the body that follows and hands out its data in place.
//! 4. [`conditional`], [`range`] and [`negotiate`] decide what a known representation answers.
//! 5. [`response::HeadWriter`] writes the head of the answer into memory of the caller.
//!
//! A client reads the answer with [`reply`], its body with [`reply::ReplyBody`]. Who stands between client and server passes heads
//! on with [`relay`], and learns from [`forwarded`] whom a request came from at first.
//! [`multipart`] takes forms with files apart. [`fastcgi`] carries requests to programs of others and their answers back.
//!
//! Whatever a peer sends either has exactly one reading or is refused with a [`refusal::Refusal`]; after one,
//! the connection answers once and closes. Nothing in this crate allocates, but for the orders of [`cgi::order`].
#![forbid(unsafe_code)]

pub mod body;
pub mod cgi;
pub mod conditional;
pub mod date;
pub mod etag;
pub mod fastcgi;
pub mod forwarded;
pub mod head;
mod list;
pub mod method;
pub mod multipart;
pub mod negotiate;
mod octets;
pub mod proxy_protocol;
pub mod range;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod response;
pub mod status;
pub mod target;
