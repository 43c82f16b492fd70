//! Meaning: what is wrong with a configuration whose every setting has its form: references that lead nowhere, things said
//! twice, settings that exclude each other, redirects in circles.

mod access;
mod cgi;
mod dav;
mod endpoints;
mod faces;
mod fastcgi;
mod handlers;
mod logs;
mod loops;
mod proxies;
mod routes;
#[cfg(feature = "services")]
mod services;
mod sites;
mod tls;
mod upstreams;

use crate::config::report::Finding;
use crate::config::settings::Config;
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::tree::Node;
use std::collections::{HashMap, HashSet};

/// Names as they were written, also of things that were taken out because something else was wrong with them: what refers
/// to them is not wrong.
#[derive(Debug, Default)]
pub struct Written {
    endpoints: HashSet<String>,
    users: HashSet<String>,
    upstreams: HashSet<String>,
    #[cfg(feature = "services")]
    services: HashSet<String>,
    has_endpoints: bool,
    has_sites: bool,
    has_certificates: bool,
    has_acme: bool,
}

impl Written {
    /// Takes them from a tree that was not yet held against the schema. Where it `is_whole` not, because of what is no TOML,
    /// nothing is missed in it.
    #[must_use]
    pub fn of(tree: &Node, is_whole: bool) -> Self {
        let names = |key: &str| {
            tree.list(key).iter().filter_map(|node| node.text("name")).map(str::to_owned).collect()
        };
        Self {
            endpoints: names("endpoint"),
            users: names("user"),
            upstreams: names("upstream"),
            #[cfg(feature = "services")]
            services: names("service"),
            has_endpoints: !is_whole || tree.entry("endpoint").is_some(),
            has_sites: !is_whole || tree.entry("site").is_some(),
            has_certificates: !is_whole || tree.entry("certificate").is_some(),
            has_acme: !is_whole || tree.entry("acme").is_some(),
        }
    }
}

/// What the checks look at, and where they tell.
struct Judge<'a> {
    config: &'a Config,
    tree: &'a Node,
    written: &'a Written,
    findings: &'a mut Vec<Finding>,
}

/// Judges a configuration; `tree` is what it was read from.
pub fn check(config: &Config, tree: &Node, written: &Written, findings: &mut Vec<Finding>) {
    let mut judge = Judge { config, tree, written, findings };
    judge.endpoints();
    judge.upstreams();
    judge.services();
    judge.sites();
    judge.routes();
    judge.dav();
    judge.loops();
    judge.access();
    judge.certificates();
    judge.faces();
    judge.logs();
}

#[cfg(not(feature = "services"))]
impl Judge<'_> {
    fn services(&mut self) {
        for (index, service) in self.config.service.iter().enumerate() {
            let node = self.tree.item("service", index);
            self.error(
                node.place_of("name"),
                format!("`{}`: this program was built without services", service.name),
            );
        }
    }

    fn service_of(&mut self, route: &crate::config::settings::Route, node: &Node) {
        if route.service.is_some() {
            self.error(node.key_place_of("service"), "this program was built without services");
        }
    }
}

impl Judge<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.findings.push(Finding::error(place, message));
    }

    fn error_with_hint(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::error(place, message).hint(hint));
    }

    fn warning(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::warning(place, message).hint(hint));
    }

    /// Tells of each of `names`, standing at `places`, that was there before. Gives nothing that is told elsewhere.
    fn duplicates<'b>(&mut self, what: &str, names: impl IntoIterator<Item = (&'b str, Place)>) {
        let mut seen: HashMap<&str, Place> = HashMap::new();
        for (name, place) in names {
            if let Some(first) = seen.get(name) {
                let finding = Finding::error(place, format!("{what} `{name}` is there twice"));
                self.findings.push(finding.other(*first, "here for the first time"));
            } else {
                seen.insert(name, place);
            }
        }
    }

    /// Tells of each endpoint a list under `key` of `node` names that does not exist.
    fn endpoint_references<'b>(&mut self, names: impl Iterator<Item = &'b str>, node: &Node, key: &str) {
        for (index, name) in names.enumerate().filter(|(_, name)| !self.written.endpoints.contains(*name)) {
            let known: Vec<&str> =
                self.config.endpoint.iter().map(|endpoint| endpoint.name.as_str()).collect();
            let hint = suggest::did_you_mean(name, known.iter().copied()).or_else(|| all(&known));
            let place = node.place_in(key, index);
            self.findings
                .push(Finding::error(place, format!("there is no endpoint `{name}`")).maybe_hint(hint));
        }
    }
}

/// All names there are, when they are few.
fn all(names: &[&str]) -> Option<String> {
    let shown = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    (1..=8).contains(&names.len()).then(|| format!("there are {shown}"))
}
