//! Ranges: no input panics, what is selected lies in the representation, in few pieces apart from each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::range::{
    Boundary, ByteRange, CONTENT_RANGE_BYTES_MAX, GAP_BYTES_MIN, Multipart, RANGES_MAX, Selection,
    content_range, select,
};

fn check(ranges: &[ByteRange], len: u64) {
    let multipart = Multipart { boundary: Boundary::new(u128::from(len)), content_type: b"text/plain", len };
    let mut total = multipart.end().len() as u64;
    for (i, range) in ranges.iter().enumerate() {
        assert!(range.start < range.end && range.end <= len);
        assert!(content_range(Some(*range), len, &mut [0; CONTENT_RANGE_BYTES_MAX]).starts_with(b"bytes "));
        let head = multipart.part_head(*range, &mut [0; 256]).expect("a part head is short");
        total = total.saturating_add(head as u64).saturating_add(range.len());
        for other in &ranges[i + 1..] {
            let apart = |a: &ByteRange, b: &ByteRange| a.end.saturating_add(GAP_BYTES_MIN) <= b.start;
            assert!(apart(range, other) || apart(other, range));
        }
    }
    assert_eq!(multipart.body_len(ranges), total);
}

fuzz_target!(|input: (u64, &[u8])| {
    let (len, value) = input;
    match select(value, len) {
        Selection::Single(range) => check(&[range], len),
        Selection::Several(set) => {
            assert!((2..=RANGES_MAX).contains(&set.as_slice().len()));
            check(set.as_slice(), len);
        }
        Selection::Whole | Selection::Unsatisfiable => {}
    }
});
