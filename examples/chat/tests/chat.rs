//! The chat in a browser with two windows: what is said in one is read in the other, across restarts of the server.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Browser, Program, Scratch, Window, free_port};
use std::process::Command;

struct Place {
    scratch: Scratch,
    port: u16,
}

impl Place {
    fn serve(&self) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-chat"));
        command.args(["--port", &self.port.to_string(), "--workers", "2", "--data"]).arg(self.scratch.path());
        Program::start(&mut command).unwrap()
    }

    fn address(&self, room: &str) -> String {
        format!("http://127.0.0.1:{}/#{room}", self.port)
    }
}

fn come_in(window: &Window, name: &str) {
    window.until("document.querySelector('#who')?.open === true").unwrap();
    window.type_into("#name", name).unwrap();
    window.click("#who button").unwrap();
    window.until("document.querySelector('#state').classList.contains('on')").unwrap();
}

fn say(window: &Window, text: &str) {
    window.type_into("#text", text).unwrap();
    window.press_enter().unwrap();
}

/// Waits until the last messages are these, each once.
fn reads(window: &Window, texts: &[&str]) {
    let expected = serde_json::to_string(texts).unwrap();
    let shown = format!(
        "[...document.querySelectorAll('#messages .text')].map((e) => e.textContent).slice(-{})",
        texts.len()
    );
    window.until(&format!("JSON.stringify({shown}) === JSON.stringify({expected})")).unwrap();
}

fn sees(window: &Window, people: &[&str]) {
    let expected = serde_json::to_string(people).unwrap();
    let shown = "[...document.querySelectorAll('#people li span:last-child')].map((e) => e.textContent)";
    window.until(&format!("JSON.stringify({shown}) === JSON.stringify({expected})")).unwrap();
}

#[test]
fn two_windows_talk_and_find_each_other_again() {
    let Some(browser) = Browser::start().unwrap() else {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    };
    let place = Place { scratch: Scratch::new("chat"), port: free_port() };
    let program = place.serve();
    let ada = browser.window((1180, 760), false, &place.address("lobby")).unwrap();
    let bob = browser.window((1180, 760), true, &place.address("lobby")).unwrap();
    come_in(&ada, "Ada");
    sees(&ada, &["Ada"]);
    come_in(&bob, "Bob");
    sees(&ada, &["Ada", "Bob"]);
    say(&ada, "Good morning, Bob! Is the <b>build</b> green?");
    reads(&bob, &["Good morning, Bob! Is the <b>build</b> green?"]);
    bob.type_into("#text", "Let me look").unwrap();
    ada.until("document.querySelector('#typing').textContent === 'Bob is typing…'").unwrap();
    bob.press_enter().unwrap();
    say(&bob, "It is: https://example.org/builds/1234");
    say(&ada, "Then let us ship it.");
    let said = ["Let me look", "It is: https://example.org/builds/1234", "Then let us ship it."];
    reads(&ada, &said);
    reads(&bob, &said);
    assert!(ada.picture("chat-light").unwrap() > 15_000);
    assert!(bob.picture("chat-dark").unwrap() > 15_000);

    // The server goes away at once, as with its machine, and comes again: pages connect, and nothing that was said is lost.
    program.kill().unwrap();
    for window in [&ada, &bob] {
        window.until("!document.querySelector('#state').classList.contains('on')").unwrap();
    }
    let program = place.serve();
    for window in [&ada, &bob] {
        window.until("document.querySelector('#state').classList.contains('on')").unwrap();
    }
    sees(&bob, &["Ada", "Bob"]);
    say(&bob, "Shipped.");
    reads(&ada, &["Then let us ship it.", "Shipped."]);

    // Another room is another conversation, and a phone's window has room for it.
    let eve = browser.window((390, 780), false, &place.address("help")).unwrap();
    come_in(&eve, "Eve");
    sees(&eve, &["Eve"]);
    say(&eve, "Nobody hears me here");
    reads(&eve, &["Nobody hears me here"]);
    assert!(eve.picture("chat-phone").unwrap() > 8_000);
    eve.eval("location.hash = 'lobby'").unwrap();
    reads(&eve, &["Then let us ship it.", "Shipped."]);
    sees(&ada, &["Ada", "Bob", "Eve"]);
    eve.close().unwrap();
    sees(&ada, &["Ada", "Bob"]);
    assert!(program.stop().unwrap().success());
}

#[test]
fn who_says_nonsense_gets_no_socket() {
    let place = Place { scratch: Scratch::new("chat-nonsense"), port: free_port() };
    let program = place.serve();
    let status = |query: &str, origin: &str| {
        let mut client = program.client().unwrap();
        let head = format!(
            "GET /ws?{query} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n",
            place.port
        );
        client.send(head.as_bytes()).unwrap();
        client.answer(true).unwrap().status
    };
    let own = format!("http://127.0.0.1:{}", place.port);
    assert_eq!(status("room=a&name=b", &own), 101);
    assert_eq!(status("room=a&name=b", "http://evil.example"), 403);
    assert_eq!(status("room=a", &own), 400);
    assert_eq!(status(&format!("room=a&name={}", "b".repeat(25)), &own), 400);
    assert_eq!(status("room=%00&name=b", &own), 400);
    assert!(program.stop().unwrap().success());
}
