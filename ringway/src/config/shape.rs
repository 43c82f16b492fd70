//! The shape: a tree is held against the JSON schema of the settings, and everything that does not fit is told at once.
//!
//! What does not fit is taken out of the tree, so that the rest can be read and judged too.

use crate::config::report::Finding;
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::tree::{Entry, Node, Value};
use crate::config::values;
use serde_json::Value as Json;
use std::path::PathBuf;

/// Holds trees against a schema.
#[derive(Debug)]
pub struct Shape<'a> {
    /// The schema of a configuration.
    pub schema: &'a Json,
    /// The directory of each file, below which its relative paths are.
    pub folders: &'a [PathBuf],
    /// What was found.
    pub findings: &'a mut Vec<Finding>,
}

/// Whether a value may stay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Good,
    Bad,
}

impl Shape<'_> {
    /// Checks a whole configuration.
    pub fn check(&mut self, root: &mut Node) {
        let schema = self.schema;
        self.table(schema, root, "the configuration");
    }

    fn error(&mut self, place: Place, message: String, hint: Option<String>) -> Fit {
        self.findings.push(Finding::error(place, message).maybe_hint(hint));
        Fit::Bad
    }

    fn value(&mut self, schema: &Json, node: &mut Node, key: &str) -> Fit {
        if node.is_damaged && !matches!(node.value, Value::List(_) | Value::Table(_)) {
            return Fit::Bad; // It was told when it was read.
        }
        let schema = resolved(self.schema, schema);
        from_environment(schema, node);
        from_short_form(schema, node);
        if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
            return self.choice(choices, node, key);
        }
        match (&node.value, type_of(schema)) {
            (Value::Text { .. }, "string") => self.text(schema, node, key),
            (Value::Integer(number), "integer") => self.integer(schema, *number, node.place, key),
            (Value::Boolean(_), "boolean") => Fit::Good,
            (Value::List(_), "array") => self.list(schema, node, key),
            (Value::Table(_), "object") => self.table(schema, node, key),
            (_, wanted) => {
                let message =
                    format!("{} is {}, not {}", shown(key), wanted_kind(schema, wanted), node.value.kind());
                self.error(node.place, message, type_hint(schema, wanted, node, key))
            }
        }
    }

    fn choice(&mut self, choices: &[Json], node: &Node, key: &str) -> Fit {
        let words: Vec<&str> = choices.iter().filter_map(Json::as_str).collect();
        let all = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let one_of = if words.len() == 1 { "" } else { "one of " };
        match &node.value {
            Value::Text { text, .. } if words.contains(&text.as_str()) => Fit::Good,
            Value::Text { text, .. } => {
                let message = format!("{} is {one_of}{all}, not {text:?}", shown(key));
                self.error(node.place, message, suggest::did_you_mean(text, words))
            }
            other => {
                let message = format!("{} is {one_of}{all}, not {}", shown(key), other.kind());
                self.error(node.place, message, None)
            }
        }
    }

    fn text(&mut self, schema: &Json, node: &mut Node, key: &str) -> Fit {
        let place = node.place;
        let Value::Text { text, .. } = &mut node.value else { return Fit::Bad };
        let most = schema.get("maxLength").and_then(Json::as_u64);
        if most.is_some_and(|most| text.chars().count() as u64 > most) {
            let message = format!("{} has more than {} characters", shown(key), most.unwrap_or(0));
            return self.error(place, message, None);
        }
        let Some(format) = schema.get("format").and_then(Json::as_str) else { return Fit::Good };
        if let Some(Err(message)) = values::check_format(format, text) {
            let (message, hint) = with_hint(&message);
            return self.error(place, format!("`{}`: {message}", key.trim_end_matches("[]")), hint);
        }
        if let Some((least, most)) = outside_amounts(schema, format, text) {
            let message = format!("{} is between {least} and {most}, and {text} is not", shown(key));
            return self.error(place, message, None);
        }
        let folder = usize::try_from(place.file).ok().and_then(|file| self.folders.get(file));
        if let Some(absolute) = folder.and_then(|folder| values::made_absolute(format, text, folder)) {
            *text = absolute;
        }
        Fit::Good
    }

    fn integer(&mut self, schema: &Json, number: i64, place: Place, key: &str) -> Fit {
        let bound = |name: &str| schema.get(name).and_then(Json::as_i64);
        let format_most = match schema.get("format").and_then(Json::as_str) {
            Some("uint8") => i64::from(u8::MAX),
            Some("uint16") => i64::from(u16::MAX),
            Some("uint32") => i64::from(u32::MAX),
            _ => i64::MAX,
        };
        let least = bound("minimum").unwrap_or(i64::MIN);
        let most = bound("maximum").unwrap_or(i64::MAX).min(format_most);
        if (least..=most).contains(&number) {
            return Fit::Good;
        }
        let message = match most {
            i64::MAX => format!("{} is at least {least}, and {number} is less", shown(key)),
            most => format!("{} is between {least} and {most}, and {number} is not", shown(key)),
        };
        self.error(place, message, None)
    }

    fn list(&mut self, schema: &Json, node: &mut Node, key: &str) -> Fit {
        let place = node.place;
        let Value::List(items) = &mut node.value else { return Fit::Bad };
        let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            return self.error(place, format!("`{key}` is empty, and needs at least {least}"), None);
        }
        let Some(of) = schema.get("items") else { return Fit::Good };
        let holds_tables = type_of(resolved(self.schema, of)) == "object";
        let of_item = if holds_tables { key.to_owned() } else { format!("{key}[]") };
        let mut is_damaged = false;
        items.retain_mut(|item| {
            let is_good = self.value(of, item, &of_item) == Fit::Good;
            is_damaged |= !is_good;
            is_good
        });
        node.is_damaged |= is_damaged;
        // A list that only became empty here is as bad as its parts, and its table must not take it for empty.
        if is_damaged && least > 0 && items.is_empty() { Fit::Bad } else { Fit::Good }
    }

    fn table(&mut self, schema: &Json, node: &mut Node, key: &str) -> Fit {
        let place = node.place;
        let Value::Table(entries) = &mut node.value else { return Fit::Bad };
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Json::as_array)
            .map(|all| all.iter().filter_map(Json::as_str).collect())
            .unwrap_or_default();
        for missing in required.iter().filter(|name| entries.iter().all(|entry| entry.key != **name)) {
            let message = format!("`{missing}` is missing in {}", shown_table(key));
            let hint = example_of(resolved(self.schema, &schema["properties"][missing]), missing);
            self.error(place, message, hint);
        }
        let mut is_damaged = false;
        entries.retain_mut(|entry| {
            let is_good = self.entry(schema, entry, key) == Fit::Good;
            let is_hurt = matches!(entry.node.value, Value::List(_)) && entry.node.is_damaged;
            is_damaged |= !is_good || is_hurt;
            is_good
        });
        let is_complete = required.iter().all(|name| entries.iter().any(|entry| entry.key == *name));
        node.is_damaged |= is_damaged;
        if is_complete { Fit::Good } else { Fit::Bad }
    }

    fn entry(&mut self, schema: &Json, entry: &mut Entry, table: &str) -> Fit {
        if let Some(of) = schema.get("properties").and_then(|all| all.get(&entry.key)) {
            return self.value(of, &mut entry.node, &entry.key);
        }
        match schema.get("additionalProperties") {
            Some(of @ Json::Object(_)) => {
                if self.map_key(schema, entry) == Fit::Bad {
                    return Fit::Bad;
                }
                self.value(of, &mut entry.node, &entry.key)
            }
            // Somebody else's settings, who reads them later.
            Some(Json::Bool(true)) => Fit::Good,
            _ => self.unknown(schema, entry, table),
        }
    }

    fn map_key(&mut self, schema: &Json, entry: &Entry) -> Fit {
        let format = schema.get("x-keys").and_then(Json::as_str).unwrap_or("");
        let checked = match format {
            "status" => match entry.key.parse::<u16>() {
                Ok(400..=599) => Ok(()),
                _ => Err(format!("`{}` is no status of an error; there are 400 to 599", entry.key)),
            },
            _ => values::check_format(format, &entry.key).unwrap_or(Ok(())),
        };
        match checked {
            Ok(()) => Fit::Good,
            Err(message) => {
                let (message, hint) = with_hint(&message);
                self.error(entry.key_place, message, hint)
            }
        }
    }

    fn unknown(&mut self, schema: &Json, entry: &Entry, table: &str) -> Fit {
        let known = schema.get("properties").and_then(Json::as_object);
        let names: Vec<&str> =
            known.map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
        let hint = suggest::did_you_mean(&entry.key, names.iter().copied())
            .or_else(|| elsewhere(self.schema, &entry.key, table))
            .or_else(|| (names.len() <= 12).then(|| format!("there are {}", listed(&names))));
        let message = format!("there is no setting `{}` in {}", entry.key, shown_table(table));
        self.error(entry.key_place, message, hint)
    }
}

/// Values say what is wrong and, after a semicolon, what to do.
fn with_hint(message: &str) -> (String, Option<String>) {
    match message.split_once("; ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The setting, or an entry of it.
fn shown(key: &str) -> String {
    match key.strip_suffix("[]") {
        Some(list) => format!("an entry of `{list}`"),
        None => format!("`{key}`"),
    }
}

fn shown_table(key: &str) -> String {
    if key == "the configuration" { key.to_owned() } else { shown(key) }
}

/// The schema behind references and `null` alternatives; what stands beside a reference is not looked at.
fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    if let Some(path) = schema.get("$ref").and_then(Json::as_str) {
        return path.strip_prefix('#').and_then(|path| root.pointer(path)).unwrap_or(schema);
    }
    let alternatives = schema.get("anyOf").and_then(Json::as_array);
    let real =
        alternatives.and_then(|all| all.iter().find(|one| one.get("type") != Some(&Json::from("null"))));
    real.map_or(schema, |real| resolved(root, real))
}

/// The type a schema wants; `null`, which TOML cannot write, does not count.
fn type_of(schema: &Json) -> &str {
    match schema.get("type") {
        Some(Json::String(name)) => name,
        Some(Json::Array(names)) => {
            names.iter().filter_map(Json::as_str).find(|name| *name != "null").unwrap_or("")
        }
        _ => "",
    }
}

/// What came from the environment is text, and stands for a number or a boolean where that is wanted.
fn from_environment(schema: &Json, node: &mut Node) {
    let Value::Text { text, from_environment: true } = &node.value else { return };
    let read = match type_of(schema) {
        "integer" => text.trim().parse().ok().map(Value::Integer),
        "boolean" => text.trim().parse().ok().map(Value::Boolean),
        _ => None,
    };
    if let Some(value) = read {
        node.value = value;
    }
}

/// A text stands for a table in which it is the value of the setting that the schema says.
fn from_short_form(schema: &Json, node: &mut Node) {
    let Some(key) = schema.get("x-short").and_then(Json::as_str) else { return };
    if let Value::Text { .. } = node.value {
        let text = std::mem::replace(&mut node.value, Value::Table(Vec::new()));
        let node_of_text = Node::new(node.place, text);
        node.value =
            Value::Table(vec![Entry { key: key.to_owned(), key_place: node.place, node: node_of_text }]);
    }
}

fn wanted_kind(schema: &Json, wanted: &str) -> &'static str {
    match (wanted, schema.get("format").and_then(Json::as_str)) {
        ("string", Some("span")) => "a span of time",
        ("string", Some("size")) => "a size",
        ("string", Some("rate")) => "a rate",
        ("string", _) => "a string",
        ("integer", _) => "a whole number",
        ("boolean", _) => "true or false",
        ("array", _) => "a list",
        _ => "a table",
    }
}

/// How to write it instead.
fn type_hint(schema: &Json, wanted: &str, node: &Node, key: &str) -> Option<String> {
    let example = || schema.get("examples").and_then(|all| all.get(0)).map(Json::to_string);
    match (wanted, &node.value) {
        ("string", Value::Integer(number)) => match schema.get("format").and_then(Json::as_str) {
            Some("span") => Some(format!("write a unit: \"{number}s\"")),
            Some("size") => Some(format!("write a unit: \"{number} B\"")),
            Some("rate") => Some(format!("write a unit: \"{number} Mbit/s\"")),
            _ => Some(format!("write \"{number}\"")),
        },
        ("string", _) => example().map(|example| format!("write it as {example}")),
        ("boolean" | "integer", Value::Text { text, .. }) => {
            let is_plain = text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok();
            is_plain.then(|| format!("write it without quotes: {text}"))
        }
        ("array", Value::Text { text, .. }) => Some(format!("write [{text:?}]")),
        ("array", Value::Table(_)) => {
            Some(format!("there may be several: write its name in double brackets, [[{key}]]"))
        }
        ("object", Value::List(_)) => {
            Some(format!("there is one: write its name in single brackets, [{key}]"))
        }
        _ => None,
    }
}

/// The bounds, when an amount is not between them.
fn outside_amounts(schema: &Json, format: &str, text: &str) -> Option<(String, String)> {
    let (least, most) = (schema.get("x-least")?.as_str()?, schema.get("x-most")?.as_str()?);
    let amount = values::amount_of(format, text)?;
    let is_inside = (values::amount_of(format, least)?..=values::amount_of(format, most)?).contains(&amount);
    (!is_inside).then(|| (least.to_owned(), most.to_owned()))
}

/// How a missing setting could look.
fn example_of(schema: &Json, name: &str) -> Option<String> {
    let example = |schema: &Json| schema.get("examples").and_then(|all| all.get(0)).map(Json::to_string);
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        return choices.first().map(|choice| format!("write `{name} = {choice}`"));
    }
    match type_of(schema) {
        "array" => example(schema.get("items")?).map(|example| format!("write `{name} = [{example}]`")),
        _ => example(schema).map(|example| format!("write `{name} = {example}`")),
    }
}

/// Where else there is a setting of that name.
fn elsewhere(root: &Json, key: &str, table: &str) -> Option<String> {
    let of_root = root.get("properties")?.as_object()?;
    if of_root.contains_key(key) && table != "the configuration" {
        return Some(format!(
            "`{key}` is a setting of the whole configuration; it stands before the first [table]"
        ));
    }
    let mut owners = of_root.iter().filter_map(|(name, schema)| {
        let (is_list, schema) = match schema.get("items") {
            Some(items) => (true, resolved(root, items)),
            None => (false, resolved(root, schema)),
        };
        schema.get("properties")?.get(key)?;
        Some(if is_list { format!("[[{name}]]") } else { format!("[{name}]") })
    });
    owners.next().map(|owner| format!("there is a `{key}` in {owner}"))
}
