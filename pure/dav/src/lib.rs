//! WebDAV, classes 1 and 2 (RFC 4918), as pure machines: bytes and time in, decisions out; no I/O, no clock, no threads.
//!
//! - [`fields`] reads what only WebDAV has of fields: `Depth`, `Destination`, `If`, `Lock-Token`, `Overwrite`, `Timeout`, and
//!   `Content-Range` on PUT.
//! - [`body`] reads the XML bodies of PROPFIND, PROPPATCH and LOCK. There are no document types, so nothing expands.
//! - [`locks`] is the table of locks: who holds what, what conflicts, what is refused without a token.
//! - [`properties`] is what a resource has of dead properties, and the form they are kept in.
//! - [`multistatus`] writes answers.
//!
//! Paths here are those of resources below a root: plain bytes, no slash at either end, nothing for the root itself.
#![forbid(unsafe_code)]

pub mod body;
pub mod fields;
pub mod locks;
pub mod multistatus;
pub mod name;
pub mod path;
pub mod properties;
mod text;
pub mod token;
mod xml;
