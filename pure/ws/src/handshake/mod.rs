//! Opening handshakes (RFC 6455 section 4, RFC 8441): both sides, over HTTP/1.1 and over a stream of HTTP/2.

mod client;
pub(crate) mod list;
mod refusal;
mod server;

use crate::{base64, sha1};

pub use client::{Accepted, Ask, ClientHandshake, Rejection};
pub use refusal::Refusal;
pub use server::Upgrade;

/// The one version of the protocol that is spoken.
pub const VERSION: &str = "13";

/// The field line that tells a client which version is spoken, for answers with 426.
pub const VERSION_LINE: &str = "Sec-WebSocket-Version: 13\r\n";

/// Bytes of a `Sec-WebSocket-Key`.
const KEY_BYTES: usize = 24;

/// What a key is hashed with.
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &[u8; KEY_BYTES]) -> [u8; 28] {
    let mut joined = [0; KEY_BYTES + GUID.len()];
    joined[..KEY_BYTES].copy_from_slice(key);
    joined[KEY_BYTES..].copy_from_slice(GUID);
    base64::encode(&sha1::digest(&joined))
}

/// A field line.
fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
