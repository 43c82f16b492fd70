//! The axum application, as a process of its own.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Program, Scratch};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn it_answers_as_it_would_on_hyper() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-axum"));
    it_answers(Program::start(command.args(["--port", "0"])).unwrap());
}

/// tokio's thread begins when the process is confined.
#[test]
fn it_answers_from_a_confined_process() {
    let scratch = Scratch::new("axum-confined");
    let services = "[[service]]\nname = \"axum\"\n[[site]]\nnames = [\"*\"]\n[[site.route]]\npath = \"/**\"\nservice = \"axum\"\n";
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-axum"));
    it_answers(Program::configured(&mut command, scratch.path(), services).unwrap());
}

fn it_answers(program: Program) {
    let mut client = program.client().unwrap();
    let mut ask = |method: &str, path: &str, body: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.send(head.as_bytes()).unwrap();
        let answer = client.answer(false).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert!(ask("GET", "/", "").1.contains("<h1>Notes</h1>"));
    assert_eq!(ask("POST", "/notes", r#"{"text":"a"}"#), (200, "1".to_owned()));
    assert_eq!(ask("POST", "/notes", r#"{"text":"b"}"#), (200, "2".to_owned()));
    assert_eq!(ask("GET", "/notes", ""), (200, r#"[{"text":"a"},{"text":"b"}]"#.to_owned()));
    assert_eq!(ask("POST", "/notes", "{").0, 400);
    assert_eq!(ask("GET", "/nowhere", "").0, 404);
    let begun = Instant::now();
    assert_eq!(ask("GET", "/nap?ms=300", ""), (200, "well rested\n".to_owned()));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(program.stop().unwrap().success());
}
