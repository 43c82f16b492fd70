//! Sessions in memory: found by one hash, bounded in number and bytes, oldest first out; gone with the process.

use super::SessionError;
use super::record::{Change, Key, Life, Record};
use ringway_lock::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

/// Parts with a lock each.
const SHARDS: usize = 16;

/// Ended sessions that are cleared away with each new one.
const CLEARED_AT_ONCE: usize = 4;

/// No entry.
const NONE: u32 = u32::MAX;

/// The sessions of a process.
#[derive(Debug)]
pub(super) struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    life: Life,
    count: AtomicUsize,
    bytes: AtomicUsize,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Key, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// By whether somebody is logged in: the least recently used first.
    ages: [Ages; 2],
}

#[derive(Debug)]
struct Entry {
    key: Key,
    record: Arc<Record>,
    older: u32,
    newer: u32,
}

/// A list through the entries, by when they were used.
#[derive(Debug)]
struct Ages {
    oldest: u32,
    newest: u32,
}

impl Default for Ages {
    fn default() -> Self {
        Self { oldest: NONE, newest: NONE }
    }
}

impl Memory {
    pub(super) fn new(life: Life, count_max: usize, bytes_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            life,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            count_max,
            bytes_max,
        }
    }

    /// How many there are, ended ones that nobody has cleared away included.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A session, which is used by that.
    pub(super) fn load(&self, key: &Key, now_s: u64) -> Option<Arc<Record>> {
        let mut shard = self.shard(key);
        let place = *shard.places.get(key)?;
        let record = Arc::clone(&shard.entries[place as usize].record);
        if !record.is_alive(self.life, now_s) {
            self.forget(&mut shard, place);
            return None;
        }
        if record.used_s < now_s {
            // Whoever has the record in hand keeps his; then this is a copy.
            Arc::make_mut(&mut shard.entries[place as usize].record).used_s = now_s;
            shard.unlink(place);
            shard.link_newest(place);
        }
        Some(record)
    }

    /// Changes a session; see [`super::store::Store::apply`].
    pub(super) fn apply(
        &self,
        from: Option<&Key>,
        to: &Key,
        change: &Change,
        now_s: u64,
    ) -> Result<bool, SessionError> {
        let found = from.and_then(|key| self.take(key, now_s));
        if found.is_none() && from.is_some() && !change.is_log_in {
            return Ok(false);
        }
        let new = || Record { created_s: now_s, used_s: now_s, ..Record::default() };
        let mut record = found.as_deref().map_or_else(new, Record::clone);
        record.apply(change, now_s);
        let outcome = self.make_room(to, record.bytes(), record.user.is_some(), now_s);
        match (&outcome, from, found) {
            (Ok(()), ..) => self.put(to, Arc::new(record)),
            // It stays as it was.
            (Err(_), Some(from), Some(found)) => self.put(from, found),
            (Err(_), ..) => {}
        }
        outcome.map(|()| true)
    }

    pub(super) fn remove(&self, key: &Key) {
        let mut shard = self.shard(key);
        if let Some(place) = shard.places.get(key).copied() {
            self.forget(&mut shard, place);
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        self.lock(usize::from(key[0]) % SHARDS)
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session out.
    fn take(&self, key: &Key, now_s: u64) -> Option<Arc<Record>> {
        let mut shard = self.shard(key);
        let place = *shard.places.get(key)?;
        let record = self.forget(&mut shard, place);
        record.is_alive(self.life, now_s).then_some(record)
    }

    fn put(&self, key: &Key, record: Arc<Record>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(record.bytes(), Ordering::Relaxed);
        let mut shard = self.shard(key);
        let entry = Entry { key: *key, record, older: NONE, newer: NONE };
        let place = match shard.free.pop() {
            Some(place) => {
                shard.entries[place as usize] = entry;
                place
            }
            None => {
                shard.entries.push(entry);
                u32::try_from(shard.entries.len() - 1).unwrap_or(NONE)
            }
        };
        // The key is a random number that was never given out.
        shard.places.insert(*key, place);
        shard.link_newest(place);
    }

    /// Clears ended sessions away, and at a limit who was away longest: those first who are not logged in. For one that is not
    /// logged in nobody who is has to go.
    fn make_room(&self, key: &Key, bytes: usize, is_known: bool, now_s: u64) -> Result<(), SessionError> {
        let first = usize::from(key[0]) % SHARDS;
        {
            let mut shard = self.lock(first);
            for _ in 0..CLEARED_AT_ONCE {
                let ended = [0, 1].into_iter().find_map(|kind| shard.ended(kind, self.life, now_s));
                let Some(place) = ended else { break };
                self.forget(&mut shard, place);
            }
        }
        while self.count() >= self.count_max || self.bytes.load(Ordering::Relaxed) + bytes > self.bytes_max {
            let kinds = if is_known { &[0, 1][..] } else { &[0][..] };
            let has_gone = kinds.iter().any(|kind| {
                (0..SHARDS).any(|step| {
                    let mut shard = self.lock((first + step) % SHARDS);
                    let place = shard.ages[*kind].oldest;
                    (place != NONE).then(|| self.forget(&mut shard, place)).is_some()
                })
            });
            // Ended ones of the logged in are nobody's.
            let has_gone = has_gone || self.clear_known(now_s);
            if !has_gone {
                return Err(SessionError::Full);
            }
        }
        Ok(())
    }

    fn clear_known(&self, now_s: u64) -> bool {
        (0..SHARDS).any(|index| {
            let mut shard = self.lock(index);
            let ended = shard.ended(1, self.life, now_s);
            ended.map(|place| self.forget(&mut shard, place)).is_some()
        })
    }

    /// Takes an entry out of its shard.
    fn forget(&self, shard: &mut Shard, place: u32) -> Arc<Record> {
        shard.unlink(place);
        let entry = &mut shard.entries[place as usize];
        let record = std::mem::take(&mut entry.record);
        let key = entry.key;
        shard.places.remove(&key);
        shard.free.push(place);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(record.bytes(), Ordering::Relaxed);
        record
    }
}

impl Shard {
    /// The least recently used of a kind, if its time is over.
    fn ended(&self, kind: usize, life: Life, now_s: u64) -> Option<u32> {
        let place = self.ages[kind].oldest;
        let entry = self.entries.get(place as usize)?;
        (!entry.record.is_alive(life, now_s)).then_some(place)
    }

    fn kind(&self, place: u32) -> usize {
        usize::from(self.entries[place as usize].record.user.is_some())
    }

    fn link_newest(&mut self, place: u32) {
        let kind = self.kind(place);
        let before = std::mem::replace(&mut self.ages[kind].newest, place);
        let entry = &mut self.entries[place as usize];
        (entry.older, entry.newer) = (before, NONE);
        match self.entries.get_mut(before as usize) {
            Some(before) => before.newer = place,
            None => self.ages[kind].oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let kind = self.kind(place);
        let Entry { older, newer, .. } = self.entries[place as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.ages[kind].oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.ages[kind].newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::OVERHEAD_BYTES;
    use super::*;

    const LIFE: Life = Life { idle_s: 100, absolute_s: 1_000 };

    fn key(number: u32) -> Key {
        let mut key = Key::default();
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn value(text: &str) -> Change {
        Change { values: [("v".to_owned(), Some(text.to_owned()))].into(), ..Change::default() }
    }

    fn log_in(name: &str) -> Change {
        Change { user: Some(Some(name.to_owned())), is_log_in: true, ..Change::default() }
    }

    fn memory(count_max: usize) -> Memory {
        Memory::new(LIFE, count_max, usize::MAX)
    }

    fn text(memory: &Memory, number: u32, now_s: u64) -> Option<String> {
        memory.load(&key(number), now_s).map(|record| record.values.get("v").cloned().unwrap_or_default())
    }

    #[test]
    fn sessions_end_when_they_are_idle_and_when_they_are_old() {
        let memory = memory(10);
        assert_eq!(memory.apply(None, &key(1), &value("a"), 0), Ok(true));
        for now_s in (0..1_000).step_by(99) {
            assert_eq!(text(&memory, 1, now_s).as_deref(), Some("a"), "{now_s}");
        }
        assert_eq!(text(&memory, 1, 1_000), None, "however busy it is");
        assert_eq!(memory.apply(None, &key(2), &value("b"), 1_000), Ok(true));
        assert_eq!(text(&memory, 2, 1_100), None, "nobody came");
        assert_eq!(memory.apply(Some(&key(2)), &key(2), &value("c"), 1_101), Ok(false));
        assert_eq!((memory.count(), memory.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn changes_meet_and_a_new_id_takes_over() {
        let memory = memory(10);
        assert_eq!(memory.apply(None, &key(1), &value("a"), 0), Ok(true));
        let other = Change { values: [("w".to_owned(), Some("b".to_owned()))].into(), ..Change::default() };
        assert_eq!(memory.apply(Some(&key(1)), &key(1), &other, 1), Ok(true));
        assert_eq!(memory.apply(Some(&key(1)), &key(2), &log_in("ada"), 50), Ok(true));
        assert!(memory.load(&key(1), 50).is_none(), "the old id is nobody's");
        let record = memory.load(&key(2), 50).expect("moved");
        assert_eq!((record.user.as_deref(), record.created_s, record.values.len()), (Some("ada"), 50, 2));
        memory.remove(&key(2));
        assert!(memory.load(&key(2), 50).is_none());
        assert_eq!(memory.apply(Some(&key(2)), &key(3), &log_in("ada"), 50), Ok(true), "logged in anyway");
        assert_eq!(memory.count(), 1);
    }

    #[test]
    fn at_the_limit_strangers_go_before_those_who_are_logged_in() {
        let memory = memory(4);
        for number in 0..2 {
            assert_eq!(memory.apply(None, &key(number), &log_in("ada"), 0), Ok(true));
        }
        for number in 2..4 {
            assert_eq!(memory.apply(None, &key(number), &value("x"), u64::from(number)), Ok(true));
        }
        assert_eq!(text(&memory, 2, 5).as_deref(), Some("x"), "used again");
        assert_eq!(memory.apply(None, &key(4), &value("y"), 6), Ok(true));
        let there: Vec<u32> = (0..5).filter(|number| memory.load(&key(*number), 6).is_some()).collect();
        // Which of the strangers goes depends on the parts they lie in; one of them does.
        assert_eq!((there.len(), there[0], there[1], there[3]), (4, 0, 1, 4));
        for number in 5..7 {
            assert_eq!(memory.apply(None, &key(number), &log_in("bob"), 7), Ok(true));
        }
        assert_eq!(memory.apply(None, &key(7), &value("z"), 8), Err(SessionError::Full));
        assert_eq!(memory.apply(None, &key(8), &log_in("eve"), 8), Ok(true));
        assert_eq!(memory.count(), 4);
        assert_eq!(memory.apply(None, &key(9), &value("z"), 500), Ok(true), "ended ones make room");
    }

    #[test]
    fn bytes_are_counted_and_given_back() {
        let memory = Memory::new(LIFE, usize::MAX, 10 * OVERHEAD_BYTES);
        for number in 0..1_000 {
            let text = "x".repeat(usize::try_from(number % 300).expect("small"));
            assert_eq!(memory.apply(None, &key(number), &value(&text), 0), Ok(true));
            assert!(memory.bytes.load(Ordering::Relaxed) <= 10 * OVERHEAD_BYTES);
        }
        assert!(memory.count() <= 10);
        (0..1_000).for_each(|number| memory.remove(&key(number)));
        assert_eq!((memory.count(), memory.bytes.load(Ordering::Relaxed)), (0, 0));
        let entries: usize =
            memory.shards.iter().map(|shard| shard.lock().expect("no panic").entries.len()).sum();
        assert!(entries <= 10 * SHARDS, "places are used again: {entries}");
    }

    #[test]
    fn a_hundred_thousand_are_found_each_by_one_look() {
        let memory = memory(100_000);
        for number in 0..100_000 {
            assert_eq!(memory.apply(None, &key(number), &value("x"), 0), Ok(true));
        }
        assert_eq!(memory.count(), 100_000);
        assert!((0..100_000).all(|number| memory.load(&key(number), 1).is_some()));
        assert!(memory.load(&key(100_000), 1).is_none());
        assert_eq!(memory.apply(None, &key(100_000), &value("x"), 2), Ok(true));
        assert_eq!(memory.count(), 100_000);
    }
}
