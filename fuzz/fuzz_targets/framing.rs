//! Framings of endpoints: no input panics, what is found lies in the input and within the limits, and no split changes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_socket::{ByteOrder, Found, Framing, FramingLimits, Measure};

const MESSAGE_BYTES_MAX: usize = 300;

/// The framing that the first two bytes choose.
fn framing(kind: u8, detail: u8) -> Framing {
    let bytes = [1, 2, 4, 8][usize::from(detail & 3)];
    let order = if detail & 4 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    match kind % 4 {
        0 => Framing::Length { bytes, order, inclusive: detail & 8 != 0 },
        1 => Framing::Delimiter(vec![b'x'; usize::from(detail & 3) + 1].into()),
        2 => Framing::Fixed(usize::from(detail) + 1),
        _ => Framing::Handler,
    }
}

/// A handler's measure that says all it can say, nonsense included.
fn measure(input: &[u8]) -> Measure {
    match input {
        [] | [0] => Measure::NeedMore,
        [0xff, ..] => Measure::Wrong,
        [0xfe, ..] => Measure::Bytes(usize::MAX),
        [bytes, ..] => Measure::Bytes(usize::from(*bytes)),
    }
}

/// The messages in `input` when it comes in pieces of `piece` bytes; where they end, and whether something was wrong.
fn taken_apart(framing: &Framing, input: &[u8], piece: usize) -> (Vec<(usize, usize)>, bool) {
    let limits = FramingLimits { message_bytes_max: MESSAGE_BYTES_MAX, ..FramingLimits::default() };
    let (mut found, mut at, mut end, mut seen) = (Vec::new(), 0, 0, 0);
    while end < input.len() {
        end = (end + piece).min(input.len());
        loop {
            match framing.next(&input[at..end], seen, &limits, &mut measure) {
                Found::Whole { total, payload } => {
                    assert!(total > 0 && total <= end - at && total <= MESSAGE_BYTES_MAX);
                    assert!(payload.start <= payload.end && payload.end <= total);
                    found.push((at + payload.start, at + payload.end));
                    (at, seen) = (at + total, 0);
                }
                Found::NeedMore(total) => {
                    assert!(end - at < MESSAGE_BYTES_MAX || matches!(framing, Framing::Fixed(_)));
                    assert!(total.is_none_or(|total| total > end - at));
                    seen = end - at;
                    break;
                }
                Found::Wrong(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fuzz_target!(|input: &[u8]| {
    let [kind, detail, piece, rest @ ..] = input else { return };
    let framing = framing(*kind, *detail);
    assert_eq!(framing.check(), Ok(()));
    let whole = taken_apart(&framing, rest, rest.len().max(1));
    let cut = taken_apart(&framing, rest, usize::from(*piece).max(1));
    assert_eq!(whole, cut);
});
