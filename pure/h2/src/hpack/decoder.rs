//! Decoding of field sections (RFC 7541 sections 3 and 6).

use std::fmt;
use std::ops::Range;

use super::table::Table;
use super::{STATIC_ENTRIES, TABLE_BYTES, huffman, integer};

/// Why a field section cannot be decoded; for the connection it is the end in every case (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// It ends within a field.
    Truncated,
    /// An integer beyond 28 bits.
    Integer,
    /// An index of no entry (RFC 7541 section 2.3.3).
    Index,
    /// A string's padding is too long or not of ones, or it holds the end of string.
    Padding,
    /// A change of the table's size that does not come first, or beyond what was allowed (section 6.3).
    TableSize,
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "field section ends within a field",
            Self::Integer => "integer in a field section over the limit",
            Self::Index => "no table entry of that index",
            Self::Padding => "malformed string coding",
            Self::TableSize => "misplaced or forbidden change of the table size",
        })
    }
}

impl std::error::Error for HpackError {}

/// Who takes fields. What it finds out about a field is kept with a table entry, so that it is found out once.
pub trait FieldSink {
    /// What there is to know of a field.
    type Class: Copy;

    /// Looks at a field. Whatever the connection, the same field has the same class.
    fn classify(name: &[u8], value: &[u8]) -> Self::Class;

    /// The class of an entry of the static table, by its place in [`STATIC_ENTRIES`].
    #[inline]
    fn classify_static(_place: usize, name: &[u8], value: &[u8]) -> Self::Class {
        Self::classify(name, value)
    }

    /// Takes the next field.
    fn field(&mut self, class: Self::Class, name: &[u8], value: &[u8]);
}

/// One direction's decoder. Every field section of the connection must pass through it, in order.
#[derive(Debug)]
pub struct Decoder<C> {
    table: Table<C>,
}

impl<C: Copy> Default for Decoder<C> {
    fn default() -> Self {
        Self { table: Table::new(TABLE_BYTES) }
    }
}

/// Where a name comes from.
enum Name {
    Static(usize),
    Dynamic(usize),
    Text(Text),
}

/// A string: in the block itself, or decoded into the scratch memory.
enum Text {
    Plain(Range<usize>),
    Decoded(Range<usize>),
}

impl Text {
    fn of<'b>(&self, block: &'b [u8], scratch: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Plain(range) => &block[range.clone()],
            Self::Decoded(range) => &scratch[range.clone()],
        }
    }
}

impl<C: Copy> Decoder<C> {
    /// Hands the fields of a whole section to `sink`. `scratch` is memory to be reused.
    ///
    /// # Errors
    /// See [`HpackError`]; the decoder is of no further use then.
    pub fn decode<S: FieldSink<Class = C>>(
        &mut self,
        block: &[u8],
        scratch: &mut Vec<u8>,
        sink: &mut S,
    ) -> Result<(), HpackError> {
        let mut rest = block;
        let mut is_first = true;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index;
                (index, rest) = integer::read(rest, 7)?;
                self.indexed(index, sink)?;
            } else if first & 0xe0 == 0x20 {
                let size_max;
                (size_max, rest) = integer::read(rest, 5)?;
                if !is_first || size_max > TABLE_BYTES {
                    return Err(HpackError::TableSize);
                }
                self.table.resize(size_max);
                continue;
            } else {
                rest = self.literal(block, rest, scratch, sink)?;
            }
            is_first = false;
        }
        Ok(())
    }

    #[inline]
    fn indexed<S: FieldSink<Class = C>>(&self, index: usize, sink: &mut S) -> Result<(), HpackError> {
        let at = index.checked_sub(1).ok_or(HpackError::Index)?;
        match STATIC_ENTRIES.get(at) {
            Some((name, value)) => sink.field(S::classify_static(at, name, value), name, value),
            None => {
                let found = self.table.get(at - STATIC_ENTRIES.len());
                let (name, value, class) = found.ok_or(HpackError::Index)?;
                sink.field(class, name, value);
            }
        }
        Ok(())
    }

    /// The three literal forms (sections 6.2.1 to 6.2.3).
    fn literal<'b, S: FieldSink<Class = C>>(
        &mut self,
        block: &'b [u8],
        rest: &'b [u8],
        scratch: &mut Vec<u8>,
        sink: &mut S,
    ) -> Result<&'b [u8], HpackError> {
        let is_kept = rest[0] & 0x40 != 0;
        let (index, mut rest) = integer::read(rest, if is_kept { 6 } else { 4 })?;
        scratch.clear();
        let name = match index.checked_sub(1) {
            None => {
                let name;
                (name, rest) = string(block, rest, scratch)?;
                Name::Text(name)
            }
            Some(at) if at < STATIC_ENTRIES.len() => Name::Static(at),
            Some(at) => Name::Dynamic(at - STATIC_ENTRIES.len()),
        };
        let (value, rest) = string(block, rest, scratch)?;
        let value = value.of(block, scratch);
        let name_text = match &name {
            Name::Static(at) => STATIC_ENTRIES[*at].0,
            Name::Dynamic(place) => self.table.get(*place).ok_or(HpackError::Index)?.0,
            Name::Text(text) => text.of(block, scratch),
        };
        let class = S::classify(name_text, value);
        sink.field(class, name_text, value);
        if is_kept {
            match &name {
                Name::Dynamic(place) => self.table.insert_named(*place, value, class),
                Name::Static(at) => self.table.insert(STATIC_ENTRIES[*at].0, value, class),
                Name::Text(text) => self.table.insert(text.of(block, scratch), value, class),
            }
        }
        Ok(rest)
    }
}

/// The string at the front of `rest` (section 5.2), and what follows it.
fn string<'b>(
    block: &'b [u8],
    rest: &'b [u8],
    scratch: &mut Vec<u8>,
) -> Result<(Text, &'b [u8]), HpackError> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let (len, rest) = integer::read(rest, 7)?;
    let (text, after) = rest.split_at_checked(len).ok_or(HpackError::Truncated)?;
    if is_coded {
        let start = scratch.len();
        huffman::decode(text, scratch)?;
        return Ok((Text::Decoded(start..scratch.len()), after));
    }
    let start = block.len() - rest.len();
    Ok((Text::Plain(start..start + len), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct List(Vec<(String, String)>);

    impl FieldSink for List {
        type Class = usize;

        fn classify(name: &[u8], value: &[u8]) -> usize {
            name.len() * 1000 + value.len()
        }

        fn field(&mut self, class: usize, name: &[u8], value: &[u8]) {
            assert_eq!(class, Self::classify(name, value), "as it was noted");
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            self.0.push((text(name), text(value)));
        }
    }

    fn decode(decoder: &mut Decoder<usize>, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
        let mut list = List::default();
        decoder.decode(block, &mut Vec::new(), &mut list).map(|()| list.0)
    }

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// RFC 7541 appendices C.3 and C.4: three requests on one connection, plain and coded.
    #[test]
    fn requests_of_the_rfc() {
        let first =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        let second = [&first[..], &[("cache-control", "no-cache")]].concat();
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        let plain = [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ];
        let coded = [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::default();
            assert_eq!(decode(&mut decoder, &bytes(blocks[0])).unwrap(), pairs(&first));
            assert_eq!(decode(&mut decoder, &bytes(blocks[1])).unwrap(), pairs(&second));
            assert_eq!(decode(&mut decoder, &bytes(blocks[2])).unwrap(), pairs(&third));
            assert_eq!(decoder.table.size(), 164);
        }
    }

    /// RFC 7541 appendix C.5: a table of 256 bytes, so that entries are evicted.
    #[test]
    fn responses_of_the_rfc() {
        let mut decoder = Decoder::default();
        let date = "Mon, 21 Oct 2013 20:13:21 GMT";
        let mut size = vec![0x3f, 0xe1, 0x01];
        size.extend(bytes(
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        ));
        let location = ("location", "https://www.example.com");
        let first = pairs(&[(":status", "302"), ("cache-control", "private"), ("date", date), location]);
        assert_eq!(decode(&mut decoder, &size).unwrap(), first);
        assert_eq!(decoder.table.size(), 222);
        let second = pairs(&[(":status", "307"), ("cache-control", "private"), ("date", date), location]);
        assert_eq!(decode(&mut decoder, &bytes("4803333037c1c0bf")).unwrap(), second);
        assert_eq!(decoder.table.size(), 222);
    }

    #[test]
    fn literals_that_are_not_kept_leave_no_trace() {
        let mut decoder = Decoder::default();
        for block in ["040c2f73616d706c652f70617468", "140c2f73616d706c652f70617468"] {
            assert_eq!(decode(&mut decoder, &bytes(block)).unwrap(), pairs(&[(":path", "/sample/path")]));
        }
        assert_eq!(decoder.table.size(), 0);
    }

    /// RFC 7541 sections 2.3.3, 4.2, 5.2, 6.1 and 6.3.
    #[test]
    fn what_cannot_be_decoded_is_refused() {
        let cases: [(&[u8], HpackError); 12] = [
            (&[0x80], HpackError::Index),
            (&[0xbe], HpackError::Index),
            (&[0xff, 0xff, 0xff, 0xff, 0x7f], HpackError::Index),
            (&[0x7f, 0x00, 0x01, b'a'], HpackError::Index),
            (&[0xff], HpackError::Truncated),
            (&[0x40], HpackError::Truncated),
            (&[0x40, 0x01], HpackError::Truncated),
            (&[0x40, 0x01, b'a', 0x02, b'b'], HpackError::Truncated),
            (&[0x40, 0x01, b'a', 0x81, 0x00], HpackError::Padding),
            (&[0x3f, 0xe2, 0x1f], HpackError::TableSize),
            (&[0x82, 0x20], HpackError::TableSize),
            (&[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x01], HpackError::Integer),
        ];
        for (block, error) in cases {
            assert_eq!(decode(&mut Decoder::default(), block), Err(error), "{block:x?}");
        }
        assert!(
            decode(&mut Decoder::default(), &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).is_ok(),
            "two changes, then fields"
        );
    }
}
