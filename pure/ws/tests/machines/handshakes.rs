//! Handshakes: sound ones on both sides, and wrong ones in every field.

use ringway_http::head::{Limits as HeadLimits, Request};
use ringway_http::reply::{Limits as ReplyLimits, Reply};
use ringway_ws::deflate::{Agreement, Options};
use ringway_ws::handshake::{Accepted, Ask, ClientHandshake, Refusal, Rejection, Upgrade};

/// The request of the RFC, with `lines` behind it.
fn request(lines: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    )
}

fn with_upgrade<T>(head: &str, see: impl FnOnce(Result<Option<Upgrade<'_>>, Refusal>) -> T) -> T {
    let request = Request::parse(head.as_bytes(), &HeadLimits::default()).expect("a sound request");
    see(Upgrade::read(&request))
}

fn refused(head: &str) -> Option<Refusal> {
    with_upgrade(head, |read| read.err())
}

/// What a server with `options` answers to one offer.
fn answered(offer: &str, options: &Options) -> Option<Agreement> {
    with_upgrade(&request(&format!("Sec-WebSocket-Extensions: {offer}\r\n")), |read| {
        read.expect("a sound request").expect("an upgrade").deflate(options)
    })
}

/// What is agreed on when a client offers that.
pub(crate) fn agreed(offer: &str, options: &Options) -> Agreement {
    answered(offer, options).expect("an offer that is answered")
}

fn takeover() -> Options {
    Options { server_takeover: true, client_takeover: true, ..Options::default() }
}

#[test]
fn the_example_of_the_rfc_is_answered() {
    let head = request("Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n");
    with_upgrade(&head, |read| {
        let upgrade = read.expect("sound").expect("an upgrade");
        assert_eq!(upgrade.origin(), Some(&b"http://example.com"[..]));
        assert_eq!(upgrade.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        assert_eq!(upgrade.protocol(&["superchat", "other"]), Some("superchat"));
        assert_eq!(upgrade.protocol(&["other"]), None);
        let mut answer = Vec::new();
        upgrade.answer(Some("chat"), None, &mut answer);
        let wanted = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n";
        assert_eq!(String::from_utf8_lossy(&answer), wanted);
    });
}

#[test]
fn what_asks_for_no_websocket_is_an_ordinary_request() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        request("").replace("Upgrade: websocket", "Upgrade: h2c"),
        request("").replace("Connection: keep-alive, Upgrade", "Connection: keep-alive"),
        request("").replace("Upgrade: websocket", "Upgrade: websocketx"),
    ] {
        assert!(with_upgrade(&head, |read| matches!(read, Ok(None))), "{head}");
    }
    for head in [
        request("").replace("Upgrade: websocket", "Upgrade: WebSocket"),
        request("").replace("Upgrade: websocket", "Upgrade: h2c, websocket"),
    ] {
        assert!(with_upgrade(&head, |read| matches!(read, Ok(Some(_)))), "{head}");
    }
}

#[test]
fn requests_that_are_wrong_in_a_field_are_refused() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let many: String = (0..33).map(|at| format!("p{at},")).collect();
    for (head, refusal) in [
        (request("").replace("GET", "POST"), Refusal::Method),
        (request("Content-Length: 3\r\n"), Refusal::Body),
        (request("Transfer-Encoding: chunked\r\n"), Refusal::Body),
        (request("").replace(key, ""), Refusal::KeyCount),
        (request(key), Refusal::KeyCount),
        (request("").replace("dGhlIHNhbXBsZSBub25jZQ==", ""), Refusal::KeyForm),
        (request("").replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), Refusal::KeyForm),
        (request("").replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQA="), Refusal::KeyForm),
        (request("").replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNh,XBsZSBub25jZQ=="), Refusal::KeyForm),
        (request("").replace(version, ""), Refusal::Version),
        (request(version), Refusal::Version),
        (request("").replace("13", "8"), Refusal::Version),
        (request("").replace("13", "13, 8"), Refusal::Version),
        (request("").replace("13", "013"), Refusal::Version),
        (request("Origin: http://a\r\nOrigin: http://b\r\n"), Refusal::OriginCount),
        (request("Sec-WebSocket-Protocol: a b\r\n"), Refusal::Protocols),
        (request("Sec-WebSocket-Protocol: a, b, a\r\n"), Refusal::Protocols),
        (request("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n"), Refusal::Protocols),
        (request(&format!("Sec-WebSocket-Protocol: {many}\r\n")), Refusal::Protocols),
        (request("Sec-WebSocket-Extensions: a b\r\n"), Refusal::Extensions),
        (request("Sec-WebSocket-Extensions: ; a\r\n"), Refusal::Extensions),
        (request("Sec-WebSocket-Extensions: a; b=\r\n"), Refusal::Extensions),
        (request("Sec-WebSocket-Extensions: a; b=\"c\r\n"), Refusal::Extensions),
    ] {
        assert_eq!(refused(&head), Some(refusal), "{head}");
        assert!((400..500).contains(&refusal.status().code()));
    }
    assert_eq!(Refusal::Version.status().code(), 426);
    assert_eq!(Refusal::Origin.status().code(), 403);
}

#[test]
fn origins_are_compared_with_the_host() {
    let same = |origin: &str, host: &str, secure| {
        let head = request(&format!("Origin: {origin}\r\n")).replace("server.example.com", host);
        with_upgrade(&head, |read| read.expect("sound").expect("an upgrade").is_same_origin(secure))
    };
    assert!(same("http://a.example", "a.example", false));
    assert!(same("HTTP://A.example:80", "a.EXAMPLE", false));
    assert!(same("https://a.example", "a.example:443", true));
    assert!(same("http://a.example:8080", "a.example:8080", false));
    assert!(!same("https://a.example", "a.example", false), "another scheme");
    assert!(!same("http://a.example", "a.example", true), "another scheme");
    assert!(!same("http://a.example:8080", "a.example", false), "another port");
    assert!(!same("http://b.example", "a.example", false));
    assert!(!same("http://a.example.evil", "a.example", false));
    for wrong in ["null", "http://", "a.example", "http://a.example/path", "http://a.example@b", ""] {
        assert!(!same(wrong, "a.example", false), "{wrong}");
    }
    assert!(with_upgrade(&request(""), |read| read
        .expect("sound")
        .expect("an upgrade")
        .is_same_origin(false)));
}

#[test]
fn an_extended_connect_has_no_key() {
    let head =
        "GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    let limits = HeadLimits::default();
    let request = Request::parse(head.as_bytes(), &limits).expect("sound");
    let upgrade = Upgrade::read_connect(&request).expect("sound");
    let mut answer = Vec::new();
    upgrade.answer(upgrade.protocol(&["chat"]), None, &mut answer);
    assert_eq!(answer, b"Sec-WebSocket-Protocol: chat\r\n");
    let head = head.replace("13", "12");
    let request = Request::parse(head.as_bytes(), &limits).expect("sound");
    assert_eq!(Upgrade::read_connect(&request).err(), Some(Refusal::Version));
}

fn written(agreement: &Agreement) -> String {
    let mut out = Vec::new();
    agreement.write(&mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn offers_of_compression_are_answered_as_options_say() {
    let wide = takeover();
    let narrow = Options { server_window_bits_max: 11, client_window_bits_max: 10, ..Options::default() };
    for (offer, options, answer) in [
        ("permessage-deflate", &wide, Some("permessage-deflate")),
        ("permessage-deflate; client_max_window_bits", &wide, Some("permessage-deflate")),
        (
            "permessage-deflate; client_max_window_bits=12; server_max_window_bits=\"9\"",
            &wide,
            Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=12"),
        ),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            &wide,
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (
            "permessage-deflate",
            &narrow,
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
            ),
        ),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=13",
            &narrow,
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=11; client_max_window_bits=10",
            ),
        ),
        (
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8",
            &wide,
            Some("permessage-deflate; server_max_window_bits=8"),
        ),
        // The first is declined, the second is not.
        (
            "permessage-deflate; server_max_window_bits=7, permessage-deflate",
            &wide,
            Some("permessage-deflate"),
        ),
        ("permessage-deflate; server_max_window_bits", &wide, None),
        ("permessage-deflate; server_max_window_bits=16", &wide, None),
        ("permessage-deflate; server_max_window_bits=09", &wide, None),
        ("permessage-deflate; client_max_window_bits=7", &wide, None),
        ("permessage-deflate; client_max_window_bits=10; client_max_window_bits=10", &wide, None),
        ("permessage-deflate; server_no_context_takeover=1", &wide, None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", &wide, None),
        ("permessage-deflate; unknown", &wide, None),
        ("permessage-bzip2", &wide, None),
    ] {
        let got = answered(offer, options).map(|agreement| written(&agreement));
        assert_eq!(got.as_deref(), answer, "{offer}");
    }
}

fn ask<'a>(deflate: Option<&'a Options>, protocols: &'a [&'a str]) -> Ask<'a> {
    Ask {
        host: "a.example:81",
        target: "/x?y",
        origin: Some("http://b"),
        protocols,
        deflate,
        fields: &[("Cookie", "c=d")],
    }
}

fn check(ask: &Ask<'_>, head: &str) -> Result<(Option<String>, Option<Agreement>), Rejection> {
    let handshake = ClientHandshake::new(*b"the sample nonce");
    let reply = Reply::parse(head.as_bytes(), false, &ReplyLimits::default()).expect("a sound answer");
    let Accepted { protocol, deflate } = handshake.check(&reply, ask)?;
    Ok((protocol.map(str::to_owned), deflate))
}

fn reply(lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{lines}\r\n"
    )
}

#[test]
fn a_client_asks_and_a_server_of_ours_understands() {
    let options = takeover();
    let ask = ask(Some(&options), &["chat", "v2"]);
    let handshake = ClientHandshake::new(*b"the sample nonce");
    let mut head = Vec::new();
    handshake.write(&ask, &mut head).expect("it can be asked");
    let head = String::from_utf8(head).expect("text");
    assert!(
        head.starts_with("GET /x?y HTTP/1.1\r\nHost: a.example:81\r\n")
            && head.contains("\r\nCookie: c=d\r\n"),
        "{head}"
    );
    let answer = with_upgrade(&head, |read| {
        let upgrade = read.expect("sound").expect("an upgrade");
        let agreement = upgrade.deflate(&options).expect("an offer");
        let mut lines = Vec::new();
        upgrade.answer(Some("v2"), Some(&agreement), &mut lines);
        String::from_utf8(lines).expect("text")
    });
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n{answer}\r\n"
    );
    let (protocol, deflate) = check(&ask, &head).expect("an answer to this");
    assert_eq!(protocol.as_deref(), Some("v2"));
    assert!(deflate.is_some_and(|agreement| agreement.server_takeover && agreement.client_window_bits == 15));
}

#[test]
fn values_that_cannot_be_sent_are_refused() {
    let handshake = ClientHandshake::new([7; 16]);
    let sound = ask(None, &[]);
    for wrong in [
        Ask { target: "/a b", ..sound },
        Ask { target: "", ..sound },
        Ask { target: "/a\r\nX: y", ..sound },
        Ask { host: "a\r\nX: y", ..sound },
        Ask { origin: Some("x\ny"), ..sound },
        Ask { protocols: &["a b"], ..sound },
        Ask { fields: &[("A b", "c")], ..sound },
        Ask { fields: &[("A", "c\r\nd")], ..sound },
    ] {
        let mut out = b"kept".to_vec();
        assert_eq!(handshake.write(&wrong, &mut out), Err(Rejection::Ask), "{wrong:?}");
        assert_eq!(out, b"kept");
    }
}

#[test]
fn answers_that_are_wrong_in_a_field_are_rejected() {
    let options = Options::default();
    let offered = ask(Some(&options), &["chat", "v2"]);
    let plain = ask(None, &[]);
    assert!(check(&plain, &reply("")).is_ok());
    for (ask, head, rejection) in [
        (&plain, reply("").replace("Upgrade: websocket\r\n", ""), Rejection::Upgrade),
        (&plain, reply("").replace("Upgrade: websocket", "Upgrade: h2c"), Rejection::Upgrade),
        (&plain, reply("Upgrade: websocket\r\n"), Rejection::Upgrade),
        (&plain, reply("").replace("Connection: Upgrade", "Connection: close"), Rejection::Upgrade),
        (&plain, reply("").replace("s3pP", "s3pQ"), Rejection::Accept),
        (&plain, reply("").replace("Sec-WebSocket-Accept", "X"), Rejection::Accept),
        (&plain, reply("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), Rejection::Accept),
        (&plain, reply("Sec-WebSocket-Protocol: chat\r\n"), Rejection::Protocol),
        (&offered, reply("Sec-WebSocket-Protocol: other\r\n"), Rejection::Protocol),
        (&offered, reply("Sec-WebSocket-Protocol: Chat\r\n"), Rejection::Protocol),
        (&offered, reply("Sec-WebSocket-Protocol: chat, v2\r\n"), Rejection::Protocol),
        (&plain, reply("Sec-WebSocket-Extensions: permessage-deflate\r\n"), Rejection::Extensions),
        (&offered, reply("Sec-WebSocket-Extensions: permessage-bzip2\r\n"), Rejection::Extensions),
        // It was asked to keep no context.
        (&offered, reply("Sec-WebSocket-Extensions: permessage-deflate\r\n"), Rejection::Extensions),
    ] {
        assert_eq!(check(ask, &head), Err(rejection), "{head}");
    }
    let status = reply("").replace("101 Switching Protocols", "403 Forbidden");
    assert!(matches!(check(&plain, &status), Err(Rejection::Status(status)) if status.code() == 403));
}

#[test]
fn answers_about_compression_are_held_to_the_offer() {
    let wide = takeover();
    let narrow = Options { server_window_bits_max: 11, client_window_bits_max: 10, ..wide };
    let answer = |options: &Options, answer: &str| {
        check(&ask(Some(options), &[]), &reply(&format!("Sec-WebSocket-Extensions: {answer}\r\n"))).map(
            |(_, deflate)| {
                let agreement = deflate.expect("an agreement");
                (agreement.of(ringway_ws::Role::Server), agreement.of(ringway_ws::Role::Client))
            },
        )
    };
    assert_eq!(answer(&wide, "permessage-deflate"), Ok(((true, 15), (true, 15))));
    assert_eq!(
        answer(
            &wide,
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9; client_no_context_takeover"
        ),
        Ok(((true, 8), (false, 9)))
    );
    assert_eq!(
        answer(&wide, "permessage-deflate; server_no_context_takeover"),
        Ok(((false, 15), (true, 15)))
    );
    assert_eq!(
        answer(&narrow, "permessage-deflate; server_max_window_bits=11"),
        Ok(((true, 11), (true, 10)))
    );
    for wrong in ["permessage-deflate", "permessage-deflate; server_max_window_bits=12"] {
        assert_eq!(answer(&narrow, wrong), Err(Rejection::Extensions), "{wrong}");
    }
    for wrong in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_no_context_takeover=1",
    ] {
        assert_eq!(answer(&wide, wrong), Err(Rejection::Extensions), "{wrong}");
    }
}
