//! A program under test with its directory, and what is asked of it.

use ringway::engine::ring;
use ringway_testkit::{Answer, Client, Program, Scratch};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Set where this program shall be one that serves.
pub(crate) const SERVES: &str = "RINGWAY_TEST_SERVES";

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The drivers that work here.
pub(crate) fn drivers() -> Vec<&'static str> {
    match ring::probe() {
        Ok(_) => vec!["uring", "epoll"],
        Err(error) => {
            eprintln!("SKIPPED: io_uring is refused here: {error}");
            vec!["epoll"]
        }
    }
}

/// This program with these arguments, in a directory.
pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test is a file"));
    command.args(arguments).env(SERVES, "1").current_dir(folder).stdin(Stdio::null());
    command
}

/// Starts it and waits until it serves.
pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Program {
    Program::start(&mut program(folder, arguments)).expect("it serves")
}

/// Runs it to its end.
pub(crate) fn ask(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().expect("it runs")
}

/// Runs a command that must be done; what it said.
pub(crate) fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = ask(folder, arguments);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {}: {said}{}", output.status, text(&output.stderr));
    said
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    let mut client = Client::connect(address).expect("it listens");
    on(&mut client, target)
}

/// Asks on a connection that is kept.
pub(crate) fn on(client: &mut Client, target: &str) -> Answer {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).expect("it reads");
    client.answer(false).unwrap_or_else(|error| panic!("GET {target}: {error}"))
}

/// Status and body.
pub(crate) fn said(address: SocketAddr, target: &str) -> (u16, String) {
    let answer = get(address, target);
    (answer.status, text(&answer.body))
}

/// A WebSocket at `/echo`, open.
pub(crate) fn socket(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).expect("it listens");
    let request = "GET /echo/ HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(request.as_bytes()).expect("it reads");
    let answer = client.answer(true).expect("it answers");
    assert_eq!(
        (answer.status, answer.field("sec-websocket-accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    );
    client
}

/// Whether a message comes back.
pub(crate) fn echoes(socket: &mut Client) -> bool {
    // A text of two letters, masked with zeros.
    let sent = socket.send(b"\x81\x82\0\0\0\0hi");
    sent.is_ok() && socket.exact(4).is_ok_and(|frame| frame == b"\x81\x02hi")
}

/// Tries until there is something, patiently but not for ever.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory with a configuration of this program's services; `hello` is what is added to that service.
pub(crate) fn configured(scratch: &Scratch, driver: &str, hello: &str, more: &str) {
    let text = format!(
        "[server]\ndriver = \"{driver}\"\nworkers = 1\ndrain = \"30s\"\n[console]\nsocket = \"console.sock\"\n\
         [log.access]\nformat = \"off\"\n[log.error]\nlevel = \"info\"\n\
         [[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[service]]\nname = \"echo\"\n\
         [[service]]\nname = \"welcome\"\nlinked = \"hello\"\ndata = \"data\"\nlog = \"welcome.log\"\n{hello}\n\
         [[site]]\nnames = [\"*\"]\n\
         [[site.route]]\npath = \"/echo/**\"\nservice = \"echo\"\n\
         [[site.route]]\npath = \"/**\"\nservice = \"welcome\"\n{more}\n"
    );
    scratch.file("ringway.toml", text.as_bytes());
}
