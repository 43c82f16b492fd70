//! Fixed answers: each request gets exactly one, however requests are cut and bodies leave.

use crate::stand::{Server, kinds};
use std::io::{Read, Write};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ceiling\r\n\r\n";

fn answer(body_bytes: usize, close: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nServer: ceiling\r\n{close}Content-Length: {body_bytes}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; body_bytes]].concat()
}

/// Sends `requests` in pieces while so many answers are read and compared.
fn exchange(server: &Server, requests: usize, piece: usize, body_bytes: usize) {
    let mut reader = server.connect();
    let mut writer = reader.try_clone().expect("a descriptor");
    let wanted = answer(body_bytes, "");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in REQUEST.repeat(requests).chunks(piece) {
                writer.write_all(part).expect("the server reads");
            }
        });
        let mut found = vec![0; wanted.len()];
        for number in 0..requests {
            reader.read_exact(&mut found).expect("an answer comes");
            assert!(found == wanted, "answer {number} of {requests} in pieces of {piece} is as prepared");
        }
    });
    reader.shutdown(std::net::Shutdown::Write).expect("open");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("a good end");
    assert!(rest.is_empty(), "{} bytes more than was asked for", rest.len());
}

#[test]
fn every_request_gets_one_answer() {
    for kind in kinds() {
        let server = Server::start(&["ceiling", "serve", kind]);
        for (requests, piece) in [(1, 1000), (1, 1), (16, 10_000), (16, 7), (1_000, 100_000), (3_000, 1_001)]
        {
            exchange(&server, requests, piece, 100);
        }
    }
}

#[test]
fn large_bodies_leave_whole_from_memory_and_from_a_file() {
    for kind in kinds() {
        for transfer in ["memory", "file"] {
            let server =
                Server::start(&["ceiling", "serve", kind, "--body-bytes", "200000", "--transfer", transfer]);
            for requests in [1, 16, 40] {
                exchange(&server, requests, 1_000, 200_000);
            }
        }
    }
}

#[test]
fn empty_bodies_are_answers_too() {
    for kind in kinds() {
        for transfer in ["memory", "file"] {
            let server =
                Server::start(&["ceiling", "serve", kind, "--body-bytes", "0", "--transfer", transfer]);
            exchange(&server, 100, 1_000, 0);
        }
    }
}

#[test]
fn a_closing_server_gives_one_answer_and_closes() {
    for kind in kinds() {
        for (body_bytes, transfer) in [(100, "memory"), (200_000, "memory"), (200_000, "file")] {
            let bytes = body_bytes.to_string();
            let server = Server::start(&[
                "ceiling",
                "serve",
                kind,
                "--close",
                "--body-bytes",
                &bytes,
                "--transfer",
                transfer,
            ]);
            for _ in 0..20 {
                let mut stream = server.connect();
                stream.write_all(REQUEST).expect("the server reads");
                let mut found = Vec::new();
                stream.read_to_end(&mut found).expect("a good end");
                assert!(
                    found == answer(body_bytes, "Connection: close\r\n"),
                    "{kind}, {body_bytes} bytes from {transfer}"
                );
            }
        }
    }
}

#[test]
fn a_client_that_does_not_read_gets_its_answers_later() {
    for kind in kinds() {
        let server = Server::start(&["ceiling", "serve", kind, "--body-bytes", "200000"]);
        let mut stream = server.connect();
        // 40 MB wait behind a full socket.
        stream.write_all(&REQUEST.repeat(200)).expect("the server reads");
        let wanted = answer(200_000, "");
        let mut found = vec![0; wanted.len()];
        for _ in 0..200 {
            stream.read_exact(&mut found).expect("an answer comes");
            assert!(found == wanted, "{kind}");
        }
    }
}
