//! A place in what a connection says: where its sender is, or who checks the answers.

use super::frame::{Around, Frame};
use super::message::{Messages, mix};

/// Bytes of the expected stream made at a time.
const CHUNK_BYTES: usize = 1024;

/// Bytes shown before and after the first wrong one.
const SHOWN_BYTES: u32 = 8;

/// Everything that a stream follows from, but for whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sizes and bytes.
    pub messages: Messages,
    /// What stands around them.
    pub frame: Frame,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server, masked where WebSockets are.
    There,
    /// From the server; of WebSockets the payloads only.
    Back,
}

/// A place in a stream.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    shape: Shape,
    way: Way,
    key: u64,
    message: u64,
    size: u32,
    around: Around,
    at: u32,
}

/// Which part of a message a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stands before the payload.
    Head,
    /// The payload.
    Payload,
    /// What stands behind the payload.
    Tail,
}

/// The first byte that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The message it belongs to, from 0.
    pub message: u64,
    /// How long that message's payload is.
    pub size: u32,
    /// Which part of it.
    pub part: Part,
    /// Its place in that part, from 0.
    pub at: u32,
    /// Its place in the whole message, from 0.
    pub at_whole: u32,
    /// Bytes of that message around it as they should be.
    pub expected: Vec<u8>,
    /// The same bytes as they came, as far as they came with it.
    pub got: Vec<u8>,
    /// The index of the wrong byte in both.
    pub index: usize,
}

impl Cursor {
    /// The beginning of what the life of a connection with `key` says.
    #[must_use]
    pub fn new(shape: Shape, way: Way, key: u64) -> Cursor {
        Cursor::at_message(shape, way, key, 0)
    }

    /// The beginning of a message.
    #[must_use]
    pub fn at_message(shape: Shape, way: Way, key: u64, message: u64) -> Cursor {
        let (size, around) = around(&shape, way, key, message);
        Cursor { shape, way, key, message, size, around, at: 0 }
    }

    /// Bytes left of the message under way; the whole next one between messages.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.around.whole(self.size) - self.at
    }

    /// Whether a message is begun and not finished.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.at > 0
    }

    /// Messages finished.
    #[must_use]
    pub fn message(&self) -> u64 {
        self.message
    }

    /// Messages begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.message + u64::from(self.is_inside())
    }

    /// Bytes of the payload of the message under way.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Bytes passed of the message under way.
    #[must_use]
    pub fn at(&self) -> u32 {
        self.at
    }

    /// Writes the next bytes and moves on.
    pub fn fill(&mut self, target: &mut [u8]) {
        let mut rest = target;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(rest.len().min(self.left() as usize));
            self.fill_within(now);
            rest = later;
        }
    }

    /// Compares what came with what should, no further than message `end` begins, and moves on; says how many bytes were right.
    ///
    /// # Errors
    /// The first byte that differs, and its place in `got`. The cursor stands before it.
    pub fn check(&mut self, got: &[u8], end: u64) -> Result<usize, (usize, Mismatch)> {
        let mut expected = [0; CHUNK_BYTES];
        let mut done = 0;
        while done < got.len() && self.message < end {
            let count = (self.left() as usize).min(got.len() - done).min(CHUNK_BYTES);
            let before = *self;
            let (expected, part) = (&mut expected[..count], &got[done..done + count]);
            self.fill_within(expected);
            if expected != part {
                let place = part.iter().zip(&*expected).position(|(got, right)| got != right).unwrap_or(0);
                *self = before;
                self.advance(u32::try_from(place).unwrap_or(0));
                return Err((done + place, self.mismatch(&got[..done + place], &got[done + place..])));
            }
            done += count;
        }
        Ok(done)
    }

    /// Describes the difference of the byte that stands here from the first of `got`; `before` came before it.
    fn mismatch(&self, before: &[u8], got: &[u8]) -> Mismatch {
        let head = u32::try_from(self.around.head().len()).unwrap_or(0);
        let (part, at) = if self.at < head {
            (Part::Head, self.at)
        } else if self.at < head + self.size {
            (Part::Payload, self.at - head)
        } else {
            (Part::Tail, self.at - head - self.size)
        };
        // Bytes from before the receive were right, so they are known too.
        let index = self.at.min(SHOWN_BYTES);
        let shown = (index + 1 + SHOWN_BYTES).min(index + self.left());
        let mut start = *self;
        start.at -= index;
        let mut expected = vec![0; shown as usize];
        start.fill(&mut expected);
        let index = index as usize;
        let came = before.len().min(index);
        let mut shown_got = expected[..index - came].to_vec();
        shown_got.extend_from_slice(&before[before.len() - came..]);
        shown_got.extend(got.iter().take(expected.len() - index));
        Mismatch {
            message: self.message,
            size: self.size,
            part,
            at,
            at_whole: self.at,
            expected,
            got: shown_got,
            index,
        }
    }

    /// Fills bytes of one message and moves to the next when it ends.
    fn fill_within(&mut self, target: &mut [u8]) {
        let count = u32::try_from(target.len()).unwrap_or(u32::MAX);
        let (head, tail) = (self.around.head(), self.around.tail());
        let mut at = self.at as usize;
        let mut rest = target;
        if at < head.len() {
            let (now, later) = rest.split_at_mut(rest.len().min(head.len() - at));
            now.copy_from_slice(&head[at..at + now.len()]);
            at += now.len();
            rest = later;
        }
        let size = self.size as usize;
        if !rest.is_empty() && at < head.len() + size {
            let place = at - head.len();
            let (now, later) = rest.split_at_mut(rest.len().min(size - place));
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            self.shape.messages.fill(self.key, self.message, place, now);
            if let Some(mask) = self.around.mask {
                xor(now, mask, place);
            }
            rest = later;
        }
        // What is behind the payload is one byte at most.
        rest.copy_from_slice(&tail[..rest.len()]);
        self.advance(count);
    }

    fn advance(&mut self, bytes: u32) {
        self.at += bytes;
        if self.at == self.around.whole(self.size) {
            *self = Cursor::at_message(self.shape, self.way, self.key, self.message + 1);
        }
    }
}

/// Size of a message's payload and what stands around it.
fn around(shape: &Shape, way: Way, key: u64, message: u64) -> (u32, Around) {
    let size = shape.messages.size(key, message);
    let around = match way {
        Way::There => shape.frame.sent(size, key ^ mix(message)),
        Way::Back => shape.frame.heard(size),
    };
    (size, around)
}

/// Masks bytes that stand at `at` of a payload.
pub(super) fn xor(bytes: &mut [u8], mask: [u8; 4], at: u32) {
    let mut mask = mask;
    mask.rotate_left((at % 4) as usize);
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    words.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(frame: &str, sizes: &str) -> Shape {
        let frame: Frame = frame.parse().expect("sound");
        let messages = Messages { seed: 7, sizes: sizes.parse().expect("sound"), alphabet: frame.alphabet() };
        Shape { messages, frame }
    }

    fn text(shape: Shape, way: Way, bytes: usize) -> Vec<u8> {
        let mut text = vec![0; bytes];
        Cursor::new(shape, way, 5).fill(&mut text);
        text
    }

    const FRAMES: [&str; 7] =
        ["none", "len8", "len16:little", "len32", "len64:inclusive", "lines", "websocket"];

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        for frame in FRAMES {
            let shape = shape(frame, "1-200");
            for way in [Way::There, Way::Back] {
                let whole = text(shape, way, 5_000);
                for step in [1, 3, 7, 8, 64, 999] {
                    let mut writer = Cursor::new(shape, way, 5);
                    let mut pieces = vec![0; 5_000];
                    pieces.chunks_mut(step).for_each(|piece| writer.fill(piece));
                    assert_eq!(pieces, whole, "{frame} written in steps of {step}");
                    let mut reader = Cursor::new(shape, way, 5);
                    for piece in whole.chunks(step) {
                        assert_eq!(reader.check(piece, u64::MAX).expect("the same"), piece.len());
                    }
                    assert_eq!((reader.message(), reader.at()), (writer.message(), writer.at()));
                }
            }
        }
    }

    #[test]
    fn every_wrong_byte_is_found_at_its_place() {
        for frame in FRAMES {
            let shape = shape(frame, "40");
            let good = text(shape, Way::Back, 1_000);
            for step in [1_000, 13] {
                for place in (0..1_000).step_by(3) {
                    let mut bad = good.clone();
                    bad[place] ^= 0x40;
                    let mut reader = Cursor::new(shape, Way::Back, 5);
                    let mut passed = 0;
                    let found = bad.chunks(step).find_map(|piece| {
                        let wrong = reader.check(piece, u64::MAX).err();
                        passed += if wrong.is_none() { piece.len() } else { 0 };
                        wrong
                    });
                    let (at, mismatch) = found.expect("a byte is wrong");
                    assert_eq!(passed + at, place, "{frame}");
                    assert_eq!(mismatch.got[mismatch.index], bad[place]);
                    assert_eq!(mismatch.expected[mismatch.index], good[place]);
                    assert_eq!(mismatch.got[..mismatch.index], mismatch.expected[..mismatch.index]);
                    let whole = Cursor::new(shape, Way::Back, 5).left() as usize;
                    assert_eq!(mismatch.message, (place / whole) as u64);
                    assert_eq!(mismatch.at_whole as usize, place % whole);
                }
            }
        }
    }

    #[test]
    fn nothing_is_right_beyond_what_was_asked() {
        let shape = shape("len32", "10");
        let good = text(shape, Way::Back, 140);
        let mut reader = Cursor::new(shape, Way::Back, 5);
        assert_eq!(reader.check(&good, 3).expect("right"), 42);
        assert_eq!((reader.message(), reader.is_inside()), (3, false));
    }

    #[test]
    fn masked_payloads_unmask_to_what_comes_back() {
        let shape = shape("websocket", "300");
        let there = text(shape, Way::There, 308);
        let mut payload = there[8..].to_vec();
        let mask = [there[4], there[5], there[6], there[7]];
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        assert_eq!(payload, text(shape, Way::Back, 300));
    }
}
