//! Which handler a path and method are for: one step a segment, however many routes there are.
//!
//! Routes are compiled into a machine. Each of its states stands for all routes that a path can still be for, in the order of
//! preference, so nothing is ever tried and taken back. Segment by segment from the left, what is spelt out comes before a
//! parameter, and a parameter before `{*rest}`. Of the routes that match a path the first that knows its method answers.

mod machine;
mod pattern;

pub use machine::{Found, STATES_MAX, Table};
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError, SEGMENTS_MAX};

use ringway_http::method::Method;
use std::fmt;

/// Most routes of a service.
pub const ROUTES_MAX: usize = 4096;

/// The methods a route answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Whatever the method.
    Any,
    /// This one. `GET` answers `HEAD` too where no route is for that.
    One(Box<str>),
}

impl Methods {
    /// The name for a table of routes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::One(method) => method,
        }
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A method in a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key<'a> {
    Any,
    Named(&'a str),
}

impl Methods {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Any => Key::Any,
            Self::One(method) => Key::Named(method),
        }
    }
}

/// Whether a row for `key` is for this method.
fn answers(key: Key<'_>, method: Method<'_>) -> bool {
    match key {
        Key::Any => true,
        Key::Named(name) => name == method.as_str(),
    }
}

/// Why routes cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// A pattern is none.
    Pattern(PatternError),
    /// Two routes are for the same paths and method.
    Duplicate(String),
    /// More than [`ROUTES_MAX`].
    TooMany,
    /// Together they would need more than [`STATES_MAX`] states: too many parameters beside too many literals.
    TooManyStates,
    /// A method is no token, or one that is never passed on.
    Method(String),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(error) => error.fmt(f),
            Self::Duplicate(route) => write!(f, "there are two routes for {route}"),
            Self::TooMany => write!(f, "a service has at most {ROUTES_MAX} routes"),
            Self::TooManyStates => write!(
                f,
                "the routes need more than {STATES_MAX} states: too many parameters stand beside too many literals"
            ),
            Self::Method(method) => write!(f, "{method:?} is no method a route can be for"),
        }
    }
}

impl std::error::Error for RouteError {}

impl From<PatternError> for RouteError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}
