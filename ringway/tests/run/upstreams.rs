//! A confined server with servers behind it: it reaches those that are configured, and nothing else.

use crate::stand::{Stand, eventually, on_both_drivers};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Answers every request on a connection with `says`, as long as it lives.
fn answer(stream: impl Read + Write, says: &str) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if !stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                return;
            }
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{says}", says.len());
        if stream.get_mut().write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// A server behind, on a port of its own.
fn behind(says: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, says));
        }
    });
    port
}

/// The same on a Unix socket.
fn behind_at(path: &Path, says: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, says));
        }
    });
}

fn upstream(name: &str, address: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nbackend = [{{ address = \"{address}\" }}]\n")
}

fn route(path: &str, upstream: &str) -> String {
    format!("[[site.route]]\npath = \"{path}\"\nproxy = \"{upstream}\"\n")
}

#[test]
fn those_that_are_configured_are_reached_by_number_name_and_path() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-upstreams-{driver}"), driver);
        let (number, name) = (behind("by number"), behind("by name"));
        behind_at(&stand.at("app.sock"), "by path");
        let unix = format!("unix:{}", stand.at("app.sock").display());
        let running = stand.start();
        assert!(!running.said().contains("TCP ports)"), "nothing is to be reached yet: {}", running.said());
        let before = running.servers();
        // What was not allowed before needs another server process.
        stand.more = [
            route("/number", "number"),
            route("/name", "name"),
            route("/path", "path"),
            upstream("number", &format!("127.0.0.1:{number}")),
            upstream("name", &format!("localhost:{name}")),
            upstream("path", &unix),
        ]
        .concat();
        stand.write();
        stand.reload();
        for (path, says) in [("/number", "by number"), ("/name", "by name"), ("/path", "by path")] {
            for _ in 0..3 {
                let answer = running.get(path);
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                assert_eq!((answer.status, body.as_str()), (200, says), "{path}: {}", running.said());
            }
        }
        assert_eq!(running.get("/").body, b"one");
        eventually("the first server process ends", || {
            let now = running.servers();
            (now.len() == 1 && now != before).then_some(())
        });
        let said = running.said();
        let is_confined = |layer: &str| said.contains(&format!("sandbox {layer}: active"));
        if is_confined("landlock") {
            // The port of the number, the port of the name, and that of names.
            assert!(said.contains("3 TCP ports") || said.contains("TCP ports not covered"), "{said}");
        }
        if driver == "uring" && is_confined("rings") {
            eprintln!("connected by a restricted ring");
        }
        running.stop();
    });
}
