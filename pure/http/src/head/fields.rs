//! Header fields of a checked head: walked in place, the well-known ones found without a search.

use memchr::memchr;

use crate::octets::trim;

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    /// The name as sent, a token: compare it ignoring ASCII case.
    pub name: &'b [u8],
    /// The value without the whitespace around it; tab, space, visible ASCII, or bytes from 0x80 on.
    pub value: &'b [u8],
}

/// The fields of a head in the order they were sent.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    rest: &'b [u8],
}

impl<'b> Fields<'b> {
    /// Over checked field lines, up to the empty one or the end.
    pub(crate) const fn new(lines: &'b [u8]) -> Self {
        Self { rest: lines }
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Field<'b>;

    fn next(&mut self) -> Option<Field<'b>> {
        let end = memchr(b'\r', self.rest)?;
        let line = &self.rest[..end];
        let colon = memchr(b':', line)?;
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        Some(Field { name: &line[..colon], value: trim(&line[colon + 1..]) })
    }
}

macro_rules! known {
    ($($name:ident $text:literal;)*) => {
        /// Fields that parsing notes the place of, so that asking for one is no search.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`")] $name,)*
        }

        impl Known {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in its usual spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        pub(super) const KNOWN_COUNT: usize = Known::ALL.len();
    };
}

known! {
    Accept "Accept";
    AcceptEncoding "Accept-Encoding";
    Authorization "Authorization";
    Connection "Connection";
    ContentLength "Content-Length";
    ContentType "Content-Type";
    Cookie "Cookie";
    Expect "Expect";
    Host "Host";
    IfMatch "If-Match";
    IfModifiedSince "If-Modified-Since";
    IfNoneMatch "If-None-Match";
    IfRange "If-Range";
    IfUnmodifiedSince "If-Unmodified-Since";
    Origin "Origin";
    Range "Range";
    Referer "Referer";
    TransferEncoding "Transfer-Encoding";
    Upgrade "Upgrade";
    UserAgent "User-Agent";
}

impl Known {
    /// The known field of that name, ignoring case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        // The length tells nearly all apart, so that most unknown names cost one comparison of a number.
        match name.len() {
            4 if is(name, b"host") => Some(Self::Host),
            5 if is(name, b"range") => Some(Self::Range),
            6 if is(name, b"accept") => Some(Self::Accept),
            6 if is(name, b"cookie") => Some(Self::Cookie),
            6 if is(name, b"expect") => Some(Self::Expect),
            6 if is(name, b"origin") => Some(Self::Origin),
            7 if is(name, b"referer") => Some(Self::Referer),
            7 if is(name, b"upgrade") => Some(Self::Upgrade),
            8 if is(name, b"if-match") => Some(Self::IfMatch),
            8 if is(name, b"if-range") => Some(Self::IfRange),
            10 if is(name, b"connection") => Some(Self::Connection),
            10 if is(name, b"user-agent") => Some(Self::UserAgent),
            12 if is(name, b"content-type") => Some(Self::ContentType),
            13 if is(name, b"if-none-match") => Some(Self::IfNoneMatch),
            13 if is(name, b"authorization") => Some(Self::Authorization),
            14 if is(name, b"content-length") => Some(Self::ContentLength),
            15 if is(name, b"accept-encoding") => Some(Self::AcceptEncoding),
            17 if is(name, b"if-modified-since") => Some(Self::IfModifiedSince),
            17 if is(name, b"transfer-encoding") => Some(Self::TransferEncoding),
            19 if is(name, b"if-unmodified-since") => Some(Self::IfUnmodifiedSince),
            _ => None,
        }
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether `name` is `lower`, which is of letters and hyphens. The length is known when this is compiled, so it
/// becomes one or two comparisons of words.
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

/// Where a value lies in its head; both ends fit 16 bits because a head does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    pub(super) const NOWHERE: Self = Self { start: 0, end: 0 };

    #[expect(clippy::cast_possible_truncation, reason = "a head is at most HEAD_BYTES_CEILING bytes long")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u16, end: end as u16 }
    }

    pub(super) fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }
}

/// The values of one known field, in the order of its lines; usually none or one.
#[derive(Clone, Debug)]
pub struct Values<'b> {
    known: Known,
    first: Option<&'b [u8]>,
    others: Option<Fields<'b>>,
}

impl<'b> Values<'b> {
    /// `first` is the only value, unless `lines` are given to walk for all of them.
    pub(super) fn new(known: Known, first: Option<&'b [u8]>, lines: Option<Fields<'b>>) -> Self {
        Self { known, first: if lines.is_some() { None } else { first }, others: lines }
    }
}

impl<'b> Iterator for Values<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let name = self.known.as_str().as_bytes();
        self.others.as_mut()?.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_field_is_found_by_its_name_in_any_case() {
        for known in Known::ALL {
            let name = known.as_str();
            for spelling in [name.to_string(), name.to_uppercase(), name.to_lowercase()] {
                assert_eq!(Known::from_name(spelling.as_bytes()), Some(*known));
            }
            assert_eq!(Known::from_name(format!("{name}x").as_bytes()), None);
        }
        const { assert!(KNOWN_COUNT <= 32, "presence is a bit in 32") };
        assert_eq!(Known::from_name(b"Hoss"), None);
        assert_eq!(Known::from_name(b""), None);
    }

    #[test]
    fn fields_are_walked_in_order_with_trimmed_values() {
        let got: Vec<(&[u8], &[u8])> =
            Fields::new(b"A: 1\r\nb:\t x:y \r\nC:\r\n\r\n").map(|field| (field.name, field.value)).collect();
        assert_eq!(got, [(&b"A"[..], &b"1"[..]), (b"b", b"x:y"), (b"C", b"")]);
    }

    #[test]
    fn values_come_from_the_place_or_from_a_walk() {
        let lines = b"Range: a\r\nHost: h\r\nrange: b\r\n\r\n";
        let all: Vec<&[u8]> = Values::new(Known::Range, Some(b"a"), Some(Fields::new(lines))).collect();
        assert_eq!(all, [b"a", b"b"]);
        assert_eq!(Values::new(Known::Range, Some(b"a"), None).count(), 1);
        assert_eq!(Values::new(Known::Range, None, None).count(), 0);
    }
}
