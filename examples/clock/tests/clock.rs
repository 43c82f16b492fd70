//! The clock: events that come for as long as somebody listens.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use ringway_testkit::Program;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

#[test]
fn it_ticks_for_everybody_who_listens() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-clock"));
    let program = Program::start(command.args(["--port", "0", "--workers", "2", "--drain", "5"])).unwrap();
    let listen = || {
        let mut client = program.client().unwrap();
        client.send(b"GET /time HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").unwrap();
        client
    };
    let clients: Vec<_> = (0..4).map(|_| listen()).collect();
    for client in &clients {
        client.stream().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut lines = BufReader::new(client.stream()).lines().map(Result::unwrap);
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(
            head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")),
            "{head:?}"
        );
        let mut times = lines.filter_map(|line| line.strip_prefix("data: ")?.parse::<u64>().ok());
        let three: Vec<u64> = times.by_ref().take(3).collect();
        assert!(three.is_sorted() && three[2] - three[0] < 10_000, "{three:?}");
    }
    drop(clients);
    // Who still listens does not keep the server from ending.
    let _listens = listen();
    assert!(program.stop().unwrap().success());
}
