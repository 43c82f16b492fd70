//! Heads of frames (RFC 6455 section 5.2): what is sent, and what is read.

use crate::fault::Fault;
use crate::{Kind, Role};

/// The longest head of a frame, in bytes: two, eight of length, four of mask.
pub const HEAD_BYTES_MAX: usize = 14;

/// The longest payload of a control frame, in bytes.
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with the message that was begun.
    Continuation = 0,
    /// Begins a message of text.
    Text = 1,
    /// Begins a message of bytes.
    Binary = 2,
    /// Closes.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or just says that somebody is there.
    Pong = 10,
}

impl Opcode {
    /// Whether frames of this kind may stand between the frames of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }

    const fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// The head of a frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether it ends its message.
    pub last: bool,
    /// Whether the message is compressed (RFC 7692 section 6); on a message's first frame only.
    pub compressed: bool,
    /// The payload's length in bytes, below 2^63; at most [`CONTROL_BYTES_MAX`] in a control frame.
    pub length: u64,
    /// The key a client masks the payload with; fresh and unpredictable for each frame. `None` for servers.
    pub key: Option<[u8; 4]>,
}

impl Head {
    /// The head of a whole message of a server, which is neither compressed nor masked.
    pub const fn of_server(opcode: Opcode, length: usize) -> Self {
        Self { opcode, last: true, compressed: false, length: length as u64, key: None }
    }

    /// Writes the head to the beginning of `out` and returns its length.
    #[inline]
    pub fn write(&self, out: &mut [u8; HEAD_BYTES_MAX]) -> usize {
        debug_assert!(self.length >> 63 == 0, "a frame is below 2^63 bytes");
        out[0] = self.opcode as u8 | u8::from(self.last) << 7 | u8::from(self.compressed) << 6;
        let masked = u8::from(self.key.is_some()) << 7;
        let bytes = self.length.to_be_bytes();
        let mut at = match self.length {
            0..=125 => {
                out[1] = masked | bytes[7];
                2
            }
            126..=0xffff => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&bytes[6..]);
                4
            }
            _ => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&bytes);
                10
            }
        };
        if let Some(key) = self.key {
            out[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        at
    }
}

/// The head of a frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) opcode: Opcode,
    pub(crate) last: bool,
    /// The first reserved bit, which is for compression.
    pub(crate) compressed: bool,
    pub(crate) key: [u8; 4],
    pub(crate) length: u64,
    /// The head's own length.
    pub(crate) bytes: usize,
}

/// What there is at the beginning of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Head(Received),
    /// The head is not whole; it has at least this many bytes.
    NeedMore(usize),
}

/// Reads the head of a frame from the other end. What can be judged of an incomplete one is.
#[inline]
pub(crate) fn read(input: &[u8], role: Role) -> Result<Read, Fault> {
    let Some(&[first, rest @ ..]) = input.first_chunk::<2>() else {
        if let Some(first) = input.first() {
            check_first(*first)?;
        }
        return Ok(Read::NeedMore(2));
    };
    let opcode = check_first(first)?;
    let [second] = rest;
    let masked = second & 0x80 != 0;
    match role {
        Role::Server if !masked => return Err(Fault::MaskMissing),
        Role::Client if masked => return Err(Fault::MaskPresent),
        _ => {}
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Fault::ControlLength);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let bytes = 2 + length_bytes + if masked { 4 } else { 0 };
    let length = match length_bytes {
        0 => u64::from(short),
        2 => match input.get(2..4) {
            Some(&[high, low]) => long(u64::from(u16::from_be_bytes([high, low])), 126)?,
            _ => return Ok(Read::NeedMore(bytes)),
        },
        _ => match input.get(2..).and_then(<[u8]>::first_chunk) {
            Some(length) => long(u64::from_be_bytes(*length), 0x1_0000)?,
            None => return Ok(Read::NeedMore(bytes)),
        },
    };
    if input.len() < bytes {
        return Ok(Read::NeedMore(bytes));
    }
    let key = if masked { input[..bytes].last_chunk().copied().unwrap_or_default() } else { [0; 4] };
    let (last, compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    Ok(Read::Head(Received { opcode, last, compressed, key, length, bytes }))
}

#[inline]
fn check_first(first: u8) -> Result<Opcode, Fault> {
    if first & 0x30 != 0 {
        return Err(Fault::ReservedBit);
    }
    let opcode = Opcode::read(first & 0x0f).ok_or(Fault::ReservedOpcode)?;
    if opcode.is_control() && first & 0x80 == 0 {
        return Err(Fault::ControlFragmented);
    }
    if first & 0x40 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Fault::ReservedBit);
    }
    Ok(opcode)
}

/// A length in one of the longer forms, which has to need it.
fn long(length: u64, least: u64) -> Result<u64, Fault> {
    if length < least || length >> 63 != 0 { Err(Fault::LengthForm) } else { Ok(length) }
}
