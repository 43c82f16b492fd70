//! Byte classes of the grammar (RFC 9110 section 5.6, RFC 3986), and scans that stop at a byte outside a class.

const TOKEN: u8 = 1;
const REG_NAME: u8 = 2;

const CLASSES: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = TOKEN | REG_NAME;
        }
        byte += 1;
    }
    table = mark(table, b"!#$%&'*+-.^_`|~", TOKEN);
    // unreserved, sub-delims and the percent of an escape, as RFC 3986 allows in a registered name.
    mark(table, b"-._~!$&'()*+,;=%", REG_NAME)
};

const fn mark(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= class;
        i += 1;
    }
    table
}

/// Whether the byte may stand in a token (method, field name).
pub(crate) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Whether the byte may stand in a registered name or IPv4 address.
pub(crate) const fn is_reg_name(byte: u8) -> bool {
    CLASSES[byte as usize] & REG_NAME != 0
}

/// Whether the byte may stand in a field value: tab, space, visible ASCII, or 0x80 and above.
pub(crate) const fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Index of the first byte from `from` on that is no token byte, or the length.
pub(crate) fn token_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| !is_token(*byte)).map_or(bytes.len(), |at| from + at)
}

/// Index of the first byte from `from` on that is a control byte or space, or the length.
pub(crate) fn visible_end(bytes: &[u8], from: usize) -> usize {
    stop_below::<0x21>(bytes, from)
}

/// Index of the first byte from `from` on that may not stand in a field value, or the length.
pub(crate) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = stop_below::<0x20>(bytes, from);
    while bytes.get(at) == Some(&b'\t') {
        at = stop_below::<0x20>(bytes, at + 1);
    }
    at
}

/// Without the spaces and tabs at both ends (OWS of RFC 9110 section 5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A number of 1 to 20 ASCII digits and nothing else that fits 64 bits.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// The value of a hexadecimal digit.
pub(crate) const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Index of the first byte that is below `FLOOR` or DEL, eight bytes a step.
fn stop_below<const FLOOR: u8>(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const DELS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let (chunks, rest) = bytes[from..].as_chunks::<8>();
    let mut at = from;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let below = word.wrapping_sub(ONES * u64::from(FLOOR)) & !word;
        let del = word ^ DELS;
        let stops = (below | (del.wrapping_sub(ONES) & !del)) & HIGHS;
        if stops != 0 {
            // A borrow can only mark bytes above the first true one, so the lowest mark is exact.
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + rest.iter().position(|byte| *byte < FLOOR || *byte == 0x7f).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_stops_a_scan_exactly_when_it_is_outside_the_class() {
        for byte in 0..=255_u8 {
            for before in 0..20_usize {
                let mut bytes = vec![b'a'; before];
                bytes.push(byte);
                bytes.extend_from_slice(b"aaaaaaaaaaa\x01\x7f ");
                let visible = byte > b' ' && byte != 0x7f;
                assert_eq!(visible_end(&bytes, 0) == before, !visible, "{byte:#x} after {before}");
                assert_eq!(value_end(&bytes, 0) == before, !is_value(byte), "{byte:#x} after {before}");
                assert_eq!(token_end(&bytes, 0) == before, !is_token(byte), "{byte:#x} after {before}");
            }
        }
    }

    #[test]
    fn the_token_class_is_that_of_rfc_9110() {
        let tokens: Vec<u8> = (0..=255).filter(|byte| is_token(*byte)).collect();
        assert_eq!(tokens.len(), 62 + 15);
        assert!(!tokens.iter().any(|byte| b"\"(),/:;<=>?@[\\]{} \t".contains(byte)));
    }

    #[test]
    fn decimals_are_plain_and_fit_64_bits() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"00042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"99999999999999999999", b"+1", b"-1", b"1 ", b"0x1"] {
            assert_eq!(decimal(bad), None);
        }
        assert_eq!(decimal(b"000000000000000000001"), None, "21 digits");
    }

    #[test]
    fn trim_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }

    proptest! {
        #[test]
        fn scans_agree_with_a_plain_loop(bytes in proptest::collection::vec(any::<u8>(), 0..80), from in 0..80_usize) {
            let from = from.min(bytes.len());
            let plain = |keep: fn(u8) -> bool| {
                (from..bytes.len()).find(|at| !keep(bytes[*at])).unwrap_or(bytes.len())
            };
            prop_assert_eq!(value_end(&bytes, from), plain(is_value));
            prop_assert_eq!(visible_end(&bytes, from), plain(|byte| byte > b' ' && byte != 0x7f));
        }
    }
}
