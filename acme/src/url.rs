//! Addresses of an authority's resources: `https` ones only.

use std::fmt;

/// Longest address, in bytes.
const LEN_MAX: usize = 2048;

/// An `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    host_end: usize,
    port: u16,
    path_at: usize,
}

/// Before the host.
const SCHEME: &str = "https://";

impl Url {
    /// `None` for what is no `https` URL with a host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= LEN_MAX)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['@', '#']) {
            return None;
        }
        let path_at = SCHEME.len() + rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = &text[SCHEME.len()..path_at];
        let host_len = match authority.strip_prefix('[') {
            Some(literal) => literal.find(']')? + 2,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let port = match authority[host_len..].strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&port| port > 0)?,
            None if host_len == authority.len() => 443,
            None => return None,
        };
        let is_name = host_len > 0 && authority[..host_len].bytes().all(|byte| !b"/?\\\"<>".contains(&byte));
        is_name.then(|| Self { text: text.to_owned(), host_end: SCHEME.len() + host_len, port, path_at })
    }

    /// The host's name or address, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        self.text[SCHEME.len()..self.host_end].trim_matches(['[', ']'])
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `Host` field has them.
    pub(crate) fn authority(&self) -> &str {
        &self.text[SCHEME.len()..self.path_at]
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        if self.path_at == self.text.len() { "/" } else { &self.text[self.path_at..] }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port, authority, target) in [
            ("https://ca.example/dir?x=1", "ca.example", 443, "ca.example", "/dir?x=1"),
            ("https://ca.example:14000", "ca.example", 14000, "ca.example:14000", "/"),
            ("https://[::1]:14000/dir", "::1", 14000, "[::1]:14000", "/dir"),
            ("https://127.0.0.1/a/b", "127.0.0.1", 443, "127.0.0.1", "/a/b"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!(
                (url.host(), url.port(), url.authority(), url.target()),
                (host, port, authority, target)
            );
        }
        for bad in [
            "http://ca.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://user@host/",
            "https://host:0/",
            "https://host:99999/",
            "https://[::1/",
            "https://host/\r\nX: y",
            "https://[::1]x/",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }
}
