//! WebSockets (RFC 6455) as pure machines: handshakes, frames, messages, compression, closing. No I/O and no clock.
//!
//! A connection meets these rooms in this order:
//!
//! 1. [`handshake::Upgrade`] reads what a client asks for; [`handshake::ClientHandshake`] asks, and checks the answer.
//! 2. [`decoder::Decoder`] takes bytes as they come and says what they mean, unmasked where they lie.
//! 3. [`frame::Head`] heads a frame to send, [`encoder`] makes frames of messages, compressed where that was agreed on.
//! 4. [`close::CloseState`] says which close frame is sent, if any, and when the connection is over.
//!
//! Whatever a peer sends either has exactly one reading or is a [`fault::Fault`], which names its close code. Everything
//! that a peer can make grow has its limit in [`decoder::Limits`] and [`deflate::Options`].
#![forbid(unsafe_code)]

mod base64;
pub mod close;
pub mod code;
pub mod decoder;
pub mod deflate;
pub mod encoder;
pub mod fault;
pub mod frame;
pub mod handshake;
pub mod mask;
mod sha1;
mod store;
mod utf8;

/// Which end of a connection this is. Clients mask what they send and servers do not (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that was connected to.
    Server,
    /// The end that connected.
    Client,
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}
