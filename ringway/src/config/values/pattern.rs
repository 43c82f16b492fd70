//! Paths of requests: patterns, targets, steps of `try`; patterns of text; URLs.

use super::written_as_text;
use crate::web::pattern::Pattern;
use crate::web::redirect::Redirect;
use crate::web::rewrite;
use crate::web::rules::glob::Glob;
use crate::web::tries::Tries;
use std::fmt;
use std::str::FromStr;

/// A status to check a redirect's target with.
const ANY_REDIRECT: u16 = 302;

/// A pattern of paths, as [`Pattern`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

/// A pattern of text, as [`Glob`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPattern(String);

/// A path as it is requested, from the root of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixPath(String);

/// Where a redirect leads, as [`Redirect`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

/// Where a rewrite leads, as [`rewrite::Target`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTarget(String);

/// One step of `try`, as [`Tries`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryStep(String);

/// An `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlText(String);

impl PathPattern {
    /// How many wildcards there are.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        Pattern::parse(&self.0).map_or(0, |pattern| pattern.wildcards())
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Pattern::parse(text) {
            Ok(_pattern) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{text:?} is no pattern of paths; {error}")),
        }
    }
}

impl FromStr for TextPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Glob::parse(text) {
            Ok(_glob) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{text:?} {error}")),
        }
    }
}

impl FromStr for PrefixPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = text.find(['?', '#', '%', '*']) {
            let why = "paths are compared decoded and without query";
            return Err(format!("{text:?} has a {:?}; {why}", &text[at..=at]));
        }
        match Pattern::parse(text) {
            Ok(_literal) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{text:?} is no path; {error}")),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Redirect::new(ANY_REDIRECT, text) {
            Ok(_redirect) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl FromStr for LocalTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match rewrite::Target::parse(text) {
            Ok(_target) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl FromStr for TryStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Tries::parse(&[text]) {
            Ok(_tries) => Ok(Self(text.to_owned())),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl UrlText {
    /// The host in it, without port and brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        if let Some(inside) = authority.strip_prefix('[') {
            return inside.split(']').next().unwrap_or(inside);
        }
        authority.split(':').next().unwrap_or(authority)
    }

    /// The port in it, or its scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        let scheme_port = if self.0.starts_with("https:") { 443 } else { 80 };
        self.port_text().and_then(|port| port.parse().ok()).unwrap_or(scheme_port)
    }

    fn authority(&self) -> &str {
        let behind = self.0.split_once("://").map_or("", |(_, behind)| behind);
        behind.split('/').next().unwrap_or(behind)
    }

    fn port_text(&self) -> Option<&str> {
        self.authority().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'))
    }
}

impl FromStr for UrlText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let has_scheme = text.starts_with("https://") || text.starts_with("http://");
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('@');
        let url = Self(text.to_owned());
        let has_port = url.port_text().is_none_or(|port| port.parse::<u16>().is_ok());
        let host = url.host();
        let has_host = super::address::is_host_name(host) || host.parse::<std::net::IpAddr>().is_ok();
        if has_scheme && is_plain && has_port && has_host {
            Ok(url)
        } else {
            Err(format!("{text:?} is no URL; write one that begins with https:// or http://, with a host"))
        }
    }
}

/// The same faces for each.
macro_rules! texts {
    ($($type:ident),+) => {$(
        impl $type {
            /// The text as it was written.
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
texts!(PathPattern, TextPattern, PrefixPath, Target, LocalTarget, TryStep, UrlText);

impl AsRef<str> for TryStep {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

written_as_text!(
    PathPattern,
    "path-pattern",
    "A path, decoded and without query; with `/**` at its end the directory and all below it; `*` stands for anything within \
     a segment, `**` alone between slashes for any number of segments.",
    ["/old.html", "/downloads/**", "/users/*/photo.png", "/**/*.php"]
);
written_as_text!(
    TextPattern,
    "text-pattern",
    "A pattern of text: `*` stands for anything, `?` for one character, `\\` takes the meaning from what follows; capitals do \
     not matter.",
    ["*bot*"]
);
written_as_text!(PrefixPath, "prefix-path", "A path, decoded and without query.", ["/metrics"]);
written_as_text!(
    Target,
    "target",
    "A path or URL; `{scheme}`, `{host}`, `{path}`, `{query}` stand for the request's own, `{1}` to `{9}` for what the \
     wildcards of the route matched.",
    ["/new/{1}", "https://{host}{path}"]
);
written_as_text!(
    LocalTarget,
    "local-target",
    "A path of the site, with a query or without (then the request's stays), and with the placeholders of a target.",
    ["/index.php?{query}", "/v2/{1}"]
);
written_as_text!(
    TryStep,
    "try-step",
    "A path to look for, with the placeholders of a target; with a slash at its end a directory. The last of several is where \
     the request goes when nothing was there, or a status such as `=404`.",
    ["{path}", "{path}/", "/index.html", "=404"]
);
written_as_text!(
    UrlText,
    "url",
    "An `http://` or `https://` URL.",
    ["https://acme-v02.api.letsencrypt.org/directory"]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = String> + fmt::Display>(good: &[&str], bad: &[&str]) {
        for text in good {
            let read: T = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.to_string(), *text);
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_are_checked() {
        check::<PathPattern>(&["/", "/a/**", "/*/b/**/*.png"], &["", "a", "/a**", "/a//b", "/../x"]);
        check::<PrefixPath>(
            &["/", "/a", "/ä b/"],
            &["", "a", "/a//b", "/../a", "/%41", "/a?b", "/a*", "/a\n"],
        );
        check::<Target>(
            &["/a", "https://{host}{path}"],
            &["", "a b", "ftp://x", "/{nothing}", "//x", "/\r\n"],
        );
        check::<LocalTarget>(
            &["/a", "/v2/{1}?{query}", "{path}.html"],
            &["", "a", "/{x}", "/{path", "http://x/"],
        );
        check::<TryStep>(&["{path}", "{path}/", "/x", "=404", "=503"], &["", "=", "=200", "x"]);
        check::<TextPattern>(&["*bot*", ""], &["\\"]);
        assert_eq!("/*/b/**/*.png".parse::<PathPattern>().map(|path| path.wildcards()), Ok(3));
    }

    #[test]
    fn urls_have_a_host_and_a_port() {
        check::<UrlText>(
            &["https://example.org/x", "http://[::1]:8080/", "https://127.0.0.1:14000/dir"],
            &["", "ftp://x/", "https:///x", "https://user@x/", "https://x:99999/", "https://a b/"],
        );
        let url =
            |text: &str| text.parse::<UrlText>().map(|url| (url.host().to_owned(), url.port())).expect(text);
        assert_eq!(url("https://example.org/x"), ("example.org".to_owned(), 443));
        assert_eq!(url("http://[::1]/"), ("::1".to_owned(), 80));
        assert_eq!(url("http://[::1]:81/"), ("::1".to_owned(), 81));
    }
}
