//! Section 8 of RFC 9113 as a client sees it: answers, their fields, their bodies, and what makes them malformed.

use proptest::prelude::*;
use ringway_http::reply::{Delivery, Limits as ReplyLimits, Reply};

use super::*;

/// What comes of one answer of these fields that is whole.
fn answered(list: &[(&str, &str)]) -> Outcome {
    told(&[GET], &[head(1, true, list)])
}

#[track_caller]
fn is_malformed(list: &[(&str, &str)]) {
    let outcome = answered(list);
    assert_eq!(outcome.told.len(), 1, "{list:?}");
    outcome.is_broken(1, Code::PROTOCOL_ERROR);
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[(":status", "200")], more].concat()
}

#[test]
fn s8_1_an_answer_is_a_head_and_a_body() {
    let frames = [
        head(1, false, &with(&[("server", "x"), ("content-length", "5")])),
        data(1, 0, b"he"),
        data(1, 1, b"llo"),
    ];
    let outcome = told(&[GET], &frames);
    outcome.is_quiet();
    let expected = text("200", "server: x\r\ncontent-length: 5\r\n");
    assert_eq!(outcome.told, [Told::Answer(1, expected, false), Told::Data(1, b"hello".to_vec(), true)]);
    assert_eq!(outcome.left, 0);
}

#[test]
fn what_comes_out_says_in_http_1_how_the_body_ends() {
    let said = |request, list: &[(&str, &str)], ends| match &told(&[request], &[head(1, ends, list)]).told[..]
    {
        [Told::Answer(1, text, is_whole)] if *is_whole == ends => {
            let is_head = request == HEAD;
            let reply = Reply::parse(text.as_bytes(), is_head, &ReplyLimits::default()).expect("an answer");
            reply.delivery()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(said(GET, &with(&[]), true), Delivery::Length(0));
    assert_eq!(said(GET, &with(&[]), false), Delivery::Chunked);
    assert_eq!(said(GET, &with(&[("content-length", "7")]), false), Delivery::Length(7));
    assert_eq!(said(GET, &[(":status", "204")], true), Delivery::None);
    assert_eq!(said(GET, &[(":status", "304"), ("content-length", "7")], true), Delivery::None);
    assert_eq!(said(HEAD, &with(&[("content-length", "7")]), true), Delivery::None);
    assert_eq!(said(HEAD, &with(&[]), false), Delivery::None);
}

#[test]
fn s8_1_1_the_length_of_a_body_is_what_was_said() {
    let sent = |length: &str, frames: &[Vec<u8>]| {
        let mut all = vec![head(1, false, &with(&[("content-length", length)]))];
        all.extend_from_slice(frames);
        told(&[GET], &all)
    };
    sent("5", &[data(1, 0, b"hello"), data(1, 1, b"")]).is_quiet();
    sent("0", &[data(1, 1, b"")]).is_quiet();
    sent("5", &[data(1, 0, b"hello!")]).is_broken(1, Code::PROTOCOL_ERROR);
    sent("5", &[data(1, 1, b"hell")]).is_broken(1, Code::PROTOCOL_ERROR);
    sent("5", &[head(1, true, &[("a", "b")])]).is_broken(1, Code::PROTOCOL_ERROR);
    is_malformed(&with(&[("content-length", "5")]));
    is_malformed(&with(&[("content-length", "0"), ("content-length", "0")]));
    for length in ["", "+1", "-1", "1,1", "0x1", "99999999999999999999", "1 "] {
        is_malformed(&with(&[("content-length", length)]));
    }
}

#[test]
fn no_answer_to_head_and_none_without_content_has_a_body() {
    let status = |status, frame| {
        let request = if status == "200" { HEAD } else { GET };
        told(&[request], &[head(1, false, &[(":status", status), ("content-length", "4")]), frame])
    };
    for code in ["200", "204", "304"] {
        status(code, data(1, 1, b"")).is_quiet();
        status(code, data(1, 1, b"body")).is_broken(1, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn s8_1_interim_heads_come_before_the_real_one() {
    let interim = |code: &str, list: &[(&str, &str)]| head(1, false, &[&[(":status", code)], list].concat());
    let frames = [interim("100", &[]), interim("103", &[("link", "</a>")]), head(1, true, &with(&[]))];
    let outcome = told(&[POST], &frames);
    outcome.is_quiet();
    let expected = [
        Told::Interim(1, text("100", "")),
        Told::Interim(1, text("103", "link: </a>\r\n")),
        Told::Answer(1, text("200", "content-length: 0\r\n"), true),
    ];
    assert_eq!(outcome.told, expected);
    is_malformed(&[(":status", "100")]);
    // Section 8.6: there is no switching of protocols.
    told(&[GET], &[interim("101", &[])]).is_broken(1, Code::PROTOCOL_ERROR);
    told(&[GET], &[interim("100", &[("content-length", "0")])]).is_broken(1, Code::PROTOCOL_ERROR);
    let endless = vec![interim("102", &[]); 8];
    let limits = Limits { idle_frames_burst: 6, idle_frames_per_s: 0, ..Limits::client() };
    told_with(&[GET], &endless, limits, idle).is_fault(Fault::FrameFlood);
}

#[test]
fn s8_1_a_message_begins_with_its_head_and_trailers_end_it() {
    told(&[GET], &[data(1, 1, b"a")]).is_broken(1, Code::PROTOCOL_ERROR);
    let trailers = |ends, list: &[(&str, &str)]| {
        told(&[GET], &[head(1, false, &with(&[])), data(1, 0, b"a"), head(1, ends, list)])
    };
    let outcome = trailers(true, &[("checksum", "1")]);
    outcome.is_quiet();
    assert_eq!(outcome.told[1..], [Told::Data(1, b"a".to_vec(), true)]);
    trailers(false, &[("checksum", "1")]).is_broken(1, Code::PROTOCOL_ERROR);
    for field in [(":status", "200"), ("content-length", "1"), ("Upper", "x"), ("connection", "x")] {
        trailers(true, &[field]).is_broken(1, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn s8_3_2_the_status_comes_first_once_and_is_a_number() {
    is_malformed(&[]);
    is_malformed(&[("server", "x")]);
    is_malformed(&[("server", "x"), (":status", "200")]);
    is_malformed(&[(":status", "200"), (":status", "200")]);
    is_malformed(&[(":status", "200"), (":path", "/")]);
    is_malformed(&[(":status", "200"), (":unknown", "/")]);
    for status in ["", "20", "2000", "099", "+20", "20x", " 200", "2 0"] {
        is_malformed(&[(":status", status)]);
    }
    assert_eq!(answered(&[(":status", "999")]).told.len(), 1);
}

#[test]
fn s8_2_names_and_values_can_end_no_line() {
    for name in ["Server", "serveR", "", "a b", "a\u{7f}", "a\u{e9}", "a\0", "a\r\nb", "a:", ":", "a(b)"] {
        is_malformed(&with(&[(name, "x")]));
    }
    for value in ["a\rb", "a\nb", "a\r\nb: c", "a\0b", " a", "a ", "\ta", "a\t", "\u{1}", "a\u{7f}b"] {
        is_malformed(&with(&[("x", value)]));
    }
    let outcome =
        answered(&with(&[("x", "a \tb\u{e9}"), ("y", ""), ("set-cookie", "a"), ("set-cookie", "b")]));
    let fields = "x: a \tb\u{e9}\r\ny: \r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n";
    assert_eq!(outcome.told, [Told::Answer(1, text("200", fields), true)]);
}

#[test]
fn s8_2_2_fields_of_a_connection_are_malformed() {
    for name in ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"] {
        is_malformed(&with(&[(name, "x")]));
    }
}

#[test]
fn a_malformed_answer_costs_its_stream_only() {
    let outcome = told(&[GET, GET], &[head(1, true, &with(&[("Upper", "x")])), head(3, true, &with(&[]))]);
    assert_eq!((outcome.fault, outcome.told.len(), outcome.left), (None, 2, 0));
}

#[test]
fn heads_over_the_limit_cost_their_stream_only() {
    let limits = Limits { header_list_bytes_max: 200, ..Limits::client() };
    let long = "x".repeat(100);
    let frames = [
        // Kept in the table, for the next one: what is not wanted must be seen.
        frame(Kind::HEADERS, 4, 1, &[&[0x88, 0x40, 1, b'a', 100][..], long.as_bytes(), &[0xbe]].concat()),
        data(1, 1, b"body"),
        frame(Kind::HEADERS, 5, 3, &[0x88, 0xbe]),
    ];
    let outcome = told_with(&[GET, GET], &frames, limits, idle);
    let expected = [
        Told::Failed(1, Failure::Oversized),
        Told::Answer(3, text("200", &format!("a: {long}\r\ncontent-length: 0\r\n")), true),
    ];
    assert_eq!((outcome.fault, &outcome.told[..]), (None, &expected[..]));
    assert_eq!(outcome.more()[0].kind, Kind::RST_STREAM);
}

#[test]
fn s6_10_sections_are_continued_and_not_without_end() {
    let list = fields(&with(&[("a", "b")]));
    let pieces = [
        frame(Kind::HEADERS, 1, 1, &list[..3]),
        frame(Kind::CONTINUATION, 0, 1, &list[3..9]),
        frame(Kind::CONTINUATION, 4, 1, &list[9..]),
    ];
    let outcome = told(&[GET], &pieces);
    assert_eq!(outcome.told, [Told::Answer(1, text("200", "a: b\r\ncontent-length: 0\r\n"), true)]);
    let endless = [vec![pieces[0].clone()], vec![frame(Kind::CONTINUATION, 0, 1, b""); 9]].concat();
    told(&[GET], &endless).is_fault(Fault::BlockLength);
    told(&[GET], &[pieces[0].clone(), data(1, 0, b"")]).is_fault(Fault::BlockOrder);
    told(&[GET], &[frame(Kind::HEADERS, 5, 1, &[0x80])]).is_fault(Fault::Compression);
}

proptest! {
    /// Whatever a server sends as fields, the text is one head that HTTP/1.1 reads as whole as the stream is.
    #[test]
    fn heads_have_one_reading(
        list in proptest::collection::vec(
            ("[a-z-]{1,8}|content-length|:status|X", "[ -~]{0,6}|[0-9]{1,3}"), 0..6),
        status in 200..600_u16,
        ends in any::<bool>(),
    ) {
        let status = status.to_string();
        let mut all = vec![(":status", status.as_str())];
        all.extend(list.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let outcome = feed(&[GET], &[settings(&[]), head(1, ends, &all)].concat(), std::iter::empty(), Limits::client(), idle);
        prop_assert_eq!(outcome.fault, None);
        let Told::Answer(1, text, is_whole) = &outcome.told[0] else { return Ok(()) };
        prop_assert!(text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1);
        let reply = Reply::parse(text.as_bytes(), false, &ReplyLimits::default());
        let reply = reply.unwrap_or_else(|fault| panic!("{fault}: {text:?}"));
        let is_empty = matches!(reply.delivery(), Delivery::None | Delivery::Length(0));
        prop_assert!(*is_whole == ends && (!ends || is_empty) && reply.delivery() != Delivery::UntilClose);
    }
}
