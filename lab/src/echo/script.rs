//! What an echo connection says: every byte follows from a seed, so that an answer can be checked without being kept.

use std::fmt;
use std::str::FromStr;

/// Bytes of the length in front of each message when messages are framed: big-endian, counting the payload only.
pub const PREFIX_BYTES: u32 = 4;

/// Longest payload of a message, in bytes.
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 20;

/// Bytes shown before and after the first wrong one.
const WINDOW_BYTES: usize = 8;

/// Wrong bytes that must be found elsewhere for a guess.
pub const SURE_BYTES: usize = 8;

/// Bytes of the expected stream made at a time.
const CHUNK_BYTES: usize = 512;

/// What payloads look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pattern {
    /// Bytes that look random and differ between connections.
    #[default]
    Seeded,
    /// 0, 1, 2 … 255, 0 … over the connection's whole stream.
    Counting,
    /// Zeros; what is wrong about their order cannot be seen.
    Zeros,
}

/// How a message is told from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Framing {
    /// Not at all: a stream of bytes.
    #[default]
    Raw,
    /// By a big-endian length of four bytes in front of each payload.
    Length,
}

/// The sizes of payloads in bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The smallest, at least 1.
    pub low: u32,
    /// The largest, at most [`PAYLOAD_BYTES_MAX`].
    pub high: u32,
}

/// What one connection says in one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Decides sizes and seeded bytes.
    pub key: u64,
    /// The sizes of payloads.
    pub sizes: Sizes,
    /// What payloads look like.
    pub pattern: Pattern,
    /// How messages are told apart.
    pub framing: Framing,
}

/// A place in a script: where a sender is, or a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    script: Script,
    message: u64,
    /// Bytes of the whole message, prefix included.
    size: u32,
    at: u32,
    offset: u64,
}

/// The first byte that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its place in the connection's stream, from 0.
    pub offset: u64,
    /// The message it belongs to, from 0.
    pub message: u64,
    /// Its place in that message, prefix included, from 0.
    pub at: u32,
    /// Whether it is part of the message's length prefix.
    pub is_prefix: bool,
    /// Bytes around it as they should be, and which of them it is.
    pub expected: Vec<u8>,
    /// The same bytes as they came.
    pub got: Vec<u8>,
    /// The index of the wrong byte in both.
    pub index: usize,
    /// What was found out about where the wrong bytes come from.
    pub guess: Guess,
}

/// Where wrong bytes seem to come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guess {
    /// Nowhere known: the bytes were changed.
    #[default]
    Changed,
    /// So many bytes of the stream are missing before them.
    Missing(u64),
    /// The stream went back by so many bytes.
    Repeated(u64),
    /// They stand at the same place in the stream of another connection.
    Stranger(u32),
}

impl Script {
    /// The script of a connection's life: another one for every connection and every time it reconnects.
    #[must_use]
    pub fn of_life(seed: u64, connection: u32, life: u32, shape: &Script) -> Script {
        let place = u64::from(connection) << 32 | u64::from(life);
        Script { key: mix(mix(seed).wrapping_add(place)), ..*shape }
    }

    /// Bytes of the largest message, prefix included.
    #[must_use]
    pub fn size_max(&self) -> u32 {
        self.sizes.high + if self.framing == Framing::Length { PREFIX_BYTES } else { 0 }
    }

    fn size_of(&self, message: u64) -> u32 {
        let span = u64::from(self.sizes.high.saturating_sub(self.sizes.low)) + 1;
        let more = if span == 1 { 0 } else { mix(!self.key ^ mix(message)) % span };
        let payload = self.sizes.low + u32::try_from(more).unwrap_or(0);
        match self.framing {
            Framing::Raw => payload,
            Framing::Length => payload + PREFIX_BYTES,
        }
    }

    /// Writes the payload bytes that stand at `offset` of the stream.
    fn payload(&self, offset: u64, target: &mut [u8]) {
        match self.pattern {
            Pattern::Zeros => target.fill(0),
            Pattern::Counting => {
                let first = offset.to_le_bytes()[0];
                let mut next = first;
                for byte in target {
                    *byte = next;
                    next = next.wrapping_add(1);
                }
            }
            Pattern::Seeded => self.seeded(offset, target),
        }
    }

    fn seeded(&self, offset: u64, target: &mut [u8]) {
        let word =
            |index: u64| mix(self.key.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes();
        let skip = usize::from(offset.to_le_bytes()[0] % 8);
        let mut index = offset / 8;
        let mut rest = target;
        if skip > 0 {
            let count = rest.len().min(8 - skip);
            let (head, tail) = rest.split_at_mut(count);
            head.copy_from_slice(&word(index)[skip..skip + count]);
            rest = tail;
            index += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for target in &mut words {
            target.copy_from_slice(&word(index));
            index += 1;
        }
        let last = words.into_remainder();
        last.copy_from_slice(&word(index)[..last.len()]);
    }
}

impl Cursor {
    /// The beginning of a script.
    #[must_use]
    pub fn new(script: Script) -> Cursor {
        Cursor { script, message: 0, size: script.size_of(0), at: 0, offset: 0 }
    }

    /// Bytes left of the message under way; the whole next one between messages.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.size - self.at
    }

    /// Whether a message is begun and not finished.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.at > 0
    }

    /// Messages finished.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.message
    }

    /// Bytes passed.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes the next bytes of the script and moves on.
    pub fn fill(&mut self, target: &mut [u8]) {
        let mut rest = target;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(rest.len().min(self.left() as usize));
            self.fill_within(now);
            rest = later;
        }
    }

    /// Compares what came with the script and moves on; says how many messages it finished.
    ///
    /// # Errors
    /// The first byte that differs. The cursor is then of no further use.
    pub fn check(&mut self, got: &[u8]) -> Result<u64, Mismatch> {
        let finished_before = self.message;
        let mut expected = [0; CHUNK_BYTES];
        for (index, part) in got.chunks(CHUNK_BYTES).enumerate() {
            let before = *self;
            let expected = &mut expected[..part.len()];
            self.fill(expected);
            if expected != part {
                let place =
                    part.iter().zip(&*expected).position(|(got, expected)| got != expected).unwrap_or(0);
                return Err(before.mismatch(&got[index * CHUNK_BYTES..], place));
            }
        }
        Ok(self.message - finished_before)
    }

    /// Whether `got` is what comes next.
    #[must_use]
    pub fn matches(mut self, got: &[u8]) -> bool {
        let mut expected = [0; CHUNK_BYTES];
        got.chunks(CHUNK_BYTES).all(|part| {
            self.fill(&mut expected[..part.len()]);
            expected[..part.len()] == *part
        })
    }

    /// Looks for wrong bytes, which came where this cursor stands, elsewhere in its stream. Needs some of them to be sure, and
    /// bytes that tell their place. Takes a millisecond or two.
    #[must_use]
    pub fn guess(&self, got: &[u8]) -> Guess {
        const FAR_BYTES: u64 = 1 << 16;
        let Some(sample) = got.get(..SURE_BYTES) else { return Guess::Changed };
        if self.script.pattern != Pattern::Seeded {
            return Guess::Changed;
        }
        let mut behind = Cursor::new(self.script);
        behind.skip(self.offset.saturating_sub(FAR_BYTES));
        let mut repeated = None;
        while behind.offset < self.offset {
            if behind.matches(sample) {
                // The nearest one counts.
                repeated = Some(Guess::Repeated(self.offset - behind.offset));
            }
            behind.skip(1);
        }
        let mut ahead = *self;
        let mut missing = || {
            (1..=FAR_BYTES).find(|_| {
                ahead.skip(1);
                ahead.matches(sample)
            })
        };
        repeated.or_else(|| missing().map(Guess::Missing)).unwrap_or_default()
    }

    /// Moves on without looking.
    pub fn skip(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let step = left.min(u64::from(self.left()));
            self.advance(u32::try_from(step).unwrap_or(0));
            left -= step;
        }
    }

    /// Fills bytes of one message and moves to the next when it ends.
    fn fill_within(&mut self, target: &mut [u8]) {
        let count = u32::try_from(target.len()).unwrap_or(u32::MAX);
        let mut rest = target;
        let mut offset = self.offset;
        if self.script.framing == Framing::Length && self.at < PREFIX_BYTES {
            let prefix = (self.size - PREFIX_BYTES).to_be_bytes();
            let at = self.at as usize;
            let (head, tail) = rest.split_at_mut(rest.len().min(prefix.len() - at));
            head.copy_from_slice(&prefix[at..at + head.len()]);
            offset += head.len() as u64;
            rest = tail;
        }
        self.script.payload(offset, rest);
        self.advance(count);
    }

    /// Describes the difference at `place` of `got`, which begins where this cursor stands.
    fn mismatch(&self, got: &[u8], place: usize) -> Mismatch {
        let at_place = self.clone_at(place);
        let start = place.saturating_sub(WINDOW_BYTES);
        let end = got.len().min(place + 1 + WINDOW_BYTES);
        let mut expected = vec![0; end - start];
        self.clone_at(start).fill(&mut expected);
        Mismatch {
            offset: at_place.offset,
            message: at_place.message,
            at: at_place.at,
            is_prefix: self.script.framing == Framing::Length && at_place.at < PREFIX_BYTES,
            expected,
            got: got[start..end].to_vec(),
            index: place - start,
            guess: Guess::Changed,
        }
    }

    fn clone_at(&self, bytes: usize) -> Cursor {
        let mut cursor = *self;
        cursor.skip(bytes as u64);
        cursor
    }

    /// Moves on within a message, and to the next when it ends.
    fn advance(&mut self, bytes: u32) {
        self.at += bytes;
        self.offset += u64::from(bytes);
        if self.at == self.size {
            self.message += 1;
            self.at = 0;
            self.size = self.script.size_of(self.message);
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, got) = (self.expected[self.index], self.got[self.index]);
        let place = if self.is_prefix { " of the length prefix" } else { "" };
        write!(
            f,
            "byte {} of its stream (byte {}{place} of message {}) should be {expected:02x} and is {got:02x}; expected {}, \
             got {}{}",
            self.offset,
            self.at,
            self.message,
            hex(&self.expected, self.index),
            hex(&self.got, self.index),
            self.guess
        )
    }
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guess::Changed => Ok(()),
            Guess::Missing(bytes) => write!(f, "; {bytes} bytes of the stream are missing before it"),
            Guess::Repeated(bytes) => write!(f, "; the last {bytes} bytes of the stream came again"),
            Guess::Stranger(connection) => {
                write!(f, "; the bytes are those of connection {connection} at this place")
            }
        }
    }
}

/// Bytes in hexadecimal, the one at `marked` in brackets.
fn hex(bytes: &[u8], marked: usize) -> String {
    let shown = bytes
        .iter()
        .enumerate()
        .map(|(index, byte)| if index == marked { format!("[{byte:02x}]") } else { format!("{byte:02x}") });
    shown.collect::<Vec<_>>().join(" ")
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let number = |text: &str| {
            text.parse::<u32>().map_err(|error| format!("{text:?} is no number of bytes: {error}"))
        };
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(text)?, number(text)?),
        };
        if low == 0 || low > high || high > PAYLOAD_BYTES_MAX {
            return Err(format!("a message has 1 to {PAYLOAD_BYTES_MAX} bytes, as SIZE or SMALLEST-LARGEST"));
        }
        Ok(Sizes { low, high })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

/// SplitMix64's finisher: spreads every bit of the input over the output.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(low: u32, high: u32, pattern: Pattern, framing: Framing) -> Script {
        let shape = Script { key: 0, sizes: Sizes { low, high }, pattern, framing };
        Script::of_life(7, 3, 0, &shape)
    }

    fn text(script: Script, bytes: usize) -> Vec<u8> {
        let mut text = vec![0; bytes];
        Cursor::new(script).fill(&mut text);
        text
    }

    #[test]
    fn a_script_is_the_same_however_it_is_cut() {
        for framing in [Framing::Raw, Framing::Length] {
            for pattern in [Pattern::Seeded, Pattern::Counting, Pattern::Zeros] {
                let script = script(1, 40, pattern, framing);
                let whole = text(script, 5_000);
                for step in [1, 3, 7, 8, 64, 999] {
                    let mut writer = Cursor::new(script);
                    let mut pieces = vec![0; 5_000];
                    pieces.chunks_mut(step).for_each(|piece| writer.fill(piece));
                    assert_eq!(pieces, whole, "written in steps of {step}");
                    let mut reader = Cursor::new(script);
                    let finished: u64 =
                        whole.chunks(step).map(|piece| reader.check(piece).expect("the same bytes")).sum();
                    assert_eq!((finished, reader), (reader.messages(), writer), "read in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn messages_carry_their_length() {
        let script = script(5, 300, Pattern::Seeded, Framing::Length);
        let whole = text(script, 20_000);
        let mut rest = &whole[..];
        let mut sizes = Vec::new();
        while rest.len() > 304 {
            let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes"));
            assert!((5..=300).contains(&length), "{length}");
            sizes.push(length);
            rest = &rest[4 + length as usize..];
        }
        assert!(sizes.iter().min() < Some(&60) && sizes.iter().max() > Some(&250), "sizes vary: {sizes:?}");
    }

    #[test]
    fn every_wrong_byte_is_found_at_its_place() {
        let script = script(64, 64, Pattern::Seeded, Framing::Length);
        let good = text(script, 3_000);
        for place in (0..3_000).step_by(37) {
            let mut bad = good.clone();
            bad[place] ^= 0x40;
            let mismatch = Cursor::new(script).check(&bad).expect_err("a byte is wrong");
            assert_eq!(mismatch.offset, place as u64);
            assert_eq!(
                (mismatch.message, mismatch.at),
                (place as u64 / 68, u32::try_from(place % 68).expect("small"))
            );
            assert_eq!(mismatch.is_prefix, place % 68 < 4);
            assert_eq!(mismatch.got[mismatch.index], bad[place]);
            assert_eq!(mismatch.expected[mismatch.index], good[place]);
            assert_eq!(mismatch.guess, Guess::Changed);
        }
    }

    #[test]
    fn lost_and_repeated_bytes_are_told_from_changed_ones() {
        let script = script(64, 64, Pattern::Seeded, Framing::Raw);
        let good = text(script, 4_000);
        let guess = |bytes: &[u8]| {
            let mut mismatch = Cursor::new(script).check(bytes).expect_err("something is wrong");
            let mut cursor = Cursor::new(script);
            cursor.skip(mismatch.offset);
            mismatch.guess = cursor.guess(&bytes[1_000..]);
            (mismatch.offset, mismatch.guess, mismatch.to_string())
        };
        let (offset, lost, _) = guess(&[&good[..1_000], &good[1_500..]].concat());
        assert_eq!((offset, lost), (1_000, Guess::Missing(500)));
        let (offset, again, text) = guess(&[&good[..1_000], &good[900..]].concat());
        assert_eq!((offset, again), (1_000, Guess::Repeated(100)));
        assert!(text.ends_with("; the last 100 bytes of the stream came again"), "{text}");
        let (_, changed, _) = guess(&[&good[..1_000], &[7; 20], &good[1_020..]].concat());
        assert_eq!(changed, Guess::Changed);
    }

    #[test]
    fn lives_and_connections_differ() {
        let shape = script(64, 64, Pattern::Seeded, Framing::Raw);
        let start = |seed, connection, life| text(Script::of_life(seed, connection, life, &shape), 16);
        let all = [start(1, 0, 0), start(1, 0, 1), start(1, 1, 0), start(2, 0, 0)];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one));
        }
        assert_eq!(start(1, 0, 1), all[1], "a seed repeats itself");
    }

    #[test]
    fn a_difference_is_described_with_the_bytes_around_it() {
        let script = script(300, 300, Pattern::Counting, Framing::Raw);
        let mut bad = text(script, 20);
        bad[10] = 0xff;
        let mismatch = Cursor::new(script).check(&bad).expect_err("a byte is wrong");
        assert_eq!(
            mismatch.to_string(),
            "byte 10 of its stream (byte 10 of message 0) should be 0a and is ff; expected 02 03 04 05 06 07 08 09 [0a] \
             0b 0c 0d 0e 0f 10 11 12, got 02 03 04 05 06 07 08 09 [ff] 0b 0c 0d 0e 0f 10 11 12"
        );
    }

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!("64".parse(), Ok(Sizes { low: 64, high: 64 }));
        assert_eq!("1-1048576".parse(), Ok(Sizes { low: 1, high: PAYLOAD_BYTES_MAX }));
        for text in ["0", "", "-", "9-3", "1048577", "a-b", "3-"] {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
    }
}
