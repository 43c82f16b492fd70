//! Field compression (RFC 7541): both tables, integers, strings, decoder and encoder; for either side of a connection.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod statics;
mod table;

pub use decoder::{Decoder, FieldSink, HpackError};
pub use encoder::Encoder;
pub use statics::{STATIC_ENTRIES, name_index};

/// Bytes of dynamic table that both sides begin with (RFC 9113 section 6.5.2), and the most that this one ever keeps.
pub const TABLE_BYTES: usize = 4096;

/// What an entry takes in a table beyond its name and value (RFC 7541 section 4.1), in bytes.
pub const ENTRY_BYTES: usize = 32;
