//! Every request of these tests is fed split at every byte; the outcome must not depend on it.

use proptest::prelude::*;

use super::{Body, HeadScan, Limits, Request, Version};
use crate::method::Method;
use crate::refusal::Refusal;

/// What reading came to: nothing yet, or the request in words, or why not.
type Outcome = Result<Option<String>, Refusal>;

fn describe(bytes: &[u8], end: usize, limits: &Limits) -> Result<String, Refusal> {
    let request = Request::parse(&bytes[..end], limits)?;
    Ok(format!("{end} {request:?}"))
}

/// Feeds `bytes` as prefixes that end at `stops`, then whole.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = HeadScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return describe(bytes, end, limits).map(Some);
        }
    }
    Ok(None)
}

/// The outcome, the same at every split in two and byte by byte.
fn outcome(bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = feed(bytes, std::iter::empty(), limits);
    for split in 0..bytes.len() {
        assert_eq!(feed(bytes, std::iter::once(split), limits), whole, "{} at {split}", bytes.escape_ascii());
    }
    assert_eq!(feed(bytes, 0..bytes.len(), limits), whole, "{} by bytes", bytes.escape_ascii());
    whole
}

fn refused(bytes: &[u8], limits: &Limits) -> Option<Refusal> {
    outcome(bytes, limits).err()
}

/// Refusals that the request line alone brings about.
const LINES: &[(&str, Refusal)] = &[
    ("GET / HTTP/1.1\nHost: h\r\n\r\n", Refusal::BareLf),
    ("GET / HTTP/1.1\rHost: h\r\n\r\n", Refusal::BareCr),
    ("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", Refusal::BareCr),
    ("GET /\r HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::BareCr),
    ("GET /\n HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::BareLf),
    ("GET\r / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::BareCr),
    ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::BareLf),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::EmptyLines),
    (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::MethodToken),
    ("\0GET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::MethodToken),
    ("G\0T / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::MethodToken),
    ("GET\r\n\r\n", Refusal::MethodToken),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::MethodLength),
    ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::RequestLine),
    ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("GET /\tHTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("GET /\r\nHost: h\r\n\r\n", Refusal::RequestLine),
    ("GET / \r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / http/1.1\r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / HTTP/1\r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / HTTP/11.1\r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::VersionForm),
    ("GET / HTTP/1.\0\r\nHost: h\r\n\r\n", Refusal::ControlByte),
    ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Refusal::Version),
    ("GET / HTTP/0.9\r\nHost: h\r\n\r\n", Refusal::Version),
    ("PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
    ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("GET http:/a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::HostForm),
    ("GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::HostForm),
    ("GET http://h#a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetScheme),
    ("GET file:///a HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetScheme),
    ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Connect),
    ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
    ("CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::TargetForm),
];

/// Refusals that one field brings about, or several; the request line is put before them and `Host` too.
const FIELDS: &[(&str, Refusal)] = &[
    ("A: 1\nB: 2\r\n\r\n", Refusal::BareLf),
    ("A: 1\rB: 2\r\n\r\n", Refusal::BareCr),
    ("A: 1\r\r\n\r\n", Refusal::BareCr),
    ("A\r: 1\r\n\r\n", Refusal::BareCr),
    ("\rA: 1\r\n\r\n", Refusal::BareCr),
    ("A: \r1\r\n\r\n", Refusal::BareCr),
    ("A: 1\r\n\n", Refusal::BareLf),
    ("A: 1\n\r\n", Refusal::BareLf),
    ("A: 1\0\r\n\r\n", Refusal::ControlByte),
    ("A: \x01\r\n\r\n", Refusal::ControlByte),
    ("A: \x7f\r\n\r\n", Refusal::ControlByte),
    ("A\0: 1\r\n\r\n", Refusal::ControlByte),
    ("\0A: 1\r\n\r\n", Refusal::ControlByte),
    ("A: 1\r\n B: 2\r\n\r\n", Refusal::FoldedField),
    ("A: 1\r\n\tB\r\n\r\n", Refusal::FoldedField),
    (" A: 1\r\n\r\n", Refusal::FoldedField),
    ("A : 1\r\n\r\n", Refusal::SpaceBeforeColon),
    ("A\t: 1\r\n\r\n", Refusal::SpaceBeforeColon),
    ("A b: 1\r\n\r\n", Refusal::SpaceBeforeColon),
    (": 1\r\n\r\n", Refusal::FieldName),
    ("A\r\n\r\n", Refusal::FieldName),
    ("A(: 1\r\n\r\n", Refusal::FieldName),
    ("\u{e9}: 1\r\n\r\n", Refusal::FieldName),
    ("Content_Length: 1\r\n\r\n", Refusal::DisguisedField),
    ("transfer_encoding: chunked\r\n\r\n", Refusal::DisguisedField),
    ("Host: h\r\n\r\n", Refusal::HostRepeated),
    ("host: other\r\n\r\n", Refusal::HostRepeated),
    ("Content-Length: 1\r\ncontent-length: 1\r\n\r\n", Refusal::LengthRepeated),
    ("Content-Length: 1\r\nContent-Length: 2\r\n\r\n", Refusal::LengthRepeated),
    ("Content-Length: 1, 1\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: +1\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: -1\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 0x1\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 1 1\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 1_0\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 1.0\r\n\r\n", Refusal::LengthForm),
    ("Content-Length:\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: \u{661}\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 18446744073709551616\r\n\r\n", Refusal::LengthForm),
    ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::LengthAndCoding),
    ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", Refusal::LengthAndCoding),
    ("Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", Refusal::LengthAndCoding),
    ("Transfer-Encoding: chunked, gzip\r\n\r\n", Refusal::CodingOrder),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal::CodingOrder),
    ("Transfer-Encoding: chunked, chunked\r\n\r\n", Refusal::CodingOrder),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::CodingOrder),
    ("Transfer-Encoding: gzip\r\n\r\n", Refusal::CodingUnknown),
    ("Transfer-Encoding: gzip, chunked\r\n\r\n", Refusal::CodingUnknown),
    ("Transfer-Encoding: identity\r\n\r\n", Refusal::CodingUnknown),
    ("Transfer-Encoding: xchunked\r\n\r\n", Refusal::CodingUnknown),
    ("Transfer-Encoding: chunked;a=b\r\n\r\n", Refusal::CodingUnknown),
    ("Transfer-Encoding:\r\n\r\n", Refusal::CodingForm),
    ("Transfer-Encoding: ,chunked\r\n\r\n", Refusal::CodingForm),
    ("Transfer-Encoding: chunked,\r\n\r\n", Refusal::CodingForm),
    ("Transfer-Encoding: \"chunked\"\r\n\r\n", Refusal::CodingForm),
    ("Transfer-Encoding: chunked chunked\r\n\r\n", Refusal::CodingForm),
    ("Transfer-Encoding: \u{a0}chunked\r\n\r\n", Refusal::CodingForm),
    ("Expect: 200-maybe\r\n\r\n", Refusal::Expectation),
];

/// Refusals over `Host`; only the request line is put before them.
const HOSTS: &[(&str, Refusal)] = &[
    ("\r\n", Refusal::HostMissing),
    ("A: 1\r\n\r\n", Refusal::HostMissing),
    ("Host:\r\n\r\n", Refusal::HostForm),
    ("Host: a b\r\n\r\n", Refusal::HostForm),
    ("Host: a, b\r\n\r\n", Refusal::HostForm),
    ("Host: u@a\r\n\r\n", Refusal::HostForm),
    ("Host: a/b\r\n\r\n", Refusal::HostForm),
    ("Host: a:99999\r\n\r\n", Refusal::HostForm),
    ("Host: a:x\r\n\r\n", Refusal::HostForm),
    ("Host: \u{e9}\r\n\r\n", Refusal::HostForm),
];

#[test]
fn malformed_request_lines_are_refused_at_every_split() {
    for (bytes, refusal) in LINES {
        assert_eq!(refused(bytes.as_bytes(), &Limits::default()), Some(*refusal), "{bytes:?}");
    }
}

#[test]
fn malformed_and_ambiguous_fields_are_refused_at_every_split() {
    for (fields, refusal) in FIELDS {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}");
        assert_eq!(refused(bytes.as_bytes(), &Limits::default()), Some(*refusal), "{fields:?}");
    }
}

#[test]
fn missing_repeated_and_malformed_hosts_are_refused_at_every_split() {
    for (fields, refusal) in HOSTS {
        let bytes = format!("GET / HTTP/1.1\r\n{fields}");
        assert_eq!(refused(bytes.as_bytes(), &Limits::default()), Some(*refusal), "{fields:?}");
        let absolute = format!("GET http://h/ HTTP/1.1\r\n{fields}");
        assert_eq!(refused(absolute.as_bytes(), &Limits::default()), Some(*refusal), "absolute {fields:?}");
    }
}

#[test]
fn codings_are_refused_in_http_1_0_at_every_split() {
    let bytes = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(bytes, &Limits::default()), Some(Refusal::CodingVersion));
}

#[test]
fn limits_are_exact_at_every_split() {
    let bytes = b"GET /abc HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n";
    let exact = Limits { line_bytes_max: 17, head_bytes_max: 36, fields_max: 2 };
    assert_eq!(bytes.len(), 36);
    assert!(matches!(outcome(bytes, &exact), Ok(Some(_))));
    let line = Limits { line_bytes_max: 16, ..exact };
    assert_eq!(refused(bytes, &line), Some(Refusal::LineLength));
    let head = Limits { head_bytes_max: 35, ..exact };
    assert_eq!(refused(bytes, &head), Some(Refusal::HeadLength));
    let fields = Limits { fields_max: 1, ..exact };
    assert_eq!(refused(bytes, &fields), Some(Refusal::FieldCount));
    let behind_empty_line = [b"\r\n", &bytes[..]].concat();
    assert!(matches!(outcome(&behind_empty_line, &exact), Ok(Some(_))));
}

#[test]
fn endless_lines_and_heads_are_refused_without_their_end() {
    let limits = Limits::default();
    let line = [b"GET /", &vec![b'a'; 9000][..]].concat();
    assert_eq!(feed(&line, 0..line.len(), &limits), Err(Refusal::LineLength));
    let head = [&b"GET / HTTP/1.1\r\n"[..], &b"A: 1\r\n".repeat(4000)].concat();
    assert_eq!(feed(&head, (0..head.len()).step_by(7), &limits), Err(Refusal::HeadLength));
}

#[test]
fn parsing_checks_the_limits_by_itself() {
    let bytes = b"GET /abc HTTP/1.1\r\nHost: h\r\n\r\n";
    let line = Limits { line_bytes_max: 10, ..Limits::default() };
    assert_eq!(Request::parse(bytes, &line).err(), Some(Refusal::LineLength));
    let head = Limits { head_bytes_max: 20, ..Limits::default() };
    assert_eq!(Request::parse(bytes, &head).err(), Some(Refusal::HeadLength));
}

#[test]
fn a_part_of_a_head_is_never_read_as_one() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n";
    for end in 0..bytes.len() {
        assert!(Request::parse(&bytes[..end], &Limits::default()).is_err(), "{end}");
        assert_eq!(outcome(&bytes[..end], &Limits::default()), Ok(None));
    }
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(Request::parse(&longer, &Limits::default()).err(), Some(Refusal::HeadEnd));
}

/// Reads a head that must be accepted, at every split.
fn accepted<T>(bytes: &[u8], check: impl FnOnce(Request<'_>) -> T) -> T {
    let limits = Limits::default();
    assert!(matches!(outcome(bytes, &limits), Ok(Some(_))), "{:?}", outcome(bytes, &limits));
    check(Request::parse(bytes, &limits).unwrap())
}

#[test]
fn targets_come_apart_into_path_query_and_host() {
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        ("GET /", "/", None, "h"),
        ("GET /a/b?c=d?e", "/a/b", Some("c=d?e"), "h"),
        ("GET /?", "/", Some(""), "h"),
        ("GET //x", "//x", None, "h"),
        ("GET /\u{e9}#'\"<>{}|^`\\[]", "/\u{e9}#'\"<>{}|^`\\[]", None, "h"),
        ("GET http://o:81/a?b", "/a", Some("b"), "o:81"),
        ("GET HTTPS://O", "/", None, "O"),
        ("GET http://o?q", "/", Some("q"), "o"),
        ("GET http://[::1]:80/", "/", None, "[::1]:80"),
        ("OPTIONS *", "*", None, "h"),
        ("OPTIONS http://o", "*", None, "o"),
        ("OPTIONS http://o?q", "/", Some("q"), "o"),
    ];
    for (start, path, query, host) in cases {
        let bytes = format!("{start} HTTP/1.1\r\nHost: h\r\n\r\n");
        accepted(bytes.as_bytes(), |request| {
            assert_eq!(request.path(), path.as_bytes());
            assert_eq!(request.query(), query.map(str::as_bytes));
            assert_eq!(request.host().unwrap().as_bytes(), host.as_bytes());
            assert_eq!(request.is_absolute(), *host != "h");
            assert_eq!(request.line(), bytes.split("\r\n").next().unwrap().as_bytes());
            assert_eq!(request.target(), start.split(' ').nth(1).unwrap().as_bytes());
        });
    }
}

#[test]
fn connections_persist_as_version_and_options_say() {
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, field, keeps) in cases {
        let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n");
        assert_eq!(accepted(bytes.as_bytes(), |request| request.keep_alive()), keeps, "{version} {field}");
    }
}

#[test]
fn bodies_are_framed_by_length_or_chunks() {
    let cases = [
        ("", Body::None),
        ("Content-Length: 0\r\n", Body::Length(0)),
        ("content-LENGTH:\t 0042 \r\n", Body::Length(42)),
        ("Content-Length: 18446744073709551615\r\n", Body::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Body::Chunked),
        ("transfer-encoding:\t Chunked \r\n", Body::Chunked),
    ];
    for (field, body) in cases {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        assert_eq!(accepted(bytes.as_bytes(), |request| request.body()), body);
    }
}

#[test]
fn expectations_and_upgrades_need_their_circumstances() {
    let expects = |version: &str, fields: &str| {
        let bytes = format!("POST / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        accepted(bytes.as_bytes(), |request| request.expects_continue())
    };
    assert!(expects("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n"));
    assert!(!expects("1.1", "Expect: 100-continue\r\n"), "nothing follows");
    assert!(!expects("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n"));
    let upgrades = |version: &str, fields: &str| {
        let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
        accepted(bytes.as_bytes(), |request| request.upgrade().map(<[u8]>::to_vec))
    };
    let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(upgrades("1.1", fields), Some(b"websocket".to_vec()));
    assert_eq!(upgrades("1.0", fields), None);
    assert_eq!(upgrades("1.1", "Upgrade: websocket\r\n"), None);
}

#[test]
fn http_1_0_may_leave_the_host_out() {
    accepted(b"HEAD / HTTP/1.0\r\n\r\n", |request| {
        assert_eq!(request.host(), None);
        assert_eq!((request.method(), request.version()), (Method::Head, Version::Http10));
        assert_eq!(request.fields().count(), 0);
    });
    accepted(b"PROPFIND / HTTP/1.0\r\n\r\n", |request| {
        assert_eq!(request.method(), Method::Extension("PROPFIND"));
    });
}

#[test]
fn known_fields_are_found_repeated_ones_are_lists_or_nothing() {
    let bytes =
        b"GET / HTTP/1.1\r\nHost: h\r\nrange: bytes=0-1\r\nIf-Range: \"a\"\r\nIf-None-Match: \"a\"\r\n\
        X: 1\r\nif-none-match: \"b\"\r\nReferer: r\r\nReferer: s\r\nUser-Agent:  u a \r\nAccept-Encoding:\r\n\
        If-Match: *\r\nIf-Modified-Since: m\r\nIf-Unmodified-Since: n\r\nAccept: t\r\n\r\n";
    accepted(bytes, |request| {
        assert_eq!(request.range(), Some(&b"bytes=0-1"[..]));
        assert_eq!(request.if_range(), Some(&b"\"a\""[..]));
        assert_eq!(request.if_none_match().collect::<Vec<_>>(), [b"\"a\"", b"\"b\""]);
        assert_eq!(request.if_match().collect::<Vec<_>>(), [b"*"]);
        assert_eq!(request.referer(), None, "sent twice");
        assert_eq!(request.values(super::Known::Referer).count(), 2);
        assert_eq!(request.user_agent(), Some(&b"u a"[..]));
        assert_eq!(request.accept_encoding().collect::<Vec<_>>(), [b""]);
        assert_eq!(request.if_modified_since(), Some(&b"m"[..]));
        assert_eq!(request.if_unmodified_since(), Some(&b"n"[..]));
        assert_eq!(request.accept().count(), 1);
        assert_eq!(request.field("x"), Some(&b"1"[..]));
        assert_eq!(request.field("y"), None);
        assert!(request.has(super::Known::Host) && !request.has(super::Known::Cookie));
        assert_eq!(request.fields().count(), 14);
        assert_eq!(request.as_bytes(), bytes);
    });
}

/// Heads near the border of what is accepted: mostly right, with a few bytes put in or changed.
fn near_heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("GET / HTTP/1.1\r\n"),
        Just("POST /a%20b?c HTTP/1.1\r\n"),
        Just("OPTIONS * HTTP/1.0\r\n"),
        Just("GET http://h/ HTTP/1.1\r\n"),
        Just("\r\nHEAD /x HTTP/1.1\r\n"),
    ];
    let field = prop_oneof![
        Just("Host: h\r\n".to_string()),
        Just("Content-Length: 3\r\n".to_string()),
        Just("Transfer-Encoding: chunked\r\n".to_string()),
        Just("Connection: close\r\n".to_string()),
        "[A-Za-z-]{1,18}:[ \\t]?[ -~]{0,12}\r\n",
    ];
    let byte =
        prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'\t'), Just(0), Just(b':'), any::<u8>()];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), byte, any::<bool>()), 0..3);
    (line, proptest::collection::vec(field, 0..6), edits).prop_map(|(line, fields, edits)| {
        let mut bytes = format!("{line}{}\r\n", fields.concat()).into_bytes();
        for (index, byte, inserts) in edits {
            let at = index.index(bytes.len());
            if inserts { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_split_changes_any_outcome(bytes in near_heads()) {
        let _ = outcome(&bytes, &Limits::default());
        let _ = outcome(&bytes, &Limits { line_bytes_max: 20, head_bytes_max: 60, fields_max: 3 });
    }

    #[test]
    fn what_is_accepted_reads_the_same_to_another_parser(bytes in near_heads()) {
        let mut scan = HeadScan::new();
        let Ok(Some(end)) = scan.find(&bytes, &Limits::default()) else { return Ok(()) };
        let Ok(ours) = Request::parse(&bytes[..end], &Limits::default()) else { return Ok(()) };
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut fields);
        prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(end)));
        prop_assert_eq!(theirs.method, Some(ours.method().as_str()));
        prop_assert_eq!(theirs.path.map(str::as_bytes), Some(ours.target()));
        prop_assert_eq!(theirs.version, Some(u8::from(ours.version() == Version::Http11)));
        let ours: Vec<(&[u8], &[u8])> = ours.fields().map(|field| (field.name, field.value)).collect();
        let theirs: Vec<(&[u8], &[u8])> =
            theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        prop_assert_eq!(ours, theirs);
    }
}
