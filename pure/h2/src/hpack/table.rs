//! The dynamic table (RFC 7541 section 2.3.2): newest first, evicted from its old end, in one piece of memory.

use std::collections::VecDeque;

use super::ENTRY_BYTES;

/// Entries in the order they came. `N` is what its owner notes beside each.
#[derive(Debug)]
pub(super) struct Table<N> {
    /// Names and values, oldest first; those of evicted entries stay in front until they are worth moving.
    bytes: Vec<u8>,
    entries: VecDeque<Entry<N>>,
    /// The position that `bytes` begins at: positions only grow.
    base: usize,
    /// As section 4.1 counts.
    size: usize,
    size_max: usize,
    /// How many were ever inserted.
    inserted: u32,
}

#[derive(Debug)]
struct Entry<N> {
    start: usize,
    name_len: u16,
    value_len: u16,
    note: N,
}

impl<N: Copy> Table<N> {
    /// An empty table of up to `size_max` bytes, at most 65535.
    pub(super) fn new(size_max: usize) -> Self {
        let size_max = size_max.min(usize::from(u16::MAX));
        Self { bytes: Vec::new(), entries: VecDeque::new(), base: 0, size: 0, size_max, inserted: 0 }
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many were ever inserted; wraps.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// Whether there is an entry at `place`.
    #[inline]
    pub(super) fn has(&self, place: usize) -> bool {
        place < self.entries.len()
    }

    /// Changes the most it may hold (section 4.3).
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max.min(usize::from(u16::MAX));
        self.evict();
    }

    /// The entry at `place`, 0 being the newest.
    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<(&[u8], &[u8], N)> {
        let entry = self.entries.get(self.entries.len().checked_sub(place + 1)?)?;
        let start = entry.start - self.base;
        let (name, rest) = self.bytes[start..].split_at(usize::from(entry.name_len));
        Some((name, &rest[..usize::from(entry.value_len)], entry.note))
    }

    /// Adds an entry; one that is larger than the table empties it (section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], note: N) {
        if self.has_place_for(name.len() + value.len()) {
            let start = self.base + self.bytes.len();
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            self.add(start, name.len(), value.len(), note);
        }
    }

    /// Adds an entry with the name of the one at `place`, which may be evicted for it (section 4.4).
    pub(super) fn insert_named(&mut self, place: usize, value: &[u8], note: N) {
        let Some((name, ..)) = self.get(place) else { return };
        let name_len = name.len();
        let name_start = self.entries[self.entries.len() - 1 - place].start - self.base;
        if self.has_place_for(name_len + value.len()) {
            let start = self.base + self.bytes.len();
            self.bytes.extend_from_within(name_start..name_start + name_len);
            self.bytes.extend_from_slice(value);
            self.add(start, name_len, value.len(), note);
        }
    }

    /// Whether the table is large enough; if not it is empty now.
    fn has_place_for(&mut self, len: usize) -> bool {
        let fits = len + ENTRY_BYTES <= self.size_max;
        if !fits {
            self.entries.clear();
            self.bytes.clear();
            self.size = 0;
        }
        fits
    }

    fn add(&mut self, start: usize, name_len: usize, value_len: usize, note: N) {
        // Both are below `size_max`, which fits.
        let narrow = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        self.entries.push_back(Entry {
            start,
            name_len: narrow(name_len),
            value_len: narrow(value_len),
            note,
        });
        self.size += name_len + value_len + ENTRY_BYTES;
        self.inserted = self.inserted.wrapping_add(1);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.size_max
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= usize::from(entry.name_len) + usize::from(entry.value_len) + ENTRY_BYTES;
        }
        let live = self.entries.front().map_or(self.bytes.len(), |oldest| oldest.start - self.base);
        // As much is dead as may live: moving costs each inserted byte one move at most.
        if live > self.size_max {
            self.bytes.drain(..live);
            self.base += live;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_go_and_the_newest_come_first() {
        let mut table = Table::new(100);
        table.insert(b"a", b"1", 1);
        table.insert(b"bb", b"2", 2);
        assert_eq!(
            (table.get(0), table.get(1)),
            (Some((&b"bb"[..], &b"2"[..], 2)), Some((&b"a"[..], &b"1"[..], 1)))
        );
        assert_eq!((table.size(), table.get(2)), (69, None));
        // Section 4.4: the name may be that of the entry that goes.
        table.insert_named(1, b"333", 3);
        assert_eq!((table.get(0), table.get(2)), (Some((&b"a"[..], &b"333"[..], 3)), None));
        table.insert(&[b'x'; 69], b"", 4);
        assert_eq!((table.size(), table.get(0)), (0, None), "larger than the table");
        table.insert(b"a", b"1", 5);
        table.resize(33);
        assert_eq!(table.get(0), None);
    }

    proptest! {
        #[test]
        fn a_table_is_a_bounded_queue(
            steps in proptest::collection::vec((0..40_usize, 0..60_usize, any::<bool>(), 0..4_usize), 1..200),
        ) {
            let mut table = Table::new(256);
            let mut model: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
            for (number, (name_len, value_len, is_named, place)) in steps.into_iter().enumerate() {
                let byte = u8::try_from(number % 251).unwrap();
                let value = vec![byte; value_len];
                let name = match model.get(place) {
                    Some((name, _)) if is_named => name.clone(),
                    _ => vec![byte; name_len],
                };
                if is_named && place < model.len() {
                    table.insert_named(place, &value, ());
                } else {
                    table.insert(&name, &value, ());
                }
                model.push_front((name, value));
                let size = |model: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                    model.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
                };
                while size(&model) > 256 {
                    model.pop_back();
                }
                prop_assert_eq!(table.size(), size(&model));
                prop_assert!(table.bytes.len() <= 3 * 256);
                for (place, (name, value)) in model.iter().enumerate() {
                    prop_assert_eq!(table.get(place), Some((&name[..], &value[..], ())));
                }
                prop_assert_eq!(table.get(model.len()), None);
            }
        }
    }
}
