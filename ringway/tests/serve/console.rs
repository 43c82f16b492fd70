//! The console of a running server, asked with `ringway console`.

use crate::server::{Driver, Server, Setup, binary, eventually};
use ringway_testkit::Scratch;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

on_both_drivers!(
    a_server_tells_how_it_is,
    connections_are_listed,
    a_drain_ends_the_server,
    top_shows_figures_until_q,
);

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

/// One end of a new terminal of that many columns and rows, and the other's path.
fn terminal(columns: u16, rows: u16) -> (std::fs::File, PathBuf) {
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let ours = rustix::pty::openpt(flags).expect("a terminal");
    rustix::pty::grantpt(&ours).expect("ours");
    rustix::pty::unlockpt(&ours).expect("ours");
    resize(&ours, columns, rows);
    let name = rustix::pty::ptsname(&ours, Vec::new()).expect("it has a name");
    (std::fs::File::from(ours), name.to_str().expect("ASCII").into())
}

fn resize(terminal: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).expect("a terminal");
}

/// Reads until `text` has been seen `times` times.
fn read_until(terminal: &mut std::fs::File, seen: &mut String, text: &str, times: usize) {
    while seen.matches(text).count() < times {
        let mut buffer = [0; 4096];
        let count = terminal.read(&mut buffer).expect("it goes on");
        assert_ne!(count, 0, "{text:?} is not in {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

fn top_shows_figures_until_q(driver: Driver) {
    let folder = Scratch::new("top");
    let (server, socket) = start(driver, &folder);
    let path = socket.to_str().expect("UTF-8");
    assert_eq!(server.get("/a.txt").status, 200);
    let (mut ours, theirs) = terminal(80, 24);
    let open = || std::fs::File::options().read(true).write(true).open(&theirs).expect("a terminal");
    let mut top = Command::new(binary())
        .args(["top", "--socket", path])
        .stdin(open())
        .stdout(open())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut seen = String::new();
    read_until(&mut ours, &mut seen, "q quits", 2);
    assert!(seen.contains("serving") && seen.contains("default") && seen.contains("1 so far"), "{seen}");
    assert!(!seen.contains("\u{1b}[30;1H"), "it has 24 rows");
    resize(&ours, 100, 30);
    read_until(&mut ours, &mut seen, "\u{1b}[30;1H", 1);
    ours.write_all(b"xq").expect("it reads");
    ours.write_all(b"q").expect("it reads");
    assert!(top.wait().expect("it ends").success());
    read_until(&mut ours, &mut seen, "\u{1b}[?1049l", 1);

    let output = Command::new(binary()).args(["top", "--socket", path]).stdin(Stdio::null()).output();
    let text = told(&output.expect("it runs"));
    assert!(text.contains("requests") && text.contains("WORKER") && !text.contains('\u{1b}'), "{text}");
    server.stop().cleanly();
    let output = Command::new(binary()).args(["top", "--socket", path]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}
