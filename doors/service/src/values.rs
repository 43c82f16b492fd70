//! Values of paths, queries and forms: decoded, and read as types, with errors that say what was wrong.

use crate::error::Error;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Longest part of a wrong value that an answer repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// The fields of a query or form (`a=1&b=two+words`), in the order they were sent, undecoded ones borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    raw: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of text in the form of URLs (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Names and values, decoded. Bytes that are no UTF-8 become U+FFFD.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        self.raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = halves(pair);
            (decode(name), decode(value))
        })
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// All values of that name.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = Cow<'a, str>> + use<'a, 'n> {
        self.raw.split(|byte| *byte == b'&').filter_map(move |pair| {
            let (own, value) = halves(pair);
            (!pair.is_empty() && decode(own) == name).then(|| decode(value))
        })
    }
}

/// What stands before and behind the first `=`.
fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// Decodes `+` and `%xx`. A `%` without two hexadecimal digits stands for itself, as browsers have it.
fn decode(raw: &[u8]) -> Cow<'_, str> {
    if !raw.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return String::from_utf8_lossy(raw);
    }
    let digit = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or(0));
                at += 2;
            }
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Reads a value as a type; the error is an answer (400) that names the value and says what was wrong.
pub(crate) fn parse<T>(kind: &str, name: &str, value: &str) -> Result<T, Error>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    value.parse().map_err(|error| {
        let shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
        let more = if shown.len() < value.len() { "..." } else { "" };
        Error::bad_request(format!("{kind} {name:?}: the value {shown:?}{more} is not accepted: {error}"))
    })
}

/// The answer to a request that lacks a value.
pub(crate) fn missing(kind: &str, name: &str) -> Error {
    Error::bad_request(format!("{kind} {name:?} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_in_order() {
        let fields = Fields::new(b"a=1&b=two+words&a=%41%2b%zz%4&&=x&flag&e=%C3%A9%ff&c=d=e");
        let all: Vec<(String, String)> =
            fields.iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let expected = [
            ("a", "1"),
            ("b", "two words"),
            ("a", "A+%zz%4"),
            ("", "x"),
            ("flag", ""),
            ("e", "\u{e9}\u{fffd}"),
            ("c", "d=e"),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(fields.all("a").collect::<Vec<_>>(), ["1", "A+%zz%4"]);
        assert_eq!(fields.get("b").as_deref(), Some("two words"));
        assert_eq!(fields.get("flag").as_deref(), Some(""));
        assert_eq!(fields.get("none"), None);
        assert_eq!(Fields::new(b"").iter().count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn fields_are_read_as_others_read_them(raw in "[a-c=&%+0-9A-F\\x80-\\xff]{0,40}") {
            let own: Vec<(String, String)> = Fields::new(raw.as_bytes())
                .iter()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            let others: Vec<(String, String)> = serde_urlencoded::from_bytes(raw.as_bytes()).expect("it reads all");
            proptest::prop_assert_eq!(&own, &others);
            for (name, _) in &own {
                let first = own.iter().find(|(other, _)| other == name).map(|(_, value)| &**value);
                let found = Fields::new(raw.as_bytes()).get(name);
                proptest::prop_assert_eq!(found.as_deref(), first);
            }
        }
    }

    #[test]
    fn what_is_no_number_says_so() {
        assert_eq!(parse::<u32>("the query value", "page", "7").ok(), Some(7));
        let error = parse::<u32>("the query value", "page", &"x".repeat(500)).expect_err("no number");
        let text = error.public_text();
        assert!(text.contains("\"page\"") && text.contains("invalid digit") && text.len() < 200, "{text}");
    }
}
