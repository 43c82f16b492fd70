//! Integers with a prefix (RFC 7541 section 5.1).

use super::HpackError;

/// Bytes that may follow the prefix: more cannot be needed for 28 bits.
const CONTINUED_MAX: usize = 4;

/// Reads an integer whose prefix is the lower `bits` of the first byte; gives it and what follows.
#[inline]
pub(super) fn read(bytes: &[u8], bits: u32) -> Result<(usize, &[u8]), HpackError> {
    let (&first, rest) = bytes.split_first().ok_or(HpackError::Truncated)?;
    let prefix = (1_usize << bits) - 1;
    let value = usize::from(first) & prefix;
    if value < prefix { Ok((value, rest)) } else { continued(rest, value) }
}

fn continued(bytes: &[u8], mut value: usize) -> Result<(usize, &[u8]), HpackError> {
    for (place, &byte) in bytes.iter().take(CONTINUED_MAX).enumerate() {
        value += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[place + 1..]));
        }
    }
    Err(if bytes.len() < CONTINUED_MAX { HpackError::Truncated } else { HpackError::Integer })
}

/// Appends an integer; `pattern` is the first byte's upper bits.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let prefix = (1_usize << bits) - 1;
    if value < prefix {
        out.push(pattern | low(value));
        return;
    }
    out.push(pattern | low(prefix));
    let mut rest = value - prefix;
    while rest >= 0x80 {
        out.push(low(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

#[expect(clippy::cast_possible_truncation, reason = "callers have cut it to a byte's bits")]
const fn low(value: usize) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendix C.1.
    #[test]
    fn the_examples_of_the_rfc() {
        for (value, bits, coded) in [(10, 5, &[0b1010][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])] {
            let mut out = Vec::new();
            write(&mut out, 0, bits, value);
            assert_eq!(out, coded);
            assert_eq!(read(coded, bits), Ok((value, &[][..])));
        }
    }

    #[test]
    fn every_size_survives_and_every_cut_is_seen() {
        for bits in 4..=8 {
            for value in [0, 1, 14, 15, 16, 127, 128, 254, 255, 256, 16_384, 70_000, (1 << 28) - 1] {
                let mut out = Vec::new();
                write(&mut out, 0, bits, value);
                out.push(9);
                assert_eq!(read(&out, bits), Ok((value, &[9][..])), "{value} in {bits}");
                for cut in 0..out.len() - 1 {
                    assert_eq!(read(&out[..cut], bits), Err(HpackError::Truncated));
                }
            }
        }
    }

    /// Section 5.1: integers beyond what an implementation takes are decoding errors.
    #[test]
    fn endless_integers_are_refused() {
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Err(HpackError::Integer));
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], 7), Err(HpackError::Integer));
    }
}
