//! Requests as they go out (RFC 9113 sections 3.4, 8.2 and 8.3.1), and what cannot be sent.

use super::*;
use crate::frame::{PREFACE, setting};
use crate::hpack::{Decoder, FieldSink};

#[derive(Default)]
struct List(Vec<(String, String)>);

impl FieldSink for List {
    type Class = ();

    fn classify(_name: &[u8], _value: &[u8]) {}

    fn field(&mut self, (): (), name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.0.push((text(name), text(value)));
    }
}

fn decode(decoder: &mut Decoder<()>, block: &[u8]) -> Vec<(String, String)> {
    let mut list = List::default();
    decoder.decode(block, &mut Vec::new(), &mut list).expect("sound");
    list.0
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The fields that a head becomes, the first time and the second.
fn fields_of(scheme: Scheme, head: &str) -> Vec<(String, String)> {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(scheme, Limits::client(), &mut buffers);
    let mut decoder = Decoder::default();
    let mut once = || {
        buffers.out.clear();
        connection.request(head.as_bytes(), true, &mut buffers).expect("it can be sent");
        let frames = sent(&buffers.out);
        assert_eq!((frames.len(), frames[0].kind, frames[0].flags), (1, Kind::HEADERS, 5));
        decode(&mut decoder, &frames[0].payload)
    };
    let first = once();
    assert_eq!(once(), first);
    first
}

#[test]
fn s3_4_the_client_begins_with_the_preface_and_settings() {
    let mut buffers = Buffers::default();
    let limits = Limits { stream_window_bytes: 70_000, connection_window_bytes: 100_000, ..Limits::client() };
    let connection = Connection::new(Scheme::Http, limits, &mut buffers);
    let frames = sent(buffers.out.strip_prefix(PREFACE).expect("it comes first"));
    let expected = [
        settings(&[
            (setting::ENABLE_PUSH, 0),
            (setting::MAX_HEADER_LIST_SIZE, 32 * 1024),
            (setting::INITIAL_WINDOW_SIZE, 70_000),
        ]),
        window_update(0, 100_000 - 65_535),
    ];
    assert_eq!(frames, sent(&expected.concat()));
    assert!(!connection.is_open() && connection.vacancies() == 100);
}

#[test]
fn s8_3_1_the_first_line_and_host_become_pseudo_fields() {
    let text = "GET /a?b HTTP/1.1\r\nX: y\r\nhOST:  a.org:80 \r\nAccept: */*\r\n\r\n";
    let expected = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/a?b"),
        (":authority", "a.org:80"),
        ("x", "y"),
        ("accept", "*/*"),
    ];
    assert_eq!(fields_of(Scheme::Http, text), pairs(&expected));
    let text = "OPTIONS * HTTP/1.0\r\n\r\n";
    assert_eq!(
        fields_of(Scheme::Https, text),
        pairs(&[(":method", "OPTIONS"), (":scheme", "https"), (":path", "*")])
    );
    for (method, path) in [("POST", "/"), ("GET", "/index.html"), ("PROPFIND", "/x")] {
        let fields = fields_of(Scheme::Https, &format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let expected = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "a")];
        assert_eq!(fields, pairs(&expected));
    }
}

#[test]
fn s8_2_2_fields_of_a_connection_are_left_out() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: te, close\r\nKeep-Alive: 5\r\nTE: Trailers\r\n\
                Proxy-Connection: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nB: c\r\n\r\n";
    assert_eq!(fields_of(Scheme::Http, text)[4..], pairs(&[("te", "trailers"), ("b", "c")]));
    let text = "GET / HTTP/1.1\r\nTE: gzip, trailers\r\n\r\n";
    assert_eq!(fields_of(Scheme::Http, text).len(), 3);
}

#[test]
fn every_field_arrives_whatever_the_table_does_with_it() {
    let names = [
        "Range",
        "Referer",
        "If-Range",
        "If-Match",
        "Forwarded",
        "X-Real-IP",
        "Traceparent",
        "X-Request-ID",
        "If-None-Match",
        "X-Forwarded-For",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "Cookie",
        "Authorization",
        "Content-Length",
        "User-Agent",
        "A-Name-That-Is-Longer-Than-Any-That-Is-Lowered-In-Place",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let fields = fields_of(Scheme::Http, &format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    let expected: Vec<(String, String)> =
        names.iter().map(|name| (name.to_lowercase(), "1".to_owned())).collect();
    assert_eq!(fields[3..], expected);
}

#[test]
fn what_recurs_is_short_the_second_time_and_what_changes_does_not_push_it_out() {
    let (mut connection, mut buffers) = asked(&[], Limits::client());
    let mut lengths = Vec::new();
    for number in 0..300 {
        buffers.out.clear();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a.example.org\r\nX-Forwarded-For: 192.0.2.{number}\r\nUser-Agent: curl/7.88.1\r\n\
             X-Request-ID: {number:0>32}\r\nAccept: text/html\r\n\r\n"
        );
        let stream = connection.request(head.as_bytes(), true, &mut buffers).expect("there is room");
        lengths.push(buffers.out.len());
        connection.reset(stream, Code::CANCEL, &mut buffers);
    }
    // Three indices, three pseudo fields, and what is new, whose number grows by two digits.
    let most = lengths[1] + 2;
    assert!(lengths[0] > most + 20 && lengths[1..].iter().all(|length| *length <= most), "{lengths:?}");
}

#[test]
fn s4_3_long_heads_are_continued() {
    let (mut connection, mut buffers) = asked(&[], Limits::client());
    let value = "\u{e9}".repeat(20_000);
    let head = format!("GET / HTTP/1.1\r\nX: {value}\r\n\r\n");
    connection.request(head.as_bytes(), true, &mut buffers).expect("there is room");
    let frames = sent(&buffers.out);
    assert_eq!(frames.iter().map(|sent| sent.kind).collect::<Vec<_>>()[1..], [Kind::CONTINUATION; 2]);
    assert_eq!(frames.iter().map(|sent| sent.flags).collect::<Vec<_>>(), [1, 0, 4]);
    let block: Vec<u8> = frames.iter().flat_map(|sent| sent.payload.clone()).collect();
    assert_eq!(decode(&mut Decoder::default(), &block)[3..], pairs(&[("x", &value)]));
}

#[test]
fn what_is_no_head_is_not_sent() {
    let (mut connection, mut buffers) = asked(&[], Limits::client());
    for text in [
        "",
        "\r\n\r\n",
        "GET / HTTP/1.1",
        "GET /\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET / HTTP/2\r\n\r\n",
        "GET * HTTP/1.1\r\n\r\n",
        "GET a HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\n\r\n",
        "CONNECT / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(connection.request(text.as_bytes(), true, &mut buffers), Err(Unsent::Head), "{text:?}");
    }
    assert_eq!((buffers.out.len(), connection.streams()), (0, 0));
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Ok(1), "no number was lost");
}

#[test]
fn s5_1_2_no_more_streams_than_both_sides_allow() {
    let limits = Limits { streams_max: 3, ..Limits::client() };
    let (mut connection, mut buffers) = asked(&[GET, GET], limits);
    assert_eq!(connection.vacancies(), 1);
    let bytes = settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]);
    connection.receive(&bytes, 0, &mut buffers).expect("sound");
    assert_eq!(connection.vacancies(), 0);
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Err(Unsent::Full));
    let bytes = settings(&[(setting::MAX_CONCURRENT_STREAMS, 1_000)]);
    connection.receive(&bytes, 0, &mut buffers).expect("sound");
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Ok(5));
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Err(Unsent::Full), "our own limit");
    connection.reset(1, Code::CANCEL, &mut buffers);
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Ok(7));
}
