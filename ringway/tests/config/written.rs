//! What is written from the types: the reference, and the example that goes with it.

use crate::{assert_file, environment};
use ringway::config::{load, reference};
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn the_reference_is_what_the_types_say() {
    let checked = assert_file(&docs().join("configuration.md"), &reference::page());
    assert!(checked.is_ok(), "docs/configuration.md is stale: run `cargo xtask docs`");
}

#[test]
fn every_setting_is_documented() {
    fn walk(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
            let text = setting["description"].as_str().unwrap_or("");
            if text.len() < 10 || !text.ends_with('.') && !text.ends_with('`') {
                bare.push(format!("{path}.{name}: {text:?}"));
            }
        }
    }
    let schema = load::schema();
    let mut bare = Vec::new();
    walk(schema, "", &mut bare);
    for (name, of) in schema["$defs"].as_object().expect("types") {
        walk(of, name, &mut bare);
    }
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn the_example_is_a_configuration_without_errors() {
    let loaded = load::load(&docs().join("ringway.toml"), &environment).expect("it can be read");
    assert!(loaded.report.findings.is_empty(), "{}", loaded.report.text(false));
}

/// What is commented out in the example is right too.
#[test]
fn the_example_is_right_where_it_is_commented_out() {
    let text = std::fs::read_to_string(docs().join("ringway.toml")).expect("it can be read");
    let uncommented: Vec<&str> = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
    assert!(uncommented.join("\n") != text, "nothing is commented out with `#: `");
    let loaded = load::load_text(Path::new("example"), Path::new("/"), &uncommented.join("\n"), &environment);
    assert!(loaded.report.findings.is_empty(), "{}", loaded.report.text(false));
}

/// Everything of the program but the settings themselves and what judges them.
fn program() -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources can be read") {
            let path = entry.expect("an entry").path();
            let is_config = path.ends_with("src/config");
            if path.is_dir() && !is_config {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&std::fs::read_to_string(&path).expect("a source is text"));
            }
        }
    }
    text
}

/// A setting that nothing reads would be accepted and do nothing.
#[test]
fn every_setting_is_read_by_the_program() {
    let program = program();
    let is_read = |name: &str| {
        let name = if name == "try" { "r#try" } else { name };
        let field = format!(".{name}");
        program.match_indices(&field).any(|(at, _)| {
            let behind = program[at + field.len()..].chars().next();
            behind.is_none_or(|next| !next.is_alphanumeric() && next != '_')
        })
    };
    let schema = load::schema();
    let tables = schema["$defs"].as_object().expect("types").iter().map(|(name, of)| (name.as_str(), of));
    let mut unread = Vec::new();
    for (table, of) in tables.chain([("", schema)]) {
        for name in of["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if !is_read(name) {
                unread.push(format!("{table}.{name}"));
            }
        }
    }
    // What is spoken is told by `spoken`; files are included before there are settings.
    unread.retain(|name| name != "Endpoint.protocol" && name != ".include");
    // Where handlers run is decided by who isolates them.
    unread.retain(|name| !["Endpoint.blocking", "Endpoint.isolate"].contains(&name.as_str()));
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}
