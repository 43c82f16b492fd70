//! The guest book: signed by its own form, and by nothing else.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Answer, Program};
use std::process::Command;

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    text.split(start).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_default()
}

#[test]
fn a_form_is_checked_and_taken_once_from_its_own_page() {
    let program =
        Program::start(Command::new(env!("CARGO_BIN_EXE_example-forms")).args(["--port", "0"])).unwrap();
    let mut client = program.client().unwrap();
    let mut get = || -> (Answer, String) {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let answer = client.answer(false).unwrap();
        let text = String::from_utf8(answer.body.clone()).unwrap();
        (answer, text)
    };
    let (answer, page) = get();
    assert_eq!(answer.status, 200);
    let cookie = answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let token = between(&page, "name=\"token\" value=\"", "\"").to_owned();
    assert!(token.len() > 20, "{page}");
    let mut client = program.client().unwrap();
    let mut post = |cookie: &str, body: &str| -> (Answer, String) {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        );
        client.send(head.as_bytes()).unwrap();
        let answer = client.answer(false).unwrap();
        let text = String::from_utf8(answer.body.clone()).unwrap();
        (answer, text)
    };
    // Another site's page does not know the token, and another browser's token is not this one's.
    assert_eq!(post(&cookie, "name=Eve&text=hi&token=x").0.status, 403);
    assert_eq!(post("", &format!("name=Eve&text=hi&token={token}")).0.status, 403);
    let (answer, page) = post(&cookie, &format!("name=%22%3Cb%3E&text=&token={token}"));
    assert_eq!(answer.status, 422);
    assert!(page.contains("Write something.") && page.contains("value=\"&quot;&lt;b&gt;\""), "{page}");
    let (answer, _) = post(&cookie, &format!("name=Ada+%40TEXT%40&text=1+%3C+2%0Aand+more&token={token}"));
    assert_eq!((answer.status, answer.field("location")), (303, Some("/")));
    let (_, page) = get();
    assert!(page.contains("<h2>Ada &#64;TEXT&#64;</h2><p>1 &lt; 2\nand more</p>"), "{page}");
    assert!(!page.contains("Eve"));
    assert_eq!(post(&cookie, "name=Ada").0.status, 400);
    assert!(program.stop().unwrap().success());
}
