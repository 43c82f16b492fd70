//! The routes of a site: which part of it answers for a path.

use crate::clock_table::fast_hasher;
use crate::field_edits::FieldEdits;
use crate::pattern::{Captures, Pattern};
#[cfg(feature = "sites")]
use crate::pattern::{PatternKind, Token};
use crate::pipeline::{Handler, RequestStage};
use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;
use std::fmt;

/// Most routes of a site.
pub const ROUTES_MAX: usize = 4096;

/// Part of a site.
pub struct Route {
    /// Which paths it is for.
    pub pattern: Pattern,
    /// Asked in order after the site's own; the first that does not pass decides.
    pub stages: Vec<Box<dyn RequestStage>>,
    /// Asked in order before the site's own; the first whose request it is answers.
    pub handlers: Vec<Box<dyn Handler>>,
    /// Done to the heads of its answers after the site's own.
    pub edits: FieldEdits,
}

impl Route {
    /// A route without stages and handlers: requests go on to the site's handlers.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, stages: Vec::new(), handlers: Vec::new(), edits: FieldEdits::default() }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("pattern", &self.pattern.as_str())
            .field("stages", &self.stages.len())
            .field("handlers", &self.handlers.len())
            .finish_non_exhaustive()
    }
}

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Another route is for the same paths.
    Duplicate(String),
    /// More than [`ROUTES_MAX`].
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(pattern) => write!(f, "there are two routes for {pattern}"),
            Self::TooMany => write!(f, "a site has at most {ROUTES_MAX} routes"),
        }
    }
}

impl std::error::Error for RouteError {}

type Table = HashMap<Box<[u8]>, usize, SeedableRandomState>;

/// The routes of a site. Of those that match a path the first counts in this order: the literal one, prefixes from the
/// longest to the shortest, other patterns in the order they were added, and at last the prefix `/`.
///
/// Literals and prefixes are found by hashing, one look-up for each slash of the path as far as any prefix has slashes.
/// Other patterns are tried in turn, except for those whose first segment is spelt out and is another one.
pub struct Routes {
    all: Vec<Route>,
    literals: Table,
    prefixes: Table,
    /// How many slashes the deepest prefix has.
    prefix_depth_max: usize,
    /// Patterns by the first segment they spell out, in order.
    globs: HashMap<Box<[u8]>, Vec<usize>, SeedableRandomState>,
    /// Those whose first segment has a wildcard.
    loose: Vec<usize>,
    root: Option<usize>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            literals: HashMap::with_hasher(fast_hasher()),
            prefixes: HashMap::with_hasher(fast_hasher()),
            prefix_depth_max: 0,
            globs: HashMap::with_hasher(fast_hasher()),
            loose: Vec::new(),
            root: None,
        }
    }
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    /// [`RouteError`].
    #[cfg(feature = "sites")]
    pub fn add(&mut self, route: Route) -> Result<(), RouteError> {
        if self.all.len() >= ROUTES_MAX {
            return Err(RouteError::TooMany);
        }
        if self.all.iter().any(|other| other.pattern.kind() == route.pattern.kind() && is_same(other, &route))
        {
            return Err(RouteError::Duplicate(route.pattern.to_string()));
        }
        let number = self.all.len();
        match route.pattern.kind() {
            PatternKind::Literal => {
                self.literals.insert(route.pattern.as_str().as_bytes().into(), number);
            }
            PatternKind::Prefix(prefix) if prefix.is_empty() => self.root = Some(number),
            PatternKind::Prefix(prefix) => {
                let depth = memchr::memchr_iter(b'/', prefix).count();
                self.prefix_depth_max = self.prefix_depth_max.max(depth);
                self.prefixes.insert(prefix.clone(), number);
            }
            PatternKind::Glob(tokens) => match first_segment_of(tokens) {
                Some(segment) => self.globs.entry(segment.into()).or_default().push(number),
                None => self.loose.push(number),
            },
        }
        self.all.push(route);
        Ok(())
    }

    /// The number of the route for a normal path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        if !cfg!(feature = "sites") || self.all.is_empty() {
            return None;
        }
        let literal = if self.literals.is_empty() { None } else { self.literals.get(path).copied() };
        literal.or_else(|| self.find_prefix(path)).or_else(|| self.find_glob(path)).or(self.root)
    }

    /// The route of that number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Route> {
        if cfg!(feature = "sites") { self.all.get(number) } else { None }
    }

    /// Where the wildcards of the route of that number lie in `path`.
    #[must_use]
    pub fn captures(&self, number: usize, path: &[u8]) -> Option<Captures> {
        self.get(number)?.pattern.matches(path)
    }

    /// All of them, in the order they were added.
    pub fn iter(&self) -> std::slice::Iter<'_, Route> {
        self.all.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find_prefix(&self, path: &[u8]) -> Option<usize> {
        if self.prefixes.is_empty() {
            return None;
        }
        // A prefix of as many slashes as the deepest has ends before the slash behind them.
        let mut end = memchr::memchr_iter(b'/', path).nth(self.prefix_depth_max).unwrap_or(path.len());
        while end > 0 {
            if let Some(number) = self.prefixes.get(&path[..end]) {
                return Some(*number);
            }
            end = memchr::memrchr(b'/', &path[..end]).unwrap_or(0);
        }
        None
    }

    fn find_glob(&self, path: &[u8]) -> Option<usize> {
        let spelt: &[usize] = match first_segment(path) {
            Some(segment) if !self.globs.is_empty() => self.globs.get(segment).map_or(&[], Vec::as_slice),
            _ => &[],
        };
        let (mut spelt, mut loose) = (spelt.iter().peekable(), self.loose.iter().peekable());
        loop {
            // Both are in order; the whole is kept in order by taking the smaller one.
            let number = match (spelt.peek(), loose.peek()) {
                (Some(one), Some(other)) if one < other => spelt.next(),
                (Some(_), None) => spelt.next(),
                _ => loose.next(),
            };
            let number = *number?;
            if self.all[number].pattern.matches(path).is_some() {
                return Some(number);
            }
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

/// Whether two patterns of one kind are for the same paths; a literal's text is not part of its kind.
#[cfg(feature = "sites")]
fn is_same(one: &Route, other: &Route) -> bool {
    !matches!(one.pattern.kind(), PatternKind::Literal) || one.pattern == other.pattern
}

/// `/a/`: the first segment with both slashes.
fn first_segment(path: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'/', path.get(1..)?)?;
    path.get(..end + 2)
}

#[cfg(feature = "sites")]
fn first_segment_of(tokens: &[Token]) -> Option<&[u8]> {
    match tokens.first()? {
        Token::Text(text) => first_segment(text),
        Token::Star | Token::Deep | Token::Rest => None,
    }
}

#[cfg(feature = "sites")]
#[cfg(test)]
mod tests {
    use super::*;

    fn routes(patterns: &[&str]) -> Routes {
        let mut routes = Routes::default();
        for pattern in patterns {
            routes.add(Route::new(Pattern::parse(pattern).unwrap())).unwrap();
        }
        routes
    }

    fn found<'a>(routes: &'a Routes, path: &str) -> &'a str {
        routes.find(path.as_bytes()).map_or("", |number| routes.get(number).unwrap().pattern.as_str())
    }

    #[test]
    fn the_most_particular_route_is_found() {
        let routes = routes(&[
            "/**",
            "/*.php",
            "/a/**",
            "/a/b/**",
            "/a/b/c",
            "/x/*/y",
            "/**/*.png",
            "/x/**/*.png",
            "/a/b/c/d/e/**",
        ]);
        for (path, wanted) in [
            ("/", "/**"),
            ("/a", "/a/**"),
            ("/a/", "/a/**"),
            ("/ab", "/**"),
            ("/a/i.png", "/a/**"),
            ("/a/b", "/a/b/**"),
            ("/a/b/c", "/a/b/c"),
            ("/a/b/c/", "/a/b/**"),
            ("/a/b/c/d/e", "/a/b/c/d/e/**"),
            ("/a/b/c/d/x", "/a/b/**"),
            ("/i.php", "/*.php"),
            ("/x/1/y", "/x/*/y"),
            ("/x/1/z", "/**"),
            ("/x/1/z.png", "/**/*.png"),
        ] {
            assert_eq!(found(&routes, path), wanted, "{path}");
        }
    }

    #[test]
    fn without_a_root_route_nothing_is_found_for_the_rest() {
        assert_eq!(found(&routes(&["/a/**", "/b"]), "/c"), "");
        assert_eq!(found(&routes(&[]), "/c"), "");
        assert_eq!(found(&routes(&["/**"]), "*"), "/**");
    }

    #[test]
    fn patterns_are_tried_in_the_order_they_were_added() {
        assert_eq!(found(&routes(&["/x/*.png", "/*/a.png"]), "/x/a.png"), "/x/*.png");
        assert_eq!(found(&routes(&["/*/a.png", "/x/*.png"]), "/x/a.png"), "/*/a.png");
        assert_eq!(found(&routes(&["/*/b.png", "/x/*.png"]), "/x/a.png"), "/x/*.png");
    }

    #[test]
    fn two_routes_for_the_same_paths_are_refused() {
        for (one, other) in [("/a", "/a"), ("/a/**", "/a/**"), ("/*.php", "/*.php")] {
            let mut routes = routes(&["/", "/b/**", one]);
            let again = routes.add(Route::new(Pattern::parse(other).unwrap()));
            assert_eq!(again, Err(RouteError::Duplicate(other.to_owned())));
        }
        routes(&["/a", "/b", "/a/**", "/a/*"]);
    }

    #[test]
    fn captures_are_those_of_the_route() {
        let routes = routes(&["/u/*/f/**"]);
        let captures = routes.captures(0, b"/u/ann/f/x/y").unwrap();
        assert_eq!((captures.get(1), captures.get(2), captures.get(3)), (Some(3..6), Some(9..12), None));
    }
}
