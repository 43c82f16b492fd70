//! What has arrived on a connection and was not read yet: slices in order, accounted by the memory they pin.

use ringway_ring::{Pool, SLICE_BYTES_MAX, Slice};
use std::collections::VecDeque;

/// Pieces up to this part of their buffer, as a divisor, are copied behind the last one rather than kept in it.
const COPIED_SHARE: usize = 4;

/// Unread bytes. The common case, one slice, needs no allocation.
#[derive(Debug, Default)]
pub struct Inbox {
    first: Option<Slice>,
    // Boxed because idle connections, of which there are many, have none.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 on every idle connection")]
    rest: Option<Box<VecDeque<Slice>>>,
}

impl Inbox {
    /// Whether nothing is unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Unread bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices().map(|slice| slice.len()).sum()
    }

    /// Bytes of memory that the unread bytes pin.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slices().map(Slice::capacity).sum()
    }

    /// Appends what arrived; copies it when it is a small part of its buffer and the last slice has room for it.
    pub fn push(&mut self, slice: Slice) {
        if slice.is_empty() {
            return;
        }
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut());
        let Some(last) = last else {
            self.first = Some(slice);
            return;
        };
        // Small pieces of a slow peer do not pin a buffer each; larger ones are not worth copying.
        let is_small = slice.len() <= slice.capacity() / COPIED_SHARE;
        if !is_small || !last.try_extend(&slice) {
            self.rest.get_or_insert_default().push_back(slice);
        }
    }

    /// Whether all that is unread is one piece.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    /// Puts back what was taken and not used: it is read again first.
    pub fn unread(&mut self, slice: Slice) {
        if slice.is_empty() {
            return;
        }
        if let Some(second) = self.first.replace(slice) {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    /// The next slice as it arrived.
    pub fn take_first(&mut self) -> Option<Slice> {
        let slice = self.first.take()?;
        self.advance_rest();
        Some(slice)
    }

    /// Everything unread in one piece, as far as the largest slice reaches; copies only when it arrived in several.
    /// `None` when nothing is unread. Without memory for joining, the first piece alone is returned.
    pub fn next_joined(&mut self, pool: &Pool) -> Option<Slice> {
        self.next_joined_beyond(0, pool)
    }

    /// The same with more than `bytes` bytes where so many are there, even if a piece must be cut for that.
    pub fn next_joined_beyond(&mut self, bytes: usize, pool: &Pool) -> Option<Slice> {
        let mut joined = self.take_first()?;
        while let Some(mut next) = self.first.take() {
            let mut total = joined.len() + next.len();
            if total > SLICE_BYTES_MAX {
                if joined.len() > bytes || joined.len() == SLICE_BYTES_MAX {
                    self.first = Some(next);
                    break;
                }
                let part = next.split_to(SLICE_BYTES_MAX - joined.len());
                self.rest.get_or_insert_default().push_front(next);
                (next, total) = (part, SLICE_BYTES_MAX);
            }
            if !joined.try_extend(&next) {
                // Room for as much again: a long head in small pieces is not copied for each of them.
                let wanted = (total * 2).min(SLICE_BYTES_MAX);
                let Some(mut larger) = pool.get(wanted) else {
                    self.first = Some(next);
                    break;
                };
                larger[..joined.len()].copy_from_slice(&joined);
                larger[joined.len()..total].copy_from_slice(&next);
                joined = larger.freeze(total);
            }
            self.advance_rest();
        }
        Some(joined)
    }

    /// Moves up to `target.len()` unread bytes into `target`; says how many.
    pub fn copy_to(&mut self, target: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(first) = &mut self.first
            && filled < target.len()
        {
            let count = first.len().min(target.len() - filled);
            target[filled..filled + count].copy_from_slice(&first[..count]);
            first.advance(count);
            filled += count;
            if first.is_empty() {
                self.first = None;
                self.advance_rest();
            }
        }
        filled
    }

    /// Copies a short rest out of a large buffer, so that one dripped byte does not pin a whole one.
    pub fn compact(&mut self, pool: &Pool) {
        if let Some(first) = &mut self.first
            && first.len() * 8 <= first.capacity()
            && let Some(small) = pool.copy_of(first)
            && small.capacity() < first.capacity()
        {
            *first = small;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.first = None;
        self.rest = None;
    }

    fn advance_rest(&mut self) {
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() && rest.capacity() > 64 {
                self.rest = None;
            }
        }
    }

    fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(pool: &Pool, parts: &[&[u8]]) -> Inbox {
        let mut inbox = Inbox::default();
        for part in parts {
            inbox.push(pool.copy_of(part).expect("room"));
        }
        inbox
    }

    #[test]
    fn joins_in_order_and_keeps_what_does_not_fit() {
        let pool = Pool::new(1 << 20);
        let mut small = inbox(&pool, &[b"GET", b" / ", b"HTTP"]);
        assert_eq!(&*small.next_joined(&pool).expect("bytes"), b"GET / HTTP");
        assert!(small.is_empty());
        let half = vec![1; 40 * 1024];
        let mut large = inbox(&pool, &[&half, &half]);
        assert_eq!(large.next_joined(&pool).expect("bytes").len(), half.len());
        assert_eq!(large.len(), half.len());
    }

    #[test]
    fn a_piece_that_is_too_large_to_be_joined_is_cut_where_more_is_wanted() {
        let pool = Pool::new(1 << 20);
        let large = vec![b'l'; SLICE_BYTES_MAX];
        let mut inbox = inbox(&pool, &[b"small", &large, b"behind"]);
        assert_eq!(inbox.next_joined(&pool).expect("bytes").len(), 5, "nothing is copied for nobody");
        inbox.unread(pool.copy_of(b"small").expect("room"));
        let joined = inbox.next_joined_beyond(5, &pool).expect("bytes");
        assert_eq!((joined.len(), &joined[..7]), (SLICE_BYTES_MAX, &b"smallll"[..]));
        inbox.unread(joined);
        let again = inbox.next_joined_beyond(SLICE_BYTES_MAX, &pool).expect("bytes");
        assert_eq!(again.len(), SLICE_BYTES_MAX, "as far as the largest slice reaches");
        let rest = inbox.next_joined(&pool).expect("bytes");
        assert_eq!(&rest[..], b"lllllbehind");
        assert!(inbox.is_empty());
    }

    #[test]
    fn unread_bytes_come_first_again() {
        let pool = Pool::new(1 << 20);
        let mut inbox = inbox(&pool, &[b"abc", b"def"]);
        let mut taken = inbox.take_first().expect("bytes");
        taken.advance(2);
        inbox.unread(taken);
        let mut target = [0; 8];
        assert_eq!(inbox.copy_to(&mut target), 4);
        assert_eq!(&target[..4], b"cdef");
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_short_rest_pins_a_small_buffer() {
        let pool = Pool::new(1 << 20);
        let mut buffer = pool.get(2048).expect("room");
        buffer[0] = b'G';
        let mut inbox = Inbox::default();
        inbox.push(buffer.freeze(1));
        assert_eq!(inbox.capacity(), 2048);
        inbox.compact(&pool);
        assert_eq!((inbox.capacity(), inbox.len()), (256, 1));
    }

    #[test]
    fn small_pieces_share_a_buffer_and_large_ones_do_not() {
        let pool = Pool::new(1 << 20);
        let drips: Vec<&[u8]> = vec![b"x"; 256];
        let mut inbox = inbox(&pool, &drips);
        assert_eq!((inbox.len(), inbox.capacity()), (256, 256));
        inbox.push(pool.copy_of(b"y").expect("room"));
        assert_eq!((inbox.len(), inbox.capacity()), (257, 512));
        // Somebody else sees the last buffer: nothing is written behind it.
        let mut last = inbox.next_joined(&pool).expect("bytes");
        let seen = last.split_to(100);
        inbox.push(last);
        inbox.push(pool.copy_of(b"z").expect("room"));
        assert_eq!((seen.len(), inbox.len(), inbox.is_joined()), (100, 158, false));
    }

    #[test]
    fn joining_without_memory_hands_out_the_first_piece() {
        let pool = Pool::new(1);
        let mut inbox = inbox(&pool, &[b"abc"]);
        let other = Pool::new(1 << 20);
        inbox.push(other.copy_of(&[7; 300]).expect("room"));
        assert_eq!(&*inbox.next_joined(&pool).expect("bytes"), b"abc");
        assert_eq!(inbox.len(), 300);
    }
}
