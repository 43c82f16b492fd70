//! Paths: no input panics, results are normal, and writing one out and reading it again gives the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::refusal::Refusal;
use ringway_http::target::{encode, has_dot_name, normalise};

fuzz_target!(|raw: &[u8]| {
    let mut out = vec![0; raw.len()];
    let path = match normalise(raw, &mut out) {
        Ok(path) => path,
        Err(refusal) => {
            assert_ne!(refusal, Refusal::PathLength, "a buffer of the raw length is enough");
            return;
        }
    };
    assert!(path.len() <= raw.len());
    let (first, rest) = path.split_first().expect("a path has a slash");
    assert_eq!(*first, b'/');
    let segments: Vec<&[u8]> = rest.split(|byte| *byte == b'/').collect();
    assert!(segments.iter().all(|segment| *segment != b"." && *segment != b".."));
    assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
    assert!(!path.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'));
    let hidden = segments.iter().any(|segment| segment.starts_with(b".") && *segment != b".well-known");
    assert_eq!(has_dot_name(path), hidden);
    let mut escaped = vec![0; path.len() * 3];
    let escaped = encode(path, &mut escaped).expect("three times the path is enough");
    let mut again = vec![0; escaped.len()];
    assert_eq!(normalise(escaped, &mut again), Ok(path));
});
