//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B). It is canonical, so the lengths say everything.

use super::HpackError;

/// The bits of each byte's code, and of the end of string's.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Symbol that ends a string; it must not appear in one.
const END: u16 = 256;

const BITS_MAX: usize = 30;

/// Bits that the first look decides; the codes of letters, digits and most signs are no longer.
const SHORT_BITS: u32 = 8;

/// Everything that follows from the lengths.
struct Tables {
    /// Each symbol's code, in its lower bits.
    codes: [u32; 257],
    /// By the next 8 bits: symbol and length of a code that short; length 0 where it is longer.
    short: [(u8, u8); 256],
    /// Symbols in the order of their codes.
    order: [u16; 257],
    /// For each length: the first code beyond those of this length, at the upper end of 32 bits.
    beyond: [u64; BITS_MAX + 1],
    /// For each length: its first code, and where its symbols begin in the order.
    first: [(u32, u32); BITS_MAX + 1],
}

static TABLES: Tables = tables();

#[expect(clippy::cast_possible_truncation, reason = "symbols are below 257")]
const fn tables() -> Tables {
    let mut tables = Tables {
        codes: [0; 257],
        short: [(0, 0); 256],
        order: [0; 257],
        beyond: [0; BITS_MAX + 1],
        first: [(0, 0); BITS_MAX + 1],
    };
    let (mut code, mut count, mut length) = (0_u32, 0, 1);
    while length <= BITS_MAX {
        code <<= 1;
        tables.first[length] = (code, count as u32);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = code;
                tables.order[count] = symbol as u16;
                if length <= SHORT_BITS as usize {
                    fill(&mut tables.short, code, length, symbol as u8);
                }
                code += 1;
                count += 1;
            }
            symbol += 1;
        }
        tables.beyond[length] = (code as u64) << (32 - length);
        length += 1;
    }
    tables
}

/// Every byte that begins with the code means the symbol.
#[expect(clippy::cast_possible_truncation, reason = "short lengths are at most 8")]
const fn fill(short: &mut [(u8, u8); 256], code: u32, length: usize, symbol: u8) {
    let shift = SHORT_BITS as usize - length;
    let mut at = (code as usize) << shift;
    let end = at + (1 << shift);
    while at < end {
        short[at] = (symbol, length as u8);
        at += 1;
    }
}

/// Appends what `coded` stands for.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / 5);
    let (mut bits, mut count, mut rest) = (0_u64, 0_u32, coded);
    loop {
        while count <= 56
            && let [byte, tail @ ..] = rest
        {
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
            rest = tail;
        }
        let (mut symbol, length) = TABLES.short[(bits >> 56) as usize];
        let mut length = u32::from(length);
        if length == 0 {
            (symbol, length) = long(bits)?;
        }
        if length > count {
            break;
        }
        out.push(symbol);
        bits <<= length;
        count -= length;
    }
    // Padding is the most significant bits of the end of string, and less than a byte (RFC 7541 section 5.2).
    let is_ones = bits.leading_ones() >= count;
    if count < 8 && is_ones { Ok(()) } else { Err(HpackError::Padding) }
}

/// Symbol and length of a code of more than 8 bits. An end of string that is only begun counts as long as it is.
#[cold]
fn long(bits: u64) -> Result<(u8, u32), HpackError> {
    let window = bits >> 32;
    let length = (SHORT_BITS as usize + 1..BITS_MAX).find(|length| window < TABLES.beyond[*length]);
    let length = length.unwrap_or(BITS_MAX);
    let (first, place) = TABLES.first[length];
    let code = usize::try_from(window >> (32 - length)).unwrap_or(0);
    let at = (code + place as usize).wrapping_sub(first as usize);
    let shown = u32::try_from(length).unwrap_or(0);
    match TABLES.order.get(at) {
        // All ones: the end of string, or padding that looks like its beginning.
        Some(&END) | None if bits.leading_ones() >= 30 => Err(HpackError::Padding),
        Some(&END) | None => Ok((0, u32::MAX)),
        Some(&symbol) => Ok((u8::try_from(symbol).unwrap_or(0), shown)),
    }
}

/// Bytes that [`encode`] makes of `plain`.
pub(super) fn encoded_len(plain: &[u8]) -> usize {
    plain.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum::<usize>().div_ceil(8)
}

/// Appends `plain`, coded and padded.
pub(super) fn encode(plain: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0_u32);
    for &byte in plain {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << length | u64::from(TABLES.codes[usize::from(byte)]);
        count += length;
        if count >= 32 {
            count -= 32;
            let whole = u32::try_from(bits >> count & 0xffff_ffff).unwrap_or(0);
            out.extend_from_slice(&whole.to_be_bytes());
        }
    }
    // At most 31 bits are left; ones fill the last byte.
    let padded = (bits << 32 | 0xffff_ffff) >> count;
    let last = u32::try_from(padded & 0xffff_ffff).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&last[..count.div_ceil(8) as usize]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// RFC 7541 appendix C.4.1 and C.6.1.
    #[test]
    fn the_examples_of_the_rfc() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&coded).unwrap(), b"www.example.com");
        let mut out = Vec::new();
        encode(b"www.example.com", &mut out);
        assert_eq!(out, coded);
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
    }

    #[test]
    fn every_byte_survives() {
        for byte in 0..=255_u8 {
            for count in 1..9 {
                let plain = vec![byte; count];
                let mut coded = Vec::new();
                encode(&plain, &mut coded);
                assert_eq!(coded.len(), encoded_len(&plain));
                assert_eq!(decoded(&coded).unwrap(), plain);
            }
        }
    }

    /// RFC 7541 section 5.2: padding longer than 7 bits, padding that is not ones, and the end of string are errors.
    #[test]
    fn bad_padding_is_refused() {
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert_eq!(decoded(&[0b0001_1110]), Err(HpackError::Padding));
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(HpackError::Padding));
        assert_eq!(decoded(&[0xff]), Err(HpackError::Padding));
        assert_eq!(decoded(&[0xff, 0xff]), Err(HpackError::Padding));
        assert_eq!(decoded(&[0xff; 4]), Err(HpackError::Padding), "the end of string and two bits");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(HpackError::Padding));
    }

    proptest! {
        #[test]
        fn strings_survive(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut coded = Vec::new();
            encode(&plain, &mut coded);
            prop_assert_eq!(coded.len(), encoded_len(&plain));
            prop_assert_eq!(decoded(&coded).unwrap(), plain);
        }

        #[test]
        fn whatever_is_accepted_has_one_spelling(coded in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(plain) = decoded(&coded) {
                let mut again = Vec::new();
                encode(&plain, &mut again);
                prop_assert_eq!(again, coded);
            }
        }
    }
}
