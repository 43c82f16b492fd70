//! Malformed configurations and their messages.

use crate::{assert_file, configurations, folder, loaded};

/// The least number of malformed configurations.
const BAD_MIN: usize = 60;

#[test]
fn every_malformed_configuration_has_its_exact_message() {
    let folder = folder("bad");
    let here = format!("{}/", folder.display());
    let paths = configurations(&folder);
    assert!(paths.len() >= BAD_MIN, "{} malformed configurations", paths.len());
    let mut wrong = Vec::new();
    for path in &paths {
        let report = loaded(path).report;
        assert!(!report.findings.is_empty(), "{} is not malformed", path.display());
        let text = report.text(false).replace(&here, "");
        wrong.extend(assert_file(&path.with_extension("txt"), &text).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_message_is_without_its_configuration() {
    let folder = folder("bad");
    for entry in std::fs::read_dir(&folder).expect("the directory can be read") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            assert!(path.with_extension("toml").exists(), "{}", path.display());
        }
    }
}

#[test]
fn editors_are_told_the_same() {
    for path in configurations(&folder("bad")) {
        let report = loaded(&path).report;
        let json = report.json();
        assert_eq!(json.lines().count(), report.findings.len());
        for (line, finding) in json.lines().zip(&report.findings) {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(record["message"], finding.message.as_str());
            assert!(record["line"].as_u64() > Some(0) && record["column"].as_u64() > Some(0), "{line}");
            assert!(record["width"].as_u64() > Some(0), "{line}");
        }
    }
}
