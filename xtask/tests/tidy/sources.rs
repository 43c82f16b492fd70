//! Rules of source files: their opening, length, names, and where and how `unsafe` may stand.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{self, Line};
use crate::{Files, Violation};

/// No file is longer.
const LINES_MAX: usize = 1_000;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "helper", "misc", "stuff"];

/// Rooms whose locks are watched with `lock-order`.
const WATCHED: [&str; 5] = ["engine/src/", "doors/", "sys/plugin/src/", "tls/src/", "ringway/src/"];

/// The numbers of the invariants that each unsafe crate's root lists, by the crate's folder.
type Invariants = BTreeMap<String, BTreeSet<u32>>;

/// Checks every Rust file.
pub(crate) fn check(files: &Files) -> Vec<Violation> {
    let invariants = invariants(files);
    files.with_ending(".rs").flat_map(|(name, text)| check_file(name, text, &invariants)).collect()
}

fn check_file(name: &str, text: &str, invariants: &Invariants) -> Vec<Violation> {
    let lines = lexer::lines(text);
    let mut found = Vec::new();
    let mut object = |line: usize, rule: String| found.push(Violation { file: name.to_owned(), line, rule });
    if !opens_with_a_sentence(text) {
        object(1, "the file does not open with a `//!` sentence that says its subject".to_owned());
    }
    if text.lines().count() > LINES_MAX {
        object(LINES_MAX + 1, format!("the file is longer than {LINES_MAX} lines"));
    }
    if let Some(empty) = empty_name(name) {
        object(1, format!("a module named `{empty}` says nothing of its subject"));
    }
    if name.starts_with("pure/") && name.ends_with("/src/lib.rs") && !forbids_unsafe(&lines) {
        object(1, "a pure crate lacks `#![forbid(unsafe_code)]`".to_owned());
    }
    for (index, line) in lines.iter().enumerate() {
        if let Some(empty) = inline_module(&line.code).filter(|name| EMPTY_NAMES.contains(name)) {
            object(index + 1, format!("a module named `{empty}` says nothing of its subject"));
        }
        let is_lock = || ["Mutex", "RwLock", "Condvar"].into_iter().any(|lock| line.has_word(lock));
        if is_watched(name) && line.code.contains("std::sync") && is_lock() {
            object(index + 1, "locks are those of `ringway_lock`, which `lock-order` watches".to_owned());
        }
        if line.has_word("unsafe") {
            unsafe_objections(name, &lines, index, invariants)
                .into_iter()
                .for_each(|rule| object(index + 1, rule));
        }
    }
    found
}

/// Whether the first paragraph of the file's documentation is one that ends like a sentence.
fn opens_with_a_sentence(text: &str) -> bool {
    let paragraph: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
    paragraph.last().is_some_and(|line| line.trim_end().ends_with(['.', ':']))
}

fn is_watched(file: &str) -> bool {
    file.contains("/src/") && WATCHED.iter().any(|room| file.starts_with(room))
}

fn empty_name(file: &str) -> Option<&str> {
    let stem = file.strip_suffix(".rs")?;
    stem.split('/').find(|part| EMPTY_NAMES.contains(part))
}

/// The name of the module that a line of code declares.
fn inline_module(code: &str) -> Option<&str> {
    let words: Vec<&str> = lexer::words(code).map(|(_, word)| word).collect();
    words.windows(2).find(|pair| pair[0] == "mod").map(|pair| pair[1])
}

fn forbids_unsafe(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.code.contains("#![forbid(unsafe_code)]"))
}

/// What is wrong with the word `unsafe` on line `index`.
fn unsafe_objections(name: &str, lines: &[Line], index: usize, invariants: &Invariants) -> Vec<String> {
    let Some(crate_folder) = unsafe_crate(name) else {
        return vec!["`unsafe` stands outside sys/".to_owned()];
    };
    if !needs_a_reason(lines, index) {
        return Vec::new();
    }
    let Some(reason) = reason_above(lines, index) else {
        return vec!["`unsafe` lacks a `SAFETY:` comment right above it".to_owned()];
    };
    let cited = invariant_numbers(&reason);
    if cited.is_empty() {
        return vec!["the `SAFETY:` comment cites no invariant of the crate's root, such as (I1)".to_owned()];
    }
    let listed = invariants.get(crate_folder);
    let unknown = cited.into_iter().filter(|number| !listed.is_some_and(|listed| listed.contains(number)));
    unknown.map(|number| format!("the crate's root lists no invariant I{number}")).collect()
}

/// The folder of the crate under sys/ that a file belongs to.
fn unsafe_crate(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("sys/")?;
    Some(&file[.."sys/".len() + inside.find('/')?])
}

/// Blocks, impls and attributes promise something; declarations (`unsafe fn`, traits) ask their caller to.
fn needs_a_reason(lines: &[Line], index: usize) -> bool {
    let code = &lines[index].code;
    lexer::words(code).filter(|(_, word)| *word == "unsafe").any(|(at, word)| {
        let rest = code[at + word.len()..].trim_start();
        let next = if rest.is_empty() {
            lines.get(index + 1).map_or("", |line| line.code.trim_start())
        } else {
            rest
        };
        next.starts_with(['{', '(']) || next.starts_with("impl")
    })
}

/// The `SAFETY:` comment that belongs to line `index`: on it, or above the statement that the line is part of.
fn reason_above(lines: &[Line], index: usize) -> Option<String> {
    if let Some(reason) = safety_part(&lines[index].comment) {
        return Some(reason);
    }
    let mut at = index;
    while at > 0 {
        at -= 1;
        let code = lines[at].code.trim_end();
        if code.is_empty() && !lines[at].comment.is_empty() {
            return safety_part(&comment_block_ending_at(lines, at));
        }
        let part_of_the_statement = !code.is_empty() && !code.ends_with([';', '{', '}']);
        if !part_of_the_statement && !code.trim_start().starts_with('#') {
            return None;
        }
    }
    None
}

fn comment_block_ending_at(lines: &[Line], last: usize) -> String {
    let is_comment = |line: &&Line| line.code.trim().is_empty() && !line.comment.is_empty();
    let count = lines[..=last].iter().rev().take_while(is_comment).count();
    lines[last + 1 - count..=last].iter().map(|line| line.comment.as_str()).collect::<Vec<_>>().join("\n")
}

fn safety_part(comment: &str) -> Option<String> {
    comment.find("SAFETY:").map(|at| comment[at..].to_owned())
}

/// All `I<number>` in a text.
fn invariant_numbers(text: &str) -> BTreeSet<u32> {
    lexer::words(text).filter_map(|(_, word)| word.strip_prefix('I')?.parse().ok()).collect()
}

/// What the roots of the crates under sys/ list in their documentation.
fn invariants(files: &Files) -> Invariants {
    let roots = files.with_ending("/src/lib.rs").filter(|(name, _)| name.starts_with("sys/"));
    roots
        .filter_map(|(name, text)| {
            let docs: String =
                text.lines().filter(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
            Some((unsafe_crate(name)?.to_owned(), invariant_numbers(&docs)))
        })
        .collect()
}

fn rules_broken(name: &str, text: &str) -> Vec<(usize, String)> {
    let listed = Invariants::from([("sys/ring".to_owned(), BTreeSet::from([1, 2]))]);
    check_file(name, text, &listed).into_iter().map(|violation| (violation.line, violation.rule)).collect()
}

#[track_caller]
fn assert_broken(name: &str, text: &str, line: usize, rule: &str) {
    let found = rules_broken(name, text);
    let [(at, broken)] = &found[..] else { panic!("one violation expected of {text:?}, found {found:?}") };
    assert!(*at == line && broken.contains(rule), "{found:?}");
}

#[test]
fn files_open_with_a_sentence_are_short_and_have_telling_names() {
    assert_eq!(rules_broken("engine/src/x.rs", "//! A subject over\n//! two lines.\n\nmod y;\n"), []);
    assert_broken("engine/src/x.rs", "// A subject.\n", 1, "open with");
    assert_broken("engine/src/x.rs", "\n//! A subject.\n", 1, "open with");
    assert_broken("engine/src/x.rs", "//! placeholder\n", 1, "open with");
    assert_broken("engine/src/x.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX)), 1_001, "longer");
    assert_eq!(rules_broken("engine/src/x.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX - 1))), []);
    assert_broken("engine/src/utils.rs", "//! A.\n", 1, "utils");
    assert_broken("engine/src/common/x.rs", "//! A.\n", 1, "common");
    assert_broken("engine/src/x.rs", "//! A.\npub(crate) mod helpers {}\n", 2, "helpers");
}

#[test]
fn unsafe_stands_below_sys_only_and_pure_rooms_forbid_it() {
    assert_broken("engine/src/x.rs", "//! A.\n\nlet x = unsafe { 1 };\n", 3, "outside sys/");
    assert_eq!(rules_broken("engine/src/x.rs", "//! A.\n// unsafe\nlet x = \"unsafe\";\n"), []);
    assert_broken("pure/x/src/lib.rs", "//! A.\n", 1, "forbid(unsafe_code)");
    assert_broken("pure/x/src/lib.rs", "//! A.\n// #![forbid(unsafe_code)]\n", 1, "forbid(unsafe_code)");
    assert_eq!(rules_broken("pure/x/src/lib.rs", "//! A.\n#![forbid(unsafe_code)]\n"), []);
}

#[test]
fn locks_are_watched_where_others_meet_them() {
    let text = "//! A.\nuse std::sync::{Arc, Mutex};\n";
    assert_broken("engine/src/x.rs", text, 2, "ringway_lock");
    assert_broken("doors/web/src/x.rs", "//! A.\nlet x = std::sync::RwLock::new(1);\n", 2, "ringway_lock");
    for file in ["engine/tests/x.rs", "lab/src/x.rs", "sys/ring/src/x.rs"] {
        assert_eq!(rules_broken(file, text), [], "{file}");
    }
    assert_eq!(rules_broken("engine/src/x.rs", "//! A.\nuse ringway_lock::Mutex;\n"), []);
}

#[test]
fn every_unsafe_block_cites_a_listed_invariant() {
    let inside = |body: &str| format!("//! A.\n{body}\n");
    for good in [
        "// SAFETY: the slot is live (I1).\nunsafe { f() }",
        "// SAFETY: a long\n// reason (I2).\nlet x =\n    unsafe { f() };",
        "// SAFETY: I1 and I2.\n#[inline]\nunsafe impl Send for X {}",
        "let x = unsafe { f() }; // SAFETY: I1.",
        "/// # Safety\n/// Live.\npub unsafe fn f() {}",
        "// SAFETY: (I1).\nlet x = g(\n    a,\n    unsafe { f() },\n);",
    ] {
        assert_eq!(rules_broken("sys/ring/src/x.rs", &inside(good)), [], "{good}");
    }
    for (bad, line, rule) in [
        ("unsafe { f() }", 2, "lacks"),
        ("// because\nunsafe { f() }", 3, "lacks"),
        ("// SAFETY: (I1).\ng();\nunsafe { f() }", 4, "lacks"),
        ("// SAFETY: (I1).\n\nunsafe { f() }", 4, "lacks"),
        ("// SAFETY: it is fine.\nunsafe { f() }", 3, "cites no invariant"),
        ("// SAFETY: (I3).\nunsafe impl Send for X {}", 3, "no invariant I3"),
        ("#[unsafe(no_mangle)]\nfn f() {}", 2, "lacks"),
        ("let x = unsafe\n{ f() };", 2, "lacks"),
    ] {
        assert_broken("sys/ring/src/x.rs", &inside(bad), line, rule);
    }
    assert_broken("sys/heap/src/x.rs", &inside("// SAFETY: (I1).\nunsafe { f() }"), 3, "no invariant I1");
}

#[test]
fn invariants_are_read_from_the_root_only() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = Files(vec![
        file("sys/ring/src/lib.rs", "//! A.\n//! - **I1**: one.\n//! - **I12**: two.\n// I3\n"),
        file("sys/ring/src/op.rs", "//! I4.\n"),
    ]);
    assert_eq!(invariants(&files), Invariants::from([("sys/ring".to_owned(), BTreeSet::from([1, 12]))]));
}
