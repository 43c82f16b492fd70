//! Recognises an answer's head that says the same as one read before, so that it need not be read again.

use std::ops::Range;

use super::Reply;
use crate::octets::value_end;

/// Which bytes of a head that was read may differ in the next one without changing what it says: those of its `Date`.
///
/// The caller keeps the head's bytes; this is a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    head_bytes: usize,
    date: (usize, usize),
}

impl Likeness {
    /// Of a head that has passed every check.
    pub fn of(reply: &Reply<'_>) -> Self {
        let Range { start, end } = reply.date().unwrap_or(0..0);
        Self { head_bytes: reply.as_bytes().len(), date: (start, end) }
    }

    /// Bytes of the head.
    pub const fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Whether `input` begins with a head that equals `kept`, the one this was made of, but for the value of its `Date`,
    /// which must be one of the same length. Reading it would come to what reading `kept` came to.
    ///
    /// # Panics
    /// When `kept` is shorter than the head.
    pub fn is_repeated(&self, kept: &[u8], input: &[u8]) -> bool {
        let Some(head) = input.get(..self.head_bytes) else { return false };
        let (start, end) = self.date;
        head[..start] == kept[..start]
            && head[end..] == kept[end..self.head_bytes]
            && value_end(&head[..end], start) == end
            && (start == end || !is_space(head[start]) && !is_space(head[end - 1]))
    }
}

/// Whitespace at an end would not belong to the value.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
