//! The URLs that a load asks for: `http://host[:port]/path`.

use crate::refusal::Refusal;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where a URL leads, and what is asked for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port as they stand in the URL: the `Host` of requests.
    pub authority: String,
    /// Path and query, at least `/`.
    pub target: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// Refuses what is not `http://`, what has user names, and bytes that a request line cannot carry.
    pub fn parse(text: &str) -> Result<Url, Refusal> {
        let refuse = |why: &str| Err(Refusal::new(format!("{text:?} cannot be asked for: {why}")));
        let Some(rest) = text.strip_prefix("http://") else {
            return refuse("a URL begins with http:// (there is no TLS here yet)");
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return refuse("a URL has a host after http://, and no user name");
        }
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(authority) || !is_plain(target) {
            return refuse("spaces, control characters and letters beyond ASCII must be escaped as %XX");
        }
        let target = match target {
            query if query.starts_with('?') => format!("/{query}"),
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        Ok(Url { authority: authority.to_owned(), target })
    }

    /// The address that the host stands for; port 80 unless the URL has one.
    ///
    /// # Errors
    /// Refuses a name that is not known.
    pub fn address(&self) -> Result<SocketAddr, Refusal> {
        let has_port = self
            .authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let named = if has_port { self.authority.clone() } else { format!("{}:80", self.authority) };
        let unknown = format!("the host {:?} is not known", self.authority);
        let mut found = named.to_socket_addrs().map_err(Refusal::because(unknown.clone()))?;
        found.next().ok_or_else(|| Refusal::new(unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |text: &str| Url::parse(text).map(|url| (url.authority, url.target));
        let pair = |authority: &str, target: &str| Ok((authority.to_owned(), target.to_owned()));
        assert_eq!(parts("http://a"), pair("a", "/"));
        assert_eq!(parts("http://a:81/b?c#d"), pair("a:81", "/b?c"));
        assert_eq!(parts("http://a?b=/c"), pair("a", "/?b=/c"));
        for bad in [
            "https://a/",
            "a/b",
            "http:///a",
            "http://u@a/",
            "http://a/ b",
            "http://a/ä",
            "http://a/\r\nX: y",
        ] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_are_found_with_and_without_ports() {
        let address =
            |text: &str| Url::parse(text).and_then(|url| url.address()).map(|found| found.to_string());
        assert_eq!(address("http://127.0.0.1/"), Ok("127.0.0.1:80".to_owned()));
        assert_eq!(address("http://127.0.0.1:8080/"), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(address("http://[::1]:81/"), Ok("[::1]:81".to_owned()));
        assert_eq!(address("http://[::1]/"), Ok("[::1]:80".to_owned()));
        assert!(
            address("http://no.such.host.invalid/")
                .is_err_and(|refusal| refusal.to_string().contains("is not known"))
        );
    }
}
