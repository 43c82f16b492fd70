//! Watches on the directories whose files are cached: the kernel tells of a change, so that age need not be waited for.
//!
//! Every watched directory is a node with a generation. A cached entry keeps the [`Stamp`] its directory had before it was
//! loaded; an event raises the generation, and the stamp is no longer current. So an event costs O(1) however many
//! entries a directory has. A directory's ancestors up to the root are watched too, because moving one of them changes
//! what every path below stands for: then the whole branch is dropped and watched anew when next used.
//!
//! What the kernel does not tell (a directory reached through a link, a file system of another machine, a write through a
//! mapping, too many watches) age still finds out: a stamp only makes an entry live longer, never for ever.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::fstatfs;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::open_error::OpenError;
use crate::root::{RootDir, Way};

/// How many directories are watched at most unless said otherwise; the kernel's own limit may be lower.
pub const WATCHES_MAX: usize = 1024;

/// How many events one [`Watcher::drain`] takes before other work gets its turn.
pub const EVENTS_PER_DRAIN_MAX: usize = 1024;

/// Bytes of events taken from the kernel at once; a longest name fits several times.
const READ_LEN: usize = 4096;

/// What makes a cached entry doubtful.
const CHANGES: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The watched directory itself is gone, elsewhere, or no longer watched.
const ENDS: ReadFlags =
    ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT).union(ReadFlags::IGNORED);

/// File systems that others write to without this kernel knowing: NFS, CIFS, SMB2, 9P, Ceph, AFS, FUSE, Lustre, VirtualBox.
const REMOTE: [u64; 9] = [
    0x6969,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x6573_5546,
    0x0bd0_0bd0,
    0x786f_4256,
];

/// A directory's state at a moment: current until something in it changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    node: u32,
    generation: u64,
}

impl Stamp {
    /// The stamp of what is not watched; never current.
    pub const NONE: Self = Self { node: u32::MAX, generation: 0 };

    /// Whether this is the stamp of something watched.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// What [`Watcher::drain`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drained {
    /// Events taken.
    pub events: usize,
    /// More events wait: call again after other work.
    pub more: bool,
    /// The kernel's queue overflowed: everything was made doubtful.
    pub overflowed: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Place {
    site: u16,
    directory: Box<[u8]>,
}

impl Place {
    /// Whether this is `directory` of `site` or lies below it.
    fn is_within(&self, site: u16, directory: &[u8]) -> bool {
        let below = |rest: &[u8]| directory.is_empty() || rest.is_empty() || rest[0] == b'/';
        self.site == site && self.directory.strip_prefix(directory).is_some_and(below)
    }
}

#[derive(Debug)]
struct Node {
    place: Place,
    watch: i32,
}

/// The watches of one worker.
pub struct Watcher {
    fd: OwnedFd,
    watches_max: usize,
    nodes: Vec<Option<Node>>,
    generations: Vec<u64>,
    free: Vec<u32>,
    by_place: HashMap<Place, u32>,
    by_watch: HashMap<i32, Vec<u32>>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("watched", &self.by_place.len()).finish_non_exhaustive()
    }
}

impl Watcher {
    /// A watcher of at most `watches_max` directories.
    ///
    /// # Errors
    /// What the kernel says: it has no inotify, or this user has no instance left (`fs.inotify.max_user_instances`). Go
    /// on without one.
    pub fn new(watches_max: usize) -> io::Result<Self> {
        Ok(Self {
            fd: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            watches_max,
            nodes: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            by_place: HashMap::new(),
            by_watch: HashMap::new(),
        })
    }

    /// The descriptor that is readable when [`Watcher::drain`] has something to do.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many directories are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.by_place.len()
    }

    /// Whether nothing happened in the directory since the stamp was given. One look-up by index.
    #[must_use]
    #[inline]
    pub fn is_current(&self, stamp: Stamp) -> bool {
        self.generations.get(stamp.node as usize) == Some(&stamp.generation)
    }

    /// The stamp of `directory` (relative to `root`, the root of `site`), which is watched from now on, with its
    /// ancestors. Take it *before* loading what it is to vouch for. [`Stamp::NONE`] when it cannot be watched, or not
    /// without waiting for the disk: then age decides.
    pub fn stamp(&mut self, site: u16, root: &RootDir, directory: &[u8]) -> Stamp {
        let place = Place { site, directory: directory.into() };
        if let Some(&node) = self.by_place.get(&place) {
            return self.stamp_of(node);
        }
        let mut ends = memchr::memchr_iter(b'/', directory).collect::<Vec<_>>();
        ends.push(directory.len());
        if !directory.is_empty() {
            ends.insert(0, 0);
        }
        let mut stamp = Stamp::NONE;
        for end in ends {
            match self.ensure(site, root, &directory[..end]) {
                Ok(node) => stamp = self.stamp_of(node),
                Err(_) => return Stamp::NONE,
            }
        }
        stamp
    }

    /// Takes the events that wait and makes the stamps of the directories concerned out of date. Never waits.
    pub fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        let mut buffer = [MaybeUninit::uninit(); READ_LEN];
        loop {
            if drained.events >= EVENTS_PER_DRAIN_MAX {
                drained.more = true;
                return drained;
            }
            let mut happened = Vec::new();
            let result = read_batch(self.fd.as_fd(), &mut buffer, &mut happened);
            drained.events += happened.len();
            for event in happened {
                if event.what.contains(ReadFlags::QUEUE_OVERFLOW) {
                    drained.overflowed = true;
                    self.doubt_everything();
                } else {
                    self.take(&event);
                }
            }
            match result {
                Ok(()) | Err(Errno::INTR) => {}      // INTR: a signal came; read on.
                Err(Errno::AGAIN) => return drained, // Nothing waits.
                Err(_) => {
                    // The queue cannot be read: trust nothing it should have told.
                    drained.overflowed = true;
                    self.doubt_everything();
                    return drained;
                }
            }
        }
    }

    /// Ends every watch of `site`; for a root that leads to another directory now.
    pub fn forget_site(&mut self, site: u16) {
        self.drop_branch(site, b"");
    }

    fn stamp_of(&self, node: u32) -> Stamp {
        Stamp { node, generation: self.generations[node as usize] }
    }

    /// The node of `directory`, watched now if it was not.
    fn ensure(&mut self, site: u16, root: &RootDir, directory: &[u8]) -> Result<u32, Refused> {
        let place = Place { site, directory: directory.into() };
        if let Some(&node) = self.by_place.get(&place) {
            return Ok(node);
        }
        if self.by_place.len() >= self.watches_max {
            return Err(Refused);
        }
        let found = root.find_directory(directory, Way::Cached)?;
        if is_remote(&found) {
            return Err(Refused);
        }
        // inotify takes names only; this name is the directory that was found, whatever its path leads to by now.
        let name = format!("/proc/self/fd/{}", found.as_raw_fd());
        // NOSPC: the user's limit of watches. NOENT: no /proc here. ACCESS: a directory that may not be read.
        let watch = inotify::add_watch(&self.fd, name, CHANGES)?;
        let node = self.add_node(Node { place: place.clone(), watch })?;
        self.by_place.insert(place, node);
        self.by_watch.entry(watch).or_default().push(node);
        Ok(node)
    }

    fn add_node(&mut self, node: Node) -> Result<u32, Refused> {
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = Some(node);
            return Ok(free);
        }
        let Ok(at) = u32::try_from(self.nodes.len()) else { return Err(Refused) };
        self.nodes.push(Some(node));
        self.generations.push(0);
        Ok(at)
    }

    fn take(&mut self, event: &Happened) {
        let Some(nodes) = self.by_watch.get(&event.watch).cloned() else {
            return; // What is left in the queue of a watch that was ended.
        };
        for node in nodes {
            self.generations[node as usize] += 1;
            let Some(place) = self.nodes[node as usize].as_ref().map(|node| node.place.clone()) else {
                continue;
            };
            match &event.name {
                // The directory itself went away, moved, or changed its permissions.
                None => self.drop_branch(place.site, &place.directory),
                Some(name) if event.what.contains(ReadFlags::ISDIR) => {
                    let mut branch = place.directory.to_vec();
                    if !branch.is_empty() {
                        branch.push(b'/');
                    }
                    branch.extend_from_slice(name);
                    self.drop_branch(place.site, &branch);
                }
                Some(_) => {}
            }
            if event.what.intersects(ENDS) {
                self.drop_branch(place.site, &place.directory);
            }
        }
    }

    /// Ends the watches on `directory` and all below; their stamps are out of date.
    fn drop_branch(&mut self, site: u16, directory: &[u8]) {
        for at in 0..self.nodes.len() {
            let within = self.nodes[at].as_ref().is_some_and(|node| node.place.is_within(site, directory));
            if !within {
                continue;
            }
            let Some(node) = self.nodes[at].take() else { continue };
            self.generations[at] += 1;
            self.by_place.remove(&node.place);
            self.free.extend(u32::try_from(at));
            self.release(node.watch, at);
        }
    }

    /// Ends a watch when no node uses it any more.
    fn release(&mut self, watch: i32, node: usize) {
        let Some(users) = self.by_watch.get_mut(&watch) else { return };
        users.retain(|&user| user as usize != node);
        if users.is_empty() {
            self.by_watch.remove(&watch);
            // INVAL: the kernel ended the watch itself, with the directory.
            let _ = inotify::remove_watch(&self.fd, watch);
        }
    }

    fn doubt_everything(&mut self) {
        for generation in &mut self.generations {
            *generation += 1;
        }
    }
}

/// A directory that cannot be watched; age decides there.
struct Refused;

impl From<OpenError> for Refused {
    fn from(_: OpenError) -> Self {
        Self
    }
}

impl From<Errno> for Refused {
    fn from(_: Errno) -> Self {
        Self
    }
}

/// One event, out of the kernel's buffer.
struct Happened {
    watch: i32,
    what: ReadFlags,
    name: Option<Box<[u8]>>,
}

/// Reads one buffer of events, the last of which fills it.
fn read_batch(
    fd: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    into: &mut Vec<Happened>,
) -> Result<(), Errno> {
    let mut reader = Reader::new(fd, buffer);
    loop {
        let event = reader.next()?;
        // Only names of directories matter: they stand for branches.
        let name = event.file_name().map(|name| match event.events().contains(ReadFlags::ISDIR) {
            true => name.to_bytes().into(),
            false => Box::default(),
        });
        into.push(Happened { watch: event.wd(), what: event.events(), name });
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

#[allow(
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    reason = "a type number of 32 bits in a word of any kind"
)]
fn is_remote(directory: &OwnedFd) -> bool {
    let kind = fstatfs(directory).map_or(0, |stat| stat.f_type as u64 & 0xffff_ffff);
    REMOTE.contains(&kind)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root::{Root, RootOptions};
    use crate::test_dir::{TestDir, without_openat2};

    struct Watched {
        dir: TestDir,
        root: Root,
        watcher: Watcher,
    }

    fn watched(names: &[&str]) -> Watched {
        let dir = TestDir::new();
        for name in names {
            dir.write(name, "x");
        }
        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        Watched { dir, root, watcher: Watcher::new(WATCHES_MAX).unwrap() }
    }

    impl Watched {
        fn stamp(&mut self, directory: &str) -> Stamp {
            // As after a load: the names are in the kernel's caches.
            let _ = self.root.dir().find(directory.as_bytes(), Way::Blocking);
            self.watcher.stamp(0, self.root.dir(), directory.as_bytes())
        }

        fn is_current(&mut self, stamp: Stamp) -> bool {
            assert!(!self.watcher.drain().more);
            self.watcher.is_current(stamp)
        }
    }

    #[test]
    fn changes_in_a_directory_outdate_its_stamp_and_no_other() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/f", "b/f"]);
        let b = it.stamp("b");
        let changes: [fn(&TestDir); 6] = [
            |dir| drop(dir.write("a/f", "changed")),
            |dir| drop(dir.write("a/g", "new")),
            |dir| fs::rename(dir.path().join("a/g"), dir.path().join("a/h")).unwrap(),
            |dir| fs::remove_file(dir.path().join("a/h")).unwrap(),
            |dir| dir.set_mtime("a/f", 5),
            |dir| fs::File::options().write(true).open(dir.path().join("a/f")).unwrap().set_len(1).unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let a = it.stamp("a");
            assert!(a.is_some() && it.is_current(a), "{number}");
            change(&it.dir);
            assert!(!it.is_current(a), "{number}");
        }
        assert!(it.is_current(b));
        assert_eq!(it.watcher.watched(), 3);
    }

    #[test]
    fn moving_an_ancestor_outdates_everything_below() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/b/c/f", "ab/f", "other/f"]);
        let (deep, neighbour) = (it.stamp("a/b/c"), it.stamp("ab"));
        fs::rename(it.dir.path().join("a"), it.dir.path().join("away")).unwrap();
        assert!(!it.is_current(deep));
        assert!(it.is_current(
            it.watcher.stamp_of(it.watcher.by_place[&Place { site: 0, directory: b""[..].into() }])
        ));
        let again = it.stamp("ab");
        assert_eq!(again, neighbour);
        assert_eq!(it.stamp("a/b/c"), Stamp::NONE);
        it.dir.write("a/b/c/f", "new");
        it.watcher.drain();
        let anew = it.stamp("a/b/c");
        assert!(anew.is_some() && it.is_current(anew));
        it.dir.write("a/b/c/f", "changed");
        assert!(!it.is_current(anew));
    }

    #[test]
    fn a_removed_directory_is_watched_no_more() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/b/f"]);
        let stamp = it.stamp("a/b");
        assert_eq!(it.watcher.watched(), 3);
        fs::remove_dir_all(it.dir.path().join("a")).unwrap();
        assert!(!it.is_current(stamp));
        assert_eq!(it.watcher.watched(), 1);
        assert_eq!(it.watcher.by_watch.len(), 1);
        it.watcher.forget_site(0);
        assert_eq!((it.watcher.watched(), it.watcher.by_watch.len()), (0, 0));
    }

    #[test]
    fn two_sites_may_share_a_directory() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/f"]);
        let zero = it.stamp("a");
        let one = it.watcher.stamp(1, it.root.dir(), b"a");
        assert_ne!(zero, one);
        it.dir.write("a/f", "changed");
        assert!(!it.is_current(zero) && !it.is_current(one));
        let one = it.watcher.stamp(1, it.root.dir(), b"a");
        it.watcher.forget_site(0);
        assert!(it.is_current(one));
        it.dir.write("a/f", "again");
        assert!(!it.is_current(one));
    }

    #[test]
    fn what_cannot_be_watched_has_no_stamp() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/f", "b/f", "c/f"]);
        it.dir.link("a", "linked");
        assert_eq!(it.stamp("linked"), Stamp::NONE);
        assert_eq!(it.stamp("none"), Stamp::NONE);
        assert_eq!(it.stamp("a/f"), Stamp::NONE);
        it.watcher.watches_max = it.watcher.watched();
        assert_eq!(it.stamp("b"), Stamp::NONE);
        it.watcher.watches_max += 1;
        assert!(it.stamp("b").is_some());
        assert_eq!(it.stamp("c"), Stamp::NONE);
        assert!(!it.watcher.is_current(Stamp::NONE));
    }

    #[test]
    fn an_overflow_outdates_everything() {
        if without_openat2() {
            return;
        }
        let mut it = watched(&["a/f", "b/f"]);
        let (a, b) = (it.stamp("a"), it.stamp("b"));
        it.watcher.doubt_everything();
        assert!(!it.is_current(a) && !it.is_current(b));
        let queue_max: usize =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        if queue_max > 100_000 {
            return; // Too many files to overflow it with; the effect is tested above.
        }
        let (a, b) = (it.stamp("a"), it.stamp("b"));
        // Two names in turn, because the kernel merges equal neighbours.
        let files = ["a/x", "a/y"].map(|name| fs::File::create(it.dir.path().join(name)).unwrap());
        for turn in 0..queue_max {
            files[turn % 2].set_len(turn as u64).unwrap();
        }
        let mut overflowed = false;
        loop {
            let drained = it.watcher.drain();
            overflowed |= drained.overflowed;
            assert!(drained.events <= EVENTS_PER_DRAIN_MAX + READ_LEN / 16);
            if !drained.more {
                break;
            }
        }
        assert!(overflowed);
        assert!(!it.watcher.is_current(a) && !it.watcher.is_current(b));
    }
}
