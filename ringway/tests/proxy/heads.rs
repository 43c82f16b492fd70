//! Heads: what the upstream is told, and what the client is.

use crate::stand::{Setup, ask};
use crate::upstream::Upstream;

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_upstream_is_told_who_asked_and_nothing_of_the_connection() {
    let upstream = Upstream::always(FINE);
    let ringway = Setup::before(&[upstream.address()]).start("proxy-heads");
    let lines = "Connection: keep-alive, x-own\r\nX-Own: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Forwarded-For: 6.6.6.6\r\n\
        Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: mine\r\nAccept: */*\r\nProxy: http://evil/\r\n";
    assert_eq!(ringway.ask("GET /a%20b//c/../d?e=%2F", lines, b"").body, b"ok");
    let head = upstream.last_head();
    let mut told: Vec<&str> = head.lines().collect();
    // What was decoded to judge it is encoded again; an id is like no other.
    assert_eq!(told.remove(0), "GET /a%20b/d?e=%2F HTTP/1.1");
    let place = told.iter().position(|line| line.starts_with("X-Request-Id: ")).unwrap();
    let id = told.remove(place).trim_start_matches("X-Request-Id: ");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let expected = [
        "Host: test.example",
        "Accept: */*",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: test.example",
        "Forwarded: for=127.0.0.1;host=test.example;proto=http",
        "Via: 1.1 ringway",
    ];
    assert_eq!(told, expected);
}

#[test]
fn heads_and_paths_are_edited_as_configured() {
    let upstream = Upstream::always(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Secret: 1\r\nServer: other\r\nX-A: 1\r\n\r\nok",
    );
    let setup = Setup {
        proxy: "host = \"inner.example:81\", strip = \"/api\", prefix = \"/v 1\", via = false, forwarded = false, \
            x_forwarded = false, request_id = false, request_headers = { set = { \"X-Set\" = \"s\" }, remove = [\"cookie\"] }"
            .to_owned(),
        more: "headers = { remove = [\"X-Secret\"] }".to_owned(),
        ..Setup::before(&[upstream.address()])
    };
    let ringway = setup.start("proxy-edits");
    let answer =
        ringway.ask("GET /api/x%3By?q", "Cookie: a\r\nX-Set: theirs\r\nX-Forwarded-For: 6.6.6.6\r\n", b"");
    assert_eq!(upstream.last_head(), "GET /v%201/x%3By?q HTTP/1.1\r\nHost: inner.example:81\r\nX-Set: s");
    assert_eq!((answer.field("x-secret"), answer.field("x-a")), (None, Some("1")));
    assert_ne!(answer.field("server"), Some("other"));
    ringway.get("/api");
    assert!(upstream.last_head().starts_with("GET /v%201 HTTP/1.1\r\n"));
}

#[test]
fn the_client_is_told_nothing_of_the_upstreams_connection() {
    let upstream = Upstream::always(
        b"HTTP/1.1 418 I'm a teapot\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\nTrailer: Later\r\n\r\n\
          3\r\nabc\r\n0\r\nLater: x\r\n\r\n",
    );
    let ringway = Setup::before(&[upstream.address()]).start("proxy-answers");
    let answer = ringway.get("/");
    assert_eq!((answer.status, &answer.body[..]), (418, &b"abc"[..]));
    for name in ["connection", "x-hop", "keep-alive", "x-accel-buffering", "trailer", "later"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    assert_eq!(answer.head.to_ascii_lowercase().matches("\ndate: ").count(), 1);
}

#[test]
fn what_goes_round_in_a_circle_is_stopped() {
    let upstream = Upstream::always(FINE);
    let ringway = Setup::before(&[upstream.address()]).start("proxy-circle");
    let via = format!("Via: {}\r\n", ["1.1 ringway"; 8].join(", "));
    assert_eq!(ringway.ask("GET /", &via, b"").status, 508);
    let options: Vec<String> = (0..40).map(|number| format!("x{number}")).collect();
    assert_eq!(ringway.ask("GET /", &format!("Connection: {}\r\n", options.join(",")), b"").status, 400);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn long_heads_go_both_ways() {
    let upstream = Upstream::start(|talk| {
        while talk.request().is_some() {
            let cookie = "x".repeat(30_000);
            talk.say(
                format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 2\r\n\r\nok").as_bytes(),
            );
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-long");
    let mut client = ringway.client();
    for _ in 0..3 {
        let lines = format!("Cookie: {}\r\n", "y".repeat(12_000));
        let answer = ask(&mut client, "GET /", &lines, b"");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
        assert_eq!(answer.field("set-cookie").map(str::len), Some(30_000));
        assert!(upstream.last_head().contains(&"y".repeat(12_000)));
    }
    assert_eq!(upstream.heads().len(), 3, "each was asked once");
}
