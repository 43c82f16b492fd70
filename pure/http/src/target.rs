//! Paths of targets: decoded, dot segments removed, slashes merged, before any rule is applied (RFC 3986).
//!
//! The result of [`normalise`] is the only form that rules, routes and files are matched against, so that no two
//! spellings of a path can meet different rules.

use crate::octets::hex;
use crate::refusal::Refusal;

/// Turns the raw path of a request into an absolute path of plain bytes.
///
/// Escapes are decoded once; empty segments (`//`) and `.` vanish, `..` takes the segment before it away; the path
/// ends with a slash when the raw one named a directory (`/a/`, `/a/.`, `/a/b/..`). A path that is in this form
/// already is handed back as it came, nothing is copied; otherwise the result lies in `out`, which never needs to
/// be longer than `raw`.
///
/// The result begins with `/`, has no empty, `.` or `..` segment, no NUL, no other control byte and no backslash,
/// and it may hold `%` and bytes from 0x80 on as plain bytes.
///
/// # Errors
/// [`Refusal::PathEscape`] for `%` without two hexadecimal digits, [`Refusal::PathSlash`] for `%2f`, `%5c` and `\`,
/// [`Refusal::PathByte`] for control bytes, escaped ones too, and `#`, [`Refusal::PathAboveRoot`] when `..` climbs
/// above the root, [`Refusal::PathLength`] when `out` is too short, [`Refusal::TargetForm`] when `raw` does not
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
                byte if byte.is_ascii_control() => Err(Refusal::PathByte),
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
