//! Every form of these tests is fed split at every byte; parts and outcome must not depend on it.

use super::{Boundary, Decoder, Fault, Limits, PartHead, Step};
use proptest::prelude::*;

/// A part: its name, what its file is called, its data, and whether its end was seen.
type Part = (Vec<u8>, Option<Vec<u8>>, Vec<u8>, bool);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    parts: Vec<Part>,
    outcome: Option<Result<(), Fault>>,
}

/// Feeds `bytes` as a connection would: what arrived up to each stop, without what was consumed before.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits) -> Read {
    let mut read = Read::default();
    let mut decoder = Decoder::new(Boundary::new(b"x-y").expect("a boundary"), limits);
    let mut at = 0;
    for stop in stops.chain([bytes.len()]) {
        loop {
            let input = &bytes[at..stop.max(at)];
            let step = match decoder.decode(input) {
                Ok(step) => step,
                Err(fault) => {
                    assert_eq!(decoder.decode(input), Err(fault), "a refusal stays");
                    assert_eq!(decoder.finish(), Err(fault));
                    read.outcome = Some(Err(fault));
                    return read;
                }
            };
            at += step.consumed();
            match step {
                Step::Part { head, .. } => {
                    assert!(head.len() <= limits.head_bytes_max as usize);
                    match PartHead::parse(&input[head], &limits) {
                        Ok(part) => {
                            let filename = part.filename.map(|name| name.bytes().collect());
                            read.parts.push((part.name.bytes().collect(), filename, Vec::new(), false));
                        }
                        Err(fault) => {
                            read.outcome = Some(Err(fault));
                            return read;
                        }
                    }
                }
                Step::Data { data } => {
                    assert!(!data.is_empty());
                    read.parts.last_mut().expect("a part").2.extend_from_slice(&input[data]);
                }
                Step::PartEnd { .. } => read.parts.last_mut().expect("a part").3 = true,
                Step::NeedMore { consumed } => {
                    let kept = input.len() - consumed;
                    assert!(kept <= (limits.head_bytes_max as usize).max(80), "{kept}");
                    break;
                }
                Step::Done { .. } => break,
            }
        }
    }
    read.outcome = Some(decoder.finish());
    read
}

/// The outcome, the same at every split in two and byte by byte. Where it is a refusal, so much of a part's data is seen as
/// had come.
fn outcome(bytes: &[u8], limits: Limits) -> Read {
    let whole = feed(bytes, std::iter::empty(), limits);
    for split in 0..bytes.len() {
        let parts = feed(bytes, std::iter::once(split), limits);
        assert_eq!(settled(parts), settled(whole.clone()), "{} at {split}", bytes.escape_ascii());
    }
    let by_bytes = feed(bytes, 0..bytes.len(), limits);
    assert_eq!(settled(by_bytes), settled(whole.clone()), "{} by bytes", bytes.escape_ascii());
    whole
}

/// Without the data of a part that was refused for its length.
fn settled(mut read: Read) -> Read {
    if read.outcome == Some(Err(Fault::PartLength))
        && let Some(last) = read.parts.last_mut()
    {
        last.2.clear();
    }
    read
}

fn part(name: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    [head.as_bytes(), data, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--x-y--\r\n"].concat()
}

fn read(name: &str, data: &[u8]) -> Part {
    (name.as_bytes().to_vec(), None, data.to_vec(), true)
}

#[test]
fn forms_are_taken_apart() {
    let tricky: &[&[u8]] = &[
        b"",
        b"\r\n",
        b"\r",
        b"\r\r\n\r\n-",
        b"\r\n--x-",
        b"--x\r\n-x-y",
        b"\r\n --x-y",
        b"\0\xff\r\n--X-Y\r\n",
    ];
    for data in tricky {
        let bytes = form(&[part("a", data), part("b", b"second")]);
        let got = outcome(&bytes, Limits::default());
        assert_eq!(got.parts, [read("a", data), read("b", b"second")], "{}", data.escape_ascii());
        assert_eq!(got.outcome, Some(Ok(())));
    }
    // Without parts, with padding, a preamble and an epilogue; and a part without data whose head's empty line begins the
    // delimiter.
    let bare = |bytes: &[u8]| outcome(bytes, Limits::default());
    assert_eq!(bare(b"--x-y--").parts, []);
    let padded =
        b"before\r\n--x-y \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x-y--\r\nbehind --x-y";
    assert_eq!((bare(padded).parts, bare(padded).outcome), (vec![read("a", b"1")], Some(Ok(()))));
    let joined = b"--x-y\r\nContent-Disposition: form-data; name=a\r\n\r\n--x-y--";
    assert_eq!((bare(joined).parts, bare(joined).outcome), (vec![read("a", b"")], Some(Ok(()))));
}

#[test]
fn what_is_no_form_is_refused_at_every_split() {
    let whole = form(&[part("a", b"data")]);
    for end in 0..whole.len() - 4 {
        let got = outcome(&whole[..end], Limits::default());
        assert_eq!(got.outcome, Some(Err(Fault::Truncated)), "{end}");
    }
    for (bytes, fault) in [
        (&b"--x-yz\r\n\r\n"[..], Fault::Delimiter),
        (b"--x-y\n\r\n", Fault::Delimiter),
        (b"--x-y-\r\n", Fault::Delimiter),
        (b"--x-y \r \r\n", Fault::Delimiter),
        (b"--x-y --", Fault::Delimiter),
        (b"--x-y\r\n\r\ndata\r\n--x-y--", Fault::Disposition),
        (b"--x-y\r\nContent-Type: a/b\r\n\r\n", Fault::Disposition),
        (&[b'p'; 200], Fault::Preamble),
    ] {
        assert_eq!(outcome(bytes, Limits::default()).outcome, Some(Err(fault)), "{}", bytes.escape_ascii());
    }
    let bad_line = b"--x-y\r\nContent-Disposition : form-data; name=a\r\n\r\n";
    let got = outcome(bad_line, Limits::default());
    assert!(matches!(got.outcome, Some(Err(Fault::Field(_)))), "{got:?}");
}

#[test]
fn limits_are_exact() {
    let bytes = form(&[part("a", b"12345"), part("b", b"")]);
    let head = b"Content-Disposition: form-data; name=\"a\"\r\n\r\n".len();
    let head_bytes_max = u32::try_from(head).expect("short");
    let exact =
        Limits { parts_max: 2, head_bytes_max, name_bytes_max: 1, part_bytes_max: 5, preamble_bytes_max: 0 };
    assert_eq!(outcome(&bytes, exact).outcome, Some(Ok(())));
    for (limits, fault) in [
        (Limits { parts_max: 1, ..exact }, Fault::Parts),
        (Limits { head_bytes_max: head_bytes_max - 1, ..exact }, Fault::HeadLength),
        (Limits { name_bytes_max: 0, ..exact }, Fault::NameLength),
        (Limits { part_bytes_max: 4, ..exact }, Fault::PartLength),
    ] {
        assert_eq!(outcome(&bytes, limits).outcome, Some(Err(fault)), "{limits:?}");
    }
    let preamble = [b"p\r\n", &bytes[..]].concat();
    assert_eq!(outcome(&preamble, exact).outcome, Some(Err(Fault::Preamble)));
    assert_eq!(outcome(&preamble, Limits { preamble_bytes_max: 1, ..exact }).outcome, Some(Ok(())));
}

/// Forms with some bytes changed, so that both sides of the border are met.
fn near_forms() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[b"\r\n", b"--x-y", b"\r\n--x-", b"-", b"data", b"\r"];
    let piece = proptest::sample::select(pieces);
    let data = proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat());
    let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'"'), Just(b';'), any::<u8>()];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), byte), 0..2);
    (proptest::collection::vec(data, 0..3), edits).prop_map(|(parts, edits)| {
        let parts: Vec<Vec<u8>> = parts.iter().map(|data| part("n", data)).collect();
        let mut bytes = form(&parts);
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_split_changes_parts_or_outcome(bytes in near_forms()) {
        let _ = outcome(&bytes, Limits::default());
        let tight = Limits { parts_max: 2, head_bytes_max: 60, name_bytes_max: 4, part_bytes_max: 8, preamble_bytes_max: 4 };
        let _ = outcome(&bytes, tight);
    }

    #[test]
    fn data_without_the_boundary_comes_back(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4),
    ) {
        prop_assume!(parts.iter().all(|data| !data.windows(5).any(|window| window == b"--x-y")));
        let bytes = form(&parts.iter().map(|data| part("n", data)).collect::<Vec<_>>());
        let got = outcome(&bytes, Limits::default());
        let wanted: Vec<Part> = parts.iter().map(|data| read("n", data)).collect();
        prop_assert_eq!(got, Read { parts: wanted, outcome: Some(Ok(())) });
    }
}
