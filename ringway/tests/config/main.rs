//! The configuration: every malformed one has its exact message, every good one is read, written and read again.
//!
//! `RINGWAY_REWRITE=1 cargo test -p ringway --test config` writes the messages and the reference anew; look at the difference.
#![cfg(feature = "config")]

mod commands;
mod damaged;
mod good;
mod many;
mod snapshots;
mod written;

use ringway::config::load::{self, Loaded};
use ringway::config::surroundings::{self, Questions};
use std::path::{Path, PathBuf};

/// The directory of configurations of one kind.
fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind)
}

/// The configurations in a directory, in the order of their names.
fn configurations(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the directory can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    paths
}

/// Loads a configuration and asks the machine about its files.
fn loaded(path: &Path) -> Loaded {
    let mut loaded = load::load(path, &environment).expect("the file can be read");
    surroundings::check(&mut loaded, Questions { expiry: true, ..Questions::default() });
    loaded
}

/// An environment that is the same everywhere.
fn environment(name: &str) -> Option<String> {
    match name {
        "RINGWAY_TEST_WORD" => Some("many".to_owned()),
        "RINGWAY_TEST_NUMBER" => Some("3".to_owned()),
        "RINGWAY_TEST_YES" => Some("true".to_owned()),
        _ => None,
    }
}

/// Whether what is expected shall be written instead of compared.
fn rewrites() -> bool {
    std::env::var_os("RINGWAY_REWRITE").is_some()
}

/// Compares a text with a file, or writes it there.
fn assert_file(path: &Path, text: &str) -> Result<(), String> {
    if rewrites() {
        std::fs::write(path, text).expect("the file can be written");
        return Ok(());
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == text {
        return Ok(());
    }
    Err(format!("{} differs.\n--- expected\n{expected}\n--- found\n{text}", path.display()))
}
