//! A server's WebSocket frames (RFC 6455 section 5) taken apart as they come. Of the lab's own, so that it shares no mistake with servers.

/// Bytes of a server's frame head at most.
const HEAD_BYTES_MAX: usize = 10;

/// Bytes of a control frame's payload at most (section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A machine that takes frames apart.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    /// Whether the head is whole and the payload follows.
    is_inside: bool,
    /// Bytes of the payload that are still to come.
    left: u64,
    is_final: bool,
    opcode: u8,
    /// Whether a message is begun whose last frame is still to come.
    is_begun: bool,
    control: Vec<u8>,
}

/// What bytes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of a message.
    Data(&'a [u8]),
    /// The message has ended.
    End,
    /// The peer wants to hear this again.
    Ping(Vec<u8>),
    /// The peer closes; with its code, if it says one.
    Close(Option<u16>),
}

impl Frames {
    /// The next thing that `bytes` mean, which is taken off them; nothing when more are needed.
    ///
    /// # Errors
    /// A sentence about what a server must not send. `is_text` is what messages are to be.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8], is_text: bool) -> Result<Option<Piece<'a>>, String> {
        loop {
            if !self.is_inside && !self.read_head(bytes, is_text)? {
                return Ok(None);
            }
            let is_control = self.opcode >= 8;
            if self.left > 0 {
                if bytes.is_empty() {
                    return Ok(None);
                }
                let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (now, later) = bytes.split_at(count);
                *bytes = later;
                self.left -= count as u64;
                if !is_control {
                    return Ok(Some(Piece::Data(now)));
                }
                self.control.extend_from_slice(now);
                if self.left > 0 {
                    return Ok(None);
                }
            }
            self.is_inside = false;
            match self.opcode {
                0x8 => return Ok(Some(Piece::Close(code(&self.control)))),
                0x9 => return Ok(Some(Piece::Ping(std::mem::take(&mut self.control)))),
                0xa => {}
                _ => {
                    self.is_begun = !self.is_final;
                    if self.is_final {
                        return Ok(Some(Piece::End));
                    }
                }
            }
        }
    }

    /// Takes bytes of a head; whether it is whole.
    fn read_head(&mut self, bytes: &mut &[u8], is_text: bool) -> Result<bool, String> {
        loop {
            let have = usize::from(self.head_bytes);
            let need = match (have, self.head[1] & 0x7f) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => HEAD_BYTES_MAX,
                _ => 2,
            };
            if have >= need {
                self.begin(need, is_text)?;
                return Ok(true);
            }
            let count = bytes.len().min(need - have);
            if count == 0 {
                return Ok(false);
            }
            let (now, later) = bytes.split_at(count);
            self.head[have..have + count].copy_from_slice(now);
            self.head_bytes += u8::try_from(count).unwrap_or(0);
            *bytes = later;
        }
    }

    fn begin(&mut self, need: usize, is_text: bool) -> Result<(), String> {
        let [first, second, ..] = self.head;
        let (opcode, wanted) = (first & 0x0f, if is_text { 1 } else { 2 });
        self.left = match need {
            2 => u64::from(second & 0x7f),
            4 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            _ => self.head[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let is_final = first & 0x80 != 0;
        if first & 0x70 != 0 {
            return Err(format!("a frame has reserved bits set ({first:02x})"));
        }
        if second & 0x80 != 0 {
            return Err("a frame is masked, which a server's must not be".to_owned());
        }
        match opcode {
            0 if self.is_begun => {}
            0 => return Err("a frame continues a message that was not begun".to_owned()),
            1 | 2 if self.is_begun => return Err("a message begins inside of another one".to_owned()),
            1 | 2 if opcode == wanted => {}
            1 | 2 => {
                return Err(format!(
                    "a message is {}",
                    if is_text { "binary, not text" } else { "text, not binary" }
                ));
            }
            8..=10 if !is_final => return Err("a control frame is fragmented".to_owned()),
            8..=10 if self.left > CONTROL_BYTES_MAX as u64 => {
                return Err(format!("a control frame has {} bytes", self.left));
            }
            8..=10 => {}
            _ => return Err(format!("a frame has opcode {opcode}, which is none")),
        }
        (self.is_final, self.opcode, self.is_inside, self.head_bytes) = (is_final, opcode, true, 0);
        self.control.clear();
        Ok(())
    }
}

/// A control frame of a client's.
#[must_use]
pub fn control(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap_or(0)];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The code in a close frame.
fn code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, Vec<Piece<'static>>), String> {
        let mut frames = Frames::default();
        let (mut messages, mut others, mut message) = (Vec::new(), Vec::new(), Vec::new());
        for mut rest in bytes.chunks(step) {
            while let Some(piece) = frames.next(&mut rest, false)? {
                match piece {
                    Piece::Data(bytes) => message.extend_from_slice(bytes),
                    Piece::End => messages.push(std::mem::take(&mut message)),
                    Piece::Ping(bytes) => others.push(Piece::Ping(bytes)),
                    Piece::Close(code) => others.push(Piece::Close(code)),
                }
            }
        }
        Ok((messages, others))
    }

    #[test]
    fn frames_are_taken_apart_at_every_split() {
        let long = [&[0x82, 126, 0, 200][..], &[7; 200]].concat();
        let longer = [&[0x82, 127, 0, 0, 0, 0, 0, 0, 1, 0][..], &[8; 256]].concat();
        let bytes = [
            &[0x82, 3][..],
            b"abc",
            &[0x02, 2],
            b"de",
            &[0x89, 2],
            b"hi",
            &[0x8a, 0, 0x80, 1],
            b"f",
            &long,
            &longer,
            &[0x82, 0, 0x88, 2, 0x03, 0xe8],
        ]
        .concat();
        for step in 1..bytes.len() {
            let (messages, others) = all(&bytes, step).expect("sound");
            assert_eq!(messages, [b"abc".to_vec(), b"def".to_vec(), vec![7; 200], vec![8; 256], Vec::new()]);
            assert_eq!(others, [Piece::Ping(b"hi".to_vec()), Piece::Close(Some(1000))]);
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_named() {
        for (bytes, part) in [
            (&[0x82, 0x81][..], "masked"),
            (&[0xc2, 1], "reserved"),
            (&[0x81, 1], "text, not binary"),
            (&[0x80, 1], "not begun"),
            (&[0x02, 1, 0, 0x82, 1], "inside"),
            (&[0x09, 1], "fragmented"),
            (&[0x89, 126, 0, 126], "126 bytes"),
            (&[0x83, 1], "opcode 3"),
        ] {
            let sentence = all(bytes, 1).expect_err("it is unsound");
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn control_frames_are_masked() {
        assert_eq!(control(0xa, b"ab", [1, 2, 3, 4]), [0x8a, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]);
    }
}
