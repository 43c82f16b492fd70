//! The reference: the manual page of all settings, written from the schema, so that it cannot be stale unnoticed.

use serde_json::Value as Json;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from the types in ringway/src/config/settings. Change them, then run: cargo xtask docs -->

`ringway run -c ringway.toml` serves what a [TOML](https://toml.io) file says; `ringway check` tells everything that is wrong
with it, without serving; `ringway schema` prints a JSON schema for editors. [`ringway.toml`](ringway.toml) is an example with
comments.

In every string `${NAME}` stands for the environment variable of that name, `${NAME:-default}` gives it a default, and `$${` is
the text `${`. Relative paths are below the directory of the file they stand in. What is not listed here is an error, and so is a
value out of its range.

";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let schema = super::load::schema();
    let mut page = Page { root: schema, text: INTRODUCTION.to_owned(), done: Vec::new(), values: Vec::new() };
    page.root_settings();
    page.tables(schema, "");
    page.value_types();
    page.text.truncate(page.text.trim_end().len());
    page.text.push('\n');
    page.text
}

struct Page<'a> {
    root: &'a Json,
    text: String,
    /// Types that have their section, and where that is.
    done: Vec<(String, String)>,
    /// Formats of values that occur, with their descriptions.
    values: Vec<(&'a str, &'a str)>,
}

/// A setting's schema with what is said about it beside a reference.
struct Setting<'a> {
    name: &'a str,
    schema: &'a Json,
    /// The schema behind references, alternatives, lists.
    inner: &'a Json,
    type_name: Option<&'a str>,
    is_list: bool,
    is_optional: bool,
    is_required: bool,
}

impl<'a> Page<'a> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _infallible = self.text.write_fmt(line);
        self.text.push('\n');
    }

    fn root_settings(&mut self) {
        self.line(format_args!("## The whole file\n"));
        let simple: Vec<Setting<'a>> =
            self.settings(self.root).into_iter().filter(|setting| !setting.is_table()).collect();
        self.list(&simple);
    }

    /// A section for each table of `schema`, whose own path is `path`.
    fn tables(&mut self, schema: &'a Json, path: &str) {
        for setting in self.settings(schema).into_iter().filter(Setting::is_table) {
            let path =
                if path.is_empty() { setting.name.to_owned() } else { format!("{path}.{}", setting.name) };
            self.table(&setting, &path);
        }
    }

    fn table(&mut self, setting: &Setting<'a>, path: &str) {
        let heading = if setting.is_list { format!("[[{path}]]") } else { format!("[{path}]") };
        self.line(format_args!("## `{heading}`\n"));
        self.line(format_args!("{}\n", description(setting.schema, setting.inner)));
        let name = setting.type_name.unwrap_or("").to_owned();
        let known = self
            .done
            .iter()
            .find(|(done, _)| !name.is_empty() && *done == name)
            .map(|(_, heading)| heading.clone());
        if let Some(known) = known {
            self.line(format_args!("The settings are those of [`{known}`](#{}).\n", anchor(&known)));
            return;
        }
        self.done.push((name, heading));
        let settings = self.settings(setting.inner);
        let simple: Vec<Setting<'a>> = settings.into_iter().filter(|setting| !setting.is_table()).collect();
        self.list(&simple);
        self.tables(setting.inner, path);
    }

    fn list(&mut self, settings: &[Setting<'a>]) {
        for setting in settings {
            let facts = self.facts(setting);
            let text = description(setting.schema, setting.inner);
            self.line(format_args!("- **`{}`** ({facts})  \n  {text}", setting.name));
        }
        if !settings.is_empty() {
            self.text.push('\n');
        }
    }

    /// Type, range and default.
    fn facts(&mut self, setting: &Setting<'a>) -> String {
        let kind = self.kind(setting.inner);
        let mut facts = vec![if setting.is_list { format!("list of {kind}") } else { kind }];
        facts.extend(range(setting.inner).or_else(|| range(setting.schema)));
        if setting.is_required {
            facts.push("required".to_owned());
        } else if let Some(default) = setting.schema.get("default").filter(|default| !default.is_null()) {
            facts.push(format!("default `{}`", toml_text(default)));
        } else if setting.is_optional {
            facts.push("unset by default".to_owned());
        }
        facts.join("; ")
    }

    fn kind(&mut self, schema: &'a Json) -> String {
        if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
            let choices: Vec<String> = choices
                .iter()
                .filter(|choice| !choice.is_null())
                .map(|choice| format!("`{choice}`"))
                .collect();
            return choices.join(" or ");
        }
        match (type_of(schema), schema.get("format").and_then(Json::as_str)) {
            ("string", Some(format)) => {
                let of_format = super::values::describe(format);
                if self.values.iter().all(|(known, _)| *known != format) {
                    self.values.push((format, of_format));
                }
                format!("[{format}](#values)")
            }
            ("string", None) => "string".to_owned(),
            ("integer", _) => "whole number".to_owned(),
            ("boolean", _) => "`true` or `false`".to_owned(),
            ("array", _) => match schema.get("items") {
                Some(items) => format!("list of {}", self.kind(items)),
                None => "list".to_owned(),
            },
            ("object", _) => "table of names and values".to_owned(),
            (other, _) => other.to_owned(),
        }
    }

    fn value_types(&mut self) {
        self.line(format_args!("## Values\n"));
        let mut values = std::mem::take(&mut self.values);
        values.sort_unstable();
        for (format, text) in values {
            self.line(format_args!("- **{format}**: {text}"));
        }
    }

    fn settings(&self, schema: &'a Json) -> Vec<Setting<'a>> {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .map(|all| all.iter().filter_map(Json::as_str).collect())
            .unwrap_or_default();
        let properties = schema.get("properties").and_then(Json::as_object);
        properties.into_iter().flatten().map(|(name, schema)| self.setting(name, schema, &required)).collect()
    }

    fn setting(&self, name: &'a str, schema: &'a Json, required: &[&str]) -> Setting<'a> {
        let (inner, type_name, is_null) = self.resolve(schema);
        let items = (type_of(inner) == "array").then(|| inner.get("items")).flatten();
        let (inner, type_name, is_list) = match items.map(|items| self.resolve(items)) {
            Some((inner, type_name, _)) => (inner, type_name, true),
            None => (inner, type_name, false),
        };
        let is_required = required.contains(&name);
        Setting { name, schema, inner, type_name, is_list, is_optional: is_null, is_required }
    }

    /// What is behind references and alternatives: the schema, its name, and whether it may be left out.
    fn resolve(&self, schema: &'a Json) -> (&'a Json, Option<&'a str>, bool) {
        if let Some(path) = schema.get("$ref").and_then(Json::as_str) {
            let inner = path.strip_prefix('#').and_then(|path| self.root.pointer(path)).unwrap_or(schema);
            return (inner, path.rsplit('/').next(), false);
        }
        if let Some(alternatives) = schema.get("anyOf").and_then(Json::as_array) {
            let real = alternatives.iter().find(|one| one.get("type") != Some(&Json::from("null")));
            let (inner, name, _) = real.map_or((schema, None, true), |real| self.resolve(real));
            return (inner, name, true);
        }
        (schema, None, matches!(schema.get("type"), Some(Json::Array(_))))
    }
}

impl Setting<'_> {
    /// Whether it is a table with settings of its own.
    fn is_table(&self) -> bool {
        self.inner.get("properties").is_some()
    }
}

fn type_of(schema: &Json) -> &str {
    match schema.get("type") {
        Some(Json::String(name)) => name,
        Some(Json::Array(names)) => {
            names.iter().filter_map(Json::as_str).find(|name| *name != "null").unwrap_or("")
        }
        _ => "",
    }
}

/// What is said where the setting stands, else what its type says; on one line.
fn description(schema: &Json, inner: &Json) -> String {
    let text = |schema: &Json| schema.get("description").and_then(Json::as_str).map(str::to_owned);
    text(schema).or_else(|| text(inner)).unwrap_or_default().replace('\n', " ")
}

fn range(schema: &Json) -> Option<String> {
    let text = |name: &str| schema.get(name).and_then(Json::as_str);
    if let (Some(least), Some(most)) = (text("x-least"), text("x-most")) {
        return Some(format!("{least} to {most}"));
    }
    let number = |name: &str| schema.get(name).and_then(Json::as_u64);
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) if least > 0 => Some(format!("at least {least}")),
        _ => None,
    }
}

/// A value as it is written in TOML.
fn toml_text(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        other => other.to_string(),
    }
}

/// How GitHub and others name a heading's anchor.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
        .collect::<String>()
        .to_lowercase()
}
