//! The page that a request comes from, and whether it is one's own: protection against hot links.
//!
//! Browsers say it in `Referer`; others may say what they like. This keeps other sites from showing one's pictures as
//! theirs, and keeps nobody out who wants in.

use ringway_http::head::{Known, Request};

/// Holds for requests that come from a page of somebody else.
#[derive(Clone, Debug, Default)]
pub struct ForeignReferer {
    names: Box<[Box<str>]>,
    counts_missing: bool,
}

impl ForeignReferer {
    /// Pages count as one's own on the host that the request itself is for, and on `names`, where `*.example.org` stands for
    /// every name below `example.org`. `counts_missing`: a request that does not say where it comes from (a bookmark,
    /// a client that keeps it to itself) counts as foreign.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>, counts_missing: bool) -> Self {
        Self { names: names.into_iter().map(String::into_boxed_str).collect(), counts_missing }
    }

    /// Whether the request comes from a foreign page.
    #[must_use]
    pub fn holds(&self, request: &Request<'_>) -> bool {
        if !request.has(Known::Referer) {
            return self.counts_missing;
        }
        // A repeated one is no browser's.
        let Some(referer) = request.referer() else { return true };
        if referer.is_empty() {
            return self.counts_missing;
        }
        let Some(host) = host_of(referer) else { return true };
        let own = request.host().map(|host| without_port(host.as_bytes()));
        let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(host));
        !is_own && !self.names.iter().any(|name| is_like(host, name))
    }
}

/// The host in an absolute URI, without user and port.
fn host_of(uri: &[u8]) -> Option<&[u8]> {
    let scheme_end = memchr::memmem::find(uri, b"://")?;
    let behind = &uri[scheme_end + 3..];
    let end = behind.iter().position(|byte| b"/?#\\".contains(byte)).unwrap_or(behind.len());
    let authority = &behind[..end];
    let host = memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
    Some(without_port(host)).filter(|host| !host.is_empty())
}

/// `host:port` without the port and without the dot of a full name; addresses of IPv6 keep their brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let name_end = match authority.first() {
        Some(b'[') => memchr::memchr(b']', authority).map_or(authority.len(), |at| at + 1),
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let name = &authority[..name_end];
    name.strip_suffix(b".").unwrap_or(name)
}

fn is_like(host: &[u8], name: &str) -> bool {
    match name.strip_prefix('*') {
        Some(ending) => host
            .len()
            .checked_sub(ending.len())
            .is_some_and(|at| at > 0 && host[at..].eq_ignore_ascii_case(ending.as_bytes())),
        None => host.eq_ignore_ascii_case(name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_http::head::Limits;

    fn holds(rule: &ForeignReferer, referer: &str) -> bool {
        let text = format!("GET /a.png HTTP/1.1\r\nHost: www.example.org:8080\r\n{referer}\r\n");
        rule.holds(&Request::parse(text.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn own_pages_are_told_from_foreign_ones() {
        let rule = ForeignReferer::new(["example.net".to_owned(), "*.example.com".to_owned()], false);
        for own in [
            "http://www.example.org/page",
            "https://WWW.example.org:8443",
            "http://www.example.org.?q",
            "http://user@example.net/",
            "http://a.b.example.com/#x",
        ] {
            assert!(!holds(&rule, &format!("Referer: {own}\r\n")), "{own}");
        }
        for foreign in [
            "http://evil.example/",
            "http://www.example.org.evil.example/",
            "http://www.example.org@evil.example/",
            "http://evil.example/http://www.example.org/",
            "http://evil.example\\@www.example.org/",
            "http://example.com/",
            "http://xexample.com/",
            "about:blank",
            "www.example.org",
            "http:///x",
            "http://[::1]:80/",
        ] {
            assert!(holds(&rule, &format!("Referer: {foreign}\r\n")), "{foreign}");
        }
        assert!(holds(&rule, "Referer: http://www.example.org/\r\nReferer: http://www.example.org/\r\n"));
    }

    #[test]
    fn whether_silence_is_foreign_is_the_operators_to_say() {
        for (counts_missing, line) in
            [(false, ""), (false, "Referer:\r\n"), (true, ""), (true, "Referer: \r\n")]
        {
            assert_eq!(holds(&ForeignReferer::new([], counts_missing), line), counts_missing, "{line:?}");
        }
    }
}
