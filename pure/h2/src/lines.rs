//! Lines of HTTP/1.1 heads that become fields: where they end, and which do not become any.

/// Where the carriage return is; eight bytes a step, in place: lines are short.
#[inline]
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (place, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'\r'));
        let found = word.wrapping_sub(ONES) & !word & HIGHS;
        if found != 0 {
            // A borrow can only mark bytes above the first true one, so the lowest mark is exact.
            return Some(place * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| *byte == b'\r').map(|at| chunks.len() * 8 + at)
}

/// Fields that HTTP/2 has no place for (section 8.2.2).
pub(crate) fn is_of_http1(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_found_wherever_they_are() {
        for before in 0..40 {
            for after in 0..20 {
                let mut bytes = vec![b'\x0e'; before];
                assert_eq!(line_end(&bytes), None);
                bytes.push(b'\r');
                bytes.extend(vec![b'\r'; after]);
                assert_eq!(line_end(&bytes), Some(before));
            }
        }
    }
}
