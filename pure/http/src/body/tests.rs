//! Every body of these tests is fed split at every byte; data and outcome must not depend on it.

use proptest::prelude::*;

use super::{BodyDecoder, Limits, Step};
use crate::head::Body;
use crate::refusal::Refusal;

/// What a body came to: its data, its trailer lines, and the bytes it took; or `None` while it is incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Read {
    data: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    end: Option<usize>,
}

/// Feeds `bytes` as a connection would: what arrived up to each stop, without what was consumed before.
fn feed(
    body: Body,
    bytes: &[u8],
    stops: impl Iterator<Item = usize>,
    limits: Limits,
) -> (Read, Result<(), Refusal>) {
    let mut read = Read::default();
    let mut decoder = match BodyDecoder::new(body, limits) {
        Ok(decoder) => decoder,
        Err(refusal) => return (read, Err(refusal)),
    };
    let mut at = 0;
    for stop in stops.chain([bytes.len()]) {
        while read.end.is_none() {
            let input = &bytes[at..stop.max(at)];
            let step = match decoder.decode(input) {
                Ok(step) => step,
                Err(refusal) => {
                    assert_eq!(decoder.decode(input), Err(refusal), "a refusal stays");
                    return (read, Err(refusal));
                }
            };
            at += step.consumed();
            match step {
                Step::Data { data } => {
                    assert!(!data.is_empty());
                    read.data.extend_from_slice(&input[data]);
                }
                Step::Trailer { name, value, .. } => {
                    read.trailers.push((input[name].to_vec(), input[value].to_vec()));
                }
                Step::NeedMore { .. } => break,
                Step::Done { .. } => read.end = Some(at),
            }
        }
    }
    assert_eq!(decoder.is_done(), read.end.is_some());
    (read, Ok(()))
}

/// The outcome, the same at every split in two and byte by byte.
fn outcome(body: Body, bytes: &[u8], limits: Limits) -> (Read, Result<(), Refusal>) {
    let whole = feed(body, bytes, std::iter::empty(), limits);
    for split in 0..bytes.len() {
        let parts = feed(body, bytes, std::iter::once(split), limits);
        assert_eq!(parts, whole, "{} at {split}", bytes.escape_ascii());
    }
    assert_eq!(feed(body, bytes, 0..bytes.len(), limits), whole, "{} by bytes", bytes.escape_ascii());
    whole
}

fn chunked(bytes: &str) -> (Read, Result<(), Refusal>) {
    outcome(Body::Chunked, bytes.as_bytes(), Limits::default())
}

#[test]
fn bodies_without_bytes_end_at_once() {
    for body in [Body::None, Body::Length(0)] {
        let (read, result) = outcome(body, b"GET / HTTP/1.1", Limits::default());
        assert_eq!((read.end, result), (Some(0), Ok(())));
        assert!(read.data.is_empty());
    }
}

#[test]
fn a_length_is_exact_and_what_follows_stays() {
    let (read, result) = outcome(Body::Length(5), b"helloGET", Limits::default());
    assert_eq!((read.data.as_slice(), read.end, result), (&b"hello"[..], Some(5), Ok(())));
    let (read, _) = outcome(Body::Length(9), b"hello", Limits::default());
    assert_eq!((read.data.as_slice(), read.end), (&b"hello"[..], None));
    let mut decoder = BodyDecoder::new(Body::Length(9), Limits::default()).unwrap();
    assert_eq!(decoder.remaining(), Some(9));
    decoder.decode(b"hello").unwrap();
    assert_eq!(decoder.remaining(), Some(4));
    decoder.decode(b"worlds").unwrap();
    assert_eq!((decoder.remaining(), decoder.is_done()), (Some(0), true));
    assert_eq!(BodyDecoder::new(Body::Chunked, Limits::default()).unwrap().remaining(), None);
}

#[test]
fn chunks_are_taken_apart() {
    let cases = [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\n", "a0123456789"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("3;a=b;c=\"d \\\" e\" ; f\r\nabc\r\n0;last\r\n\r\n", "abc"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ];
    for (bytes, data) in cases {
        let (read, result) = chunked(&format!("{bytes}GET"));
        assert_eq!((read.data.as_slice(), read.end, result), (data.as_bytes(), Some(bytes.len()), Ok(())));
    }
}

#[test]
fn trailers_are_checked_and_handed_out() {
    let bytes = "1\r\na\r\n0\r\nETag: \"x\"\r\nX-Sum:\t 1 2 \r\nE:\r\n\r\n";
    let (read, result) = chunked(&format!("{bytes}GET"));
    assert_eq!((read.end, result), (Some(bytes.len()), Ok(())));
    let expected = [("ETag", "\"x\""), ("X-Sum", "1 2"), ("E", "")];
    let expected: Vec<_> = expected.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).into();
    assert_eq!(read.trailers, expected);
}

#[test]
fn malformed_chunks_are_refused_at_every_split() {
    let cases = [
        ("\r\n", Refusal::ChunkSize),
        ("\n", Refusal::BareLf),
        ("g\r\n", Refusal::ChunkSize),
        ("-1\r\n", Refusal::ChunkSize),
        ("+1\r\n", Refusal::ChunkSize),
        ("0x1\r\n", Refusal::ChunkSize),
        (" 1\r\n", Refusal::ChunkSize),
        ("1 \r\n", Refusal::ChunkSize),
        ("1\t;a\r\n", Refusal::ChunkSize),
        ("1_0\r\n", Refusal::ChunkSize),
        ("1.\r\n", Refusal::ChunkSize),
        (";a\r\n", Refusal::ChunkSize),
        ("00000000000000001\r\n", Refusal::ChunkSize),
        ("10000000000000000\r\n", Refusal::ChunkSize),
        ("1\na\r\n", Refusal::BareLf),
        ("1\ra\r\n", Refusal::BareCr),
        ("1\r\r\na", Refusal::BareCr),
        ("1;a\nb", Refusal::BareLf),
        ("1;a\rb", Refusal::BareCr),
        ("1;a=\"\n\"\r\n", Refusal::BareLf),
        ("1;a\0\r\n", Refusal::ChunkExtension),
        ("1;\x7f\r\n", Refusal::ChunkExtension),
        ("1\r\nab\r\n", Refusal::ChunkEnd),
        ("1\r\na\n0\r\n\r\n", Refusal::ChunkEnd),
        ("1\r\na\r0\r\n\r\n", Refusal::ChunkEnd),
        ("1\r\na0\r\n\r\n", Refusal::ChunkEnd),
        ("ffffffffffffffff\r\n", Refusal::BodyLength),
    ];
    for (bytes, refusal) in cases {
        assert_eq!(chunked(bytes).1, Err(refusal), "{bytes:?}");
        let second = format!("3\r\nabc\r\n{bytes}");
        let (read, result) = chunked(&second);
        assert_eq!((read.data.get(..3), result), (Some(&b"abc"[..]), Err(refusal)), "{second:?}");
    }
}

#[test]
fn malformed_trailers_are_refused_at_every_split() {
    let cases = [
        ("\n", Refusal::BareLf),
        ("\ra", Refusal::BareCr),
        ("A: 1\n\r\n", Refusal::BareLf),
        ("A: 1\rB: 2\r\n\r\n", Refusal::BareCr),
        ("A: 1\r\n B\r\n\r\n", Refusal::FoldedField),
        ("A : 1\r\n\r\n", Refusal::SpaceBeforeColon),
        ("A\r\n\r\n", Refusal::FieldName),
        (": 1\r\n\r\n", Refusal::FieldName),
        ("(: 1\r\n\r\n", Refusal::FieldName),
        ("\0A: 1\r\n\r\n", Refusal::ControlByte),
        ("A: \0\r\n\r\n", Refusal::ControlByte),
        ("Content-Length: 1\r\n\r\n", Refusal::TrailerField),
        ("transfer-encoding: chunked\r\n\r\n", Refusal::TrailerField),
        ("HOST: h\r\n\r\n", Refusal::TrailerField),
        ("Authorization: x\r\n\r\n", Refusal::TrailerField),
    ];
    for (bytes, refusal) in cases {
        assert_eq!(chunked(&format!("0\r\n{bytes}")).1, Err(refusal), "{bytes:?}");
        assert_eq!(chunked(&format!("0\r\nX: y\r\n{bytes}")).1, Err(refusal), "{bytes:?}");
    }
}

#[test]
fn bodies_over_the_limit_are_refused_as_soon_as_it_shows() {
    let limits = Limits { body_bytes_max: 5, ..Limits::default() };
    assert_eq!(BodyDecoder::new(Body::Length(6), limits).err(), Some(Refusal::BodyLength));
    assert!(BodyDecoder::new(Body::Length(5), limits).is_ok());
    let exact = b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    assert_eq!(outcome(Body::Chunked, exact, limits).0.end, Some(exact.len()));
    let (read, result) = outcome(Body::Chunked, b"2\r\nab\r\n4\r\ncdef", limits);
    assert_eq!((read.data.as_slice(), result), (&b"ab"[..], Err(Refusal::BodyLength)));
    let unlimited = Limits { body_bytes_max: u64::MAX, ..limits };
    let sum = b"1\r\na\r\nffffffffffffffff\r\n";
    assert_eq!(outcome(Body::Chunked, sum, unlimited).1, Err(Refusal::BodyLength), "the sum overflows");
}

#[test]
fn extensions_count_over_all_chunks() {
    let limits = Limits { extension_bytes_max: 6, ..Limits::default() };
    let exact = b"1;ab\r\nx\r\n1;cd\r\ny\r\n0\r\n\r\n";
    assert_eq!(outcome(Body::Chunked, exact, limits).1, Ok(()));
    let over = b"1;ab\r\nx\r\n1;cd\r\ny\r\n0;\r\n\r\n";
    assert_eq!(outcome(Body::Chunked, over, limits).1, Err(Refusal::ChunkExtensionLength));
    let endless = [b"1;", &vec![b'a'; 5000][..]].concat();
    assert_eq!(
        feed(Body::Chunked, &endless, 0..endless.len(), Limits::default()).1,
        Err(Refusal::ChunkExtensionLength)
    );
}

#[test]
fn trailer_sections_count_every_byte() {
    let bytes = b"0\r\nA: 1\r\nB: 2\r\n\r\n";
    let exact = Limits { trailer_bytes_max: 14, ..Limits::default() };
    assert_eq!(outcome(Body::Chunked, bytes, exact).1, Ok(()));
    let over = Limits { trailer_bytes_max: 11, ..exact };
    assert_eq!(outcome(Body::Chunked, bytes, over).1, Err(Refusal::TrailerLength));
    let none = Limits { trailer_bytes_max: 0, ..exact };
    assert_eq!(outcome(Body::Chunked, b"0\r\n\r\n", none).1, Ok(()));
    assert_eq!(outcome(Body::Chunked, bytes, none).1, Err(Refusal::TrailerLength));
    let endless = [&b"0\r\n"[..], &b"A: 1\r\n".repeat(2000)].concat();
    assert_eq!(
        feed(Body::Chunked, &endless, 0..endless.len(), Limits::default()).1,
        Err(Refusal::TrailerLength)
    );
}

/// Chunked bodies with some bytes changed, so that both sides of the border are met.
fn near_bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunk =
        (proptest::collection::vec(any::<u8>(), 1..20), prop_oneof![Just(""), Just(";a=b"), Just("; c")]);
    let trailer = prop_oneof![Just("A: b\r\n"), Just("Long-Name:   v  \r\n"), Just("Host: x\r\n")];
    let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'0'), Just(b';'), any::<u8>()];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), byte), 0..2);
    let parts = (proptest::collection::vec(chunk, 0..4), proptest::collection::vec(trailer, 0..3), edits);
    parts.prop_map(|(chunks, trailers, edits)| {
        let mut bytes = Vec::new();
        for (data, extension) in chunks {
            bytes.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("0\r\n{}\r\nGET", trailers.concat()).as_bytes());
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_split_changes_data_or_outcome(bytes in near_bodies()) {
        let _ = outcome(Body::Chunked, &bytes, Limits::default());
        let tight = Limits { body_bytes_max: 20, extension_bytes_max: 5, trailer_bytes_max: 12 };
        let _ = outcome(Body::Chunked, &bytes, tight);
    }

    #[test]
    fn what_is_written_as_chunks_is_read_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
    ) {
        use crate::response::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
        let mut bytes = Vec::new();
        for data in &chunks {
            bytes.extend_from_slice(chunk_head(data.len() as u64, &mut [0; CHUNK_HEAD_BYTES_MAX]));
            bytes.extend_from_slice(data);
            bytes.extend_from_slice(CHUNK_END);
        }
        bytes.extend_from_slice(LAST_CHUNK);
        let (read, result) = outcome(Body::Chunked, &bytes, Limits::default());
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(read.end, Some(bytes.len()));
        prop_assert_eq!(read.data, chunks.concat());
    }
}
