//! The smallest service, as a process of its own.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Client, Program};
use std::process::Command;

#[test]
fn whoever_says_a_name_is_greeted() {
    let program =
        Program::start(Command::new(env!("CARGO_BIN_EXE_example-hello")).args(["--port", "0"])).unwrap();
    let mut client: Client = program.client().unwrap();
    let mut get = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        client.answer(false).unwrap()
    };
    let page = get("/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(get("/greet/Ada").body, b"Hello, Ada!\n");
    assert_eq!(get("/greet/J%C3%BCrgen%20B").body, "Hello, Jürgen B!\n".as_bytes());
    assert_eq!(get("/greet/").status, 404);
    assert!(program.stop().unwrap().success());
}
