//! Heads as a gateway passes them on: whatever a client sends, the next server reads one request, framed as it was told, and
//! nothing of what belongs to one connection; whatever a server answers, what is given back are fields of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::forwarded::{AddressText, Chain, ChainField};
use ringway_http::head::{Body, HeadScan, Limits, Request};
use ringway_http::relay::{
    Asking, Framing, RequestRules, encoded_path, is_spelling_of, write_reply, write_request,
};
use ringway_http::reply::{self, Reply, ReplyScan};
use ringway_http::target::normalise;

const ROOM: usize = 1 << 20;

fn pass_on(head: &[u8], framing: Framing, trusted: Option<ChainField>) {
    let limits = Limits::default();
    let Ok(Some(end)) = HeadScan::new().find(head, &limits) else { return };
    let Ok(request) = Request::parse(&head[..end], &limits) else { return };
    let rules = RequestRules {
        x_forwarded: true,
        forwarded: true,
        via: true,
        id_name: b"X-Request-Id",
        ..RequestRules::default()
    };
    let mut decoded = vec![0; request.path().len()];
    let Ok(path) = normalise(request.path(), &mut decoded) else { return };
    let mut escaped = vec![0; request.path().len() * 3];
    let passed_path = encoded_path(request.path(), path, b"", &mut escaped).expect("room for any path");
    assert!(is_spelling_of(passed_path, path));
    let peer = "192.0.2.1".parse().ok().map(AddressText::new);
    let asking = Asking {
        path: [b"", passed_path],
        query: request.query(),
        host: b"a.example",
        framing,
        peer,
        client: peer,
        trusted,
        id: b"1",
        ..Asking::default()
    };
    let mut memory = vec![0; ROOM];
    let Ok(len) = write_request(&request, &rules, &asking, &mut memory) else { return };
    // Longer by what is added.
    let wide = Limits { line_bytes_max: u32::MAX, head_bytes_max: u32::MAX, fields_max: u16::MAX };
    if len > ringway_http::head::HEAD_BYTES_CEILING {
        return;
    }
    assert_eq!(HeadScan::new().find(&memory[..len], &wide), Ok(Some(len)));
    let passed = Request::parse(&memory[..len], &wide).expect("a request again");
    let expected = match framing {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        Framing::Chunked => Body::Chunked,
    };
    assert_eq!(passed.body(), expected);
    assert_eq!(
        (passed.method(), passed.path(), passed.query()),
        (request.method(), passed_path, request.query())
    );
    assert!(passed.upgrade().is_none() && !passed.expects_continue() && passed.keep_alive());
    for name in ["te", "keep-alive", "proxy-connection", "proxy", "trailer"] {
        assert!(passed.field(name).is_none());
    }
    for field in [ChainField::XForwardedFor, ChainField::Forwarded] {
        // Behind us stands somebody who trusts us and nobody else.
        if trusted.is_none() {
            let chain = Chain::read(&passed, field).expect("what is written here has one reading");
            let us = "198.51.100.1".parse().expect("an address");
            assert_eq!(chain.client(us, |address| address == us).to_string(), "192.0.2.1");
        }
    }
}

fn give_back(head: &[u8]) {
    let limits = reply::Limits::default();
    let Ok(Some(end)) = ReplyScan::new().find(head, &limits) else { return };
    let Ok(reply) = Reply::parse(&head[..end], false, &limits) else { return };
    let mut memory = vec![0; end];
    if let Ok(told) = write_reply(&reply, &[], &mut memory) {
        let text = [b"HTTP/1.1 200 OK\r\n", &memory[..told.len], b"\r\n"].concat();
        let again =
            Reply::parse(&text, false, &reply::Limits { head_bytes_max: u32::MAX, fields_max: u16::MAX });
        let again = again.expect("fields again");
        assert!(again.announced_length().is_none() && again.field("connection").is_none());
        assert_eq!(again.delivery(), reply::Delivery::UntilClose);
    }
}

fuzz_target!(|input: (u8, u64, &[u8])| {
    let (choice, length, bytes) = input;
    let framing = match choice % 3 {
        0 => Framing::None,
        1 => Framing::Length(length),
        _ => Framing::Chunked,
    };
    let trusted = match choice / 3 % 3 {
        0 => None,
        1 => Some(ChainField::XForwardedFor),
        _ => Some(ChainField::Forwarded),
    };
    pass_on(bytes, framing, trusted);
    give_back(bytes);
});
