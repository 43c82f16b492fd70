//! What smuggles is refused, wherever the bytes are split: answered once, with the right status, and the connection closed.

use crate::server::{Driver, Server, Setup, age};
use ringway_testkit::{Client, Scratch};

on_both_drivers!(
    refused_heads_at_every_split,
    refused_bodies_at_every_split,
    oversized_messages_are_refused_at_their_limit,
    sound_messages_at_every_split,
    a_message_that_ends_early_is_not_answered,
    something_else_than_http_is_refused_at_once,
);

/// A request that must not be seen: it stands behind every message that is refused.
const SMUGGLED: &str = "GET /smuggled.txt HTTP/1.1\r\nHost: a\r\n\r\n";

/// Splits of one message that are tried when it is too long for all of them.
const SPLITS_MAX: usize = 160;

fn site() -> Scratch {
    let scratch = Scratch::new("framing");
    age(&scratch.file("a.txt", b"a"));
    age(&scratch.file("smuggled.txt", b"smuggled"));
    scratch
}

/// Sends `message` in two pieces, split at each place, each split on a connection of its own; gives the connections.
fn at_every_split(server: &Server, message: &[u8]) -> Vec<(usize, Client)> {
    let step = message.len().div_ceil(SPLITS_MAX);
    let edge = SPLITS_MAX / 8;
    let is_tried =
        |split: &usize| *split < edge || message.len() - *split < edge || split.is_multiple_of(step);
    let splits = (1..message.len()).filter(is_tried);
    let mut clients: Vec<(usize, Client)> = splits.map(|split| (split, server.client())).collect();
    for (split, client) in &mut clients {
        client.send(&message[..*split]).expect("it reads");
    }
    // The one worker has come around to all of them when it has answered somebody who asked later.
    for _ in 0..2 {
        assert_eq!(server.get("/a.txt").status, 200);
    }
    for (split, client) in &mut clients {
        client.send(&message[*split..]).expect("it reads, or drops");
    }
    clients
}

fn assert_refused(server: &Server, status: u16, message: &str) {
    assert_refused_bytes(server, status, message.as_bytes());
}

fn assert_refused_bytes(server: &Server, status: u16, message: &[u8]) {
    let all = [message, SMUGGLED.as_bytes()].concat();
    let start = &message[..message.len().min(200)];
    for (split, mut client) in at_every_split(server, &all) {
        let case = || format!("{:?} split at {split}", String::from_utf8_lossy(start));
        let answer = client.answer(false).unwrap_or_else(|error| panic!("{}: {error}", case()));
        assert_eq!(answer.status, status, "{}", case());
        assert_eq!(answer.field("connection"), Some("close"), "{}", case());
        let rest = client.until_end().unwrap_or_else(|error| panic!("{}: no FIN, {error}", case()));
        assert!(rest.is_empty(), "{}: answered twice: {}", case(), String::from_utf8_lossy(&rest));
    }
}

/// A request with these field lines.
fn with(fields: &str) -> String {
    format!("POST /a.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Heads that are refused, with their statuses.
const REFUSED_HEADS: &[(u16, &str)] = &[
    (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    (400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (400, "GET /\r\nHost: a\r\n\r\n"),
    (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET a.txt HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET gopher://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    (400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
    (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    (505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    (501, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (501, "THIS-METHOD-IS-LONGER-THAN-ANY-THAT-EXISTS / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
];

/// Field lines that are refused in an otherwise sound request, with their statuses.
const REFUSED_FIELDS: &[(u16, &str)] = &[
    (400, "X: a\nY: b\r\n"),
    (400, "X: a\rY: b\r\n"),
    (400, "X: a\r\n\rY: b\r\n"),
    (400, "X: a\0b\r\n"),
    (400, "X\x01: a\r\n"),
    (400, "X: a\x7f\r\n"),
    (400, "X: a\r\n folded\r\n"),
    (400, "X: a\r\n\tfolded\r\n"),
    (400, "X : a\r\n"),
    (400, "Content-Length : 5\r\n"),
    (400, "Transfer-Encoding\t: chunked\r\n"),
    (400, ": a\r\n"),
    (400, "no colon\r\n"),
    (400, "X(: a\r\n"),
    (400, "Content_Length: 5\r\n"),
    (400, "transfer_encoding: chunked\r\n"),
    (400, "Content-Length: +5\r\n"),
    (400, "Content-Length: -5\r\n"),
    (400, "Content-Length: 5, 5\r\n"),
    (400, "Content-Length: 5 5\r\n"),
    (400, "Content-Length: 0x5\r\n"),
    (400, "Content-Length: \r\n"),
    (400, "Content-Length: 18446744073709551616\r\n"),
    (400, "Content-Length: 5\r\nContent-Length: 5\r\n"),
    (400, "Content-Length: 0\r\nContent-Length: 40\r\n"),
    (400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    (400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    (400, "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 0\r\n"),
    (400, "Transfer-Encoding: \r\n"),
    (400, "Transfer-Encoding: ,chunked\r\n"),
    (400, "Transfer-Encoding: chunked, chunked\r\n"),
    (400, "Transfer-Encoding: chunked, identity\r\n"),
    (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
    (501, "Transfer-Encoding: identity\r\n"),
    (501, "Transfer-Encoding: gzip, chunked\r\n"),
    (501, "Transfer-Encoding: xchunked\r\n"),
    (501, "Transfer-Encoding: chunked;q=1\r\n"),
    (417, "Expect: 200-ok\r\nContent-Length: 5\r\n"),
];

fn refused_heads_at_every_split(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    for (status, head) in REFUSED_HEADS {
        assert_refused(&server, *status, head);
    }
    for (status, fields) in REFUSED_FIELDS {
        assert_refused(&server, *status, &with(fields));
    }
    assert_refused(&server, 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    server.stop().cleanly();
}

fn refused_bodies_at_every_split(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    for (status, body) in [
        (400, "\r\n\r\n"),
        (400, "g\r\n"),
        (400, "-5\r\nhello\r\n0\r\n\r\n"),
        (400, "+5\r\nhello\r\n0\r\n\r\n"),
        (400, "0x5\r\nhello\r\n0\r\n\r\n"),
        (400, " 5\r\nhello\r\n0\r\n\r\n"),
        (400, "5 \r\nhello\r\n0\r\n\r\n"),
        (400, "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        (400, "5\nhello\r\n0\r\n\r\n"),
        (400, "5\rhello\r\n0\r\n\r\n"),
        (400, "5;a\x01\r\nhello\r\n0\r\n\r\n"),
        (400, "5;a\nhello\r\n0\r\n\r\n"),
        (400, "5\r\nhelloX\r\n0\r\n\r\n"),
        (400, "5\r\nhello\n0\r\n\r\n"),
        (400, "5\r\nhello0\r\n\r\n"),
        (400, "4\r\nhello\r\n0\r\n\r\n"),
        (400, "0\r\nContent-Length: 5\r\n\r\n"),
        (400, "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "0\r\nHost: b\r\n\r\n"),
        (400, "0\r\nX : y\r\n\r\n"),
        (400, "0\r\nX: y\n\r\n"),
        (400, "0\r\n X: y\r\n\r\n"),
        (400, "0\r\n\n"),
        (413, "ffffffffffffffff\r\n"),
        (413, "100001\r\n"),
    ] {
        assert_refused(&server, status, &(with("Transfer-Encoding: chunked\r\n") + body));
    }
    assert_refused(&server, 413, &with("Content-Length: 1048577\r\n"));
    server.stop().cleanly();
}

fn oversized_messages_are_refused_at_their_limit(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "?".repeat(bytes - "GET / HTTP/1.1".len()));
    let ask = |message: String| {
        let mut client = server.client();
        client.send(message.as_bytes()).expect("it reads");
        client.answer(false).expect("an answer").status
    };
    assert_eq!(
        ask(line(8192) + "\r\nHost: a\r\n\r\n"),
        200,
        "the longest line: the root's listing with a query"
    );
    assert_refused(&server, 414, &(line(8193) + "\r\nHost: a\r\n\r\n"));
    assert_refused(&server, 414, &line(20_000));
    let head = |bytes: usize| {
        let short = "GET /a.txt HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        short.replace("X: ", &format!("X: {}", "x".repeat(bytes - short.len())))
    };
    assert_eq!(ask(head(16_384)), 200);
    assert_refused(&server, 431, &head(16_385));
    assert_refused(&server, 431, &head(60_000));
    let fields = |count: usize| with(&"X: y\r\n".repeat(count - 1)).replace("POST", "GET");
    assert_eq!(ask(fields(100)), 200);
    assert_refused(&server, 431, &fields(101));
    let chunked = with("Transfer-Encoding: chunked\r\n");
    let extension = |bytes: usize| format!("{chunked}1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes - 1));
    assert_eq!(ask(extension(4096)), 405);
    assert_refused(&server, 400, &extension(4097));
    let spread = "1;123456789\r\nx\r\n".repeat(500);
    assert_refused(&server, 400, &format!("{chunked}{spread}0\r\n\r\n"));
    let trailers = |count: usize| format!("{chunked}0\r\n{}\r\n", "X: 3456\r\n".repeat(count));
    assert_eq!(ask(trailers(900)), 405);
    assert_refused(&server, 431, &trailers(1000));
    assert_refused(&server, 431, &format!("{chunked}0\r\nX: {}", "x".repeat(10_000)));
    server.stop().cleanly();
}

fn sound_messages_at_every_split(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let chunked = with("Transfer-Encoding: chunked\r\n");
    for (status, message) in [
        (200, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (200, "\r\nGET /a.txt HTTP/1.1\r\nhost:a\r\n\r\n".to_owned()),
        (200, "GET http://a/a.txt HTTP/1.1\r\nHost: b\r\nX:\t a \t\r\nY:\r\n\r\n".to_owned()),
        (405, with("Content-Length: 5\r\n") + "hello"),
        (405, with(&format!("Content-Length: {}\r\n", SMUGGLED.len())) + SMUGGLED),
        (405, format!("{chunked}5\r\nhello\r\n0\r\n\r\n")),
        (405, format!("{chunked}05;a=\"b\";c\r\nhello\r\nA\r\n0123456789\r\n000\r\nX: y\r\nZ:\r\n\r\n")),
        (405, format!("{chunked}{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len())),
    ] {
        let all = message.clone() + "GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for (split, mut client) in at_every_split(&server, all.as_bytes()) {
            let answers =
                client.answers(2).unwrap_or_else(|error| panic!("{message:?} split at {split}: {error}"));
            assert_eq!((answers[0].status, answers[1].status), (status, 200), "{message:?} split at {split}");
            assert_eq!(answers[1].body, b"a");
            assert_eq!(client.until_end().expect("a FIN"), b"", "{message:?} split at {split}");
        }
    }
    server.stop().cleanly();
}

fn a_message_that_ends_early_is_not_answered(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let before = server.sockets();
    for message in [
        "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        with("Content-Length: 5\r\n") + "hello",
        with("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    ] {
        let mut clients: Vec<(usize, Client)> =
            (0..message.len()).map(|end| (end, server.client())).collect();
        for (end, client) in &mut clients {
            client.send(&message.as_bytes()[..*end]).expect("it reads");
            client.finish().expect("open");
        }
        for (end, mut client) in clients {
            let rest = client.until_end().expect("a FIN");
            assert!(rest.is_empty(), "{message:?} cut at {end}: {}", String::from_utf8_lossy(&rest));
        }
    }
    crate::server::eventually("all are forgotten", || (server.sockets() == before).then_some(()));
    server.stop().cleanly();
}

fn something_else_than_http_is_refused_at_once(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    for message in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0", b"\xff\xfe", b"{\"json\": 1}"]
    {
        let mut client = server.client();
        client.send(message).expect("it reads");
        // The client waits for more: the refusal must not.
        assert_eq!(client.answer(false).expect("an answer").status, 400);
        assert_eq!(client.until_end().expect("a FIN"), b"");
    }
    assert_refused_bytes(&server, 400, b"\x16\x03\x01\x02\x00\x01\x00");
    // What begins as the preface of HTTP/2 does, and is another thing, is no request of HTTP/1.1 either.
    assert_refused_bytes(&server, 505, b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n");
}
