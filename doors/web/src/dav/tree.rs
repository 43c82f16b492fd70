//! A root that WebDAV changes, shared by all workers of a process.

use super::disk::measure;
use super::options::DavOptions;
use super::outcome::Failure;
use super::store::{HIDDEN, Store};
use crate::load::LoadOptions;
use crate::path::relative;
use crate::root::{Kind, OpenRoot, Refresh, Root, Way};
use ringway_dav::fields::Reference;
use ringway_lock::Mutex;
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

/// How many long pieces of work (copies of trees, looking through everything) run at a time, so that others have threads.
const LONG_WORK_MAX: usize = 2;

/// A root and what is known of it. Two configurations that serve one root share one, so that locks and counts live on.
pub struct Tree {
    root: Mutex<Root>,
    began: Instant,
    options: DavOptions,
    load: Arc<LoadOptions>,
    /// What stands before paths below the root in addresses, without slash at its end.
    prefix: Box<[u8]>,
    store: Mutex<Option<Arc<Store>>>,
    changes: AtomicU64,
    /// A worker's each, told of changes.
    watches: Mutex<Vec<Weak<Watch>>>,
    long_work: AtomicUsize,
}

impl Tree {
    /// The tree below `root`. `load` and `prefix` are those of the handler that serves its files. Nothing is opened yet.
    #[must_use]
    pub fn new(root: &OpenRoot, load: Arc<LoadOptions>, prefix: &[u8], options: DavOptions) -> Self {
        Self {
            root: Mutex::new(Root::of(root, 0)),
            began: Instant::now(),
            options,
            load,
            prefix: prefix.into(),
            store: Mutex::default(),
            changes: AtomicU64::new(0),
            watches: Mutex::default(),
            long_work: AtomicUsize::new(0),
        }
    }

    /// Opens what is kept in the root, if it is not open, and removes what a process that died has left. May wait for the
    /// disk.
    ///
    /// # Errors
    /// A sentence for the operator; it is tried again with the first request.
    pub fn prepare(&self) -> Result<(), String> {
        let failed = |failure: Failure| {
            failure.trouble.map_or_else(|| failure.status.to_string(), |trouble| trouble.to_string())
        };
        self.store().map(drop).map_err(failed)
    }

    pub(super) fn options(&self) -> &DavOptions {
        &self.options
    }

    pub(super) fn load(&self) -> &LoadOptions {
        &self.load
    }

    /// What is kept in the root, as it is found under its path now.
    pub(super) fn store(&self) -> Result<Arc<Store>, Failure> {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if root.is_due(now_ms)
            && let Ok(dir) = root.lookup(now_ms).run()
            && root.install(dir, now_ms) == Refresh::Swung
        {
            *store = None;
            self.note_change();
        }
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(Store::open(Arc::clone(root.dir()), self.options.clone())?);
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// How many bytes the files of a store's root have, counted.
    pub(super) fn count(store: &Store) -> u64 {
        // What cannot be read counts nothing.
        measure(&store.dir, b"", HIDDEN).unwrap_or(0)
    }

    /// Something was changed: what workers keep of files is not true any more.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| match watch.upgrade() {
            Some(watch) => {
                watch.notify();
                true
            }
            None => false,
        });
    }

    /// For a worker that wants to be told of changes from now on.
    pub(super) fn watch(&self) -> Arc<Watch> {
        let watch = Arc::default();
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watch));
        watch
    }

    /// A number that is another one after each change.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Permission for something that takes long.
    pub(super) fn begin_long_work(&self) -> Option<LongWork<'_>> {
        let taken = self.long_work.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < LONG_WORK_MAX).then_some(count + 1)
        });
        taken.ok().map(|_| LongWork(self))
    }

    /// Where clients find the resource at `path`.
    pub(super) fn href(&self, path: &[u8], kind: Kind) -> Vec<u8> {
        let mut href = self.prefix.to_vec();
        href.push(b'/');
        href.extend_from_slice(path);
        if kind == Kind::Directory && !path.is_empty() {
            href.push(b'/');
        }
        href
    }

    /// What is at `path` now; a file where nothing is.
    pub(super) fn kind_of(&self, path: &[u8]) -> Kind {
        let found = self.store().ok().and_then(|store| store.dir.find(path, Way::Blocking).ok());
        found.map_or(Kind::File, |found| found.kind)
    }

    /// The path below the root of a normal path, if it has one.
    pub(super) fn local_path<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(&*self.prefix)?;
        matches!(rest.first(), None | Some(b'/')).then(|| relative(rest))
    }

    /// The path below the root of what a field refers to. Whose server is named is not looked at.
    pub(super) fn path_of(&self, reference: &Reference<'_>) -> Option<Vec<u8>> {
        let path = reference.normal_path().ok()?;
        self.local_path(&path).map(<[u8]>::to_vec)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A worker's ear for changes. It may wait for them on its own thread; they are told from any.
#[derive(Debug, Default)]
pub(super) struct Watch {
    has_news: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Watch {
    /// There is something new.
    pub(super) fn notify(&self) {
        self.has_news.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits until there is something new since the last time; many changes may be one.
    pub(super) async fn news(&self) {
        poll_fn(|context| {
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            if self.has_news.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Something that takes long is under way.
#[derive(Debug)]
pub(super) struct LongWork<'a>(&'a Tree);

impl Drop for LongWork<'_> {
    fn drop(&mut self) {
        self.0.long_work.fetch_sub(1, Ordering::AcqRel);
    }
}
