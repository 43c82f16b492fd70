//! The compiled routes: a state for each set of routes a path can still be for, and one step for each of its segments.

use super::pattern::{Pattern, Segment};
use super::{Key, Methods, ROUTES_MAX, RouteError, answers};
use foldhash::fast::RandomState;
use ringway_http::method::Method;
use std::collections::HashMap;
use std::fmt;

/// Most states of a service's routes.
pub const STATES_MAX: usize = 65_536;

/// Routes and, behind each, whatever the owner keeps for it by its number.
#[derive(Default)]
pub struct Table {
    routes: Vec<Route>,
    nodes: Vec<Node>,
    states: Vec<State>,
}

struct Route {
    methods: Methods,
    pattern: Pattern,
}

/// A place in the tree of patterns as they are written.
#[derive(Default)]
struct Node {
    literals: HashMap<Box<[u8]>, usize>,
    param: Option<usize>,
    /// Routes that take all that is left here.
    rest: Vec<usize>,
    /// Routes that end here.
    ends: Vec<usize>,
}

/// What a path can still be for.
#[derive(Default)]
struct State {
    literals: HashMap<Box<[u8]>, u32, RandomState>,
    /// Where any other segment that is not empty leads; 0: nowhere.
    other: u32,
    /// Where an empty segment leads that no literal is for, which only the last is; 0: nowhere.
    empty: u32,
    /// The routes of a path that ends here, best first; none: it is no route's.
    rows: Vec<u32>,
    /// `Allow` for what none of them answers.
    allow: Box<str>,
}

/// One of the things a path can still be for, while states are made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Node(usize),
    /// Routes with `{*rest}` at this node.
    Rest(usize),
}

/// What was found for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'t> {
    /// The route of this number.
    Route(usize),
    /// No route has the method; these have others: the value of `Allow`.
    Methods(&'t str),
    /// No route is for the path.
    Nothing,
}

impl Table {
    /// Adds a route; its number is the count of those before it.
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn add(&mut self, methods: Methods, pattern: Pattern) -> Result<usize, RouteError> {
        if self.routes.len() >= ROUTES_MAX {
            return Err(RouteError::TooMany);
        }
        if let Methods::One(method) = &methods {
            let is_token = !method.is_empty()
                && method
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            if !is_token || &**method == "CONNECT" {
                return Err(RouteError::Method(method.to_string()));
            }
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let number = self.routes.len();
        let mut at = 0;
        let mut takes_rest = false;
        for segment in pattern.segments() {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::Param(_) => *node.param.get_or_insert(next),
                Segment::Rest(_) => {
                    takes_rest = true;
                    break;
                }
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &self.nodes[at];
        let others = if takes_rest { &node.rest } else { &node.ends };
        if others.iter().any(|&other| self.routes[other].methods == methods) {
            return Err(RouteError::Duplicate(format!("{methods} {pattern}")));
        }
        let node = &mut self.nodes[at];
        if takes_rest {
            node.rest.push(number)
        } else {
            node.ends.push(number)
        }
        self.routes.push(Route { methods, pattern });
        Ok(number)
    }

    /// Makes the machine; what is added later is not found before the next call.
    ///
    /// # Errors
    /// [`RouteError::TooManyStates`].
    pub fn compile(&mut self) -> Result<(), RouteError> {
        let start: Vec<Item> = if self.nodes.is_empty() { Vec::new() } else { vec![Item::Node(0)] };
        let mut numbers: HashMap<Vec<Item>, u32> = HashMap::new();
        let mut waiting = vec![start.clone()];
        // State 0 is the start, and nothing leads back to it, so 0 says "nowhere" elsewhere.
        numbers.insert(start, 0);
        self.states = vec![State::default()];
        while let Some(items) = waiting.pop() {
            let Some(&number) = numbers.get(&items) else { continue };
            let mut place = |next: Vec<Item>, states: &mut Vec<State>| -> Result<u32, RouteError> {
                if next.is_empty() {
                    return Ok(0);
                }
                if let Some(&known) = numbers.get(&next) {
                    return Ok(known);
                }
                let fresh = u32::try_from(states.len()).unwrap_or(u32::MAX);
                if states.len() >= STATES_MAX {
                    return Err(RouteError::TooManyStates);
                }
                states.push(State::default());
                numbers.insert(next.clone(), fresh);
                waiting.push(next);
                Ok(fresh)
            };
            let mut state = State::default();
            let literals = items.iter().filter_map(|item| match item {
                Item::Node(node) => Some(self.nodes[*node].literals.keys()),
                Item::Rest(_) => None,
            });
            for literal in literals.flatten() {
                if !state.literals.contains_key(literal) {
                    let next = place(step(&self.nodes, &items, literal), &mut self.states)?;
                    state.literals.insert(literal.clone(), next);
                }
            }
            // NUL is in no path, so this is nobody's literal.
            state.other = place(step(&self.nodes, &items, b"\0"), &mut self.states)?;
            state.empty = place(step(&self.nodes, &items, b""), &mut self.states)?;
            (state.rows, state.allow) = self.rows(&items);
            self.states[number as usize] = state;
        }
        Ok(())
    }

    /// The routes of a path that ends with these, and what they allow.
    fn rows(&self, items: &[Item]) -> (Vec<u32>, Box<str>) {
        let mut rows = Vec::new();
        let mut seen: Vec<Key<'_>> = Vec::new();
        for item in items {
            let routes = match *item {
                Item::Node(node) => &self.nodes[node].ends,
                Item::Rest(node) => &self.nodes[node].rest,
            };
            // Within one pattern what names its method comes before what takes any.
            let (named, any): (Vec<usize>, Vec<usize>) =
                routes.iter().partition(|&&route| self.routes[route].methods != Methods::Any);
            for route in named.into_iter().chain(any) {
                let key = self.routes[route].methods.key();
                if seen.contains(&Key::Any) || seen.contains(&key) {
                    continue;
                }
                seen.push(key);
                rows.push(u32::try_from(route).unwrap_or(u32::MAX));
            }
        }
        (rows, allow(&seen))
    }

    /// What `path` and `method` are for. `path` is normal: it begins with a slash.
    #[must_use]
    pub fn find(&self, path: &[u8], method: Method<'_>) -> Found<'_> {
        let (Some(mut state), Some(rest)) = (self.states.first(), path.strip_prefix(b"/")) else {
            return Found::Nothing;
        };
        for segment in rest.split(|byte| *byte == b'/') {
            let known = if state.literals.is_empty() { None } else { state.literals.get(segment) };
            let next = match known {
                Some(&next) => next,
                None if segment.is_empty() => state.empty,
                None => state.other,
            };
            match next {
                0 => return Found::Nothing,
                next => state = &self.states[next as usize],
            }
        }
        let row = |method| {
            let is_for = |row: &&u32| answers(self.routes[**row as usize].methods.key(), method);
            state.rows.iter().find(is_for).map(|row| *row as usize)
        };
        match row(method) {
            Some(route) => Found::Route(route),
            None if state.rows.is_empty() => Found::Nothing,
            None if method == Method::Head => {
                row(Method::Get).map_or(Found::Methods(&state.allow), Found::Route)
            }
            None => Found::Methods(&state.allow),
        }
    }

    /// The value of a route's parameter in `path`, which the route was found for.
    #[must_use]
    pub fn param<'p>(&self, route: usize, path: &'p [u8], name: &str) -> Option<&'p [u8]> {
        let mut rest = path.strip_prefix(b"/")?;
        for segment in self.routes.get(route)?.pattern.segments() {
            let (first, behind) = match rest.iter().position(|byte| *byte == b'/') {
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => (rest, &b""[..]),
            };
            match segment {
                Segment::Param(own) if &**own == name => return Some(first),
                Segment::Rest(own) if &**own == name => return Some(rest),
                _ => rest = behind,
            }
        }
        None
    }

    /// The routes by their numbers: methods and patterns.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Methods, &Pattern)> {
        self.routes.iter().map(|route| (&route.methods, &route.pattern))
    }

    /// A route's method and pattern.
    #[must_use]
    pub fn get(&self, route: usize) -> Option<(&Methods, &Pattern)> {
        self.routes.get(route).map(|route| (&route.methods, &route.pattern))
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(methods, pattern)| (methods.as_str(), pattern.as_str())))
            .finish()
    }
}

/// The routes as a table to read, a line each.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(methods, pattern)| writeln!(f, "{:<7} {pattern}", methods.as_str()))
    }
}

/// What is left of `items` behind a segment, in their order.
fn step(nodes: &[Node], items: &[Item], segment: &[u8]) -> Vec<Item> {
    let mut next = Vec::new();
    for &item in items {
        let Item::Node(at) = item else {
            next.push(item);
            continue;
        };
        let node = &nodes[at];
        next.extend(node.literals.get(segment).map(|&to| Item::Node(to)));
        next.extend(node.param.filter(|_| !segment.is_empty()).map(Item::Node));
        if !node.rest.is_empty() {
            next.push(Item::Rest(at));
        }
    }
    next
}

/// The value of `Allow`.
fn allow(keys: &[Key<'_>]) -> Box<str> {
    let mut names: Vec<&str> = Vec::new();
    for key in keys {
        if let Key::Named(name) = key {
            names.push(name);
            if *name == "GET" && !keys.contains(&Key::Named("HEAD")) {
                names.push("HEAD");
            }
        }
    }
    if !names.contains(&"OPTIONS") {
        names.push("OPTIONS");
    }
    names.join(", ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str)]) -> Table {
        let mut table = Table::default();
        for (method, pattern) in routes {
            let methods = if *method == "*" { Methods::Any } else { Methods::One((*method).into()) };
            table.add(methods, Pattern::parse(pattern).expect("a pattern")).expect("a route");
        }
        table.compile().expect("few states");
        table
    }

    fn get(table: &Table, path: &str) -> Option<usize> {
        match table.find(path.as_bytes(), Method::Get) {
            Found::Route(route) => Some(route),
            Found::Methods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn what_is_spelt_out_comes_before_parameters_and_they_before_the_rest() {
        let table = table(&[
            ("GET", "/"),
            ("GET", "/users/{id}"),
            ("GET", "/users/me"),
            ("GET", "/users/{id}/files/{*path}"),
            ("GET", "/{any}/me/files/x"),
            ("GET", "/{*all}"),
            ("GET", "/users/"),
        ]);
        let found = [
            ("/", 0),
            ("/users/7", 1),
            ("/users/me", 2),
            ("/users/me/files/x", 3),
            ("/users/7/files/", 3),
            ("/users/7/files/a/b", 3),
            ("/other/me/files/x", 4),
            ("/users/7/files", 5),
            ("/users", 5),
            ("/users/", 6),
            ("/x/y/", 5),
        ];
        for (path, route) in found {
            assert_eq!(get(&table, path), Some(route), "{path}");
        }
        let value = |route, path: &'static str, name| {
            table.param(route, path.as_bytes(), name).map(|value| str::from_utf8(value).expect("text"))
        };
        assert_eq!(value(3, "/users/7/files/a/b", "id"), Some("7"));
        assert_eq!(value(3, "/users/7/files/a/b", "path"), Some("a/b"));
        assert_eq!(value(3, "/users/7/files/", "path"), Some(""));
        assert_eq!(value(5, "/a//", "all"), Some("a//"));
        assert_eq!(value(3, "/users/7/files/", "name"), None);
    }

    #[test]
    fn methods_are_looked_for_in_all_routes_of_a_path() {
        let table = table(&[
            ("GET", "/users/me"),
            ("POST", "/users/{id}"),
            ("*", "/any"),
            ("PUT", "/any"),
            ("HEAD", "/heads"),
            ("GET", "/heads"),
            ("PURGE", "/{*rest}"),
        ]);
        let find = |path: &str, method| table.find(path.as_bytes(), method);
        assert_eq!(find("/users/me", Method::Get), Found::Route(0));
        assert_eq!(find("/users/me", Method::Head), Found::Route(0));
        assert_eq!(find("/users/me", Method::Post), Found::Route(1));
        assert_eq!(find("/users/me", Method::Extension("PURGE")), Found::Route(6));
        assert_eq!(find("/users/me", Method::Put), Found::Methods("GET, HEAD, POST, PURGE, OPTIONS"));
        assert_eq!(find("/any", Method::Put), Found::Route(3));
        assert_eq!(find("/any", Method::Patch), Found::Route(2));
        assert_eq!(find("/any", Method::Extension("PURGE")), Found::Route(2));
        assert_eq!(find("/heads", Method::Head), Found::Route(4));
        assert_eq!(find("/else", Method::Get), Found::Methods("PURGE, OPTIONS"));
        assert_eq!(Table::default().find(b"/", Method::Get), Found::Nothing);
    }

    #[test]
    fn the_machine_finds_what_a_search_would() {
        // Every route of up to three segments over two literals, a parameter and a rest.
        let parts = ["a", "b", "{x}", "{*r}"];
        let mut routes: Vec<String> = Vec::new();
        for first in parts {
            routes.push(format!("/{first}"));
            for second in parts {
                routes.push(format!("/{first}/{}", second.replace('x', "y")));
                for third in parts {
                    routes.push(format!("/{first}/{}/{}", second.replace('x', "y"), third.replace('x', "z")));
                }
            }
        }
        routes.retain(|route| Pattern::parse(route).is_ok());
        // Every third, at three beginnings, so that most of them lack what others stand in for.
        for skip in 0..3 {
            let chosen: Vec<&String> = routes.iter().skip(skip).step_by(3).collect();
            let table = table(&chosen.iter().map(|route| ("GET", route.as_str())).collect::<Vec<_>>());
            let names = ["a", "b", "c", ""];
            for path in paths(&names) {
                assert_eq!(get(&table, &path), search(&table, &path), "{path} in {chosen:?}");
            }
        }
    }

    fn paths(names: &[&str]) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut paths = Vec::new();
        for _ in 0..4 {
            all = all
                .iter()
                .filter(|path| !path.ends_with('/') || path.is_empty())
                .flat_map(|path| names.iter().map(move |name| format!("{path}/{name}")))
                .collect();
            paths.extend(all.iter().cloned());
        }
        paths
    }

    /// The best route for a path by comparing all of them.
    fn search(table: &Table, path: &str) -> Option<usize> {
        let segments: Vec<&str> = path[1..].split('/').collect();
        let ranks = |pattern: &Pattern| -> Option<Vec<u8>> {
            let mut ranks = Vec::new();
            for (at, segment) in pattern.segments().iter().enumerate() {
                match (segment, segments.get(at)) {
                    (Segment::Literal(text), Some(own)) if **text == *own.as_bytes() => ranks.push(0),
                    (Segment::Param(_), Some(own)) if !own.is_empty() => ranks.push(1),
                    (Segment::Rest(_), Some(_)) => {
                        ranks.push(2);
                        return Some(ranks);
                    }
                    _ => return None,
                }
            }
            (ranks.len() == segments.len()).then_some(ranks)
        };
        let matching = table.iter().enumerate().filter_map(|(at, (_, pattern))| Some((ranks(pattern)?, at)));
        matching.min().map(|(_, at)| at)
    }

    #[test]
    fn routes_that_cannot_be_are_refused() {
        let mut table = Table::default();
        let add = |table: &mut Table, method: &str, pattern| {
            table.add(Methods::One(method.into()), Pattern::parse(pattern).expect("a pattern"))
        };
        add(&mut table, "GET", "/a/{id}").expect("the first");
        assert!(matches!(add(&mut table, "GET", "/a/{other}"), Err(RouteError::Duplicate(_))));
        add(&mut table, "POST", "/a/{other}").expect("another method");
        add(&mut table, "GET", "/a/{*id}").expect("another kind");
        assert!(matches!(add(&mut table, "GET", "/a/{*rest}"), Err(RouteError::Duplicate(_))));
        for method in ["", "G T", "CONNECT", "GET\n"] {
            assert!(matches!(add(&mut table, method, "/b"), Err(RouteError::Method(_))), "{method:?}");
        }
        table.compile().expect("few states");
        assert_eq!(table.to_string(), "GET     /a/{id}\nPOST    /a/{other}\nGET     /a/{*id}\n");
    }

    #[test]
    fn states_are_bounded() {
        // Each place may be itself or the parameter: without a bound there would be two to the twentieth states.
        let mut table = Table::default();
        for at in 0..40 {
            let segments: Vec<String> = (0..40)
                .map(|place| if place == at { "a".to_owned() } else { format!("{{p{place}}}") })
                .collect();
            let pattern = Pattern::parse(&format!("/{}", segments.join("/"))).expect("a pattern");
            table.add(Methods::Any, pattern).expect("a route");
        }
        assert_eq!(table.compile(), Err(RouteError::TooManyStates));
    }
}
