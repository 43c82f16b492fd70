//! Any mixture of requests, split anywhere, is answered as each of them is alone, and in order.

use crate::server::{Driver, Server, Setup, age, pattern};
use ringway_testkit::{Answer, Rng, Scratch, Seed};
use std::io::Write;
use std::net::TcpStream;

on_both_drivers!(mixtures_are_answered_as_their_parts);

/// Requests in one mixture, and mixtures in one run.
const REQUESTS: usize = 60;
const MIXTURES: usize = 30;

/// Field lines that may differ from answer to answer.
const VOLATILE: [&str; 1] = ["date"];

fn requests(server: &Server) -> Vec<Vec<u8>> {
    let tag = server.get("/small.txt").field("etag").expect("a tag").to_owned();
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let post = |framed: &str| format!("POST /small.txt HTTP/1.1\r\nHost: a\r\n{framed}");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    [
        get("/small.txt", ""),
        get("/small.txt", &format!("If-None-Match: {tag}\r\n")),
        get("/small.txt", "Range: bytes=2-5\r\n"),
        get("/small.txt", "If-Match: \"x\"\r\nAccept: text/html\r\n"),
        get("/small.txt", "").replace("GET", "HEAD"),
        get("/small.txt", "").replace("GET", "OPTIONS"),
        get("/small.txt", "").replace("GET", "DELETE"),
        get("/small.txt", "").replace("HTTP/1.1", "HTTP/1.0").replace("Host: a", "Connection: keep-alive"),
        get("/middle.bin", ""),
        get("/middle.bin", "Range: bytes=-5000\r\n"),
        get("/large.bin", ""),
        get("/large.bin", "").replace("GET", "HEAD"),
        get("/large.bin", "Range: bytes=100000-\r\n"),
        get("/large.bin", "Range: bytes=999999999-\r\n"),
        get("/empty.txt", ""),
        get("/dir", ""),
        get("/dir/", ""),
        get("/dir/?format=json", ""),
        get("/none", ""),
        get("/.hidden", ""),
        get("/%2e%2e/x", ""),
        get("/small.txt", "Content-Length: 4\r\n") + "body",
        post("Content-Length: 0\r\n\r\n"),
        post(&format!("Content-Length: 9000\r\n\r\n{}", "x".repeat(9000))),
        post(&format!("{chunked}5;x\r\nhello\r\n0\r\nT: t\r\n\r\n")),
        post(&format!("{chunked}4000\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "y".repeat(0x4000))),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// An answer without what may differ.
fn lasting(answer: &Answer) -> (u16, String, &[u8]) {
    let is_lasting = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !VOLATILE.contains(&name.as_str())
    };
    (answer.status, answer.head.lines().filter(is_lasting).collect::<Vec<_>>().join("\n"), &answer.body)
}

fn is_head(request: &[u8]) -> bool {
    request.starts_with(b"HEAD ")
}

fn mixtures_are_answered_as_their_parts(driver: Driver) {
    let site = Scratch::new("mixture");
    for (name, contents) in [
        ("small.txt", pattern(500)),
        ("empty.txt", Vec::new()),
        ("middle.bin", pattern(30_000)),
        ("large.bin", pattern(700_000)),
        ("dir/file", b"x".to_vec()),
    ] {
        age(&site.file(name, &contents));
    }
    let server = Setup::new(driver, site.path()).start();
    let requests = requests(&server);
    let alone = |request: &Vec<u8>| {
        let mut client = server.client();
        client.send(request).expect("it reads");
        client.answer(is_head(request)).expect("an answer")
    };
    let expected: Vec<Answer> = requests.iter().map(alone).collect();
    let seed = Seed::take();
    let mut rng = seed.rng();
    for _ in 0..MIXTURES {
        mix(&server, &requests, &expected, &mut rng);
    }
    server.stop().cleanly();
}

fn mix(server: &Server, requests: &[Vec<u8>], expected: &[Answer], rng: &mut Rng) {
    let chosen: Vec<usize> = (0..REQUESTS).map(|_| rng.below(requests.len())).collect();
    let bytes: Vec<u8> = chosen.iter().flat_map(|index| requests[*index].iter().copied()).collect();
    let piece = [1 << 20, 20_000, 3000, 100][rng.below(4)];
    let sizes: Vec<usize> = (0..50).map(|_| rng.between(1, piece)).collect();
    let mut client = server.client();
    let sender = client.stream().try_clone().expect("a socket");
    std::thread::scope(|scope| {
        // Sent beside reading, or both sides could wait for each other.
        scope.spawn(move || send_in_pieces(sender, &bytes, &sizes));
        for (place, index) in chosen.iter().enumerate() {
            let request = &requests[*index];
            let answer = client.answer(is_head(request)).unwrap_or_else(|error| {
                panic!(
                    "{place}: {error} for {:?}",
                    String::from_utf8_lossy(&request[..request.len().min(80)])
                )
            });
            assert_eq!(lasting(&answer), lasting(&expected[*index]), "{place}");
        }
    });
}

fn send_in_pieces(mut stream: TcpStream, mut bytes: &[u8], sizes: &[usize]) {
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        stream.write_all(piece).expect("it reads");
        bytes = rest;
        if bytes.is_empty() {
            return;
        }
    }
}
