//! A bounded hash table with CLOCK eviction: what was used since the hand last passed stays.
//!
//! A look-up sets one bit and moves nothing. A new entry has the bit unset, so a run of addresses that are asked for once
//! pushes itself out before it pushes out what is asked for again. Eviction is amortised O(1): the hand takes each bit it
//! passes, and every bit was put there by a look-up.
//!
//! Keys come from peers, so the hash is keyed with a seed drawn at random when the process starts: nobody outside can make
//! keys collide on purpose. Foldhash takes a few nanoseconds for a path where `SipHash` takes twenty; it is no
//! cryptographic hash, but an attacker sees no hash values here, can only insert what exists on disk (or what the small
//! table of absences holds), and the number of entries is bounded, so the worst collision costs a bounded scan.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use crate::codings::Coding;

/// What an entry is found by. `path` is a normal path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key<'a> {
    /// Number of the site.
    pub(crate) site: u16,
    /// Coding of the representation.
    pub(crate) coding: Coding,
    /// Normal path.
    pub(crate) path: &'a [u8],
}

impl Key<'_> {
    fn tag(&self) -> u32 {
        u32::from(self.site) << 8 | self.coding as u32
    }
}

/// Hashes keys with this process' seed.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher(SeedableRandomState);

impl KeyHasher {
    pub(crate) fn new() -> Self {
        Self(fast_hasher())
    }

    pub(crate) fn hash(&self, key: &Key<'_>) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key.path);
        hasher.write_u32(key.tag());
        hasher.finish()
    }
}

/// A fast hasher with a seed that nobody outside knows.
pub(crate) fn fast_hasher() -> SeedableRandomState {
    static SHARED: OnceLock<SharedSeed> = OnceLock::new();
    // The standard library draws its keys from the operating system; a hash of nothing is a number made of them.
    let random = || RandomState::new().build_hasher().finish();
    let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
    SeedableRandomState::with_seed(random(), shared)
}

struct Slot<V> {
    path: Box<[u8]>,
    tag: u32,
    referenced: Cell<bool>,
    hash: u64,
    value: V,
}

impl<V> Slot<V> {
    fn is(&self, key: &Key<'_>) -> bool {
        self.tag == key.tag() && *self.path == *key.path
    }
}

/// The table. Who uses it bounds it, by calling [`ClockTable::evict`] before inserting.
pub(crate) struct ClockTable<V> {
    table: HashTable<Slot<V>>,
    hand: usize,
}

impl<V> ClockTable<V> {
    pub(crate) fn new() -> Self {
        Self { table: HashTable::new(), hand: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The value under `key`, marked as used.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &Key<'_>) -> Option<&V> {
        let slot = self.table.find(hash, |slot| slot.is(key))?;
        slot.referenced.set(true);
        Some(&slot.value)
    }

    /// Puts `value` under `key`; gives back what was there.
    pub(crate) fn insert(&mut self, hash: u64, key: &Key<'_>, value: V) -> Option<V> {
        if let Some(slot) = self.table.find_mut(hash, |slot| slot.is(key)) {
            return Some(std::mem::replace(&mut slot.value, value));
        }
        let slot = Slot { path: key.path.into(), tag: key.tag(), referenced: Cell::new(false), hash, value };
        self.table.insert_unique(hash, slot, |slot| slot.hash);
        None
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &Key<'_>) -> Option<V> {
        let entry = self.table.find_entry(hash, |slot| slot.is(key)).ok()?;
        Some(entry.remove().0.value)
    }

    /// Removes one entry that was not used since the hand passed it last; `None` when the table is empty.
    pub(crate) fn evict(&mut self) -> Option<V> {
        if self.table.is_empty() {
            return None;
        }
        loop {
            let at = self.hand % self.table.num_buckets();
            self.hand = at + 1;
            let Ok(entry) = self.table.get_bucket_entry(at) else { continue };
            if !entry.get().referenced.replace(false) {
                return Some(entry.remove().0.value);
            }
        }
    }

    /// The same among the entries that `may_go`; `None` when there is none. Walks past the others.
    pub(crate) fn evict_where(&mut self, may_go: impl Fn(&V) -> bool) -> Option<V> {
        // One lap takes the bits away, the next finds an entry without.
        for _ in 0..self.table.num_buckets() * 2 {
            let at = self.hand % self.table.num_buckets();
            self.hand = at + 1;
            let Ok(entry) = self.table.get_bucket_entry(at) else { continue };
            if may_go(&entry.get().value) && !entry.get().referenced.replace(false) {
                return Some(entry.remove().0.value);
            }
        }
        None
    }

    /// Removes every entry of `site`, handing its value to `removed`.
    pub(crate) fn remove_site(&mut self, site: u16, mut removed: impl FnMut(V)) {
        for slot in self.table.extract_if(|slot| slot.tag >> 8 == u32::from(site)) {
            removed(slot.value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.table = HashTable::new();
        self.hand = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key<'_> {
        Key { site: 0, coding: Coding::Identity, path: path.as_bytes() }
    }

    #[test]
    fn keys_differ_by_site_coding_and_path() {
        let hasher = KeyHasher::new();
        let mut table = ClockTable::new();
        let keys = [
            key("/a"),
            key("/b"),
            Key { site: 1, ..key("/a") },
            Key { coding: Coding::Gzip, ..key("/a") },
            Key { site: 1, coding: Coding::Gzip, ..key("/a") },
        ];
        for (value, key) in keys.iter().enumerate() {
            assert!(table.insert(hasher.hash(key), key, value).is_none());
        }
        for (value, key) in keys.iter().enumerate() {
            assert_eq!(table.get(hasher.hash(key), key), Some(&value));
        }
        assert_eq!(table.insert(hasher.hash(&keys[0]), &keys[0], 9), Some(0));
        assert_eq!(table.remove(hasher.hash(&keys[0]), &keys[0]), Some(9));
        assert_eq!(table.remove(hasher.hash(&keys[0]), &keys[0]), None);
        let mut removed = Vec::new();
        table.remove_site(1, |value| removed.push(value));
        removed.sort_unstable();
        assert_eq!(removed, [2, 4]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn two_hashers_have_different_seeds() {
        assert_ne!(KeyHasher::new().hash(&key("/a")), KeyHasher::new().hash(&key("/a")));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        const MAX: usize = 64;
        let hasher = KeyHasher::new();
        let mut table = ClockTable::new();
        let put = |table: &mut ClockTable<u32>, path: &str, value| {
            if table.len() >= MAX {
                assert!(table.evict().is_some());
            }
            table.insert(hasher.hash(&key(path)), &key(path), value);
        };
        for hot in 0..32 {
            put(&mut table, &format!("/hot/{hot}"), hot);
        }
        for scan in 0..10_000 {
            if scan % 8 == 0 {
                for hot in 0..32 {
                    let path = format!("/hot/{hot}");
                    assert_eq!(table.get(hasher.hash(&key(&path)), &key(&path)), Some(&hot), "at {scan}");
                }
            }
            put(&mut table, &format!("/scan/{scan}"), scan);
            assert!(table.len() <= MAX);
        }
    }

    #[test]
    fn eviction_empties_a_table_in_which_everything_was_used() {
        let hasher = KeyHasher::new();
        let mut table = ClockTable::new();
        assert_eq!(table.evict(), None);
        for value in 0..100 {
            let path = format!("/{value}");
            table.insert(hasher.hash(&key(&path)), &key(&path), value);
            table.get(hasher.hash(&key(&path)), &key(&path));
        }
        let mut evicted: Vec<i32> = std::iter::from_fn(|| table.evict()).collect();
        evicted.sort_unstable();
        assert_eq!(evicted, (0..100).collect::<Vec<_>>());
    }
}
