//! What RFC 9113 says a server must refuse, one by one, in the sections and the manner of h2spec.

use super::peer::{OPEN, Peer, WHOLE, data, fields, frame, headers, request, reset, settings, window_update};
use crate::server::{Driver, Server, Setup, age};
use ringway_h2::code::Code;
use ringway_h2::frame::{Kind, PREFACE, setting};
use ringway_testkit::Scratch;

on_both_drivers!(
    errors_of_a_connection,
    errors_of_a_stream,
    what_is_no_error,
    malformed_requests,
    beginnings
);

fn site() -> Scratch {
    let scratch = Scratch::new("h2-spec");
    age(&scratch.file("a.txt", b"hello"));
    scratch
}

fn server(driver: Driver, site: &Scratch) -> Server {
    Setup::new(driver, site.path()).start()
}

fn get(stream: u32) -> Vec<u8> {
    headers(stream, WHOLE, &request("GET", "/a.txt", &[]))
}

fn post(stream: u32) -> Vec<u8> {
    headers(stream, OPEN, &request("POST", "/a.txt", &[]))
}

fn errors_of_a_connection(driver: Driver) {
    let site = site();
    let server = server(driver, &site);
    for (name, frames, code) in message_faults().into_iter().chain(control_faults()) {
        let mut peer = Peer::open(&server);
        // Shown when something fails.
        eprintln!("{name}");
        peer.send(&frames.concat());
        peer.ends_with(code, name);
    }
    assert_eq!(server.get("/a.txt").status, 200);
    server.stop().cleanly();
}

/// A name, frames, and the code that the connection ends with.
type Fault = (&'static str, Vec<Vec<u8>>, Code);

fn begun() -> Vec<u8> {
    headers(1, 1, &request("GET", "/a.txt", &[]))
}

fn ping(stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(Kind::PING, 0, stream, payload)
}

/// What is wrong with messages and streams.
fn message_faults() -> Vec<Fault> {
    use Code as C;
    vec![
        ("4.2/2 DATA over the frame size", vec![post(1), data(1, 1, &[0; 16_385])], C::FRAME_SIZE_ERROR),
        ("4.2/3 HEADERS over the frame size", vec![headers(1, WHOLE, &[0; 16_385])], C::FRAME_SIZE_ERROR),
        ("4.3/1 invalid field block", vec![headers(1, WHOLE, &[0x40])], C::COMPRESSION_ERROR),
        (
            "4.3/2 PRIORITY within a block",
            vec![begun(), frame(Kind::PRIORITY, 0, 1, &[0; 5])],
            C::PROTOCOL_ERROR,
        ),
        ("4.3/3 HEADERS of another stream within", vec![begun(), get(3)], C::PROTOCOL_ERROR),
        ("5.1/1 idle: DATA", vec![data(1, 1, b"a")], C::PROTOCOL_ERROR),
        ("5.1/2 idle: RST_STREAM", vec![reset(1, C::CANCEL)], C::PROTOCOL_ERROR),
        ("5.1/3 idle: WINDOW_UPDATE", vec![window_update(1, 100)], C::PROTOCOL_ERROR),
        ("5.1/4 idle: CONTINUATION", vec![frame(Kind::CONTINUATION, 4, 1, &[])], C::PROTOCOL_ERROR),
        (
            "5.1/11 closed: HEADERS",
            vec![get(1), ping(0, &[0; 8]), post(3), reset(3, C::CANCEL), get(3)],
            C::STREAM_CLOSED,
        ),
        (
            "5.1/9 closed: DATA after RST_STREAM",
            vec![post(1), reset(1, C::CANCEL), data(1, 1, b"a")],
            C::STREAM_CLOSED,
        ),
        ("5.1.1/1 even stream", vec![get(2)], C::PROTOCOL_ERROR),
        ("5.1.1/2 stream below the last", vec![get(5), get(3)], C::PROTOCOL_ERROR),
        (
            "5.5/2 unknown frame within a block",
            vec![begun(), frame(Kind(0x16), 0, 0, &[0; 8])],
            C::PROTOCOL_ERROR,
        ),
        ("6.1/1 DATA on stream 0", vec![data(0, 1, b"a")], C::PROTOCOL_ERROR),
        ("6.1/3 padding as long as the payload", vec![post(1), data(1, 9, b"\x06test")], C::PROTOCOL_ERROR),
        ("6.2/2 HEADERS within a block", vec![begun(), begun()], C::PROTOCOL_ERROR),
        ("6.2/3 HEADERS on stream 0", vec![get(0)], C::PROTOCOL_ERROR),
        ("6.2/4 padding over the payload", vec![headers(1, WHOLE | 8, &[200, 0x82])], C::PROTOCOL_ERROR),
    ]
}

/// What is wrong with frames that carry no message.
fn control_faults() -> Vec<Fault> {
    use Code as C;
    let setting = |name, value| settings(&[(name, value)]);
    vec![
        ("6.3/1 PRIORITY on stream 0", vec![frame(Kind::PRIORITY, 0, 0, &[0; 5])], C::PROTOCOL_ERROR),
        ("6.4/1 RST_STREAM on stream 0", vec![reset(0, C::CANCEL)], C::PROTOCOL_ERROR),
        (
            "6.4/3 RST_STREAM of another length",
            vec![post(1), frame(Kind::RST_STREAM, 0, 1, &[0; 3])],
            C::FRAME_SIZE_ERROR,
        ),
        (
            "6.5/1 SETTINGS acknowledgement with payload",
            vec![frame(Kind::SETTINGS, 1, 0, &[0; 6])],
            C::FRAME_SIZE_ERROR,
        ),
        ("6.5/2 SETTINGS on a stream", vec![frame(Kind::SETTINGS, 0, 1, &[])], C::PROTOCOL_ERROR),
        (
            "6.5/3 SETTINGS of no multiple of 6",
            vec![frame(Kind::SETTINGS, 0, 0, &[0; 3])],
            C::FRAME_SIZE_ERROR,
        ),
        ("6.5.2/1 ENABLE_PUSH 2", vec![setting(setting::ENABLE_PUSH, 2)], C::PROTOCOL_ERROR),
        (
            "6.5.2/2 INITIAL_WINDOW_SIZE over 2^31-1",
            vec![setting(setting::INITIAL_WINDOW_SIZE, 1 << 31)],
            C::FLOW_CONTROL_ERROR,
        ),
        ("6.5.2/3 MAX_FRAME_SIZE below", vec![setting(setting::MAX_FRAME_SIZE, 16_383)], C::PROTOCOL_ERROR),
        ("6.5.2/4 MAX_FRAME_SIZE over", vec![setting(setting::MAX_FRAME_SIZE, 1 << 24)], C::PROTOCOL_ERROR),
        (
            "6.6 PUSH_PROMISE",
            vec![post(1), frame(Kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            C::PROTOCOL_ERROR,
        ),
        ("6.7/3 PING on a stream", vec![ping(1, &[0; 8])], C::PROTOCOL_ERROR),
        ("6.7/4 PING of another length", vec![ping(0, &[0; 6])], C::FRAME_SIZE_ERROR),
        ("6.8/1 GOAWAY on a stream", vec![frame(Kind::GOAWAY, 0, 1, &[0; 8])], C::PROTOCOL_ERROR),
        ("6.9/1 WINDOW_UPDATE by 0", vec![window_update(0, 0)], C::PROTOCOL_ERROR),
        (
            "6.9/3 WINDOW_UPDATE of another length",
            vec![frame(Kind::WINDOW_UPDATE, 0, 0, &[0; 3])],
            C::FRAME_SIZE_ERROR,
        ),
        (
            "6.9.1/2 the connection's window over 2^31-1",
            vec![window_update(0, 0x7fff_ffff), window_update(0, 1)],
            C::FLOW_CONTROL_ERROR,
        ),
        (
            "6.9.2/3 a setting moves a window over 2^31-1",
            vec![post(1), window_update(1, 1_000), setting(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)],
            C::FLOW_CONTROL_ERROR,
        ),
        (
            "6.10/2 CONTINUATION behind a whole block",
            vec![get(1), frame(Kind::CONTINUATION, 4, 1, &[])],
            C::PROTOCOL_ERROR,
        ),
        (
            "6.10/3 CONTINUATION on stream 0",
            vec![begun(), frame(Kind::CONTINUATION, 4, 0, &[])],
            C::PROTOCOL_ERROR,
        ),
        (
            "6.10/5 CONTINUATION of another stream",
            vec![begun(), frame(Kind::CONTINUATION, 4, 3, &[])],
            C::PROTOCOL_ERROR,
        ),
    ]
}

fn errors_of_a_stream(driver: Driver) {
    use Code as C;
    let site = site();
    let server = server(driver, &site);
    let with_length = |length| headers(1, OPEN, &request("POST", "/a.txt", &[("content-length", length)]));
    let cases: Vec<(&str, Vec<Vec<u8>>, u32, Code)> = vec![
        (
            "6.3/2 PRIORITY of another length",
            vec![post(1), frame(Kind::PRIORITY, 0, 1, &[0; 4])],
            1,
            C::FRAME_SIZE_ERROR,
        ),
        ("6.9/2 WINDOW_UPDATE by 0", vec![post(1), window_update(1, 0)], 1, C::PROTOCOL_ERROR),
        (
            "6.9.1/3 a stream's window over 2^31-1",
            vec![post(1), window_update(1, 0x7fff_ffff)],
            1,
            C::FLOW_CONTROL_ERROR,
        ),
        (
            "8.1/1 a second HEADERS without END_STREAM",
            vec![post(1), headers(1, OPEN, &fields(&[("x", "y")]))],
            1,
            C::PROTOCOL_ERROR,
        ),
        (
            "8.1.2.1/3 pseudo-header field in trailers",
            vec![post(1), headers(1, WHOLE, &fields(&[(":method", "GET")]))],
            1,
            C::PROTOCOL_ERROR,
        ),
        (
            "8.1.2.6/1 content-length and DATA differ",
            vec![with_length("4"), ping(0, &[0; 8]), data(1, 1, b"test!")],
            1,
            C::PROTOCOL_ERROR,
        ),
        (
            "8.1.2.6/2 and over several frames",
            vec![with_length("9"), data(1, 0, b"test"), data(1, 1, b"test")],
            1,
            C::PROTOCOL_ERROR,
        ),
    ];
    for (name, frames, stream, code) in cases {
        let mut peer = Peer::open(&server);
        peer.send(&frames.concat());
        let reset = peer.wait_for(Kind::RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (stream, code), "{name}");
        peer.lives();
        peer.get(9, "/a.txt");
        assert_eq!(peer.answer(9).body, b"hello", "{name}");
    }
    server.stop().cleanly();
}

fn malformed_requests(driver: Driver) {
    let site = site();
    let server = server(driver, &site);
    let normal = [(":method", "GET"), (":scheme", "http"), (":path", "/a.txt"), (":authority", "test")];
    let with = |more: &[(&'static str, &'static str)]| [&normal[..], more].concat();
    let without = |name: &str| normal.iter().copied().filter(|(other, _)| *other != name).collect::<Vec<_>>();
    let cases = [
        ("8.1.2/1 upper case", with(&[("X-TEST", "ok")])),
        ("8.1.2.1/1 unknown pseudo-header field", with(&[(":test", "ok")])),
        ("8.1.2.1/2 pseudo-header field of answers", with(&[(":status", "200")])),
        ("8.1.2.1/4 pseudo-header field behind others", [&[("x", "y")][..], &normal].concat()),
        ("8.1.2.2/1 connection", with(&[("connection", "keep-alive")])),
        ("8.1.2.2/2 te", with(&[("trailers", "test"), ("te", "trailers, deflate")])),
        ("8.1.2.3/1 empty path", [&without(":path")[..], &[(":path", "")]].concat()),
        ("8.1.2.3/2 no method", without(":method")),
        ("8.1.2.3/3 no scheme", without(":scheme")),
        ("8.1.2.3/4 no path", without(":path")),
        ("8.1.2.3/5 two methods", [&[(":method", "GET")][..], &normal].concat()),
        ("8.1.2.3/6 two schemes", [&[(":scheme", "http")][..], &normal].concat()),
        ("8.1.2.3/7 two paths", [&[(":path", "/")][..], &normal].concat()),
        ("8.2.1 line end in a value", with(&[("x", "a\r\nb: c")])),
        ("8.2.1 NUL in a value", with(&[("x", "a\0b")])),
        ("8.3.1 host and authority differ", with(&[("host", "other")])),
    ];
    let mut peer = Peer::open(&server);
    for (number, (name, list)) in cases.into_iter().enumerate() {
        let stream = u32::try_from(number).expect("few") * 2 + 1;
        peer.send(&headers(stream, WHOLE, &fields(&list)));
        let reset = peer.wait_for(Kind::RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (stream, Code::PROTOCOL_ERROR), "{name}");
    }
    peer.get(101, "/a.txt");
    assert_eq!(peer.answer(101).status, 200);
    server.stop().cleanly();
}

fn what_is_no_error(driver: Driver) {
    let site = site();
    let server = server(driver, &site);
    let block = request("GET", "/a.txt", &[]);
    let (first, second) = block.split_at(7);
    let padded = [&[2][..], &block, &[0; 2]].concat();
    let prior = [&[0x80, 0, 0, 1, 200][..], &block].concat();
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("generic/1 a priority before its stream", vec![frame(Kind::PRIORITY, 0, 1, &[0; 5]), get(1)]),
        ("generic/3.2 padded HEADERS", vec![headers(1, WHOLE | 8, &padded)]),
        ("generic/3.2 HEADERS with priority", vec![headers(1, WHOLE | 0x20, &prior)]),
        ("4.1/1 unknown frame", vec![frame(Kind(0x16), 0xff, 0, &[0; 8]), get(1)]),
        ("4.1/2 unknown flags", vec![frame(Kind::PING, 0x16, 0, &[0; 8]), get(1)]),
        ("5.1.1 streams may be left out", vec![get(1)]),
        ("6.5.3 unknown settings", vec![settings(&[(0xff, 1)]), get(1)]),
        (
            "6.10/1 several CONTINUATIONs",
            vec![
                headers(1, 1, first),
                frame(Kind::CONTINUATION, 0, 1, &[]),
                frame(Kind::CONTINUATION, 4, 1, second),
            ],
        ),
        (
            "7/1 unknown code in GOAWAY's sibling",
            vec![headers(3, OPEN, &block), reset(3, Code(0xff)), headers(5, WHOLE, &block)],
        ),
        ("8.1.2.2 te: trailers", vec![headers(1, WHOLE, &request("GET", "/a.txt", &[("te", "trailers")]))]),
        (
            "hpack 4.2 a change of the table's size",
            vec![headers(1, WHOLE, &[&[0x20, 0x3f, 0xe1, 0x1f][..], &block].concat())],
        ),
    ];
    for (name, frames) in cases {
        let mut peer = Peer::open(&server);
        peer.send(&frames.concat());
        let stream = if name.starts_with('7') { 5 } else { 1 };
        let answer = peer.answer(stream);
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]), "{name}");
        assert_eq!(answer.field("connection"), None);
        peer.lives();
    }
    server.stop().cleanly();
}

/// Section 3.4, and prior knowledge.
fn beginnings(driver: Driver) {
    let site = site();
    let server = server(driver, &site);
    // The preface in pieces, whose first looks like a head of HTTP/1.1.
    for split in [1, 3, 14, 16, 18, 20, 23] {
        let mut peer = Peer::silent(&server);
        peer.send(&PREFACE[..split]);
        assert_eq!(server.get("/a.txt").status, 200, "the others are served meanwhile");
        peer.send(&[&PREFACE[split..], &settings(&[]), &get(1)].concat());
        assert_eq!(peer.answer(1).body, b"hello", "split at {split}");
    }
    let mut peer = Peer::silent(&server);
    peer.send(&[&PREFACE[..18], b"XX\r\n\r\n"].concat());
    peer.ends_with(Code::PROTOCOL_ERROR, "http2/3.5/2 a bad preface");
    let mut peer = Peer::silent(&server);
    peer.send(&[&PREFACE[..], &frame(Kind::PING, 0, 0, &[0; 8])].concat());
    peer.ends_with(Code::PROTOCOL_ERROR, "3.4 SETTINGS come first");
    // Behind a request of HTTP/1.1 it is no preface.
    let mut client = server.client();
    client.send(&[b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n", &PREFACE[..]].concat()).expect("it reads");
    assert_eq!(client.answer(false).expect("an answer").status, 200);
    assert_eq!(client.answer(false).expect("an answer").status, 505);
    server.stop().cleanly();
}
