//! Heads of parts: names, names of files, types (RFC 7578 sections 4.2 and 4.4).

use super::{Fault, Limits};
use crate::head::field_line;
use crate::octets::is_token;
use memchr::memchr;

/// A value as it was sent, without the quotation marks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    is_quoted: bool,
}

impl<'a> Text<'a> {
    /// The value's bytes: within quotation marks a backslash before one, or before another backslash, is left away.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        let is_quoted = self.is_quoted;
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (first, behind) = rest.split_first()?;
            rest = behind;
            if is_quoted
                && *first == b'\\'
                && let Some((next @ (b'"' | b'\\'), behind)) = rest.split_first()
            {
                rest = behind;
                return Some(*next);
            }
            Some(*first)
        })
    }

    /// The value as it stands, escapes included.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the value is this one.
    #[must_use]
    pub fn is(&self, other: &[u8]) -> bool {
        self.bytes().eq(other.iter().copied())
    }
}

/// What a part's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead<'a> {
    /// The field of the form.
    pub name: Text<'a>,
    /// What the client calls the file, if it is one.
    pub filename: Option<Text<'a>>,
    /// The value of `Content-Type`; without it the part is plain text.
    pub content_type: Option<&'a [u8]>,
}

impl<'a> PartHead<'a> {
    /// Reads a head as [`super::Step::Part`] gives it.
    ///
    /// # Errors
    /// [`Fault::Field`], [`Fault::Disposition`], [`Fault::NameLength`].
    pub fn parse(head: &'a [u8], limits: &Limits) -> Result<Self, Fault> {
        let (mut disposition, mut content_type) = (None, None);
        let mut rest = head;
        while let Some(at) = memchr(b'\n', rest).filter(|at| *at > 1) {
            let (line, behind) = rest.split_at(at + 1);
            rest = behind;
            let place = field_line(line, 0).map_err(Fault::Field)?;
            let name = &line[place.name_start..place.name_end];
            let value = &line[place.value_start..place.value_end];
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err(Fault::Disposition);
                }
            } else if name.eq_ignore_ascii_case(b"content-type") {
                content_type = Some(value);
            }
        }
        let (name, filename) = names(disposition.ok_or(Fault::Disposition)?)?;
        let is_long = |text: &Text<'_>| text.raw.len() > limits.name_bytes_max as usize;
        if is_long(&name) || filename.as_ref().is_some_and(is_long) {
            return Err(Fault::NameLength);
        }
        Ok(Self { name, filename, content_type })
    }
}

/// The names in the value of a `Content-Disposition`.
fn names(disposition: &[u8]) -> Result<(Text<'_>, Option<Text<'_>>), Fault> {
    let end = memchr(b';', disposition).unwrap_or(disposition.len());
    let (kind, rest) = disposition.split_at(end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(Fault::Disposition);
    }
    let (mut name, mut filename) = (None, None);
    for parameter in parameters(rest) {
        let (key, value) = parameter.ok_or(Fault::Disposition)?;
        let place = match key {
            _ if key.eq_ignore_ascii_case(b"name") => &mut name,
            _ if key.eq_ignore_ascii_case(b"filename") => &mut filename,
            _ => continue,
        };
        // Whoever takes the first and whoever takes the last would see different forms.
        if place.replace(value).is_some() {
            return Err(Fault::Disposition);
        }
    }
    Ok((name.ok_or(Fault::Disposition)?, filename))
}

/// Parameters behind a value (RFC 9110 section 5.6.6), each after its `;`; one that is malformed is `None` and the last.
pub(super) fn parameters(mut rest: &[u8]) -> impl Iterator<Item = Option<(&[u8], Text<'_>)>> {
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            let Some(behind) = rest.strip_prefix(b";") else {
                rest = b"";
                return Some(None);
            };
            rest = behind.trim_ascii_start();
            // An empty parameter is none.
            if rest.is_empty() || rest.starts_with(b";") {
                continue;
            }
            let parameter = parameter(rest);
            rest = parameter.map_or(b"", |(_, _, behind)| behind);
            return Some(parameter.map(|(name, value, _)| (name, value)));
        }
    })
}

/// The parameter at the front: name, value, and what is behind it.
fn parameter(input: &[u8]) -> Option<(&[u8], Text<'_>, &[u8])> {
    let token_end = |bytes: &[u8]| bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
    let (name, rest) = input.split_at(token_end(input));
    let rest = rest.strip_prefix(b"=").filter(|_| !name.is_empty())?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted_end(quoted)?;
        return Some((name, Text { raw: &quoted[..end], is_quoted: true }, &quoted[end + 1..]));
    }
    // What is no token and not quoted is nobody's harm where it ends at the next parameter: spaces do not.
    let is_plain = |byte: &u8| !matches!(byte, b';' | b'"' | b' ' | b'\t');
    let end = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
    let (raw, behind) = rest.split_at(end);
    (!raw.is_empty()).then_some((name, Text { raw, is_quoted: false }, behind))
}

/// Where the quotation mark is that ends a quoted value.
fn quoted_end(quoted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some(at),
            b'\\' if matches!(quoted.get(at + 1), Some(b'"' | b'\\')) => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    /// Name and, if it is a file, what it is called.
    fn named(disposition: &str) -> Result<(String, Option<String>), Fault> {
        let head = format!("Content-Disposition: {disposition}\r\nContent-Type: a/b\r\nX: y\r\n\r\n");
        let part = PartHead::parse(head.as_bytes(), &Limits::default())?;
        assert_eq!(part.content_type, Some(&b"a/b"[..]));
        let text = |text: Text<'_>| String::from_utf8(text.bytes().collect()).expect("UTF-8");
        Ok((text(part.name), part.filename.map(text)))
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (disposition, name, filename) in [
            ("form-data; name=\"a\"", "a", None),
            ("Form-Data;NAME=a;FileName=b.txt", "a", Some("b.txt")),
            ("form-data; name=\"\"; filename=\"\"", "", Some("")),
            (
                "form-data; name=\"a;b=\\\"c\\\\\"; filename=\"C:\\dir\\f.txt\"",
                "a;b=\"c\\",
                Some("C:\\dir\\f.txt"),
            ),
            (
                "form-data; filename*=UTF-8''%e2; name=\"na%22me\"; filename=\"é.txt\"",
                "na%22me",
                Some("é.txt"),
            ),
            ("form-data; ; name=x ;", "x", None),
        ] {
            let wanted = (name.to_owned(), filename.map(str::to_owned));
            assert_eq!(named(disposition), Ok(wanted), "{disposition}");
        }
    }

    #[test]
    fn what_names_nothing_or_two_things_is_refused() {
        for disposition in [
            "form-data",
            "form-data; filename=a",
            "attachment; name=a",
            "form-data; name=a; name=b",
            "form-data; name=a; filename=b; filename=c",
            "form-data; name=\"a",
            "form-data; name=a b",
            "form-data; name",
            "form-data; name=",
            "form-data; =a",
            "form-data name=a",
            "form-data; name=\"a\\\"",
        ] {
            assert_eq!(named(disposition), Err(Fault::Disposition), "{disposition}");
        }
        let limits = Limits { name_bytes_max: 3, ..Limits::default() };
        let parse = |head: &'static str| PartHead::parse(head.as_bytes(), &limits);
        assert!(parse("Content-Disposition: form-data; name=abc\r\n\r\n").is_ok());
        assert_eq!(parse("Content-Disposition: form-data; name=abcd\r\n\r\n"), Err(Fault::NameLength));
        let long_file = "Content-Disposition: form-data; name=a; filename=abcd\r\n\r\n";
        assert_eq!(parse(long_file), Err(Fault::NameLength));
        assert_eq!(parse("Content-Type: a/b\r\n\r\n"), Err(Fault::Disposition));
        assert_eq!(parse("\r\n"), Err(Fault::Disposition));
        let twice =
            "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n";
        assert_eq!(parse(twice), Err(Fault::Disposition));
        let folded = "Content-Disposition: form-data;\r\n name=a\r\n\r\n";
        assert_eq!(parse(folded), Err(Fault::Field(Refusal::FoldedField)));
    }

    #[test]
    fn values_compare_as_they_read() {
        let text = Text { raw: b"a\\\"b", is_quoted: true };
        assert!(text.is(b"a\"b") && !text.is(b"a\\\"b") && !text.is(b"a\""));
        assert_eq!(text.raw(), b"a\\\"b");
    }
}
