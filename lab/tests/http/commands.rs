//! The command line: tables and JSON of loads and sweeps, refusals with their exit codes.

use crate::stand::{Faulty, RIGHT};
use std::process::{Command, Output};

fn lab(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-lab"));
    command.arg("http").args(words).arg("-q").output().expect("the lab starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_load_is_a_table_and_json() {
    let server = Faulty::start(|exchange| exchange.answer(RIGHT));
    let url = format!("http://{}/x", server.address);
    let pid = std::process::id().to_string();
    let words = ["load", &url, "-n", "500", "-c", "5", "--warm-up", "0", "--pid", &pid];
    let output = lab(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in
        ["right answers", "p99.99 [µs]", "wrong length", "the machine's own gaps", "The server", "the client"]
    {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    let output = lab(&[&words[..], &["--json", "-"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["failure"], serde_json::Value::Null);
    assert_eq!(json["tables"][0]["rows"][0]["right answers"], 500.0, "{json}");
    assert_eq!(json["figures"][0]["name"], "http-latency");
}

#[test]
fn a_load_with_wrong_answers_fails_and_shows_them() {
    let server = Faulty::start(|exchange| match exchange.is_probe() {
        true => exchange.answer(RIGHT),
        false => exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell"),
    });
    let url = format!("http://{}/x", server.address);
    let output = lab(&["load", &url, "-n", "50", "-c", "5", "--warm-up", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("wrong: GET /x: a body of 4 bytes instead of 5"));
    assert!(text(&output.stderr).contains("50 requests failed"));
}

#[test]
fn a_sweep_compares_servers_step_by_step() {
    if ringway_lab::measure::cores::allowed().len() < 2 {
        eprintln!("SKIPPED: a sweep takes two cores");
        return;
    }
    let one = Faulty::start(|exchange| exchange.answer(RIGHT));
    let other = Faulty::start(|exchange| exchange.answer(RIGHT));
    let pid = std::process::id();
    let servers = [("one", &one), ("other", &other)]
        .map(|(name, server)| format!("{name}=http://{}/x@{pid}", server.address));
    let words = ["sweep", &servers[0], &servers[1], "--from", "2", "--to", "6", "--step", "2", "-n", "200"];
    let output = lab(&[&words[..], &["--rounds", "2", "--warm-up", "0", "--json", "-"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let names: Vec<&str> = json["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .filter_map(|table| table["name"].as_str())
        .collect();
    assert_eq!(names, ["sweep-one", "sweep-other", "sweep-summary", "sweep-ratios"]);
    let connections: Vec<f64> = json["tables"][0]["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["connections"].as_f64())
        .collect();
    assert_eq!(connections, [2.0, 4.0, 6.0]);
    assert_eq!(json["tables"][2]["rows"].as_array().map(Vec::len), Some(4), "with both seeds: {json}");
    assert_eq!(json["figures"].as_array().map(Vec::len), Some(3));
    let notes = json["notes"].to_string();
    assert!(notes.contains("geometric mean") && notes.contains("bottleneck"), "{notes}");
}

#[test]
fn what_cannot_be_done_is_one_sentence_and_exit_code_2() {
    for (words, sentence) in [
        (&["load", "https://h/"][..], "no TLS here yet"),
        (&["load", "http://127.0.0.1:1/", "-c", "0"], "1 to 100000 connections"),
        (&["load", "http://127.0.0.1:1/", "--cpu", "999"], "core"),
        (&["load", "http://127.0.0.1:1/", "--pid", "4194305"], "there is no process"),
        (&["load", "--urls", "/no/such/file"], "cannot read /no/such/file"),
        (&["sweep", "a=http://127.0.0.1:1/@4194305"], "there is no process"),
        (&["sweep", "a"], "must read NAME=URL@PID"),
        (&["sweep", "a=false {port}", "--from", "9", "--to", "3"], "a sweep goes from"),
    ] {
        let output = lab(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(sentence) && said.trim_end().lines().count() == 1, "{words:?}: {said}");
    }
}
