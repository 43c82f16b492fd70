//! Values from paths and queries, as types.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::Program;
use std::process::Command;

#[test]
fn what_makes_sense_is_answered_and_what_does_not_is_explained() {
    let program =
        Program::start(Command::new(env!("CARGO_BIN_EXE_example-query")).args(["--port", "0"])).unwrap();
    let mut client = program.client().unwrap();
    let mut get = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let answer = client.answer(false).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(get("/reverse/desserts"), (200, "stressed".to_owned()));
    assert_eq!(get("/repeat?text=ha&times=3"), (200, "hahaha".to_owned()));
    assert_eq!(get("/repeat?text=a+b&between=,&between=%20"), (200, "a b, a b".to_owned()));
    assert_eq!(get("/letters?text=aab"), (200, r#"{"a":2,"b":1}"#.to_owned()));
    for (path, names) in
        [("/repeat?text=ha&times=many", "times"), ("/repeat?times=3", "text"), ("/letters", "text")]
    {
        let (status, text) = get(path);
        assert_eq!(status, 400, "{path}");
        assert!(text.contains(names), "{path}: {text}");
    }
    assert_eq!(get("/repeat?text=ha&times=99999999999").0, 400);
    assert_eq!(get("/").0, 200);
    assert!(program.stop().unwrap().success());
}
