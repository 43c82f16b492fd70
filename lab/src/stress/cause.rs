//! Where wrong bytes come from: changed, lost, said again, out of their order, or another connection's.

use std::fmt;
use std::ops::Range;

use super::cursor::{Cursor, Mismatch, Shape, Way};

/// Bytes that are looked for elsewhere, where so many came.
const SAMPLE_BYTES: usize = 16;

/// Fewer are no evidence.
const SAMPLE_BYTES_MIN: usize = 8;

/// Bytes of a connection's own stream that are searched before and behind the place.
const OWN_BYTES_MAX: usize = 1 << 20;

/// Bytes of other connections' streams that are searched altogether.
const OTHERS_BYTES_MAX: usize = 64 << 20;

/// What became of the bytes that should have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Nothing that can be said with certainty.
    #[default]
    Unknown,
    /// So many bytes were changed; what follows them is right.
    Changed(usize),
    /// Everything from the place on is missing up to a byte of a message.
    Lost {
        /// The message that came instead.
        message: u64,
        /// The byte of it that came first.
        at: u32,
        /// Bytes that are missing.
        bytes: u64,
    },
    /// What had come before came again.
    Again {
        /// From this message on.
        message: u64,
        /// And this byte of it.
        at: u32,
    },
    /// A later message came first, and what was due came behind it.
    Reordered {
        /// The message that came first.
        message: u64,
        /// The byte of it that came first.
        at: u32,
    },
    /// The bytes are another connection's.
    Stranger {
        /// Whose.
        connection: u32,
        /// Which message of its.
        message: u64,
    },
}

/// A connection's life whose words may have gone astray.
#[derive(Clone, Debug)]
pub struct Other {
    /// Which connection.
    pub connection: u32,
    /// Its life's key.
    pub key: u64,
    /// The messages that it may have had under way.
    pub messages: Range<u64>,
}

/// What is known when a wrong byte came.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// What streams follow from.
    pub shape: Shape,
    /// Whose stream it is.
    pub key: u64,
    /// The wrong byte.
    pub mismatch: &'a Mismatch,
    /// What came from it on.
    pub bytes: &'a [u8],
    /// Messages that were begun.
    pub begun: u64,
}

impl Evidence<'_> {
    /// Looks for the bytes elsewhere. Takes some milliseconds.
    #[must_use]
    pub fn cause(&self, others: impl Iterator<Item = Other>) -> Cause {
        let sample = &self.bytes[..self.bytes.len().min(SAMPLE_BYTES)];
        if sample.len() < SAMPLE_BYTES_MIN {
            return self.changed();
        }
        if let Some(cause) = self.elsewhere(sample) {
            return cause;
        }
        self.strangers(sample, others).unwrap_or_else(|| self.changed())
    }

    /// Whether the bytes stand elsewhere in the connection's own stream.
    fn elsewhere(&self, sample: &[u8]) -> Option<Cause> {
        let Mismatch { message: first, at_whole, .. } = *self.mismatch;
        let ahead = Text::new(&self.shape, self.key, first..self.begun, OWN_BYTES_MAX);
        let here = at_whole as usize;
        if let Some(place) = find(ahead.bytes.get(here + 1..).unwrap_or_default(), sample) {
            let (message, at) = ahead.place(here + 1 + place);
            let due = &ahead.bytes[here..ahead.bytes.len().min(here + SAMPLE_BYTES)];
            let is_late = due.len() >= SAMPLE_BYTES_MIN && find(self.bytes, due).is_some();
            let bytes = place as u64 + 1;
            let lost = Cause::Lost { message, at, bytes };
            return Some(if is_late { Cause::Reordered { message, at } } else { lost });
        }
        let behind = Text::before(&self.shape, self.key, first, OWN_BYTES_MAX);
        let due = ahead.bytes.get(..here).unwrap_or_default();
        let all = Text { bytes: [&behind.bytes[..], due].concat(), starts: behind.starts };
        let place = all.bytes.windows(sample.len()).rposition(|window| window == sample)?;
        let (message, at) = all.place(place);
        let here = behind.bytes.len() <= place;
        let (message, at) = if here { (first, small(place - behind.bytes.len())) } else { (message, at) };
        Some(Cause::Again { message, at })
    }

    fn strangers(&self, sample: &[u8], others: impl Iterator<Item = Other>) -> Option<Cause> {
        let mut left = OTHERS_BYTES_MAX;
        for other in others {
            let text = Text::new(&self.shape, other.key, other.messages, left);
            if let Some(place) = find(&text.bytes, sample) {
                let (message, _) = text.place(place);
                return Some(Cause::Stranger { connection: other.connection, message });
            }
            left = left.saturating_sub(text.bytes.len());
            if left == 0 {
                break;
            }
        }
        None
    }

    /// How many bytes were changed, when those behind them are right again.
    fn changed(&self) -> Cause {
        let mut due = Cursor::at_message(self.shape, Way::Back, self.key, self.mismatch.message);
        let mut expected = vec![0; self.mismatch.at_whole as usize + self.bytes.len()];
        due.fill(&mut expected);
        let expected = &expected[self.mismatch.at_whole as usize..];
        let differs = |(got, right): (&u8, &u8)| got != right;
        let last = self.bytes.iter().zip(expected).rposition(differs).unwrap_or(0);
        let count = self.bytes.iter().zip(expected).filter(|pair| differs(*pair)).count();
        let is_right_behind = self.bytes.len() - last.min(self.bytes.len()) > SAMPLE_BYTES_MIN;
        // At the end of what came there is nothing behind that could be right.
        if is_right_behind || (count == 1 && last == 0) { Cause::Changed(count) } else { Cause::Unknown }
    }
}

/// Some messages of a stream, as they should come.
struct Text {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<(usize, u64)>,
}

impl Text {
    /// These messages, as far as they fit into `bytes_max`.
    fn new(shape: &Shape, key: u64, messages: Range<u64>, bytes_max: usize) -> Text {
        let mut text = Text { bytes: Vec::new(), starts: Vec::new() };
        for message in messages {
            let mut cursor = Cursor::at_message(*shape, Way::Back, key, message);
            let start = text.bytes.len();
            let size = cursor.left() as usize;
            if start + size > bytes_max {
                break;
            }
            text.starts.push((start, message));
            text.bytes.resize(start + size, 0);
            cursor.fill(&mut text.bytes[start..]);
        }
        text
    }

    /// The messages before `end`, as many as fit.
    fn before(shape: &Shape, key: u64, end: u64, bytes_max: usize) -> Text {
        let mut left = bytes_max;
        let mut first = end;
        while first > 0 {
            let size = Cursor::at_message(*shape, Way::Back, key, first - 1).left() as usize;
            let Some(rest) = left.checked_sub(size) else { break };
            (left, first) = (rest, first - 1);
        }
        Text::new(shape, key, first..end, bytes_max)
    }

    /// Message and byte of it at a place.
    fn place(&self, place: usize) -> (u64, u32) {
        let index = self.starts.partition_point(|(start, _)| *start <= place).saturating_sub(1);
        self.starts.get(index).map_or((0, 0), |(start, message)| (*message, small(place - start)))
    }
}

fn find(text: &[u8], sample: &[u8]) -> Option<usize> {
    text.windows(sample.len().max(1)).position(|window| window == sample)
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Unknown => Ok(()),
            Cause::Changed(1) => f.write_str("; this byte was changed"),
            Cause::Changed(count) => write!(f, "; {count} bytes were changed, what follows is right"),
            Cause::Lost { message, at, bytes } => {
                write!(f, "; {bytes} bytes are lost: byte {at} of message {message} came instead")
            }
            Cause::Again { message, at } => write!(f, "; message {message} came again from its byte {at}"),
            Cause::Reordered { message, at } => {
                write!(f, "; out of order: byte {at} of message {message} came first, this one later")
            }
            Cause::Stranger { connection, message } => {
                write!(f, "; these are bytes of message {message} of connection {connection}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::frame::Frame;
    use crate::stress::message::Messages;
    use crate::stress::reader::{Reader, Wrong};

    fn shape(frame: &str, sizes: &str) -> Shape {
        let frame: Frame = frame.parse().expect("sound");
        let messages = Messages { seed: 7, sizes: sizes.parse().expect("sound"), alphabet: frame.alphabet() };
        Shape { messages, frame }
    }

    fn message(shape: Shape, key: u64, message: u64) -> Vec<u8> {
        Text::new(&shape, key, message..message + 1, usize::MAX).bytes
    }

    /// What is found out about a stream of messages of `order`, of which 10 were begun.
    fn cause(shape: Shape, order: &[u64], change: impl Fn(&mut Vec<u8>)) -> (u64, u32, Cause) {
        let mut bytes: Vec<u8> = order.iter().flat_map(|number| message(shape, 5, *number)).collect();
        change(&mut bytes);
        let wrong = Reader::new(shape, 5).hear(&bytes, 10).expect_err("it is wrong");
        let Wrong::Different(mismatch, bytes) = wrong else { panic!("{wrong:?}") };
        let evidence = Evidence { shape, key: 5, mismatch: &mismatch, bytes: &bytes, begun: 10 };
        let others =
            (0..50).map(|connection| Other { connection, key: 100 + u64::from(connection), messages: 0..5 });
        (mismatch.message, mismatch.at_whole, evidence.cause(others))
    }

    #[test]
    fn messages_that_are_lost_repeated_or_out_of_order_are_named() {
        for frame in ["none", "len32", "lines"] {
            let shape = shape(frame, "64");
            let whole = message(shape, 5, 0).len() as u64;
            // Where all messages are as long as each other, their heads are the same and the payload is the first to differ.
            let head = if frame == "len32" { 4 } else { 0 };
            let (at, _, lost) = cause(shape, &[0, 1, 4, 5], |_| ());
            assert_eq!((at, lost), (2, Cause::Lost { message: 4, at: head, bytes: 2 * whole }), "{frame}");
            let (at, _, again) = cause(shape, &[0, 1, 1, 2], |_| ());
            assert_eq!((at, again), (2, Cause::Again { message: 1, at: head }), "{frame}");
            let (at, _, swapped) = cause(shape, &[0, 1, 3, 2, 4], |_| ());
            assert_eq!((at, swapped), (2, Cause::Reordered { message: 3, at: head }), "{frame}");
        }
    }

    #[test]
    fn bytes_that_are_lost_repeated_or_changed_are_counted() {
        let shape = shape("none", "100");
        let (_, at, lost) = cause(shape, &[0, 1, 2], |bytes| drop(bytes.drain(50..60)));
        assert_eq!((at, lost), (50, Cause::Lost { message: 0, at: 60, bytes: 10 }));
        let (_, at, again) = cause(shape, &[0, 1, 2], |bytes| {
            let again = bytes[120..150].to_vec();
            drop(bytes.splice(150..150, again));
        });
        assert_eq!((at, again), (50, Cause::Again { message: 1, at: 20 }));
        let (_, at, changed) =
            cause(shape, &[0, 1, 2], |bytes| bytes[70..73].iter_mut().for_each(|byte| *byte ^= 1));
        assert_eq!((at, changed), (70, Cause::Changed(3)));
        let (_, at, changed) = cause(shape, &[0], |bytes| bytes[99] ^= 1);
        assert_eq!((at, changed), (99, Cause::Changed(1)));
    }

    #[test]
    fn words_of_another_connection_are_named() {
        let shape = shape("len16", "30");
        let (at, _, stranger) = cause(shape, &[0, 1, 2], |bytes| {
            bytes[32..64].copy_from_slice(&message(shape, 117, 3));
        });
        assert_eq!((at, stranger), (1, Cause::Stranger { connection: 17, message: 3 }));
    }
}
