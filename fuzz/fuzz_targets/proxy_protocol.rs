//! Headers of the PROXY protocol: no input panics, no split changes an outcome, and what is read can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::proxy_protocol::{V2_BYTES_MAX, WRITTEN_BYTES_MAX, parse, write};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    for end in 0..bytes.len() {
        match parse(&bytes[..end]) {
            Ok(None) => {}
            decided => {
                assert_eq!(decided, whole, "{end}");
                break;
            }
        }
    }
    let Ok(Some(header)) = whole else { return };
    assert!(header.bytes <= bytes.len() && header.bytes <= V2_BYTES_MAX);
    let mut target = [0; WRITTEN_BYTES_MAX];
    let length = write(header.version, &header.source, &mut target);
    let again = parse(&target[..length]).expect("ours").expect("a whole one");
    assert_eq!((again.bytes, again.version), (length, header.version));
});
