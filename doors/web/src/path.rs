//! Normal paths (as [`ringway_http::target::normalise`] gives them) and the names below a root they stand for.

use crate::escape;

/// The directory a normal path lies in, as a path relative to the root: `/a/b` and `/a/` both give `a`, `/x` gives nothing.
#[must_use]
pub fn directory_of(path: &[u8]) -> &[u8] {
    let end = memchr::memrchr(b'/', path).unwrap_or(0);
    path.get(1..end).unwrap_or_default()
}

/// A normal path as a path relative to the root, without slashes at either end: `/a/b/` gives `a/b`, `/` gives nothing.
#[must_use]
pub fn relative(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
}

/// Appends the `Location` that sends a client from the directory `path` (normal, without its last slash) to its proper
/// address: the same path with a slash, and the query as it came.
///
/// The result begins with exactly one slash, so it cannot lead to another host.
pub fn write_directory_location(out: &mut Vec<u8>, path: &[u8], query: Option<&[u8]>) {
    escape::url_path(out, path);
    out.push(b'/');
    let Some(query) = query else { return };
    out.push(b'?');
    write_query(out, query);
}

/// Appends a query as it came, except for what no field value may hold.
pub fn write_query(out: &mut Vec<u8>, query: &[u8]) {
    for &byte in query {
        match byte {
            0x21..=0x7e if byte != b'"' && byte != b'<' && byte != b'>' => out.push(byte),
            other => escape::url_path(out, &[other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (path, directory, whole) in
            [("/", "", ""), ("/x", "", "x"), ("/a/", "a", "a"), ("/a/b", "a", "a/b"), ("/a/b/", "a/b", "a/b")]
        {
            assert_eq!(directory_of(path.as_bytes()), directory.as_bytes(), "{path}");
            assert_eq!(relative(path.as_bytes()), whole.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_directory_redirect_keeps_the_query_and_stays_here() {
        let location = |path: &[u8], query: Option<&[u8]>| {
            let mut out = Vec::new();
            write_directory_location(&mut out, path, query);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(location(b"/a b", None), "/a%20b/");
        assert_eq!(location(b"/a", Some(b"x=1&y=%20")), "/a/?x=1&y=%20");
        assert_eq!(location(b"/a", Some(b"\r\nX: y\"<>")), "/a/?%0D%0AX:%20y%22%3C%3E");
        assert_eq!(location(b"/\r\n:", None), "/%0D%0A%3A/");
    }
}
