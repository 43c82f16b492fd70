//! Includes: the files that are parts of a configuration, found by patterns and merged into one tree.

use crate::config::parse::{Environment, parse};
use crate::config::report::{Finding, Report};
use crate::config::tree::{Entry, Node, Value};
use std::io;
use std::path::{Path, PathBuf};

/// Most files one configuration may be in.
pub const FILES_MAX: usize = 100_000;

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads the files `root` includes, from below `folder`, and merges them into it.
pub fn include(root: &mut Node, folder: &Path, environment: Environment<'_>, report: &mut Report) {
    let wanted: Vec<(Node, String)> = root
        .list("include")
        .iter()
        .filter_map(|node| match &node.value {
            Value::Text { text, .. } => Some((node.clone(), text.clone())),
            _ => None,
        })
        .collect();
    for (node, pattern) in wanted {
        let found = match expand(folder, &pattern) {
            Ok(found) => found,
            Err(error) => {
                report.add(Finding::error(node.place, format!("cannot look for {pattern:?}: {error}")));
                continue;
            }
        };
        if found.is_empty() && !has_wildcard(&pattern) {
            report.add(Finding::error(node.place, format!("there is no file {pattern:?}")));
        }
        for path in found {
            if report.sources.iter().any(|source| source.path == path) {
                let message = format!("{} is included twice", path.display());
                report.add(Finding::error(node.place, message));
            } else if report.sources.iter().count() >= FILES_MAX {
                report.add(Finding::error(node.place, format!("more than {FILES_MAX} files")));
                return;
            } else {
                include_one(root, &path, &node, environment, report);
            }
        }
    }
}

fn include_one(root: &mut Node, path: &Path, from: &Node, environment: Environment<'_>, report: &mut Report) {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            report.add(Finding::error(from.place, format!("cannot read {}: {error}", path.display())));
            return;
        }
    };
    let file = report.sources.add(path, text.clone());
    let tree = parse(&text, file, environment, &mut report.findings);
    if let Some(entry) = tree.entry("include") {
        let finding = Finding::error(entry.key_place, "only the main file includes others");
        report.add(finding.hint("name these files in the main file's `include`"));
    }
    let Value::Table(entries) = tree.value else { return };
    for entry in entries.into_iter().filter(|entry| entry.key != "include") {
        merge(root, entry, &mut report.findings);
    }
}

/// Reads a file of the configuration.
///
/// # Errors
/// What reading says; `InvalidData` for a file that is too large or not UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {} MiB", FILE_BYTES_MAX >> 20),
        ));
    }
    std::fs::read_to_string(path)
}

/// Adds an entry to a table: lists of tables are joined, tables are merged, nothing is set twice.
fn merge(into: &mut Node, entry: Entry, findings: &mut Vec<Finding>) {
    let Value::Table(entries) = &mut into.value else { return };
    let Some(have) = entries.iter_mut().find(|have| have.key == entry.key) else {
        entries.push(entry);
        return;
    };
    let is_tables = |nodes: &[Node]| nodes.iter().all(|node| matches!(node.value, Value::Table(_)));
    match (&mut have.node.value, entry.node.value) {
        (Value::List(all), Value::List(more)) if is_tables(all) && is_tables(&more) => all.extend(more),
        (Value::Table(_), Value::Table(more)) => {
            more.into_iter().for_each(|entry| merge(&mut have.node, entry, findings));
        }
        _ => findings.push(
            Finding::error(entry.key_place, format!("`{}` is set twice", entry.key))
                .other(have.key_place, "here for the first time"),
        ),
    }
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The files a pattern stands for, in the order of their names.
fn expand(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() }];
    let segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in segments {
        let mut next = Vec::new();
        for base in found {
            if has_wildcard(segment) {
                next.extend(matching(&base, segment)?);
            } else {
                next.push(base.join(segment));
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

fn matching(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // An empty set of sites needs no directory.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".") && !pattern.starts_with('.');
        if !is_hidden && is_like(name.as_encoded_bytes(), pattern.as_bytes()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether a name is like a pattern with `*` and `?`.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut want) = (0, 0);
    let mut retry = None;
    while at < name.len() {
        match pattern.get(want) {
            Some(b'*') => {
                retry = Some((at, want));
                want += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at] => (at, want) = (at + 1, want + 1),
            _ => match retry {
                Some((from, star)) => {
                    (at, want) = (from + 1, star + 1);
                    retry = Some((from + 1, star));
                }
                None => return false,
            },
        }
    }
    pattern[want..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_with_wildcards() {
        let like = |name: &str, pattern: &str| is_like(name.as_bytes(), pattern.as_bytes());
        assert!(
            like("a.toml", "*.toml") && like("a.toml", "?.toml") && like("aXbXc", "a*b*c") && like("", "*")
        );
        assert!(like("aab", "*ab") && like("x", "**") && like("abcabc", "*abc"));
        assert!(!like("a.toml~", "*.toml") && !like("", "?") && !like("ab", "a") && !like("a", "ab"));
    }
}
