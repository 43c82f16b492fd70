//! Frames (RFC 9113 sections 4 and 6): their head, types, flags, and how control frames are written.

use crate::code::Code;

/// What a client sends first (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 9;

/// Payload bytes that every peer takes, and all that this side takes (section 4.2).
pub const PAYLOAD_BYTES: usize = 16_384;

/// Largest window there is (section 6.9.1).
pub const WINDOW_MAX: u32 = 0x7fff_ffff;

/// A window at first (section 6.9.2), in bytes.
pub const WINDOW_BYTES: u32 = 65_535;

/// What a frame is (section 6); types nobody has named are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// `DATA`
    pub const DATA: Self = Self(0);
    /// `HEADERS`
    pub const HEADERS: Self = Self(1);
    /// `PRIORITY`
    pub const PRIORITY: Self = Self(2);
    /// `RST_STREAM`
    pub const RST_STREAM: Self = Self(3);
    /// `SETTINGS`
    pub const SETTINGS: Self = Self(4);
    /// `PUSH_PROMISE`
    pub const PUSH_PROMISE: Self = Self(5);
    /// `PING`
    pub const PING: Self = Self(6);
    /// `GOAWAY`
    pub const GOAWAY: Self = Self(7);
    /// `WINDOW_UPDATE`
    pub const WINDOW_UPDATE: Self = Self(8);
    /// `CONTINUATION`
    pub const CONTINUATION: Self = Self(9);
}

/// Flags of a frame; what a bit means depends on the kind.
pub mod flag {
    /// Of DATA and HEADERS: the sender's last on this stream.
    pub const END_STREAM: u8 = 0x1;
    /// Of SETTINGS and PING: an acknowledgement.
    pub const ACK: u8 = 0x1;
    /// Of HEADERS and CONTINUATION: the field section is whole.
    pub const END_HEADERS: u8 = 0x4;
    /// Of DATA and HEADERS: a length of padding comes first.
    pub const PADDED: u8 = 0x8;
    /// Of HEADERS: five bytes of priority come before the fields.
    pub const PRIORITY: u8 = 0x20;
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of payload; 24 bits.
    pub len: u32,
    /// What it is.
    pub kind: Kind,
    /// See [`flag`].
    pub flags: u8,
    /// The stream, 0 for the connection; 31 bits.
    pub stream: u32,
}

impl Head {
    /// Reads the head at the front of `bytes`, if all of it is there. The reserved bit is ignored.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3, ..] = bytes else { return None };
        Some(Self {
            len: u32::from_be_bytes([0, a, b, c]),
            kind: Kind(kind),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & WINDOW_MAX,
        })
    }

    /// As it stands on the wire.
    #[inline]
    pub fn bytes(self) -> [u8; HEAD_BYTES] {
        let [_, a, b, c] = self.len.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind.0, self.flags, s0, s1, s2, s3]
    }

    /// Whether any of `flags` is set.
    pub const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// Identifiers of settings (section 6.5.2, RFC 8441 section 3).
pub mod setting {
    /// `SETTINGS_HEADER_TABLE_SIZE`
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// `SETTINGS_ENABLE_PUSH`
    pub const ENABLE_PUSH: u16 = 2;
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// `SETTINGS_INITIAL_WINDOW_SIZE`
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// `SETTINGS_MAX_FRAME_SIZE`
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL`
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Appends a SETTINGS frame.
pub fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let len = u32::try_from(settings.len() * 6).unwrap_or(0);
    out.extend_from_slice(&Head { len, kind: Kind::SETTINGS, flags: 0, stream: 0 }.bytes());
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of a SETTINGS frame.
pub fn write_settings_ack(out: &mut Vec<u8>) {
    out.extend_from_slice(&Head { len: 0, kind: Kind::SETTINGS, flags: flag::ACK, stream: 0 }.bytes());
}

/// Appends a PING frame.
pub fn write_ping(out: &mut Vec<u8>, is_ack: bool, payload: [u8; 8]) {
    out.extend_from_slice(&Head { len: 8, kind: Kind::PING, flags: u8::from(is_ack), stream: 0 }.bytes());
    out.extend_from_slice(&payload);
}

/// Appends a GOAWAY frame without debug data.
pub fn write_goaway(out: &mut Vec<u8>, last_stream: u32, code: Code) {
    out.extend_from_slice(&Head { len: 8, kind: Kind::GOAWAY, flags: 0, stream: 0 }.bytes());
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends a RST_STREAM frame.
pub fn write_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    out.extend_from_slice(&Head { len: 4, kind: Kind::RST_STREAM, flags: 0, stream }.bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

/// Appends a WINDOW_UPDATE frame; `bytes` is 1 to [`WINDOW_MAX`].
pub fn write_window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    out.extend_from_slice(&Head { len: 4, kind: Kind::WINDOW_UPDATE, flags: 0, stream }.bytes());
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Appends a field section as HEADERS and as many CONTINUATION frames as it takes.
pub fn write_headers(out: &mut Vec<u8>, stream: u32, ends_stream: bool, block: &[u8], payload_max: usize) {
    let (mut kind, mut flags, mut rest) = (Kind::HEADERS, u8::from(ends_stream), block);
    loop {
        let (piece, next) = rest.split_at(rest.len().min(payload_max));
        if next.is_empty() {
            flags |= flag::END_HEADERS;
        }
        let len = u32::try_from(piece.len()).unwrap_or(0);
        out.extend_from_slice(&Head { len, kind, flags, stream }.bytes());
        out.extend_from_slice(piece);
        if next.is_empty() {
            return;
        }
        (kind, flags, rest) = (Kind::CONTINUATION, 0, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_the_wire() {
        let head = Head { len: 0x01_02_03, kind: Kind::CONTINUATION, flags: 0xa5, stream: 0x7fff_fffe };
        assert_eq!(Head::read(&head.bytes()), Some(head));
        assert_eq!(Head::read(&head.bytes()[..8]), None);
        // RFC 9113 section 4.1: the reserved bit is ignored when receiving.
        let mut bytes = head.bytes();
        bytes[5] |= 0x80;
        assert_eq!(Head::read(&bytes), Some(head));
    }

    #[test]
    fn long_field_sections_are_continued() {
        let mut out = Vec::new();
        write_headers(&mut out, 3, true, &[7; 25], 10);
        let heads: Vec<(u32, Kind, u8)> = [0, 19, 38]
            .map(|at| Head::read(&out[at..]).unwrap())
            .iter()
            .map(|head| (head.len, head.kind, head.flags))
            .collect();
        assert_eq!(heads, [(10, Kind::HEADERS, 1), (10, Kind::CONTINUATION, 0), (5, Kind::CONTINUATION, 4)]);
        assert_eq!(out.len(), 25 + 27);
    }
}
