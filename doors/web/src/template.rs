//! Templates of addresses: text with `{path}`, `{query}`, `{host}`, `{scheme}` and `{1}` to `{9}`.

use crate::escape;
use crate::exchange::Exchange;
use crate::path::write_query;
use crate::pattern::{Captures, WILDCARDS_MAX};
use std::fmt;

/// Longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 2048;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// There is no such placeholder.
    Placeholder(String),
    /// A brace without its other one.
    Brace,
    /// A byte that no address has.
    Byte,
    /// More than [`TEMPLATE_BYTES_MAX`] bytes.
    Length,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder(name) => write!(
                f,
                "there is no {{{name}}}; there are {{path}}, {{query}}, {{host}}, {{scheme}}, and {{1}} to {{{WILDCARDS_MAX}}} \
                 for the wildcards of the route"
            ),
            Self::Brace => f.write_str("a brace has no other one"),
            Self::Byte => f.write_str("an address is written in visible ASCII"),
            Self::Length => write!(f, "an address has at most {TEMPLATE_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for TemplateError {}

/// An address with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Path,
    Query,
    Host,
    Scheme,
    Wildcard(usize),
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// A normal path.
    pub path: &'a [u8],
    /// As it was sent.
    pub query: Option<&'a [u8]>,
    /// Without port.
    pub host: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Where wildcards lie in `path`.
    pub captures: Captures,
}

impl<'a> Values<'a> {
    /// Those of a request, with the wildcards of its route.
    pub fn of(exchange: &mut Exchange<'a>) -> Self {
        let (site, path) = (exchange.site, exchange.path);
        let captures =
            exchange.route().and_then(|route| site.routes.captures(route, path)).unwrap_or_default();
        Self {
            path,
            query: exchange.query,
            host: exchange.request.host().map_or(b"", |host| host.name()),
            scheme: if exchange.session().is_some() { "https" } else { "http" },
            captures,
        }
    }

    fn wildcard(&self, number: usize) -> &'a [u8] {
        self.captures.get(number).and_then(|range| self.path.get(range)).unwrap_or_default()
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Length);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TemplateError::Byte);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, placeholder) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.as_bytes().into()));
            }
            let inside = placeholder.strip_prefix('{').ok_or(TemplateError::Brace)?;
            let (name, behind) = inside.split_once('}').ok_or(TemplateError::Brace)?;
            parts.push(part(name)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().into()));
        }
        Ok(Self { text: text.into(), parts: parts.into() })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The highest number of a wildcard it names; 0 for none.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let number = |part: &Part| if let Part::Wildcard(number) = part { *number } else { 0 };
        self.parts.iter().map(number).max().unwrap_or(0)
    }

    /// Whether it names the host that was asked for.
    #[cfg(feature = "sites")]
    pub(crate) fn has_host(&self) -> bool {
        self.parts.contains(&Part::Host)
    }

    /// Whether it is `{path}` and nothing else.
    pub(crate) fn is_path(&self) -> bool {
        matches!(&*self.parts, [Part::Path])
    }

    /// Appends the address as it goes on the wire: paths and wildcards percent-encoded, so that what a peer sent can neither
    /// end the address nor begin another one. `?{query}` vanishes where there is no query.
    pub fn write_url(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Path => escape::url_path(out, values.path),
                Part::Wildcard(number) => escape::url_path(out, values.wildcard(*number)),
                Part::Host => out.extend_from_slice(values.host),
                Part::Scheme => out.extend_from_slice(values.scheme.as_bytes()),
                Part::Query => match values.query {
                    Some(query) => write_query(out, query),
                    None if out.last() == Some(&b'?') => out.truncate(out.len() - 1),
                    None => {}
                },
            }
        }
    }

    /// Gives the parts of the address as plain bytes, as normal paths are.
    pub fn write_plain(&self, values: &Values<'_>, put: impl FnMut(&[u8])) {
        self.write_with_path(values, values.path, put);
    }

    /// The same with another path than the one wildcards lie in.
    pub(crate) fn write_with_path(&self, values: &Values<'_>, path: &[u8], mut put: impl FnMut(&[u8])) {
        for part in &self.parts {
            put(match part {
                Part::Text(text) => text,
                Part::Path => path,
                Part::Wildcard(number) => values.wildcard(*number),
                Part::Host => values.host,
                Part::Scheme => values.scheme.as_bytes(),
                Part::Query => values.query.unwrap_or_default(),
            });
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn part(name: &str) -> Result<Part, TemplateError> {
    Ok(match name {
        "path" => Part::Path,
        "query" => Part::Query,
        "host" => Part::Host,
        "scheme" => Part::Scheme,
        _ => match name.parse() {
            Ok(number @ 1..=WILDCARDS_MAX) if name.len() == 1 => Part::Wildcard(number),
            _ => return Err(TemplateError::Placeholder(name.to_owned())),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    fn url(template: &str, values: &Values<'_>) -> String {
        let mut out = Vec::new();
        Template::parse(template).unwrap().write_url(values, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn plain(template: &str, values: &Values<'_>) -> String {
        let mut out = Vec::new();
        Template::parse(template).unwrap().write_plain(values, |part| out.extend_from_slice(part));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn placeholders_are_filled_in() {
        let path = b"/u/an n/x?\r\n/y";
        let values = Values {
            path,
            query: Some(b"a=1\r\n&b"),
            host: b"example.org",
            scheme: "https",
            captures: Pattern::parse("/u/*/**").unwrap().matches(path).unwrap(),
        };
        assert_eq!(
            url("{scheme}://{host}:1/{1}/{2}/{3}?{query}", &values),
            "https://example.org:1/an%20n/x%3F%0D%0A/y/?a=1%0D%0A&b"
        );
        assert_eq!(url("{path}", &values), "/u/an%20n/x%3F%0D%0A/y");
        assert_eq!(plain("{path}/i", &values).as_bytes(), b"/u/an n/x?\r\n/y/i");
        let bare = Values { query: None, ..values };
        assert_eq!(url("/a?{query}", &bare), "/a");
        assert_eq!(url("/a?x=1&{query}", &bare), "/a?x=1&");
        assert!(Template::parse("{path}").unwrap().is_path());
        assert_eq!(Template::parse("/{2}{1}").unwrap().wildcards(), 2);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, error) in [
            ("{paht}", TemplateError::Placeholder("paht".into())),
            ("{0}", TemplateError::Placeholder("0".into())),
            ("{10}", TemplateError::Placeholder("10".into())),
            ("{01}", TemplateError::Placeholder("01".into())),
            ("{}", TemplateError::Placeholder(String::new())),
            ("a{", TemplateError::Brace),
            ("a}", TemplateError::Brace),
            ("a b", TemplateError::Byte),
            ("a\n", TemplateError::Byte),
            ("\u{fc}", TemplateError::Byte),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        assert_eq!(Template::parse(&"x".repeat(TEMPLATE_BYTES_MAX + 1)), Err(TemplateError::Length));
    }
}
