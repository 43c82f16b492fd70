//! `ringway check` and `ringway schema`, through the binary.

use crate::folder;
use ringway_testkit::Scratch;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn ringway(arguments: &[&str], within: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).current_dir(within).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn check_says_yes_with_zero_and_no_with_two() {
    let good = ringway(&["check", "-c", "small.toml"], &folder("good"));
    assert_eq!(good.status.code(), Some(0), "{}", out(&good));
    assert_eq!(out(&good), "small.toml is in order (1 site, 1 endpoint).\n");
    let bad = ringway(&["check", "--config", "unknown-setting.toml"], &folder("bad"));
    assert_eq!(bad.status.code(), Some(2));
    let text = out(&bad);
    assert!(text.contains("did you mean `workers`?"), "{text}");
    assert!(
        text.ends_with("unknown-setting.toml cannot be used: 1 error.\n") && !text.contains('\x1b'),
        "{text}"
    );
}

#[test]
fn check_takes_ringway_toml_of_the_directory() {
    let scratch = Scratch::new("default");
    let missing = ringway(&["check"], scratch.path());
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read ringway.toml"));
    scratch.file(
        "ringway.toml",
        "[[endpoint]]\nname = \"x\"\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
            .as_bytes(),
    );
    assert_eq!(ringway(&["check"], scratch.path()).status.code(), Some(0));
}

#[test]
fn check_tells_editors_in_json() {
    let bad = ringway(&["check", "-c", "range-span.toml", "--json"], &folder("bad"));
    assert_eq!(bad.status.code(), Some(2));
    let records: Vec<serde_json::Value> =
        out(&bad).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["file"], &records[0]["line"]), (&"range-span.toml".into(), &2.into()));
}

#[test]
fn a_port_in_use_is_found_and_its_holder_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address");
    let scratch = Scratch::new("port");
    scratch.file(
        "ringway.toml",
        format!(
            "[[endpoint]]\nname = \"x\"\nlisten = [\"{address}\"]\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n"
        )
        .as_bytes(),
    );
    let taken = ringway(&["check"], scratch.path());
    assert_eq!(taken.status.code(), Some(2));
    let message = format!("error: {address} is in use by config-");
    assert!(out(&taken).contains(&message), "{}", out(&taken));
    assert!(out(&taken).contains(&format!("(process {})", std::process::id())), "{}", out(&taken));
    drop(holder);
    let free = ringway(&["check"], scratch.path());
    assert_eq!(free.status.code(), Some(0), "{}", out(&free));
}

#[test]
fn a_name_that_does_not_resolve_is_found() {
    let scratch = Scratch::new("host");
    scratch.file("ringway.toml", "[[endpoint]]\nname = \"x\"\nlisten = [\"nowhere.invalid:8080\"]\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n".as_bytes());
    let unknown = ringway(&["check"], scratch.path());
    assert_eq!(unknown.status.code(), Some(2));
    assert!(out(&unknown).contains("the name `nowhere.invalid` cannot be resolved"), "{}", out(&unknown));
}

#[test]
fn schema_is_json_and_names_every_table() {
    let output = ringway(&["schema"], Path::new("."));
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for table in ["server", "limits", "endpoint", "site", "certificate", "governor", "dashboard"] {
        assert!(schema["properties"][table].is_object(), "{table}");
    }
    assert_eq!(ringway(&["schema", "extra"], Path::new(".")).status.code(), Some(2));
}

#[test]
fn each_command_has_its_help() {
    for command in ["check", "schema"] {
        let output = ringway(&[command, "--help"], Path::new("."));
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).starts_with(&format!("Usage: ringway {command}")));
    }
}

#[test]
fn a_core_that_is_not_there_is_found() {
    let scratch = Scratch::new("core");
    let text = "[server]\ncpus = [4095]\n[[endpoint]]\nname = \"x\"\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n";
    scratch.file("ringway.toml", text.as_bytes());
    let missing = ringway(&["check"], scratch.path());
    assert_eq!(missing.status.code(), Some(2));
    assert!(out(&missing).contains("there is no core 4095 for this process"), "{}", out(&missing));
}
