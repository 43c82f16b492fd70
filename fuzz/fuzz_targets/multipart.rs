//! Forms: no input panics, and no split changes parts, data or refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::multipart::{Boundary, Decoder, Fault, Limits, PartHead, Step};

/// Heads and data in their order, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    parts: Vec<(Vec<u8>, Vec<u8>, bool)>,
    fault: Option<Fault>,
}

fn feed(boundary: Boundary, bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits) -> Read {
    let mut read = Read::default();
    let mut decoder = Decoder::new(boundary, limits);
    let mut at = 0;
    for stop in stops.chain([bytes.len()]) {
        loop {
            let input = &bytes[at..stop.max(at)];
            let step = match decoder.decode(input) {
                Ok(step) => step,
                Err(fault) => {
                    if fault == Fault::PartLength && let Some(last) = read.parts.last_mut() {
                        last.1.clear();
                    }
                    return Read { fault: Some(fault), ..read };
                }
            };
            at += step.consumed();
            match step {
                Step::Part { head, .. } => {
                    let _ = PartHead::parse(&input[head.clone()], &limits).map(|part| part.name.bytes().count());
                    read.parts.push((input[head].to_vec(), Vec::new(), false));
                }
                Step::Data { data } => read.parts.last_mut().expect("a part").1.extend_from_slice(&input[data]),
                Step::PartEnd { .. } => read.parts.last_mut().expect("a part").2 = true,
                Step::NeedMore { .. } | Step::Done { .. } => break,
            }
        }
    }
    Read { fault: decoder.finish().err(), ..read }
}

fuzz_target!(|input: (bool, u16, &[u8], &[u8])| {
    let (tight, split, content_type, bytes) = input;
    let boundary = Boundary::of_form(content_type).or_else(|_| Boundary::new(b"x-y")).expect("a boundary");
    let limits = if tight {
        Limits { parts_max: 3, head_bytes_max: 60, name_bytes_max: 4, part_bytes_max: 20, preamble_bytes_max: 4 }
    } else {
        Limits::default()
    };
    let whole = feed(boundary, bytes, std::iter::empty(), limits);
    let split = usize::from(split).min(bytes.len());
    assert_eq!(feed(boundary, bytes, std::iter::once(split), limits), whole);
    if bytes.len() < 512 {
        assert_eq!(feed(boundary, bytes, 0..bytes.len(), limits), whole);
    }
});
