//! Section 8 of RFC 9113: requests, their fields, and what makes them malformed.

use ringway_http::head::{Body, Limits as HeadLimits, Request};

use super::*;

/// What comes of a request of these fields that is whole.
fn request(list: &[(&str, &str)]) -> Outcome {
    told(&[frame(Kind::HEADERS, 5, 1, &fields(list))])
}

#[track_caller]
fn head(list: &[(&str, &str)]) -> String {
    let outcome = request(list);
    outcome.is_quiet();
    match &outcome.told[..] {
        [Told::Request(1, head, true)] => head.clone(),
        other => panic!("{other:?}"),
    }
}

/// GET with more fields.
fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [GET, more].concat()
}

#[track_caller]
fn is_malformed(list: &[(&str, &str)]) {
    let outcome = request(list);
    assert_eq!(outcome.told, [], "{list:?}");
    outcome.is_reset(1, Code::PROTOCOL_ERROR);
}

#[test]
fn s8_1_1_a_malformed_request_costs_its_stream_only() {
    let bad = frame(Kind::HEADERS, 5, 1, &fields(&with(&[("Upper", "x")])));
    let outcome = told(&[bad, get(3)]);
    assert_eq!((outcome.fault, outcome.told.len()), (None, 1));
}

#[test]
fn s8_1_1_the_length_of_a_body_is_what_was_said() {
    let posted = |length: &str, frames: &[Vec<u8>]| {
        let list = [POST, &[("content-length", length)]].concat();
        let mut all = vec![frame(Kind::HEADERS, 4, 1, &fields(&list))];
        all.extend_from_slice(frames);
        told(&all)
    };
    let outcome = posted("5", &[data(1, 0, b"he"), data(1, 1, b"llo")]);
    outcome.is_quiet();
    assert_eq!(outcome.told[1], Told::Data(1, b"hello".to_vec(), true));
    posted("5", &[data(1, 0, b"hello"), data(1, 1, b"")]).is_quiet();
    posted("0", &[data(1, 1, b"")]).is_quiet();
    posted("5", &[data(1, 0, b"hello!")]).is_reset(1, Code::PROTOCOL_ERROR);
    posted("5", &[data(1, 1, b"hell")]).is_reset(1, Code::PROTOCOL_ERROR);
    posted("5", &[frame(Kind::HEADERS, 5, 1, &[])]).is_reset(1, Code::PROTOCOL_ERROR);
    is_malformed(&with(&[("content-length", "5")]));
    assert!(head(&with(&[("content-length", "0")])).contains("content-length: 0\r\n"));
    for length in ["", "+1", "-1", "1,1", "0x1", "99999999999999999999", "1 "] {
        is_malformed(&with(&[("content-length", length)]));
    }
    is_malformed(&with(&[("content-length", "0"), ("content-length", "0")]));
}

#[test]
fn s8_1_trailers_end_a_body() {
    let trailers = |flags, list: &[(&str, &str)]| frame(Kind::HEADERS, flags, 1, &fields(list));
    let outcome = told(&[post(1), data(1, 0, b"a"), trailers(5, &[("checksum", "1")])]);
    outcome.is_quiet();
    assert_eq!(outcome.told[1..], [Told::Data(1, b"a".to_vec(), true)]);
    told(&[post(1), trailers(4, &[("checksum", "1")])]).is_reset(1, Code::PROTOCOL_ERROR);
    for field in [(":path", "/"), ("content-length", "1"), ("host", "b"), ("Upper", "x"), ("te", "x")] {
        told(&[post(1), trailers(5, &[field])]).is_reset(1, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn s8_2_names_are_lower_case_tokens() {
    for name in ["Accept", "accepT", "", "a b", "a\u{7f}", "a\u{e9}", "a\0", "a\r\nb", "a:", ":", "a(b)"] {
        is_malformed(&with(&[(name, "x")]));
    }
    assert!(head(&with(&[("x-!#$%&'*+-.^_`|~09az", "x")])).contains("x-!#$%&'*+-.^_`|~09az: x\r\n"));
}

#[test]
fn s8_2_1_values_hold_no_line_ends_and_no_space_around() {
    for value in ["a\rb", "a\nb", "a\r\nHost: b", "a\0b", " a", "a ", "\ta", "a\t", "\u{1}", "a\u{7f}b"] {
        is_malformed(&with(&[("x", value)]));
        is_malformed(&with(&[("cookie", value)]));
        is_malformed(&with(&[("host", value)]));
    }
    assert!(head(&with(&[("x", "a \tb\u{e9}"), ("y", "")])).ends_with("x: a \tb\u{e9}\r\ny: \r\n\r\n"));
}

#[test]
fn s8_2_2_fields_of_a_connection_are_malformed() {
    for (name, value) in [
        ("connection", "close"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        is_malformed(&with(&[(name, value)]));
    }
    assert!(head(&with(&[("te", "trailers")])).contains("te: trailers\r\n"));
}

#[test]
fn s8_2_3_crumbs_of_cookies_are_joined() {
    let text = head(&with(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")]));
    assert_eq!(text, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\ncookie: a=b; c=d; e=f\r\n\r\n");
}

#[test]
fn s8_3_pseudo_fields_come_first_once_and_are_known() {
    is_malformed(&[GET[0], GET[1], GET[2], ("x", "y"), GET[3]]);
    for twice in GET {
        is_malformed(&with(&[*twice]));
        is_malformed(&[&[*twice], GET].concat());
    }
    is_malformed(&with(&[(":unknown", "x")]));
    is_malformed(&with(&[(":status", "200")]));
}

#[test]
fn s8_3_1_a_request_has_method_scheme_and_path() {
    for missing in 0..3 {
        let list: Vec<_> =
            GET.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
        is_malformed(&list);
    }
    is_malformed(&[]);
    let target = |path| [GET[0], GET[1], (":path", path), GET[3]];
    for path in ["", "a", "http://a/", "*", "/a b", "/a\r\nx: y", "/\u{0}", "/\u{7f}", "/\t"] {
        is_malformed(&target(path));
    }
    assert!(head(&target("/a?b=c%20d")).starts_with("GET /a?b=c%20d HTTP/1.1\r\n"));
    let asterisk = [(":method", "OPTIONS"), GET[1], (":path", "*"), GET[3]];
    assert!(head(&asterisk).starts_with("OPTIONS * HTTP/1.1\r\n"));
    for method in ["", "G ET", "GET\r\n", "G\u{e9}T"] {
        is_malformed(&[(":method", method), GET[1], GET[2], GET[3]]);
    }
    for scheme in ["", "ht tp", "1", "h\0"] {
        is_malformed(&[GET[0], (":scheme", scheme), GET[2], GET[3]]);
    }
}

#[test]
fn s8_3_1_authority_and_host_agree() {
    assert_eq!(head(&with(&[("host", "A")])), GET_HEAD, "one host in what comes out");
    is_malformed(&with(&[("host", "b")]));
    is_malformed(&with(&[("host", "a"), ("host", "b")]));
    let without = |more: &[(&'static str, &'static str)]| [&GET[..3], more].concat();
    assert_eq!(head(&without(&[("host", "b")])), "GET / HTTP/1.1\r\nhost: b\r\n\r\n");
    is_malformed(&without(&[("host", "b"), ("host", "b")]));
    // Neither: not malformed here, and refused as HTTP/1.1 refuses it.
    assert_eq!(head(&without(&[])), "GET / HTTP/1.1\r\n\r\n");
    for authority in ["user@a", "a b", "a\r\nx: y", "\u{e9}"] {
        is_malformed(&[GET[0], GET[1], GET[2], (":authority", authority)]);
    }
}

#[test]
fn s8_5_connect_has_an_authority_and_nothing_else() {
    let connect = |more: &[(&'static str, &'static str)]| [&[(":method", "CONNECT")], more].concat();
    assert!(
        head(&connect(&[(":authority", "a:443")])).starts_with("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n")
    );
    is_malformed(&connect(&[]));
    is_malformed(&connect(&[GET[3], GET[1], GET[2]]));
    is_malformed(&connect(&[GET[3], GET[2]]));
}

/// RFC 8441 section 4.
#[test]
fn extended_connect_is_malformed_unless_it_was_announced() {
    let list = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        GET[3],
    ];
    is_malformed(&list);
    is_malformed(&with(&[(":protocol", "websocket")]));
    let limits = Limits { has_connect_protocol: true, ..Limits::default() };
    let outcome = told_with(&opened(&[frame(Kind::HEADERS, 4, 1, &fields(&list))]), limits, idle);
    assert_eq!((outcome.fault, outcome.told.len()), (None, 1));
    assert_eq!(outcome.sent[0].payload[18..], [0, 8, 0, 0, 0, 1], "it is announced");
    let head = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                transfer-encoding: chunked\r\n\r\n";
    assert_eq!(outcome.told[0], Told::Request(1, head.to_owned(), false), "as HTTP/1.1 would ask");
    let outcome = told_with(&opened(&[frame(Kind::HEADERS, 5, 1, &fields(&list))]), limits, idle);
    assert!(outcome.told.is_empty(), "a tunnel that is closed before it is there: {:?}", outcome.told);
}

#[test]
fn field_lists_over_the_limit_are_told_of_and_nothing_is_lost() {
    let long = "x".repeat(6_000);
    let list = with(&[("a", &long), ("b", &long), ("c", &long)]);
    let block = fields(&list);
    let (first, second) = block.split_at(16_000);
    let frames = [
        // A field that both sides keep, in a section that is over.
        frame(Kind::HEADERS, 1, 1, first),
        frame(Kind::CONTINUATION, 4, 1, &[second, &[0x40, 1, b'k', 1, b'v']].concat()),
        frame(Kind::HEADERS, 5, 3, &[&fields(GET)[..], &[0xbe]].concat()),
    ];
    let outcome = told(&frames);
    assert_eq!(outcome.fault, None);
    assert_eq!(outcome.told[0], Told::Oversized(1, true));
    assert_eq!(
        outcome.told[1],
        Told::Request(3, "GET / HTTP/1.1\r\nhost: a\r\nk: v\r\n\r\n".to_owned(), true)
    );
}

/// A byte of a section may stand for kilobytes of fields: what is over the limit is not copied.
#[test]
fn a_section_that_unpacks_to_much_is_over_the_limit() {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Limits::default(), &mut buffers);
    let value = "x".repeat(3_900);
    let kept = [&[0x40, 1, b'k', 0x7f, 0xbd, 0x1d], value.as_bytes()].concat();
    let bomb = vec![0xbe; 16_000];
    let frames = [
        frame(Kind::HEADERS, 5, 1, &[fields(GET), kept].concat()),
        frame(Kind::HEADERS, 5, 3, &[fields(GET), bomb].concat()),
    ];
    let bytes = opened(&frames);
    let step = connection.receive(&bytes, 0, &mut buffers).unwrap();
    assert_eq!(step.event, Some(Event::Request { stream: 1, ends: true }));
    let step = connection.receive(&bytes[step.consumed..], 0, &mut buffers).unwrap();
    assert_eq!(step.event, Some(Event::Oversized { stream: 3, ends: true }));
    assert!(buffers.head.text.capacity() <= 64 * 1024, "16,000 times 3,900 bytes");
}

#[test]
fn what_comes_out_is_read_as_http1_reads_it() {
    let limits = HeadLimits::default();
    let text = head(&with(&[("accept", "*/*"), ("cookie", "a=b"), ("range", "bytes=0-1")]));
    let request = Request::parse(text.as_bytes(), &limits).unwrap();
    assert_eq!((request.path(), request.range()), (&b"/"[..], Some(&b"bytes=0-1"[..])));
    assert_eq!(request.host().unwrap().as_bytes(), b"a");
    assert_eq!(Request::parse(POST_HEAD.as_bytes(), &limits).unwrap().body(), Body::Chunked);
    assert_eq!(told(&[post(1)]).told, [Told::Request(1, POST_HEAD.to_owned(), false)]);
}
