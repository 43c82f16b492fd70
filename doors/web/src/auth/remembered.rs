//! What a worker remembers of passwords that were right: a hash under a key of its own, for a while.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::rc::Rc;

/// Credentials that were verified. Wrong ones are not remembered, so nobody without a password can fill this.
pub(crate) struct Remembered {
    /// Drawn when the worker starts: who should see the hashes could try passwords on them only with it.
    key: [u8; 32],
    entries: HashMap<[u8; 32], Entry>,
    entries_max: usize,
    life_ms: u64,
}

struct Entry {
    name: Rc<str>,
    /// Of the users when it was verified.
    generation: u64,
    expires_ms: u64,
}

/// The hash that stands for a name and a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Remembered {
    pub(crate) fn new(key: [u8; 32], entries_max: usize, life_ms: u64) -> Self {
        Self { key, entries: HashMap::new(), entries_max, life_ms }
    }

    /// What stands for `name` and `password` here.
    pub(crate) fn fingerprint(&self, name: &[u8], password: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(password);
        Fingerprint(hash.finalize().into())
    }

    /// Who it was, if that was verified not long ago and for the users as they are.
    pub(crate) fn find(&self, fingerprint: Fingerprint, generation: u64, now_ms: u64) -> Option<&Rc<str>> {
        let entry = self.entries.get(&fingerprint.0)?;
        (entry.generation == generation && now_ms < entry.expires_ms).then_some(&entry.name)
    }

    /// Remembers what was right. At the limit, what is out of date goes, else some other.
    pub(crate) fn add(&mut self, fingerprint: Fingerprint, name: Rc<str>, generation: u64, now_ms: u64) {
        if self.entries_max == 0 {
            return;
        }
        if self.entries.len() >= self.entries_max {
            self.entries.retain(|_, entry| entry.generation == generation && now_ms < entry.expires_ms);
        }
        if self.entries.len() >= self.entries_max
            && let Some(&other) = self.entries.keys().next()
        {
            self.entries.remove(&other);
        }
        let expires_ms = now_ms.saturating_add(self.life_ms);
        self.entries.insert(fingerprint.0, Entry { name, generation, expires_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_right_for_a_while_and_for_the_same_users() {
        let mut remembered = Remembered::new([7; 32], 10, 1000);
        let print = remembered.fingerprint(b"alice", b"secret");
        assert!(remembered.find(print, 0, 0).is_none());
        remembered.add(print, "alice".into(), 3, 500);
        assert_eq!(remembered.find(print, 3, 1499).map(|name| &**name), Some("alice"));
        assert!(remembered.find(print, 3, 1500).is_none() && remembered.find(print, 4, 600).is_none());
        let others = [
            (&b"alice"[..], &b"Secret"[..]),
            (b"alic", b"esecret"),
            (b"alices", b"ecret"),
            (b"", b"alicesecret"),
        ];
        for (name, password) in others {
            assert!(remembered.find(remembered.fingerprint(name, password), 3, 600).is_none());
        }
        let elsewhere = Remembered::new([8; 32], 10, 1000);
        assert!(elsewhere.fingerprint(b"alice", b"secret") != print);
    }

    #[test]
    fn it_never_grows_beyond_its_limit() {
        let mut remembered = Remembered::new([7; 32], 10, 1000);
        let prints: Vec<_> = (0..100_u8).map(|number| remembered.fingerprint(&[number], b"x")).collect();
        for (number, print) in prints.iter().enumerate() {
            remembered.add(*print, "x".into(), 0, number as u64);
            assert!(remembered.entries.len() <= 10);
            assert!(remembered.find(*print, 0, number as u64).is_some(), "the newest is there");
        }
        remembered.add(prints[0], "x".into(), 0, 5000);
        assert_eq!(remembered.entries.len(), 1, "what is out of date goes first");
        Remembered::new([0; 32], 0, 1).add(prints[0], "x".into(), 0, 0);
    }
}
