//! The import table: which room may depend on which, read from the manifests.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Violation, relative, root};

/// Which rooms a room may import; the first row that matches counts, `x/*` is every room in folder `x`. Imports point
/// down: pure rooms at the bottom, then sys, engine, doors, the binary. Every sideways arrow is spelt out.
const TABLE: &[(&str, &[&str])] = &[
    ("pure/ws", &["pure/http"]),
    ("pure/h2", &["pure/http"]),
    ("pure/dav", &["pure/http"]),
    ("pure/*", &[]),
    ("sys/sdk", &["sys/plugin"]),
    ("sys/face", &["sys/plugin", "pure/*"]),
    ("sys/*", &["pure/*"]),
    ("engine", &["sys/ring", "sys/heap", "pure/lock", "pure/pace"]),
    ("tls", &["engine", "pure/lock"]),
    ("acme", &["tls", "pure/*"]),
    ("doors/web", &["engine", "pure/*"]),
    ("doors/service", &["doors/web", "engine", "sys/plugin", "pure/*"]),
    ("doors/socket", &["engine", "sys/plugin", "tls", "pure/*"]),
    ("doors/remote", &["doors/web", "engine", "sys/fabric", "pure/*"]),
    ("ringway", &["doors/*", "acme", "tls", "engine", "sys/*", "pure/*"]),
    ("library", &["ringway", "sys/face"]),
    ("examples/*", &["ringway"]),
    ("lab", &["ringway", "doors/*", "tls", "engine", "sys/*", "pure/*"]),
    ("testkit", &["sys/ring", "pure/*"]),
    ("xtask", &[]),
];

/// The room that any room may import for its tests, and none otherwise.
const TESTS_ONLY: &str = "testkit";

/// One dependency of one room on another.
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    for_tests: bool,
}

/// Checks every manifest of the workspace.
pub(crate) fn check(root: &Path) -> Vec<Violation> {
    let metadata = metadata(root);
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    assert!(!packages.is_empty(), "the workspace has no packages");
    packages.iter().flat_map(check_package).collect()
}

fn metadata(root: &Path) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(args).current_dir(root).output().expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn check_package(package: &Value) -> Vec<Violation> {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a package has a manifest"));
    let text = std::fs::read_to_string(manifest).expect("a manifest can be read");
    let from = relative(root(), manifest.parent().expect("a manifest lies in a folder"));
    let dependencies = package["dependencies"].as_array().expect("a package lists dependencies");
    dependencies
        .iter()
        .filter_map(|dependency| {
            let to = relative(root(), Path::new(dependency["path"].as_str()?));
            let arrow = Arrow { from: &from, to: &to, for_tests: dependency["kind"] == "dev" };
            let name = dependency["name"].as_str().unwrap_or_default();
            let line = text.lines().position(|line| line.starts_with(name)).map_or(1, |index| index + 1);
            Some(Violation { file: relative(root(), manifest), line, rule: objection(&arrow)? })
        })
        .collect()
}

/// What is wrong with an arrow, if anything.
fn objection(arrow: &Arrow) -> Option<String> {
    let Arrow { from, to, for_tests } = *arrow;
    let Some((_, allowed)) = TABLE.iter().find(|(room, _)| covers(room, from)) else {
        return Some(format!("room {from} is not in the import table"));
    };
    let tests_only = to == TESTS_ONLY;
    if tests_only && for_tests || allowed.iter().any(|room| covers(room, to)) {
        return None;
    }
    Some(if tests_only {
        format!("{from} may import {to} for its tests only")
    } else {
        format!("{from} must not import {to}: imports point down the table")
    })
}

fn covers(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(folder) => room.starts_with(folder),
        None => room == pattern,
    }
}

#[test]
fn arrows_point_down_and_only_down() {
    let wrong = |from, to, for_tests| objection(&Arrow { from, to, for_tests }).is_some();
    for (from, to) in [
        ("engine", "sys/ring"),
        ("doors/web", "pure/http"),
        ("doors/service", "doors/web"),
        ("ringway", "doors/web"),
        ("ringway", "sys/ring"),
        ("pure/ws", "pure/http"),
        ("testkit", "sys/ring"),
        ("lab", "ringway"),
    ] {
        assert!(!wrong(from, to, false), "{from} → {to} is allowed");
    }
    for (from, to) in [
        ("pure/http", "pure/pace"),
        ("pure/pace", "sys/ring"),
        ("sys/ring", "engine"),
        ("engine", "pure/http"),
        ("doors/web", "doors/service"),
        ("doors/web", "sys/ring"),
        ("ringway", "lab"),
        ("testkit", "engine"),
        ("xtask", "pure/http"),
        ("attic", "pure/http"),
    ] {
        assert!(wrong(from, to, false), "{from} → {to} points up or sideways");
        assert!(wrong(from, to, true), "{from} → {to} does so in tests too");
    }
    assert!(wrong("engine", "testkit", false));
    assert!(!wrong("engine", "testkit", true));
}
