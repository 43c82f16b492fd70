//! Request bodies: no input panics, and no split changes data, trailers, end or refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::body::{BodyDecoder, Limits, Step};
use ringway_http::head::Body;
use ringway_http::refusal::Refusal;

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    trailers: Vec<u8>,
    end: Option<usize>,
    refusal: Option<Refusal>,
}

/// Feeds the bytes as a connection does: what has come up to each stop, without what was consumed.
fn feed(body: Body, bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits) -> Read {
    let mut read = Read::default();
    let mut decoder = match BodyDecoder::new(body, limits) {
        Ok(decoder) => decoder,
        Err(refusal) => return Read { refusal: Some(refusal), ..read },
    };
    let mut at = 0;
    for stop in stops.chain([bytes.len()]) {
        loop {
            let input = &bytes[at..stop.max(at)];
            let step = match decoder.decode(input) {
                Ok(step) => step,
                Err(refusal) => return Read { refusal: Some(refusal), ..read },
            };
            at += step.consumed();
            match step {
                Step::Data { data } => read.data.extend_from_slice(&input[data]),
                Step::Trailer { name, value, .. } => {
                    read.trailers.extend_from_slice(&input[name]);
                    read.trailers.push(b':');
                    read.trailers.extend_from_slice(&input[value]);
                    read.trailers.push(b'\n');
                }
                Step::NeedMore { consumed } => {
                    assert!(input.len() - consumed <= limits.trailer_bytes_max.max(2) as usize);
                    break;
                }
                Step::Done { .. } => {
                    read.end = Some(at);
                    return read;
                }
            }
        }
    }
    read
}

fuzz_target!(|input: (Option<u8>, bool, u16, &[u8])| {
    let (length, tight, split, bytes) = input;
    let body = length.map_or(Body::Chunked, |length| Body::Length(u64::from(length)));
    let limits = if tight {
        Limits { body_bytes_max: 40, extension_bytes_max: 6, trailer_bytes_max: 20 }
    } else {
        Limits::default()
    };
    let whole = feed(body, bytes, std::iter::empty(), limits);
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(feed(body, bytes, std::iter::once(split), limits), whole);
    assert_eq!(feed(body, bytes, 0..bytes.len(), limits), whole);
    assert!(whole.data.len() as u64 <= limits.body_bytes_max);
});
