//! Encoding of fields (RFC 7541 sections 3 and 6): what recurs goes into the table, what changes with each message does not.

use super::table::Table;
use super::{ENTRY_BYTES, TABLE_BYTES, huffman, integer, name_index};

/// Places of the index into the table; a power of two above the entries that answers usually share.
const PLACES: usize = 64;

/// An entry may take this part of the table, as a divisor; longer fields are sent as they are.
const ENTRY_SHARE: usize = 4;

/// Longest name that is lowered without memory of the heap.
const NAME_BYTES: usize = 48;

/// Fields whose value is another for each resource, or each answer: they would push out what recurs.
const CHANGING: [&[u8]; 10] = [
    b"content-length",
    b"etag",
    b"last-modified",
    b"location",
    b"content-range",
    b"content-disposition",
    b"content-location",
    b"expires",
    b"age",
    b"x-request-id",
];

/// Fields that nobody may put into a table on the way (section 7.1.3).
const SECRET: [&[u8]; 4] = [b"set-cookie", b"authorization", b"proxy-authorization", b"cookie"];

/// One direction's encoder.
#[derive(Debug)]
pub struct Encoder {
    /// With each entry the hash of the line it came from.
    table: Table<u32>,
    /// By the hash of a line: the number of the entry that came from it, counted as they were inserted.
    places: [u32; PLACES],
    /// The smallest size the peer has asked for since the last section, if it has asked (section 4.2).
    resized: Option<usize>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE_BYTES), places: [0; PLACES], resized: None }
    }
}

impl Encoder {
    /// The peer's table may have this size from now on, in bytes. No more than [`TABLE_BYTES`] of it are used.
    pub fn resize(&mut self, size_max: usize) {
        let size_max = size_max.min(TABLE_BYTES);
        if size_max != self.table.size_max() || self.resized.is_some() {
            let smallest = self.resized.unwrap_or(size_max).min(size_max);
            self.resized = Some(smallest);
            self.table.resize(size_max);
        }
    }

    /// Begins a field section: what the peer must know of the table comes first.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.resized.take() {
            if smallest < self.table.size_max() {
                integer::write(out, 0x20, 5, smallest);
            }
            integer::write(out, 0x20, 5, self.table.size_max());
        }
    }

    /// Appends `:status`; `digits` are three.
    #[inline]
    pub fn status(&mut self, digits: &[u8], out: &mut Vec<u8>) {
        let index = match digits {
            b"200" => 8,
            b"204" => 9,
            b"206" => 10,
            b"304" => 11,
            b"400" => 12,
            b"404" => 13,
            b"500" => 14,
            _ => {
                integer::write(out, 0x00, 4, 8);
                write_plain(out, digits);
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// Appends a field. `line` is all of it as it came (`Name: value`), which names its place in the table; the name may be
    /// in any case and is sent in lower case.
    #[inline]
    pub fn field(&mut self, line: &[u8], name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let hash = hash(line);
        if let Some(place) = self.find(hash, name, value) {
            integer::write(out, 0x80, 7, 62 + place);
            return;
        }
        self.literal(hash, name, value, out);
    }

    /// The place of the entry that came from a line like this one.
    #[inline]
    fn find(&self, hash: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let number = self.places[hash as usize % PLACES];
        let place = self.table.inserted().wrapping_sub(number) as usize;
        let (kept_name, kept_value, kept_hash) = self.table.get(place)?;
        let is_it = kept_hash == hash && kept_value == value && kept_name.eq_ignore_ascii_case(name);
        is_it.then_some(place)
    }

    fn literal(&mut self, hash: u32, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let mut memory = [0; NAME_BYTES];
        let long;
        let lower = match memory.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                &*lower
            }
            None => {
                long = name.to_ascii_lowercase();
                &long
            }
        };
        let index = name_index(lower);
        let entry_bytes = name.len() + value.len() + ENTRY_BYTES;
        let (pattern, bits, is_kept) = if SECRET.contains(&lower) {
            (0x10, 4, false)
        } else if CHANGING.contains(&lower) || entry_bytes > self.table.size_max() / ENTRY_SHARE {
            (0x00, 4, false)
        } else {
            (0x40, 6, true)
        };
        integer::write(out, pattern, bits, index);
        if index == 0 {
            write_coded(out, lower);
        }
        if !is_kept {
            // It is read once: the bytes saved would not be worth the work.
            write_plain(out, value);
            return;
        }
        write_coded(out, value);
        self.table.insert(lower, value, hash);
        self.places[hash as usize % PLACES] = self.table.inserted();
    }
}

/// A string as it is.
fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    integer::write(out, 0x00, 7, text.len());
    out.extend_from_slice(text);
}

/// A string in whichever coding is shorter.
fn write_coded(out: &mut Vec<u8>, text: &[u8]) {
    let len = huffman::encoded_len(text);
    if len < text.len() {
        integer::write(out, 0x80, 7, len);
        huffman::encode(text, out);
    } else {
        write_plain(out, text);
    }
}

/// Tells lines apart, eight bytes a step; who finds two that collide gains nothing, they are compared.
#[inline]
fn hash(line: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (chunks, rest) = line.as_chunks::<8>();
    let mut hash = line.len() as u64;
    for chunk in chunks {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*chunk)).wrapping_mul(MIX);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = (hash.rotate_left(5) ^ u64::from_le_bytes(last)).wrapping_mul(MIX);
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hpack::{Decoder, FieldSink, HpackError};

    #[derive(Debug, Default, PartialEq)]
    struct List(Vec<(Vec<u8>, Vec<u8>)>);

    impl FieldSink for List {
        type Class = ();

        fn classify(_name: &[u8], _value: &[u8]) {}

        fn field(&mut self, (): (), name: &[u8], value: &[u8]) {
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }

    fn decode(decoder: &mut Decoder<()>, block: &[u8]) -> Result<List, HpackError> {
        let mut list = List::default();
        decoder.decode(block, &mut Vec::new(), &mut list).map(|()| list)
    }

    fn encode(encoder: &mut Encoder, fields: &List) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in &fields.0 {
            let line = [name, &b": "[..], value].concat();
            encoder.field(&line, name, value, &mut out);
        }
        out
    }

    fn lower(fields: &List) -> List {
        List(fields.0.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect())
    }

    fn list(fields: &[(&str, &str)]) -> List {
        List(
            fields
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
        )
    }

    #[test]
    fn what_recurs_is_one_byte_the_second_time() {
        let fields = list(&[
            ("Date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("Server", "Ringway"),
            ("Content-Type", "text/html; charset=utf-8"),
            ("X-Frame-Options", "DENY"),
        ]);
        let mut encoder = Encoder::default();
        let mut other = Decoder::default();
        assert_eq!(decode(&mut other, &encode(&mut encoder, &fields)).unwrap(), lower(&fields));
        let again = encode(&mut encoder, &fields);
        assert_eq!(again.len(), 4);
        assert_eq!(decode(&mut other, &again).unwrap(), lower(&fields));
    }

    #[test]
    fn what_changes_stays_out_of_the_table_and_secrets_are_marked() {
        let fields = list(&[("ETag", "\"1\""), ("Content-Length", "100"), ("Set-Cookie", "a=b")]);
        let mut encoder = Encoder::default();
        let once = encode(&mut encoder, &fields);
        assert_eq!(encode(&mut encoder, &fields), once);
        // Section 6.2.3: never indexed.
        let cookie = encode(&mut Encoder::default(), &list(&[("Set-Cookie", "a=b")]));
        assert_eq!(cookie[0] & 0xf0, 0x10);
    }

    #[test]
    fn statuses_are_indices_where_there_are_any() {
        let mut other = Decoder::default();
        for status in ["200", "204", "206", "304", "400", "404", "500", "301", "416", "999"] {
            let mut out = Vec::new();
            Encoder::default().status(status.as_bytes(), &mut out);
            let decoded = decode(&mut other, &out).unwrap();
            assert_eq!(decoded, list(&[(":status", status)]));
        }
    }

    /// Section 4.2: a change is said at the beginning of the next section; of several, the smallest and the last.
    #[test]
    fn changes_of_the_size_are_said_first() {
        let fields = list(&[("Server", "Ringway")]);
        let mut encoder = Encoder::default();
        let mut other = Decoder::default();
        decode(&mut other, &encode(&mut encoder, &fields)).unwrap();
        encoder.resize(0);
        encoder.resize(8000);
        let block = encode(&mut encoder, &fields);
        assert_eq!(&block[..4], &[0x20, 0x3f, 0xe1, 0x1f]);
        assert_eq!(decode(&mut other, &block).unwrap(), lower(&fields));
        assert_eq!(encode(&mut encoder, &fields), [0xbe]);
        encoder.resize(0);
        let block = encode(&mut encoder, &fields);
        assert_eq!(block[0], 0x20);
        assert_eq!(decode(&mut other, &block).unwrap(), lower(&fields));
        assert_eq!(encode(&mut encoder, &fields).len(), block.len() - 1, "nothing is kept");
        encoder.resize(0);
        assert_eq!(encode(&mut encoder, &fields).len(), block.len() - 1, "said once");
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(&b"abAB-xyz019"[..]), 1..20)
    }

    proptest! {
        #[test]
        fn others_read_what_is_written(
            sections in proptest::collection::vec(
                (proptest::collection::vec((0..6_usize, word(), 0..3_usize), 0..8), 0..4_usize),
                1..30,
            ),
        ) {
            let names = ["Server", "x-a", "Content-Type", "etag", "Set-Cookie", "X-B"];
            let mut encoder = Encoder::default();
            let mut other = Decoder::default();
            for (section, size) in sections {
                if size < 3 {
                    encoder.resize([0, 100, 4096][size]);
                }
                let field = |(name, value, times): (usize, Vec<u8>, usize)| {
                    (names[name].as_bytes().to_vec(), value.repeat(times))
                };
                let fields = List(section.into_iter().map(field).collect());
                prop_assert_eq!(decode(&mut other, &encode(&mut encoder, &fields)).unwrap(), lower(&fields));
            }
        }
    }
}
