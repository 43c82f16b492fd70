//! Services: that there are such, that each is one thing, that its own settings are what it takes, and that routes name it.

use super::{Judge, all};
use crate::config::report::Finding;
use crate::config::settings::{Route, Service, SessionStore};
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::tree::{Node, Value};
use crate::hosting;
use serde_json::Value as Json;
use std::collections::HashMap;

impl Judge<'_> {
    pub(super) fn services(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let names = config.service.iter().enumerate();
        self.duplicates(
            "the service",
            names.map(|(index, service)| {
                (service.name.as_str(), tree.item("service", index).place_of("name"))
            }),
        );
        self.data_directories();
        for (index, service) in config.service.iter().enumerate() {
            self.one_service(service, tree.item("service", index));
        }
    }

    fn one_service(&mut self, service: &Service, node: &Node) {
        match (&service.library, &service.linked) {
            (Some(_), Some(_)) => {
                let hint = "leave one of them out";
                let message = "a service is linked into the program or in a library, not both";
                self.error_with_hint(node.key_place_of("linked"), message, hint);
            }
            (Some(_), None) => self.sessions(service, node),
            (None, _) if node.is_damaged => {}
            (None, linked) => {
                for key in ["sessions", "files"] {
                    if node.entry(key).is_some() {
                        let hint = "leave it out: a service of the program makes its own";
                        self.error_with_hint(
                            node.key_place_of(key),
                            format!("`{key}` is for libraries"),
                            hint,
                        );
                    }
                }
                let (name, key) = match linked {
                    Some(name) => (name.as_str(), "linked"),
                    None => (service.name.as_str(), "name"),
                };
                match hosting::directory().find(name) {
                    Some(found) => self.own_settings(found, service, node),
                    None => self.not_linked(name, node.place_of(key)),
                }
            }
        }
        let routes = || self.config.site.iter().flat_map(|site| &site.route);
        let is_damaged = self.tree.is_damaged || self.tree.list("site").iter().any(|site| site.is_damaged);
        if !is_damaged && routes().all(|route| route.service.as_ref() != Some(&service.name)) {
            let hint = format!("write `service = \"{}\"` in a [[site.route]]", service.name);
            self.warning(node.place_of("name"), "no route names this service: nobody can reach it", hint);
        }
    }

    /// What sessions need that are not kept in memory.
    fn sessions(&mut self, service: &Service, node: &Node) {
        let Some(sessions) = &service.sessions else { return };
        let inner = node.under("sessions");
        match sessions.store {
            SessionStore::Sqlite if service.data.is_none() => {
                let hint = "write `data`, a directory of the service's own";
                self.error_with_hint(
                    inner.place_of("store"),
                    "these sessions have no place for their file",
                    hint,
                );
            }
            SessionStore::Redis if sessions.url.is_none() => {
                let hint = "write `url`, such as \"redis://127.0.0.1:6379/0\"";
                self.error_with_hint(inner.place_of("store"), "these sessions have no server", hint);
            }
            _ => {}
        }
        if sessions.url.is_some() && sessions.store != SessionStore::Redis {
            let hint = "write `store = \"redis\"`, or leave `url` out";
            self.error_with_hint(inner.key_place_of("url"), "`url` is for sessions in Redis", hint);
        }
    }

    fn not_linked(&mut self, name: &str, place: Place) {
        let directory = hosting::directory();
        let known: Vec<&str> = directory.names().collect();
        let hint = match known.is_empty() {
            true => Some(
                "build a program with `ringway::Server` that has it, or write the `library` it is in"
                    .to_owned(),
            ),
            false => suggest::did_you_mean(name, known.iter().copied()).or_else(|| all(&known)),
        };
        let message = format!("no service `{name}` is linked into this program");
        self.findings.push(Finding::error(place, message).maybe_hint(hint));
    }

    /// What the service says of its own settings, told where they stand.
    fn own_settings(&mut self, linked: &crate::service::Service, service: &Service, node: &Node) {
        let config = service.config.clone().into_iter().collect();
        let Err(mistake) = linked.check_config(&Json::Object(config)) else { return };
        let own = node.under("config");
        let place = if node.entry("config").is_some() { place_of(own, mistake.path()) } else { node.place };
        self.error(place, format!("the service `{}` does not take this: {}", service.name, mistake.what()));
    }

    fn data_directories(&mut self) {
        let mut seen = HashMap::new();
        for (index, service) in self.config.service.iter().enumerate() {
            let Some(data) = &service.data else { continue };
            let place = self.tree.item("service", index).place_of("data");
            if let Some(first) = seen.get(data) {
                let finding = Finding::error(place, "another service keeps its data there");
                self.findings.push(finding.other(*first, "this one"));
            } else {
                seen.insert(data.clone(), place);
            }
        }
    }

    /// The service that a route names is there, and told which part of a path led to it.
    pub(super) fn service_of(&mut self, route: &Route, node: &Node) {
        let Some(name) = &route.service else { return };
        let config = self.config;
        if config.service.iter().all(|service| service.name != *name)
            && !self.written.services.contains(name.as_str())
        {
            let known: Vec<&str> = config.service.iter().map(|service| service.name.as_str()).collect();
            let hint = suggest::did_you_mean(name.as_str(), known.iter().copied()).or_else(|| all(&known));
            let hint = hint.or_else(|| Some(format!("write [[service]] with `name = \"{name}\"`")));
            let finding = Finding::error(node.place_of("service"), format!("there is no service `{name}`"));
            self.findings.push(finding.maybe_hint(hint));
        }
        let path = route.path.as_str();
        if path.strip_suffix("/**").unwrap_or(path).contains('*') {
            let hint = "write a directory, such as \"/app/**\"";
            let message = "a service needs a path that ends with `/**`, or has no `*`";
            self.error_with_hint(node.place_of("path"), message, hint);
        }
        if route.dav.is_some() {
            let message = "a route does one thing, and this one has `dav` and `service`";
            self.error(node.key_place_of("dav"), message);
        }
    }
}

/// Where the setting stands that a path of keys and places in lists leads to, as far as there is one.
fn place_of(node: &Node, path: &[String]) -> Place {
    let Some((first, rest)) = path.split_first() else { return node.place };
    match &node.value {
        Value::Table(_) => match node.entry(first) {
            // What is wrong with the key itself: one that is not known.
            Some(entry) if rest.is_empty() => entry.node.place,
            Some(entry) => place_of(&entry.node, rest),
            None => node.place,
        },
        Value::List(items) => {
            let item = first.parse::<usize>().ok().and_then(|at| items.get(at));
            item.map_or(node.place, |item| place_of(item, rest))
        }
        _ => node.place,
    }
}
