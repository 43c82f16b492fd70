//! The counter: it counts where there is a Redis, and says so where there is none.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::{Program, Scratch, free_port};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server of Redis's; it does not outlive the test.
struct Store(Child);

impl Store {
    fn start(port: u16, scratch: &Scratch) -> Option<Self> {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        command.arg("--dir").arg(scratch.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().ok().map(Self)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn serve(port: u16) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-counter"));
    command.args(["--port", "0", "--workers", "1", "--set", &format!("redis=redis://127.0.0.1:{port}")]);
    Program::start(&mut command).unwrap()
}

/// A confined process reaches the servers that its configuration names, and no others.
#[test]
fn a_confined_process_connects_to_what_it_is_told() {
    let scratch = Scratch::new("counter-confined");
    let port = free_port();
    let Some(_store) = Store::start(port, &scratch) else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    for (connect, status) in [(format!("[\"127.0.0.1:{port}\"]"), 200), ("[]".to_owned(), 503)] {
        let services = format!(
            "[[service]]\nname = \"counter\"\nconnect = {connect}\nconfig = {{ redis = \"redis://127.0.0.1:{port}\" }}\n\
             [[site]]\nnames = [\"*\"]\n[[site.route]]\npath = \"/**\"\nservice = \"counter\"\n"
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-counter"));
        let program = Program::configured(&mut command, scratch.path(), &services).unwrap();
        if status == 503 && !program.said().contains("landlock: active") {
            eprintln!("SKIPPED: this kernel confines nobody");
            continue;
        }
        eventually(status, &program);
        assert!(program.stop().unwrap().success());
    }
}

fn count(program: &Program) -> (u16, String) {
    let mut client = program.client().unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = client.answer(false).unwrap();
    let page = String::from_utf8(answer.body).unwrap();
    (answer.status, page.split("<h1>").nth(1).unwrap().split('<').next().unwrap().to_owned())
}

fn eventually(expected: u16, program: &Program) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, count) = count(program);
        if status == expected {
            return count;
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_redis_the_service_says_so_and_goes_on() {
    let program = serve(free_port());
    assert_eq!(count(&program), (503, "?".to_owned()));
    assert_eq!(count(&program), (503, "?".to_owned()));
    assert!(program.stop().unwrap().success());
}

#[test]
fn it_counts_and_finds_redis_again() {
    let (port, scratch) = (free_port(), Scratch::new("counter"));
    let Some(store) = Store::start(port, &scratch) else {
        eprintln!("SKIPPED: there is no Redis (Debian's package redis-server)");
        return;
    };
    let program = serve(port);
    let first: u64 = eventually(200, &program).parse().unwrap();
    assert_eq!(count(&program), (200, (first + 1).to_string()));
    drop(store);
    assert_eq!(eventually(503, &program), "?");
    let _store = Store::start(port, &scratch);
    let again: u64 = eventually(200, &program).parse().unwrap();
    assert!(again > first + 1, "nothing that was counted is lost: {again}");
    assert!(program.stop().unwrap().success());
}
