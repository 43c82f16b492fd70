//! Request ids: unlike each other, not secret.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Bytes of an id: hexadecimal digits.
pub(super) const ID_BYTES: usize = 32;

/// Makes ids for one worker.
#[derive(Debug)]
pub(super) struct Ids {
    /// Sets workers and processes apart.
    own: u64,
    next: Cell<u64>,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { own: random(), next: Cell::new(random()) }
    }

    /// The next one.
    pub(super) fn next(&self) -> [u8; ID_BYTES] {
        let number = self.next.get().wrapping_add(1);
        self.next.set(number);
        let mut digits = [0; ID_BYTES];
        let bytes = self.own.to_be_bytes().into_iter().chain(mixed(number).to_be_bytes());
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        digits
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A number that nobody knows: the keys of the standard library's hash tables are the kernel's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// SplitMix64's finaliser, one to one: ids of one worker that follow each other do not look alike.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_ids_are_alike() {
        let workers = [Ids::new(), Ids::new()];
        let ids: HashSet<_> = workers.iter().flat_map(|ids| (0..1000).map(|_| ids.next())).collect();
        assert_eq!(ids.len(), 2000);
        assert!(ids.iter().flatten().all(u8::is_ascii_hexdigit));
    }
}
