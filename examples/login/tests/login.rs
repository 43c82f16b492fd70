//! Sessions: a log-in gives a new one, a killed server loses none, a log-out ends it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Answer, Program, Scratch};
use std::process::Command;

fn serve(scratch: &Scratch) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-login"));
    Program::start(command.args(["--port", "0", "--workers", "2", "--data"]).arg(scratch.path())).unwrap()
}

/// A browser, as far as cookies go.
#[derive(Default)]
struct Browser {
    cookie: String,
}

impl Browser {
    fn ask(&mut self, program: &Program, method: &str, path: &str, body: &str) -> (Answer, String) {
        let mut client = program.client().unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            self.cookie,
            body.len()
        );
        client.send(head.as_bytes()).unwrap();
        let answer = client.answer(false).unwrap();
        if let Some(set) = answer.field("set-cookie") {
            assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        let text = String::from_utf8(answer.body.clone()).unwrap();
        (answer, text)
    }

    fn page(&mut self, program: &Program) -> (String, String) {
        let (answer, page) = self.ask(program, "GET", "/", "");
        assert_eq!(answer.status, 200);
        let token =
            page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        (page, token)
    }
}

#[test]
fn who_logs_in_is_known_until_he_logs_out() {
    let scratch = Scratch::new("login");
    let program = serve(&scratch);
    let mut browser = Browser::default();
    let (page, token) = browser.page(&program);
    assert!(page.contains("<h1>Log in</h1>"));
    let (stranger, bad) = (browser.cookie.clone(), format!("user=ada&password=x&token={token}"));
    assert_eq!(browser.ask(&program, "POST", "/login", &bad).0.status, 403);
    assert_eq!(browser.ask(&program, "POST", "/login", "user=ada&password=lovelace&token=x").0.status, 403);
    let good = format!("user=ada&password=lovelace&token={token}");
    assert_eq!(browser.ask(&program, "POST", "/login", &good).0.status, 303);
    assert_ne!(browser.cookie, stranger, "a log-in is a new session");
    assert!(browser.page(&program).0.contains("Welcome, ada!"));
    let mut fixed = Browser { cookie: stranger };
    assert!(fixed.page(&program).0.contains("<h1>Log in</h1>"), "the old one leads nowhere");

    program.kill().unwrap();
    let program = serve(&scratch);
    let (page, token) = browser.page(&program);
    assert!(page.contains("Welcome, ada!") && page.contains("page 2 times"), "{page}");
    let before = Browser { cookie: browser.cookie.clone() };
    assert_eq!(browser.ask(&program, "POST", "/logout", &format!("token={token}")).0.status, 303);
    assert!(browser.page(&program).0.contains("<h1>Log in</h1>"));
    let mut before = before;
    assert!(before.page(&program).0.contains("<h1>Log in</h1>"), "it has ended for everybody");
    assert!(program.stop().unwrap().success());
}
