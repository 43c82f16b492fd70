//! How messages are told apart: what stands before and behind a payload, on the way there and on the way back.

use std::fmt;
use std::str::FromStr;

use super::message::{Alphabet, mix};

/// Bytes that stand before a payload at most: the head of a masked WebSocket frame.
const HEAD_BYTES_MAX: usize = 14;

/// How a message is told from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frame {
    /// Not at all: a stream of bytes.
    #[default]
    None,
    /// By its length in front.
    Length {
        /// Bytes of the length: 1, 2, 4 or 8.
        bytes: u8,
        /// The least significant byte first.
        is_little: bool,
        /// The length counts itself.
        is_inclusive: bool,
    },
    /// By a line's end (0x0a).
    Lines,
    /// One WebSocket frame (RFC 6455) a message.
    WebSocket {
        /// Text, not binary.
        is_text: bool,
    },
}

/// What stands around one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    /// What the payload is masked with; nothing where it is not.
    pub mask: Option<[u8; 4]>,
    has_tail: bool,
}

impl Frame {
    /// Which bytes payloads may be made of.
    #[must_use]
    pub fn alphabet(self) -> Alphabet {
        match self {
            Frame::Lines | Frame::WebSocket { is_text: true } => Alphabet::Printable,
            _ => Alphabet::Bytes,
        }
    }

    /// The longest payload that can be framed, in bytes.
    #[must_use]
    pub fn payload_bytes_max(self) -> u64 {
        let Frame::Length { bytes, is_inclusive, .. } = self else { return u64::MAX };
        let most = if bytes >= 8 { u64::MAX } else { (1 << (8 * u32::from(bytes))) - 1 };
        most - if is_inclusive { u64::from(bytes) } else { 0 }
    }

    /// What a client puts around a payload of `size` bytes; `word` decides masks.
    #[must_use]
    pub fn sent(self, size: u32, word: u64) -> Around {
        let Frame::WebSocket { is_text } = self else { return self.plain(size) };
        let mut around = Around::NONE;
        around.push(&[if is_text { 0x81 } else { 0x82 }]);
        match (u8::try_from(size), u16::try_from(size)) {
            (Ok(short @ 0..=125), _) => around.push(&[0x80 | short]),
            (_, Ok(middle)) => {
                around.push(&[0x80 | 126]);
                around.push(&middle.to_be_bytes());
            }
            _ => {
                around.push(&[0x80 | 127]);
                around.push(&u64::from(size).to_be_bytes());
            }
        }
        let [a, b, c, d, ..] = mix(word).to_le_bytes();
        around.push(&[a, b, c, d]);
        around.mask = Some([a, b, c, d]);
        around
    }

    /// What stands around the same payload when it comes back. A WebSocket's frames are taken apart before, so nothing does.
    #[must_use]
    pub fn heard(self, size: u32) -> Around {
        if matches!(self, Frame::WebSocket { .. }) { Around::NONE } else { self.plain(size) }
    }

    fn plain(self, size: u32) -> Around {
        let mut around = Around::NONE;
        match self {
            Frame::None | Frame::WebSocket { .. } => {}
            Frame::Lines => around.has_tail = true,
            Frame::Length { bytes, is_little, is_inclusive } => {
                let length = u64::from(size) + if is_inclusive { u64::from(bytes) } else { 0 };
                let count = usize::from(bytes.min(8));
                if is_little {
                    around.push(&length.to_le_bytes()[..count]);
                } else {
                    around.push(&length.to_be_bytes()[8 - count..]);
                }
            }
        }
        around
    }
}

impl Around {
    const NONE: Around = Around { head: [0; HEAD_BYTES_MAX], head_bytes: 0, mask: None, has_tail: false };

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.head_bytes);
        self.head[at..at + bytes.len()].copy_from_slice(bytes);
        self.head_bytes += u8::try_from(bytes.len()).unwrap_or(0);
    }

    /// What stands before the payload.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_bytes)]
    }

    /// What stands behind the payload.
    #[must_use]
    pub fn tail(&self) -> &'static [u8] {
        if self.has_tail { b"\n" } else { b"" }
    }

    /// Bytes on the wire of a payload of `size`.
    #[must_use]
    pub fn whole(&self, size: u32) -> u32 {
        u32::from(self.head_bytes) + size + u32::from(self.has_tail)
    }
}

impl FromStr for Frame {
    type Err = String;

    /// `none`, `lines`, `websocket`, `websocket-text`, or `len8`, `len16`, `len32`, `len64` with `:little` and `:inclusive`.
    fn from_str(text: &str) -> Result<Frame, String> {
        let wrong = || {
            "a frame is none, lines, websocket, websocket-text, or len8, len16, len32 or len64, perhaps with :little or \
             :inclusive behind it"
                .to_owned()
        };
        let mut parts = text.split(':');
        let bytes = match parts.next().unwrap_or_default() {
            "none" if text == "none" => return Ok(Frame::None),
            "lines" if text == "lines" => return Ok(Frame::Lines),
            "websocket" if text == "websocket" => return Ok(Frame::WebSocket { is_text: false }),
            "websocket-text" if text == "websocket-text" => return Ok(Frame::WebSocket { is_text: true }),
            "len8" => 1,
            "len16" => 2,
            "len32" => 4,
            "len64" => 8,
            _ => return Err(wrong()),
        };
        let (mut is_little, mut is_inclusive) = (false, false);
        for part in parts {
            match part {
                "little" => is_little = true,
                "inclusive" => is_inclusive = true,
                _ => return Err(wrong()),
            }
        }
        Ok(Frame::Length { bytes, is_little, is_inclusive })
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::None => f.write_str("none"),
            Frame::Lines => f.write_str("lines"),
            Frame::WebSocket { is_text: false } => f.write_str("websocket"),
            Frame::WebSocket { is_text: true } => f.write_str("websocket-text"),
            Frame::Length { bytes, is_little, is_inclusive } => {
                write!(f, "len{}", 8 * u32::from(*bytes))?;
                f.write_str(if *is_little { ":little" } else { "" })?;
                f.write_str(if *is_inclusive { ":inclusive" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(frame: &str, size: u32) -> Vec<u8> {
        frame.parse::<Frame>().expect("sound").sent(size, 0).head().to_vec()
    }

    #[test]
    fn lengths_are_written_in_every_way() {
        assert_eq!(head("len8", 7), [7]);
        assert_eq!(head("len16", 0x102), [1, 2]);
        assert_eq!(head("len16:little", 0x102), [2, 1]);
        assert_eq!(head("len32:inclusive", 64), [0, 0, 0, 68]);
        assert_eq!(head("len64:little:inclusive", 1), [9, 0, 0, 0, 0, 0, 0, 0]);
        assert!(head("none", 64).is_empty());
        assert_eq!("lines".parse::<Frame>().expect("sound").sent(5, 0).tail(), b"\n");
    }

    #[test]
    fn websocket_heads_are_those_of_the_standard() {
        for (size, start, bytes) in
            [(125, &[0x82, 0xfd][..], 6), (126, &[0x82, 0xfe, 0, 126], 8), (65_536, &[0x82, 0xff, 0, 0], 14)]
        {
            let around = Frame::WebSocket { is_text: false }.sent(size, 3);
            assert!(around.head().starts_with(start) && around.head().len() == bytes, "{around:?}");
            assert_eq!(around.mask.expect("masked").as_slice(), &around.head()[bytes - 4..]);
            assert_eq!(around.whole(size) as usize, bytes + size as usize);
            assert_eq!(Frame::WebSocket { is_text: false }.heard(size).whole(size), size);
        }
    }

    #[test]
    fn frames_are_read_or_refused() {
        for text in
            ["none", "lines", "websocket", "websocket-text", "len8", "len16:little", "len64:inclusive"]
        {
            assert_eq!(text.parse::<Frame>().expect("sound").to_string(), text);
        }
        for text in ["", "len", "len24", "len8:", "len8:big", "lines:little", "none:inclusive"] {
            assert!(text.parse::<Frame>().is_err(), "{text:?}");
        }
        assert_eq!("len8:inclusive".parse::<Frame>().expect("sound").payload_bytes_max(), 254);
        assert_eq!("len16".parse::<Frame>().expect("sound").payload_bytes_max(), 65_535);
    }
}
