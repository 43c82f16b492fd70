//! Good configurations: they are read without a finding, and what was read survives being written.

use crate::{configurations, folder, loaded};
use ringway::config::load;
use ringway::config::settings::{Config, Driver};
use std::path::Path;

#[test]
fn good_configurations_have_no_finding_and_round_trip() {
    let paths = configurations(&folder("good"));
    assert!(paths.len() >= 4, "{} good configurations", paths.len());
    for path in paths {
        let loaded = loaded(&path);
        assert!(loaded.report.findings.is_empty(), "{}:\n{}", path.display(), loaded.report.text(false));
        let json = serde_json::to_string(&loaded.config).expect("a configuration has a JSON form");
        let again: Config = serde_json::from_str(&json).expect("what was written is read");
        assert_eq!(again, loaded.config, "{}", path.display());
    }
}

#[test]
fn files_are_joined_and_their_paths_are_their_own() {
    let loaded = loaded(&folder("good").join("including.toml"));
    let names: Vec<&str> = loaded.config.site.iter().map(|site| site.names[0].as_str()).collect();
    assert_eq!(names, ["main.example", "a.example", "b.example"]);
    let roots: Vec<_> = loaded.config.site.iter().filter_map(|site| site.root.clone()).collect();
    let wanted = |below: &str| folder("good").join(below);
    assert_eq!(roots[0].as_path(), wanted("www"));
    assert_eq!(roots[1].as_path(), wanted("sites/../www"));
    assert!(loaded.config.include.is_empty());
}

#[test]
fn the_environment_stands_for_numbers_and_booleans_too() {
    let text = "[server]\nworkers = \"${RINGWAY_TEST_NUMBER}\"\ndriver = \"${X:-epoll}\"\n[health]\nenabled = \"${RINGWAY_TEST_YES}\"\n";
    let loaded = load::load_text(Path::new("x.toml"), Path::new("/"), text, &crate::environment);
    let server = &loaded.config.server;
    assert_eq!((server.workers, loaded.config.health.enabled, server.driver), (3, true, Driver::Epoll));
}

#[test]
fn an_empty_configuration_has_the_defaults_that_are_documented() {
    let schema = load::schema();
    let defaults = serde_json::to_value(Config::default()).expect("JSON");
    for (key, setting) in schema["properties"].as_object().expect("properties") {
        assert_eq!(setting.get("default"), defaults.get(key), "{key}");
    }
}
