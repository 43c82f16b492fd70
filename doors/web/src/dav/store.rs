//! What WebDAV keeps in a root, in one hidden directory: files under way, dead properties, locks.
//!
//! ```text
//! .ringway-dav/guard            held with flock(2) while something is changed, by whichever process
//! .ringway-dav/locks            the locks
//! .ringway-dav/moves/…          moves of properties that are under way
//! .ringway-dav/properties/…     a directory for each resource that has some, or something below it: the same tree again
//! .ringway-dav/tmp/SESSION/…    of one process, held with flock(2) while it lives: uploads, and what is being removed
//! ```
//!
//! A name that begins with a dot is no resource's, so nothing in there can be asked for. Whatever is changed is made in the
//! session's directory and put in its place by one rename, so a process that dies leaves no half of anything; who comes
//! next removes what it left.

use super::disk::{self, DIRECTORY_MODE, READ_DIRECTORY, for_each, fresh, join, remove_tree};
use super::options::{DavOptions, Durability};
use super::outcome::Failure;
use super::usage::Usage;
use crate::open_error::OpenError;
use crate::root::{Kind, RootDir, Way};
use ringway_dav::locks::Locks;
use ringway_dav::properties::Properties;
use ringway_http::status::Status;
use ringway_lock::{Mutex, MutexGuard};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, fsync, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The hidden directory.
pub(super) const HIDDEN: &[u8] = b".ringway-dav";

/// The file with a resource's properties, in the directory that stands for it.
const PROPERTIES_FILE: &[u8] = b".properties";

/// What nobody but the server may look into.
const PRIVATE_MODE: Mode = Mode::from_bits_retain(0o700);

/// Largest file of locks that is read, in bytes: many times what [`DavOptions::locks_max`] make.
const LOCKS_BYTES_MAX: u64 = 64 << 20;

/// How long somebody waits for another process to end a change, and how often that is looked at.
const GUARD_PATIENCE: Duration = Duration::from_secs(10);
const GUARD_PAUSE: Duration = Duration::from_micros(200);
const GUARD_PAUSE_MAX: Duration = Duration::from_millis(20);

/// The hidden directory of a root, open.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: Arc<RootDir>,
    pub(super) options: DavOptions,
    pub(super) usage: Usage,
    hidden: OwnedFd,
    guard: OwnedFd,
    tmp: OwnedFd,
    properties: RootDir,
    session: OwnedFd,
    session_dir: RootDir,
    session_name: String,
    kept: Mutex<Kept>,
}

/// The locks, and which file they were read from.
#[derive(Debug, Default)]
struct Kept {
    locks: Locks,
    stamp: Option<(u64, i64, u64)>,
}

/// The right to change things. Nobody else has it meanwhile, in no process.
pub(super) struct Held<'a> {
    store: &'a Store,
    kept: MutexGuard<'a, Kept>,
}

impl Store {
    /// Opens the hidden directory of `dir`, made where there is none, and removes what processes that died have left.
    pub(super) fn open(dir: Arc<RootDir>, options: DavOptions) -> Result<Self, Failure> {
        let root = dir.find_directory(b"", Way::Blocking)?;
        let trouble = |errno| Failure::trouble("WebDAV cannot use .ringway-dav in its root", errno);
        let make = |within: BorrowedFd<'_>, name: &[u8]| make_directory(within, name).map_err(trouble);
        let hidden = make(root.as_fd(), HIDDEN)?;
        let guard = open_guard(hidden.as_fd()).map_err(trouble)?;
        let tmp = make(hidden.as_fd(), b"tmp")?;
        drop((make(hidden.as_fd(), b"moves")?, make(hidden.as_fd(), b"properties")?));
        let properties = dir.below(&join(HIDDEN, b"properties"))?;
        hold_guard(&guard)?;
        let session_name = session_name().map_err(trouble)?;
        let session = make(tmp.as_fd(), session_name.as_bytes())?;
        flock(&session, FlockOperation::NonBlockingLockExclusive).map_err(trouble)?;
        let session_dir = dir.below(&[HIDDEN, b"/tmp/", session_name.as_bytes()].concat())?;
        let usage = Usage::new(options.quota_bytes);
        let store = Self {
            dir,
            options,
            usage,
            hidden,
            guard,
            tmp,
            properties,
            session,
            session_dir,
            session_name,
            kept: Mutex::default(),
        };
        store.tidy_up();
        let _released = flock(&store.guard, FlockOperation::Unlock);
        Ok(store)
    }

    /// Waits for the right to change things: for other changes, which are short. `now_s` is in seconds since 1970.
    pub(super) fn hold(&self, now_s: u64) -> Result<Held<'_>, Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        hold_guard(&self.guard)?;
        let read = self.read_locks(&mut kept);
        // Their time is up, whether or not that was written down.
        kept.locks.expire(now_s);
        let held = Held { store: self, kept };
        read?;
        Ok(held)
    }

    /// A file of this process' own.
    pub(super) fn temporary(self: &Arc<Self>) -> Result<Temporary, Failure> {
        let name = fresh();
        let file = disk::create(self.session.as_fd(), name.as_bytes())?;
        Ok(Temporary { store: Arc::clone(self), name, file, is_placed: false })
    }

    /// A directory of this process' own, for a tree that is put in its place later.
    pub(super) fn temporary_directory(self: &Arc<Self>) -> Result<Staged, Failure> {
        let name = fresh();
        mkdirat(&self.session, &name, DIRECTORY_MODE)?;
        Ok(Staged { store: Arc::clone(self), name, is_counted: false })
    }

    /// What lies in this process' directory, by paths.
    pub(super) fn session_dir(&self) -> &RootDir {
        &self.session_dir
    }

    /// Takes `name` of `within` away: it is gone at once, and removed when this is dropped.
    pub(super) fn take_away(self: &Arc<Self>, within: BorrowedFd<'_>, name: &[u8]) -> Result<Staged, Errno> {
        let moved = fresh();
        renameat(within, name, &self.session, &moved)?;
        Ok(Staged { store: Arc::clone(self), name: moved, is_counted: true })
    }

    /// The dead properties of a resource.
    pub(super) fn properties_of(&self, path: &[u8]) -> Result<Properties, Failure> {
        let opened = match self.properties.open(&join(path, PROPERTIES_FILE), Way::Blocking) {
            Err(OpenError::NotFound) => return Ok(Properties::default()),
            other => other?,
        };
        let mut bytes = Vec::new();
        let limit = self.options.properties_bytes_max as u64 + 1;
        File::from(opened.fd).take(limit.max(1 << 20)).read_to_end(&mut bytes)?;
        // What is damaged is as good as lost; what is set next is kept again.
        Ok(Properties::decode(&bytes).unwrap_or_default())
    }

    /// Keeps the dead properties of a resource.
    pub(super) fn keep_properties(
        self: &Arc<Self>,
        path: &[u8],
        properties: &Properties,
    ) -> Result<(), Failure> {
        let too_many = |_| Failure::new(Status::INSUFFICIENT_STORAGE);
        let bytes = properties.encode(self.options.properties_bytes_max).map_err(too_many)?;
        let directory = self.properties_directory(path)?;
        if properties.is_empty() {
            return match unlinkat(&directory, PROPERTIES_FILE, AtFlags::empty()) {
                Err(Errno::NOENT) | Ok(()) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        }
        let mut temporary = self.temporary()?;
        File::from(temporary.file.try_clone()?).write_all(&bytes)?;
        temporary.place(directory.as_fd(), PROPERTIES_FILE)
    }

    /// The directory that stands for a resource among the properties, made with those it lies in.
    fn properties_directory(&self, path: &[u8]) -> Result<OwnedFd, Failure> {
        let mut directory = self.properties.find_directory(b"", Way::Blocking)?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            directory = make_directory(directory.as_fd(), name)?;
        }
        Ok(directory)
    }

    /// Whether something is kept for a resource or what is below it.
    fn has_properties(&self, path: &[u8]) -> bool {
        self.properties.find_directory(path, Way::Blocking).is_ok()
    }

    /// Forgets the properties of a resource and all below it. What is given back is removed when it is dropped.
    pub(super) fn drop_properties(self: &Arc<Self>, path: &[u8]) -> Result<Option<Staged>, Failure> {
        let Some((parent, name)) = ringway_dav::path::split(path) else { return Ok(None) };
        let parent = match self.properties.find_directory(parent, Way::Blocking) {
            Err(OpenError::NotFound) => return Ok(None),
            other => other?,
        };
        match self.take_away(parent.as_fd(), name) {
            Err(Errno::NOENT) => Ok(None),
            other => {
                let mut staged = other?;
                staged.is_counted = false;
                Ok(Some(staged))
            }
        }
    }

    /// Takes note, on the disk, that properties are about to move with their resource; `None` when there are none.
    pub(super) fn announce_move(
        self: &Arc<Self>,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<MoveNote>, Failure> {
        if !self.has_properties(from) {
            return Ok(None);
        }
        let mut temporary = self.temporary()?;
        File::from(temporary.file.try_clone()?).write_all(&[from, b"\0", to].concat())?;
        let moves = self.moves()?;
        // Names of temporary files are this process' own; these are not.
        let name = format!("{}-{}", self.session_name, temporary.name);
        temporary.place(moves.as_fd(), name.as_bytes())?;
        Ok(Some(MoveNote { store: Arc::clone(self), name, from: from.into(), to: to.into() }))
    }

    fn moves(&self) -> Result<OwnedFd, Errno> {
        openat(&self.hidden, "moves", READ_DIRECTORY, Mode::empty())
    }

    /// Puts properties where their resource went, instead of those of what was there.
    fn move_properties(&self, from: &[u8], to: &[u8]) -> Result<(), Failure> {
        let (Some((from, from_name)), Some((to, to_name))) =
            (ringway_dav::path::split(from), ringway_dav::path::split(to))
        else {
            return Ok(());
        };
        let from = self.properties.find_directory(from, Way::Blocking)?;
        let to = self.properties_directory(to)?;
        match renameat(&from, from_name, &to, to_name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            other => return Ok(other?),
        }
        let moved = fresh();
        renameat(&to, to_name, &self.session, &moved)?;
        renameat(&from, from_name, &to, to_name)?;
        remove_tree(self.session.as_fd(), moved.as_bytes())?;
        Ok(())
    }

    /// Copies the properties of a resource, and of all below it if that `is_deep`, to where they stand for another one.
    pub(super) fn copy_properties(
        self: &Arc<Self>,
        from: &[u8],
        to: &[u8],
        is_deep: bool,
    ) -> Result<(), Failure> {
        if !is_deep {
            let properties = self.properties_of(from)?;
            return if properties.is_empty() { Ok(()) } else { self.keep_properties(to, &properties) };
        }
        if !self.has_properties(from) {
            return Ok(());
        }
        let staged = self.temporary_directory()?;
        let target = (&self.session_dir, staged.name.as_bytes());
        disk::copy_tree::<Failure>((&self.properties, from), target, |_| true, false, |_bytes| Ok(()))?;
        if let Some((parent, name)) = ringway_dav::path::split(to) {
            let parent = self.properties_directory(parent)?;
            renameat(&self.session, &staged.name, &parent, name)?;
        }
        Ok(())
    }

    /// Sees to it that a changed directory is on the disk, where that is wanted.
    pub(super) fn settle(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.options.durability != Durability::Full {
            return Ok(());
        }
        // What was found by path only cannot be synchronised.
        fsync(openat(directory, ".", READ_DIRECTORY, Mode::empty())?)
    }

    /// Brings the locks up to date with those of other processes.
    fn read_locks(&self, kept: &mut Kept) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.hidden, "locks", flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                *kept = Kept::default();
                return Ok(());
            }
            other => other?,
        };
        let stamp = stamp_of(&file)?;
        if kept.stamp != Some(stamp) {
            let mut bytes = Vec::new();
            File::from(file).take(LOCKS_BYTES_MAX).read_to_end(&mut bytes)?;
            // Locks that cannot be read are as good as expired.
            kept.locks = Locks::decode(&bytes).unwrap_or_default();
            kept.stamp = Some(stamp);
        }
        Ok(())
    }

    /// Removes what dead processes have left, ends what they had begun, and forgets properties of what is there no more. What
    /// cannot be removed stays for another time.
    fn tidy_up(&self) {
        let _tries_again = for_each(&self.tmp, |name, _| {
            if name.to_bytes() == self.session_name.as_bytes() {
                return Ok(());
            }
            let Ok(directory) = openat(&self.tmp, name, READ_DIRECTORY, Mode::empty()) else { return Ok(()) };
            if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _stays = remove_tree(self.tmp.as_fd(), name.to_bytes());
            }
            Ok(())
        });
        if let Ok(moves) = self.moves() {
            let _tries_again = for_each(&moves, |name, _| {
                let _lost = self.end_move(&moves, name.to_bytes());
                unlinkat(&moves, name, AtFlags::empty())
            });
        }
        self.forget_orphans();
    }

    /// Ends a move that a process died in: the properties follow if their resource has gone there.
    fn end_move(&self, moves: &OwnedFd, name: &[u8]) -> Result<(), Failure> {
        let file = openat(moves, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(64 * 1024).read_to_end(&mut bytes)?;
        let mut paths = bytes.splitn(2, |byte| *byte == 0);
        let (Some(from), Some(to)) = (paths.next(), paths.next()) else { return Ok(()) };
        let is_there = |path| self.dir.find(path, Way::Blocking).is_ok();
        if !is_there(from) && is_there(to) { self.move_properties(from, to) } else { Ok(()) }
    }

    fn forget_orphans(&self) {
        let mut work = vec![Vec::new()];
        while let Some(path) = work.pop() {
            let Ok(opened) = self.properties.open(&path, Way::Blocking) else { continue };
            let _tries_again = for_each(&opened.fd, |name, kind| {
                let below = join(&path, name.to_bytes());
                if kind != FileType::Directory {
                    return Ok(());
                }
                if matches!(self.dir.find(&below, Way::Blocking), Err(OpenError::NotFound)) {
                    let moved = fresh();
                    renameat(&opened.fd, name, &self.session, &moved)?;
                    remove_tree(self.session.as_fd(), moved.as_bytes()).map(drop)
                } else {
                    work.push(below);
                    Ok(())
                }
            });
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What another process finds without an owner it removes as well.
        let _left_to_others = remove_tree(self.tmp.as_fd(), self.session_name.as_bytes());
    }
}

impl Held<'_> {
    pub(super) fn locks(&self) -> &Locks {
        &self.kept.locks
    }

    /// Changes the locks, and keeps them. What cannot be kept is not changed.
    pub(super) fn change_locks<T>(&mut self, change: impl FnOnce(&mut Locks) -> T) -> Result<T, Failure> {
        let mut locks = self.kept.locks.clone();
        let result = change(&mut locks);
        if locks != self.kept.locks {
            self.keep(locks)?;
        }
        Ok(result)
    }

    fn keep(&mut self, locks: Locks) -> Result<(), Failure> {
        let (store, name) = (self.store, fresh());
        let file = disk::create(store.session.as_fd(), name.as_bytes())?;
        let mut writer = File::from(file.try_clone()?);
        writer.write_all(&locks.encode())?;
        renameat(&store.session, &name, &store.hidden, "locks")?;
        self.kept.stamp = Some(stamp_of(&file)?);
        self.kept.locks = locks;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _released_with_its_descriptor = flock(&self.store.guard, FlockOperation::Unlock);
    }
}

/// A file under way. Dropped before it is in its place, it is removed.
#[derive(Debug)]
pub(super) struct Temporary {
    store: Arc<Store>,
    name: String,
    pub(super) file: OwnedFd,
    is_placed: bool,
}

impl Temporary {
    /// Puts it in its place, instead of what was there.
    pub(super) fn place(&mut self, within: BorrowedFd<'_>, name: &[u8]) -> Result<(), Failure> {
        self.settle_content()?;
        self.place_settled(within, name)
    }

    /// The same, where the content is on the disk already.
    pub(super) fn place_settled(&mut self, within: BorrowedFd<'_>, name: &[u8]) -> Result<(), Failure> {
        renameat(&self.store.session, &self.name, within, name)?;
        self.is_placed = true;
        self.store.settle(within)?;
        Ok(())
    }

    /// Sees to it that the content is on the disk, where that is wanted.
    pub(super) fn settle_content(&self) -> Result<(), Errno> {
        if self.store.options.durability == Durability::Fast { Ok(()) } else { fsync(&self.file) }
    }

    /// The same as something that is put in its place otherwise.
    pub(super) fn into_staged(mut self) -> Staged {
        self.is_placed = true;
        Staged { store: Arc::clone(&self.store), name: std::mem::take(&mut self.name), is_counted: false }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_placed {
            let _next_start_does_it = unlinkat(&self.store.session, &self.name, AtFlags::empty());
        }
    }
}

/// Something in this process' directory that is removed, with all in it, when this is dropped; unless it was put elsewhere.
#[derive(Debug)]
pub(super) struct Staged {
    store: Arc<Store>,
    pub(super) name: String,
    /// Whether its bytes count as in use.
    pub(super) is_counted: bool,
}

impl Staged {
    /// The directory it lies in.
    pub(super) fn within(&self) -> BorrowedFd<'_> {
        self.store.session.as_fd()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let removed = remove_tree(self.store.session.as_fd(), self.name.as_bytes());
        // What is left is removed by who comes next.
        if self.is_counted {
            self.store.usage.free(removed.unwrap_or(0));
        }
    }
}

/// A move of properties that is written down.
#[derive(Debug)]
pub(super) struct MoveNote {
    store: Arc<Store>,
    name: String,
    from: Box<[u8]>,
    to: Box<[u8]>,
}

impl MoveNote {
    /// The resource has moved: its properties follow.
    pub(super) fn follow(self) -> Result<(), Failure> {
        self.store.move_properties(&self.from, &self.to)
    }
}

impl Drop for MoveNote {
    fn drop(&mut self) {
        if let Ok(moves) = self.store.moves() {
            let _next_start_does_it = unlinkat(&moves, &self.name, AtFlags::empty());
        }
    }
}

/// The directory `name`, made where there is none; not through a link.
fn make_directory(within: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match mkdirat(within, name, PRIVATE_MODE) {
        Ok(()) | Err(Errno::EXIST) => openat(within, name, READ_DIRECTORY, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

fn open_guard(hidden: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(hidden, "guard", flags, Mode::from_bits_retain(0o600))
}

/// Waits for other processes, which hold the guard for as long as a rename takes; but not for one that has stopped.
fn hold_guard(guard: &OwnedFd) -> Result<(), Failure> {
    let began = Instant::now();
    let mut pause = GUARD_PAUSE;
    loop {
        match flock(guard, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) if began.elapsed() < GUARD_PATIENCE => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(GUARD_PAUSE_MAX);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Err(Failure::new(Status::SERVICE_UNAVAILABLE)),
            Err(errno) => return Err(Failure::trouble("the guard of WebDAV's root cannot be held", errno)),
        }
    }
}

fn session_name() -> Result<String, Errno> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bits that nobody can guess.
pub(super) fn random() -> Result<[u8; 16], Errno> {
    let mut bits = [0; 16];
    // So few always come at once.
    getrandom(&mut bits, GetRandomFlags::empty())?;
    Ok(bits)
}

fn stamp_of(file: &OwnedFd) -> Result<(u64, i64, u64), Errno> {
    let state = crate::root::state_of(&fstat(file)?);
    let modified =
        state.modified.seconds.wrapping_mul(1_000_000_000).wrapping_add(state.modified.nanoseconds.into());
    Ok((state.inode, modified, state.len))
}

/// What a name in a directory stands for, not through a link.
pub(super) fn stat_name(within: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Member>, Errno> {
    let stat = match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        _ => None,
    };
    Ok(Some(Member { kind, state: crate::root::state_of(&stat) }))
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// `None` for links and devices, which nothing is done with.
    pub(super) kind: Option<Kind>,
    pub(super) state: crate::root::FileState,
}
