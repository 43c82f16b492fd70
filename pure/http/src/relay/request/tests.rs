//! Requests' heads as the next server sees them.

use proptest::prelude::*;

use super::*;
use crate::head::{Body, HeadScan, Limits};

const ALL: RequestRules<'_> = RequestRules {
    removed: &[],
    lines: b"",
    x_forwarded: true,
    forwarded: true,
    via: true,
    id_name: b"X-Request-Id",
};

const BARE: RequestRules<'_> =
    RequestRules { removed: &[], lines: b"", x_forwarded: false, forwarded: false, via: false, id_name: b"" };

fn text_of(address: &str) -> Option<AddressText> {
    Some(AddressText::new(address.parse().expect("an address")))
}

fn from<'a>(peer: &str) -> Asking<'a> {
    Asking {
        path: [b"/", b""],
        host: b"a.example",
        peer: text_of(peer),
        client: text_of(peer),
        ..Asking::default()
    }
}

fn passed(lines: &str, rules: &RequestRules<'_>, asking: &Asking<'_>) -> Result<String, RelayError> {
    let head = format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    let request = Request::parse(head.as_bytes(), &Limits::default()).expect("a request");
    let mut memory = [0; 4096];
    let len = write_request(&request, rules, asking, &mut memory)?;
    Ok(String::from_utf8_lossy(&memory[..len]).into_owned())
}

/// The lines that stand between `Host` and the end.
fn lines_of(lines: &str, rules: &RequestRules<'_>, asking: &Asking<'_>) -> String {
    let head = passed(lines, rules, asking).expect("a head");
    let lines = head.strip_prefix("GET / HTTP/1.1\r\nHost: a.example\r\n").expect("its beginning");
    lines.strip_suffix("\r\n").expect("its end").to_owned()
}

#[test]
fn what_belongs_to_one_connection_stays_behind() {
    let lines = "Accept: */*\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nTE: trailers\r\nCookie: a\r\n\
        X-Mine: 1\r\nProxy-Connection: close\r\nProxy: evil\r\nTrailer: a\r\nHTTP2-Settings: AAA\r\nUpgrade: h2c\r\n\
        Proxy-Authorization: b\r\nProxy-Authenticate: c\r\nkeep_alive: 1\r\nAccept-Language: de\r\n";
    let expected = "Accept: */*\r\nCookie: a\r\nAccept-Language: de\r\n";
    assert_eq!(lines_of(lines, &BARE, &from("192.0.2.1")), expected);
    assert_eq!(lines_of("", &BARE, &from("192.0.2.1")), "");
}

#[test]
fn who_asked_is_said_anew_and_what_a_client_says_of_it_stays_behind() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Server: x\r\nX_Forwarded_For: 1.1.1.1\r\nX-Request-ID: mine\r\nVia: 1.0 fred\r\n";
    let asking = Asking { is_secure: true, id: b"42", ..from("192.0.2.1") };
    let expected = "Via: 1.0 fred\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: a.example\r\nForwarded: for=192.0.2.1;host=a.example;proto=https\r\nX-Request-Id: 42\r\n\
        Via: 1.1 ringway\r\n";
    assert_eq!(lines_of(lines, &ALL, &asking), expected);
    // They stay behind also where nothing is written instead.
    assert_eq!(lines_of(lines, &BARE, &from("192.0.2.1")), "X-Request-ID: mine\r\nVia: 1.0 fred\r\n");
}

#[test]
fn a_trusted_peer_is_added_to() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nx-forwarded-for: 2001:db8::1\r\nX-Real-IP: 1.1.1.1\r\n\
        X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: b.example\r\nForwarded: for=evil\r\nX-Request-Id: theirs\r\n\
        X_Real_IP: 2.2.2.2\r\n";
    let trusted = Some(ChainField::XForwardedFor);
    let asking = Asking { trusted, id: b"42", client: text_of("1.1.1.1"), ..from("::1") };
    let expected = "X-Forwarded-Proto: https\r\nX-Real-IP: 1.1.1.1\r\nX-Forwarded-Host: b.example\r\nX-Request-Id: theirs\r\n\
        X-Forwarded-For: 1.1.1.1, 2001:db8::1, ::1\r\nForwarded: for=1.1.1.1;host=a.example;proto=http\r\n\
        Via: 1.1 ringway\r\n";
    assert_eq!(lines_of(lines, &ALL, &asking), expected);
}

#[test]
fn a_peer_that_writes_forwarded_is_believed_in_that_alone() {
    let lines = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\nForwarded: for=b\r\n";
    let trusted = Some(ChainField::Forwarded);
    let asking = Asking { trusted, client: text_of("1.1.1.1"), ..from("2001:db8::7") };
    let expected = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n\
        Forwarded: for=1.1.1.1, for=b, for=\"[2001:db8::7]\";host=a.example;proto=http\r\nVia: 1.1 ringway\r\n";
    assert_eq!(lines_of(lines, &ALL, &asking), expected);
}

#[test]
fn ids_of_trusted_peers_are_taken_over_if_they_are_some() {
    let trusted = Some(ChainField::XForwardedFor);
    let asking = Asking { trusted, id: b"42", ..from("192.0.2.1") };
    let rules = RequestRules { id_name: b"X-Request-Id", ..BARE };
    for (lines, expected) in [
        ("X-Request-Id: a\r\nX-Request-Id: b\r\n", "X-Request-Id: a\r\n".to_owned()),
        ("X-Request-Id: a b\r\n", "X-Request-Id: 42\r\n".to_owned()),
        ("X-Request-Id:\r\n", "X-Request-Id: 42\r\n".to_owned()),
        (&format!("X-Request-Id: {}\r\n", "x".repeat(129)), "X-Request-Id: 42\r\n".to_owned()),
    ] {
        assert_eq!(lines_of(lines, &rules, &asking), expected, "{lines}");
    }
}

#[test]
fn edits_take_away_what_was_sent_and_add_what_is_said() {
    let removed = [Box::from(&b"cookie"[..])];
    let rules = RequestRules { removed: &removed, lines: b"X-Added: 1\r\n", ..BARE };
    let lines = "A: 1\r\nCOOKIE: a=b\r\nB: 2\r\nCookie: c\r\n";
    assert_eq!(lines_of(lines, &rules, &from("192.0.2.1")), "A: 1\r\nB: 2\r\nX-Added: 1\r\n");
}

#[test]
fn the_request_line_and_the_host_are_those_of_the_next_server() {
    let cases = [
        ([&b""[..], &b""[..]], None, "GET / HTTP/1.1\r\n"),
        ([b"", b"/b"], Some(&b"q=1"[..]), "GET /b?q=1 HTTP/1.1\r\n"),
        ([b"/v1", b"/b"], Some(b""), "GET /v1/b? HTTP/1.1\r\n"),
        ([b"/v1", b""], None, "GET /v1 HTTP/1.1\r\n"),
        ([b"", b"*"], None, "GET * HTTP/1.1\r\n"),
    ];
    for (path, query, expected) in cases {
        let asking = Asking { path, query, host: b"up:1", ..Asking::default() };
        let head = passed("", &BARE, &asking).unwrap();
        assert_eq!(head, format!("{expected}Host: up:1\r\n\r\n"));
    }
}

#[test]
fn framing_is_never_the_clients() {
    for (lines, framing, expected) in [
        ("Content-Length: 5\r\n", Framing::Length(5), "Content-Length: 5\r\n"),
        ("Content-Length: 0005\r\n", Framing::Length(5), "Content-Length: 5\r\n"),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
        (
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            Framing::Length(1),
            "Content-Length: 1\r\n",
        ),
        ("Expect: 100-continue\r\nContent-Length: 5\r\n", Framing::Chunked, "Transfer-Encoding: chunked\r\n"),
        ("Content-Length: 0\r\n", Framing::None, ""),
    ] {
        let asking = Asking { framing, ..from("192.0.2.1") };
        assert_eq!(lines_of(lines, &BARE, &asking), expected, "{lines}");
    }
}

#[test]
fn connections_are_upgraded_or_closed_as_told() {
    let upgrade = Asking { upgrade: Some(b"websocket"), ..from("192.0.2.1") };
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    let expected = "Sec-WebSocket-Key: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    assert_eq!(lines_of(lines, &BARE, &upgrade), expected);
    assert_eq!(lines_of(lines, &BARE, &from("192.0.2.1")), "Sec-WebSocket-Key: x\r\n");
    let closing = Asking { closes: true, ..from("192.0.2.1") };
    assert_eq!(lines_of("", &BARE, &closing), "Connection: close\r\n");
}

#[test]
fn circles_and_endless_options_are_refused() {
    let via = |times: usize| format!("Via: 1.1 ringway{}\r\n", ", 1.1 ringway".repeat(times - 1));
    assert!(passed(&via(LOOPS_MAX - 1), &ALL, &from("192.0.2.1")).is_ok());
    assert_eq!(passed(&via(LOOPS_MAX), &ALL, &from("192.0.2.1")), Err(RelayError::Loop));
    let options: Vec<String> = (0..=super::super::CONNECTION_OPTIONS_MAX).map(|n| format!("x{n}")).collect();
    let lines = format!("Connection: {}\r\n", options.join(","));
    assert_eq!(passed(&lines, &ALL, &from("192.0.2.1")), Err(RelayError::Options));
}

#[test]
fn too_little_memory_is_said_at_every_length() {
    let head =
        b"POST /x HTTP/1.1\r\nHost: a\r\nA: b\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: q\r\nQ: 1\r\n\r\n";
    let request = Request::parse(head, &Limits::default()).unwrap();
    let trusted = Some(ChainField::XForwardedFor);
    let asking = Asking { framing: Framing::Length(7), trusted, id: b"1", query: Some(b"q"), ..from("::1") };
    let needed = write_request(&request, &ALL, &asking, &mut [0; 1000]).unwrap();
    for len in 0..needed {
        assert_eq!(write_request(&request, &ALL, &asking, &mut vec![0; len]), Err(RelayError::Full), "{len}");
    }
    assert_eq!(write_request(&request, &ALL, &asking, &mut vec![0; needed]), Ok(needed));
}

/// Heads full of what passing on is about.
fn heads() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("Connection: close, x-a\r\n".to_owned()),
        Just("Connection: host, content-length\r\n".to_owned()),
        Just("Upgrade: websocket\r\n".to_owned()),
        Just("X-Forwarded-For: 1.2.3.4\r\n".to_owned()),
        Just("Forwarded: for=\"[::1]\"\r\n".to_owned()),
        Just("Via: 1.1 ringway\r\n".to_owned()),
        "(X-A|x_a|TE|Keep-Alive|Expect2|Proxy|X-Request-Id):[ \\t]*[ -~]{0,9}\r\n",
    ];
    let framing =
        prop_oneof![Just(""), Just("Content-Length: 7\r\n"), Just("Transfer-Encoding: chunked\r\n")];
    (proptest::collection::vec(field, 0..6), framing).prop_map(|(fields, framing)| {
        format!("POST /x?y HTTP/1.1\r\nHost: a\r\n{}{framing}\r\n", fields.concat())
    })
}

proptest! {
    #[test]
    fn the_next_server_reads_one_request_framed_as_told(
        head in heads(),
        framing in prop_oneof![Just(Framing::None), (0..9_u64).prop_map(Framing::Length), Just(Framing::Chunked)],
        trusted in prop_oneof![Just(None), Just(Some(ChainField::XForwardedFor)), Just(Some(ChainField::Forwarded))],
        upgrades in any::<bool>(),
    ) {
        let Ok(request) = Request::parse(head.as_bytes(), &Limits::default()) else { return Ok(()) };
        let upgrade = upgrades.then_some(&b"websocket"[..]);
        let asking = Asking { framing, trusted, upgrade, id: b"1", ..from("192.0.2.1") };
        let mut memory = [0; 2048];
        let len = write_request(&request, &ALL, &asking, &mut memory).unwrap();
        let limits = Limits::default();
        prop_assert_eq!(HeadScan::new().find(&memory, &limits), Ok(Some(len)));
        let passed = Request::parse(&memory[..len], &limits).unwrap();
        let expected = match framing {
            Framing::None => Body::None,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked,
        };
        prop_assert_eq!(passed.body(), expected);
        prop_assert_eq!(passed.method(), request.method());
        prop_assert_eq!(passed.upgrade(), upgrade);
        prop_assert!(!passed.expects_continue());
        prop_assert_eq!(passed.host().map(|host| host.as_bytes()), Some(&b"a.example"[..]));
        prop_assert!(passed.field("te").is_none() && passed.field("keep-alive").is_none());
        let chains = passed.fields().filter(|field| field.name.eq_ignore_ascii_case(b"x-forwarded-for"));
        let chains: Vec<_> = chains.collect();
        prop_assert_eq!(chains.len(), 1);
        prop_assert!(chains[0].value.ends_with(b"192.0.2.1"));
    }
}
