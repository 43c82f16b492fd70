//! Encoding of fields (RFC 7541 sections 3 and 6): what recurs goes into the table, what changes with each message does not.

use super::table::Table;
use super::{ENTRY_BYTES, STATIC_ENTRIES, TABLE_BYTES, huffman, integer, name_index};

/// Places of the index into the table; a power of two above the entries that answers usually share.
const PLACES: usize = 64;

/// An entry may take this part of the table, as a divisor; longer fields are sent as they are.
const ENTRY_SHARE: usize = 4;

/// Most bytes of lines that entries came from: twice the table, which keeps them without what separates them.
const LINES_BYTES_MAX: usize = 2 * TABLE_BYTES;

/// Longest name that is lowered without memory of the heap.
const NAME_BYTES: usize = 48;

/// Fields that nobody may put into a table on the way (section 7.1.3).
const SECRET: [&[u8]; 4] = [b"set-cookie", b"authorization", b"proxy-authorization", b"cookie"];

/// One direction's encoder.
#[derive(Debug)]
pub struct Encoder {
    table: Table<()>,
    /// By the hash of a line: which entry came from it.
    places: [Place; PLACES],
    /// The lines that entries came from, as they were.
    lines: Vec<u8>,
    /// The smallest size the peer has asked for since the last section, if it has asked (section 4.2).
    resized: Option<usize>,
}

/// An entry, and the line it came from.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The entry's number, counted as they were inserted.
    number: u32,
    start: u16,
    len: u16,
}

const NOWHERE: Place = Place { number: 0, start: 0, len: 0 };

impl Default for Encoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE_BYTES), places: [NOWHERE; PLACES], lines: Vec::new(), resized: None }
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

    /// Appends `:method`.
    #[inline]
    pub fn method(&mut self, method: &[u8], out: &mut Vec<u8>) {
        match method {
            b"GET" => out.push(0x82),
            b"POST" => out.push(0x83),
            _ => {
                integer::write(out, 0x00, 4, 2);
                write_plain(out, method);
            }
        }
    }

    /// Appends `:scheme`.
    #[inline]
    pub fn scheme(&mut self, is_secure: bool, out: &mut Vec<u8>) {
        out.push(if is_secure { 0x87 } else { 0x86 });
    }

    /// Appends `:path`. It is not kept: there are more of them than places, and some hold what is nobody's business.
    #[inline]
    pub fn path(&mut self, path: &[u8], out: &mut Vec<u8>) {
        match path {
            b"/" => out.push(0x84),
            b"/index.html" => out.push(0x85),
            _ => {
                integer::write(out, 0x00, 4, 4);
                write_plain(out, path);
            }
        }
    }

    /// Appends a field that is not kept; the name may be in any case and is sent in lower case.
    pub fn fresh(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        with_lower(name, |lower| {
            let index = name_index(lower);
            integer::write(out, 0x00, 4, index);
            if index == 0 {
                write_plain(out, lower);
            }
        });
        write_plain(out, value);
    }

    /// Appends a field whose line (`Name: value`) made an entry of the table before; `false` when none did.
    #[inline]
    pub fn known_line(&self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let place = self.places[hash(line) as usize % PLACES];
        let start = usize::from(place.start);
        if self.lines.get(start..start + usize::from(place.len)) != Some(line) {
            return false;
        }
        let age = self.table.inserted().wrapping_sub(place.number) as usize;
        if !self.table.has(age) {
            return false;
        }
        integer::write(out, 0x80, 7, STATIC_ENTRIES.len() + 1 + age);
        true
    }

    /// Appends a field given as a line, if it is one of the frequent ones whose values recur nowhere: a length, a tag, a time.
    #[inline]
    pub fn changing_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        for at in [4, 13, 14] {
            if line.get(at) == Some(&b':')
                && let Some(index) = changing(&line[..at])
            {
                integer::write(out, 0x00, 4, index);
                write_plain(out, line[at + 1..].trim_ascii());
                return true;
            }
        }
        false
    }

    /// Appends a field. `line` is all of it as it came, for [`Encoder::known_line`] to be found by; the name may be in any
    /// case and is sent in lower case.
    pub fn field(&mut self, line: &[u8], name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if let Some(index) = changing(name) {
            integer::write(out, 0x00, 4, index);
            // It is read once: the bytes saved would not be worth the work.
            write_plain(out, value);
        } else if !self.known_line(line, out) {
            self.literal(line, name, value, out);
        }
    }

    fn literal(&mut self, line: &[u8], name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let entry_bytes = name.len() + value.len() + ENTRY_BYTES;
        let is_long = entry_bytes > self.table.size_max() / ENTRY_SHARE;
        let is_kept = with_lower(name, |lower| {
            let index = name_index(lower);
            let (pattern, bits, is_kept) = if SECRET.contains(&lower) {
                (0x10, 4, false)
            } else if is_long {
                (0x00, 4, false)
            } else {
                (0x40, 6, true)
            };
            integer::write(out, pattern, bits, index);
            if index == 0 {
                write_coded(out, lower);
            }
            if is_kept {
                self.table.insert(lower, value, ());
            }
            is_kept
        });
        if is_kept {
            write_coded(out, value);
            self.remember(line);
        } else {
            write_plain(out, value);
        }
    }

    /// The line is that of the entry that was inserted last.
    fn remember(&mut self, line: &[u8]) {
        if self.lines.len() + line.len() > LINES_BYTES_MAX {
            self.lines.clear();
            self.places = [NOWHERE; PLACES];
        }
        let narrow = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        let (start, len) = (narrow(self.lines.len()), narrow(line.len()));
        self.places[hash(line) as usize % PLACES] = Place { number: self.table.inserted(), start, len };
        self.lines.extend_from_slice(line);
    }
}

/// The index of a name whose value is another for each resource, or each answer: it would push out what recurs.
#[inline]
fn changing(name: &[u8]) -> Option<usize> {
    match name.len() {
        3 if is(name, b"age") => Some(21),
        4 if is(name, b"etag") => Some(34),
        7 if is(name, b"expires") => Some(36),
        8 if is(name, b"location") => Some(46),
        13 if is(name, b"last-modified") => Some(44),
        13 if is(name, b"content-range") => Some(30),
        14 if is(name, b"content-length") => Some(28),
        16 if is(name, b"content-location") => Some(29),
        19 if is(name, b"content-disposition") => Some(25),
        _ => None,
    }
}

/// Whether `name` is `lower`, which is of letters and hyphens: a few comparisons of words.
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Some(name) = name.first_chunk::<N>() else { return false };
    let mut difference = 0;
    for (sent, lower) in name.iter().zip(lower) {
        // Bit 5 is the case of a letter.
        let case = if *lower == b'-' { 0 } else { 0x20 };
        difference |= (sent | case) ^ lower;
    }
    difference == 0 && name.len() == N
}

/// A name in lower case, without memory of the heap where it is short.
fn with_lower<R>(name: &[u8], take: impl FnOnce(&[u8]) -> R) -> R {
    let mut memory = [0; NAME_BYTES];
    match memory.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            take(lower)
        }
        None => take(&name.to_ascii_lowercase()),
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
    // The last eight again, which is cheaper than to take care of fewer.
    let last = match line.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    hash = (hash.rotate_left(5) ^ last).wrapping_mul(MIX);
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
    fn fields_that_change_are_told_by_their_names() {
        for (at, (name, _)) in STATIC_ENTRIES.iter().enumerate() {
            if let Some(index) = changing(name) {
                assert_eq!(index, at + 1);
                assert_eq!(changing(&name.to_ascii_uppercase()), Some(index));
            }
        }
        assert_eq!(STATIC_ENTRIES.iter().filter(|(name, _)| changing(name).is_some()).count(), 9);
        assert_eq!(changing(b"etax"), None);
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
