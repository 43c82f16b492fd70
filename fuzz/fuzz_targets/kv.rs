//! Replies of key-value servers: no input panics, and none reads differently when its bytes come one by one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_kv::{memcached, resp};

const BYTES_MAX: usize = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = resp::Decoder::new(BYTES_MAX);
    let mut bytewise = resp::Decoder::new(BYTES_MAX);
    assert_eq!(all(bytes, bytes.len().max(1), |input| decoder.next(input)), all(bytes, 1, |input| bytewise.next(input)));
    let mut decoder = memcached::Decoder::new(BYTES_MAX);
    let mut bytewise = memcached::Decoder::new(BYTES_MAX);
    assert_eq!(all(bytes, bytes.len().max(1), |input| decoder.next(input)), all(bytes, 1, |input| bytewise.next(input)));
});

/// What there is to read, told as text: a double may be no number, which equals nothing.
fn all<T: std::fmt::Debug, E: std::fmt::Debug>(
    bytes: &[u8],
    step: usize,
    mut next: impl FnMut(&mut &[u8]) -> Result<Option<T>, E>,
) -> Vec<String> {
    let mut found = Vec::new();
    for piece in bytes.chunks(step) {
        let mut input = piece;
        loop {
            match next(&mut input) {
                Ok(Some(value)) => found.push(format!("{value:?}")),
                Ok(None) => break,
                Err(fault) => {
                    found.push(format!("{fault:?}"));
                    return found;
                }
            }
        }
        assert!(input.is_empty());
    }
    found
}
