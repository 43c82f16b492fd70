//! Names: of sites, things configured, fields, methods, media types, users of the system.

use super::written_as_text;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longest name of a thing configured, in bytes.
pub(super) const LABEL_BYTES_MAX: usize = 64;

/// Longest value of a field, in bytes.
pub(super) const FIELD_BYTES_MAX: usize = 4096;

/// A name a site answers to: `example.org`, `*.example.org`, or `*` for requests no other site wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteName(String);

/// The name of a thing configured, by which others refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

/// A user or group of the operating system, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(String);

/// The name of a field (RFC 9110, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName(String);

/// The value of a field (RFC 9110, section 5.5), printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(String);

/// A media type with or without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypeText(String);

/// A media type, or all of a kind: `text/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange(String);

/// A request's method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(String);

/// A token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

impl FromStr for SiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_ascii() {
            return Err(format!(
                "{text:?} is not ASCII; write the name as it is sent, in punycode (xn--...)"
            ));
        }
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let bracketed = lower.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
        if let Some(inside) = bracketed {
            return match inside.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) => Ok(Self(format!("[{address}]"))),
                _ => Err(format!("{text:?} is no IPv6 address in brackets")),
            };
        }
        if lower.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(format!("{text:?} is an IPv6 address; write it in brackets, \"[{lower}]\""));
        }
        if lower.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            return Err(format!(
                "{text:?} has a port; a site's name has none, where to listen is said in [[endpoint]]"
            ));
        }
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        if lower == "*" || super::address::is_host_name(name) {
            return Ok(Self(lower));
        }
        let hint = "write \"example.org\", \"*.example.org\" for all names below it, or \"*\" for all others";
        Err(format!("{text:?} is no name of a site; {hint}"))
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if !text.is_empty() && text.len() <= LABEL_BYTES_MAX && text.bytes().all(is_part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no name; it has letters, digits, and - _ . @, at most {LABEL_BYTES_MAX}"
            ))
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
        if !text.is_empty()
            && text.len() <= LABEL_BYTES_MAX
            && text.bytes().all(is_part)
            && !text.starts_with('-')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no name or number of a user or group"))
        }
    }
}

impl FromStr for HeaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no name of a header field"))
        }
    }
}

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |byte: u8| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic();
        if text.len() > FIELD_BYTES_MAX {
            return Err(format!("this value has more than {FIELD_BYTES_MAX} bytes"));
        }
        if text.bytes().all(is_part) && text.trim() == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no value of a header field; it is printable ASCII without spaces at its ends"
            ))
        }
    }
}

impl FromStr for MediaTypeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let essence = text.split(';').next().unwrap_or(text).trim_end();
        let has_parts = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
        let is_printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if has_parts && is_printable && text.trim() == text && text.len() <= crate::web::mime::TYPE_LEN_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no media type; write it as in \"text/plain\""))
        }
    }
}

impl FromStr for MediaRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has_parts =
            text.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub) && kind != "*");
        if has_parts {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("{text:?} is no media type; write \"text/html\", or \"text/*\" for all of a kind"))
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !is_token(text) {
            return Err(format!("{text:?} is no method"));
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(format!(
                "{text:?} is no method that clients send; write {:?}",
                text.to_ascii_uppercase()
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The same faces for each.
macro_rules! named {
    ($($type:ident),+) => {$(
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}
named!(SiteName, Label, Group, HeaderName, HeaderText, MediaTypeText, MediaRange, Method);

written_as_text!(
    SiteName,
    "site-name",
    "A name the site answers to: an exact one, `*.` and a name for every name below it, or `*` for what no other site wants.",
    ["example.org", "*.example.org", "*"]
);
written_as_text!(Label, "label", "A name of letters, digits, and `- _ . @`, at most 64.", ["public"]);
written_as_text!(Group, "group", "A user or group of this machine, by name or number.", ["www-data"]);
written_as_text!(HeaderName, "header-name", "The name of a header field.", ["Cache-Control"]);
written_as_text!(HeaderText, "header-text", "The value of a header field: printable ASCII.", ["no-store"]);
written_as_text!(
    MediaTypeText,
    "media-type",
    "A media type, with or without parameters.",
    ["text/plain", "text/html; charset=utf-8"]
);
written_as_text!(MediaRange, "media-range", "A media type, or all of a kind.", ["text/html", "text/*"]);
written_as_text!(Method, "method", "A request's method, in capitals.", ["GET"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = String>>(good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert!(text.parse::<T>().is_ok(), "{text}"));
        bad.iter().for_each(|text| assert!(text.parse::<T>().is_err(), "{text}"));
    }

    #[test]
    fn names_are_checked() {
        check::<SiteName>(
            &[
                "example.org",
                "*.example.org",
                "*",
                "localhost",
                "192.0.2.1",
                "[::1]",
                "a_b.c",
                "Example.ORG.",
            ],
            &["", "ä.org", "example.org:80", "::1", "a..b", "*.*", "a*.b", "-a.b", "http://x", "[1.2.3.4]"],
        );
        check::<Label>(&["a", "a-b_c.d", "a@b"], &["", "a b", "ä"]);
        check::<Group>(&["www-data", "33"], &["", "-x", "a b", "a:b"]);
        check::<HeaderName>(&["X-A"], &["", "a b", "a:", "ä"]);
        check::<HeaderText>(&["", "a b"], &[" a", "a\r\nb: c", "ä", "a\0"]);
        check::<MediaTypeText>(&["a/b", "a/b; c=d"], &["", "a", "/b", "a/", " a/b", "a b/c"]);
        check::<MediaRange>(&["text/*", "text/html"], &["*/*", "text", ""]);
        check::<Method>(&["GET", "M-SEARCH"], &["get", "", "G T"]);
        assert_eq!(
            "Example.ORG.".parse::<SiteName>().map(|name| name.to_string()).as_deref(),
            Ok("example.org")
        );
    }
}
