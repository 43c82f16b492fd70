//! Escaping: bytes that others chose (file names, request heads) made safe inside HTML, JSON, URLs and log lines.
//!
//! Every function appends to the caller's buffer and allocates nothing else. Input need not be UTF-8: what must be text
//! comes out as text, with U+FFFD for bytes that are none.

use ringway_http::response::{self, DECIMAL_BYTES_MAX};

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// The two hexadecimal digits of `byte` from `digits`.
fn hex_pair(byte: u8, digits: [u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

/// Appends `bytes` with each byte that is `special` put through `escape`; runs of others are copied as they are.
fn in_runs(out: &mut Vec<u8>, bytes: &[u8], special: impl Fn(u8) -> bool, escape: impl Fn(&mut Vec<u8>, u8)) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| special(byte)) {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Whether a byte of text is a control character of ASCII.
const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Appends `text` for use in HTML text or a double-quoted attribute. Control characters become U+FFFD: a page has no
/// use for them and a name that holds one must not shape the page.
pub fn html(out: &mut Vec<u8>, text: &[u8]) {
    let special = |byte| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'') || is_control(byte);
    for chunk in text.utf8_chunks() {
        in_runs(out, chunk.valid().as_bytes(), special, |out, byte| {
            out.extend_from_slice(match byte {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                b'\'' => b"&#39;",
                _ => "\u{fffd}".as_bytes(),
            });
        });
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `text` as the inside of a JSON string (RFC 8259 section 7), without the quotes.
pub fn json(out: &mut Vec<u8>, text: &[u8]) {
    let special = |byte| matches!(byte, b'"' | b'\\') || is_control(byte);
    for chunk in text.utf8_chunks() {
        in_runs(out, chunk.valid().as_bytes(), special, |out, byte| match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            // DEL is legal JSON, yet a terminal that shows a log should not meet it raw.
            _ => {
                let [high, low] = hex_pair(byte, *HEX_LOWER);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        });
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Appends `path` percent-encoded for a URL path or an href (RFC 3986 section 3.3): unreserved characters and `/` stay,
/// every other byte becomes `%XX`. So the result holds no quote, no control byte, no `?`, `#` or `:`.
pub fn url_path(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(byte),
            other => {
                let [high, low] = hex_pair(other, *HEX_UPPER);
                out.extend_from_slice(&[b'%', high, low]);
            }
        }
    }
}

/// Appends `value` for the inside of a quoted field of a combined log line: quote and backslash get a backslash, control
/// bytes and bytes beyond ASCII become `\xXX`. What comes out is one printable ASCII line whatever came in.
pub fn log_field(out: &mut Vec<u8>, value: &[u8]) {
    let special = |byte| matches!(byte, b'"' | b'\\') || !(0x20..=0x7e).contains(&byte);
    in_runs(out, value, special, |out, byte| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        other => {
            let [high, low] = hex_pair(other, *HEX_UPPER);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    });
}

/// Appends `number` in decimal.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(response::decimal(number, &mut [0; DECIMAL_BYTES_MAX]));
}

/// Appends `number` in lower-case hexadecimal without leading zeros.
pub fn hex(out: &mut Vec<u8>, number: u64) {
    let digits = (67 - number.leading_zeros()) / 4;
    for place in (0..digits.max(1)).rev() {
        out.push(HEX_LOWER[((number >> (place * 4)) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(escape: fn(&mut Vec<u8>, &[u8]), input: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, input);
        String::from_utf8(out).expect("escaped output is text")
    }

    #[test]
    fn html_neutralises_markup_controls_and_non_text() {
        assert_eq!(with(html, b"<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(with(html, b"a\n\x7f\xff\xfeb"), "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(with(html, "für 日本".as_bytes()), "für 日本");
    }

    #[test]
    fn json_is_one_line_and_valid() {
        assert_eq!(with(json, b"a\"\\\n\r\t\x01\x7f\xff"), "a\\\"\\\\\\n\\r\\t\\u0001\\u007f\\ufffd");
    }

    #[test]
    fn url_path_keeps_only_what_is_harmless() {
        assert_eq!(with(url_path, b"/a b/?#%:\"<\xff~"), "/a%20b/%3F%23%25%3A%22%3C%FF~");
    }

    #[test]
    fn log_field_never_breaks_the_line() {
        for byte in 0..=255_u8 {
            let line = with(log_field, &[b'a', byte, b'z']);
            assert!(line.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{byte}");
            let quoted = line.contains('"');
            assert_eq!(quoted, byte == b'"');
            assert!(!quoted || line.contains("\\\""));
        }
    }

    #[test]
    fn numbers() {
        let mut out = Vec::new();
        for number in [0, 9, 10, 65_536, u64::MAX] {
            out.clear();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
            out.clear();
            hex(&mut out, number);
            assert_eq!(out, format!("{number:x}").as_bytes());
        }
    }
}
