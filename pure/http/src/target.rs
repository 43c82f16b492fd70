//! Paths of targets: decoded, dot segments removed, slashes merged, before any rule is applied (RFC 3986).
//!
//! The result of [`normalise`] is the only form that rules, routes and files are matched against, so that no two
//! spellings of a path can meet different rules.

use crate::octets::hex;
use crate::refusal::Refusal;

/// Turns the raw path of a request into an absolute path of plain bytes.
///
/// Escapes are decoded once; empty segments (`//`) and `.` vanish, `..` takes the segment before it away; the path
/// ends with a slash when the raw one named a directory (`/a/`, `/a/.`, `/a/b/..`). A path without escapes, empty
/// segments and segments that begin with a dot is handed back as it came, nothing is copied; otherwise the result
/// lies in `out`, which never needs to be longer than `raw`.
///
/// The result begins with `/`, has no empty, `.` or `..` segment, no NUL, no other control byte and no backslash,
/// and it may hold `%` and bytes from 0x80 on as plain bytes.
///
/// # Errors
/// [`Refusal::PathEscape`] for `%` without two hexadecimal digits, [`Refusal::PathSlash`] for `%2f`, `%5c` and `\`,
/// [`Refusal::PathByte`] for control bytes, NUL even if escaped, and `#`, [`Refusal::PathControl`] for other escaped
/// control bytes, [`Refusal::PathAboveRoot`] when `..` climbs above the root, [`Refusal::PathLength`] when `out` is too short, [`Refusal::TargetForm`] when `raw` does not
/// begin with `/` (the target `*`).
pub fn normalise<'a>(raw: &'a [u8], out: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    if raw.first() != Some(&b'/') {
        return Err(Refusal::TargetForm);
    }
    if is_normal(raw) {
        return Ok(raw);
    }
    let mut path = Path { out, len: 0 };
    path.push(b'/')?;
    let mut at = 1;
    while at < raw.len() {
        let (byte, width) = decode(&raw[at..])?;
        if byte == b'/' {
            path.end_segment(true)?
        } else {
            path.push(byte)?
        }
        at += width;
    }
    path.end_segment(false)?;
    let Path { out, len } = path;
    Ok(&out[..len])
}

/// Whether a segment of a normalised path begins with a dot and is not `.well-known` (RFC 8615): such names are
/// answered as if they did not exist, so that serving a directory does not publish `.git` or `.env`.
pub fn has_dot_name(path: &[u8]) -> bool {
    // Most paths have no dot behind a slash; looking for the pair settles them in one pass.
    path.windows(2).any(|pair| pair == b"/.")
        && path
            .split(|byte| *byte == b'/')
            .any(|segment| segment.first() == Some(&b'.') && segment != b".well-known")
}

/// Writes a path of plain bytes as it may stand in a target or a `Location`: whatever is not unreserved, a
/// sub-delimiter, `:`, `@` or `/` becomes an escape. Returns what was written.
///
/// # Errors
/// [`Refusal::PathLength`] when `out` is too short; three times the path is always enough.
pub fn encode<'a>(path: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], Refusal> {
    let mut len = 0;
    for byte in path {
        let escape = [b'%', hex_digit(byte >> 4), hex_digit(byte & 15)];
        let text = if is_plain(*byte) { std::slice::from_ref(byte) } else { &escape[..] };
        out.get_mut(len..len + text.len()).ok_or(Refusal::PathLength)?.copy_from_slice(text);
        len += text.len();
    }
    Ok(&out[..len])
}

struct Path<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Path<'_> {
    fn push(&mut self, byte: u8) -> Result<(), Refusal> {
        *self.out.get_mut(self.len).ok_or(Refusal::PathLength)? = byte;
        self.len += 1;
        Ok(())
    }

    /// Ends the segment behind the last slash, at a slash or at the end of the path.
    fn end_segment(&mut self, at_slash: bool) -> Result<(), Refusal> {
        let start = self.after_slash(self.len);
        match &self.out[start..self.len] {
            b"" => Ok(()),
            b"." => {
                self.len = start;
                Ok(())
            }
            b".." if start == 1 => Err(Refusal::PathAboveRoot),
            b".." => {
                self.len = self.after_slash(start - 1);
                Ok(())
            }
            _ if at_slash => self.push(b'/'),
            _ => Ok(()),
        }
    }

    /// Behind the last slash before `end`; there always is one, the first byte.
    fn after_slash(&self, end: usize) -> usize {
        self.out[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)
    }
}

/// Whether a raw path is its own normal form: nothing to decode, remove, merge or refuse.
fn is_normal(raw: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in raw {
        match byte {
            b'/' | b'.' if after_slash => return false,
            0..0x20 | 0x7f | b'%' | b'\\' | b'#' => return false,
            _ => after_slash = *byte == b'/',
        }
    }
    true
}

/// The byte at the front, decoded, and how many bytes it took.
fn decode(raw: &[u8]) -> Result<(u8, usize), Refusal> {
    match *raw {
        [b'%', high, low, ..] => {
            let (high, low) = hex(high).zip(hex(low)).ok_or(Refusal::PathEscape)?;
            match high << 4 | low {
                b'/' | b'\\' => Err(Refusal::PathSlash),
                0 => Err(Refusal::PathByte),
                byte if byte.is_ascii_control() => Err(Refusal::PathControl),
                byte => Ok((byte, 3)),
            }
        }
        [b'%', ..] => Err(Refusal::PathEscape),
        [b'\\', ..] => Err(Refusal::PathSlash),
        [b'#', ..] => Err(Refusal::PathByte),
        [byte, ..] if byte.is_ascii_control() => Err(Refusal::PathByte),
        [byte, ..] => Ok((byte, 1)),
        [] => Err(Refusal::PathEscape),
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(raw: &str) -> Result<Vec<u8>, Refusal> {
        let mut out = vec![0; raw.len()];
        let result = normalise(raw.as_bytes(), &mut out).map(<[u8]>::to_vec);
        if let Ok(path) = &result {
            check(path);
        }
        result
    }

    /// What is promised of every result.
    fn check(path: &[u8]) {
        let (first, rest) = path.split_first().unwrap();
        assert_eq!(*first, b'/');
        let segments: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
        let (last, inner) = segments.split_last().unwrap();
        assert!(inner.iter().all(|segment| !segment.is_empty()), "{}", path.escape_ascii());
        assert!(inner.iter().chain([last]).all(|segment| *segment != b"." && *segment != b".."));
        assert!(!path.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    }

    #[test]
    fn paths_are_brought_to_one_form() {
        let cases = [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/a/", "/a/"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/.", "/"),
            ("/./a/./b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../../c/", "/c/"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/b"),
            ("/%61%2Fb".trim_end_matches("%2Fb"), "/a"),
            ("/%7euser", "/~user"),
            ("/a%20b", "/a b"),
            ("/%E4%bd%A0", "/\u{4f60}"),
            ("/\u{e9}", "/\u{e9}"),
            ("/%252e%252e/a", "/%2e%2e/a"),
            ("/%2e/a/%2E%2e/b", "/b"),
            ("/.%2e/".trim_start_matches("/.%2e"), "/"),
            ("/...", "/..."),
            ("/.git/config", "/.git/config"),
            ("/a..b/..c/d..", "/a..b/..c/d.."),
            ("/%3f%23%25", "/?#%"),
            ("/a;b=c", "/a;b=c"),
        ];
        for (raw, path) in cases {
            assert_eq!(normal(raw).as_deref(), Ok(path.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        let cases = [
            ("/..", Refusal::PathAboveRoot),
            ("/../etc/passwd", Refusal::PathAboveRoot),
            ("/a/../../b", Refusal::PathAboveRoot),
            ("/%2e%2e/a", Refusal::PathAboveRoot),
            ("/.%2e/a", Refusal::PathAboveRoot),
            ("//../a", Refusal::PathAboveRoot),
            ("/./../a", Refusal::PathAboveRoot),
            ("/a%2fb", Refusal::PathSlash),
            ("/a%2Fb", Refusal::PathSlash),
            ("/..%2fetc", Refusal::PathSlash),
            ("/a%5cb", Refusal::PathSlash),
            ("/a%5C..%5Cb", Refusal::PathSlash),
            ("/a\\b", Refusal::PathSlash),
            ("/a%00", Refusal::PathByte),
            ("/a%00.html", Refusal::PathByte),
            ("/a%0d%0ab", Refusal::PathControl),
            ("/a%1f", Refusal::PathControl),
            ("/a%7f", Refusal::PathControl),
            ("/a\x01", Refusal::PathByte),
            ("/a#b", Refusal::PathByte),
            ("/%", Refusal::PathEscape),
            ("/%4", Refusal::PathEscape),
            ("/%g0", Refusal::PathEscape),
            ("/%0g", Refusal::PathEscape),
            ("/%%41", Refusal::PathEscape),
            ("/%u0041", Refusal::PathEscape),
            ("*", Refusal::TargetForm),
            ("", Refusal::TargetForm),
            ("a/b", Refusal::TargetForm),
        ];
        for (raw, refusal) in cases {
            assert_eq!(normal(raw), Err(refusal), "{raw}");
        }
    }

    #[test]
    fn a_short_buffer_is_an_answer_and_a_normal_path_needs_none() {
        assert_eq!(normalise(b"/%61b", &mut [0; 2]), Err(Refusal::PathLength));
        assert_eq!(normalise(b"/%61b", &mut [0; 3]), Ok(&b"/ab"[..]));
        assert_eq!(normalise(b"/index.html", &mut []), Ok(&b"/index.html"[..]));
    }

    #[test]
    fn dot_names_are_told_from_well_known_and_ordinary_ones() {
        for path in
            ["/.git", "/a/.env", "/.well-known/.git", "/.well-knownx", "/.a/b", "/...", "/a/.well-known2/b"]
        {
            assert!(has_dot_name(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a", "/a.b/c.", "/.well-known/acme", "/.well-known", "/a/.well-known/b"] {
            assert!(!has_dot_name(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn encoding_escapes_what_has_a_meaning() {
        let mut out = [0; 64];
        assert_eq!(encode(b"/a b%?#\"<\xe9\x00/", &mut out), Ok(&b"/a%20b%25%3F%23%22%3C%E9%00/"[..]));
        assert_eq!(encode(b"/a%", &mut [0; 4]), Err(Refusal::PathLength));
    }

    /// Paths full of what normalising is about.
    fn tricky() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("/".to_string()),
            Just(".".to_string()),
            Just("..".to_string()),
            Just("%2e".to_string()),
            Just("%2E".to_string()),
            Just("%2f".to_string()),
            Just("%25".to_string()),
            Just("\\".to_string()),
            Just("%".to_string()),
            "[a-z]{1,3}",
            "%[0-9a-fA-F]{2}",
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn results_are_normal_and_stay_so(raw in tricky()) {
            let Ok(path) = normal(&raw) else { return Ok(()) };
            let mut escaped = vec![0; path.len() * 3];
            let escaped = encode(&path, &mut escaped).unwrap();
            let mut again = vec![0; escaped.len()];
            prop_assert_eq!(normalise(escaped, &mut again), Ok(path.as_slice()));
            if !path.contains(&b'%') && !path.contains(&b'#') {
                let mut again = vec![0; path.len()];
                prop_assert_eq!(normalise(&path, &mut again), Ok(path.as_slice()));
            }
        }

        #[test]
        fn escaping_any_byte_differently_changes_nothing(raw in "/[a-z./]{0,16}", which in any::<u16>()) {
            let escaped: String = raw.char_indices().map(|(i, c)| {
                let escapes = c != '/' && which >> (i % 16) & 1 == 1;
                if escapes { format!("%{:02x}", u32::from(c)) } else { c.to_string() }
            }).collect();
            prop_assert_eq!(normal(&escaped), normal(&raw));
        }
    }
}
