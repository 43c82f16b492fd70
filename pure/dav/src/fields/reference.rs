//! References to resources in fields: `Destination`, and the tags of `If` (`Simple-ref`, RFC 4918 section 8.3).

use super::Invalid;
use ringway_http::refusal::Refusal;
use ringway_http::target;

/// A reference: an absolute URI, or an absolute path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Whose resource it is; `None` for the server that is asked.
    pub authority: Option<&'a [u8]>,
    /// The raw path, escaped; begins with a slash.
    path: &'a [u8],
}

impl<'a> Reference<'a> {
    /// Reads a reference. What follows a `?` is no part of a resource's path here, and `#` cannot be in it.
    ///
    /// # Errors
    /// [`Invalid`] for anything but an absolute `http` or `https` URI or an absolute path.
    pub fn read(value: &'a [u8]) -> Result<Self, Invalid> {
        if !value.iter().all(|byte| byte.is_ascii_graphic() || *byte >= 0x80) || value.contains(&b'#') {
            return Err(Invalid);
        }
        let (authority, rest) = match split_scheme(value) {
            Some(rest) => {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
                if end == 0 {
                    return Err(Invalid);
                }
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, value),
        };
        let end = rest.iter().position(|byte| *byte == b'?').unwrap_or(rest.len());
        match &rest[..end] {
            b"" if authority.is_some() => Ok(Self { authority, path: b"/" }),
            // Two slashes would begin an authority.
            [b'/', b'/', ..] if authority.is_none() => Err(Invalid),
            path @ [b'/', ..] => Ok(Self { authority, path }),
            _ => Err(Invalid),
        }
    }

    /// The path in the one form that everything is matched against.
    ///
    /// # Errors
    /// What [`target::normalise`] refuses.
    pub fn normal_path(&self) -> Result<Vec<u8>, Refusal> {
        let mut memory = vec![0; self.path.len()];
        target::normalise(self.path, &mut memory).map(<[u8]>::to_vec)
    }
}

fn split_scheme(value: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = value.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_uris_or_paths() {
        for (value, authority, path) in [
            ("http://h:80/a%20b/../c?x", Some("h:80"), "/c"),
            ("HTTPS://h", Some("h"), "/"),
            ("http://h?x", Some("h"), "/"),
            ("/a/", None, "/a/"),
            ("http://h//a", Some("h"), "/a"),
        ] {
            let read = Reference::read(value.as_bytes()).unwrap();
            assert_eq!(read.authority, authority.map(str::as_bytes), "{value}");
            assert_eq!(read.normal_path().unwrap(), path.as_bytes(), "{value}");
        }
        for bad in
            ["", "a", "//h/a", "ftp://h/a", "http:///a", "http://", "/a#b", "/a b", "http://h#", "*", "?x"]
        {
            assert_eq!(Reference::read(bad.as_bytes()), Err(Invalid), "{bad}");
        }
        assert!(Reference::read(b"/../x").unwrap().normal_path().is_err());
    }
}
