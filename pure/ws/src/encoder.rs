//! Whole messages as frames, compressed where that was agreed on.

#[cfg(feature = "deflate")]
use crate::Kind;
#[cfg(feature = "deflate")]
use crate::deflate::Deflater;
use crate::frame::{HEAD_BYTES_MAX, Head, Opcode};
use crate::mask;

/// Appends a whole frame that is not compressed to `out`. `key` masks it, as a client's has to be.
pub fn frame(opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let head = Head { key, ..Head::of_server(opcode, payload.len()) };
    let mut written = [0; HEAD_BYTES_MAX];
    let bytes = head.write(&mut written);
    out.reserve(bytes + payload.len());
    out.extend_from_slice(&written[..bytes]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(key, &mut out[start..]);
    }
}

/// Appends a message as one frame to `out`: compressed by `deflater` if that makes it shorter. Returns whether it is.
#[cfg(feature = "deflate")]
pub fn message(
    kind: Kind,
    payload: &[u8],
    key: Option<[u8; 4]>,
    deflater: &mut Deflater,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    // How long the head is shows when the payload is compressed, so the longest is left room for.
    out.resize(start + HEAD_BYTES_MAX, 0);
    let payload_at = out.len();
    if !deflater.deflate(payload, out) {
        out.truncate(start);
        frame(kind.into(), payload, key, out);
        return false;
    }
    let length = out.len() - payload_at;
    if let Some(key) = key {
        mask::apply(key, &mut out[payload_at..]);
    }
    let head = Head { compressed: true, key, ..Head::of_server(kind.into(), length) };
    let mut written = [0; HEAD_BYTES_MAX];
    let bytes = head.write(&mut written);
    out[start..start + bytes].copy_from_slice(&written[..bytes]);
    out.copy_within(payload_at.., start + bytes);
    out.truncate(start + bytes + length);
    true
}
