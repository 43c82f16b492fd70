//! Records at every split: both machines say the same however the bytes arrive.

use super::*;
use proptest::prelude::*;

/// A record with `padding` bytes behind it.
fn record(kind: Kind, request: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let head = Head {
        kind,
        request,
        content_len: u16::try_from(content.len()).expect("a test's content"),
        padding_len: padding,
    };
    let mut bytes = head.bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + usize::from(padding), b'_');
    bytes
}

/// Both streams, how the request ended, and how many bytes were consumed.
type Outcome = Result<(Vec<u8>, Vec<u8>, Option<End>, usize), Fault>;

/// What the client makes of pieces.
fn walk<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Outcome {
    let mut client = Client::new(1);
    let (mut out, mut err, mut total) = (Vec::new(), Vec::new(), 0);
    for mut piece in pieces {
        loop {
            match client.step(piece)? {
                Step::NeedMore => {
                    total += piece.len();
                    break;
                }
                Step::Ended { consumed, end } => return Ok((out, err, Some(end), total + consumed)),
                Step::Stdout { data } => {
                    assert!(!data.is_empty());
                    out.extend_from_slice(&piece[data.clone()]);
                    total += data.end;
                    piece = &piece[data.end..];
                }
                Step::Stderr { data } => {
                    assert!(!data.is_empty());
                    err.extend_from_slice(&piece[data.clone()]);
                    total += data.end;
                    piece = &piece[data.end..];
                }
            }
        }
    }
    Ok((out, err, None, total))
}

/// The same at every split into two and byte by byte.
fn walk_all(bytes: &[u8]) -> Outcome {
    let whole = walk([bytes]);
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(walk([first, second]), whole, "split at {at}");
    }
    assert_eq!(walk(bytes.chunks(1)), whole, "byte by byte");
    whole
}

fn answer() -> Vec<u8> {
    [
        record(Kind::STDOUT, 1, b"Status: 200 OK\r\n\r\n", 6),
        record(Kind::STDERR, 1, b"oh", 0),
        record(Kind::STDOUT, 1, b"hello", 3),
        record(Kind::STDERR, 1, b"", 0),
        record(Kind::STDOUT, 1, b"", 255),
        record(Kind::END_REQUEST, 1, &[0, 0, 0, 7, 0, 9, 9, 9], 1),
    ]
    .concat()
}

#[test]
fn an_answer_is_the_same_at_every_split() {
    let mut bytes = answer();
    let len = bytes.len();
    let wanted = (b"Status: 200 OK\r\n\r\nhello".to_vec(), b"oh".to_vec(), Some(End::Complete(7)), len);
    assert_eq!(walk_all(&bytes), Ok(wanted.clone()));
    bytes.extend_from_slice(b"more");
    assert_eq!(walk_all(&bytes), Ok(wanted), "what follows is left");
}

#[test]
fn without_an_end_there_is_none() {
    let bytes = answer();
    for cut in 0..bytes.len() {
        assert_eq!(walk([&bytes[..cut]]).map(|(.., end, _)| end), Ok(None), "{cut}");
    }
}

#[test]
fn every_way_to_end_is_told() {
    for (end, status) in [
        (End::Complete(0), 0),
        (End::Complete(u32::MAX), 0),
        (End::Busy, 1),
        (End::Overloaded, 2),
        (End::UnknownRole, 3),
    ] {
        let bytes = end_record(1, end);
        assert_eq!(bytes[12], status);
        assert_eq!(walk_all(&bytes), Ok((Vec::new(), Vec::new(), Some(end), 16)));
    }
}

#[test]
fn what_is_no_answer_is_refused_for_its_own_reason() {
    let end = |kind, len: u16| {
        let content = vec![0; usize::from(len)];
        record(kind, 1, &content, 0)
    };
    let twice = |kind| [record(kind, 1, b"", 0), record(kind, 1, b"x", 0)].concat();
    let cases: &[(Vec<u8>, Fault)] = &[
        (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Fault::Version(b'H')),
        (vec![0; 16], Fault::Version(0)),
        (vec![2, 6, 0, 1, 0, 0, 0, 0], Fault::Version(2)),
        (record(Kind::PARAMS, 1, b"", 0), Fault::Kind(4)),
        (record(Kind::BEGIN_REQUEST, 1, &[0; 8], 0), Fault::Kind(1)),
        (record(Kind::GET_VALUES_RESULT, 0, b"", 0), Fault::Kind(10)),
        (record(Kind(0), 1, b"", 0), Fault::Kind(0)),
        (record(Kind(200), 1, b"", 0), Fault::Kind(200)),
        (record(Kind::STDOUT, 0, b"x", 0), Fault::Request(0)),
        (record(Kind::STDOUT, 2, b"x", 0), Fault::Request(2)),
        (record(Kind::END_REQUEST, 0x100, &[0; 8], 0), Fault::Request(0x100)),
        (twice(Kind::STDOUT), Fault::AfterEnd(6)),
        (twice(Kind::STDERR), Fault::AfterEnd(7)),
        (end(Kind::END_REQUEST, 0), Fault::ContentLength { kind: 3, bytes: 0 }),
        (end(Kind::END_REQUEST, 7), Fault::ContentLength { kind: 3, bytes: 7 }),
        (end(Kind::END_REQUEST, 9), Fault::ContentLength { kind: 3, bytes: 9 }),
        (record(Kind::END_REQUEST, 1, &[0, 0, 0, 0, 4, 0, 0, 0], 0), Fault::EndStatus(4)),
    ];
    for (bytes, fault) in cases {
        assert_eq!(walk_all(bytes), Err(*fault), "{}", bytes.escape_ascii());
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn after_the_end_and_after_a_fault_nothing_changes() {
    let mut client = Client::new(1);
    let end = end_record(1, End::Complete(0));
    assert_eq!(client.step(&end), Ok(Step::Ended { consumed: 16, end: End::Complete(0) }));
    assert_eq!(client.step(b"xx"), Ok(Step::Ended { consumed: 0, end: End::Complete(0) }));
    let mut client = Client::new(1);
    assert_eq!(client.step(b"x"), Err(Fault::Version(b'x')));
    assert_eq!(client.step(&end), Err(Fault::Version(b'x')));
}

/// All that a responder makes of pieces, data joined.
fn respond<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<String>, Fault> {
    let mut responder = Responder::new();
    let mut told: Vec<String> = Vec::new();
    let mut add = |what: &str, data: &[u8]| {
        let text = format!("{}", data.escape_ascii());
        match told.last_mut() {
            Some(last) if !text.is_empty() && last.starts_with(what) => last.push_str(&text),
            _ => told.push(format!("{what}{text}")),
        }
    };
    for mut piece in pieces {
        loop {
            let asked = responder.step(piece)?;
            let is_end = matches!(asked, Asked::NeedMore);
            match asked {
                Asked::NeedMore => {}
                Asked::Params { data } => add("params ", &piece[data]),
                Asked::Stdin { data } => add("stdin ", &piece[data]),
                Asked::Values { data } => add("values ", &piece[data]),
                Asked::StdinEnd => {
                    add("stdin end", b"");
                    responder.done();
                }
                other => add(&format!("{other:?}"), b""),
            }
            piece = &piece[responder.consumed()..];
            if is_end {
                assert!(piece.is_empty());
                break;
            }
        }
    }
    Ok(told)
}

fn respond_all(bytes: &[u8]) -> Result<Vec<String>, Fault> {
    let whole = respond([bytes]);
    for at in 0..=bytes.len() {
        let (first, second) = bytes.split_at(at);
        assert_eq!(respond([first, second]), whole, "split at {at}");
    }
    assert_eq!(respond(bytes.chunks(1)), whole, "byte by byte");
    whole
}

/// A request as the writer writes it.
fn request(params: &[(&[u8], &[u8])], body: &[u8], keep: bool) -> Vec<u8> {
    let mut memory = vec![0; 100_000];
    let mut writer = RequestWriter::new(&mut memory, 1, Role::RESPONDER, keep);
    for (name, value) in params {
        writer.param(name, value);
    }
    writer.end_params();
    writer.stdin(body);
    writer.end_stdin();
    let len = writer.finish().expect("room");
    memory.truncate(len);
    memory
}

#[test]
fn a_request_is_read_as_it_was_written_at_every_split() {
    let bytes = request(&[(b"A", b"b"), (b"C", b"")], b"body", true);
    let wanted = [
        "Begin { request: 1, role: Role(1), keep: true }",
        r"params \x01\x01Ab\x01\x00C",
        "ParamsEnd",
        "stdin body",
        "stdin end",
    ];
    assert_eq!(respond_all(&bytes).unwrap(), wanted);
    let twice = [bytes, request(&[], b"", false)].concat();
    let read = respond_all(&twice).unwrap();
    assert_eq!(&read[5..], ["Begin { request: 1, role: Role(1), keep: false }", "ParamsEnd", "stdin end"]);
}

#[test]
fn what_is_not_of_the_request_is_told_or_passed_over() {
    let begin = |request| record(Kind::BEGIN_REQUEST, request, &[0, 1, 0, 0, 0, 0, 0, 0], 0);
    let bytes = [
        record(Kind::STDIN, 5, b"nobody's", 3),
        record(Kind(77), 0, b"?", 0),
        get_values().to_vec(),
        begin(1),
        begin(2),
        record(Kind::PARAMS, 2, b"nobody's", 0),
        record(Kind::ABORT_REQUEST, 2, b"", 0),
        abort(1).to_vec(),
    ]
    .concat();
    let read = respond_all(&bytes).unwrap();
    let wanted = [
        "Unknown(Kind(77))",
        r"values \x0e\x00FCGI_MAX_CONNS\r\x00FCGI_MAX_REQS\x0f\x00FCGI_MPXS_CONNS",
        "ValuesEnd",
        "Begin { request: 1, role: Role(1), keep: false }",
        "Another { request: 2 }",
        "Abort",
    ];
    assert_eq!(read, wanted);
}

#[test]
fn what_is_no_request_is_refused() {
    let begin = record(Kind::BEGIN_REQUEST, 1, &[0, 1, 0, 0, 0, 0, 0, 0], 0);
    let params_end = record(Kind::PARAMS, 1, b"", 0);
    let after = |record: Vec<u8>| [begin.clone(), params_end.clone(), record].concat();
    for (bytes, fault) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), Fault::Version(b'G')),
        (record(Kind::BEGIN_REQUEST, 1, &[0; 7], 0), Fault::ContentLength { kind: 1, bytes: 7 }),
        (record(Kind::BEGIN_REQUEST, 0, &[0; 8], 0), Fault::Request(0)),
        (record(Kind::ABORT_REQUEST, 1, b"x", 0), Fault::ContentLength { kind: 2, bytes: 1 }),
        (record(Kind::GET_VALUES, 1, b"", 0), Fault::Request(1)),
        (record(Kind(99), 1, b"", 0), Fault::Kind(99)),
        (after(record(Kind::PARAMS, 1, b"x", 0)), Fault::AfterEnd(4)),
        ([begin.clone(), record(Kind::STDIN, 1, b"x", 0)].concat(), Fault::AfterEnd(5)),
    ] {
        assert_eq!(respond_all(&bytes), Err(fault), "{}", bytes.escape_ascii());
    }
}

#[test]
fn parameters_go_on_in_another_record_where_one_is_full() {
    let value = vec![b'v'; 40_000];
    let bytes = request(&[(b"A", &value), (b"B", &value)], b"", false);
    let records = respond([&bytes[..]]).unwrap();
    assert_eq!(records.len(), 4, "joined again");
    let first_len = u16::from_be_bytes([bytes[20], bytes[21]]);
    assert_eq!(usize::from(first_len), 40_000 + 1 + 1 + 4);
}

#[test]
fn no_room_is_told_at_the_end() {
    let whole = request(&[(b"NAME", b"value")], b"body", true);
    for len in 0..whole.len() {
        let mut memory = vec![0; len];
        let mut writer = RequestWriter::new(&mut memory, 1, Role::RESPONDER, true);
        writer.param(b"NAME", b"value");
        writer.end_params();
        writer.stdin(b"body");
        writer.end_stdin();
        assert_eq!(writer.finish(), Err(Full), "{len}");
    }
    let mut memory = vec![0; 200_000];
    let mut writer = RequestWriter::new(&mut memory, 1, Role::RESPONDER, true);
    writer.param(b"A", &vec![0; CONTENT_BYTES_MAX]);
    assert_eq!(writer.finish(), Err(Full), "longer than a record");
    let mut writer = RequestWriter::new(&mut memory, 1, Role::RESPONDER, true);
    writer.stdin(&vec![0; CONTENT_BYTES_MAX + 1]);
    assert_eq!(writer.finish(), Err(Full), "longer than a record");
}

#[test]
fn values_are_asked_for_and_read_at_every_split() {
    let mut content = [0; 64];
    let mut len = 0;
    for (name, value) in
        [(&b"FCGI_MAX_CONNS"[..], &b"5"[..]), (b"FCGI_MPXS_CONNS", b"0"), (b"FCGI_MAX_REQS", b"many")]
    {
        len += write_pair(&mut content[len..], name, value).unwrap();
    }
    let bytes = record(Kind::GET_VALUES_RESULT, 0, &content[..len], 5);
    let wanted = Capabilities { conns_max: Some(5), requests_max: None, multiplexes: Some(false) };
    for at in 0..bytes.len() {
        let mut values = Values::new();
        assert_eq!(values.read(&bytes[..at]), Ok((at, None)));
        assert_eq!(values.read(&bytes[at..]), Ok((bytes.len() - at, Some(wanted))), "{at}");
    }
    assert_eq!(
        Values::new().read(&unknown_record(Kind::GET_VALUES)),
        Ok((16, Some(Capabilities::default())))
    );
    for (bytes, fault) in [
        (record(Kind::STDOUT, 0, b"", 0), Fault::Kind(6)),
        (record(Kind::GET_VALUES_RESULT, 1, b"", 0), Fault::Request(1)),
        (record(Kind::GET_VALUES_RESULT, 0, &[0; VALUES_BYTES_MAX + 1], 0), Fault::ValuesLength),
        (record(Kind::GET_VALUES_RESULT, 0, b"\x05\x00a", 0), Fault::Pair),
        (b"hello".to_vec(), Fault::Version(b'h')),
    ] {
        assert_eq!(Values::new().read(&bytes), Err(fault));
    }
}

/// Records that are mostly an answer, one byte perhaps hit.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => Just(6_u8), 3 => Just(7), 1 => any::<u8>()];
    let piece = (kind, proptest::collection::vec(any::<u8>(), 0..40), any::<u8>());
    let pieces = proptest::collection::vec(piece, 0..5);
    (pieces, any::<bool>(), 0..200_usize, any::<u8>(), 0..4_u8).prop_map(|(pieces, ends, at, byte, hit)| {
        let mut bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|(kind, content, padding)| record(Kind(*kind), 1, content, *padding))
            .collect();
        if ends {
            bytes.extend_from_slice(&end_record(1, End::Complete(0)));
        }
        if hit == 0 && at < bytes.len() {
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_split_changes_an_outcome(bytes in answers(), size in 1..30_usize) {
        prop_assert_eq!(walk(bytes.chunks(size)), walk([&bytes[..]]));
        prop_assert_eq!(respond(bytes.chunks(size)), respond([&bytes[..]]));
    }

    #[test]
    fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1..9_usize) {
        prop_assert_eq!(walk(bytes.chunks(size)), walk([&bytes[..]]));
        prop_assert_eq!(respond(bytes.chunks(size)), respond([&bytes[..]]));
        let one_version: Vec<u8> = [&[1][..], &bytes].concat();
        prop_assert_eq!(respond(one_version.chunks(size)), respond([&one_version[..]]));
    }

    #[test]
    fn requests_come_out_as_they_went_in(
        params in proptest::collection::vec((
            proptest::collection::vec(any::<u8>(), 0..200), proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        size in 1..50_usize,
    ) {
        let list: Vec<(&[u8], &[u8])> = params.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let bytes = request(&list, &body, true);
        let mut responder = Responder::new();
        let (mut read_params, mut read_body) = (Vec::new(), Vec::new());
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() {
                match responder.step(piece).unwrap() {
                    Asked::Params { data } => read_params.extend_from_slice(&piece[data]),
                    Asked::Stdin { data } => read_body.extend_from_slice(&piece[data]),
                    _ => {}
                }
                piece = &piece[responder.consumed()..];
            }
        }
        let pairs: Vec<(&[u8], &[u8])> = Pairs::new(&read_params).map(|pair| pair.unwrap()).collect();
        prop_assert_eq!((pairs, read_body), (list, body));
    }
}
