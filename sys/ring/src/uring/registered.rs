//! Registered buffers: slab blocks given to the kernel once, when an operation first gains from it.

use crate::slice::{BLOCK_BYTES, Pool};
use io_uring::IoUring;

/// Most blocks registered at once: 8 MiB, the locked-memory limit of many machines. What is beyond goes unregistered.
const BLOCKS_MAX: u16 = 64;

/// Which block the kernel knows by which index.
#[derive(Default)]
pub(super) struct Registered {
    table: Option<Vec<Option<usize>>>,
    /// The kernel would not have a table, or no more memory locked.
    is_refused: bool,
}

impl Registered {
    /// The index of the block at `address`, registering it if need be; `None` when the kernel will not.
    pub(super) fn index(&mut self, ring: &IoUring, pool: &Pool, address: usize) -> Option<u16> {
        if self.table.is_none() && !self.is_refused {
            self.is_refused = ring.submitter().register_buffers_sparse(u32::from(BLOCKS_MAX)).is_err();
            self.table = (!self.is_refused).then(|| vec![None; usize::from(BLOCKS_MAX)]);
        }
        self.forget_gone(ring, pool);
        let table = self.table.as_mut()?;
        let place = match table.iter().position(|block| *block == Some(address)) {
            Some(place) => place,
            None if self.is_refused => return None,
            None => {
                let place = table.iter().position(Option::is_none)?;
                let block = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: BLOCK_BYTES };
                if !update(ring, place, block) {
                    // ENOMEM: the locked-memory limit. What is registered stays.
                    self.is_refused = true;
                    return None;
                }
                table[place] = Some(address);
                pool.note_registered(address);
                place
            }
        };
        u16::try_from(place).ok()
    }

    /// Takes blocks that were given back to the system out of the table, before their addresses mean something else.
    fn forget_gone(&mut self, ring: &IoUring, pool: &Pool) {
        let Some(table) = &mut self.table else { return };
        for gone in pool.take_gone_blocks() {
            if let Some(place) = table.iter().position(|block| *block == Some(gone)) {
                let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
                if update(ring, place, nothing) {
                    table[place] = None;
                    self.is_refused = false;
                } else {
                    // An entry that cannot be emptied is never matched again: no block has this address.
                    table[place] = Some(usize::MAX);
                }
            }
        }
    }
}

fn update(ring: &IoUring, place: usize, block: libc::iovec) -> bool {
    let Ok(place) = u32::try_from(place) else { return false };
    // SAFETY: I8: the block is mapped now; the kernel pins its pages, and the entry is emptied before the address of a
    // block that was given back is used again.
    unsafe { ring.submitter().register_buffers_update(place, &[block], None) }.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RingOptions;
    use crate::uring::probe;

    #[test]
    fn blocks_are_registered_once_and_forgotten_when_they_go() {
        let ring = match probe::build(&RingOptions::default()) {
            Ok((ring, _)) => ring,
            Err(error) => return eprintln!("SKIPPED: {error}"),
        };
        let pool = Pool::new(1 << 20);
        let mut registered = Registered::default();
        let first = pool.get(16 * 1024).expect("room");
        let second = pool.get(16 * 1024).expect("room");
        assert_eq!(first.block(), second.block(), "one block holds both");
        let place = registered.index(&ring, &pool, first.block());
        assert!(place.is_some(), "8 MiB of locked memory is everywhere");
        assert_eq!(registered.index(&ring, &pool, second.block()), place);
        let gone = first.block();
        drop((first, second));
        assert!(!pool.flush());
        let next = pool.get(2048).expect("room");
        let place_now = registered.index(&ring, &pool, next.block());
        assert_eq!(place_now, Some(0), "the place of the block that went is free again");
        let known = registered.table.as_ref().map(|table| table.iter().flatten().count());
        assert_eq!(known, Some(1), "block {gone:#x} is forgotten");
    }
}
