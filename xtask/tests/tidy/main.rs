//! Tidy: the rules of the house that a compiler does not check, all violations reported at once.
#![forbid(unsafe_code)]

mod arrows;
mod documents;
mod lexer;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of the project's own hand.
const SKIPPED_FOLDERS: [&str; 6] = [".git", "target", "corpus", "artifacts", "coverage", "node_modules"];

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// The file, relative to the repository's root.
    file: String,
    /// Counted from 1.
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

#[test]
fn the_house_is_tidy() {
    let root = root();
    let files = Files::read(root);
    let mut violations = arrows::check(root);
    violations.extend(sources::check(&files));
    violations.extend(documents::check(root, &files));
    violations.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let report: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(report.is_empty(), "{} violations:\n{}", report.len(), report.join("\n"));
}

/// The text files of the repository.
struct Files(Vec<(String, String)>);

impl Files {
    fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries =
                std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_symlink() || SKIPPED_FOLDERS.contains(&name.as_str()) {
                    continue;
                } else if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    files.push((relative(root, &path), text));
                }
            }
        }
        assert!(files.iter().any(|(name, _)| name == "Cargo.toml"), "this is not the repository's root");
        Files(files)
    }

    fn with_ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(name, _)| name.ends_with(ending))
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

fn relative(root: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).unwrap_or(path).components().collect();
    path.to_string_lossy().into_owned()
}
