//! The root of a site: the directory nothing is served from outside of, and how names below it are opened.
//!
//! A [`RootDir`] holds a descriptor; every name is resolved below it by `openat2` with `RESOLVE_BENEATH`, so that neither
//! `..` nor a link leads out, whatever changes on disk meanwhile. Where the kernel refuses `openat2` (before 5.6, or a
//! container's seccomp filter) names are walked one directory at a time and no link is followed at all. A [`Root`] looks
//! its path up again as its knowledge ages, so that a deploy which swings a link (`current` to `release2`) is seen.
//!
//! Files are opened so that nothing can block or act: no FIFO waits for a writer, no terminal is adopted, and what is
//! neither a file nor a directory is refused.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use crate::open_error::OpenError;

/// How often a resolution that raced with a rename, or a lease break, is tried again before it counts as failed.
const RETRIES_MAX: usize = 8;

/// Opens a file for reading without ever waiting for a peer behind it or taking it as controlling terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Finds a file without opening it.
const FIND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Finds a directory without opening it.
const FIND_DIRECTORY: OFlags = FIND.union(OFlags::DIRECTORY);

/// Whether a call may wait for the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the kernel's caches only; gives [`OpenError::WouldBlock`] when they do not have it. For workers.
    Cached,
    /// However long it takes. For the thread pool.
    Blocking,
}

/// How names below a root are resolved; for reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resolver {
    /// `openat2`, and the worker may try from the caches.
    Openat2,
    /// `openat2` of a kernel before 5.12: everything goes through the pool.
    Openat2Uncached,
    /// One `openat` a directory, links refused, through the pool.
    Walk,
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Openat2 => "openat2",
            Self::Openat2Uncached => "openat2 without cached look-up (kernel before 5.12)",
            Self::Walk => "walk, symbolic links refused (openat2 is not available)",
        })
    }
}

/// Settings of a root.
#[derive(Clone, Copy, Debug)]
pub struct RootOptions {
    /// Whether links that stay inside the root are followed. Default true. Never with [`Resolver::Walk`].
    pub symlinks: bool,
    /// Whether `openat2` may be used. Default true.
    pub openat2: bool,
    /// How long, in milliseconds, the directory found under the root's path is taken for current. Default 1000.
    pub age_ms_max: u64,
    /// The number of the user the root must belong to, if any; its path must end in no link then. For roots that are not the
    /// operator's. Default none.
    pub owner: Option<u32>,
}

impl Default for RootOptions {
    fn default() -> Self {
        Self { symlinks: true, openat2: true, age_ms_max: 1000, owner: None }
    }
}

/// A moment of a file system's clock: seconds since 1970 and nanoseconds within the second.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What identifies a file and its state: when all of it is the same, so is the content, as far as a kernel can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileState {
    /// Device number.
    pub device: u64,
    /// Inode number on the device.
    pub inode: u64,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the content or of owner, mode, links.
    pub changed: Timestamp,
}

/// What is served: a regular file, or a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// File or directory.
    pub kind: Kind,
    /// Identity and state.
    pub state: FileState,
    /// Whether a symbolic link was followed: then watching the name's directory does not tell of changes.
    pub through_link: bool,
}

/// A file or directory, open.
#[derive(Debug)]
pub struct Opened {
    /// The descriptor; of a directory that may be searched but not read it is an `O_PATH` one.
    pub fd: OwnedFd,
    /// What it is.
    pub found: Found,
}

/// The directory a root's path led to when it was last looked up. Shared with the pool's threads.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    device: u64,
    inode: u64,
    symlinks: bool,
    resolver: Resolver,
}

impl RootDir {
    /// How names are resolved here.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.resolver
    }

    /// Opens `rel` (relative to the root, no slash at either end, `b""` for the root itself) for reading.
    ///
    /// # Errors
    /// [`OpenError`]; `WouldBlock` only with [`Way::Cached`], or when another process holds a lease on the file.
    pub fn open(&self, rel: &[u8], way: Way) -> Result<Opened, OpenError> {
        match self.resolve(rel, READ, way) {
            Ok((fd, through_link)) => {
                let found = found(&fd, through_link)?;
                Ok(Opened { fd, found })
            }
            // A directory one may search but not read can still have an index file.
            Err(Errno::ACCESS) => {
                let (fd, through_link) = match self.resolve(rel, FIND_DIRECTORY, way) {
                    Err(Errno::NOTDIR) => return Err(OpenError::Forbidden), // A file one may not read.
                    other => other?,
                };
                let found = found(&fd, through_link)?;
                Ok(Opened { fd, found })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// What `rel` stands for, without opening it.
    ///
    /// # Errors
    /// As [`RootDir::open`].
    pub fn find(&self, rel: &[u8], way: Way) -> Result<Found, OpenError> {
        let (fd, through_link) = self.resolve(rel, FIND, way)?;
        found(&fd, through_link)
    }

    /// An `O_PATH` descriptor of the directory `rel` if no link is on the way to it; what a watch is set on.
    ///
    /// # Errors
    /// As [`RootDir::open`]; `Forbidden` when there is a link.
    pub fn find_directory(&self, rel: &[u8], way: Way) -> Result<OwnedFd, OpenError> {
        if self.resolver == Resolver::Walk {
            return Ok(self.walk(rel, FIND_DIRECTORY, way)?);
        }
        Ok(self.openat2(rel, FIND_DIRECTORY, way, ResolveFlags::NO_SYMLINKS)?)
    }

    /// A descriptor of what `rel` stands for, which is neither opened nor acted upon.
    #[cfg(feature = "dav")]
    pub(crate) fn locate(&self, rel: &[u8]) -> Result<OwnedFd, OpenError> {
        Ok(self.resolve(rel, FIND, Way::Blocking)?.0)
    }

    /// The directory `rel` as a root of its own, in which no link is followed.
    #[cfg(feature = "dav")]
    pub(crate) fn below(&self, rel: &[u8]) -> Result<Self, OpenError> {
        let fd = self.find_directory(rel, Way::Blocking)?;
        let stat = fstat(&fd)?;
        let (device, inode) = (device_of(&stat), inode_of(&stat));
        Ok(Self { fd, device, inode, symlinks: false, resolver: self.resolver })
    }

    /// Whether the directory itself may be read (not needed to serve names out of it, but to list it).
    ///
    /// # Errors
    /// What the kernel says to opening it.
    pub fn check_readable(&self) -> io::Result<()> {
        openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(())
    }

    /// Opens by the resolver in use; says too whether a link was followed.
    fn resolve(&self, rel: &[u8], flags: OFlags, way: Way) -> Result<(OwnedFd, bool), Errno> {
        if self.resolver == Resolver::Walk {
            return Ok((self.walk(rel, flags, way)?, false));
        }
        match self.openat2(rel, flags, way, ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) if self.symlinks => {
                Ok((self.openat2(rel, flags, way, ResolveFlags::empty())?, true))
            }
            other => Ok((other?, false)),
        }
    }

    fn openat2(&self, rel: &[u8], flags: OFlags, way: Way, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        let name = if rel.is_empty() { b"." } else { rel };
        let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
        if way == Way::Cached {
            if self.resolver != Resolver::Openat2 {
                return Err(Errno::AGAIN);
            }
            how |= ResolveFlags::CACHED;
            return openat2(&self.fd, name, flags, Mode::empty(), how);
        }
        // AGAIN: a rename happened while `..` of a link was resolved, or a lease is being broken. INTR: a signal came.
        let mut result = Err(Errno::AGAIN);
        for _ in 0..RETRIES_MAX {
            result = openat2(&self.fd, name, flags, Mode::empty(), how);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result
    }

    /// Opens one segment after the other and follows no link.
    fn walk(&self, rel: &[u8], flags: OFlags, way: Way) -> Result<OwnedFd, Errno> {
        if way == Way::Cached {
            return Err(Errno::AGAIN); // `openat` has no way to say "only from the caches".
        }
        let (directories, last) = match memchr::memrchr(b'/', rel) {
            Some(at) => (&rel[..at], &rel[at + 1..]),
            None => (&rel[..0], rel),
        };
        let mut held: Option<OwnedFd> = None;
        if !directories.is_empty() {
            for segment in directories.split(|&byte| byte == b'/') {
                let from = held.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
                held = Some(step(from, segment, FIND_DIRECTORY)?);
            }
        }
        let from = held.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        if rel.is_empty() {
            return openat(from, ".", flags, Mode::empty());
        }
        let opened = step(from, last, flags)?;
        // With O_PATH the link itself would be found, not refused.
        match FileType::from_raw_mode(fstat(&opened)?.st_mode) {
            FileType::Symlink => Err(Errno::LOOP),
            _ => Ok(opened),
        }
    }
}

/// The path of a root, and the directory it led to when last looked up. Owned by one worker.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    options: RootOptions,
    dir: Arc<RootDir>,
    checked_ms: u64,
}

/// A root opened once for all workers: until its path leads elsewhere they share one descriptor.
#[derive(Clone, Debug)]
pub struct OpenRoot {
    path: PathBuf,
    options: RootOptions,
    dir: Arc<RootDir>,
}

impl OpenRoot {
    /// Opens the directory at `path`, as [`Root::open`].
    ///
    /// # Errors
    /// As [`Root::open`].
    pub fn open(path: &Path, options: RootOptions) -> io::Result<Self> {
        let Root { path, options, dir, .. } = Root::open(path, options, 0)?;
        Ok(Self { path, options, dir })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &RootDir {
        &self.dir
    }

    /// Its path, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What looking a root's path up again brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// The same directory.
    Same,
    /// Another one: what is cached of the old one must go.
    Swung,
}

/// A root's path being looked up again, to be run on the pool.
#[derive(Clone, Debug)]
pub struct RootLookup {
    path: PathBuf,
    options: RootOptions,
}

impl RootLookup {
    /// Opens the directory the path leads to now. May wait for the disk.
    ///
    /// # Errors
    /// What the kernel says to opening it.
    pub fn run(&self) -> io::Result<RootDir> {
        Ok(open_root(&self.path, self.options, Way::Blocking)?)
    }
}

impl Root {
    /// Opens the directory at `path`; a relative path is taken from the current directory, once. `now_ms` is the caller's
    /// monotonic clock, here and below. May wait for the disk.
    ///
    /// # Errors
    /// What the kernel says: no such directory, not a directory, no permission.
    pub fn open(path: &Path, options: RootOptions, now_ms: u64) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let dir = open_root(&path, options, Way::Blocking)?;
        dir.check_searchable()?;
        Ok(Self { path, options, dir: Arc::new(dir), checked_ms: now_ms })
    }

    /// The root that was opened once for all workers.
    #[must_use]
    pub fn of(opened: &OpenRoot, now_ms: u64) -> Self {
        let OpenRoot { path, options, dir } = opened.clone();
        Self { path, options, dir, checked_ms: now_ms }
    }

    /// The directory, for opening names.
    #[must_use]
    pub fn dir(&self) -> &Arc<RootDir> {
        &self.dir
    }

    /// The path that is looked up, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is time to look the path up again.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.checked_ms) >= self.options.age_ms_max
    }

    /// Looks the path up again from the kernel's caches, never waiting.
    ///
    /// # Errors
    /// `WouldBlock`: run [`Root::lookup`] on the pool. Other errors: the path leads nowhere at the moment (a deploy may be
    /// half done); the old directory stays in use, and the next try comes when its age is up again.
    pub fn refresh_cached(&mut self, now_ms: u64) -> Result<Refresh, OpenError> {
        let looked_up = open_root(&self.path, self.options, Way::Cached);
        if !matches!(looked_up, Err(Errno::AGAIN)) {
            self.checked_ms = now_ms;
        }
        Ok(self.install(looked_up?, now_ms))
    }

    /// The look-up as a job for the pool; its result goes to [`Root::install`]. Not due again before an age has passed.
    pub fn lookup(&mut self, now_ms: u64) -> RootLookup {
        self.checked_ms = now_ms;
        RootLookup { path: self.path.clone(), options: self.options }
    }

    /// Takes a looked-up directory into use if it is another one than the current.
    pub fn install(&mut self, dir: RootDir, now_ms: u64) -> Refresh {
        self.checked_ms = now_ms;
        if (dir.device, dir.inode) == (self.dir.device, self.dir.inode) {
            return Refresh::Same;
        }
        self.dir = Arc::new(dir);
        Refresh::Swung
    }
}

impl RootDir {
    /// Whether names in the directory may be looked up; the probe is the directory's own entry.
    fn check_searchable(&self) -> io::Result<()> {
        openat(&self.fd, ".", FIND_DIRECTORY, Mode::empty())?;
        Ok(())
    }
}

fn open_root(path: &Path, options: RootOptions, way: Way) -> Result<RootDir, Errno> {
    let flags = if options.owner.is_some() { FIND_DIRECTORY | OFlags::NOFOLLOW } else { FIND_DIRECTORY };
    let fd = match way {
        Way::Blocking => openat(CWD, path, flags, Mode::empty())?,
        Way::Cached => match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) {
            // INVAL: this kernel does not know CACHED. NOSYS, PERM: it has, or allows, no openat2.
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => return Err(Errno::AGAIN),
            other => other?,
        },
    };
    let stat = fstat(&fd)?;
    if options.owner.is_some_and(|owner| owner != stat.st_uid) {
        return Err(Errno::ACCESS);
    }
    let resolver = match options.openat2 {
        true => probe_resolver(&fd),
        false => Resolver::Walk,
    };
    Ok(RootDir { fd, device: device_of(&stat), inode: inode_of(&stat), symlinks: options.symlinks, resolver })
}

/// Tries what the kernel has on the directory itself.
fn probe_resolver(dir: &OwnedFd) -> Resolver {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let probe = |how| openat2(dir, ".", FIND_DIRECTORY, Mode::empty(), how);
    match probe(how | ResolveFlags::CACHED) {
        // INVAL: openat2 is there and does not know CACHED.
        Err(Errno::INVAL) => Resolver::Openat2Uncached,
        // NOSYS: before 5.6. PERM: a seccomp filter of a container.
        Err(Errno::NOSYS | Errno::PERM) => Resolver::Walk,
        _ => Resolver::Openat2,
    }
}

/// One segment of a walk.
fn step(from: BorrowedFd<'_>, segment: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if matches!(segment, b"" | b"." | b"..") {
        return Err(Errno::XDEV); // Normal paths have none; a walk must not climb whoever asks.
    }
    openat(from, segment, flags | OFlags::NOFOLLOW, Mode::empty())
}

/// What an open descriptor stands for; only files and directories are served.
fn found(fd: &OwnedFd, through_link: bool) -> Result<Found, OpenError> {
    let stat = fstat(fd)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => return Err(OpenError::Forbidden),
    };
    Ok(Found { kind, state: state_of(&stat), through_link })
}

/// The state an open file is in now.
pub(crate) fn state_now(fd: BorrowedFd<'_>) -> Result<FileState, OpenError> {
    Ok(state_of(&fstat(fd)?))
}

/// The widths of the kernel's fields differ between machines; a nanosecond beyond its range counts as 0.
#[allow(clippy::useless_conversion, reason = "the fields have other types on other machines")]
pub(crate) fn state_of(stat: &Stat) -> FileState {
    let stamp = |seconds: i64, nanoseconds: Option<u32>| Timestamp {
        seconds,
        nanoseconds: nanoseconds.filter(|&ns| ns < 1_000_000_000).unwrap_or(0),
    };
    FileState {
        device: device_of(stat),
        inode: inode_of(stat),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stamp(stat.st_mtime.into(), u32::try_from(stat.st_mtime_nsec).ok()),
        changed: stamp(stat.st_ctime.into(), u32::try_from(stat.st_ctime_nsec).ok()),
    }
}

#[allow(clippy::useless_conversion, reason = "the field has another type on other machines")]
fn device_of(stat: &Stat) -> u64 {
    stat.st_dev.into()
}

#[allow(clippy::useless_conversion, reason = "the field has another type on other machines")]
fn inode_of(stat: &Stat) -> u64 {
    stat.st_ino.into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;

    use super::*;
    use crate::test_dir::{TestDir, without_openat2};

    fn walk() -> RootOptions {
        RootOptions { openat2: false, ..RootOptions::default() }
    }

    fn root_of(path: &Path, options: RootOptions) -> Root {
        Root::open(path, options, 0).unwrap()
    }

    fn text(opened: Opened) -> String {
        let mut text = String::new();
        fs::File::from(opened.fd).read_to_string(&mut text).unwrap();
        text
    }

    fn open(root: &Root, rel: &str) -> Result<Opened, OpenError> {
        root.dir().open(rel.as_bytes(), Way::Blocking)
    }

    #[test]
    fn files_and_directories_open_and_tell_what_they_are() {
        let dir = TestDir::new();
        dir.write("a/b/c.txt", "content");
        for options in [RootOptions::default(), walk()] {
            let root = root_of(dir.path(), options);
            let opened = open(&root, "a/b/c.txt").unwrap();
            assert_eq!((opened.found.kind, opened.found.state.len), (Kind::File, 7));
            assert!(!opened.found.through_link);
            assert_eq!(text(opened), "content");
            assert_eq!(open(&root, "a/b").unwrap().found.kind, Kind::Directory);
            assert_eq!(open(&root, "").unwrap().found.kind, Kind::Directory);
            assert_eq!(root.dir().find(b"a/b/c.txt", Way::Blocking).unwrap().state.len, 7);
            for missing in ["x", "a/x", "x/a", "a/b/c.txt/d", "a\0b"] {
                assert_eq!(open(&root, missing).unwrap_err(), OpenError::NotFound, "{missing:?}");
            }
            let long = "n".repeat(300);
            assert_eq!(open(&root, &long).unwrap_err(), OpenError::NotFound);
        }
    }

    #[test]
    fn nothing_leads_out() {
        let dir = TestDir::new();
        dir.write("secret", "s");
        dir.write("site/in.txt", "in");
        dir.dir("site/sub");
        dir.link("../secret", "site/out");
        dir.link("/etc/passwd", "site/absolute");
        dir.link("..", "site/up");
        dir.link("../../secret", "site/sub/out");
        dir.link("/proc/self/cwd", "site/magic");
        for options in
            [RootOptions::default(), walk(), RootOptions { symlinks: false, ..RootOptions::default() }]
        {
            let root = root_of(&dir.path().join("site"), options);
            for rel in [
                "out",
                "absolute",
                "up/secret",
                "sub/out",
                "../secret",
                "sub/../../secret",
                "/etc/passwd",
                "magic",
            ] {
                let error = open(&root, rel).unwrap_err();
                assert!(error.is_lasting(), "{rel}: {error:?}");
            }
            assert_eq!(text(open(&root, "in.txt").unwrap()), "in");
        }
    }

    #[test]
    fn links_that_stay_inside_are_followed_where_allowed() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("real/a.txt", "a");
        dir.link("real", "linked");
        dir.link("../real/a.txt", "real/b.txt");
        dir.link("loop", "loop");
        let root = root_of(dir.path(), RootOptions::default());
        assert_eq!(root.dir().resolver(), Resolver::Openat2);
        for rel in ["linked/a.txt", "real/b.txt"] {
            let opened = open(&root, rel).unwrap();
            assert!(opened.found.through_link);
            assert_eq!(text(opened), "a");
        }
        assert_eq!(open(&root, "loop").unwrap_err(), OpenError::Forbidden);
        assert_eq!(root.dir().find_directory(b"linked", Way::Blocking).unwrap_err(), OpenError::Forbidden);
        for options in [walk(), RootOptions { symlinks: false, ..RootOptions::default() }] {
            let root = root_of(dir.path(), options);
            assert!(open(&root, "linked/a.txt").unwrap_err().is_lasting());
            assert_eq!(open(&root, "real/b.txt").unwrap_err(), OpenError::Forbidden);
            assert_eq!(root.dir().find(b"real/b.txt", Way::Blocking).unwrap_err(), OpenError::Forbidden);
        }
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let dir = TestDir::new();
        dir.fifo("fifo");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for options in [RootOptions::default(), walk()] {
            let root = root_of(dir.path(), options);
            assert_eq!(open(&root, "fifo").unwrap_err(), OpenError::Forbidden);
            assert_eq!(open(&root, "socket").unwrap_err(), OpenError::Forbidden);
            assert_eq!(root.dir().find(b"fifo", Way::Blocking).unwrap_err(), OpenError::Forbidden);
        }
        let devices = root_of(Path::new("/dev"), RootOptions::default());
        assert_eq!(open(&devices, "null").unwrap_err(), OpenError::Forbidden);
    }

    #[test]
    fn the_cached_way_has_what_was_just_used_and_the_walk_never_does() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("a.txt", "a");
        let root = root_of(dir.path(), RootOptions::default());
        open(&root, "a.txt").unwrap();
        assert_eq!(text(root.dir().open(b"a.txt", Way::Cached).unwrap()), "a");
        let walking = root_of(dir.path(), walk());
        assert_eq!(walking.dir().resolver(), Resolver::Walk);
        assert_eq!(walking.dir().open(b"a.txt", Way::Cached).unwrap_err(), OpenError::WouldBlock);
    }

    #[test]
    fn a_swung_link_is_seen_when_its_age_is_up() {
        if without_openat2() {
            return;
        }
        let dir = TestDir::new();
        dir.write("one/v", "1");
        dir.write("two/v", "2");
        let current = dir.link("one", "current");
        let mut root = root_of(&current, RootOptions::default());
        assert!(!root.is_due(999));
        assert!(root.is_due(1000));
        assert_eq!(root.refresh_cached(1000), Ok(Refresh::Same));
        assert!(!root.is_due(1999));
        dir.link("two", "next");
        fs::rename(dir.path().join("next"), &current).unwrap();
        let old = Arc::clone(root.dir());
        assert_eq!(root.refresh_cached(2000), Ok(Refresh::Swung));
        assert_eq!(text(open(&root, "v").unwrap()), "2");
        assert_eq!(text(old.open(b"v", Way::Blocking).unwrap()), "1");
        // The same by way of the pool.
        fs::remove_file(&current).unwrap();
        assert_eq!(root.refresh_cached(3000), Err(OpenError::NotFound));
        assert_eq!(text(open(&root, "v").unwrap()), "2");
        dir.link("one", "current");
        let looked_up = root.lookup(4000).run().unwrap();
        assert!(!root.is_due(4001));
        assert_eq!(root.install(looked_up, 4002), Refresh::Swung);
        assert_eq!(text(open(&root, "v").unwrap()), "1");
    }

    #[test]
    fn a_root_of_somebody_is_his_and_no_link() {
        let dir = TestDir::new();
        dir.write("home/public_html/a", "a");
        let link = dir.link("public_html", "home/link");
        let root = dir.path().join("home/public_html");
        let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&root).unwrap());
        let owned = |owner| RootOptions { owner: Some(owner), ..RootOptions::default() };
        assert_eq!(text(open(&root_of(&root, owned(uid)), "a").unwrap()), "a");
        let others = Root::open(&root, owned(uid + 1), 0).unwrap_err();
        assert_eq!(others.kind(), io::ErrorKind::PermissionDenied);
        Root::open(&link, owned(uid), 0).unwrap_err();
        Root::open(&link, RootOptions::default(), 0).unwrap();
        // It is looked at again with the same eyes.
        let mut seen = root_of(&root, owned(uid));
        fs::rename(&root, dir.path().join("home/real")).unwrap();
        dir.link("real", "home/public_html");
        seen.lookup(1).run().unwrap_err();
        assert_ne!(seen.refresh_cached(2000), Ok(Refresh::Same));
        assert_ne!(seen.refresh_cached(4000), Ok(Refresh::Swung));
    }

    #[test]
    fn a_root_that_is_none_is_said_plainly() {
        let dir = TestDir::new();
        let file = dir.write("file", "");
        let missing = Root::open(&dir.path().join("no"), RootOptions::default(), 0).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let file = Root::open(&file, RootOptions::default(), 0).unwrap_err();
        assert_eq!(file.kind(), io::ErrorKind::NotADirectory);
        root_of(dir.path(), RootOptions::default()).dir().check_readable().unwrap();
    }
}
