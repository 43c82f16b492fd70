//! Base64 (RFC 4648 section 4), as much of it as handshakes need.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes `bytes` to `out`, which is as long as they become with their padding.
pub(crate) fn encode<const N: usize>(bytes: &[u8]) -> [u8; N] {
    debug_assert_eq!(bytes.len().div_ceil(3) * 4, N);
    let mut out = [b'='; N];
    for (group, quad) in bytes.chunks(3).zip(out.chunks_exact_mut(4)) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for (at, letter) in quad.iter_mut().enumerate().take(group.len() + 1) {
            *letter = ALPHABET[(word >> (18 - 6 * at) & 63) as usize];
        }
    }
    out
}

/// Whether `text` is what sixteen bytes become.
pub(crate) fn is_of_16(text: &[u8]) -> bool {
    text.len() == 24
        && text.ends_with(b"==")
        && text[..22].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        assert_eq!(&encode::<4>(b"f"), b"Zg==");
        assert_eq!(&encode::<4>(b"fo"), b"Zm8=");
        assert_eq!(&encode::<4>(b"foo"), b"Zm9v");
        assert_eq!(&encode::<8>(b"foobar"), b"Zm9vYmFy");
        assert_eq!(&encode::<24>(&[0xff; 16]), b"/////////////////////w==");
    }

    #[test]
    fn keys_are_told_from_others() {
        assert!(is_of_16(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQA=",
            b"dGhlIHNhbXBsZSBub25j Q==",
            b"==",
        ] {
            assert!(!is_of_16(wrong), "{wrong:?}");
        }
    }
}
