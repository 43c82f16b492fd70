//! Programs in C on the shared library: built as their Makefile does, asked over sockets and with a browser.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Answer, Browser, Client, Program, Scratch, Window};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The shared library by its name, in a directory of the test's.
fn library(scratch: &Scratch) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(build_library);
    std::os::unix::fs::symlink(built, scratch.path().join("libringway.so")).unwrap();
}

/// What programs link with. Tests of all targets make a program of tests of each example, so cargo is asked for the library
/// itself, with the features that all packages together have: nearly everything of it is there then.
fn build_library() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // target/PROFILE/deps/programs-HASH
    let profile = own.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--offline",
        "--workspace",
        "--example",
        "ringway_tested",
        "--target-dir",
    ]);
    cargo.arg(profile.parent().unwrap()).current_dir(root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    profile.join("examples/libringway_tested.so")
}

/// A service of contrib as a program.
fn example(scratch: &Scratch, name: &str) -> PathBuf {
    library(scratch);
    let place = scratch.path().display();
    let mut make = Command::new("make");
    make.arg("-C").arg(root().join("contrib/service"));
    make.arg(format!("OUT={place}")).arg(format!("RINGWAY_LIB={place}")).arg(format!("{place}/{name}"));
    // Options of whoever runs the tests are not the example's.
    let output = make.env_remove("MAKEFLAGS").env_remove("CFLAGS").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scratch.path().join(name)
}

fn serve(program: &Path, settings: &str) -> Program {
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0").current_dir(program.parent().unwrap());
    if !settings.is_empty() {
        command.arg(settings);
    }
    Program::start(&mut command).unwrap()
}

/// Asks with what a browser would send beside.
fn ask(program: &Program, head: &str, body: &str) -> Answer {
    let mut client = program.client().unwrap();
    let form = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len())
    };
    client.send(format!("{head}\r\nHost: test\r\n{form}\r\n{body}").as_bytes()).unwrap();
    client.answer(false).unwrap()
}

fn text(answer: &Answer) -> (u16, &str) {
    (answer.status, str::from_utf8(&answer.body).unwrap())
}

fn cookie(answer: &Answer) -> String {
    let line = answer.field("set-cookie").expect("a cookie");
    line.split_once(';').unwrap().0.to_owned()
}

/// A WebSocket that is open.
fn socket(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).unwrap();
    let head = "GET /handshake/ HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.answer(true).unwrap().status, 101);
    client
}

fn say(window: &Window, name: &str, message: &str) {
    window.type_into("#name", name).unwrap();
    window.type_into("#text", message).unwrap();
    window.press_enter().unwrap();
}

fn reads(window: &Window, lines: &str) {
    let shown = "[...document.querySelectorAll('#messages li')].map((e) => e.textContent).join('|')";
    window.until(&format!("{shown} === '{lines}'")).unwrap();
}

#[test]
fn the_chat_is_a_program_in_which_all_hear_what_one_says() {
    let scratch = Scratch::new("library-chat");
    let program = serve(&example(&scratch, "chat"), "");
    let (mut ada, mut bob) = (socket(program.address()), socket(program.address()));
    // A text of two letters, masked with zeros; whoever says it hears it too. Both are in the room once each has heard himself.
    ada.send(b"\x81\x82\0\0\0\0hi").unwrap();
    assert_eq!(ada.exact(4).unwrap(), b"\x81\x02hi");
    bob.send(b"\x81\x82\0\0\0\0yo").unwrap();
    assert_eq!(ada.exact(4).unwrap(), b"\x81\x02yo");
    assert!(matches!(&*bob.exact(4).unwrap(), b"\x81\x02yo" | b"\x81\x02hi"));
    assert_eq!(ask(&program, "GET /handshake/ HTTP/1.1", "").status, 426, "it is told what it is for");
    assert!(program.stop().unwrap().success());
}

#[test]
fn two_windows_of_a_browser_talk() {
    let Some(browser) = Browser::start().unwrap() else {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    };
    let scratch = Scratch::new("library-browser");
    let program = serve(&example(&scratch, "chat"), "");
    let address = format!("http://{}/", program.address());
    let windows = [false, true].map(|is_dark| browser.window((600, 500), is_dark, &address).unwrap());
    for window in &windows {
        window.until("document.querySelector('#state')?.textContent === 'connected'").unwrap();
    }
    let [ada, bob] = &windows;
    say(ada, "Ada", "Is <b>anybody</b> there?");
    for window in &windows {
        reads(window, "Ada: Is <b>anybody</b> there?");
    }
    say(bob, "Bob", "I am");
    for window in &windows {
        reads(window, "Ada: Is <b>anybody</b> there?|Bob: I am");
    }
    assert!(program.stop().unwrap().success());
}

#[test]
fn what_requests_bring_and_answers_take_is_a_line_each() {
    let scratch = Scratch::new("library-visits");
    scratch.file("page.txt", b"a page\n");
    let program = serve(&example(&scratch, "visits"), "sessions = {}\nfiles = \".\"\n");
    let get = |target: &str| ask(&program, &format!("GET {target} HTTP/1.1"), "");
    assert_eq!(text(&get("/greet/Ann%20B?times=%33")), (200, "Hello, Ann B! 3\n"));
    assert_eq!(text(&get("/greet/Ann")), (200, "Hello, Ann! once\n"));
    assert_eq!(get("/greet").status, 404);
    assert_eq!(text(&get("/pages/page.txt")), (200, "a page\n"));
    assert_eq!(get("/pages/none.txt").status, 404);
    assert_eq!(get("/pages/..%2f..%2fetc%2fpasswd").status, 400);
    assert_eq!(text(&get("/theme")), (200, "light\n"));
    let kept = ask(&program, "POST /theme HTTP/1.1", "theme=dark");
    assert_eq!(
        kept.field("set-cookie"),
        Some("theme=dark; Path=/; Max-Age=3600; SameSite=Lax; Secure; HttpOnly")
    );
    assert_eq!(text(&ask(&program, "GET /theme HTTP/1.1\r\nCookie: a=b; theme=dark", "")), (200, "dark\n"));
    assert_eq!(text(&ask(&program, "POST /theme HTTP/1.1", "theme=a%3Bb")), (400, "this is no theme\n"));
    assert_eq!(text(&get("/slow")), (200, "slowly\n"));
    assert!(program.stop().unwrap().success());
}

#[test]
fn sessions_are_kept_where_the_settings_say() {
    let scratch = Scratch::new("library-sessions");
    let built = example(&scratch, "visits");
    for settings in ["sessions = {}", "data = \"data\"\nsessions = { store = \"sqlite\" }"] {
        let mut program = serve(&built, settings);
        let first = ask(&program, "GET /visits HTTP/1.1", "");
        let known = cookie(&first);
        assert_eq!(text(&first), (200, "1\n"));
        let with = |program: &Program, target: &str, known: &str| {
            ask(program, &format!("{target} HTTP/1.1\r\nCookie: {known}"), "")
        };
        assert_eq!(text(&with(&program, "GET /visits", &known)), (200, "2\n"));
        assert_eq!(text(&ask(&program, "GET /who HTTP/1.1", "")), (200, "nobody\n"));
        let in_ = ask(&program, &format!("POST /log-in HTTP/1.1\r\nCookie: {known}"), "name=Ada");
        assert_eq!((in_.status, in_.field("location")), (303, Some("who")));
        let known = (cookie(&in_), known);
        assert_ne!(known.0, known.1, "a log-in is another number");
        assert_eq!(text(&with(&program, "GET /who", &known.1)), (200, "nobody\n"));
        if settings.contains("sqlite") {
            program.kill().unwrap();
            program = serve(&built, settings);
        }
        assert_eq!(text(&with(&program, "GET /who", &known.0)), (200, "Ada\n"));
        assert_eq!(text(&with(&program, "GET /visits", &known.0)), (200, "3\n"));
        // What a promise was made with is kept with its answer.
        let fresh = ask(&program, "GET /slow HTTP/1.1", "");
        assert_eq!(text(&fresh), (200, "slowly\n"));
        assert!(!cookie(&fresh).is_empty());
        let out = with(&program, "POST /log-out", &known.0);
        assert!(out.field("set-cookie").unwrap().contains("Max-Age=0"));
        assert_eq!(text(&with(&program, "GET /who", &known.0)), (200, "nobody\n"));
        assert!(program.stop().unwrap().success());
    }
    let without = serve(&built, "");
    assert_eq!(text(&ask(&without, "GET /visits HTTP/1.1", "")), (500, "there are no sessions here\n"));
    assert!(without.stop().unwrap().success());
}

#[test]
fn a_program_starts_asks_errs_stops_and_leaves_nothing() {
    let scratch = Scratch::new("library-whole");
    library(&scratch);
    let program = scratch.path().join("whole");
    let place = scratch.path().display();
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-fsanitize=leak"]);
    for include in ["sys/plugin/include", "sys/face/include"] {
        cc.arg(format!("-I{}", root().join(include).display()));
    }
    cc.arg(root().join("library/tests/whole.c")).arg("-o").arg(&program);
    cc.args([format!("-L{place}"), "-lringway".to_owned(), format!("-Wl,-rpath,{place}")]);
    assert!(cc.status().unwrap().success());
    for driver in ["auto", "epoll"] {
        let output = Command::new(&program).arg(driver).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.ends_with("done\n"), "{driver}: {}: {said}", output.status);
    }
}
