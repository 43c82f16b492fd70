//! Every head of these tests is fed split at every byte; the outcome must not depend on it.

use proptest::prelude::*;

use super::{AnswerHead, AnswerScan, Fault};
use crate::reply::Limits;

/// What reading came to: nothing yet, or the answer in words, or why not.
type Outcome = Result<Option<String>, Fault>;

fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = AnswerScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return AnswerHead::parse(&bytes[..end], limits).map(|answer| Some(format!("{end} {answer:?}")));
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

fn read(text: &str) -> AnswerHead<'_> {
    let limits = Limits::default();
    outcome(text.as_bytes(), &limits).expect("an answer").expect("a whole one");
    let end = AnswerScan::new().find(text.as_bytes(), &limits).expect("sound").expect("whole");
    AnswerHead::parse(&text.as_bytes()[..end], &limits).expect("an answer")
}

const REFUSED: &[(&str, Fault)] = &[
    ("\n", Fault::Empty),
    ("\r\nContent-Type: a/b\r\n\r\n", Fault::Empty),
    ("<html>\n\n", Fault::FieldName),
    ("Traceback (most recent call last):\n\n", Fault::FieldName),
    ("a b: c\n\n", Fault::FieldName),
    (": c\n\n", Fault::FieldName),
    ("A : c\n\n", Fault::FieldName),
    ("A: b\n c\n\n", Fault::FoldedField),
    ("\tA: b\n\n", Fault::FoldedField),
    ("A: b\rc\n\n", Fault::ControlByte),
    ("A: b\0\n\n", Fault::ControlByte),
    ("A: b\r\r\n\r\n", Fault::ControlByte),
    ("Status: \n\n", Fault::Status),
    ("Status: 20\n\n", Fault::Status),
    ("Status: 2000\n\n", Fault::Status),
    ("Status: 100 Continue\n\n", Fault::Status),
    ("Status: 101\n\n", Fault::Status),
    ("Status: OK\n\n", Fault::Status),
    ("Status: +20\n\n", Fault::Status),
    ("Status: 200\nstatus: 200\n\n", Fault::Repeated),
    ("HTTP/1.1 200 OK\nStatus: 200\n\n", Fault::Repeated),
    ("HTTP/1.1 100 Continue\n\n", Fault::Status),
    ("HTTP/1.1\n\n", Fault::Status),
    ("HTTP/11.1 200 OK\n\n", Fault::Status),
    ("HTTP/1.1 200 O\0K\n\n", Fault::Status),
    ("Location: /a\nLocation: /b\n\n", Fault::Repeated),
    ("Content-Length: x\n\n", Fault::Length),
    ("Content-Length: 1, 1\n\n", Fault::Length),
    ("Content-Length: 1\nContent-Length: 2\n\n", Fault::Length),
];

#[test]
fn what_is_no_answer_is_refused_for_its_own_reason() {
    let limits = Limits::default();
    for (text, fault) in REFUSED {
        assert_eq!(outcome(text.as_bytes(), &limits), Err(*fault), "{text:?}");
        assert!(!fault.reason().is_empty());
    }
    assert_eq!(AnswerHead::parse(b"A: b\n", &limits).err(), Some(Fault::HeadEnd));
    assert_eq!(AnswerHead::parse(b"", &limits).err(), Some(Fault::HeadEnd));
}

#[test]
fn limits_count_exactly() {
    let limits = Limits { head_bytes_max: 12, fields_max: 2 };
    assert!(outcome(b"A: b\nC: dd\n\n", &limits).is_ok_and(|found| found.is_some()));
    assert_eq!(outcome(b"A: b\nC: ddd\n\n", &limits), Err(Fault::HeadLength));
    assert_eq!(outcome(b"aaaaaaaaaaaaaaaaaaaaaaaa", &limits), Err(Fault::HeadLength));
    assert_eq!(outcome(b"A:\nB:\nC:\n\n", &limits), Err(Fault::FieldCount));
}

#[test]
fn statuses_and_redirects_are_those_of_the_rfc() {
    // Text, status, local redirect.
    let cases: &[(&str, u16, Option<&str>)] = &[
        ("Content-Type: text/html\n\n", 200, None),
        ("Content-Type: text/html\r\n\r\n", 200, None),
        ("Status: 404 Not Found\r\nContent-Type: a/b\n\r\n", 404, None),
        ("Status:500\n\n", 500, None),
        ("HTTP/1.0 201 Created\nA: b\n\n", 201, None),
        ("HTTP/1.1 204\r\n\r\n", 204, None),
        ("Location: /other?x=y\n\n", 302, Some("/other?x=y")),
        ("Location: /other\nContent-Type: text/html\n\n", 302, Some("/other")),
        ("Location: /other\nSet-Cookie: a=b\n\n", 302, None),
        ("Location: //elsewhere.example/\n\n", 302, None),
        ("Location: https://elsewhere.example/\n\n", 302, None),
        ("Status: 303 See Other\nLocation: /other\n\n", 303, None),
        ("Location:\nA: b\n\n", 200, None),
    ];
    for (text, status, local) in cases {
        let answer = read(text);
        assert_eq!(answer.status().code(), *status, "{text:?}");
        assert_eq!(answer.local_redirect(), local.map(str::as_bytes), "{text:?}");
    }
}

#[test]
fn what_goes_on_to_the_client_is_what_it_may_be_told() {
    let answer = read(
        "Status: 200\nContent-Type: text/html\nContent-Length: 12\nConnection: close\nKeep-Alive: 1\nTransfer-Encoding: chunked\n\
         Upgrade: x\nTrailer: y\nDate: never\nServer: mine\nSet-Cookie: a=b\nset-cookie: c=d\nX-Accel-Redirect: /p\n\nbody",
    );
    let fields: Vec<String> = answer
        .fields()
        .map(|field| format!("{}={}", field.name.escape_ascii(), field.value.escape_ascii()))
        .collect();
    assert_eq!(fields, ["Content-Type=text/html", "Set-Cookie=a=b", "set-cookie=c=d", "X-Accel-Redirect=/p"]);
    assert_eq!((answer.content_length(), answer.has_transfer_coding()), (Some(12), true));
    assert_eq!(answer.field("date"), Some(&b"never"[..]));
    assert_eq!(answer.field("none"), None);
}

proptest! {
    #[test]
    fn no_split_changes_anything(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "(Status: [0-9]{2,4}|Location: [a-z/]{0,6}|[A-Za-z :]{0,8}|Content-Length: [0-9]{0,3})(\r?\n){1,2}([A-Z]: [a-z]*\r?\n){0,3}(\r?\n)?"
            .prop_map(String::into_bytes),
    ]) {
        for limits in [Limits::default(), Limits { head_bytes_max: 30, fields_max: 2 }] {
            let _same_whatever_it_is = outcome(&bytes, &limits);
            let _no_panic = AnswerHead::parse(&bytes, &limits);
        }
    }
}
