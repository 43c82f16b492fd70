//! Which version of a library a worker uses, and how it goes over to another one.

use super::Shared;
use super::outward::Kept;
use crate::outbound::Maintained;
use ringway_engine::WorkerHandle;
use ringway_plugin::{ConnectionTable, ConnectionWorker, LoadError};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// What hears of another version.
type Told = dyn Fn(&Rc<Version>);

/// A version of a library in use on a worker, until the last of its connections has ended.
pub(super) struct Version {
    generation: Cell<u64>,
    /// Which instance it is.
    instance: u64,
    pub(super) worker: ConnectionWorker,
    pub(super) table: ConnectionTable,
    pub(super) message_bytes_max: usize,
    /// Connections that it has maintained.
    kept: Kept,
}

/// The versions that a worker uses: which one new connections get.
pub(super) struct Versions {
    shared: Arc<Shared>,
    handle: WorkerHandle,
    current: RefCell<Rc<Version>>,
    /// All that are in use.
    all: RefCell<Vec<Weak<Version>>>,
    /// What is told when there is another one.
    told: RefCell<Option<Rc<Told>>>,
    /// Names its watch.
    number: u64,
}

impl Version {
    /// On the calling thread. Without a worker there its time does not come by itself.
    pub(super) fn start(shared: &Shared, handle: Option<&WorkerHandle>) -> Result<Rc<Self>, LoadError> {
        // Read before the instance: at worst this is asked to renew once more.
        let generation = shared.generation();
        let (instance, number) = shared.current().clone();
        let worker = ConnectionWorker::start(&instance)?;
        let table = worker.connections();
        let limit = table.message_bytes_max().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let version = Rc::new(Self {
            generation: Cell::new(generation),
            instance: number,
            worker,
            table,
            message_bytes_max: limit.unwrap_or(usize::MAX),
            kept: Kept::default(),
        });
        if let (Some(tick_ms), Some(handle)) = (table.tick_ms(), handle) {
            handle.spawn(tick(Rc::downgrade(&version), handle.clone(), tick_ms.into()));
        }
        Ok(version)
    }

    /// Its file, for messages.
    pub(super) fn file(&self) -> impl fmt::Display {
        self.worker.instance().library().path().display()
    }

    /// This generation is not tried again before there is another one.
    pub(super) fn is_asked_for(&self, generation: u64) {
        self.generation.set(generation);
    }

    /// Keeps what makes a connection anew until another version comes.
    pub(super) fn keep(&self, maintained: Maintained) {
        self.kept.push(maintained);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }
}

/// Has a version's time come now and then, as long as anybody uses it.
async fn tick(version: Weak<Version>, handle: WorkerHandle, tick_ms: u64) {
    loop {
        handle.sleep_until(handle.now_ms().saturating_add(tick_ms)).await;
        match version.upgrade() {
            Some(version) => version.worker.tick(),
            None => return,
        }
    }
}

impl Versions {
    pub(super) fn new(shared: Arc<Shared>, handle: &WorkerHandle) -> Result<Rc<Self>, LoadError> {
        let first = Version::start(&shared, Some(handle))?;
        let all = RefCell::new(vec![Rc::downgrade(&first)]);
        let current = RefCell::new(first);
        let number = Self::next_number();
        let versions =
            Rc::new(Self { shared, handle: handle.clone(), current, all, told: RefCell::new(None), number });
        handle.spawn(watch(Arc::clone(&versions.shared), Rc::downgrade(&versions), number));
        Ok(versions)
    }

    /// Names a watch.
    pub(super) fn next_number() -> u64 {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        NUMBERS.fetch_add(1, Ordering::Relaxed)
    }

    /// Has `told` hear of another version when there is one.
    pub(super) fn tell(&self, told: impl Fn(&Rc<Version>) + 'static) {
        *self.told.borrow_mut() = Some(Rc::new(told));
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The version that new connections get.
    pub(super) fn current(&self) -> Rc<Version> {
        self.renew();
        Rc::clone(&self.current.borrow())
    }

    /// The version of an instance, if it is in use.
    pub(super) fn of_instance(&self, instance: u64) -> Option<Rc<Version>> {
        self.all.borrow().iter().filter_map(Weak::upgrade).find(|version| version.instance == instance)
    }

    /// Says what a library did wrong: the first times, and then ever less often.
    pub(super) fn complain(&self, what: fmt::Arguments<'_>) {
        self.shared.complain(what);
    }

    fn has_news(&self) -> bool {
        self.current.borrow().generation() != self.shared.generation()
    }

    /// Goes over to another version, if there is one.
    fn renew(&self) {
        if !self.has_news() {
            return;
        }
        let generation = self.shared.generation();
        match Version::start(&self.shared, Some(&self.handle)) {
            Ok(version) => {
                let old = self.current.replace(Rc::clone(&version));
                {
                    let mut all = self.all.borrow_mut();
                    all.retain(|version| version.strong_count() > 0);
                    all.push(Rc::downgrade(&version));
                }
                old.kept.stop();
                let told = self.told.borrow().clone();
                if let Some(told) = told {
                    told(&version);
                }
                drop(old);
            }
            Err(error) => {
                self.complain(format_args!("a worker goes on with the old version: {error}"));
                // It is not tried again before there is another one.
                self.current.borrow().generation.set(generation);
            }
        }
    }
}

/// Has a worker go over to another version although no connection comes.
async fn watch(shared: Arc<Shared>, versions: Weak<Versions>, number: u64) {
    poll_fn(|context| {
        loop {
            let Some(versions) = versions.upgrade() else { return Poll::Ready(()) };
            versions.renew();
            shared.watch(number, context.waker());
            // Whoever has replaced it since has not seen the waker.
            if !versions.has_news() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Drop for Versions {
    fn drop(&mut self) {
        // The watch finds nobody and ends.
        self.shared.unwatch(self.number);
    }
}

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions")
            .field("generation", &self.current.borrow().generation())
            .finish_non_exhaustive()
    }
}
