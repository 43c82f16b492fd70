//! Rules of all text files: no places of one machine, and documents whose links and commands exist.

use std::path::Path;
use std::process::Command;

use crate::{Files, Violation};

/// What belongs to a place where the project was built and not to the project. Each is written in two parts, so that
/// this file does not break its own rule.
const PLACES: [(&str, &str); 9] = [
    ("/wo", "rk/"),
    ("/fa", "rm/"),
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("crates.io", "-index"),
    ("registry.", "npmjs.org"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("deb.", "debian.org"),
];

/// Written by cargo, which names the registry of every package.
const LOCK_FILE: &str = "Cargo.lock";

/// Checks every text file for places, and every document for links and commands.
pub(crate) fn check(root: &Path, files: &Files) -> Vec<Violation> {
    let mut found = Vec::new();
    for (name, text) in files.with_ending("").filter(|(name, _)| !name.ends_with(LOCK_FILE)) {
        found.extend(each_line(name, text, place_in));
    }
    for (name, text) in files.with_ending(".md") {
        let folder = root.join(name).parent().map(Path::to_owned).unwrap_or_default();
        found.extend(each_line(name, text, |line| dead_link(&folder, line)));
        found.extend(each_line(name, text, unknown_command));
    }
    found
}

fn each_line(name: &str, text: &str, objection: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    let rules = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, objection(line)?)));
    rules.map(|(line, rule)| Violation { file: name.to_owned(), line, rule }).collect()
}

fn place_in(line: &str) -> Option<String> {
    let place =
        PLACES.iter().map(|(head, tail)| format!("{head}{tail}")).find(|place| line.contains(place))?;
    Some(format!("`{place}` is a place of one machine or a registry's host"))
}

/// A link to a file of the repository that is not there.
fn dead_link(folder: &Path, line: &str) -> Option<String> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    let mut local = targets.filter(|target| !target.is_empty() && !target.contains(':'));
    let dead = local.find(|target| !folder.join(target).exists())?;
    Some(format!("the link to `{dead}` leads nowhere"))
}

/// A developer command that xtask does not know; it is asked for the command's help.
fn unknown_command(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("cargo xtask ")?;
    let name = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().filter(|name| !name.is_empty())?;
    let help = Command::new(env!("CARGO_BIN_EXE_xtask")).args([name, "--help"]).output().expect("xtask runs");
    (!help.status.success()).then(|| format!("there is no command `cargo xtask {name}`"))
}

#[test]
fn places_dead_links_and_unknown_commands_are_found() {
    for (head, tail) in PLACES {
        assert!(place_in(&format!("see {head}{tail} there")).is_some());
        assert!(place_in(head).is_none());
    }
    let folder = crate::root();
    assert_eq!(
        dead_link(folder, "[a](Cargo.toml) [b](https://example.org/x) [c](#part) [d](xtask/Cargo.toml#x)"),
        None
    );
    assert!(
        dead_link(folder, "[a](Cargo.toml) and [b](gone.md#x)").is_some_and(|rule| rule.contains("gone.md"))
    );
    assert_eq!(unknown_command("run `cargo xtask test --install`, or not"), None);
    assert_eq!(unknown_command("cargo test"), None);
    assert!(unknown_command("run `cargo xtask dance`").is_some());
    let found = each_line("a.md", "one\ntwo\n", |line| (line == "two").then(String::new));
    assert_eq!(found, [Violation { file: "a.md".to_owned(), line: 2, rule: String::new() }]);
}
