//! The path that a request is passed on with.

use crate::octets::hex;
use crate::refusal::Refusal;
use crate::target;

/// Whether the raw path, each of its escapes decoded once, is `path`: no dot segment, no empty segment, no rewriting stands
/// between the two. Who decodes it reads what was judged here, so it can be passed on as it was sent.
pub fn is_spelling_of(raw: &[u8], path: &[u8]) -> bool {
    let (mut raw, mut path) = (raw, path);
    loop {
        let (byte, rest) = match raw {
            [] => return path.is_empty(),
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => return false,
            },
            [b'%', ..] => return false,
            [byte, rest @ ..] => (*byte, rest),
        };
        match path {
            [first, behind @ ..] if *first == byte => (raw, path) = (rest, behind),
            _ => return false,
        }
    }
}

/// What is left of `path` when the segments of `prefix` (`/a/b`, without slash at its end) are taken from its front: empty,
/// or it begins with a slash. `None` when it does not begin with them.
pub fn strip<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix).filter(|rest| matches!(rest, [] | [b'/', ..]))
}

/// The path to pass on for `path`, which was sent as `raw`: without the segments of `prefix` if it begins with them, as it was
/// sent where that says the same, else escaped into `memory`.
///
/// # Errors
/// [`Refusal::PathLength`] when `memory` is too short; three times the path is always enough.
pub fn encoded_path<'a>(
    raw: &'a [u8],
    path: &[u8],
    prefix: &[u8],
    memory: &'a mut [u8],
) -> Result<&'a [u8], Refusal> {
    // An escape within the prefix is as good as none, but then nobody knows where the rest begins.
    let sent = match (strip(raw, prefix), strip(path, prefix)) {
        _ if !is_spelling_of(raw, path) => None,
        (Some(rest), Some(_)) => Some(rest),
        (_, Some(_)) => None,
        (_, None) => Some(raw),
    };
    match sent {
        Some(sent) => Ok(sent),
        None => target::encode(strip(path, prefix).unwrap_or(path), memory),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(raw: &str, path: &str, prefix: &str) -> String {
        let mut memory = vec![0; path.len() * 3];
        let path = encoded_path(raw.as_bytes(), path.as_bytes(), prefix.as_bytes(), &mut memory).unwrap();
        String::from_utf8_lossy(path).into_owned()
    }

    #[test]
    fn paths_go_on_as_they_were_sent_unless_they_say_something_else_then() {
        let cases = [
            ("/a/b", "/a/b", "", "/a/b"),
            ("/a%3Bb", "/a;b", "", "/a%3Bb"),
            ("/a//b", "/a/b", "", "/a/b"),
            ("/x/../a%20b", "/a b", "", "/a%20b"),
            ("/a/b", "/rewritten b", "", "/rewritten%20b"),
            // What a rewrite made is no escape.
            ("/%41", "/%41", "", "/%2541"),
            ("/api/b%20c", "/api/b c", "/api", "/b%20c"),
            ("/%61pi/b%3bc", "/api/b;c", "/api", "/b;c"),
            ("/api", "/api", "/api", ""),
            ("/api/", "/api/", "/api", "/"),
            ("/apis/b", "/apis/b", "/api", "/apis/b"),
            ("/%61pis", "/apis", "/api", "/%61pis"),
        ];
        for (raw, path, prefix, expected) in cases {
            assert_eq!(passed(raw, path, prefix), expected, "{raw} {path} {prefix}");
        }
        assert!(encoded_path(b"/a", b"/ ", b"", &mut [0; 3]).is_err());
    }

    #[test]
    fn damaged_escapes_are_no_spelling() {
        assert!(!is_spelling_of(b"/%4", b"/%4") && !is_spelling_of(b"/%xx", b"/%xx"));
        assert!(is_spelling_of(b"", b"") && !is_spelling_of(b"/a", b"/") && !is_spelling_of(b"/", b"/a"));
    }

    proptest! {
        #[test]
        fn who_reads_the_path_behind_us_reads_the_one_that_was_judged(raw in "/[a-b./%]{0,6}(%2[0-9a-e]|%[4-6][0-9a-f]|/|\\.){0,4}") {
            let mut memory = vec![0; raw.len()];
            let Ok(path) = target::normalise(raw.as_bytes(), &mut memory) else { return Ok(()) };
            let mut escaped = vec![0; raw.len() * 3];
            let passed = encoded_path(raw.as_bytes(), path, b"", &mut escaped).unwrap();
            prop_assert!(is_spelling_of(passed, path), "{raw}");
            let mut again = vec![0; passed.len()];
            prop_assert_eq!(target::normalise(passed, &mut again), Ok(path));
        }
    }
}
