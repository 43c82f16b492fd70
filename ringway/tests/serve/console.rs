//! The console of a running server, asked with `ringway console`.

use crate::server::{Driver, Server, Setup, binary, eventually};
use ringway_testkit::Scratch;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

on_both_drivers!(a_server_tells_how_it_is, connections_are_listed, a_drain_ends_the_server);

fn start(driver: Driver, folder: &Scratch) -> (Server, PathBuf) {
    folder.file("a.txt", b"hello");
    let socket = folder.path().join("console.sock");
    let path = socket.to_str().expect("UTF-8");
    (Setup::new(driver, folder.path()).with(&["--console", path]).start(), socket)
}

fn console(socket: &Path, words: &[&str]) -> Output {
    let arguments = ["console", "--socket", socket.to_str().expect("UTF-8")];
    Command::new(binary()).args(arguments).args(words).stdin(Stdio::null()).output().expect("it runs")
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn data(socket: &Path, words: &[&str]) -> Value {
    let json: Vec<&str> = ["--json"].into_iter().chain(words.iter().copied()).collect();
    serde_json::from_str(&told(&console(socket, &json))).expect("JSON")
}

fn a_server_tells_how_it_is(driver: Driver) {
    let folder = Scratch::new("console-status");
    let (server, socket) = start(driver, &folder);
    for _ in 0..3 {
        assert_eq!(server.get("/a.txt").status, 200);
    }
    assert_eq!(server.get("/b.txt").status, 404);
    let status = data(&socket, &["status"]);
    assert_eq!(status["state"], "serving");
    assert_eq!(status["requests"], 4, "{status}");
    assert_eq!(status["requests_by_class"], serde_json::json!([0, 0, 3, 0, 1, 0]));
    assert!(status["latency"]["p50_us"].as_u64().is_some_and(|us| us > 0), "{status}");
    let sites = data(&socket, &["\\v"]);
    assert_eq!(sites[0]["requests_by_class"], status["requests_by_class"]);
    let endpoints = data(&socket, &["endpoints"]);
    assert!(endpoints[0]["accepted"].as_u64().is_some_and(|count| count >= 1), "{endpoints}");
    let workers = data(&socket, &["workers"]);
    assert!(workers[0]["busy_ns"].as_u64().is_some_and(|ns| ns > 0), "{workers}");
    for (words, part) in [
        (&["status"][..], "4, 0 under way"),
        (&["\\s"], "3 good"),
        (&["uptime"], "running for"),
        (&["limits"], "100000 a worker"),
        (&["modules"], "static files"),
        (&["governor"], "no bandwidth is governed"),
        (&["config"], "without a configuration"),
        (&["help"], "\\h"),
        (&["reopen"], "0 log files"),
    ] {
        let text = told(&console(&socket, words));
        assert!(text.contains(part), "{words:?}: {text}");
    }
    for (words, code, part) in [
        (&["staus"][..], 2, "did you mean"),
        (&["reload"], 1, "without a supervisor"),
        (&["log-level", "debug"], 1, "no error log"),
        (&["governor", "somebody", "off"], 1, "there are server, endpoint NAME and site NAME"),
    ] {
        let output = console(&socket, words);
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(String::from_utf8_lossy(&said).contains(part), "{words:?}: {said:?}");
    }
    server.stop().cleanly();
    let output = console(&socket, &["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no server listens at"), "{output:?}");
}

fn connections_are_listed(driver: Driver) {
    let folder = Scratch::new("console-connections");
    let (server, socket) = start(driver, &folder);
    let mut client = server.client();
    client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
    assert_eq!(client.answer(false).expect("an answer").body, b"hello");
    let address = client.stream().local_addr().expect("connected").to_string();
    let found = data(&socket, &["connections"]);
    let of_client = |found: &Value| {
        let all = found["connections"].as_array().expect("a list").clone();
        all.into_iter().find(|connection| connection["peer"] == address.as_str())
    };
    let connection = of_client(&found).expect("it is listed");
    assert_eq!((&connection["state"], &connection["requests"]), (&Value::from("idle"), &Value::from(1)));
    assert!(connection["bytes_received"].as_u64().is_some_and(|bytes| bytes > 20), "{connection}");
    assert!(told(&console(&socket, &["\\n", "5"])).contains(&address));
    drop(client);
    eventually("it is listed no more", || {
        of_client(&data(&socket, &["connections"])).is_none().then_some(())
    });
    server.stop().cleanly();
}

fn a_drain_ends_the_server(driver: Driver) {
    let folder = Scratch::new("console-drain");
    let (server, socket) = start(driver, &folder);
    // Line by line, as a script does.
    let mut shell = Command::new(binary())
        .args(["console", "--socket", socket.to_str().expect("UTF-8"), "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let lines = b"status\n\nuptime\ndrain 5\nquit\n";
    shell.stdin.take().expect("piped").write_all(lines).expect("it reads");
    let output = shell.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let answers: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[2]["within_s"], 5);
    server.wait().cleanly();
    assert!(!socket.exists(), "its socket is gone with it");
}
