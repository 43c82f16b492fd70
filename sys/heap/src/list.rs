//! A stack of free blocks, linked through their own first words.

use std::ptr::NonNull;

use crate::sanitizer::{allow, forbid};

/// What a free block begins with.
#[derive(Debug)]
struct Link {
    next: Option<NonNull<Link>>,
}

/// Bytes that a link takes.
pub(crate) const LINK_BYTES: usize = size_of::<Link>();

/// Free blocks, the last one freed on top.
#[derive(Debug, Default)]
pub(crate) struct FreeList {
    top: Option<NonNull<Link>>,
}

impl FreeList {
    pub(crate) const fn new() -> Self {
        Self { top: None }
    }

    /// Puts a block on top and marks its link's bytes as forbidden (the rest is the caller's to mark).
    ///
    /// # Safety
    /// The block is mapped, aligned to 16, at least 16 bytes long, and nobody uses it until it is popped (I2, I3).
    #[inline(always)]
    pub(crate) unsafe fn push(&mut self, block: NonNull<u8>) {
        let link = block.cast::<Link>();
        // SAFETY: I3: the caller gives a free block, long enough and aligned for a link.
        unsafe { link.write(Link { next: self.top }) };
        self.top = Some(link);
        forbid(block, LINK_BYTES);
    }

    /// Takes the block on top; its link's bytes are allowed again.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<NonNull<u8>> {
        let link = self.top?;
        allow(link.cast(), LINK_BYTES);
        // SAFETY: I3: a block in the list begins with the link that `push` wrote.
        self.top = unsafe { link.read() }.next;
        Some(link.cast())
    }

    /// Takes all blocks at once.
    pub(crate) fn take(&mut self) -> Self {
        Self { top: self.top.take() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out() {
        let mut blocks = vec![0_u128; 3];
        let base = NonNull::new(blocks.as_mut_ptr()).expect("a vector has a place");
        let mut list = FreeList::new();
        for index in 0..3 {
            // SAFETY: I3: three blocks of 16 bytes that only the list uses.
            unsafe { list.push(base.add(index).cast()) };
        }
        let mut taken = list.take();
        assert!(list.pop().is_none());
        // SAFETY: I1: places in the vector.
        let place = |index| unsafe { base.add(index).cast() };
        assert_eq!(taken.pop(), Some(place(2)));
        assert_eq!(taken.pop(), Some(place(1)));
        assert_eq!(taken.pop(), Some(place(0)));
        assert!(taken.pop().is_none());
        drop(blocks);
    }
}
