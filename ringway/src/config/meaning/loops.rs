//! Loops: redirects and rewrites that lead back to where they came from.

use super::Judge;
use crate::config::settings::{Config, Route, Site};
use crate::config::values::{PathPattern, SiteName};
use crate::web::pattern::{Pattern, WILDCARDS_MAX};
use std::collections::HashMap;

/// Most steps that are followed.
const STEPS_MAX: usize = 12;

/// What a client would ask for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    is_tls: bool,
    host: String,
    path: String,
}

/// Sites by name, for following.
struct Map<'a> {
    config: &'a Config,
    names: HashMap<&'a str, Vec<usize>>,
}

impl Judge<'_> {
    pub(super) fn loops(&mut self) {
        let config = self.config;
        let has_redirects = config.site.iter().any(|site| site.route.iter().any(is_moving));
        if !has_redirects {
            return;
        }
        let map = Map::new(config);
        for (index, site) in config.site.iter().enumerate() {
            for (number, route) in site.route.iter().enumerate().filter(|(_, route)| is_moving(route)) {
                let Some(way) = map.loop_from(site, route) else { continue };
                let node = self.tree.item("site", index).item("route", number);
                let key = if route.redirect.is_some() { "redirect" } else { "rewrite" };
                let message = format!("this leads in a circle: {}", way.join(" -> "));
                self.error(node.place_of(key), message);
            }
        }
    }
}

fn is_moving(route: &Route) -> bool {
    route.redirect.is_some() || route.rewrite.is_some()
}

impl<'a> Map<'a> {
    fn new(config: &'a Config) -> Self {
        let mut names: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, site) in config.site.iter().enumerate() {
            site.names.iter().for_each(|name| names.entry(name.as_str()).or_default().push(index));
        }
        Self { config, names }
    }

    /// Follows a request that the route is for, on each kind of endpoint the site has; gives the way, if it comes back.
    fn loop_from(&self, site: &Site, route: &Route) -> Option<Vec<String>> {
        let host = site.names.iter().map(sample_host).next()?;
        let path = sample_path(&route.path);
        let mut kinds: Vec<bool> = self.endpoints(site).map(|endpoint| endpoint.tls).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let starts = kinds.into_iter().map(|is_tls| Asked { is_tls, host: host.clone(), path: path.clone() });
        starts.into_iter().find_map(|start| self.follow(&start))
    }

    fn follow(&self, start: &Asked) -> Option<Vec<String>> {
        let mut way = vec![start.clone()];
        while way.len() <= STEPS_MAX {
            let next = self.next(way.last()?)?;
            let is_back = way.first() == Some(&next);
            // A circle that begins later is told where it begins.
            if !is_back && way.contains(&next) {
                return None;
            }
            way.push(next);
            if is_back {
                return Some(way.iter().map(Asked::shown).collect());
            }
        }
        // It never ends, growing with each step.
        Some(way.iter().take(4).map(Asked::shown).chain(["...".to_owned()]).collect())
    }

    /// Where a request is sent; `None` when it is answered, or nobody here answers it.
    fn next(&self, asked: &Asked) -> Option<Asked> {
        let site = self.site(asked)?;
        let route = route_of(site, &asked.path)?;
        if let Some(rewrite) = &route.rewrite {
            let path = filled(rewrite.as_str(), &route.path, asked);
            return Some(Asked { path, ..asked.clone() });
        }
        let target = filled(route.redirect.as_ref()?.as_str(), &route.path, asked);
        let (is_tls, behind) = match (target.strip_prefix("https://"), target.strip_prefix("http://")) {
            (Some(behind), _) => (true, behind),
            (_, Some(behind)) => (false, behind),
            _ => return Some(Asked { path: without_query(&target), ..asked.clone() }),
        };
        let (authority, path) = behind.find('/').map_or((behind, "/"), |at| behind.split_at(at));
        // Another port is another server, for all that is known here.
        if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            return None;
        }
        Some(Asked { is_tls, host: authority.to_ascii_lowercase(), path: without_query(path) })
    }

    fn site(&self, asked: &Asked) -> Option<&'a Site> {
        let fits = |index: &usize| {
            let site = &self.config.site[*index];
            self.endpoints(site).any(|endpoint| endpoint.tls == asked.is_tls).then_some(site)
        };
        let named = |name: &str| self.names.get(name)?.iter().find_map(fits);
        let below = || {
            let mut rest = asked.host.as_str();
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(site) = named(&format!("*.{parent}")) {
                    return Some(site);
                }
                rest = parent;
            }
            None
        };
        named(&asked.host).or_else(below).or_else(|| named("*"))
    }

    fn endpoints(&self, site: &'a Site) -> impl Iterator<Item = &'a crate::config::settings::Endpoint> {
        let all = self.config.endpoint.iter();
        all.filter(|endpoint| site.endpoints.is_empty() || site.endpoints.contains(&endpoint.name))
    }
}

impl Asked {
    fn shown(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host, self.path)
    }
}

fn without_query(target: &str) -> String {
    target.split(['?', '#']).next().unwrap_or(target).to_owned()
}

fn sample_host(name: &SiteName) -> String {
    match name.as_str() {
        "*" => "any.example".to_owned(),
        name => name.replacen("*.", "any.", 1),
    }
}

/// A path that a route is for.
fn sample_path(path: &PathPattern) -> String {
    path.as_str().replace("**", "x").replace('*', "x")
}

/// The route that counts for a path, as the server finds it.
fn route_of<'a>(site: &'a Site, path: &str) -> Option<&'a Route> {
    let by_kind =
        |kind: fn(&str) -> Kind, wanted: Kind| move |route: &&Route| kind(route.path.as_str()) == wanted;
    let routes = || site.route.iter().filter(|route| captures(route.path.as_str(), path).is_some());
    let literal = routes().find(by_kind(kind_of, Kind::Literal));
    let is_prefix =
        |route: &&Route| kind_of(route.path.as_str()) == Kind::Prefix && route.path.as_str() != "/**";
    let prefix = || routes().filter(is_prefix).max_by_key(|route| route.path.as_str().len());
    let glob = || routes().find(by_kind(kind_of, Kind::Glob));
    let root = || routes().find(|route| route.path.as_str() == "/**");
    literal.or_else(prefix).or_else(glob).or_else(root)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literal,
    Prefix,
    Glob,
}

fn kind_of(pattern: &str) -> Kind {
    match pattern.strip_suffix("/**") {
        _ if !pattern.contains('*') => Kind::Literal,
        Some(start) if !start.contains('*') => Kind::Prefix,
        _ => Kind::Glob,
    }
}

/// What the wildcards of a pattern stand for in a path it matches.
fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    Pattern::parse(pattern).ok()?.matches(path.as_bytes()).map(|found| {
        let part = |number| found.get(number).and_then(|range| path.get(range)).map(str::to_owned);
        (1..=WILDCARDS_MAX).map_while(part).collect()
    })
}

fn filled(target: &str, pattern: &PathPattern, asked: &Asked) -> String {
    let scheme = if asked.is_tls { "https" } else { "http" };
    let mut text = target
        .replace("{scheme}", scheme)
        .replace("{host}", &asked.host)
        .replace("{path}", &asked.path)
        .replace("{query}", "");
    for (index, part) in captures(pattern.as_str(), &asked.path).unwrap_or_default().iter().enumerate() {
        text = text.replace(&format!("{{{}}}", index + 1), part);
    }
    text
}
