//! The machines as their users see them: every split of every message, properties, handshakes wrong in every field.

mod compression;
mod handshakes;
mod reference;
mod streams;
