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
use crate::load::{LoadOptions, Loaded, SiblingOf, is_unchanged, load, load_sibling};
use crate::open_error::OpenError;
use crate::path::directory_of;
use crate::root::{RootDir, Timestamp, Way};
use crate::watch::{Drained, Stamp, WATCHES_MAX, Watcher};

/// Longest path, in bytes, whose absence is remembered.
pub const ABSENT_PATH_LEN_MAX: usize = 256;

/// How many entries are given up when the process runs out of descriptors.
const GIVEN_UP_AT_LIMIT: usize = 16;

/// What an entry takes beside its path, head and content, in bytes, about.
const ENTRY_OVERHEAD: usize = 320;

/// The bounds of a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Most entries. 0 keeps nothing. Default 1024.
    pub entries_max: usize,
    /// Most descriptors that entries hold: those of files larger than what is kept in memory. Default 1024; a process
    /// that may have few should give the cache a part of them only, or connections find none.
    pub descriptors_max: usize,
    /// Most bytes of content, heads and paths. Default 8 MiB.
    pub bytes_max: usize,
    /// Most addresses remembered to name nothing. Default 512.
    pub absent_max: usize,
    /// How long, in milliseconds, an entry is fresh whose directory is not watched. Default 1000.
    pub age_ms_max: u64,
    /// How long, in milliseconds, one is whose directory is; for what the kernel does not tell. Default 10,000.
    pub watched_age_ms_max: u64,
    /// How long, in milliseconds, an absence is remembered. Default 1000.
    pub absent_age_ms_max: u64,
    /// Most directories that are watched; 0 watches none. Default [`WATCHES_MAX`].
    pub watches_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            entries_max: 1024,
            descriptors_max: 1024,
            bytes_max: 8 * 1024 * 1024,
            absent_max: 512,
            age_ms_max: 1000,
            watched_age_ms_max: 10_000,
            absent_age_ms_max: 1000,
            watches_max: WATCHES_MAX,
        }
    }
}

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

/// A load to be run where waiting for the disk is allowed.
#[derive(Debug)]
pub struct LoadJob {
    site: u16,
    root: Arc<RootDir>,
    options: Arc<LoadOptions>,
    path: Box<[u8]>,
    sibling: Option<SiblingOf>,
    wall: Timestamp,
    ticket: Ticket,
}

impl LoadJob {
    /// Loads. May wait for the disk.
    #[must_use]
    pub fn run(self) -> LoadDone {
        let result =
            load_now(&self.root, &self.path, self.sibling.as_ref(), &self.options, self.wall, Way::Blocking);
        let coding = self.sibling.as_ref().map_or(Coding::Identity, SiblingOf::coding);
        LoadDone { site: self.site, path: self.path, coding, ticket: self.ticket, result }
    }
}

/// A load that was run.
#[derive(Debug)]
pub struct LoadDone {
    site: u16,
    path: Box<[u8]>,
    coding: Coding,
    ticket: Ticket,
    result: Result<Loaded, OpenError>,
}

/// What was true before a load began: whether its result may be kept depends on it.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    epoch: u64,
    stamp: Stamp,
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
            && held.entry.file().is_some_and(|file| file.name() == base.name())
        {
            let entry = Rc::clone(&held.entry);
            self.counters.hits += 1;
            return Fetched::Ready(entry);
        }
        self.fetch_again(source, key, hash, Some(&SiblingOf::new(base, coding)), now)
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

fn load_now(
    root: &RootDir,
    path: &[u8],
    sibling: Option<&SiblingOf>,
    options: &LoadOptions,
    wall: Timestamp,
    way: Way,
) -> Result<Loaded, OpenError> {
    match sibling {
        None => load(root, path, options, wall, way),
        Some(sibling) => load_sibling(root, sibling, options, wall, way),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root::{Root, RootOptions};
    use crate::test_dir::{TestDir, without_openat2};

    type Cache = FileCache<OwnedFd>;

    /// A site in a directory of its own, with the time as the test wants it.
    struct Site {
        dir: TestDir,
        root: Root,
        options: Arc<LoadOptions>,
        now: Moment,
    }

    impl Site {
        fn new() -> Self {
            let dir = TestDir::new();
            let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
            let wall = Timestamp { seconds: 2_000_000_000, nanoseconds: 0 };
            let options = Arc::new(LoadOptions { body_len_max: 100, ..LoadOptions::default() });
            Self { dir, root, options, now: Moment { ms: 5000, wall } }
        }

        fn source(&self) -> Source<'_> {
            Source { site: 0, root: self.root.dir(), options: &self.options }
        }

        /// Fetches as a worker with a pool does; says whether the pool had to help.
        fn fetch_how(&self, cache: &mut Cache, path: &str) -> (Result<Rc<Entry<OwnedFd>>, OpenError>, bool) {
            match cache.fetch(self.source(), path.as_bytes(), self.now) {
                Fetched::Ready(entry) => (Ok(entry), false),
                Fetched::Absent(error) => (Err(error), false),
                Fetched::Pool(job) => {
                    let done = std::thread::spawn(move || job.run()).join().unwrap();
                    (cache.admit(done, self.now), true)
                }
            }
        }

        fn fetch(&self, cache: &mut Cache, path: &str) -> Result<Rc<Entry<OwnedFd>>, OpenError> {
            self.fetch_how(cache, path).0
        }

        fn text(&self, cache: &mut Cache, path: &str) -> String {
            let entry = self.fetch(cache, path).unwrap();
            String::from_utf8(entry.file().unwrap().memory().unwrap().to_vec()).unwrap()
        }
    }

    fn unwatched() -> CacheLimits {
        CacheLimits { watches_max: 0, ..CacheLimits::default() }
    }

    #[test]
    fn a_second_fetch_is_a_hit_and_the_same_entry() {
        if without_openat2() {
            return;
        }
        let site = Site::new();
        site.dir.write("a.txt", "hello");
        let mut cache = Cache::new(CacheLimits::default());
        let first = site.fetch(&mut cache, "/a.txt").unwrap();
        let (second, by_pool) = site.fetch_how(&mut cache, "/a.txt");
        assert!(Rc::ptr_eq(&first, &second.unwrap()) && !by_pool);
        assert_eq!(cache.counters().hits, 1);
        assert_eq!((cache.len(), cache.watched()), (1, 1));
        assert!(cache.bytes() > 5 && !cache.is_empty() && cache.watcher_error().is_none());
        cache.clear();
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        assert!(!Rc::ptr_eq(&first, &site.fetch(&mut cache, "/a.txt").unwrap()));
    }

    #[test]
    fn without_watches_age_finds_out_what_was_replaced() {
        if without_openat2() {
            return;
        }
        let mut site = Site::new();
        site.dir.write("a.txt", "old");
        let mut cache = Cache::new(unwatched());
        assert!(cache.watch_fd().is_none());
        assert_eq!(site.text(&mut cache, "/a.txt"), "old");
        let new = site.dir.write("new", "new");
        fs::rename(new, site.dir.path().join("a.txt")).unwrap();
        site.now.ms += 999;
        assert_eq!(site.text(&mut cache, "/a.txt"), "old");
        site.now.ms += 1;
        assert_eq!(site.text(&mut cache, "/a.txt"), "new");
        site.now.ms += 1000;
        let held = site.fetch(&mut cache, "/a.txt").unwrap();
        site.now.ms += 1000;
        assert!(Rc::ptr_eq(&held, &site.fetch(&mut cache, "/a.txt").unwrap()), "unchanged, so confirmed");
        assert_eq!(cache.counters().confirmed, 2);
    }

    #[test]
    fn with_watches_a_change_is_seen_at_once_and_no_change_lives_longer() {
        if without_openat2() {
            return;
        }
        let mut site = Site::new();
        site.dir.write("d/a.txt", "old");
        site.dir.write("d/b.txt", "b");
        let mut cache = Cache::new(CacheLimits::default());
        // The first fetch may bring the directory into the kernel's caches; from the next it is watched.
        site.text(&mut cache, "/d/a.txt");
        cache.clear();
        assert_eq!(site.text(&mut cache, "/d/a.txt"), "old");
        site.now.ms += 9999;
        let before = cache.counters();
        assert_eq!(site.text(&mut cache, "/d/a.txt"), "old");
        assert_eq!(cache.counters().hits, before.hits + 1);
        site.dir.write("d/a.txt", "newer");
        assert!(cache.drain_events().events > 0);
        assert_eq!(site.text(&mut cache, "/d/a.txt"), "newer");
        assert!(cache.counters().events > 0);
        site.now.ms += 10_000;
        site.text(&mut cache, "/d/a.txt");
        assert_eq!(cache.counters().hits, before.hits + 1, "age ends it all the same");
    }

    #[test]
    fn a_change_between_load_and_answer_of_the_pool_is_not_missed() {
        if without_openat2() {
            return;
        }
        let site = Site::new();
        site.dir.write("a.txt", "old");
        let mut cache = Cache::new(CacheLimits::default());
        site.text(&mut cache, "/a.txt");
        cache.clear();
        let ticket = cache.ticket(site.source(), b"/a.txt");
        assert!(ticket.stamp.is_some());
        let loaded = load(site.root.dir(), b"/a.txt", &site.options, site.now.wall, Way::Blocking);
        site.dir.write("a.txt", "newer");
        cache.drain_events();
        let done = LoadDone {
            site: 0,
            path: b"/a.txt"[..].into(),
            coding: Coding::Identity,
            ticket,
            result: loaded,
        };
        cache.admit(done, site.now).unwrap();
        assert_eq!(site.text(&mut cache, "/a.txt"), "newer");
    }

    #[test]
    fn without_openat2_everything_goes_through_the_pool_and_still_ages() {
        let mut site = Site::new();
        site.dir.write("d/a.txt", "old");
        let options = RootOptions { openat2: false, ..RootOptions::default() };
        site.root = Root::open(site.dir.path(), options, 0).unwrap();
        let mut cache = Cache::new(CacheLimits::default());
        let (entry, by_pool) = site.fetch_how(&mut cache, "/d/a.txt");
        assert!(entry.is_ok() && by_pool && cache.watched() == 0);
        assert!(!site.fetch_how(&mut cache, "/d/a.txt").1);
        site.dir.write("d/a.txt", "newer");
        site.now.ms += 1000;
        assert!(site.fetch_how(&mut cache, "/d/a.txt").1);
        assert_eq!(site.text(&mut cache, "/d/a.txt"), "newer");
    }

    #[test]
    fn a_file_behind_a_link_is_not_left_to_watches() {
        if without_openat2() {
            return;
        }
        let mut site = Site::new();
        site.dir.write("real/a.txt", "old");
        site.dir.link("real/a.txt", "a.txt");
        let mut cache = Cache::new(CacheLimits::default());
        site.text(&mut cache, "/a.txt");
        cache.clear();
        assert_eq!(site.text(&mut cache, "/a.txt"), "old");
        site.dir.write("real/a.txt", "newer");
        cache.drain_events();
        site.now.ms += 1000;
        assert_eq!(site.text(&mut cache, "/a.txt"), "newer");
    }

    #[test]
    fn a_weak_tag_becomes_strong_when_the_file_has_settled() {
        let mut site = Site::new();
        site.dir.write("a.txt", "hello");
        site.dir.set_mtime("a.txt", 1_999_999_999);
        let mut cache = Cache::new(CacheLimits::default());
        let weak = |entry: Rc<Entry<OwnedFd>>| entry.file().unwrap().is_weak();
        assert!(weak(site.fetch(&mut cache, "/a.txt").unwrap()));
        site.now.ms += 999;
        assert!(weak(site.fetch(&mut cache, "/a.txt").unwrap()));
        site.now.ms += 1;
        site.now.wall.seconds += 1;
        assert!(!weak(site.fetch(&mut cache, "/a.txt").unwrap()));
    }

    #[test]
    fn absences_are_remembered_briefly_and_bounded_by_themselves() {
        let mut site = Site::new();
        site.dir.write("good.txt", "good");
        let mut cache = Cache::new(CacheLimits { absent_max: 8, ..CacheLimits::default() });
        let good = site.fetch(&mut cache, "/good.txt").unwrap();
        for number in 0..1000 {
            let path = format!("/scan/{number}");
            assert_eq!(site.fetch(&mut cache, &path).unwrap_err(), OpenError::NotFound);
            assert!(cache.absences() <= 8);
        }
        assert!(Rc::ptr_eq(&good, &site.fetch(&mut cache, "/good.txt").unwrap()));
        assert_eq!(cache.len(), 1);
        let before = cache.counters().absent_hits;
        site.fetch(&mut cache, "/soon").unwrap_err();
        site.fetch(&mut cache, "/soon").unwrap_err();
        assert_eq!(cache.counters().absent_hits, before + 1);
        site.dir.write("soon", "here");
        site.now.ms += 1000;
        assert_eq!(site.text(&mut cache, "/soon"), "here");
        let long = format!("/{}", "l".repeat(ABSENT_PATH_LEN_MAX));
        let absences = cache.absences();
        site.fetch(&mut cache, &long).unwrap_err();
        assert_eq!(cache.absences(), absences);
    }

    #[test]
    fn descriptors_have_a_bound_of_their_own() {
        let site = Site::new();
        let mut cache = Cache::new(CacheLimits { descriptors_max: 3, ..unwatched() });
        for number in 0..20 {
            site.dir.write(&format!("small-{number}"), "small");
            site.dir.write(&format!("large-{number}"), vec![7; 200]);
        }
        for number in 0..20 {
            for kind in ["small", "large"] {
                assert!(site.fetch_how(&mut cache, &format!("/{kind}-{number}")).0.is_ok());
            }
            assert_eq!(cache.descriptors(), 3.min(number + 1));
        }
        assert_eq!((cache.len(), cache.counters().evicted), (23, 17), "what is in memory stays");
        fs::remove_file(site.dir.path().join("large-19")).unwrap();
        let mut later = site;
        later.now.ms += 60_000;
        assert!(later.fetch_how(&mut cache, "/large-19").0.is_err());
        assert_eq!(cache.descriptors(), 2);
        cache.give_up_some();
        assert_eq!((cache.len(), cache.descriptors()), (20, 0));
        assert!(later.fetch_how(&mut cache, "/large-1").0.is_ok());
        cache.forget_site(0);
        assert_eq!((cache.len(), cache.descriptors(), cache.bytes()), (0, 0, 0));
        let mut none = Cache::new(CacheLimits { descriptors_max: 0, ..unwatched() });
        assert!(later.fetch_how(&mut none, "/large-1").0.is_ok());
        assert!(none.is_empty());
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let site = Site::new();
        for number in 0..50 {
            site.dir.write(&format!("{number}.txt"), vec![b'x'; 100]);
        }
        let mut cache = Cache::new(CacheLimits { entries_max: 10, ..unwatched() });
        let held = site.fetch(&mut cache, "/0.txt").unwrap();
        for number in 0..50 {
            site.fetch(&mut cache, &format!("/{number}.txt")).unwrap();
            assert!(cache.len() <= 10);
        }
        assert_eq!(cache.counters().evicted, 40);
        assert_eq!(held.file().unwrap().memory().unwrap().len(), 100, "what is in use lives on");
        let one = ENTRY_OVERHEAD + 6 + held.weight();
        let mut cache = Cache::new(CacheLimits { bytes_max: one * 3 + 50, ..unwatched() });
        for number in 0..50 {
            site.fetch(&mut cache, &format!("/{number}.txt")).unwrap();
            assert!(cache.bytes() <= one * 3 + 50 && cache.len() <= 3);
        }
        assert_eq!(cache.len(), 3);
        for limits in
            [CacheLimits { bytes_max: 10, ..unwatched() }, CacheLimits { entries_max: 0, ..unwatched() }]
        {
            let mut cache = Cache::new(limits);
            site.fetch(&mut cache, "/0.txt").unwrap();
            assert_eq!((cache.len(), cache.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_swung_root_is_forgotten_and_loads_under_way_are_not_kept() {
        let site = Site::new();
        site.dir.write("one/v", "1");
        site.dir.write("two/v", "2");
        let current = site.dir.link("one", "current");
        let mut root = Root::open(&current, RootOptions::default(), 0).unwrap();
        let mut cache = Cache::new(CacheLimits::default());
        let text = |cache: &mut Cache, root: &Root| match cache.fetch(
            Source { site: 3, root: root.dir(), options: &site.options },
            b"/v",
            site.now,
        ) {
            Fetched::Ready(entry) => entry.file().unwrap().memory().unwrap().to_vec(),
            Fetched::Pool(job) => {
                cache.admit(job.run(), site.now).unwrap().file().unwrap().memory().unwrap().to_vec()
            }
            Fetched::Absent(error) => panic!("{error}"),
        };
        assert_eq!(text(&mut cache, &root), b"1");
        let old = Source { site: 3, root: root.dir(), options: &site.options };
        let ticket = cache.ticket(old, b"/v");
        let late = load(root.dir(), b"/v", &site.options, site.now.wall, Way::Blocking);
        site.dir.link("two", "next");
        fs::rename(site.dir.path().join("next"), &current).unwrap();
        let swung = root.lookup(1000).run().unwrap();
        assert_eq!(root.install(swung, 1000), crate::root::Refresh::Swung);
        cache.forget_site(3);
        assert_eq!((cache.len(), cache.bytes(), cache.watched()), (0, 0, 0));
        let done =
            LoadDone { site: 3, path: b"/v"[..].into(), coding: Coding::Identity, ticket, result: late };
        assert_eq!(cache.admit(done, site.now).unwrap().file().unwrap().memory(), Some(&b"1"[..]));
        assert!(cache.is_empty(), "answered with, not kept");
        assert_eq!(text(&mut cache, &root), b"2");
    }

    #[test]
    fn siblings_are_entries_of_their_own_and_may_vanish() {
        let mut site = Site::new();
        site.dir.write("app.js", "plain");
        site.dir.write("app.js.gz", "gz");
        let mut cache = Cache::new(unwatched());
        let base = site.fetch(&mut cache, "/app.js").unwrap();
        let base = base.file().unwrap();
        let sibling = |cache: &mut Cache, now: Moment| {
            let fetched = cache.fetch_sibling(site.source(), b"/app.js", base, Coding::Gzip, now);
            match fetched {
                Fetched::Ready(entry) => Ok(entry),
                Fetched::Absent(error) => Err(error),
                Fetched::Pool(job) => cache.admit(job.run(), now),
            }
        };
        let first = sibling(&mut cache, site.now).unwrap();
        assert_eq!(first.file().unwrap().memory(), Some(&b"gz"[..]));
        assert!(Rc::ptr_eq(&first, &sibling(&mut cache, site.now).unwrap()));
        assert_eq!(cache.len(), 2);
        fs::remove_file(site.dir.path().join("app.js.gz")).unwrap();
        let later = Moment { ms: site.now.ms + 1000, ..site.now };
        assert_eq!(sibling(&mut cache, later).unwrap_err(), OpenError::NotFound);
        site.now = later;
        assert!(site.fetch(&mut cache, "/app.js").unwrap().file().unwrap().siblings().is_empty());
    }

    #[test]
    fn giving_up_frees_descriptors() {
        let site = Site::new();
        for number in 0..40 {
            site.dir.write(&format!("{number}.bin"), vec![b'x'; 200]);
        }
        let mut cache: FileCache<Rc<OwnedFd>> = FileCache::new(unwatched());
        let mut weak = Vec::new();
        for number in 0..40 {
            let path = format!("/{number}.bin");
            let entry = match cache.fetch(site.source(), path.as_bytes(), site.now) {
                Fetched::Ready(entry) => entry,
                Fetched::Pool(job) => cache.admit(job.run(), site.now).unwrap(),
                Fetched::Absent(error) => panic!("{error}"),
            };
            let crate::entry::Content::File(fd) = entry.file().unwrap().content() else {
                panic!("too large")
            };
            weak.push(Rc::downgrade(fd));
        }
        assert!(weak.iter().all(|fd| fd.strong_count() == 1));
        cache.give_up_some();
        assert_eq!(weak.iter().filter(|fd| fd.strong_count() == 0).count(), GIVEN_UP_AT_LIMIT);
        let done = LoadDone {
            site: 0,
            path: b"/full"[..].into(),
            coding: Coding::Identity,
            ticket: Ticket { epoch: 0, stamp: Stamp::NONE },
            result: Err(OpenError::TooManyFiles),
        };
        assert_eq!(cache.admit(done, site.now).unwrap_err(), OpenError::TooManyFiles);
        assert_eq!((cache.len(), cache.absences()), (40 - 2 * GIVEN_UP_AT_LIMIT, 0));
    }
}
