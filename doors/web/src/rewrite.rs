//! The handler that has another path answer, without the client's knowing.

use crate::exchange::Exchange;
use crate::pipeline::{Handled, Handler};
use crate::template::{Template, TemplateError, Values};
use ringway_engine::heap::{Local, LocalVec};
use ringway_http::response::EncodeError;
use std::fmt;

/// Why a rewrite is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteError {
    /// The target is no absolute path.
    Target(String),
    /// The target cannot be read.
    Template(TemplateError),
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => {
                write!(f, "{target:?} is no target of a rewrite; it begins with \"/\" or \"{{path}}\"")
            }
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RewriteError {}

/// Where a request goes on within its site: a path, and a query where that is another one than the request's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: Template,
    query: Option<Template>,
}

impl Target {
    /// Reads a target such as `/index.php?{query}`. Without `?` the request's query stays.
    ///
    /// # Errors
    /// [`RewriteError`].
    pub fn parse(text: &str) -> Result<Self, RewriteError> {
        if !text.starts_with('/') && !text.starts_with("{path}") {
            return Err(RewriteError::Target(text.to_owned()));
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let read = |text: &str| Template::parse(text).map_err(RewriteError::Template);
        Ok(Self { path: read(path)?, query: query.map(read).transpose()? })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Template {
        &self.path
    }

    /// Sends the request there. A target that changes nothing would never end; then this is not found.
    pub(crate) fn follow(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let values = Values::of(exchange);
        let mut path = LocalVec::new_in(Local::new());
        self.path.write_plain(&values, |part| path.extend_from_slice(part));
        let mut query = LocalVec::new_in(Local::new());
        if let Some(template) = &self.query {
            template.write_plain(&values, |part| query.extend_from_slice(part));
        }
        let query = match self.query {
            None => values.query,
            Some(_) if query.is_empty() => None,
            Some(_) => Some(&query[..]),
        };
        if path[..] == *values.path && query == values.query {
            return Ok(Handled::NotMine);
        }
        match exchange.rewrite(&path, query) {
            Ok(()) => Ok(Handled::Rewritten),
            Err(status) => exchange.error(status).map(Handled::Answer),
        }
    }
}

/// Sends every request on to another path of the site.
#[derive(Clone, Debug)]
pub struct Rewrite(Target);

impl Rewrite {
    /// To `target`, a template of a path and query.
    ///
    /// # Errors
    /// [`RewriteError`].
    pub fn new(target: &str) -> Result<Self, RewriteError> {
        Target::parse(target).map(Self)
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0
    }
}

impl Handler for Rewrite {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        self.0.follow(exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_paths_of_the_site() {
        for target in ["/", "/index.php?{query}", "{path}.html", "/a/{1}?x={2}&{query}"] {
            assert!(Rewrite::new(target).is_ok(), "{target}");
        }
        for target in ["", "x", "?x", "{1}", "https://example.org/"] {
            assert_eq!(Rewrite::new(target).unwrap_err(), RewriteError::Target(target.to_owned()));
        }
        assert!(matches!(Rewrite::new("/{x}"), Err(RewriteError::Template(_))));
    }
}
