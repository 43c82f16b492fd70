//! Framings as machines: every message at every split, and what nobody means to send.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ringway_socket::{ByteOrder, Found, Framing, FramingFault, FramingLimits, Measure};

fn limits(message_bytes_max: usize) -> FramingLimits {
    FramingLimits { message_bytes_max, ..FramingLimits::default() }
}

fn next(framing: &Framing, input: &[u8], seen: usize, most: usize) -> Found {
    framing.next(input, seen, &limits(most), &mut measure)
}

/// A handler's measure: the first byte says how long the message is, itself included.
fn measure(input: &[u8]) -> Measure {
    input.first().map_or(Measure::NeedMore, |bytes| Measure::Bytes(usize::from(*bytes)))
}

fn length(bytes: u8, order: ByteOrder, inclusive: bool) -> Framing {
    Framing::Length { bytes, order, inclusive }
}

/// A framing and a message in it: payload and whole.
fn examples() -> Vec<(Framing, &'static [u8], Vec<u8>)> {
    let mut examples: Vec<(Framing, &'static [u8], Vec<u8>)> = vec![
        (Framing::lines(), b"a line", b"a line\n".to_vec()),
        (Framing::lines(), b"", b"\n".to_vec()),
        (Framing::Delimiter(Box::new(*b"\r\n--")), b"x\r\n-y\r", b"x\r\n-y\r\r\n--".to_vec()),
        (Framing::Fixed(5), b"12345", b"12345".to_vec()),
        (Framing::Handler, b"\x04abc", b"\x04abc".to_vec()),
        (Framing::Auto(Box::new(Framing::Fixed(2))), b"ab", b"ab".to_vec()),
    ];
    for bytes in [1, 2, 4, 8] {
        for (order, inclusive) in [
            (ByteOrder::Big, false),
            (ByteOrder::Big, true),
            (ByteOrder::Little, false),
            (ByteOrder::Little, true),
        ] {
            let payload = b"payload";
            let said = 7 + if inclusive { u64::from(bytes) } else { 0 };
            let prefix = match order {
                ByteOrder::Big => said.to_be_bytes()[8 - usize::from(bytes)..].to_vec(),
                ByteOrder::Little => said.to_le_bytes()[..usize::from(bytes)].to_vec(),
            };
            examples.push((length(bytes, order, inclusive), payload, [&prefix[..], payload].concat()));
        }
    }
    examples
}

#[test]
fn every_message_is_found_at_every_split() {
    for (framing, payload, whole) in examples() {
        assert_eq!(framing.check(), Ok(()));
        let input = [&whole[..], b"\x05rest"].concat();
        let mut seen = 0;
        for split in 1..whole.len() {
            let found = next(&framing, &input[..split], seen, 100);
            let Found::NeedMore(total) = found else { panic!("{framing:?} at {split}: {found:?}") };
            assert!(total.is_none_or(|total| total == whole.len()), "{framing:?} at {split}: {total:?}");
            seen = split;
        }
        for end in [whole.len(), input.len()] {
            let Found::Whole { total, payload: place } = next(&framing, &input[..end], seen, 100) else {
                panic!("{framing:?}");
            };
            assert_eq!((total, &input[place]), (whole.len(), payload), "{framing:?}");
        }
    }
}

#[test]
fn what_is_too_long_is_told_as_soon_as_it_is_known() {
    let wrong = |framing: &Framing, input: &[u8], most: usize| match next(framing, input, 0, most) {
        Found::Wrong(fault) => fault,
        other => panic!("{framing:?}: {other:?}"),
    };
    let big = |bytes, inclusive| length(bytes, ByteOrder::Big, inclusive);
    assert_eq!(wrong(&big(4, false), b"\0\0\0\x61", 100), FramingFault::TooLong(101));
    assert_eq!(wrong(&big(4, true), b"\0\0\0\x65", 100), FramingFault::TooLong(101));
    assert_eq!(wrong(&big(8, false), &[0xff; 8], 100), FramingFault::TooLong(u64::MAX));
    assert_eq!(wrong(&big(2, true), b"\0\x01", 100), FramingFault::Length(1));
    assert_eq!(wrong(&Framing::lines(), &[b'x'; 100], 100), FramingFault::TooLong(100));
    assert_eq!(
        wrong(&Framing::lines(), &[&[b'x'; 100][..], b"\n"].concat(), 100),
        FramingFault::TooLong(101)
    );
    assert_eq!(wrong(&Framing::Handler, b"\0", 100), FramingFault::Measure);
    assert_eq!(wrong(&Framing::Handler, b"\x65", 100), FramingFault::TooLong(101));
    assert_eq!(
        FramingFault::TooLong(101).to_string(),
        "a message of 101 bytes or more is beyond message_bytes_max"
    );
    let refuses = Framing::Handler.next(b"x", 0, &limits(100), &mut |_| Measure::Wrong);
    assert_eq!(refuses, Found::Wrong(FramingFault::Refused));
}

#[test]
fn framings_that_make_no_sense_are_refused() {
    for (framing, words) in [
        (length(3, ByteOrder::Big, false), "1, 2, 4 or 8 bytes, not 3"),
        (Framing::Delimiter(Box::default()), "1 to 64 bytes, not 0"),
        (Framing::Fixed(0), "at least 1 byte"),
        (Framing::Auto(Box::new(Framing::WebSocket)), "around raw traffic"),
        (Framing::Auto(Box::new(Framing::Fixed(0))), "at least 1 byte"),
    ] {
        let error = framing.check().expect_err("it makes none");
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A runner with a seed of its own, so that every run is the same.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

fn framings() -> impl Strategy<Value = Framing> {
    let order = prop_oneof![Just(ByteOrder::Big), Just(ByteOrder::Little)];
    let raw = prop_oneof![
        Just(Framing::None),
        (prop::sample::select(vec![1, 2, 4, 8]), order, any::<bool>())
            .prop_map(|(bytes, order, inclusive)| Framing::Length { bytes, order, inclusive }),
        prop::collection::vec(0..3_u8, 1..4).prop_map(|bytes| Framing::Delimiter(bytes.into())),
        (1..20_usize).prop_map(Framing::Fixed),
        Just(Framing::Handler),
    ];
    raw.prop_map(|raw| if raw == Framing::None { Framing::Auto(Box::new(raw)) } else { raw })
}

/// The messages that are found when the input comes in pieces of these lengths, and how it ends.
fn taken_apart(framing: &Framing, input: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Option<FramingFault>) {
    let (mut found, mut at, mut end, mut seen) = (Vec::new(), 0, 0, 0);
    let mut pieces = pieces.iter().cycle();
    while end < input.len() {
        end = (end + pieces.next().copied().unwrap_or(1)).min(input.len());
        loop {
            match next(framing, &input[at..end], seen, 64) {
                Found::Whole { total, payload } => {
                    assert!(total > 0 && total <= end - at && payload.end <= total);
                    found.push(input[at..][payload].to_vec());
                    (at, seen) = (at + total, 0);
                }
                Found::NeedMore(total) => {
                    assert!(total.is_none_or(|total| total > end - at && total <= 64));
                    seen = end - at;
                    break;
                }
                Found::Wrong(fault) => return (found, Some(fault)),
            }
        }
    }
    (found, None)
}

#[test]
fn the_same_is_found_however_the_input_is_cut() {
    let inputs = prop::collection::vec(0..6_u8, 0..200);
    let cuts = prop::collection::vec(1..30_usize, 1..8);
    let all = (framings(), inputs, cuts);
    let same = |(framing, input, cuts): (Framing, Vec<u8>, Vec<usize>)| {
        if framing != Framing::Auto(Box::new(Framing::None)) {
            let (whole, fault) = taken_apart(&framing, &input, &[input.len().max(1)]);
            let (cut, cut_fault) = taken_apart(&framing, &input, &cuts);
            prop_assert_eq!(whole, cut);
            prop_assert_eq!(
                fault.map(|fault| std::mem::discriminant(&fault)),
                cut_fault.map(|fault| std::mem::discriminant(&fault))
            );
        }
        Ok(())
    };
    runner(2_000).run(&all, same).expect("the same");
}
