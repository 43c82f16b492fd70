//! The open-file cache against a directory that changes under it.

use std::fs;

use super::*;
use crate::load::load;
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
    let done =
        LoadDone { site: 0, path: b"/a.txt"[..].into(), coding: Coding::Identity, ticket, result: loaded };
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
    let done = LoadDone { site: 3, path: b"/v"[..].into(), coding: Coding::Identity, ticket, result: late };
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
        let crate::entry::Content::File(fd) = entry.file().unwrap().content() else { panic!("too large") };
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
