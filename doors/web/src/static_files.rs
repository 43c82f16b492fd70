//! The handler of files: the open-file cache on the fast way, the thread pool where a disk could be slow.

use crate::answer::{self, Plan};
use crate::entry::Entry;
use crate::exchange::Exchange;
use crate::file_cache::{CacheLimits, Fetched, FileCache, LoadJob, Source as CacheSource};
use crate::listing::{self, Wanted};
use crate::load::LoadOptions;
use crate::open_error::OpenError;
use crate::pipeline::{Finish, Handled, Handler, Reply, Source};
use crate::root::{Refresh, Root, RootOptions};
use ringway_engine::WorkerHandle;
use ringway_engine::heap::{Local, LocalVec, local_future};
use ringway_engine::ring::{Handle, Interest, Op};
use ringway_http::negotiate::Coding;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_http::target;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Most entries a listing shows.
const LISTING_ENTRIES_MAX: usize = 10_000;

/// Longest path that is looked up, in bytes; a request line may be longer, a file's name hardly.
const PATH_BYTES_MAX: usize = 4096;

/// How long following changes rests at the ring's limit of operations, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Serves the files below a root.
#[derive(Clone)]
pub struct StaticFiles {
    site: Rc<Site>,
}

struct Site {
    root: RefCell<Root>,
    cache: RefCell<FileCache<Handle>>,
    options: Arc<LoadOptions>,
}

impl StaticFiles {
    /// Opens `root`.
    ///
    /// # Errors
    /// Why the root cannot be opened.
    pub fn open(
        root: &Path,
        root_options: RootOptions,
        options: Arc<LoadOptions>,
        limits: CacheLimits,
    ) -> io::Result<Self> {
        let root = RefCell::new(Root::open(root, root_options, 0)?);
        let site = Site { root, cache: RefCell::new(FileCache::new(limits)), options };
        Ok(Self { site: Rc::new(site) })
    }
}

impl StaticFiles {
    /// Keeps the cache true to the disk: a task of `worker` drops what the kernel says has changed.
    pub fn watch(&self, worker: &WorkerHandle) {
        let watch = self.site.cache.borrow().watch_fd().and_then(|fd| fd.try_clone_to_owned().ok());
        if let Some(watch) = watch {
            worker.spawn(follow_changes(self.clone(), Handle::new(watch), worker.clone()));
        }
    }
}

/// Waits for changes and drops what they concern, for as long as the worker lives.
async fn follow_changes(files: StaticFiles, watch: Handle, worker: WorkerHandle) {
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
        while files.site.cache.borrow_mut().drain_events().more {}
    }
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticFiles({})", self.site.root.borrow().path().display())
    }
}

impl Handler for StaticFiles {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if let Some(plan) = answer::refuse_method(exchange.request, exchange.common, exchange.memory) {
            return Ok(answered(plan?, Source::None));
        }
        let path = exchange.path;
        if path.len() > PATH_BYTES_MAX {
            return error(exchange, Status::URI_TOO_LONG);
        }
        if target::has_dot_name(path) {
            return error(exchange, Status::NOT_FOUND);
        }
        if let Some(later) = self.refresh(exchange) {
            return Ok(later);
        }
        let fetched = {
            let root = self.site.root.borrow();
            let source = CacheSource { site: 0, root: root.dir(), options: &self.site.options };
            self.site.cache.borrow_mut().fetch(source, path, exchange.moment)
        };
        self.found(exchange, path, fetched)
    }
}

impl StaticFiles {
    /// Looks whether the root's path names another directory by now; on the pool when that could wait for a disk.
    fn refresh(&self, exchange: &Exchange<'_>) -> Option<Handled> {
        let now_ms = exchange.moment.ms;
        if !self.site.root.borrow().is_due(now_ms) {
            return None;
        }
        let refreshed = self.site.root.borrow_mut().refresh_cached(now_ms);
        match refreshed {
            Ok(Refresh::Same) => None,
            Ok(Refresh::Swung) => {
                self.site.cache.borrow_mut().forget_site(0);
                None
            }
            Err(OpenError::WouldBlock) => {
                let lookup = self.site.root.borrow_mut().lookup(now_ms);
                let files = self.clone();
                let pooled = exchange.pool.run(move || lookup.run());
                Some(Handled::Later(local_future(async move {
                    if let Ok(pooled) = pooled
                        && let Ok(Ok(dir)) = pooled.await
                        && files.site.root.borrow_mut().install(dir, now_ms) == Refresh::Swung
                    {
                        files.site.cache.borrow_mut().forget_site(0);
                    }
                    let finish: Finish = Box::new(move |exchange| files.handle(exchange));
                    finish
                })))
            }
            // The root is gone for now: what is open is still served, the rest fails by itself.
            Err(_) => None,
        }
    }

    fn found(
        &self,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        fetched: Fetched<Handle>,
    ) -> Result<Handled, EncodeError> {
        match fetched {
            Fetched::Ready(entry) => self.entry(exchange, path, entry),
            Fetched::Absent(reason) => error(exchange, status_of(reason)),
            Fetched::Pool(job) => Ok(self.load(exchange, path, job, None)),
        }
    }

    fn entry(
        &self,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        entry: Rc<Entry<Handle>>,
    ) -> Result<Handled, EncodeError> {
        match &*entry {
            Entry::File(file) => match answer::choose_coding(exchange.request, file) {
                Coding::Identity => file_reply(exchange, entry),
                coding => self.sibling(exchange, path, entry, coding),
            },
            Entry::Redirect => {
                let plan = answer::redirect(exchange.request, path, exchange.common, exchange.memory)?;
                Ok(answered(plan, Source::None))
            }
            Entry::Listing => Ok(self.list(exchange, path)),
        }
    }

    /// Answers with a precompressed sibling; with the file itself when that is gone.
    fn sibling(
        &self,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        entry: Rc<Entry<Handle>>,
        coding: Coding,
    ) -> Result<Handled, EncodeError> {
        let fetched = {
            let root = self.site.root.borrow();
            let source = CacheSource { site: 0, root: root.dir(), options: &self.site.options };
            let Some(file) = entry.file() else { return error(exchange, Status::NOT_FOUND) };
            self.site.cache.borrow_mut().fetch_sibling(source, path, file, coding, exchange.moment)
        };
        match fetched {
            Fetched::Ready(sibling) if sibling.file().is_some() => file_reply(exchange, sibling),
            Fetched::Ready(_) | Fetched::Absent(_) => file_reply(exchange, entry),
            Fetched::Pool(job) => Ok(self.load(exchange, path, job, Some(entry))),
        }
    }

    /// Loads on the pool. `base` answers when a sibling cannot be loaded.
    fn load(
        &self,
        exchange: &Exchange<'_>,
        path: &[u8],
        job: Box<LoadJob>,
        base: Option<Rc<Entry<Handle>>>,
    ) -> Handled {
        let files = self.clone();
        let mut kept_path = LocalVec::new_in(Local::new());
        kept_path.extend_from_slice(path);
        let pooled = exchange.pool.run(move || job.run());
        Handled::Later(local_future(async move {
            let done = match pooled {
                Ok(pooled) => pooled.await,
                Err(busy) => Err(busy),
            };
            let finish: Finish = Box::new(move |exchange| {
                // A full queue or a dead thread: the server is overloaded for now.
                let Ok(done) = done else { return error(exchange, Status::SERVICE_UNAVAILABLE) };
                let admitted = files.site.cache.borrow_mut().admit(done, exchange.moment);
                match (admitted, base) {
                    (Ok(sibling), Some(base)) if sibling.file().is_none() => file_reply(exchange, base),
                    (Ok(entry), Some(_)) => file_reply(exchange, entry),
                    (Ok(entry), None) => files.entry(exchange, &kept_path, entry),
                    (Err(_), Some(base)) => file_reply(exchange, base),
                    (Err(reason), None) => error(exchange, status_of(reason)),
                }
            });
            finish
        }))
    }

    fn list(&self, exchange: &Exchange<'_>, path: &[u8]) -> Handled {
        let root = Arc::clone(self.site.root.borrow().dir());
        let wanted = Wanted::of(exchange.request.query(), exchange.request.accept());
        let path: Box<[u8]> = path.into();
        let pooled = exchange.pool.run(move || listing::list(&root, &path, wanted, LISTING_ENTRIES_MAX));
        Handled::Later(local_future(async move {
            let listed = match pooled {
                Ok(pooled) => pooled.await,
                Err(busy) => Err(busy),
            };
            let finish: Finish = Box::new(move |exchange| match listed {
                Ok(Ok(listing)) => {
                    let plan = answer::listing(exchange.request, &listing, exchange.common, exchange.memory)?;
                    Ok(answered(plan, Source::Bytes(listing.body)))
                }
                Ok(Err(reason)) => error(exchange, status_of(reason)),
                Err(_busy) => error(exchange, Status::SERVICE_UNAVAILABLE),
            });
            finish
        }))
    }
}

fn file_reply(exchange: &mut Exchange<'_>, entry: Rc<Entry<Handle>>) -> Result<Handled, EncodeError> {
    let Some(file) = entry.file() else { return error(exchange, Status::NOT_FOUND) };
    let plan = answer::file(exchange.request, file, exchange.common, exchange.memory)?;
    Ok(answered(plan, Source::Entry(entry)))
}

fn error(exchange: &mut Exchange<'_>, status: Status) -> Result<Handled, EncodeError> {
    exchange.error(status).map(Handled::Answer)
}

fn answered(plan: Plan, source: Source) -> Handled {
    Handled::Answer(Reply { plan, source })
}

fn status_of(reason: OpenError) -> Status {
    Status::new(reason.status()).unwrap_or(Status::INTERNAL_SERVER_ERROR)
}
