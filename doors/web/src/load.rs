//! Loading: from a path below a root to an entry of the open-file cache.
//!
//! Everything here is a plain function of what it is given, so the thread pool can run it; with [`Way::Cached`] it never
//! waits for the disk and says [`OpenError::WouldBlock`] instead, so a worker can try first.
//!
//! A sibling (`app.js.br` beside `app.js`) is offered when it is there and a regular file. That it is no older than the file
//! itself is not asked for: build tools write siblings in any order, and who publishes both answers for both.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::cache_rules::CacheRules;
use crate::codings::{Coding, CodingSet, SIBLINGS};
#[cfg(feature = "compress")]
use crate::entry::PlainOf;
use crate::entry::{Content, Entry, FileEntry, Parts};
use crate::listing::Theme;
use crate::mime::MediaTypes;
use crate::open_error::OpenError;
use crate::path::relative;
use crate::root::{FileState, Found, Kind, Opened, RootDir, Timestamp, Way, state_now};

/// How the files of a site are turned into answers.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Names that stand for the directory they lie in, the first that is there wins. Default `index.html`.
    pub index: Vec<String>,
    /// Whether a directory without one may be listed. Default false.
    pub listing: bool,
    /// Codings in which a prepared sibling is looked for. Default all; each costs a look-up when a file is loaded.
    pub siblings: CodingSet,
    /// Media types by name.
    pub types: MediaTypes,
    /// What caches are told of files. Default nothing.
    pub caching: CacheRules,
    /// How listings look.
    pub theme: Theme,
    /// Compression of files that have no prepared sibling. Default none.
    #[cfg(feature = "compress")]
    pub compression: Option<std::sync::Arc<crate::compress::Compression>>,
    /// Names that are run, and whose content is never sent. Default none.
    #[cfg(feature = "scripts")]
    pub scripts: Option<std::sync::Arc<crate::scripts::Endings>>,
    /// Largest file, in bytes, whose content is kept in memory. Default 16 KiB.
    pub body_len_max: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            index: vec!["index.html".to_owned()],
            listing: false,
            siblings: CodingSet::ALL,
            types: MediaTypes::default(),
            caching: CacheRules::default(),
            theme: Theme::default(),
            #[cfg(feature = "compress")]
            compression: None,
            #[cfg(feature = "scripts")]
            scripts: None,
            body_len_max: 16 * 1024,
        }
    }
}

/// What loading brought; `Send`, for the way back from the pool.
#[derive(Debug)]
pub struct Loaded {
    pub(crate) entry: Entry<OwnedFd>,
    /// Whether the entry may be kept: a file that changed while it was read is good for one answer only.
    pub(crate) keep: bool,
}

/// Loads what the normal path `path` stands for. `now` is the wall clock's time.
///
/// # Errors
/// [`OpenError`]; `NotFound` also for a directory that has no index and may not be listed.
pub fn load(
    root: &RootDir,
    path: &[u8],
    options: &LoadOptions,
    now: Timestamp,
    way: Way,
) -> Result<Loaded, OpenError> {
    match locate(path, options, |name| root.open(name, way), |opened| opened.found)? {
        Located::Redirect => Ok(Loaded { entry: Entry::Redirect, keep: true }),
        Located::Listing => Ok(Loaded { entry: Entry::Listing, keep: true }),
        Located::File(name, opened) => {
            let siblings = siblings_of(root, &name, options, way)?;
            read_in(opened, name, Coding::Identity, siblings, options, now, way)
        }
    }
}

/// Loads the sibling in `coding` of the file `base`, which has it.
///
/// # Errors
/// [`OpenError`]; `NotFound` when the sibling is there no more: answer with the file itself.
pub fn load_sibling(
    root: &RootDir,
    base: &SiblingOf,
    options: &LoadOptions,
    now: Timestamp,
    way: Way,
) -> Result<Loaded, OpenError> {
    #[cfg(feature = "compress")]
    if let Some(state) = base.made_of {
        return make(root, base, state, options, now);
    }
    let opened = root.open(&sibling_name(&base.name, base.coding), way)?;
    if opened.found.kind != Kind::File {
        return Err(OpenError::NotFound);
    }
    read_in(opened, base.name.clone(), base.coding, base.siblings, options, now, way)
}

/// What a sibling is loaded by; `Send`, for the way to the pool.
#[derive(Clone, Debug)]
pub struct SiblingOf {
    name: Box<[u8]>,
    coding: Coding,
    siblings: CodingSet,
    /// It is not there: it is to be made of the file, if that is in this state.
    #[cfg(feature = "compress")]
    made_of: Option<FileState>,
}

impl SiblingOf {
    /// The sibling of `file` in `coding`.
    #[must_use]
    pub fn new<F>(file: &FileEntry<F>, coding: Coding) -> Self {
        Self {
            name: file.name.clone(),
            coding,
            siblings: file.siblings,
            #[cfg(feature = "compress")]
            made_of: None,
        }
    }

    /// What is made of `file` by compressing it in `coding`.
    #[cfg(feature = "compress")]
    #[must_use]
    pub fn made<F>(file: &FileEntry<F>, coding: Coding) -> Self {
        Self { made_of: Some(file.state), ..Self::new(file, coding) }
    }

    /// The sibling's coding.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }
}

/// Whether `entry`, loaded for `path`, is still what loading would bring. Never waits for the disk.
///
/// # Errors
/// `WouldBlock` when only the disk can tell. Other errors too mean that the entry is not what it was.
pub fn is_unchanged<F>(
    root: &RootDir,
    path: &[u8],
    entry: &Entry<F>,
    options: &LoadOptions,
) -> Result<bool, OpenError> {
    let way = Way::Cached;
    let located = locate(path, options, |name| root.find(name, way), |found| *found)?;
    match (entry, located) {
        (Entry::Redirect, Located::Redirect) | (Entry::Listing, Located::Listing) => Ok(true),
        (Entry::File(file), Located::File(name, found)) => {
            if file.is_weak() || name != file.name {
                return Ok(false);
            }
            if file.coding == Coding::Identity {
                let same = found.state == file.state;
                return Ok(same && siblings_of(root, &name, options, way)? == file.siblings);
            }
            let sibling = root.find(&sibling_name(&name, file.coding), way)?;
            Ok(sibling.kind == Kind::File && sibling.state == file.state)
        }
        _ => Ok(false),
    }
}

/// What a path stands for, before anything is read.
enum Located<T> {
    /// A file of this name.
    File(Box<[u8]>, T),
    Redirect,
    Listing,
}

/// Finds out what `path` stands for by `probe`, which opens or looks names up; `found` tells what it came upon.
fn locate<T>(
    path: &[u8],
    options: &LoadOptions,
    probe: impl Fn(&[u8]) -> Result<T, OpenError>,
    found: impl Fn(&T) -> Found,
) -> Result<Located<T>, OpenError> {
    let name = relative(path);
    let of_directory = path.ends_with(b"/");
    if !of_directory {
        let probed = probe(name)?;
        return Ok(match found(&probed).kind {
            Kind::File => Located::File(name.into(), probed),
            Kind::Directory => Located::Redirect,
        });
    }
    for index in &options.index {
        let index_name = join(name, index.as_bytes());
        match probe(&index_name) {
            Ok(probed) if found(&probed).kind == Kind::File => return Ok(Located::File(index_name, probed)),
            Ok(_) | Err(OpenError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    match found(&probe(name)?).kind {
        Kind::Directory if options.listing => Ok(Located::Listing),
        Kind::Directory | Kind::File => Err(OpenError::NotFound),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Box<[u8]> {
    if directory.is_empty() {
        return name.into();
    }
    [directory, b"/", name].concat().into()
}

fn sibling_name(name: &[u8], coding: Coding) -> Box<[u8]> {
    [name, coding.suffix().as_bytes()].concat().into()
}

/// Which siblings the file `name` has. What is coded already has none.
fn siblings_of(root: &RootDir, name: &[u8], options: &LoadOptions, way: Way) -> Result<CodingSet, OpenError> {
    let mut set = CodingSet::NONE;
    if SIBLINGS.iter().any(|coding| name.ends_with(coding.suffix().as_bytes())) {
        return Ok(set);
    }
    for coding in SIBLINGS.into_iter().filter(|&one| options.siblings.has(one)) {
        match root.find(&sibling_name(name, coding), way) {
            Ok(found) if found.kind == Kind::File => set = set.with(coding),
            Err(error @ (OpenError::WouldBlock | OpenError::TooManyFiles)) => return Err(error),
            _ => {}
        }
    }
    Ok(set)
}

/// Makes an opened file an entry; reads it when it is small.
fn read_in(
    opened: Opened,
    name: Box<[u8]>,
    coding: Coding,
    siblings: CodingSet,
    options: &LoadOptions,
    now: Timestamp,
    way: Way,
) -> Result<Loaded, OpenError> {
    let through_link = opened.found.through_link;
    let (content, state, keep) = match snapshot(&opened, options.body_len_max, way)? {
        Snapshot::Whole(bytes, state) => (Content::Memory(bytes), state, true),
        Snapshot::Large(state) => (Content::File(opened.fd), state, true),
        Snapshot::Unsteady(state) => (Content::File(opened.fd), state, false),
    };
    let media_type = options.types.of_name(&name);
    let caching = options.caching.find(&name, media_type.essence()).cloned();
    let makeable = makeable(options, media_type.essence(), coding, &name, state.len);
    let made_level = None;
    let parts = Parts {
        content,
        state,
        name,
        media_type,
        coding,
        siblings,
        makeable,
        made_level,
        through_link,
        caching,
    };
    Ok(Loaded { entry: Entry::File(parts.finish(now)), keep })
}

/// The codings that a file is compressed in when it is asked for.
#[cfg(feature = "compress")]
fn makeable(options: &LoadOptions, essence: &str, coding: Coding, name: &[u8], len: u64) -> CodingSet {
    let is_coded = coding != Coding::Identity
        || SIBLINGS.iter().any(|coding| name.ends_with(coding.suffix().as_bytes()));
    match &options.compression {
        Some(compression) if !is_coded => compression.codings_of(essence, len),
        _ => CodingSet::NONE,
    }
}

#[cfg(not(feature = "compress"))]
fn makeable(_: &LoadOptions, _: &str, _: Coding, _: &[u8], _: u64) -> CodingSet {
    CodingSet::NONE
}

/// Compresses the file `base`, where waiting is allowed. It must be as it was when that was decided, and stay so.
#[cfg(feature = "compress")]
fn make(
    root: &RootDir,
    base: &SiblingOf,
    state: FileState,
    options: &LoadOptions,
    now: Timestamp,
) -> Result<Loaded, OpenError> {
    let compression = options.compression.as_ref().ok_or(OpenError::NotFound)?;
    let opened = root.open(&base.name, Way::Blocking)?;
    if opened.found.kind != Kind::File || opened.found.state != state {
        return Err(OpenError::NotFound);
    }
    let read = |into: &mut [u8], at: u64| loop {
        match pread(&opened.fd, &mut *into, at) {
            Err(Errno::INTR) => {} // A signal came; nothing was read.
            other => return other,
        }
    };
    let made = compression.compress(base.coding, state.len, read)?;
    if state_now(opened.fd.as_fd())? != state {
        return Err(OpenError::NotFound);
    }
    let Some(bytes) = made else {
        return Ok(Loaded { entry: Entry::Plain(PlainOf { name: base.name.clone(), state }), keep: true });
    };
    let media_type = options.types.of_name(&base.name);
    let caching = options.caching.find(&base.name, media_type.essence()).cloned();
    let parts = Parts {
        content: Content::Memory(bytes),
        state,
        name: base.name.clone(),
        media_type,
        coding: base.coding,
        siblings: base.siblings,
        makeable: CodingSet::NONE,
        made_level: Some(compression.level(base.coding)),
        through_link: opened.found.through_link,
        caching,
    };
    Ok(Loaded { entry: Entry::File(parts.finish(now)), keep: true })
}

enum Snapshot {
    /// All bytes, and the state they belong to.
    Whole(Box<[u8]>, FileState),
    /// More than is kept in memory.
    Large(FileState),
    /// The file changes while it is read.
    Unsteady(FileState),
}

/// Reads a small file so that the bytes are one state of it: the state before and after must be the same and the length
/// what it says. Tries twice.
fn snapshot(opened: &Opened, len_max: u32, way: Way) -> Result<Snapshot, OpenError> {
    let fd = opened.fd.as_fd();
    let mut before = opened.found.state;
    for _ in 0..2 {
        if before.len > u64::from(len_max) {
            return Ok(Snapshot::Large(before));
        }
        let bytes = read_whole(fd, before.len, way)?;
        let after = state_now(fd)?;
        match bytes {
            Some(bytes) if before == after => return Ok(Snapshot::Whole(bytes, after)),
            _ => before = after,
        }
    }
    Ok(Snapshot::Unsteady(before))
}

/// Reads the file from its start; nothing when it is not exactly `len` bytes long.
fn read_whole(fd: BorrowedFd<'_>, len: u64, way: Way) -> Result<Option<Box<[u8]>>, OpenError> {
    let Ok(len) = usize::try_from(len) else { return Ok(None) };
    let mut bytes = vec![0; len + 1]; // One more, to see whether the file has grown.
    let mut filled = 0;
    while filled < bytes.len() {
        match read_at(fd, &mut bytes[filled..], filled as u64, way) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {} // A signal came; nothing was read.
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(len);
    Ok((filled == len).then(|| bytes.into_boxed_slice()))
}

fn read_at(fd: BorrowedFd<'_>, into: &mut [u8], offset: u64, way: Way) -> Result<usize, Errno> {
    if way == Way::Blocking {
        return pread(fd, into, offset);
    }
    match preadv2(fd, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT) {
        // OPNOTSUPP: the file system cannot promise not to wait. NOSYS, INVAL: the kernel is older than the flag.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(Errno::AGAIN),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root::{Root, RootOptions};
    use crate::test_dir::{TestDir, without_openat2};

    const NOW: Timestamp = Timestamp { seconds: 2_000_000_000, nanoseconds: 0 };

    fn root(dir: &TestDir) -> Root {
        Root::open(dir.path(), RootOptions::default(), 0).unwrap()
    }

    fn load_now(root: &Root, path: &str, options: &LoadOptions) -> Result<Loaded, OpenError> {
        load(root.dir(), path.as_bytes(), options, NOW, Way::Blocking)
    }

    fn file(loaded: Loaded) -> FileEntry<OwnedFd> {
        match loaded.entry {
            Entry::File(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn loaded_goes_to_and_from_the_pool() {
        fn is_send<T: Send>() {}
        is_send::<Loaded>();
        is_send::<SiblingOf>();
        is_send::<std::sync::Arc<LoadOptions>>();
        is_send::<std::sync::Arc<RootDir>>();
    }

    #[test]
    fn small_files_are_in_memory_and_large_ones_open() {
        let dir = TestDir::new();
        dir.write("a.html", "hello");
        dir.write("empty", "");
        dir.write("b.bin", vec![7; 100]);
        let root = root(&dir);
        let options = LoadOptions { body_len_max: 99, ..LoadOptions::default() };
        let small = file(load_now(&root, "/a.html", &options).unwrap());
        assert_eq!(small.memory(), Some(&b"hello"[..]));
        assert_eq!(small.content_type(), b"text/html; charset=utf-8");
        assert_eq!(file(load_now(&root, "/empty", &options).unwrap()).memory(), Some(&b""[..]));
        let large = file(load_now(&root, "/b.bin", &options).unwrap());
        assert!(large.memory().is_none());
        assert_eq!(large.content_len(), 100);
    }

    #[test]
    fn directories_have_an_index_a_redirect_or_a_listing() {
        let dir = TestDir::new();
        dir.write("site/index.htm", "second");
        dir.write("both/index.htm", "second");
        dir.write("both/index.html", "first");
        dir.dir("bare");
        dir.dir("odd/index.html");
        dir.write("plain.txt", "");
        let root = root(&dir);
        let mut options =
            LoadOptions { index: vec!["index.html".into(), "index.htm".into()], ..LoadOptions::default() };
        assert_eq!(file(load_now(&root, "/site/", &options).unwrap()).memory(), Some(&b"second"[..]));
        assert_eq!(file(load_now(&root, "/both/", &options).unwrap()).memory(), Some(&b"first"[..]));
        assert!(matches!(load_now(&root, "/site", &options).unwrap().entry, Entry::Redirect));
        for missing in ["/bare/", "/odd/", "/plain.txt/", "/none", "/none/", "/"] {
            assert_eq!(load_now(&root, missing, &options).unwrap_err(), OpenError::NotFound, "{missing}");
        }
        options.listing = true;
        for listed in ["/bare/", "/odd/", "/"] {
            assert!(matches!(load_now(&root, listed, &options).unwrap().entry, Entry::Listing), "{listed}");
        }
        assert_eq!(load_now(&root, "/plain.txt/", &options).unwrap_err(), OpenError::NotFound);
    }

    /// Tells something only where the tests do not run as root, whom permissions do not stop.
    #[test]
    fn a_directory_that_may_only_be_searched_still_has_its_index() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = TestDir::new();
        dir.write("closed/index.html", "in");
        let closed = dir.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o311)).unwrap();
        let root = root(&dir);
        let options = LoadOptions::default();
        assert_eq!(file(load_now(&root, "/closed/", &options).unwrap()).memory(), Some(&b"in"[..]));
        assert!(matches!(load_now(&root, "/closed", &options).unwrap().entry, Entry::Redirect));
        let index = closed.join("index.html");
        fs::set_permissions(&index, fs::Permissions::from_mode(0o200)).unwrap();
        match fs::read(&index) {
            Ok(_) => assert!(load_now(&root, "/closed/", &options).is_ok()),
            Err(_) => assert_eq!(load_now(&root, "/closed/", &options).unwrap_err(), OpenError::Forbidden),
        }
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn siblings_are_found_and_loaded_with_the_type_of_the_file() {
        let dir = TestDir::new();
        dir.write("app.js", "plain");
        dir.write("app.js.br", "br");
        dir.write("app.js.gz", "gz");
        dir.dir("app.js.zst");
        dir.write("a.tar.gz", "");
        dir.write("a.tar.gz.br", "");
        let root = root(&dir);
        let options = LoadOptions::default();
        let base = file(load_now(&root, "/app.js", &options).unwrap());
        assert_eq!(base.siblings(), CodingSet::NONE.with(Coding::Brotli).with(Coding::Gzip));
        let of = SiblingOf::new(&base, Coding::Gzip);
        let sibling = file(load_sibling(root.dir(), &of, &options, NOW, Way::Blocking).unwrap());
        assert_eq!(sibling.memory(), Some(&b"gz"[..]));
        assert_eq!(sibling.content_type(), b"text/javascript; charset=utf-8");
        assert_eq!(sibling.coding(), Coding::Gzip);
        assert_ne!(sibling.etag(), base.etag());
        let zstd = SiblingOf::new(&base, Coding::Zstd);
        let error = load_sibling(root.dir(), &zstd, &options, NOW, Way::Blocking).unwrap_err();
        assert_eq!(error, OpenError::NotFound);
        assert!(file(load_now(&root, "/a.tar.gz", &options).unwrap()).siblings().is_empty());
        let none = LoadOptions { siblings: CodingSet::NONE, ..options };
        assert!(file(load_now(&root, "/app.js", &none).unwrap()).siblings().is_empty());
    }

    #[test]
    fn the_worker_can_load_what_is_in_the_caches() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("a.txt", "hello");
        let root = root(&dir);
        let options = LoadOptions::default();
        load_now(&root, "/a.txt", &options).unwrap(); // The look-ups for siblings are in the caches now.
        let opened = root.dir().open(b"a.txt", Way::Cached).unwrap();
        if read_at(opened.fd.as_fd(), &mut [0; 1], 0, Way::Cached) == Err(Errno::AGAIN) {
            eprintln!("SKIPPED: this file system has no reads that promise not to wait");
        } else {
            let cached = load(root.dir(), b"/a.txt", &options, NOW, Way::Cached).unwrap();
            assert_eq!(file(cached).memory(), Some(&b"hello"[..]));
        }
        let never = load(root.dir(), b"/never-looked-up", &options, NOW, Way::Cached).unwrap_err();
        assert_eq!(never, OpenError::WouldBlock);
    }

    #[test]
    fn a_file_that_is_not_as_long_as_said_is_not_read_in() {
        let dir = TestDir::new();
        let path = dir.write("a.txt", "hello");
        let root = root(&dir);
        let opened = root.dir().open(b"a.txt", Way::Blocking).unwrap();
        for len in [0, 4, 6] {
            assert!(read_whole(opened.fd.as_fd(), len, Way::Blocking).unwrap().is_none(), "{len}");
        }
        // Truncated between opening and reading: the second try sees the file as it is.
        fs::write(&path, "he").unwrap();
        match snapshot(&opened, 99, Way::Blocking).unwrap() {
            Snapshot::Whole(bytes, state) => assert_eq!((bytes.as_ref(), state.len), (&b"he"[..], 2)),
            _ => panic!("steady by then"),
        }
        // Grown beyond what is kept in memory.
        fs::write(&path, "longer than ten bytes").unwrap();
        assert!(
            matches!(snapshot(&opened, 10, Way::Blocking).unwrap(), Snapshot::Large(state) if state.len == 21)
        );
    }

    #[test]
    fn changes_are_seen() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("d/a.txt", "hello");
        dir.write("d/b.txt.gz", "b");
        let root = root(&dir);
        let options = LoadOptions { listing: true, ..LoadOptions::default() };
        let unchanged = |path: &str, loaded: &Loaded| {
            // The look-up may have to leave the caches first.
            let _ = load_now(&root, path, &options);
            is_unchanged(root.dir(), path.as_bytes(), &loaded.entry, &options)
        };
        let loaded = load_now(&root, "/d/a.txt", &options).unwrap();
        assert_eq!(unchanged("/d/a.txt", &loaded), Ok(true));
        dir.write("d/a.txt.br", "sibling");
        assert_eq!(unchanged("/d/a.txt", &loaded), Ok(false));
        let loaded = load_now(&root, "/d/a.txt", &options).unwrap();
        fs::rename(dir.write("d/new", "hellO"), dir.path().join("d/a.txt")).unwrap();
        assert_eq!(unchanged("/d/a.txt", &loaded), Ok(false));
        let listing = load_now(&root, "/d/", &options).unwrap();
        assert_eq!(unchanged("/d/", &listing), Ok(true));
        dir.write("d/index.html", "now");
        assert_eq!(unchanged("/d/", &listing), Ok(false));
        let redirect = load_now(&root, "/d", &options).unwrap();
        assert_eq!(unchanged("/d", &redirect), Ok(true));
        fs::remove_dir_all(dir.path().join("d")).unwrap();
        assert_eq!(unchanged("/d", &redirect), Err(OpenError::NotFound));
    }

    #[test]
    fn a_weak_entry_is_never_unchanged_so_that_it_becomes_strong() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("a.txt", "hello");
        dir.set_mtime("a.txt", 1_000_000);
        let root = root(&dir);
        let options = LoadOptions::default();
        let soon = Timestamp { seconds: 1_000_001, nanoseconds: 0 };
        let weak = load(root.dir(), b"/a.txt", &options, soon, Way::Blocking).unwrap();
        assert_eq!(is_unchanged(root.dir(), b"/a.txt", &weak.entry, &options), Ok(false));
        let weak = file(weak);
        assert!(weak.etag().starts_with(b"W/") && weak.settles_ms() == 1000);
        assert!(!file(load_now(&root, "/a.txt", &options).unwrap()).is_weak());
    }
}
