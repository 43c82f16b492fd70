//! The handler of files: the open-file cache on the fast way, the thread pool where a disk could be slow.

use crate::answer::{self, Plan};
use crate::entry::Entry;
use crate::exchange::Exchange;
use crate::file_cache::{Fetched, LoadJob, Source as CacheSource};
use crate::file_store::{Boarding, FileStore};
use crate::listing::{self, View, Wanted};
use crate::load::LoadOptions;
use crate::open_error::OpenError;
use crate::pipeline::{Finish, Handled, Handler, Reply, Source};
use crate::root::{OpenRoot, Refresh, Root};
#[cfg(feature = "scripts")]
use crate::scripts::{RunScripts, Script};
use crate::tries::{Candidate, Tries};
use ringway_engine::heap::local_future;
use ringway_engine::ring::Handle;
use ringway_http::head::Known;
use ringway_http::negotiate::Coding;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_http::target;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Most entries a listing shows.
const LISTING_ENTRIES_MAX: usize = 10_000;

/// Longest path that is looked up, in bytes; a request line may be longer, a file's name hardly.
const PATH_BYTES_MAX: usize = 4096;

/// How often a request waits for what another one loads (a file, its sibling, what is made of it). Beyond that it loads by
/// itself: what was loaded may not have been kept, and then each would wait for all before it.
const JOINS_MAX: u8 = 4;

/// Where files lie among a site's paths, and what is tried for a path.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// Taken off the front of paths before names are looked up, without slash at its end; paths that do not begin with it,
    /// as whole segments, are not this handler's. Empty by default.
    pub prefix: Box<[u8]>,
    /// What is tried for a path. By default the path itself.
    pub tries: Tries,
    /// Whether files are the answer to any method, as where somebody else has done what was asked. Default no.
    #[cfg(feature = "scripts")]
    pub any_method: bool,
}

/// Serves the files below a root. Clones are the same handler.
#[derive(Clone)]
pub struct StaticFiles {
    files: Rc<Files>,
}

struct Files {
    root: RefCell<Root>,
    store: FileStore,
    number: u16,
    load: Arc<LoadOptions>,
    options: FilesOptions,
    /// Who runs what [`LoadOptions`] says are scripts; without anybody they are answered elsewhere, or not at all.
    #[cfg(feature = "scripts")]
    runner: Option<Rc<dyn RunScripts>>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.store.release(self.number);
    }
}

impl StaticFiles {
    /// Serves the files below `root` by way of the worker's `store`.
    ///
    /// # Errors
    /// When the store has no number left for one more handler.
    pub fn new(
        root: &OpenRoot,
        load: Arc<LoadOptions>,
        options: FilesOptions,
        store: &FileStore,
    ) -> io::Result<Self> {
        let number = store.number()?;
        let root = RefCell::new(Root::of(root, 0));
        let files = Files {
            root,
            store: store.clone(),
            number,
            load,
            options,
            #[cfg(feature = "scripts")]
            runner: None,
        };
        Ok(Self { files: Rc::new(files) })
    }

    /// The same with somebody who runs the files that are scripts ([`LoadOptions::scripts`]).
    ///
    /// # Errors
    /// As [`StaticFiles::new`].
    #[cfg(feature = "scripts")]
    pub fn with_scripts(
        root: &OpenRoot,
        load: Arc<LoadOptions>,
        options: FilesOptions,
        store: &FileStore,
        runner: Rc<dyn RunScripts>,
    ) -> io::Result<Self> {
        let number = store.number()?;
        let root = RefCell::new(Root::of(root, 0));
        let files = Files { root, store: store.clone(), number, load, options, runner: Some(runner) };
        Ok(Self { files: Rc::new(files) })
    }
}

#[cfg(feature = "dav")]
impl StaticFiles {
    /// Forgets what is kept of its files: they were changed by somebody who says so.
    pub(crate) fn forget(&self) {
        self.files.store.cache().forget_site(self.files.number);
    }
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticFiles({})", self.files.root.borrow().path().display())
    }
}

impl Handler for StaticFiles {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let Some(path) = self.local_path(exchange.path) else { return Ok(Handled::NotMine) };
        if !self.files.options.tries.ends_elsewhere()
            && !self.has_scripts()
            && let Some(refused) = self.refuse_method(exchange)?
        {
            return Ok(refused);
        }
        if path.len() > PATH_BYTES_MAX {
            return error(exchange, Status::URI_TOO_LONG);
        }
        if path.is_empty() {
            // The directory under the prefix was asked for without its slash.
            return redirect(exchange);
        }
        if let Some(later) = self.refresh(exchange) {
            return Ok(later);
        }
        // Most requests are for a file that is open, and need not go through what may be tried.
        if self.files.options.tries.is_empty() && !self.has_scripts() && !target::has_dot_name(path) {
            let fetched = self.fetch(exchange, path);
            return match fetched {
                // Other methods are refused by now, as nothing else is tried.
                Fetched::Ready(entry) if is_plain(exchange, &entry) => file_reply(exchange, entry),
                fetched => match self.found(exchange, 0, path, fetched)? {
                    Some(handled) => Ok(handled),
                    None => self.try_from(exchange, 1),
                },
            };
        }
        self.try_from(exchange, 0)
    }
}

/// Whether an entry is a file to be answered with as it is.
fn is_plain(exchange: &Exchange<'_>, entry: &Entry<Handle>) -> bool {
    entry.file().is_some_and(|file| {
        let may_be_made = !file.makeable().is_empty() && exchange.request.has(Known::AcceptEncoding);
        !may_be_made && answer::choose_coding(exchange.request, file) == Coding::Identity
    })
}

/// A load that was begun while a request was tried for.
struct Loading {
    /// Which of the things that are tried.
    step: usize,
    /// The file whose sibling is loaded; it answers when that cannot be.
    base: Option<Rc<Entry<Handle>>>,
}

impl StaticFiles {
    /// What is left of a path behind the prefix.
    fn local_path<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(&*self.files.options.prefix)?;
        matches!(rest.first(), None | Some(b'/')).then_some(rest)
    }

    /// Looks whether the root's path names another directory by now; on the pool when that could wait for a disk.
    fn refresh(&self, exchange: &Exchange<'_>) -> Option<Handled> {
        let now_ms = exchange.moment.ms;
        let files = &self.files;
        if !files.root.borrow().is_due(now_ms) {
            return None;
        }
        let refreshed = files.root.borrow_mut().refresh_cached(now_ms);
        match refreshed {
            Ok(Refresh::Same) => None,
            Ok(Refresh::Swung) => {
                files.store.cache().forget_site(files.number);
                None
            }
            Err(OpenError::WouldBlock) => {
                let lookup = files.root.borrow_mut().lookup(now_ms);
                let this = self.clone();
                let pooled = exchange.pool.run(move || lookup.run());
                Some(Handled::Later(local_future(async move {
                    if let Ok(pooled) = pooled
                        && let Ok(Ok(dir)) = pooled.await
                        && this.files.root.borrow_mut().install(dir, now_ms) == Refresh::Swung
                    {
                        this.files.store.cache().forget_site(this.files.number);
                    }
                    let finish: Finish = Box::new(move |exchange| this.handle(exchange));
                    finish
                })))
            }
            // The root is gone for now: what is open is still served, the rest fails by itself.
            Err(_) => None,
        }
    }

    /// Tries what there is to try from `step` on.
    fn try_from(&self, exchange: &mut Exchange<'_>, mut step: usize) -> Result<Handled, EncodeError> {
        loop {
            match self.candidate(exchange, step) {
                Candidate::Path(path) => {
                    let fetched = self.fetch(exchange, path);
                    if let Some(handled) = self.found(exchange, step, path, fetched)? {
                        return Ok(handled);
                    }
                }
                Candidate::Skip => {}
                Candidate::Status(status) => return error(exchange, status),
                Candidate::Rewrite(target) => {
                    return match target.follow(exchange)? {
                        Handled::NotMine => error(exchange, Status::NOT_FOUND),
                        handled => Ok(handled),
                    };
                }
            }
            step += 1;
        }
    }

    /// What is tried at `step`. A name that begins with a dot is tried for as if there were none.
    fn candidate<'p>(&self, exchange: &mut Exchange<'p>, step: usize) -> Candidate<'p, '_> {
        let local = self.local_path(exchange.path).unwrap_or(b"/");
        match self.files.options.tries.candidate(exchange, local, step) {
            Candidate::Path(path) if target::has_dot_name(self.file_part(path)) => Candidate::Skip,
            candidate => candidate,
        }
    }

    fn fetch(&self, exchange: &Exchange<'_>, path: &[u8]) -> Fetched<Handle> {
        let path = self.file_part(path);
        let root = self.files.root.borrow();
        self.files.store.cache().fetch(self.source(&root), path, exchange.moment)
    }

    fn source<'a>(&'a self, root: &'a Root) -> CacheSource<'a> {
        CacheSource { site: self.files.number, root: root.dir(), options: &self.files.load }
    }

    /// Answers with what was found; nothing when there is nothing and something else may be tried.
    fn found(
        &self,
        exchange: &mut Exchange<'_>,
        step: usize,
        path: &[u8],
        fetched: Fetched<Handle>,
    ) -> Result<Option<Handled>, EncodeError> {
        match fetched {
            Fetched::Ready(entry) => self.entry(exchange, step, path, entry),
            Fetched::Absent(OpenError::NotFound) => Ok(None),
            Fetched::Absent(reason) => error(exchange, status_of(reason)).map(Some),
            Fetched::Pool(job) => Ok(Some(self.load(exchange, job, Loading { step, base: None }))),
        }
    }

    fn entry(
        &self,
        exchange: &mut Exchange<'_>,
        step: usize,
        path: &[u8],
        entry: Rc<Entry<Handle>>,
    ) -> Result<Option<Handled>, EncodeError> {
        #[cfg(feature = "scripts")]
        match self.script(exchange, path, &entry)? {
            Look::Other => {}
            Look::Nothing => return Ok(None),
            Look::Decided(handled) => return Ok(Some(handled)),
        }
        let is_listed = !self.files.options.tries.is_empty();
        if let Some(refused) = self.refuse_method(exchange)? {
            // A directory that was only come upon on the way is no reason.
            return Ok(Some(refused).filter(|_| !is_listed || !matches!(*entry, Entry::Redirect)));
        }
        match &*entry {
            // The directory was asked for without its slash, and tried with it: the client must know of it.
            Entry::File(_) | Entry::Listing if is_listed && self.lacks_slash(exchange, path) => {
                redirect(exchange).map(Some)
            }
            Entry::File(file) => match answer::choose_coding(exchange.request, file) {
                #[cfg(feature = "compress")]
                Coding::Identity => self.made(exchange, step, path, entry).map(Some),
                #[cfg(not(feature = "compress"))]
                Coding::Identity => file_reply(exchange, entry).map(Some),
                coding => self.sibling(exchange, step, path, entry, coding).map(Some),
            },
            // A list of things to try says itself what directories are good for.
            Entry::Redirect if is_listed => Ok(None),
            // It stands in the place of compressed files only.
            Entry::Plain(_) => Ok(None),
            Entry::Redirect => redirect(exchange).map(Some),
            Entry::Listing => Ok(Some(self.list(exchange, path))),
        }
    }

    /// The part of a path that is looked for: what follows a script's name is the script's business.
    #[cfg(feature = "scripts")]
    fn file_part<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        self.files.load.scripts.as_ref().map_or(path, |endings| endings.split(path).0)
    }

    #[cfg(not(feature = "scripts"))]
    #[expect(clippy::unused_self, reason = "where there are no scripts it is all of it")]
    fn file_part<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        path
    }

    #[cfg(feature = "scripts")]
    fn has_scripts(&self) -> bool {
        self.files.load.scripts.is_some()
    }

    #[cfg(not(feature = "scripts"))]
    #[expect(clippy::unused_self, reason = "where there are no scripts it is a constant")]
    fn has_scripts(&self) -> bool {
        false
    }

    /// Runs a script, or has its own path answer; its content is never sent.
    #[cfg(feature = "scripts")]
    fn script(
        &self,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        entry: &Entry<Handle>,
    ) -> Result<Look, EncodeError> {
        let Some(endings) = &self.files.load.scripts else { return Ok(Look::Other) };
        let (_, path_info) = endings.split(path);
        let Some(file) = entry.file().filter(|file| endings.is_script(file.name())) else {
            // What is there in the place of a script was not asked for.
            return Ok(if path_info.is_empty() { Look::Other } else { Look::Nothing });
        };
        if path_info.is_empty() && self.lacks_slash(exchange, path) {
            return redirect(exchange).map(Look::Decided);
        }
        let script = Script { prefix: &self.files.options.prefix, name: file.name(), path_info };
        match &self.files.runner {
            Some(runner) if runner.runs(script.name) => runner.run(exchange, &script).map(Look::Decided),
            _ => hand_over(exchange, &script).map(Look::Decided),
        }
    }

    #[cfg(feature = "scripts")]
    fn refuse_method(&self, exchange: &mut Exchange<'_>) -> Result<Option<Handled>, EncodeError> {
        if self.files.options.any_method { Ok(None) } else { refuse_method(exchange) }
    }

    #[cfg(not(feature = "scripts"))]
    #[expect(clippy::unused_self, reason = "where there are no scripts all files are alike")]
    fn refuse_method(&self, exchange: &mut Exchange<'_>) -> Result<Option<Handled>, EncodeError> {
        refuse_method(exchange)
    }

    /// Whether `path` is the path that was asked for and a slash.
    fn lacks_slash(&self, exchange: &Exchange<'_>, path: &[u8]) -> bool {
        path.strip_suffix(b"/").is_some_and(|path| self.local_path(exchange.path) == Some(path))
    }

    /// Answers with a precompressed sibling; with the file itself when that is gone.
    fn sibling(
        &self,
        exchange: &mut Exchange<'_>,
        step: usize,
        path: &[u8],
        entry: Rc<Entry<Handle>>,
        coding: Coding,
    ) -> Result<Handled, EncodeError> {
        let fetched = {
            let root = self.files.root.borrow();
            let source = self.source(&root);
            let Some(file) = entry.file() else { return error(exchange, Status::NOT_FOUND) };
            self.files.store.cache().fetch_sibling(source, path, file, coding, exchange.moment)
        };
        match fetched {
            Fetched::Ready(sibling) if sibling.file().is_some() => file_reply(exchange, sibling),
            Fetched::Ready(_) | Fetched::Absent(_) => file_reply(exchange, entry),
            Fetched::Pool(job) => Ok(self.load(exchange, job, Loading { step, base: Some(entry) })),
        }
    }

    /// Answers with the file compressed, where that is wanted, worth it, and there is room for it; else with the file.
    #[cfg(feature = "compress")]
    fn made(
        &self,
        exchange: &mut Exchange<'_>,
        step: usize,
        path: &[u8],
        entry: Rc<Entry<Handle>>,
    ) -> Result<Handled, EncodeError> {
        let (Some(file), Some(compression)) = (entry.file(), &self.files.load.compression) else {
            return file_reply(exchange, entry);
        };
        let coding = answer::choose_made(exchange.request, file, compression.codings());
        if coding == Coding::Identity {
            return file_reply(exchange, entry);
        }
        let fetched = {
            let root = self.files.root.borrow();
            self.files.store.cache().fetch_made(self.source(&root), path, file, coding, exchange.moment)
        };
        match fetched {
            Fetched::Ready(made) if made.file().is_some() => file_reply(exchange, made),
            Fetched::Ready(_) | Fetched::Absent(_) => file_reply(exchange, entry),
            Fetched::Pool(mut job) => {
                let Some(permit) = compression.begin() else { return file_reply(exchange, entry) };
                job.keep_permit(permit);
                Ok(self.load(exchange, job, Loading { step, base: Some(entry) }))
            }
        }
    }

    /// Loads on the pool, or waits for who does already.
    fn load(&self, exchange: &mut Exchange<'_>, job: Box<LoadJob>, loading: Loading) -> Handled {
        let this = self.clone();
        let leader = match self.files.store.board(&job) {
            Boarding::Leading(leader) => Some(leader),
            Boarding::Joined(_) if exchange.course.joins >= JOINS_MAX => None,
            Boarding::Joined(flight) => {
                exchange.course.joins += 1;
                return Handled::Later(local_future(async move {
                    flight.end().await;
                    let finish: Finish = Box::new(move |exchange| this.try_from(exchange, loading.step));
                    finish
                }));
            }
        };
        let pooled = exchange.pool.run(move || job.run());
        Handled::Later(local_future(async move {
            let done = match pooled {
                Ok(pooled) => pooled.await,
                Err(busy) => Err(busy),
            };
            let finish: Finish = Box::new(move |exchange| {
                // A full queue or a dead thread: the server is overloaded for now.
                let admitted = done.map(|done| this.files.store.cache().admit(done, exchange.moment));
                drop(leader);
                match (admitted, loading.base) {
                    (Ok(admitted), base) => this.loaded(exchange, admitted, Loading { base, ..loading }),
                    (Err(_busy), Some(base)) => file_reply(exchange, base),
                    (Err(_busy), None) => error(exchange, Status::SERVICE_UNAVAILABLE),
                }
            });
            finish
        }))
    }

    /// Goes on with what was loaded.
    fn loaded(
        &self,
        exchange: &mut Exchange<'_>,
        admitted: Result<Rc<Entry<Handle>>, OpenError>,
        loading: Loading,
    ) -> Result<Handled, EncodeError> {
        let step = loading.step;
        match (admitted, loading.base) {
            (Ok(sibling), Some(base)) if sibling.file().is_none() => file_reply(exchange, base),
            (Ok(entry), Some(_)) => file_reply(exchange, entry),
            (Err(_), Some(base)) => file_reply(exchange, base),
            (Ok(entry), None) => {
                let Candidate::Path(path) = self.candidate(exchange, step) else {
                    return self.try_from(exchange, step);
                };
                match self.entry(exchange, step, path, entry)? {
                    Some(handled) => Ok(handled),
                    None => self.try_from(exchange, step + 1),
                }
            }
            (Err(OpenError::NotFound), None) => self.try_from(exchange, step + 1),
            (Err(reason), None) => error(exchange, status_of(reason)),
        }
    }

    fn list(&self, exchange: &Exchange<'_>, path: &[u8]) -> Handled {
        let root = Arc::clone(self.files.root.borrow().dir());
        let wanted = Wanted::of(exchange.query, exchange.request.accept());
        let theme = self.files.load.theme;
        let is_asked_for = self.local_path(exchange.path) == Some(path);
        let shown: Box<[u8]> = if is_asked_for { exchange.path.into() } else { path.into() };
        let path: Box<[u8]> = path.into();
        let pooled = exchange.pool.run(move || {
            let view = View { path: &shown, wanted, theme, entries_max: LISTING_ENTRIES_MAX };
            listing::list(&root, &path, view)
        });
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

/// What an entry is where there are scripts.
#[cfg(feature = "scripts")]
enum Look {
    /// No script.
    Other,
    /// Nothing that was asked for.
    Nothing,
    /// A script, and what becomes of the request.
    Decided(Handled),
}

/// Whoever has the script's own path may run it; there is nobody when that was asked for already.
#[cfg(feature = "scripts")]
fn hand_over(exchange: &mut Exchange<'_>, script: &Script<'_>) -> Result<Handled, EncodeError> {
    let path = [script.prefix, b"/", script.name, script.path_info].concat();
    if *path == *exchange.path {
        return error(exchange, Status::NOT_FOUND);
    }
    let query = exchange.query;
    match exchange.rewrite(&path, query) {
        Ok(()) => Ok(Handled::Rewritten),
        Err(status) => error(exchange, status),
    }
}

/// The answer to methods that files have no answer to.
fn refuse_method(exchange: &mut Exchange<'_>) -> Result<Option<Handled>, EncodeError> {
    match answer::refuse_method(exchange.request, exchange.common, exchange.memory) {
        Some(plan) => plan.map(|plan| Some(Handled::Answer(plan.into()))),
        None => Ok(None),
    }
}

fn redirect(exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
    let plan = answer::redirect(exchange.request, exchange.path, exchange.common, exchange.memory)?;
    Ok(answered(plan, Source::None))
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
