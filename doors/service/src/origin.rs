//! Requests that other sites make a browser send: refused before they change anything.

use crate::error::Error;
use crate::request::Request;
use ringway_http::head::{Authority, Request as Head};
use ringway_http::status::Status;

/// A check ([`crate::App::check`]) that keeps other sites from having a visitor's browser change something here, such as by a
/// form of theirs (CSRF): what is no GET, HEAD or OPTIONS must come from a page of this site, as browsers say in `Sec-Fetch-Site` and
/// `Origin`. Who is no browser says neither, has no visitor's cookies, and passes.
///
/// It needs no token in forms. Browsers older than 2020 that send neither field are kept off by cookies with `SameSite` alone, or by
/// a session's tokens.
///
/// # Errors
/// 403.
pub fn same_origin(request: &Request<'_>) -> Result<(), Error> {
    if is_same_origin(request.head()) {
        return Ok(());
    }
    Err(Error::new(Status::FORBIDDEN, "this may be sent by pages of this site only"))
}

fn is_same_origin(head: &Head<'_>) -> bool {
    if head.method().is_safe() {
        return true;
    }
    match (head.field("Sec-Fetch-Site"), head.field("Origin")) {
        // What browsers say of themselves no page can change.
        (Some(site), _) => matches!(site, b"same-origin" | b"none"),
        (None, None) => true,
        (None, Some(origin)) => is_here(origin, head.host()),
    }
}

/// Whether an origin is the host that was asked. Which scheme that has is not known behind a proxy that ends TLS, so the default
/// ports of both count as none.
fn is_here(origin: &[u8], host: Option<Authority<'_>>) -> bool {
    let rest = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    let (Some(Ok(theirs)), Some(ours)) = (rest.map(Authority::parse), host) else { return false };
    let port = |authority: Authority<'_>| authority.port().filter(|port| !matches!(port, 80 | 443));
    theirs.name().eq_ignore_ascii_case(ours.name()) && port(theirs) == port(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_http::head::Limits;

    fn passes(method: &str, fields: &str) -> bool {
        let text = format!("{method} / HTTP/1.1\r\nHost: a.example:8080\r\n{fields}\r\n");
        is_same_origin(&Head::parse(text.as_bytes(), &Limits::default()).expect("a request"))
    }

    #[test]
    fn other_sites_change_nothing() {
        let site = |site: &str| format!("Sec-Fetch-Site: {site}\r\n");
        let origin = |origin: &str| format!("Origin: {origin}\r\n");
        for good in [
            String::new(),
            site("same-origin"),
            site("none"),
            origin("https://a.example:8080"),
            origin("http://A.Example:8080"),
            site("same-origin") + &origin("null"),
        ] {
            assert!(passes("POST", &good), "{good}");
        }
        for bad in [
            site("cross-site"),
            site("same-site"),
            site("cross-site") + &origin("https://a.example:8080"),
            origin("null"),
            origin("https://b.example:8080"),
            origin("https://a.example"),
            origin("https://a.example:8080.b.example"),
            origin("ftp://a.example:8080"),
            origin(""),
        ] {
            assert!(!passes("POST", &bad) && !passes("DELETE", &bad), "{bad}");
            assert!(passes("GET", &bad), "{bad}");
        }
    }
}
