//! The configuration that a program puts together: its text, its settings, and what its functions add.

use ringway_face::{Refusal, Spot};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use server::config::load::load_text;
use server::config::report::Severity;
use server::config::settings::{Config, Service};
use std::path::Path;

/// What stands behind a text that is looked at alone, so that nothing is missed in it which functions may add.
const REST: [(&str, &str); 2] = [
    ("endpoint", "\n[[endpoint]]\nname = \"ringway-host\"\nlisten = [\"127.0.0.1:0\"]\n"),
    ("site", "\n[[site]]\nnames = [\"ringway-host.invalid\"]\nroot = \"/\"\n"),
];

/// The name of the endpoint of addresses that functions add.
const ENDPOINT: &str = "program";

/// A site that functions have added.
#[derive(Debug, Default)]
pub(crate) struct AddedSite {
    pub(crate) name: String,
    pub(crate) root: Option<String>,
    /// Paths and the services below them.
    pub(crate) routes: Vec<(String, String)>,
}

/// What a program has said.
#[derive(Debug, Default)]
pub(crate) struct Arrangement {
    text: Option<Value>,
    settings: Vec<(String, Value)>,
    pub(crate) listen: Vec<String>,
    pub(crate) sites: Vec<AddedSite>,
    /// Services by their names, with what `[[service]]` says of them.
    pub(crate) services: Vec<(String, Map<String, Value>)>,
}

impl Arrangement {
    /// Takes the text of a configuration.
    pub(crate) fn text(&mut self, toml: &str) -> Result<(), Refusal> {
        if self.text.is_some() {
            return Err(Refusal::state("this host has the text of a configuration already"));
        }
        self.text = Some(read("configuration", toml)?);
        Ok(())
    }

    /// Takes a setting.
    pub(crate) fn setting(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let is_key = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !key.split('.').all(is_key) {
            return Err(Refusal::invalid(format!("{key:?} is no key; write one such as \"server.workers\"")));
        }
        let as_value = format!("{key} = {value}");
        let as_text = format!("{key} = {}", Value::from(value));
        // What is no value is a text; of two mistakes the one about the value as it is written is told.
        let read_value =
            read(key, &as_value).or_else(|refusal| read(key, &as_text).map_err(|_second| refusal));
        self.settings.push((key.to_owned(), read_value?));
        Ok(())
    }

    /// Looks at a service, which is new, and what `[[service]]` says of it as TOML; its settings.
    pub(crate) fn service(&self, spot: &Spot<'_>) -> Result<(Map<String, Value>, Service), Refusal> {
        let name = spot.name;
        if self.services.iter().any(|(known, _)| known == name) {
            return Err(Refusal::state(format!("this host has a service {name:?} already")));
        }
        if !spot.path.starts_with('/') || spot.path.contains('*') {
            return Err(Refusal::invalid(format!(
                "{:?} is no path that something can be below: it begins with a slash and has no `*`",
                spot.path
            )));
        }
        let mut settings: Map<String, Value> = toml::from_str(spot.settings)
            .map_err(|error| Refusal::invalid(format!("settings of {name}: {error}")))?;
        for reserved in ["name", "library", "linked"] {
            if settings.contains_key(reserved) {
                let text =
                    format!("settings of {name}: `{reserved}` is said by the program, not by settings");
                return Err(Refusal::invalid(text));
            }
        }
        for key in ["data", "files"] {
            if let Some(Value::String(path)) = settings.get_mut(key) {
                let absolute = std::path::absolute(&*path)
                    .map_err(|error| Refusal::invalid(format!("settings of {name}: `{key}`: {error}")))?;
                *path = absolute.to_string_lossy().into_owned();
            }
        }
        settings.insert("name".to_owned(), name.into());
        let known = Service::deserialize(Value::Object(settings.clone()));
        let known = known.map_err(|error| Refusal::invalid(format!("settings of {name}: {error}")))?;
        Ok((settings, known))
    }

    /// The site of that name, which is made where it is missing.
    pub(crate) fn site(&mut self, name: Option<&str>) -> &mut AddedSite {
        let name = name.unwrap_or("*");
        let place = self.sites.iter().position(|site| site.name == name).unwrap_or_else(|| {
            self.sites.push(AddedSite { name: name.to_owned(), ..AddedSite::default() });
            self.sites.len() - 1
        });
        &mut self.sites[place]
    }

    /// All of it.
    pub(crate) fn config(&self) -> Result<Config, Refusal> {
        let mut all = quiet();
        if let Some(text) = &self.text {
            merge(&mut all, text.clone());
        }
        for (_, setting) in &self.settings {
            merge(&mut all, setting.clone());
        }
        let Value::Object(table) = &mut all else { return Err(Refusal::server("a table is none")) };
        self.add_endpoint(table)?;
        let services = self.services.iter().map(|(_, settings)| Value::Object(settings.clone()));
        list(table, "service").extend(services);
        let sites = list(table, "site");
        self.sites.iter().for_each(|site| add_site(sites, site));
        if sites.is_empty() {
            let text = "there is nothing to serve: add a site, a plug-in or a handler";
            return Err(Refusal::state(text));
        }
        serde_json::from_value(all)
            .map_err(|error| Refusal::invalid(format!("this cannot be served: {error}")))
    }

    fn add_endpoint(&self, table: &mut Map<String, Value>) -> Result<(), Refusal> {
        let endpoints = list(table, "endpoint");
        if !self.listen.is_empty() {
            if endpoints.iter().any(|endpoint| endpoint.get("name") == Some(&ENDPOINT.into())) {
                let text =
                    format!("the configuration has an endpoint {ENDPOINT:?}, which is ringway_host_listen's");
                return Err(Refusal::invalid(text));
            }
            endpoints.push(json!({ "name": ENDPOINT, "listen": self.listen }));
        }
        if endpoints.is_empty() {
            return Err(Refusal::state("there is no address to listen on: ringway_host_listen says one"));
        }
        Ok(())
    }
}

/// What a program that does not say it does not have: standard output and a console are its own.
fn quiet() -> Value {
    json!({ "console": { "enabled": false }, "log": { "access": { "format": "off" } } })
}

fn list<'a>(table: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = table.entry(key).or_insert_with(|| json!([]));
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it was made one")
}

/// Adds a site, or what is new of it to one of its name.
fn add_site(sites: &mut Vec<Value>, added: &AddedSite) {
    let has_name = |site: &Value| {
        site.get("names")
            .and_then(Value::as_array)
            .is_some_and(|names| names.contains(&added.name.as_str().into()))
    };
    let place = sites.iter().position(has_name).unwrap_or_else(|| {
        sites.push(json!({ "names": [added.name] }));
        sites.len() - 1
    });
    let Some(site) = sites[place].as_object_mut() else { return };
    if let Some(root) = &added.root {
        site.insert("root".to_owned(), root.as_str().into());
    }
    let routes = added.routes.iter().map(|(path, service)| {
        let below = path.trim_end_matches('/');
        json!({ "path": format!("{below}/**"), "service": service })
    });
    list(site, "route").extend(routes);
}

/// Reads a text as a configuration, or says what is wrong with it.
fn read(name: &str, text: &str) -> Result<Value, Refusal> {
    let mut whole = text.to_owned();
    for (key, rest) in REST {
        let is_there = text.lines().any(|line| line.trim_start().starts_with(&format!("[[{key}]]")));
        if !is_there {
            whole.push_str(rest);
        }
    }
    let folder = std::env::current_dir().unwrap_or_else(|_unknown| "/".into());
    let loaded = load_text(Path::new(name), &folder, &whole, &|name| std::env::var(name).ok());
    if loaded.report.has_errors() {
        let errors = loaded.report.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let lines = errors.map(|finding| {
            let position = loaded.report.sources.position(finding.place);
            let line = position.map_or(0, |position| position.line);
            let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{name}, line {line}: {}{hint}", finding.message)
        });
        return Err(Refusal::invalid(lines.collect::<Vec<_>>().join("\n")));
    }
    let mut value = loaded.tree.to_json();
    for (key, rest) in REST {
        let is_ours = whole.contains(rest) && !text.contains(rest);
        if is_ours && let Some(table) = value.as_object_mut() {
            table.remove(key);
        }
    }
    Ok(value)
}

/// Puts one value over another: tables are joined, everything else is replaced.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
