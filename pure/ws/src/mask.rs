//! Masking (RFC 6455 section 5.3), in place.

/// Bytes that are masked at a time: two registers of the narrowest vectors there are, or one of the next.
const STRIDE: usize = 32;

/// Masks or unmasks `data` in place with `key`, whose first byte is for `data`'s first.
///
/// Returns the key for what follows `data` in the same payload.
#[inline]
pub fn apply(key: [u8; 4], data: &mut [u8]) -> [u8; 4] {
    let half = u32::from_ne_bytes(key);
    let wide = (u64::from(half) << 32) | u64::from(half);
    let (strides, rest) = data.as_chunks_mut::<STRIDE>();
    for stride in strides {
        for word in stride.as_chunks_mut::<8>().0 {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    let odd = tail.len() & 3;
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
    turned(key, odd)
}

/// `key` after `count` more bytes than a multiple of four.
const fn turned(key: [u8; 4], count: usize) -> [u8; 4] {
    [key[count & 3], key[(count + 1) & 3], key[(count + 2) & 3], key[(count + 3) & 3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(key: [u8; 4], data: &[u8]) -> Vec<u8> {
        data.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    #[test]
    fn every_length_and_split_masks_as_byte_by_byte() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = (0..=99).collect();
        for length in 0..data.len() {
            let wanted = naive(key, &data[..length]);
            for split in 0..=length {
                let mut got = data[..length].to_vec();
                let (first, second) = got.split_at_mut(split);
                let next = apply(key, first);
                apply(next, second);
                assert_eq!(got, wanted, "{length} bytes split at {split}");
            }
        }
    }

    #[test]
    fn masking_twice_is_nothing() {
        let mut data = *b"the example of section 5.7 says Hello";
        apply([1, 2, 3, 4], &mut data);
        assert_ne!(&data, b"the example of section 5.7 says Hello");
        apply([1, 2, 3, 4], &mut data);
        assert_eq!(&data, b"the example of section 5.7 says Hello");
    }
}
