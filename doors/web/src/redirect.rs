//! The handler that sends clients elsewhere.

use crate::answer;
use crate::exchange::Exchange;
use crate::pipeline::{Handled, Handler};
use crate::template::{Template, TemplateError, Values};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;

/// Why a redirect is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectError {
    /// The status is none that sends elsewhere.
    Status(u16),
    /// The target is neither an absolute path nor a whole address.
    Target(String),
    /// The target cannot be read.
    Template(TemplateError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "{status} is no status of a redirect; there are 301, 302, 303, 307 and 308")
            }
            Self::Target(target) => {
                write!(
                    f,
                    "{target:?} is no target of a redirect; it begins with \"/\", \"http://\" or \"https://\""
                )
            }
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RedirectError {}

/// Answers with the address to ask instead, whatever the method.
#[derive(Clone, Debug)]
pub struct Redirect {
    status: Status,
    target: Template,
}

impl Redirect {
    /// A redirect with one of the statuses 301, 302, 303, 307 and 308 to `target`, a template of an address.
    ///
    /// # Errors
    /// [`RedirectError`].
    pub fn new(status: u16, target: &str) -> Result<Self, RedirectError> {
        let known = matches!(status, 301 | 302 | 303 | 307 | 308).then(|| Status::new(status)).flatten();
        let status = known.ok_or(RedirectError::Status(status))?;
        // Begun by a placeholder, what a peer sent could make it another address.
        let is_path = target.starts_with('/') || target.starts_with("{path}");
        let is_address = ["http://", "https://", "{scheme}://"].iter().any(|scheme| {
            target.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        // Two slashes name a host, which here nobody wrote.
        if target.starts_with("//") || !is_path && !is_address {
            return Err(RedirectError::Target(target.to_owned()));
        }
        let target = Template::parse(target).map_err(RedirectError::Template)?;
        Ok(Self { status, target })
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &Template {
        &self.target
    }
}

impl Handler for Redirect {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let values = Values::of(exchange);
        if values.host.is_empty() && self.target.has_host() {
            // HTTP/1.0 may ask for no host, and an address without one is none.
            return exchange.error(Status::BAD_REQUEST).map(Handled::Answer);
        }
        let mut line = b"Location: ".to_vec();
        let start = line.len();
        self.target.write_url(&values, &mut line);
        // Two slashes would name a host; they come of a wildcard between them that stands for nothing.
        while line[start..].starts_with(b"//") {
            line.remove(start);
        }
        line.extend_from_slice(b"\r\nContent-Length: 0\r\n");
        let plan = answer::head_only(self.status, &[&line], exchange.common, exchange.memory)?;
        Ok(Handled::Answer(plan.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_redirects_are_redirects() {
        for status in [301, 302, 303, 307, 308] {
            assert!(Redirect::new(status, "/x").is_ok());
        }
        for status in [0, 200, 300, 304, 305, 404] {
            assert_eq!(Redirect::new(status, "/x").unwrap_err(), RedirectError::Status(status));
        }
        for target in ["https://{host}{path}?{query}", "{scheme}://a", "{path}/x", "/", "/{1}"] {
            assert!(Redirect::new(301, target).is_ok(), "{target}");
        }
        for target in
            ["", "x", "{1}", "{host}/x", "//evil", "ftp://x", "https://", "https:///x", "javascript:x"]
        {
            let error = Redirect::new(301, target).unwrap_err();
            assert_eq!(error, RedirectError::Target(target.to_owned()), "{target}");
        }
        assert!(matches!(Redirect::new(301, "/{x}"), Err(RedirectError::Template(_))));
    }
}
