//! Compression of messages (RFC 7692): what is agreed on, and memory that is bounded.
//!
//! A side that keeps its context from message to message needs a window of its own for as long as it lives: some 40 KiB to
//! decompress and some 300 KiB to compress at 15 bits. So unless [`Options`] say otherwise a server agrees on no context, and
//! then all connections of a thread share the few engines of one [`Spare`].

pub mod agreement;
#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(feature = "deflate")]
mod spare;

pub use agreement::{Agreement, Options};
#[cfg(feature = "deflate")]
pub use deflater::Deflater;
#[cfg(feature = "deflate")]
pub use inflater::Inflater;
#[cfg(feature = "deflate")]
pub use spare::Spare;

/// What every compressed message ends with, and what is therefore not sent (RFC 7692 section 7.2.1).
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
