//! What the file handlers of a worker share: one open-file cache, one watch on changes, and loads under way.

use crate::codings::Coding;
use crate::file_cache::{CacheLimits, FileCache, LoadJob};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::{Handle, Interest, Op};
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Most file handlers of a worker, those that end with an older configuration included.
pub const HANDLERS_MAX: u16 = u16::MAX;

/// How long following changes rests at the ring's limit of operations, in milliseconds.
const RETRY_MS: u64 = 1_000;

thread_local! {
    static STORE: OnceCell<FileStore> = const { OnceCell::new() };
}

/// The open-file cache of a worker with what belongs to it; handlers have numbers in it. Clones are the same store.
#[derive(Clone)]
pub struct FileStore {
    inner: Rc<Inner>,
}

struct Inner {
    cache: RefCell<FileCache<Handle>>,
    numbers: RefCell<Numbers>,
    flights: RefCell<HashMap<FlightKey, Rc<Flight>>>,
}

/// Numbers of handlers, given again when one is gone.
#[derive(Default)]
struct Numbers {
    next: u16,
    free: Vec<u16>,
}

impl FileStore {
    /// A store of its own, whose entries age without being watched by a task.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        let cache = RefCell::new(FileCache::new(limits));
        Self { inner: Rc::new(Inner { cache, numbers: RefCell::default(), flights: RefCell::default() }) }
    }

    /// The store of this worker, which the calling thread runs. The first call makes it and has a task keep it true to the
    /// disk; each sets its bounds, except for how many directories are watched, which stays as it was.
    #[must_use]
    pub fn of(worker: &WorkerHandle, limits: CacheLimits) -> Self {
        STORE.with(|store| {
            let is_new = store.get().is_none();
            let store = store.get_or_init(|| Self::new(limits)).clone();
            if is_new {
                store.watch(worker);
            } else {
                store.cache().set_limits(limits);
            }
            store
        })
    }

    pub(crate) fn cache(&self) -> RefMut<'_, FileCache<Handle>> {
        self.inner.cache.borrow_mut()
    }

    /// A number for a handler.
    pub(crate) fn number(&self) -> io::Result<u16> {
        let numbers = &mut *self.inner.numbers.borrow_mut();
        if let Some(number) = numbers.free.pop() {
            return Ok(number);
        }
        let number = numbers.next;
        numbers.next = number
            .checked_add(1)
            .ok_or_else(|| io::Error::other(format!("there are more than {HANDLERS_MAX} file handlers")))?;
        Ok(number)
    }

    /// Takes a number back and forgets what was kept under it.
    pub(crate) fn release(&self, number: u16) {
        self.cache().forget_site(number);
        self.inner.numbers.borrow_mut().free.push(number);
    }

    /// Joins the load of the same thing that is under way, or begins one.
    pub(crate) fn board(&self, job: &LoadJob) -> Boarding {
        let (site, path, coding) = job.key();
        let key = FlightKey { site, coding, path: path.into() };
        let flights = &mut *self.inner.flights.borrow_mut();
        if let Some(flight) = flights.get(&key) {
            return Boarding::Joined(Rc::clone(flight));
        }
        flights.insert(key.clone(), Rc::default());
        Boarding::Leading(Leader { store: self.clone(), key })
    }

    fn watch(&self, worker: &WorkerHandle) {
        let watch = self.cache().watch_fd().and_then(|fd| fd.try_clone_to_owned().ok());
        if let Some(watch) = watch {
            worker.spawn(follow_changes(self.clone(), Handle::new(watch), worker.clone()));
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileStore").field(&self.inner.cache).finish()
    }
}

/// Waits for changes and drops what they concern, for as long as the worker lives.
async fn follow_changes(store: FileStore, watch: Handle, worker: WorkerHandle) {
    loop {
        let ready = Op::Ready { socket: watch.clone(), interest: Interest::Readable };
        let completion = match worker.operation(ready) {
            Ok(operation) => operation.await,
            Err(_at_limit) => {
                worker.sleep_until(worker.now_ms() + RETRY_MS).await;
                continue;
            }
        };
        if completion.result.is_err() {
            return;
        }
        while store.cache().drain_events().more {}
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct FlightKey {
    site: u16,
    coding: Coding,
    path: Box<[u8]>,
}

/// A load under way, and who waits for it besides its leader.
#[derive(Default)]
pub(crate) struct Flight {
    has_ended: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Flight {
    /// Waits until the load has ended, however that was. Then ask the cache again.
    pub(crate) async fn end(&self) {
        poll_fn(|context| {
            if self.has_ended.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Who loads.
pub(crate) enum Boarding {
    /// Somebody else does.
    Joined(Rc<Flight>),
    /// The caller; the others wait until this is dropped.
    Leading(Leader),
}

/// Its drop tells those who wait that the load has ended; also when its connection has gone before.
pub(crate) struct Leader {
    store: FileStore,
    key: FlightKey,
}

impl Drop for Leader {
    fn drop(&mut self) {
        let flight = self.store.inner.flights.borrow_mut().remove(&self.key);
        if let Some(flight) = flight {
            flight.has_ended.set(true);
            flight.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_cache::{Fetched, Moment, Source};
    use crate::load::LoadOptions;
    use crate::root::{Root, RootOptions, Timestamp};
    use crate::test_dir::TestDir;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Context;

    #[test]
    fn loads_of_one_thing_are_one() {
        let dir = TestDir::new();
        dir.write("a", "a");
        // Without openat2 every look-up is the pool's.
        let root =
            Root::open(dir.path(), RootOptions { openat2: false, ..RootOptions::default() }, 0).unwrap();
        let store = FileStore::new(CacheLimits::default());
        let options = Arc::new(LoadOptions::default());
        let now = Moment { ms: 5, wall: Timestamp { seconds: 2_000_000_000, nanoseconds: 0 } };
        let fetch = |path: &[u8]| {
            store.cache().fetch(Source { site: 0, root: root.dir(), options: &options }, path, now)
        };
        let job = |path: &[u8]| match fetch(path) {
            Fetched::Pool(job) => job,
            other => panic!("{other:?}"),
        };
        let Boarding::Leading(leader) = store.board(&job(b"/a")) else { panic!("nobody loads it yet") };
        assert!(matches!(store.board(&job(b"/b")), Boarding::Leading(_)), "another path");
        let Boarding::Joined(flight) = store.board(&job(b"/a")) else { panic!("it is being loaded") };
        let mut waiting = pin!(flight.end());
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let done = job(b"/a").run();
        assert!(store.cache().admit(done, now).is_ok());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(leader);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        assert!(matches!(fetch(b"/a"), Fetched::Ready(_)));
        // Whoever comes later, for what was not kept, loads anew.
        assert!(matches!(store.board(&job(b"/c")), Boarding::Leading(_)));
        assert!(store.inner.flights.borrow().is_empty());
    }

    #[test]
    fn numbers_are_given_again() {
        let store = FileStore::new(CacheLimits::default());
        assert_eq!((store.number().unwrap(), store.number().unwrap()), (0, 1));
        store.release(0);
        assert_eq!((store.number().unwrap(), store.number().unwrap()), (0, 2));
        for _ in 3..HANDLERS_MAX {
            store.number().unwrap();
        }
        store.number().unwrap_err();
        store.release(7);
        assert_eq!(store.number().unwrap(), 7);
    }
}
