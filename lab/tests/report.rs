//! `ringway-lab report` through the binary: parts become a document, and mistakes one sentence.

use ringway_testkit::Scratch;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the report in `place` with its parts below it.
fn report(place: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway-lab"))
        .current_dir(place)
        .args(["report", "--quiet", "--parts", "parts", "--out", "docs.md"])
        .args(arguments)
        .output()
        .expect("the lab runs")
}

#[test]
fn parts_become_a_document_with_figures_beside_it() {
    let place = Scratch::new("report");
    fs::create_dir(place.path().join("parts")).expect("a folder");
    place.file("parts/jitter.md", b"One line.\n\n![A figure](docs/jitter.svg)\n\n");
    place.file("parts/jitter.json", br#"{"environment":{"date":"2026-01-02T03:04:05Z","revision":"abc"}}"#);
    let output = report(place.path(), &["--assemble"]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(place.path().join("docs.md")).expect("it is written");
    for expected in [
        "# Measurements\n",
        "`ringway-lab jitter`, 2026-01-02T03:04:05Z, revision abc\n\nOne line.",
        "![A figure](docs/jitter.svg)",
        "Not measured yet.",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(!text.contains(&place.path().display().to_string()), "paths of the machine: {text}");
}

#[test]
fn a_step_that_is_none_and_a_missing_server_are_refused_in_a_sentence() {
    let place = Scratch::new("report");
    for (arguments, expected) in [
        (&["--only", "nonsense"][..], "there is no step \"nonsense\"; the steps are jitter,"),
        (&["--only", "jitter", "--ringway", "nowhere"][..], "there is no server at nowhere"),
    ] {
        let output = report(place.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
