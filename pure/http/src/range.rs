//! Byte ranges (RFC 9110 section 14): which bytes are asked for, and the bodies that carry several.

use crate::octets::trim;
use crate::response::{DECIMAL_BYTES_MAX, EncodeError, HeadWriter, decimal};

/// Most ranges in one request. A `Range` with more is ignored: the whole is sent (RFC 9110 section 14.2 lets a
/// server do so with requests that look like an attack).
pub const RANGES_MAX: usize = 16;

/// Ranges with a smaller gap than this between them, in bytes, are sent as one: the head of a part costs as much.
pub const GAP_BYTES_MIN: u64 = 80;

/// Bytes of the longest `Content-Range` value.
pub const CONTENT_RANGE_BYTES_MAX: usize = 8 + 3 * DECIMAL_BYTES_MAX;

/// Some bytes of a representation, never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// Behind the last byte; above `start`.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether sending both apart would be waste: they overlap, touch, or nearly touch.
    const fn is_near(&self, other: &Self) -> bool {
        self.start < other.end.saturating_add(GAP_BYTES_MIN)
            && other.start < self.end.saturating_add(GAP_BYTES_MIN)
    }
}

/// Two to [`RANGES_MAX`] ranges, apart from each other, in the order they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: [ByteRange; RANGES_MAX],
    count: usize,
}

impl RangeSet {
    const EMPTY: Self = Self { ranges: [ByteRange { start: 0, end: 1 }; RANGES_MAX], count: 0 };

    /// The ranges.
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    /// Adds a range, or lets it grow together with those it is near to, in the place of the first of them.
    fn add(&mut self, mut range: ByteRange) {
        let mut place = self.count;
        while let Some(near) = self.as_slice().iter().position(|other| other.is_near(&range)) {
            let other = self.ranges[near];
            range = ByteRange { start: range.start.min(other.start), end: range.end.max(other.end) };
            self.ranges.copy_within(near + 1..self.count, near);
            self.count -= 1;
            place = place.min(near);
        }
        self.ranges.copy_within(place..self.count, place + 1);
        self.ranges[place] = range;
        self.count += 1;
    }
}

/// What a `Range` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one request; a box would be an allocation"
)]
pub enum Selection {
    /// The whole: the field makes no sense to this server and is ignored (200).
    Whole,
    /// One range (206).
    Single(ByteRange),
    /// Several (206, `multipart/byteranges`).
    Several(RangeSet),
    /// No byte of this representation (416).
    Unsatisfiable,
}

/// Reads a `Range` against a representation of `len` bytes.
///
/// Ranges that overlap, touch, or lie less than [`GAP_BYTES_MIN`] apart become one, so an answer is never longer
/// than the representation and the heads of its parts. An unknown unit, a malformed range, or more than
/// [`RANGES_MAX`] of them: [`Selection::Whole`].
pub fn select(value: &[u8], len: u64) -> Selection {
    let Some(list) = specs(value) else { return Selection::Whole };
    let mut set = RangeSet::EMPTY;
    let mut count = 0;
    for spec in list.split(|byte| *byte == b',').map(trim).filter(|spec| !spec.is_empty()) {
        count += 1;
        let Some(range) = resolve(spec, len) else { return Selection::Whole };
        if count > RANGES_MAX {
            return Selection::Whole;
        }
        if let Some(range) = range {
            set.add(range);
        }
    }
    match (count, set.as_slice()) {
        (0, _) => Selection::Whole,
        (_, []) => Selection::Unsatisfiable,
        (_, [range]) => Selection::Single(*range),
        _ => Selection::Several(set),
    }
}

/// The value of `Content-Range`: of a part, or of a 416 where `range` is `None`; `len` is the whole length.
pub fn content_range(
    range: Option<ByteRange>,
    len: u64,
    memory: &mut [u8; CONTENT_RANGE_BYTES_MAX],
) -> &[u8] {
    let mut at = 0;
    let mut push = |text: &[u8]| {
        memory[at..at + text.len()].copy_from_slice(text);
        at += text.len();
    };
    push(b"bytes ");
    match range {
        Some(range) => {
            push(decimal(range.start, &mut [0; DECIMAL_BYTES_MAX]));
            push(b"-");
            push(decimal(range.end - 1, &mut [0; DECIMAL_BYTES_MAX]));
        }
        None => push(b"*"),
    }
    push(b"/");
    push(decimal(len, &mut [0; DECIMAL_BYTES_MAX]));
    &memory[..at]
}

/// What parts the parts: 32 hexadecimal digits that the content must not hold, so make them of random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary([u8; 32]);

impl Boundary {
    /// A boundary of 128 random bits.
    pub fn new(random: u128) -> Self {
        let mut text = [0; 32];
        for (byte, pair) in random.to_be_bytes().iter().zip(text.chunks_exact_mut(2)) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// The value of the answer's `Content-Type`.
    pub fn content_type(&self) -> [u8; 63] {
        let mut text = [0; 63];
        text[..31].copy_from_slice(b"multipart/byteranges; boundary=");
        text[31..].copy_from_slice(&self.0);
        text
    }
}

/// A `multipart/byteranges` body (RFC 9110 section 14.6): for each range its head and its bytes, then the end.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// Between the parts.
    pub boundary: Boundary,
    /// `Content-Type` of the representation; empty for none.
    pub content_type: &'a [u8],
    /// Length of the representation in bytes.
    pub len: u64,
}

/// Bytes of [`Multipart::end`].
const END_BYTES: usize = 4 + 32 + 4;

impl Multipart<'_> {
    /// Writes what comes before the bytes of a part; returns its length.
    ///
    /// # Errors
    /// [`EncodeError::Full`], and [`EncodeError::FieldValue`] when the content type is no field value.
    pub fn part_head(&self, range: ByteRange, memory: &mut [u8]) -> Result<usize, EncodeError> {
        let mut head = HeadWriter::new(memory);
        head.raw(b"\r\n--")?;
        head.raw(&self.boundary.0)?;
        head.raw(b"\r\n")?;
        if !self.content_type.is_empty() {
            head.field(b"Content-Type", self.content_type)?;
        }
        let mut text = [0; CONTENT_RANGE_BYTES_MAX];
        head.field(b"Content-Range", content_range(Some(range), self.len, &mut text))?;
        head.finish()
    }

    /// What comes behind the last part.
    pub fn end(&self) -> [u8; END_BYTES] {
        let mut text = *b"\r\n--................................--\r\n";
        text[4..36].copy_from_slice(&self.boundary.0);
        text
    }

    /// The length of the whole body, for `Content-Length`; saturates where 64 bits end.
    pub fn body_len(&self, ranges: &[ByteRange]) -> u64 {
        ranges.iter().fold(END_BYTES as u64, |sum, range| {
            sum.saturating_add(self.head_len(*range)).saturating_add(range.len())
        })
    }

    /// The length of [`Multipart::part_head`].
    fn head_len(&self, range: ByteRange) -> u64 {
        let mut text = [0; CONTENT_RANGE_BYTES_MAX];
        let content_range = content_range(Some(range), self.len, &mut text).len();
        let content_type = if self.content_type.is_empty() { 0 } else { 16 + self.content_type.len() };
        (4 + 32 + 2 + content_type + 17 + content_range + 2) as u64
    }
}

/// What follows `bytes=`.
fn specs(value: &[u8]) -> Option<&[u8]> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    value[..equals].eq_ignore_ascii_case(b"bytes").then(|| &value[equals + 1..])
}

/// One `first-last`, `first-` or `-suffix`: `None` when malformed, `Some(None)` when no byte is meant.
fn resolve(spec: &[u8], len: u64) -> Option<Option<ByteRange>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = position(last)?.min(len);
        if len == 0 && suffix != position(last)? {
            // All of nothing is satisfiable, but `Content-Range` cannot say it: the whole is the same answer.
            return None;
        }
        return Some((suffix > 0).then_some(ByteRange { start: len - suffix, end: len }));
    }
    let start = position(first)?;
    let end = if last.is_empty() { u64::MAX } else { position(last)?.saturating_add(1) };
    if end <= start && start != u64::MAX {
        return None;
    }
    Some((start < len).then_some(ByteRange { start, end: end.min(len) }))
}

/// A number of digits only; beyond 64 bits it is as good as the largest.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |value: u64, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `start-end` of each range, ends exclusive; what else a selection is in words.
    fn selected(value: &str, len: u64) -> String {
        let show = |ranges: &[ByteRange]| {
            ranges.iter().map(|range| format!("{}-{}", range.start, range.end)).collect::<Vec<_>>().join(" ")
        };
        match select(value.as_bytes(), len) {
            Selection::Whole => "whole".into(),
            Selection::Unsatisfiable => "unsatisfiable".into(),
            Selection::Single(range) => show(&[range]),
            Selection::Several(set) => format!("[{}]", show(set.as_slice())),
        }
    }

    #[test]
    fn single_ranges() {
        let cases = [
            ("bytes=0-0", "0-1"),
            ("bytes=0-99", "0-100"),
            ("bytes=10-19", "10-20"),
            ("BYTES=10-", "10-100"),
            ("bytes=-1", "99-100"),
            ("bytes=-100", "0-100"),
            ("bytes=-1000", "0-100"),
            ("bytes=99-1000", "99-100"),
            ("bytes=0-18446744073709551615", "0-100"),
            ("bytes=0-99999999999999999999999", "0-100"),
            ("bytes= 5-6 ", "5-7"),
            ("bytes=,5-6,,", "5-7"),
            ("bytes=100-", "unsatisfiable"),
            ("bytes=100-200,300-", "unsatisfiable"),
            ("bytes=99999999999999999999999-", "unsatisfiable"),
            ("bytes=-0", "unsatisfiable"),
            ("bytes=200-300,5-6", "5-7"),
        ];
        for (value, expected) in cases {
            assert_eq!(selected(value, 100), expected, "{value}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        let bad = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5",
            "bytes=a-",
            "bytes=6-5",
            "bytes=0-0,6-5",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 -2",
            "items=0-1",
            "bytes =0-1",
            "bytes=0-1;",
            "bytes=--1",
            "0-1",
        ];
        for value in bad {
            assert_eq!(selected(value, 100), "whole", "{value}");
        }
    }

    #[test]
    fn nothing_has_no_range_but_its_whole() {
        assert_eq!(selected("bytes=0-", 0), "unsatisfiable");
        assert_eq!(selected("bytes=-5", 0), "whole");
        assert_eq!(selected("bytes=-0", 0), "unsatisfiable");
    }

    #[test]
    fn near_ranges_become_one_and_others_keep_their_order() {
        assert_eq!(selected("bytes=0-9,1000-1009", 5000), "[0-10 1000-1010]");
        assert_eq!(selected("bytes=1000-1009,0-9", 5000), "[1000-1010 0-10]");
        assert_eq!(selected("bytes=0-9,5-20", 5000), "0-21");
        assert_eq!(selected("bytes=0-9,10-20", 5000), "0-21");
        assert_eq!(selected("bytes=0-9,89-99", 5000), "0-100");
        assert_eq!(selected("bytes=0-9,90-99", 5000), "[0-10 90-100]");
        assert_eq!(selected("bytes=0-9,1000-1009,2000-2009,5-1500", 5000), "[0-1501 2000-2010]");
        assert_eq!(selected("bytes=3000-3009,0-9,1000-1009,0-1000,-1", 5000), "[3000-3010 0-1010 4999-5000]");
        assert_eq!(selected("bytes=0-,0-,0-,0-", 5000), "0-5000");
    }

    #[test]
    fn more_ranges_than_the_bound_are_ignored() {
        let list = |count: u64| {
            let specs: Vec<String> = (0..count).map(|i| format!("{0}-{0}", i * 1000)).collect();
            format!("bytes={}", specs.join(","))
        };
        let Selection::Several(set) = select(list(RANGES_MAX as u64).as_bytes(), 1 << 20) else { panic!() };
        assert_eq!(set.as_slice().len(), RANGES_MAX);
        assert_eq!(selected(&list(RANGES_MAX as u64 + 1), 1 << 20), "whole");
        assert_eq!(selected(&format!("bytes={}", "0-,".repeat(1000)), 100), "whole");
    }

    #[test]
    fn content_ranges_are_written() {
        let mut memory = [0; CONTENT_RANGE_BYTES_MAX];
        assert_eq!(content_range(Some(ByteRange { start: 0, end: 10 }), 100, &mut memory), b"bytes 0-9/100");
        assert_eq!(content_range(None, 100, &mut memory), b"bytes */100");
        let widest = ByteRange { start: u64::MAX - 1, end: u64::MAX };
        assert_eq!(content_range(Some(widest), u64::MAX, &mut memory).len(), 6 + 20 + 1 + 20 + 1 + 20);
    }

    #[test]
    fn a_multipart_body_is_as_long_as_it_says() {
        let ranges = [ByteRange { start: 0, end: 3 }, ByteRange { start: 1000, end: 1002 }];
        for content_type in [&b"text/plain"[..], b""] {
            let multipart = Multipart { boundary: Boundary::new(0xab), content_type, len: 5000 };
            let mut body = Vec::new();
            for range in ranges {
                let mut memory = [0; 200];
                let len = multipart.part_head(range, &mut memory).unwrap();
                body.extend_from_slice(&memory[..len]);
                body.extend(std::iter::repeat_n(b'x', usize::try_from(range.len()).unwrap()));
            }
            body.extend_from_slice(&multipart.end());
            assert_eq!(body.len() as u64, multipart.body_len(&ranges));
            let text = String::from_utf8(body).unwrap();
            let mark = "000000000000000000000000000000ab";
            assert!(text.starts_with(&format!("\r\n--{mark}\r\n")));
            assert!(text.contains("Content-Range: bytes 1000-1001/5000\r\n\r\nxx\r\n--"));
            assert!(text.ends_with(&format!("\r\n--{mark}--\r\n")));
            assert_eq!(text.contains("Content-Type: text/plain\r\n"), !content_type.is_empty());
        }
        let content_type = Boundary::new(u128::MAX).content_type();
        assert_eq!(content_type, *b"multipart/byteranges; boundary=ffffffffffffffffffffffffffffffff");
    }

    #[test]
    fn part_heads_do_not_overrun_and_do_not_split() {
        let range = ByteRange { start: 0, end: 1 };
        let multipart = Multipart { boundary: Boundary::new(1), content_type: b"a\r\nb", len: 1 };
        assert_eq!(multipart.part_head(range, &mut [0; 200]), Err(EncodeError::FieldValue));
        let multipart = Multipart { content_type: b"a/b", ..multipart };
        assert_eq!(multipart.part_head(range, &mut [0; 60]), Err(EncodeError::Full));
    }

    proptest! {
        #[test]
        fn selections_stay_in_bounds_and_apart(value in "bytes=([0-9]{0,5}-[0-9]{0,5}[, ]{0,2}){1,18}", len in 0..70_000_u64) {
            let single;
            let set;
            let ranges: &[ByteRange] = match select(value.as_bytes(), len) {
                Selection::Single(range) => { single = [range]; &single }
                Selection::Several(ranges) => { set = ranges; set.as_slice() }
                _ => &[],
            };
            prop_assert!(ranges.len() <= RANGES_MAX);
            prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= len));
            for (i, a) in ranges.iter().enumerate() {
                for b in &ranges[i + 1..] {
                    prop_assert!(a.end + GAP_BYTES_MIN <= b.start || b.end + GAP_BYTES_MIN <= a.start);
                }
            }
            prop_assert!(ranges.iter().map(ByteRange::len).sum::<u64>() <= len);
        }

        #[test]
        fn every_byte_asked_for_is_sent(specs in proptest::collection::vec((0..5000_u64, 0..500_u64), 1..RANGES_MAX)) {
            let len = 4000;
            let list: Vec<String> = specs.iter().map(|(start, more)| format!("{start}-{}", start + more)).collect();
            let ranges = match select(format!("bytes={}", list.join(",")).as_bytes(), len) {
                Selection::Single(range) => vec![range],
                Selection::Several(set) => set.as_slice().to_vec(),
                Selection::Unsatisfiable => vec![],
                Selection::Whole => return Err(TestCaseError::fail("a well-formed list is not ignored")),
            };
            for (start, more) in specs.iter().filter(|(start, _)| *start < len) {
                let end = (start + more + 1).min(len);
                prop_assert!(ranges.iter().any(|range| range.start <= *start && end <= range.end));
            }
        }

        #[test]
        fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..60), len in any::<u64>()) {
            let _ = select(&value, len);
            let _ = select(&[b"bytes=", value.as_slice()].concat(), len);
        }
    }
}
