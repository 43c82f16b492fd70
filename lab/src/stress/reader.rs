//! Who checks what a connection hears: every byte in its place, no message too many.

use super::cursor::{Cursor, Mismatch, Shape, Way};
use super::frame::Frame;
use super::frames::{Frames, Piece, control};

/// Bytes of answers to pings that are kept until they can be sent.
const PONG_BYTES_MAX: usize = 4096;

/// Checks what one life of a connection hears.
#[derive(Clone, Debug)]
pub struct Reader {
    cursor: Cursor,
    is_text: bool,
    /// Where messages come in WebSocket frames.
    frames: Option<Box<Frames>>,
    /// Whether all bytes of a message came, and the end of its last frame is still due.
    is_end_due: bool,
    /// How long that message is.
    size_before: u32,
}

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Messages that became whole.
    pub finished: u64,
    /// Frames that the peer is owed at once: answers to its pings.
    pub replies: Vec<u8>,
    /// The peer has closed its WebSocket, with this code.
    pub closed: Option<Option<u16>>,
}

/// What must not have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Another byte than was due. What came from it on, as far as it is told from other things.
    Different(Box<Mismatch>, Vec<u8>),
    /// Bytes that nobody asked for.
    Unasked(u64),
    /// A message is longer or shorter than it was when it was sent: so many bytes are right.
    Length {
        /// Which message.
        message: u64,
        /// How long it should be.
        size: u32,
        /// Whether more came than that; otherwise it ended at `at`.
        is_longer: bool,
        /// Bytes of it that came and were right.
        at: u32,
    },
    /// What a WebSocket must not send.
    Frame(String),
}

impl Reader {
    /// For the life of a connection with `key`.
    #[must_use]
    pub fn new(shape: Shape, key: u64) -> Reader {
        let frames = match shape.frame {
            Frame::WebSocket { .. } => Some(Box::default()),
            _ => None,
        };
        let is_text = shape.frame == Frame::WebSocket { is_text: true };
        let cursor = Cursor::new(shape, Way::Back, key);
        Reader { cursor, is_text, frames, is_end_due: false, size_before: 0 }
    }

    /// Messages that came whole.
    #[must_use]
    pub fn message(&self) -> u64 {
        self.cursor.message()
    }

    /// Bytes that came of the message under way.
    #[must_use]
    pub fn at(&self) -> u32 {
        self.cursor.at()
    }

    /// Checks `bytes`, where `begun` messages were asked.
    ///
    /// # Errors
    /// What is wrong first. The reader is then good for [`Reader::gather`] only.
    pub fn hear(&mut self, bytes: &[u8], begun: u64) -> Result<Heard, Wrong> {
        let Some(mut frames) = self.frames.take() else {
            let before = self.cursor.message();
            self.check(bytes, begun)?;
            return Ok(Heard { finished: self.cursor.message() - before, ..Heard::default() });
        };
        let heard = self.hear_frames(&mut frames, bytes, begun);
        self.frames = Some(frames);
        heard
    }

    /// Takes bytes that come after a wrong one, for whoever wants to know where that came from.
    pub fn gather(&mut self, bytes: &[u8], evidence: &mut Vec<u8>) {
        let Some(frames) = &mut self.frames else { return evidence.extend_from_slice(bytes) };
        let mut rest = bytes;
        while let Ok(Some(piece)) = frames.next(&mut rest, self.is_text) {
            if let Piece::Data(bytes) = piece {
                evidence.extend_from_slice(bytes);
            }
        }
    }

    fn hear_frames(&mut self, frames: &mut Frames, bytes: &[u8], begun: u64) -> Result<Heard, Wrong> {
        let mut heard = Heard::default();
        let mut rest = bytes;
        while let Some(piece) = frames.next(&mut rest, self.is_text).map_err(Wrong::Frame)? {
            match piece {
                Piece::Data(bytes) => {
                    if let Err(mut wrong) = self.hear_data(bytes, begun) {
                        if let Wrong::Different(_, evidence) = &mut wrong {
                            self.frames = Some(Box::new(std::mem::take(frames)));
                            self.gather(rest, evidence);
                            *frames = self.frames.take().map_or_else(Frames::default, |frames| *frames);
                        }
                        return Err(wrong);
                    }
                }
                Piece::End if self.is_end_due => {
                    self.is_end_due = false;
                    heard.finished += 1;
                }
                Piece::End => {
                    let (message, size) = (self.cursor.message(), self.cursor.size());
                    return Err(Wrong::Length { message, size, is_longer: false, at: self.cursor.at() });
                }
                Piece::Ping(payload) if heard.replies.len() < PONG_BYTES_MAX => {
                    heard.replies.extend(control(0xa, &payload, [0x5a; 4]));
                }
                Piece::Ping(_) => return Err(Wrong::Frame("more pings than anybody answers".to_owned())),
                Piece::Close(code) => heard.closed = Some(code),
            }
        }
        Ok(heard)
    }

    /// Bytes of a message from a frame.
    fn hear_data(&mut self, bytes: &[u8], begun: u64) -> Result<(), Wrong> {
        let (message, size) = (self.cursor.message(), self.cursor.size());
        if self.is_end_due {
            // The bytes before were those of the message before.
            let message = message.saturating_sub(1);
            return Err(Wrong::Length {
                message,
                size: self.size_before,
                is_longer: true,
                at: self.size_before,
            });
        }
        let count = bytes.len().min(self.cursor.left() as usize);
        self.check(&bytes[..count], begun)?;
        (self.is_end_due, self.size_before) = (self.cursor.message() > message, size);
        if count < bytes.len() {
            return Err(Wrong::Length { message, size, is_longer: true, at: size });
        }
        Ok(())
    }

    fn check(&mut self, bytes: &[u8], begun: u64) -> Result<(), Wrong> {
        match self.cursor.check(bytes, begun) {
            Ok(count) if count < bytes.len() => Err(Wrong::Unasked((bytes.len() - count) as u64)),
            Ok(_) => Ok(()),
            Err((at, mismatch)) => Err(Wrong::Different(Box::new(mismatch), bytes[at..].to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::message::Messages;

    fn shape(frame: &str, sizes: &str) -> Shape {
        let frame: Frame = frame.parse().expect("sound");
        let messages = Messages { seed: 7, sizes: sizes.parse().expect("sound"), alphabet: frame.alphabet() };
        Shape { messages, frame }
    }

    /// What an honest server sends, each message in `pieces` frames.
    fn echo(shape: Shape, messages: u64, pieces: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut cursor = Cursor::new(shape, Way::Back, 5);
        for _ in 0..messages {
            let mut message = vec![0; cursor.left() as usize];
            cursor.fill(&mut message);
            if !matches!(shape.frame, Frame::WebSocket { .. }) {
                bytes.extend(message);
                continue;
            }
            let part = message.len().div_ceil(pieces);
            let last = message.len().div_ceil(part) - 1;
            for (index, part) in message.chunks(part).enumerate() {
                let opcode = if index == 0 { 2 } else { 0 } | if index == last { 0x80 } else { 0 };
                bytes.extend([opcode, u8::try_from(part.len()).expect("short")]);
                bytes.extend(part);
            }
        }
        bytes
    }

    fn hear(shape: Shape, bytes: &[u8], step: usize, begun: u64) -> Result<u64, Wrong> {
        let mut reader = Reader::new(shape, 5);
        let mut finished = 0;
        for piece in bytes.chunks(step) {
            finished += reader.hear(piece, begun)?.finished;
        }
        Ok(finished)
    }

    #[test]
    fn an_honest_echo_is_right_however_it_is_cut() {
        for frame in ["none", "len8", "len32", "lines", "websocket"] {
            let shape = shape(frame, "1-100");
            for pieces in [1, 3] {
                let bytes = echo(shape, 20, pieces);
                for step in [1, 2, 7, 64, bytes.len()] {
                    assert_eq!(hear(shape, &bytes, step, 20), Ok(20), "{frame} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn what_is_beyond_the_question_was_not_asked() {
        for frame in ["none", "websocket"] {
            let shape = shape(frame, "50");
            let bytes = echo(shape, 3, 1);
            let Err(Wrong::Unasked(count)) = hear(shape, &bytes, bytes.len(), 2) else { panic!("{frame}") };
            assert_eq!(count, 50);
        }
    }

    #[test]
    fn a_websocket_message_that_ends_elsewhere_is_told() {
        let shape = shape("websocket", "50");
        let mut bytes = echo(shape, 1, 1);
        bytes[1] = 49;
        let Err(Wrong::Length { message: 0, size: 50, is_longer: false, at: 49 }) = hear(shape, &bytes, 9, 1)
        else {
            panic!("it is shorter")
        };
        bytes[1] = 51;
        bytes.push(0);
        for step in [1, 52, 53] {
            let wrong = hear(shape, &bytes, step, 2).expect_err("it is longer");
            assert_eq!(wrong, Wrong::Length { message: 0, size: 50, is_longer: true, at: 50 }, "{step}");
        }
    }

    #[test]
    fn pings_are_answered_and_closes_told() {
        let mut reader = Reader::new(shape("websocket", "50"), 5);
        let heard = reader.hear(&[0x89, 1, b'x', 0x88, 2, 3, 0xe9], 0).expect("sound");
        assert_eq!(heard.replies.len(), 7);
        assert_eq!(heard.closed, Some(Some(1001)));
    }
}
