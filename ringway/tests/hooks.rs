//! Hooks into the stages of requests, in C, in the server as it is run: confined, with a supervisor, on both drivers.

#![cfg(feature = "libraries")]

use ringway::engine::ring;
use ringway_testkit::{Answer, Client, Program, Scratch};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

fn drivers() -> Vec<&'static str> {
    match ring::probe() {
        Ok(_) => vec!["uring", "epoll"],
        Err(error) => {
            eprintln!("SKIPPED: io_uring is refused here: {error}");
            vec!["epoll"]
        }
    }
}

/// Builds a library in C, in its place at once.
fn build(scratch: &Scratch, name: &str, source: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (fresh, library) = (scratch.path().join("fresh"), scratch.path().join(name));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-Wall", "-Werror"]);
    cc.arg(format!("-I{}", root.join("sys/plugin/include").display())).arg(source).arg("-o").arg(&fresh);
    assert!(cc.status().expect("a C compiler").success());
    std::fs::rename(&fresh, &library).expect("the same directory");
    library
}

fn example(scratch: &Scratch, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../contrib/plugin/{name}.c"));
    build(scratch, &format!("{name}.so"), &source)
}

/// The plug-ins in Rust, built as they are outside of this repository: by cargo.
fn in_rust(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this test is a file");
    let target = own.ancestors().nth(3).expect("cargo's directories").join("plugins");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--examples", "--target-dir"]).arg(&target);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/plugin/rust");
    let output = cargo.current_dir(folder).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join(format!("debug/examples/lib{name}.so"))
}

fn configure(scratch: &Scratch, driver: &str, hooks: &str) {
    let _is_there = std::fs::create_dir(scratch.path().join("site"));
    scratch.file("site/index.html", b"<p>Hello</p>");
    let text = format!(
        "[server]\ndriver = \"{driver}\"\nworkers = 1\n[console]\nsocket = \"console.sock\"\n\
         [log.access]\nformat = \"off\"\n[log.error]\nlevel = \"info\"\n\
         [[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[site]]\nnames = [\"*\"]\nroot = \"site\"\n{hooks}"
    );
    scratch.file("ringway.toml", text.as_bytes());
}

fn ringway(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(arguments).current_dir(scratch.path()).stdin(Stdio::null());
    command
}

fn start(scratch: &Scratch) -> Program {
    Program::start(&mut ringway(scratch, &["run"])).expect("it serves")
}

fn ask(client: &mut Client, target: &str, more: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n").as_bytes()).expect("it reads");
    client.answer(false).unwrap_or_else(|error| panic!("GET {target}: {error}"))
}

fn get(address: SocketAddr, target: &str, more: &str) -> Answer {
    ask(&mut Client::connect(address).expect("it listens"), target, more)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_hook_in_c_adds_removes_refuses_answers_and_is_told() {
    for driver in drivers() {
        let scratch = Scratch::new("hooks-headers");
        example(&scratch, "headers");
        configure(&scratch, driver, "[[site.hook]]\nlibrary = \"headers.so\"\n");
        let running = start(&scratch);
        let mut client = Client::connect(running.address()).expect("it listens");
        for number in ["1", "2"] {
            let answer = ask(&mut client, "/", "");
            assert_eq!((answer.status, text(&answer).as_str()), (200, "<p>Hello</p>"));
            assert_eq!(answer.field("x-request-number"), Some(number));
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.field("server"), None);
            assert!(answer.field("date").is_some(), "what is the server's stays");
        }
        let answer = ask(&mut client, "/forbidden", "");
        assert_eq!((answer.status, text(&answer).as_str()), (403, "Not this one.\n"));
        let answer = ask(&mut client, "/nowhere", "");
        assert_eq!((answer.status, text(&answer).as_str()), (404, "Nothing here.\n"));
        assert_eq!(answer.field("x-request-number"), Some("4"));
        client.send(b"GET /slam HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        // A reset or an end, but no answer.
        assert!(client.until_end().map_or(true, |bytes| bytes.is_empty()));
        drop(client);
        eventually("it is told what was served", || {
            running.said().contains("served /nowhere with 404 to 127")
        });
        eventually("it is told of the end", || running.said().contains("closed after "));
        assert!(running.stop().expect("it ends").success());
    }
}

/// Decides by tokens on a thread of its own, and does wrong on some paths.
const TOKENS: &str = r#"
#include "ringway.h"
#include <pthread.h>
#include <stdlib.h>
static const ringway_server *server;
struct job { ringway_later later; char token[32]; };
static void *decide(void *argument) {
    struct job *job = argument;
    if (strcmp(job->token, "sesame") == 0) {
        ringway_field field = {ringway_text("X-Who"), ringway_text("ali")};
        server->pass_later(job->later, ringway_text("ali"), &field, 1);
    } else if (strcmp(job->token, "forget") == 0) {
        server->abort(job->later);
    } else if (strcmp(job->token, "never") != 0) {
        ringway_answer answer = {sizeof answer, 401, NULL, 0, ringway_text("Who are you?\n"), RINGWAY_LENGTH_UNKNOWN};
        server->answer_later(job->later, &answer);
        if (server->answer_later(job->later, &answer) == RINGWAY_OK) abort();
    }
    free(job);
    return NULL;
}
static int32_t request(void *instance, void *worker, const ringway_request *request) {
    (void)instance, (void)worker;
    ringway_bytes path = server->path(request), token = server->field(request, ringway_text("X-Token"));
    if (path.len == 9 && memcmp(path.data, "/in/wrong", 9) == 0) return 77;
    if (path.len == 8 && memcmp(path.data, "/in/lies", 8) == 0) return RINGWAY_LATER;
    if (path.len == 9 && memcmp(path.data, "/in/field", 9) == 0)
        return server->add_field(request, ringway_text("Content-Length"), ringway_text("1")) == RINGWAY_E_INVALID
            && server->add_field(request, ringway_text("X\r\nY"), ringway_text("1")) == RINGWAY_E_INVALID
            && server->remove_field(request, ringway_text("Date")) == RINGWAY_E_STATE ? RINGWAY_PASS : 78;
    struct job *job = calloc(1, sizeof *job);
    if (token.len > 0 && token.len < sizeof job->token) memcpy(job->token, token.data, token.len);
    job->later = server->later(request, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, decide, job);
    pthread_detach(thread);
    return RINGWAY_LATER;
}
static const ringway_stage_hook stages = {.struct_size = sizeof stages, .request = request};
static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "tokens", .version = "1", .stage = &stages};
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; return &plugin; }
"#;

#[test]
fn a_hook_decides_later_from_any_thread_and_its_faults_cost_its_requests() {
    for driver in drivers() {
        let scratch = Scratch::new("hooks-tokens");
        let source = scratch.file("tokens.c", TOKENS.as_bytes());
        build(&scratch, "tokens.so", &source);
        std::fs::create_dir_all(scratch.path().join("site/in")).expect("room");
        scratch.file("site/in/index.html", b"inside");
        scratch.file("site/in/field", b"field");
        let hook = "[[site.hook]]\nlibrary = \"tokens.so\"\npaths = [\"/in/**\"]\ntimeout = \"1s\"\n";
        configure(&scratch, driver, hook);
        let running = start(&scratch);
        let address = running.address();
        assert_eq!(get(address, "/", "").status, 200, "it is not asked about other paths");
        let answer = get(address, "/in/", "X-Token: sesame\r\n");
        assert_eq!((answer.status, text(&answer).as_str()), (200, "inside"));
        assert_eq!(answer.field("x-who"), Some("ali"));
        let answer = get(address, "/in/", "X-Token: wrong\r\n");
        assert_eq!((answer.status, text(&answer).as_str()), (401, "Who are you?\n"));
        assert_eq!(get(address, "/in/", "X-Token: forget\r\n").status, 500);
        assert_eq!(get(address, "/in/", "X-Token: never\r\n").status, 504);
        assert_eq!(get(address, "/in/wrong", "").status, 500);
        assert_eq!(get(address, "/in/lies", "").status, 500);
        assert_eq!(text(&get(address, "/in/field", "")), "field");
        assert_eq!(get(address, "/", "").status, 200, "and it serves on");
        let said = || running.said();
        eventually("faults are told", || {
            said().contains("tokens.so: of a request its `request` says Unknown(77)")
        });
        eventually("late ones too", || said().contains("not given it within 1000 ms"));
        assert!(running.stop().expect("it ends").success());
    }
}

#[test]
fn a_hook_in_rust_asks_for_a_token() {
    let library = in_rust("token");
    for driver in drivers() {
        let scratch = Scratch::new("hooks-rust");
        // A copy: a process that is confined reads the folder of its libraries.
        std::fs::copy(&library, scratch.path().join("token.so")).expect("room");
        configure(
            &scratch,
            driver,
            "[[site.hook]]\nlibrary = \"token.so\"\nconfig = { token = \"sesame\" }\n",
        );
        let running = start(&scratch);
        let address = running.address();
        for (wrong, status) in [("", 401), ("sesam", 401), ("sesamE", 401), ("sesame", 200)] {
            let answer = get(address, "/", &format!("Authorization: Bearer {wrong}\r\n"));
            assert_eq!(answer.status, status, "{wrong}");
        }
        assert_eq!(text(&get(address, "/", "")), "Who are you?\n");
        assert!(running.stop().expect("it ends").success());
    }
}

#[test]
fn what_is_no_hook_is_told_with_file_and_reason() {
    let scratch = Scratch::new("hooks-wrong");
    example(&scratch, "xor");
    configure(&scratch, "epoll", "[[site.hook]]\nlibrary = \"xor.so\"\n");
    let output = ringway(&scratch, &["run"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("xor.so: it has no stage hook"), "{said}");
    configure(&scratch, "epoll", "[[site.hook]]\nlibrary = \"site/index.html\"\npaths = [\"in\"]\n");
    let output = ringway(&scratch, &["check"]).output().expect("it runs");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("paths"), "{said}");
}
