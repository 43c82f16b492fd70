//! What a browser is told to keep: the value of a `Set-Cookie` field (RFC 6265, 4.1), careful unless told otherwise.

use std::fmt;

/// Bytes of a `Set-Cookie` field's value; browsers keep no longer ones.
pub const SET_COOKIE_BYTES_MAX: usize = 4_096;

/// With which requests of other sites a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// With none.
    Strict,
    /// When a link or the address bar leads here.
    Lax,
    /// With all; browsers want [`SetCookie::secure`] with it.
    None,
}

/// A cookie to be set: sent over TLS only, out of scripts' reach, not with other sites' requests and for the whole site, unless
/// told otherwise.
#[derive(Clone, Debug)]
pub struct SetCookie {
    name: String,
    value: String,
    path: String,
    domain: Option<String>,
    max_age_s: Option<u64>,
    same_site: SameSite,
    is_secure: bool,
    is_http_only: bool,
    is_partitioned: bool,
}

/// Why something is no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieError {
    /// The name is empty or has bytes that no name may have (RFC 9110's tokens).
    Name,
    /// The value has bytes that none may have: controls, spaces, quotes, commas, semicolons, backslashes, all beyond ASCII.
    /// Base64 carries everything.
    Value,
    /// Path or domain has a semicolon or a control.
    Attribute,
    /// It is longer than [`SET_COOKIE_BYTES_MAX`].
    TooLong,
    /// `__Host-` and `__Secure-` promise what the attributes do not keep, or `SameSite=None` is not secure.
    Promise,
}

impl SetCookie {
    /// A cookie that lives until the browser is closed.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            path: "/".to_owned(),
            domain: None,
            max_age_s: None,
            same_site: SameSite::Lax,
            is_secure: true,
            is_http_only: true,
            is_partitioned: false,
        }
    }

    /// Takes a cookie away again. Path and domain must be those it was set with.
    pub fn removal(name: impl Into<String>) -> Self {
        Self::new(name, "").max_age_s(0)
    }

    /// Below which path it is sent.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// To which host and all below it it is sent; else only to the one that set it.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// How long it lives, in seconds.
    #[must_use]
    pub fn max_age_s(mut self, seconds: u64) -> Self {
        self.max_age_s = Some(seconds);
        self
    }

    /// With which requests of other sites it is sent.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Whether it is sent over TLS only. Browsers make an exception for localhost.
    #[must_use]
    pub fn secure(mut self, is_secure: bool) -> Self {
        self.is_secure = is_secure;
        self
    }

    /// Whether scripts of the page cannot read it.
    #[must_use]
    pub fn http_only(mut self, is_http_only: bool) -> Self {
        self.is_http_only = is_http_only;
        self
    }

    /// Whether it is kept apart for every site that embeds this one (CHIPS).
    #[must_use]
    pub fn partitioned(mut self, is_partitioned: bool) -> Self {
        self.is_partitioned = is_partitioned;
        self
    }

    /// The field's value.
    ///
    /// # Errors
    /// [`CookieError`].
    pub fn encode(&self) -> Result<String, CookieError> {
        self.check()?;
        let mut text = format!("{}={}; Path={}", self.name, self.value, self.path);
        if let Some(domain) = &self.domain {
            text += "; Domain=";
            text += domain;
        }
        if let Some(seconds) = self.max_age_s {
            text += "; Max-Age=";
            text += &seconds.to_string();
        }
        text += match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        let flags = [
            (self.is_secure, "; Secure"),
            (self.is_http_only, "; HttpOnly"),
            (self.is_partitioned, "; Partitioned"),
        ];
        flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, flag)| text += flag);
        if text.len() > SET_COOKIE_BYTES_MAX { Err(CookieError::TooLong) } else { Ok(text) }
    }

    fn check(&self) -> Result<(), CookieError> {
        if !is_name(self.name.as_bytes()) {
            return Err(CookieError::Name);
        }
        if !self.value.bytes().all(is_value) {
            return Err(CookieError::Value);
        }
        let is_attribute = |text: &str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b';');
        if !is_attribute(&self.path) || !self.domain.as_deref().is_none_or(is_attribute) {
            return Err(CookieError::Attribute);
        }
        let promises = |prefix: &str| {
            // Browsers do not look at the prefix's case.
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_hosts = self.is_secure && self.path == "/" && self.domain.is_none();
        let is_kept = (!promises("__Host-") || is_hosts)
            && (!promises("__Secure-") || self.is_secure)
            && (self.same_site != SameSite::None || self.is_secure)
            && (!self.is_partitioned || self.is_secure);
        if is_kept { Ok(()) } else { Err(CookieError::Promise) }
    }
}

/// Whether this is a cookie's name: a token (RFC 9110, 5.6.2).
pub(super) fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

/// RFC 6265's cookie-octet.
fn is_value(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a cookie's name is a token",
            Self::Value => {
                "a cookie's value has no spaces, quotes, commas, semicolons, backslashes, and is ASCII"
            }
            Self::Attribute => "a cookie's path and domain have no semicolons and controls",
            Self::TooLong => "the cookie is longer than browsers keep",
            Self::Promise => "the cookie's name or SameSite promises what its attributes do not keep",
        })
    }
}

impl std::error::Error for CookieError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_careful_unless_told_otherwise() {
        assert_eq!(
            SetCookie::new("id", "7").encode().as_deref(),
            Ok("id=7; Path=/; SameSite=Lax; Secure; HttpOnly")
        );
        let open = SetCookie::new("theme", "dark")
            .path("/app")
            .domain("example.org")
            .max_age_s(60)
            .same_site(SameSite::Strict)
            .secure(false)
            .http_only(false);
        assert_eq!(
            open.encode().as_deref(),
            Ok("theme=dark; Path=/app; Domain=example.org; Max-Age=60; SameSite=Strict")
        );
        assert_eq!(
            SetCookie::removal("id").encode().as_deref(),
            Ok("id=; Path=/; Max-Age=0; SameSite=Lax; Secure; HttpOnly")
        );
    }

    #[test]
    fn nothing_slips_into_the_head() {
        for name in ["", "a b", "a=b", "a;b", "a\r\nX: y", "\u{fc}"] {
            assert_eq!(SetCookie::new(name, "").encode(), Err(CookieError::Name), "{name:?}");
        }
        for value in ["a b", "a;b", "a,b", "a\"b", "a\\b", "a\r\nb", "\u{fc}", "\0", "\u{7f}"] {
            assert_eq!(SetCookie::new("a", value).encode(), Err(CookieError::Value), "{value:?}");
        }
        for path in ["/;x", "/\r\nX: y", "/\u{fc}"] {
            assert_eq!(SetCookie::new("a", "").path(path).encode(), Err(CookieError::Attribute));
            assert_eq!(SetCookie::new("a", "").domain(path).encode(), Err(CookieError::Attribute));
        }
        let long = SetCookie::new("a", "x".repeat(SET_COOKIE_BYTES_MAX)).encode();
        assert_eq!(long, Err(CookieError::TooLong));
    }

    #[test]
    fn promises_are_kept() {
        let host = || SetCookie::new("__Host-id", "1");
        assert!(host().encode().is_ok());
        for broken in [
            host().secure(false),
            host().path("/x"),
            host().domain("example.org"),
            SetCookie::new("__SECURE-id", "1").secure(false),
            SetCookie::new("id", "1").same_site(SameSite::None).secure(false),
            SetCookie::new("id", "1").partitioned(true).secure(false),
        ] {
            assert_eq!(broken.encode(), Err(CookieError::Promise), "{broken:?}");
        }
        assert!(SetCookie::new("id", "1").same_site(SameSite::None).partitioned(true).encode().is_ok());
    }
}
