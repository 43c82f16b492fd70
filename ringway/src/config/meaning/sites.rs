//! Sites: names, references, settings that exclude each other.

use super::Judge;
use super::endpoints::start;
use crate::config::report::Finding;
use crate::config::settings::{CacheRule, Compression, Endpoint, Headers, Site};
use crate::config::source::Place;
use crate::config::tree::Node;
use crate::config::values::TryStep;
use crate::web::tries::{Tries, TriesError};
use std::collections::HashMap;

/// Fields that frame a message or say when it was made: the server alone says them.
const PROTECTED: [&str; 7] =
    ["connection", "content-length", "content-range", "date", "keep-alive", "transfer-encoding", "upgrade"];

impl Judge<'_> {
    pub(super) fn sites(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let is_for_sites = |endpoint: &Endpoint| endpoint.is_http();
        let wants_sites = config.endpoint.is_empty() || config.endpoint.iter().any(is_for_sites);
        if !self.written.has_sites && wants_sites {
            let hint = "write [[site]] with `names = [\"*\"]` and a `root`";
            self.error_with_hint(start(tree), "there is no [[site]]: nothing would be served", hint);
        }
        self.site_names();
        for (index, site) in config.site.iter().enumerate() {
            let node = tree.item("site", index);
            self.endpoint_references(site.endpoints.iter().map(|name| name.as_str()), node, "endpoints");
            self.endpoints_for_sites(site, node);
            let endpoints = site.endpoints.iter().enumerate();
            self.duplicates(
                "the endpoint",
                endpoints.map(|(at, name)| (name.as_str(), node.place_in("endpoints", at))),
            );
            self.site(site, node);
        }
    }

    /// No two sites on one endpoint have the same name.
    fn site_names(&mut self) {
        let config = self.config;
        let of_sites = config.endpoint.iter().filter(|endpoint| endpoint.is_http());
        let mut all: Vec<&str> = of_sites.map(|endpoint| endpoint.name.as_str()).collect();
        all.sort_unstable();
        all.dedup();
        let mut seen: HashMap<(&str, &str), Place> = HashMap::new();
        for (index, site) in config.site.iter().enumerate() {
            let node = self.tree.item("site", index);
            let own: Vec<&str> = site.endpoints.iter().map(|name| name.as_str()).collect();
            for (number, name) in site.names.iter().enumerate() {
                let place = node.place_in("names", number);
                for endpoint in if own.is_empty() { &all } else { &own } {
                    let Some(first) = seen.insert((endpoint, name.as_str()), place) else { continue };
                    let message = format!("the endpoint `{endpoint}` has two sites called `{name}`");
                    self.findings
                        .push(Finding::error(place, message).other(first, "here for the first time"));
                    break;
                }
            }
        }
    }

    fn site(&mut self, site: &Site, node: &Node) {
        let has_nothing = site.root.is_none() && site.route.is_empty() && !site.user_directories.enabled;
        if has_nothing && !node.is_damaged && node.entry("route").is_none() {
            self.error_with_hint(
                node.place,
                "this site has nothing to serve",
                "write a `root`, or a [[site.route]] that answers",
            );
        }
        if site.root.is_none() && !node.is_damaged {
            for (key, is_set) in [("try", !site.r#try.is_empty()), ("listing", site.listing.enabled)] {
                if is_set {
                    self.error(
                        node.key_place_of(key),
                        format!("`{key}` needs a `root`, and this site has none"),
                    );
                }
            }
        }
        self.index(&site.index, node);
        self.tries(&site.r#try, node);
        self.headers(&site.headers, node);
        self.compression(&site.compression, node);
        self.cache(&site.cache, node);
        if !cfg!(feature = "libraries") && !site.hook.is_empty() {
            self.error(node.key_place_of("hook"), "this program was built without libraries");
        }
    }

    fn cache(&mut self, rules: &[CacheRule], node: &Node) {
        for (at, rule) in rules.iter().enumerate() {
            let node = node.item("cache", at);
            if rule.control.is_none() && rule.expires.is_none() && !node.is_damaged {
                self.error_with_hint(
                    node.place,
                    "this rule tells caches nothing",
                    "write `control` or `expires`",
                );
            }
            if rule.path.is_none() && rule.types.is_empty() && at + 1 != rules.len() && !node.is_damaged {
                self.warning(
                    node.place,
                    "this rule is for every file, and more rules follow it",
                    "they are never asked",
                );
            }
        }
    }

    pub(super) fn index(&mut self, index: &[String], node: &Node) {
        for (number, name) in index.iter().enumerate() {
            if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
                let place = node.place_in("index", number);
                self.error_with_hint(
                    place,
                    format!("{name:?} is no name of an index file"),
                    "write a name without directories",
                );
            }
        }
    }

    pub(super) fn tries(&mut self, steps: &[TryStep], node: &Node) {
        let Err(error) = Tries::parse(steps) else { return };
        let at = match &error {
            TriesError::NotLast(text) => steps.iter().position(|step| step.as_str() == text),
            _ => None,
        };
        let place = at.map_or_else(|| node.place_of("try"), |at| node.place_in("try", at));
        self.error(place, error.to_string());
    }

    pub(super) fn headers(&mut self, headers: &Headers, node: &Node) {
        let node = node.under("headers");
        let of = |key: &'static str, name: &str| node.under(key).key_place_of(name);
        let set = headers.set.keys().map(|name| (name.as_str(), of("set", name.as_str())));
        let add = headers.add.keys().map(|name| (name.as_str(), of("add", name.as_str())));
        let remove =
            headers.remove.iter().enumerate().map(|(at, name)| (name.as_str(), node.place_in("remove", at)));
        let is_protected = |name: &str| PROTECTED.iter().any(|own| own.eq_ignore_ascii_case(name));
        let wrong: Vec<(&str, Place)> =
            set.chain(add).chain(remove).filter(|(name, _)| is_protected(name)).collect();
        for (name, place) in wrong {
            self.error(place, format!("the field `{name}` is the server's own and cannot be edited"));
        }
    }

    fn compression(&mut self, compression: &Compression, node: &Node) {
        let node = node.under("compression");
        if compression.min_size > compression.max_size {
            let key = if node.entry("min_size").is_some() { "min_size" } else { "max_size" };
            let (min, max) = (compression.min_size, compression.max_size);
            self.error(
                node.place_of(key),
                format!("the smallest size ({min}) is more than the largest ({max})"),
            );
        }
        for (key, codings) in [("codings", &compression.codings), ("prepared", &compression.prepared)] {
            let twice = codings.iter().enumerate().find(|(at, coding)| codings[..*at].contains(coding));
            if let Some((at, _)) = twice {
                self.error(node.place_in(key, at), "this coding is there twice");
            }
        }
    }
}
