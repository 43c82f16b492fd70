//! The open-file cache of one worker: what addresses stand for, with descriptor or content and a head ready to be sent.
//!
//! [`FileCache::fetch`] answers from memory while an entry is fresh. When it is not, the kernel's caches are asked, and
//! only what the disk must tell becomes a [`LoadJob`] for the thread pool, whose result [`FileCache::admit`] takes in.
//!
//! An entry is fresh until its age is up, and not after its directory changed, where that is watched. Everything is
//! bounded: entries (each may hold a descriptor), bytes, and, in a table of their own, addresses that name nothing, so that
//! a scan of made-up names pushes out other made-up names only. What was evicted lives on while an answer still uses it.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use crate::clock_table::{ClockTable, Key, KeyHasher};
use crate::codings::Coding;
use crate::entry::{Entry, FileEntry};
use crate::load::{LoadOptions, Loaded, SiblingOf, is_unchanged};
use crate::open_error::OpenError;
use crate::path::directory_of;
use crate::root::{RootDir, Timestamp, Way};
use crate::watch::{Drained, Stamp, Watcher};

mod job;
mod limits;
#[cfg(test)]
mod tests;

pub use job::{LoadDone, LoadJob};
pub use limits::CacheLimits;

use job::{Ticket, load_now};

/// Longest path, in bytes, whose absence is remembered.
pub const ABSENT_PATH_LEN_MAX: usize = 256;

/// The part of its memory, as a divisor, that a file may have at most which is compressed for the cache.
#[cfg(feature = "compress")]
const MADE_SHARE: usize = 4;

/// How many entries are given up when the process runs out of descriptors.
const GIVEN_UP_AT_LIMIT: usize = 16;

/// What an entry takes beside its path, head and content, in bytes, about.
const ENTRY_OVERHEAD: usize = 320;

/// The clocks, as the worker read them last.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Monotonic, in milliseconds.
    pub ms: u64,
    /// The wall's.
    pub wall: Timestamp,
}

/// Where a site's files come from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Number of the site.
    pub site: u16,
    /// Its root as it is now.
    pub root: &'a Arc<RootDir>,
    /// Its settings.
    pub options: &'a Arc<LoadOptions>,
}

/// What [`FileCache::fetch`] found.
#[derive(Debug)]
pub enum Fetched<F> {
    /// This.
    Ready(Rc<Entry<F>>),
    /// Nothing that can be served, and why.
    Absent(OpenError),
    /// Only the disk can tell: run the job on the pool and give its result to [`FileCache::admit`].
    Pool(Box<LoadJob>),
}

/// What a cache did, since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheCounters {
    /// Fresh entries found.
    pub hits: u64,
    /// Absences remembered.
    pub absent_hits: u64,
    /// Entries that were stale and found unchanged.
    pub confirmed: u64,
    /// Loads from the kernel's caches, without waiting.
    pub loaded_at_once: u64,
    /// Loads sent to the pool.
    pub loaded_by_pool: u64,
    /// Entries evicted because of a bound.
    pub evicted: u64,
    /// Directory events taken.
    pub events: u64,
}

struct Held<F> {
    entry: Rc<Entry<F>>,
    expires_ms: Cell<u64>,
    stamp: Cell<Stamp>,
    weight: usize,
}

impl<F> Held<F> {
    fn has_descriptor(&self) -> bool {
        self.entry.file().is_some_and(|file| file.memory().is_none())
    }
}

struct Absence {
    error: OpenError,
    expires_ms: u64,
}

/// The cache. `F` is the worker's kind of descriptor, made of an [`OwnedFd`].
pub struct FileCache<F> {
    limits: CacheLimits,
    hasher: KeyHasher,
    entries: ClockTable<Held<F>>,
    absences: ClockTable<Absence>,
    bytes: usize,
    descriptors: usize,
    epoch: u64,
    watcher: Option<Watcher>,
    watcher_error: Option<io::Error>,
    counters: CacheCounters,
}

impl<F> fmt::Debug for FileCache<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCache")
            .field("entries", &self.entries.len())
            .field("absences", &self.absences.len())
            .field("bytes", &self.bytes)
            .field("watcher", &self.watcher)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl<F: From<OwnedFd>> FileCache<F> {
    /// An empty cache. Without a watcher when there is none to be had: see [`FileCache::watcher_error`].
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        let (watcher, watcher_error) = match limits.watches_max {
            0 => (None, None),
            max => match Watcher::new(max) {
                Ok(watcher) => (Some(watcher), None),
                Err(error) => (None, Some(error)),
            },
        };
        Self {
            limits,
            hasher: KeyHasher::new(),
            entries: ClockTable::new(),
            absences: ClockTable::new(),
            bytes: 0,
            descriptors: 0,
            epoch: 0,
            watcher,
            watcher_error,
            counters: CacheCounters::default(),
        }
    }

    /// Has other bounds from now on; gives up what is beyond them.
    pub fn set_limits(&mut self, limits: CacheLimits) {
        self.limits = CacheLimits { watches_max: self.limits.watches_max, ..limits };
        while self.entries.len() > limits.entries_max || self.bytes > limits.bytes_max {
            self.evict_one();
        }
        while self.descriptors > limits.descriptors_max && self.evict_descriptor() {}
        while self.absences.len() > limits.absent_max {
            self.absences.evict();
        }
    }

    /// What the normal path `path` stands for.
    #[inline]
    pub fn fetch(&mut self, source: Source<'_>, path: &[u8], now: Moment) -> Fetched<F> {
        let key = Key { site: source.site, coding: Coding::Identity, path };
        let hash = self.hasher.hash(&key);
        if let Some(held) = self.entries.get(hash, &key)
            && self.is_fresh(held, now)
        {
            let entry = Rc::clone(&held.entry);
            self.counters.hits += 1;
            return Fetched::Ready(entry);
        }
        self.fetch_again(source, key, hash, None, now)
    }

    /// The sibling in `coding` of `base`, the file `path` stands for. `Absent` when it is there no more: answer with
    /// `base` then.
    pub fn fetch_sibling(
        &mut self,
        source: Source<'_>,
        path: &[u8],
        base: &FileEntry<F>,
        coding: Coding,
        now: Moment,
    ) -> Fetched<F> {
        let key = Key { site: source.site, coding, path };
        let hash = self.hasher.hash(&key);
        if let Some(held) = self.entries.get(hash, &key)
            && self.is_fresh(held, now)
            && held.entry.file().is_some_and(|file| file.name() == base.name() && !file.is_made())
        {
            let entry = Rc::clone(&held.entry);
            self.counters.hits += 1;
            return Fetched::Ready(entry);
        }
        self.fetch_again(source, key, hash, Some(&SiblingOf::new(base, coding)), now)
    }

    /// What is made of `base`, the file `path` stands for, by compressing it in `coding`. It is good for as long as the file
    /// is the same, which was looked at for `base`. `Absent` when it cannot be made or kept, and an entry that is no
    /// file when there is no use in it: answer with `base` then.
    #[cfg(feature = "compress")]
    pub fn fetch_made(
        &mut self,
        source: Source<'_>,
        path: &[u8],
        base: &FileEntry<F>,
        coding: Coding,
        now: Moment,
    ) -> Fetched<F> {
        let key = Key { site: source.site, coding, path };
        let hash = self.hasher.hash(&key);
        if let Some(held) = self.entries.get(hash, &key)
            && held.entry.is_made_of(base)
        {
            let entry = Rc::clone(&held.entry);
            self.counters.hits += 1;
            return Fetched::Ready(entry);
        }
        if let Some(absence) = self.absences.get(hash, &key)
            && now.ms < absence.expires_ms
        {
            self.counters.absent_hits += 1;
            return Fetched::Absent(absence.error);
        }
        // What could not be kept would be made for every request.
        let has_room = base.content_len() <= (self.limits.bytes_max / MADE_SHARE) as u64;
        if self.limits.entries_max == 0 || !has_room {
            return Fetched::Absent(OpenError::NotFound);
        }
        let ticket = self.ticket(source, path);
        self.send_to_pool(source, key, Some(&SiblingOf::made(base, coding)), ticket, now)
    }

    /// Takes in what the pool brought.
    ///
    /// # Errors
    /// Why there is nothing to serve.
    pub fn admit(&mut self, done: LoadDone, now: Moment) -> Result<Rc<Entry<F>>, OpenError> {
        let LoadDone { site, path, coding, ticket, result } = done;
        let key = Key { site, coding, path: &path };
        self.take_in(self.hasher.hash(&key), key, result, ticket, now)
    }

    /// Forgets everything of `site`: its root leads to another directory, or its settings changed. Loads under way are
    /// answered with and not kept.
    pub fn forget_site(&mut self, site: u16) {
        let (mut bytes, mut descriptors) = (0, 0);
        self.entries.remove_site(site, |held| {
            bytes += held.weight;
            descriptors += usize::from(held.has_descriptor());
        });
        self.bytes -= bytes;
        self.descriptors -= descriptors;
        self.absences.remove_site(site, drop);
        self.epoch += 1;
        if let Some(watcher) = &mut self.watcher {
            watcher.forget_site(site);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.absences.clear();
        (self.bytes, self.descriptors) = (0, 0);
        self.epoch += 1;
    }

    /// Gives up entries that were not used lately, for their descriptors.
    pub fn give_up_some(&mut self) {
        let _given_up = (0..GIVEN_UP_AT_LIMIT).take_while(|_| self.evict_descriptor()).count();
    }

    /// The descriptor that is readable when [`FileCache::drain_events`] has something to do; `None` when nothing is watched.
    #[must_use]
    pub fn watch_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(Watcher::fd)
    }

    /// Why nothing is watched although it should be; age alone decides then.
    #[must_use]
    pub fn watcher_error(&self) -> Option<&io::Error> {
        self.watcher_error.as_ref()
    }

    /// Takes the directory events that wait. Never waits.
    pub fn drain_events(&mut self) -> Drained {
        let drained = self.watcher.as_mut().map(Watcher::drain).unwrap_or_default();
        self.counters.events += drained.events as u64;
        drained
    }

    /// How many entries there are, without absences.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many absences are remembered.
    #[must_use]
    pub fn absences(&self) -> usize {
        self.absences.len()
    }

    /// Bytes in use, as they count against [`CacheLimits::bytes_max`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many descriptors the entries hold.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// How many directories are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watcher.as_ref().map_or(0, Watcher::watched)
    }

    /// What the cache did.
    #[must_use]
    pub fn counters(&self) -> CacheCounters {
        self.counters
    }

    #[inline]
    fn is_fresh(&self, held: &Held<F>, now: Moment) -> bool {
        let stamp = held.stamp.get();
        let vouched =
            !stamp.is_some() || self.watcher.as_ref().is_some_and(|watcher| watcher.is_current(stamp));
        now.ms < held.expires_ms.get() && vouched
    }

    /// The way of what is not fresh in the cache.
    #[cold]
    fn fetch_again(
        &mut self,
        source: Source<'_>,
        key: Key<'_>,
        hash: u64,
        sibling: Option<&SiblingOf>,
        now: Moment,
    ) -> Fetched<F> {
        if let Some(absence) = self.absences.get(hash, &key)
            && now.ms < absence.expires_ms
        {
            self.counters.absent_hits += 1;
            return Fetched::Absent(absence.error);
        }
        // The stamp comes first: what changes after this moment makes it out of date.
        let ticket = self.ticket(source, key.path);
        if let Some(held) = self.entries.get(hash, &key) {
            match is_unchanged(source.root, key.path, &held.entry, source.options) {
                Ok(true) => {
                    self.confirm(held, ticket, now);
                    let entry = Rc::clone(&held.entry);
                    self.counters.confirmed += 1;
                    return Fetched::Ready(entry);
                }
                // An old answer is better than none while the process has no descriptor to look with.
                Err(OpenError::TooManyFiles) => return Fetched::Ready(Rc::clone(&held.entry)),
                Err(OpenError::WouldBlock) => return self.send_to_pool(source, key, sibling, ticket, now),
                Ok(false) | Err(_) => {}
            }
        }
        let load = || load_now(source.root, key.path, sibling, source.options, now.wall, Way::Cached);
        let loaded = match load() {
            Err(OpenError::TooManyFiles) if self.descriptors > 0 => {
                self.give_up_some();
                load()
            }
            loaded => loaded,
        };
        match loaded {
            Err(OpenError::WouldBlock) => self.send_to_pool(source, key, sibling, ticket, now),
            result => {
                self.counters.loaded_at_once += 1;
                match self.take_in(hash, key, result, ticket, now) {
                    Ok(entry) => Fetched::Ready(entry),
                    Err(error) => Fetched::Absent(error),
                }
            }
        }
    }

    fn send_to_pool(
        &mut self,
        source: Source<'_>,
        key: Key<'_>,
        sibling: Option<&SiblingOf>,
        ticket: Ticket,
        now: Moment,
    ) -> Fetched<F> {
        self.counters.loaded_by_pool += 1;
        Fetched::Pool(Box::new(LoadJob {
            site: key.site,
            root: Arc::clone(source.root),
            options: Arc::clone(source.options),
            path: key.path.into(),
            sibling: sibling.cloned(),
            wall: now.wall,
            ticket,
            #[cfg(feature = "compress")]
            permit: None,
        }))
    }

    fn ticket(&mut self, source: Source<'_>, path: &[u8]) -> Ticket {
        let stamp = self
            .watcher
            .as_mut()
            .map_or(Stamp::NONE, |watcher| watcher.stamp(source.site, source.root, directory_of(path)));
        Ticket { epoch: self.epoch, stamp }
    }

    /// Makes a stale entry that was found unchanged fresh again.
    fn confirm(&self, held: &Held<F>, ticket: Ticket, now: Moment) {
        let (stamp, life_ms) = self.life(&held.entry, ticket);
        held.stamp.set(stamp);
        held.expires_ms.set(now.ms.saturating_add(life_ms));
    }

    /// Which stamp vouches for an entry, and how long it lives from now in milliseconds.
    fn life(&self, entry: &Entry<F>, ticket: Ticket) -> (Stamp, u64) {
        // Behind a link, what changes may lie in a directory that is not watched.
        let direct = entry.file().is_none_or(|file| !file.through_link);
        let (stamp, age_ms) = match ticket.stamp.is_some() && direct {
            true => (ticket.stamp, self.limits.watched_age_ms_max),
            false => (Stamp::NONE, self.limits.age_ms_max),
        };
        match entry.file().filter(|file| file.is_weak()) {
            Some(file) => (stamp, age_ms.min(file.settles_ms())),
            None => (stamp, age_ms),
        }
    }

    fn take_in(
        &mut self,
        hash: u64,
        key: Key<'_>,
        result: Result<Loaded, OpenError>,
        ticket: Ticket,
        now: Moment,
    ) -> Result<Rc<Entry<F>>, OpenError> {
        if let Some(old) = self.entries.remove(hash, &key) {
            self.discount(&old);
        }
        self.absences.remove(hash, &key);
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => {
                self.remember_absence(hash, key, error, ticket, now);
                return Err(error);
            }
        };
        let keep = loaded.keep && ticket.epoch == self.epoch;
        let entry = Rc::new(loaded.entry.adopt::<F>());
        if keep {
            self.keep(hash, key, &entry, ticket, now);
        }
        Ok(entry)
    }

    fn keep(&mut self, hash: u64, key: Key<'_>, entry: &Rc<Entry<F>>, ticket: Ticket, now: Moment) {
        let weight = ENTRY_OVERHEAD + key.path.len() + entry.weight();
        if weight > self.limits.bytes_max || self.limits.entries_max == 0 {
            return;
        }
        let has_descriptor = entry.file().is_some_and(|file| file.memory().is_none());
        if has_descriptor {
            if self.limits.descriptors_max == 0 {
                return;
            }
            while self.descriptors >= self.limits.descriptors_max && self.evict_descriptor() {}
        }
        while self.entries.len() >= self.limits.entries_max || self.bytes + weight > self.limits.bytes_max {
            self.evict_one();
        }
        let (stamp, life_ms) = self.life(entry, ticket);
        let held = Held {
            entry: Rc::clone(entry),
            expires_ms: Cell::new(now.ms.saturating_add(life_ms)),
            stamp: Cell::new(stamp),
            weight,
        };
        self.bytes += weight;
        self.descriptors += usize::from(has_descriptor);
        let before = self.entries.insert(hash, &key, held);
        debug_assert!(before.is_none(), "what was there has been removed");
    }

    fn remember_absence(&mut self, hash: u64, key: Key<'_>, error: OpenError, ticket: Ticket, now: Moment) {
        if error == OpenError::TooManyFiles {
            self.give_up_some();
        }
        let lasting = error.is_lasting() && ticket.epoch == self.epoch;
        if !lasting || key.path.len() > ABSENT_PATH_LEN_MAX || self.limits.absent_max == 0 {
            return;
        }
        if self.absences.len() >= self.limits.absent_max {
            self.absences.evict();
        }
        let expires_ms = now.ms.saturating_add(self.limits.absent_age_ms_max);
        self.absences.insert(hash, &key, Absence { error, expires_ms });
    }

    fn evict_one(&mut self) {
        if let Some(held) = self.entries.evict() {
            self.discount(&held);
            self.counters.evicted += 1;
        }
    }

    /// False when no entry holds a descriptor.
    fn evict_descriptor(&mut self) -> bool {
        let Some(held) = self.entries.evict_where(Held::has_descriptor) else { return false };
        self.discount(&held);
        self.counters.evicted += 1;
        true
    }

    fn discount(&mut self, held: &Held<F>) {
        self.bytes -= held.weight;
        self.descriptors -= usize::from(held.has_descriptor());
    }
}
