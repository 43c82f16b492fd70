//! Watches on the sources: the kernel tells what changed, and what belongs together is told together.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many directories are watched at most; the kernel's own limit may be lower.
pub(super) const DIRECTORIES_MAX: usize = 8192;

/// A change is told when nothing further has changed for so long: editors and version control change many files at once.
const QUIET: Duration = Duration::from_millis(80);

/// It is told after this time whatever else changes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of events taken from the kernel at once.
const READ_BYTES: usize = 16 * 1024;

/// What makes a difference: files whose writer is done, and names that come and go.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

/// Where a package's services have their data, unless told otherwise.
const DATA: &str = "data";

/// Directories that hold what is made and not written.
const MADE: [&str; 2] = ["target", "node_modules"];

/// Endings of files that programs and editors write for themselves: a program that keeps its data beside its sources shall not be
/// built anew for it.
const OWN: [&str; 13] = [
    ".db", ".db3", ".sqlite", ".sqlite3", "-wal", "-shm", "-journal", ".log", ".swp", ".tmp", ".lock",
    ".pid", "~",
];

/// What has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Anything that is not ignored.
    pub(super) any: bool,
    /// A manifest: what has to be watched may be something else now.
    pub(super) manifest: bool,
    /// A file of a kind that pages are made of.
    pub(super) page: bool,
}

/// Directories under watch, each with all below it but what is hidden or made by builds.
#[derive(Debug)]
pub(super) struct Watch {
    descriptor: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    roots: Vec<PathBuf>,
}

impl Watch {
    /// Watches these directories.
    ///
    /// # Errors
    /// A sentence: the first that cannot be watched.
    pub(super) fn new(roots: &[PathBuf]) -> Result<Self, String> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|error| format!("the kernel cannot tell of changes: {error}"))?;
        let mut watch = Self { descriptor, directories: HashMap::new(), roots: roots.to_vec() };
        for root in roots {
            watch
                .add(root)
                .map_err(|error| format!("changes below {} cannot be watched: {error}", root.display()))?;
        }
        Ok(watch)
    }

    /// Waits until something has changed and has been quiet for a moment, or `until` says that nobody wants to know any more;
    /// it is asked several times a second.
    pub(super) fn wait(&mut self, until: impl Fn() -> bool) -> Option<Changes> {
        let mut changes = Changes::default();
        let mut first: Option<Instant> = None;
        loop {
            if until() {
                return None;
            }
            let span = if first.is_some() { QUIET } else { Duration::from_millis(250) };
            let has_events = self.wait_for_events(span);
            let before = changes;
            if has_events {
                self.take(&mut changes);
            }
            if changes.any && first.is_none() {
                first = Some(Instant::now());
            }
            let is_over = first.is_some_and(|first| first.elapsed() >= PATIENCE);
            if changes.any && (is_over || (!has_events && before == changes)) {
                return Some(changes);
            }
        }
    }

    fn wait_for_events(&self, span: Duration) -> bool {
        let span = Timespec { tv_sec: 0, tv_nsec: span.subsec_nanos().into() };
        let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
        // INTR: a signal came; the caller looks again.
        poll(&mut descriptors, Some(&span)).is_ok_and(|count| count > 0)
    }

    /// Takes all events that wait.
    fn take(&mut self, changes: &mut Changes) {
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut made = Vec::new();
        let mut reader = Reader::new(&self.descriptor, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    // Whatever it was: look at everything.
                    *changes = Changes { any: true, manifest: true, page: true };
                }
                Ok(event) => {
                    let Some(name) = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())) else {
                        continue;
                    };
                    let Some(directory) = self.directories.get(&event.wd()) else { continue };
                    let is_directory = event.events().contains(ReadFlags::ISDIR);
                    let is_made = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                    if is_directory && (is_ignored(name, true) || self.is_data(directory, name)) {
                        continue;
                    }
                    if is_directory && is_made {
                        made.push(directory.join(name));
                    }
                    // A file that is made is told of again when its writer is done; one that is linked is not.
                    let is_empty = event.events().contains(ReadFlags::CREATE)
                        && fs::symlink_metadata(directory.join(name)).is_ok_and(|file| file.len() == 0);
                    if !is_ignored(name, is_directory) && (is_directory || !is_empty) {
                        note(changes, name);
                    }
                }
                Err(Errno::INTR) => {}
                // AGAIN: that was all. Anything else: nothing more can be had either.
                Err(_) => break,
            }
        }
        for directory in made {
            // Gone again already, or too many: what is in there is built with the next change elsewhere.
            let _not_watched = self.add(&directory);
        }
    }

    fn add(&mut self, root: &Path) -> io::Result<()> {
        let mut waiting = vec![root.to_owned()];
        while let Some(directory) = waiting.pop() {
            if self.directories.len() >= DIRECTORIES_MAX {
                return Err(io::Error::other(format!("there are more than {DIRECTORIES_MAX} directories")));
            }
            // NOSPC: the user's limit (fs.inotify.max_user_watches).
            let number = inotify::add_watch(&self.descriptor, &directory, CHANGES)?;
            for entry in fs::read_dir(&directory)?.flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let name = entry.file_name();
                let is_left_out = is_ignored(&name, true) || self.is_data(&directory, &name);
                if is_directory && !is_left_out && !is_cache(&entry.path()) {
                    waiting.push(entry.path());
                }
            }
            self.directories.insert(number, directory);
        }
        Ok(())
    }

    /// Whether services keep their data there: what they write shall not have them built anew.
    fn is_data(&self, directory: &Path, name: &OsStr) -> bool {
        name == DATA && self.roots.iter().any(|root| root == directory)
    }
}

/// Directories whose makers say that nobody needs to keep them, such as cargo's.
fn is_cache(directory: &Path) -> bool {
    directory.join("CACHEDIR.TAG").exists()
}

fn is_ignored(name: &OsStr, is_directory: bool) -> bool {
    let name = name.to_string_lossy();
    if name.starts_with('.') {
        return true;
    }
    match is_directory {
        true => MADE.contains(&&*name),
        // Vim tries with this name whether it may write.
        false => OWN.iter().any(|ending| name.ends_with(ending)) || name == "4913",
    }
}

fn note(changes: &mut Changes, name: &OsStr) {
    const OF_PAGES: [&str; 15] = [
        "css", "gif", "htm", "html", "ico", "jpeg", "jpg", "js", "json", "mjs", "png", "svg", "txt", "webp",
        "woff2",
    ];
    let ending = Path::new(name).extension().map(OsStr::to_string_lossy);
    changes.any = true;
    changes.manifest |= name == "Cargo.toml";
    changes.page |= ending.is_some_and(|ending| OF_PAGES.contains(&&*ending));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-watch-{name}-{}", std::process::id()));
            let _not_there = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("src")).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _left = fs::remove_dir_all(&self.0);
        }
    }

    /// What is told within a second.
    fn told(watch: &mut Watch) -> Option<Changes> {
        let asked = Cell::new(0);
        watch.wait(|| asked.replace(asked.get() + 1) >= 4)
    }

    const SOURCE: Changes = Changes { any: true, manifest: false, page: false };

    #[test]
    fn changes_are_told_together_and_by_their_kinds() {
        let place = Place::new("kinds");
        let mut watch = Watch::new(std::slice::from_ref(&place.0)).expect("watched");
        fs::write(place.0.join("src/main.rs"), "x").expect("written");
        fs::write(place.0.join("src/lib.rs"), "x").expect("written");
        assert_eq!(told(&mut watch), Some(SOURCE));
        assert_eq!(told(&mut watch), None, "it was told once");
        fs::write(place.0.join("Cargo.toml"), "x").expect("written");
        fs::write(place.0.join("src/page.html"), "x").expect("written");
        assert_eq!(told(&mut watch), Some(Changes { any: true, manifest: true, page: true }));
        fs::rename(place.0.join("src/lib.rs"), place.0.join("src/new.rs")).expect("renamed");
        assert_eq!(told(&mut watch), Some(SOURCE));
        fs::remove_file(place.0.join("src/new.rs")).expect("removed");
        assert_eq!(told(&mut watch), Some(SOURCE));
    }

    #[test]
    fn what_is_made_or_hidden_is_ignored() {
        let place = Place::new("ignored");
        for directory in ["target", ".git", "cache", "data/chat"] {
            fs::create_dir_all(place.0.join(directory)).expect("a directory");
        }
        fs::write(place.0.join("cache/CACHEDIR.TAG"), "x").expect("written");
        let mut watch = Watch::new(std::slice::from_ref(&place.0)).expect("watched");
        for file in [
            "target/a.rs",
            "data/chat/x",
            ".git/HEAD",
            "cache/x.rs",
            ".hidden",
            "chat.db",
            "chat.db-wal",
            "a.rs~",
            "4913",
            "a.log",
        ] {
            fs::write(place.0.join(file), "x").expect("written");
        }
        assert_eq!(told(&mut watch), None);
    }

    #[test]
    fn new_directories_are_watched_too() {
        let place = Place::new("new");
        let mut watch = Watch::new(std::slice::from_ref(&place.0)).expect("watched");
        fs::create_dir(place.0.join("src/room")).expect("a directory");
        assert_eq!(told(&mut watch), Some(SOURCE));
        fs::write(place.0.join("src/room/door.rs"), "x").expect("written");
        assert_eq!(told(&mut watch), Some(SOURCE));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let refused = Watch::new(&["/nowhere/at/all".into()]).expect_err("it is not there");
        assert!(refused.contains("/nowhere/at/all"), "{refused}");
    }
}
