//! What is tried for a path before it counts as not found: `["{path}", "{path}/", "/index.html", "=404"]`.

use crate::exchange::{Exchange, is_normal};
#[cfg(feature = "sites")]
use crate::rewrite::RewriteError;
use crate::rewrite::Target;
use crate::template::{Template, TemplateError, Values};
use ringway_engine::heap::{Local, LocalVec};
use ringway_http::status::Status;
use std::fmt;

/// Most things that are tried.
pub const TRIES_MAX: usize = 8;

/// Why a list of things to try is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriesError {
    /// More than [`TRIES_MAX`].
    TooMany,
    /// A status that is not the last.
    NotLast(String),
    /// No status of an error behind the equals sign.
    Status(String),
    /// What is neither a status nor an absolute path.
    Path(String),
    /// What cannot be read.
    Template(TemplateError),
}

impl fmt::Display for TriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "at most {TRIES_MAX} things are tried"),
            Self::NotLast(text) => write!(f, "{text:?} ends the list: what follows would never be tried"),
            Self::Status(text) => {
                write!(f, "{text:?} is no status of an error; there are \"=400\" to \"=599\"")
            }
            Self::Path(text) => {
                write!(f, "{text:?} cannot be tried; write \"{{path}}\", a path from \"/\" on, or \"=404\"")
            }
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TriesError {}

/// What is tried, in order. Each path but the last is looked for as a file below the root, `{path}` being the request's
/// path behind the handler's prefix; one that ends with a slash also as a directory that has an index or is listed. The last
/// decides: a status, or a path of the site to which the request goes on, as a rewrite has it. An empty list tries the path
/// itself in each way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    paths: Box<[Template]>,
    last: Option<Last>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "sites"), expect(dead_code, reason = "lists are read with the feature only"))]
enum Last {
    Status(Status),
    Rewrite(Target),
}

/// One thing that is tried.
pub(crate) enum Candidate<'p, 't> {
    /// A path below the root.
    Path(&'p [u8]),
    /// Nothing that could be there.
    Skip,
    /// The list ends with this.
    Status(Status),
    /// The request goes on there.
    Rewrite(&'t Target),
}

impl Tries {
    /// Reads a list.
    ///
    /// # Errors
    /// [`TriesError`].
    #[cfg(feature = "sites")]
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, TriesError> {
        if list.len() > TRIES_MAX {
            return Err(TriesError::TooMany);
        }
        let Some((last, paths)) = list.split_last() else { return Ok(Self::default()) };
        let paths = paths.iter().map(|text| path(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let last = last.as_ref();
        let last = match last.strip_prefix('=') {
            Some(number) => {
                let status =
                    number.parse().ok().filter(|number| (400..600).contains(number)).and_then(Status::new);
                Last::Status(status.ok_or_else(|| TriesError::Status(last.to_owned()))?)
            }
            None => Last::Rewrite(Target::parse(last).map_err(|error| match error {
                RewriteError::Target(text) => TriesError::Path(text),
                RewriteError::Template(error) => TriesError::Template(error),
            })?),
        };
        Ok(Self { paths: paths.into(), last: Some(last) })
    }

    /// Whether nothing is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !cfg!(feature = "sites") || self.last.is_none()
    }

    /// Whether a request for which nothing is there goes on somewhere else.
    pub(crate) fn ends_elsewhere(&self) -> bool {
        !self.is_empty() && matches!(self.last, Some(Last::Rewrite(_)))
    }

    /// What is tried at `step` for the path `local` below the root. There is an end: a status or a rewrite.
    pub(crate) fn candidate<'p, 't>(
        &'t self,
        exchange: &mut Exchange<'p>,
        local: &'p [u8],
        step: usize,
    ) -> Candidate<'p, 't> {
        let Some(last) = self.last.as_ref().filter(|_| !self.is_empty()) else {
            return if step == 0 { Candidate::Path(local) } else { Candidate::Status(Status::NOT_FOUND) };
        };
        match (self.paths.get(step), last) {
            (Some(template), _) if template.is_path() => Candidate::Path(local),
            (Some(template), _) => fill_in(template, exchange, local),
            (None, Last::Status(status)) => Candidate::Status(*status),
            (None, Last::Rewrite(target)) => Candidate::Rewrite(target),
        }
    }
}

fn fill_in<'p>(template: &Template, exchange: &mut Exchange<'p>, local: &[u8]) -> Candidate<'p, 'static> {
    let values = Values::of(exchange);
    // Wildcards lie in the whole path; the path to be filled in is the one below the root.
    let mut path = LocalVec::new_in(Local::new());
    template.write_with_path(&values, local, |part| path.extend_from_slice(part));
    match exchange.scratch.alloc_slice_copy(&path) {
        Ok(path) if is_normal(path) => Candidate::Path(path),
        _ => Candidate::Skip,
    }
}

#[cfg(feature = "sites")]
fn path(text: &str) -> Result<Template, TriesError> {
    if text.starts_with('=') {
        return Err(TriesError::NotLast(text.to_owned()));
    }
    if !text.starts_with('/') && !text.starts_with("{path}") || text.contains('?') {
        return Err(TriesError::Path(text.to_owned()));
    }
    Template::parse(text).map_err(TriesError::Template)
}

#[cfg(feature = "sites")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for list in
            [&["{path}", "{path}/", "/index.html", "=404"][..], &["{path}", "/index.php?{query}"], &["=410"]]
        {
            assert!(!Tries::parse(list).unwrap().is_empty(), "{list:?}");
        }
        assert!(Tries::parse::<&str>(&[]).unwrap().is_empty());
        for (list, error) in [
            (&["=404", "/x"][..], TriesError::NotLast("=404".into())),
            (&["{path}", "=200"], TriesError::Status("=200".into())),
            (&["=x"], TriesError::Status("=x".into())),
            (&["x", "=404"], TriesError::Path("x".into())),
            (&["/a?b", "=404"], TriesError::Path("/a?b".into())),
            (&["x"], TriesError::Path("x".into())),
            (&["/{x}", "=404"], TriesError::Template(TemplateError::Placeholder("x".into()))),
            (&["/"; 9], TriesError::TooMany),
        ] {
            assert_eq!(Tries::parse(list), Err(error), "{list:?}");
        }
    }
}
