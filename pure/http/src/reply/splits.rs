//! Every answer of these tests is fed split at every byte; the outcome must not depend on it.

use proptest::prelude::*;

use super::{Delivery, Fault, Likeness, Limits, Reply, ReplyScan};
use crate::head::Version;
use crate::refusal::Refusal;

/// What reading came to: nothing yet, or the answer in words, or why not.
type Outcome = Result<Option<String>, Fault>;

fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = ReplyScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return Reply::parse(&bytes[..end], false, limits).map(|reply| Some(format!("{end} {reply:?}")));
        }
    }
    Ok(None)
}

fn outcome(bytes: &[u8], limits: &Limits) -> Outcome {
    let whole = feed(bytes, std::iter::empty(), limits);
    for split in 0..bytes.len() {
        assert_eq!(feed(bytes, std::iter::once(split), limits), whole, "{} at {split}", bytes.escape_ascii());
    }
    assert_eq!(feed(bytes, 0..bytes.len(), limits), whole, "{} by bytes", bytes.escape_ascii());
    whole
}

fn read<'b>(text: &'b str, to_head: bool) -> Reply<'b> {
    let limits = Limits::default();
    outcome(text.as_bytes(), &limits).expect("an answer").expect("a whole one");
    let end = ReplyScan::new().find(text.as_bytes(), &limits).expect("sound").expect("whole");
    Reply::parse(&text.as_bytes()[..end], to_head, &limits).expect("an answer")
}

const REFUSED: &[(&str, Fault)] = &[
    ("\x16\x03\x01", Fault::NotHttp),
    ("SSH-2.0-x\r\n", Fault::NotHttp),
    ("http/1.1 200 OK\r\n\r\n", Fault::NotHttp),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", Fault::NotHttp),
    ("HTTP/1.2 200 OK\r\n\r\n", Fault::Version),
    ("HTTP/2.0 200 OK\r\n\r\n", Fault::Version),
    ("HTTP/1 200 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/11.1 200 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1  200 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 20 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 2x0 OK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 200 O\0K\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 200 O\rK\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1\r\n\r\n", Fault::StatusLine),
    ("HTTP/1.1 200 OK\n\r\n", Fault::Head(Refusal::BareLf)),
    ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Fault::Head(Refusal::BareLf)),
    ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", Fault::Head(Refusal::FoldedField)),
    ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Fault::Head(Refusal::SpaceBeforeColon)),
    ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Fault::Head(Refusal::FieldName)),
    ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", Fault::Head(Refusal::ControlByte)),
    ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Fault::Head(Refusal::LengthForm)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n", Fault::Head(Refusal::LengthForm)),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
        Fault::Head(Refusal::LengthRepeated),
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        Fault::Head(Refusal::LengthAndCoding),
    ),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Fault::Head(Refusal::CodingVersion)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Fault::Head(Refusal::CodingOrder)),
];

#[test]
fn what_is_no_answer_is_refused_for_its_own_reason() {
    let limits = Limits::default();
    for (text, fault) in REFUSED {
        assert_eq!(outcome(text.as_bytes(), &limits), Err(*fault), "{text:?}");
        assert!(!fault.reason().is_empty());
    }
}

#[test]
fn bodies_end_as_the_rfc_says() {
    let cases: &[(&str, bool, Delivery)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", false, Delivery::Length(12)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", true, Delivery::None),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, Delivery::Length(0)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", false, Delivery::None),
        ("HTTP/1.1 204 No Content\r\n\r\n", false, Delivery::None),
        ("HTTP/1.1 100 Continue\r\n\r\n", false, Delivery::None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Delivery::Chunked),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n", false, Delivery::Chunked),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, Delivery::UntilClose),
        ("HTTP/1.1 200 OK\r\n\r\n", false, Delivery::UntilClose),
    ];
    for (text, to_head, delivery) in cases {
        assert_eq!(read(text, *to_head).delivery(), *delivery, "{text:?}");
    }
    assert_eq!(
        read("HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", false).announced_length(),
        Some(12)
    );
}

#[test]
fn connections_live_on_as_the_rfc_says() {
    let cases: &[(&str, bool)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
    ];
    for (text, keep_alive) in cases {
        assert_eq!(read(text, false).keep_alive(), *keep_alive, "{text:?}");
    }
}

#[test]
fn fields_are_found_ignoring_case_and_interim_answers_are_told() {
    let reply = read("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX:  y z \r\n\r\n", false);
    assert!(reply.is_interim());
    assert_eq!(
        (reply.field("link"), reply.field("x"), reply.field("y")),
        (Some(&b"</a>"[..]), Some(&b"y z"[..]), None)
    );
    assert_eq!(reply.fields().count(), 2);
    assert!(!read("HTTP/1.1 101 Switching Protocols\r\n\r\n", false).is_interim());
    assert_eq!(read("HTTP/1.0 200 OK\r\n\r\n", false).version(), Version::Http10);
}

#[test]
fn limits_count_exactly() {
    let limits = Limits { head_bytes_max: 25, fields_max: 1 };
    assert!(outcome(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", &limits).is_ok_and(|reply| reply.is_some()));
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\nA: bc\r\n\r\n", &limits), Err(Fault::HeadLength));
    let two = b"HTTP/1.1 200 OK\r\nA:\r\nB:\r\n\r\n";
    assert_eq!(outcome(two, &Limits { head_bytes_max: 100, ..limits }), Err(Fault::FieldCount));
    let endless = Limits { head_bytes_max: u32::MAX, fields_max: u16::MAX };
    let long = [b"HTTP/1.1 200 ".as_slice(), &[b'a'; 65_535 - 13]].concat();
    assert_eq!(ReplyScan::new().find(&long[..65_534], &endless), Ok(None));
    assert_eq!(ReplyScan::new().find(&long, &endless), Err(Fault::HeadLength));
}

#[test]
fn a_head_that_is_cut_is_the_callers_mistake() {
    let limits = Limits::default();
    for cut in [&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.1 200 OK\r\nA: b\r\n", b"HTTP/1.1 200 OK\r\n\r\nA", b""]
    {
        assert!(Reply::parse(cut, false, &limits).is_err(), "{}", cut.escape_ascii());
    }
}

const DATED: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\n";

#[test]
fn a_repeated_head_may_differ_in_its_date_only() {
    let reply = read(DATED, false);
    let likeness = Likeness::of(&reply);
    let same = |text: &str| likeness.is_repeated(DATED.as_bytes(), text.as_bytes());
    assert!(same(DATED));
    assert!(same(&format!("{DATED}hello")));
    assert!(same(&DATED.replace("Sun, 06 Nov 1994 08:49:37", "Mon, 07 Nov 1994 18:59:38")));
    assert!(!same(&DATED[..DATED.len() - 1]), "not whole");
    assert!(!same(&DATED.replace("Length: 5", "Length: 6")));
    assert!(!same(&DATED.replace("37 GMT", "37\r\nMT")), "a line end");
    assert!(!same(&DATED.replace("37 GMT", "37 GM ")), "a space at the end");
    assert!(!same(&DATED.replace("200", "404")));
    let undated = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false);
    assert!(Likeness::of(&undated).is_repeated(undated.as_bytes(), undated.as_bytes()));
    let twice = read("HTTP/1.1 200 OK\r\nDate: a\r\nDate: b\r\nContent-Length: 5\r\n\r\n", false);
    let other = String::from_utf8_lossy(twice.as_bytes()).replace("Date: b", "Date: c");
    assert!(!Likeness::of(&twice).is_repeated(twice.as_bytes(), other.as_bytes()));
}

/// What a caller reads off an answer.
fn meaning(bytes: &[u8]) -> Option<(usize, u16, Delivery, bool, bool)> {
    let limits = Limits::default();
    let end = ReplyScan::new().find(bytes, &limits).ok()??;
    let reply = Reply::parse(&bytes[..end], false, &limits).ok()?;
    Some((end, reply.status().code(), reply.delivery(), reply.keep_alive(), reply.is_interim()))
}

/// An answer that is mostly right.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("Content-Length: 5\r\n".to_owned()),
        Just("Connection: close\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        "(Date|DATE|Server): [ -~]{0,12}\r\n",
        "[A-Za-z]{1,6}:[ \\t]?[ -~]{0,9}\r\n",
    ];
    let fields = proptest::collection::vec(field, 0..4);
    (100..600_u16, fields, 0..60_usize, any::<u8>(), any::<bool>()).prop_map(
        |(status, fields, at, byte, hit)| {
            let mut bytes = format!("HTTP/1.1 {status} x\r\n{}\r\nrest", fields.concat()).into_bytes();
            if hit && at < bytes.len() {
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn no_split_changes_an_outcome(bytes in answers()) {
        outcome(&bytes, &Limits::default()).ok();
    }

    #[test]
    fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        outcome(&bytes, &Limits::default()).ok();
        Reply::parse(&bytes, false, &Limits::default()).ok();
    }

    #[test]
    fn what_is_taken_for_repeated_means_the_same(first in answers(), at in 0..80_usize, byte in any::<u8>()) {
        let limits = Limits::default();
        let Ok(Some(end)) = ReplyScan::new().find(&first, &limits) else { return Ok(()) };
        let Ok(reply) = Reply::parse(&first[..end], false, &limits) else { return Ok(()) };
        let likeness = Likeness::of(&reply);
        prop_assert!(likeness.is_repeated(&first, &first));
        let mut second = first.clone();
        if let Some(place) = second.get_mut(at) {
            *place = byte;
        }
        if likeness.is_repeated(&first, &second) {
            prop_assert_eq!(meaning(&first), meaning(&second));
        }
    }

    #[test]
    fn another_parser_agrees(bytes in answers()) {
        let Some((end, status, ..)) = meaning(&bytes) else { return Ok(()) };
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut theirs = httparse::Response::new(&mut fields);
        prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(end)));
        prop_assert_eq!(theirs.code, Some(status));
    }
}
