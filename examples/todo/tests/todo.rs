//! The to-do list: its API, and its page in a browser with two windows.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Browser, Program, Scratch, Window};
use serde_json::{Value, json};
use std::process::Command;

fn serve(scratch: &Scratch) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-todo"));
    Program::start(command.args(["--port", "0", "--workers", "2", "--data"]).arg(scratch.path())).unwrap()
}

fn ask(program: &Program, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut client = program.client().unwrap();
    let body = body.map(ToString::to_string).unwrap_or_default();
    let head = format!(
        "{method} /api/todos{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(head.as_bytes()).unwrap();
    let answer = client.answer(false).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// A confined process writes its database, and nothing is lost when it is killed.
#[test]
fn a_confined_process_keeps_what_it_acknowledges() {
    let scratch = Scratch::new("todo-confined");
    std::fs::create_dir(scratch.path().join("data")).unwrap();
    let services = format!(
        "[[service]]\nname = \"todo\"\ndata = {:?}\n[[site]]\nnames = [\"*\"]\n[[site.route]]\npath = \"/**\"\nservice = \"todo\"\n",
        scratch.path().join("data")
    );
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-todo"));
        Program::configured(&mut command, scratch.path(), &services).unwrap()
    };
    let program = start();
    assert_eq!(ask(&program, "POST", "", Some(&json!({ "title": "Stay" }))).0, 201);
    program.kill().unwrap();
    let program = start();
    assert_eq!(ask(&program, "GET", "", None).1[0]["title"], "Stay");
    assert!(program.stop().unwrap().success());
}

#[test]
fn the_api_keeps_what_it_acknowledges() {
    let scratch = Scratch::new("todo");
    let program = serve(&scratch);
    assert_eq!(ask(&program, "GET", "", None), (200, json!([])));
    let milk = json!({ "id": 1, "title": "Buy milk", "done": false });
    assert_eq!(ask(&program, "POST", "", Some(&json!({ "title": " Buy milk " }))), (201, milk));
    assert_eq!(ask(&program, "POST", "", Some(&json!({ "title": "Rest" }))).0, 201);
    assert_eq!(ask(&program, "PATCH", "/1", Some(&json!({ "done": true }))).1["done"], true);
    for (method, path, body, status) in [
        ("POST", "", json!({ "title": " " }), 400),
        ("POST", "", json!({ "titel": "x" }), 400),
        ("POST", "", json!({ "title": "x".repeat(201) }), 400),
        ("POST", "", json!({ "title": "x".repeat(5000) }), 413),
        ("PATCH", "/9", json!({ "done": true }), 404),
        ("PATCH", "/one", json!({ "done": true }), 400),
        ("DELETE", "/9", json!({}), 404),
        ("PUT", "/1", json!({}), 405),
    ] {
        assert_eq!(ask(&program, method, path, Some(&body)).0, status, "{method} {path} {body}");
    }
    program.kill().unwrap();
    let program = serve(&scratch);
    let both =
        json!([{ "id": 1, "title": "Buy milk", "done": true }, { "id": 2, "title": "Rest", "done": false }]);
    assert_eq!(ask(&program, "GET", "", None), (200, both));
    assert_eq!(ask(&program, "DELETE", "", None).0, 204);
    assert_eq!(ask(&program, "DELETE", "/2", None).0, 204);
    assert_eq!(ask(&program, "GET", "", None), (200, json!([])));
    assert!(program.stop().unwrap().success());
}

fn shows(window: &Window, titles: &[&str], left: &str) {
    let expected = serde_json::to_string(&(titles, left)).unwrap();
    let shown = "[[...document.querySelectorAll('#list span')].map((e) => e.textContent), document.querySelector('#left').textContent]";
    window.until(&format!("JSON.stringify({shown}) === JSON.stringify({expected})")).unwrap();
}

#[test]
fn what_one_window_changes_the_other_shows() {
    let Some(browser) = Browser::start().unwrap() else {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    };
    let scratch = Scratch::new("todo-browser");
    let program = serve(&scratch);
    let address = format!("http://{}/", program.address());
    let one = browser.window((900, 640), false, &address).unwrap();
    let two = browser.window((390, 700), true, &address).unwrap();
    shows(&one, &[], "Nothing is to be done.");
    shows(&two, &[], "Nothing is to be done.");
    for title in ["Buy milk & honey", "Write <letters>", "Call home"] {
        one.type_into("#new input", title).unwrap();
        one.press_enter().unwrap();
        one.until("document.querySelector('#new input').value === ''").unwrap();
    }
    let all = ["Buy milk & honey", "Write <letters>", "Call home"];
    shows(&two, &all, "3 things left");
    two.click("#list li:nth-child(2) input").unwrap();
    shows(&one, &all, "2 things left");
    assert!(one.picture("todo-light").unwrap() > 8_000);
    assert!(two.picture("todo-dark").unwrap() > 5_000);
    one.click("#clear").unwrap();
    shows(&two, &["Buy milk & honey", "Call home"], "2 things left");
    two.click("#list li:nth-child(1) button").unwrap();
    shows(&one, &["Call home"], "1 thing left");
    assert!(program.stop().unwrap().success());
}
