//! `ringway new`: every template becomes a project that is built and serves.

use crate::stand::Developed;
use ringway_testkit::{Browser, Program, Scratch};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const TEMPLATES: [(&str, &str); 4] =
    [("hello", "Hello!"), ("api", "What is to be done?"), ("chat", "Who are you?"), ("axum", "Notes")];

fn ringway(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Where all tests are built.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ringway")).ancestors().nth(2).expect("a target directory")
}

/// Ringway as a project elsewhere has it: these sources, and what they were built into, so that little is compiled again.
fn build(folder: &Path) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(own.join("../Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--offline", "--quiet", "--workspace", "--manifest-path"])
        .arg(folder.join("Cargo.toml"));
    command.env("CARGO_TARGET_DIR", target()).env_remove("RUSTFLAGS").stdin(Stdio::null());
    assert!(command.status().expect("cargo runs").success());
}

#[test]
fn every_template_is_built_and_serves() {
    let scratch = Scratch::new("new");
    let own = env!("CARGO_MANIFEST_DIR");
    let members: Vec<String> = TEMPLATES.iter().map(|(name, _)| format!("\"my-{name}\"")).collect();
    for (name, _) in TEMPLATES {
        let at = scratch.path().join(format!("my-{name}"));
        let at = at.to_str().expect("UTF-8");
        let (code, said) = ringway(&["new", at, "--template", name, "--ringway", own]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("ringway dev"), "{said}");
    }
    // One workspace for all four, so that Ringway is compiled once for them.
    let workspace = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", "));
    scratch.file("Cargo.toml", workspace.as_bytes());
    build(scratch.path());
    let programs = Path::new(env!("CARGO_BIN_EXE_ringway")).parent().expect("a directory");
    for (name, shown) in TEMPLATES {
        let mut command = Command::new(programs.join(format!("my-{name}")));
        command.args(["--port", "0", "--data"]).arg(scratch.path().join("data"));
        let program = Program::start(&mut command).expect(name);
        let mut client = program.client().expect("it serves");
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("taken");
        let answer = client.answer(false).expect("an answer");
        let page = String::from_utf8(answer.body).expect("text");
        assert!(answer.status == 200 && page.contains(shown), "{name}: {page}");
        assert!(program.stop().expect("it ends").success());
    }
    pages_follow(&scratch.path().join("my-hello"));
}

#[test]
fn the_template_of_an_endpoint_is_built_as_it_is_said_and_its_configuration_is_good() {
    let scratch = Scratch::new("new-endpoint");
    let at = scratch.path().join("my-protocol");
    let project = at.to_str().expect("UTF-8");
    let (code, said) = ringway(&["new", "--endpoint", project, "--ringway", env!("CARGO_MANIFEST_DIR")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cargo build --release && ringway run --config ringway.toml"), "{said}");
    let mut command = Command::new("cargo");
    command.args(["build", "--offline", "--quiet", "--release"]).current_dir(&at);
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").stdin(Stdio::null());
    assert!(command.status().expect("cargo runs").success());
    assert!(at.join("target/release/libmy_protocol.so").exists(), "what its configuration names");
    let config = at.join("ringway.toml");
    let (code, said) = ringway(&["check", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{said}");
}

/// What every service is made with when it is developed: its page shows what has changed, and what does not compile.
fn pages_follow(project: &Path) {
    let Some(browser) = Browser::start().expect("it runs") else {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    };
    let developed = Developed::start(project, target(), &["--", "--workers", "1"]);
    developed.shows("Hello!");
    let window =
        browser.window((900, 600), false, &format!("http://{}/", developed.address)).expect("a window");
    let says = |what: &str| {
        window.until(&format!("document.querySelector('h1')?.textContent === {what:?}")).expect(what)
    };
    says("Hello!");
    let (page, main) = (project.join("src/page.html"), project.join("src/main.rs"));
    let text = fs::read_to_string(&page).expect("it is there");
    fs::write(&page, text.replace("Hello!", "Good evening!")).expect("written");
    says("Good evening!");
    let source = fs::read_to_string(&main).expect("it is there");
    fs::write(&main, source.replace("Ok(())", "Ok(1)")).expect("written");
    window
        .until("document.querySelector('ringway-dev') !== null")
        .expect("the compiler's words lie over the page");
    developed.shows("Good evening!");
    fs::write(&main, &source).expect("written");
    window.until("document.querySelector('ringway-dev') === null").expect("they have gone");
    fs::write(&page, text.replace("Hello!", "Good night!")).expect("written");
    says("Good night!");
}

#[test]
fn what_cannot_be_made_is_explained() {
    let scratch = Scratch::new("new-wrong");
    scratch.file("full/file", b"x");
    let full = scratch.path().join("full");
    let full = full.to_str().expect("UTF-8");
    for (arguments, said) in [
        (&["new"][..], "new takes the directory"),
        (&["new", full], "not empty"),
        (&["new", "x", "--template", "blog"], "there are hello, api, chat, axum and endpoint"),
        (&["new", "1x"], "a letter first"),
        (&["new", "x", "--ringway", "/nowhere"], "/nowhere"),
    ] {
        let (code, sentence) = ringway(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(sentence.contains(said), "{sentence}");
    }
}
