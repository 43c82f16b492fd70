//! WebDAV, classes 1 and 2 (RFC 4918): files below a root that clients change.
//!
//! The handler stands before the one of the root's files, which answers GET and HEAD. All disk work is done on the thread pool,
//! by plain functions of an `Ask`, and the body of a PUT is written there piece by piece as it arrives.
//! What WebDAV has to remember is in a hidden directory of the root (`store`), and every change of a resource is one rename,
//! made by who holds the root (`store::Held`) after a last look at conditions and locks.
//!
//! Names that begin with a dot are nobody's: they are not found and cannot be made. Links are followed by who reads, as for GET,
//! and refused to who writes.

mod ask;
mod change;
mod disk;
mod live;
mod lock;
mod options;
mod outcome;
mod place;
mod properties;
mod put;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod usage;

pub use options::{DavOptions, Durability};
pub use tree::Tree;

use tree::Watch;

use crate::answer::head_only;
use crate::exchange::Exchange;
use crate::log::errors::ErrorLog;
use crate::pipeline::{Finish, Handled, Handler, Verdict};
use crate::request_body::RequestBody;
use crate::static_files::StaticFiles;
use ask::Ask;
use outcome::{Failure, Outcome};
use place::is_hidden;
use put::Upload;
use ringway_dav::body::XML_BYTES_MAX;
use ringway_dav::fields::Reference;
use ringway_engine::heap::local_future;
use ringway_engine::{PoolError, WorkerHandle};
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::cell::Cell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// What WebDAV's resources answer to.
const ALLOW: &str = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE, LOCK, UNLOCK";

/// Bytes of a body that are written together.
const WRITE_BYTES: usize = 128 * 1024;

/// Longest path of a resource, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Changes the files below a root. Clones are the same handler.
#[derive(Clone)]
pub struct Dav {
    inner: Rc<Inner>,
}

struct Inner {
    tree: Arc<Tree>,
    files: StaticFiles,
    worker: WorkerHandle,
    log: Option<ErrorLog>,
    /// The last change that this worker knows of.
    seen: Cell<u64>,
    watch: Arc<Watch>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Who waits for changes finds nobody to tell, and ends.
        self.watch.notify();
    }
}

/// Where a COPY or MOVE goes, or the status it is refused with.
type Aim = Result<Option<Box<[u8]>>, Status>;

/// What a method does, on the pool.
type Work = fn(&Ask) -> Result<Outcome, Failure>;

impl Dav {
    /// Changes the files of `tree`, which `files` serves. `log` is told what an operator must see to.
    #[must_use]
    pub fn new(tree: Arc<Tree>, files: StaticFiles, worker: &WorkerHandle, log: Option<ErrorLog>) -> Self {
        let (prepared, told) = (Arc::clone(&tree), log.clone());
        // Whoever comes before it is done, or when it could not be begun, waits for it then.
        let _pooled = worker.pool().run(move || {
            if let (Err(trouble), Some(log)) = (prepared.prepare(), told) {
                log.error("dav", format_args!("{trouble}"));
            }
        });
        let (seen, watch) = (Cell::new(tree.changes()), tree.watch());
        let worker = worker.clone();
        let inner = Rc::new(Inner { tree, files, worker, log, seen, watch: Arc::clone(&watch) });
        inner.worker.spawn(follow_changes(Rc::downgrade(&inner), watch));
        Self { inner }
    }
}

/// Has the worker forget changed files when they are changed, not only when they are asked for: it may have them open, and a
/// removed file takes its space as long as somebody has.
async fn follow_changes(dav: Weak<Inner>, watch: Arc<Watch>) {
    loop {
        watch.news().await;
        let Some(inner) = dav.upgrade() else { return };
        Dav { inner }.note_changes();
    }
}

impl fmt::Debug for Dav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dav").field(&self.inner.tree).finish()
    }
}

impl Handler for Dav {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let tree = &self.inner.tree;
        let Some(path) = tree.local_path(exchange.path) else { return Ok(Handled::NotMine) };
        let work: Work = match exchange.request.method() {
            Method::Get | Method::Head => {
                self.note_changes();
                return Ok(Handled::NotMine);
            }
            Method::Options => return options(exchange),
            Method::Put => put_nothing,
            Method::Delete => change::delete,
            Method::Extension("MKCOL") => change::make_collection,
            Method::Extension("COPY") => change::copy,
            Method::Extension("MOVE") => change::relocate,
            Method::Extension("PROPFIND") => properties::find_properties,
            Method::Extension("PROPPATCH") => properties::patch_properties,
            Method::Extension("LOCK") => lock::lock,
            Method::Extension("UNLOCK") => lock::unlock,
            _ => return refuse(exchange, Status::METHOD_NOT_ALLOWED),
        };
        if exchange.user().is_none() && !tree.options().is_anonymous {
            return refuse(exchange, Status::FORBIDDEN);
        }
        if path.len() > PATH_BYTES_MAX {
            return refuse(exchange, Status::URI_TOO_LONG);
        }
        if is_hidden(path) {
            let makes =
                matches!(exchange.request.method(), Method::Put | Method::Extension("MKCOL" | "LOCK"));
            return refuse(exchange, if makes { Status::FORBIDDEN } else { Status::NOT_FOUND });
        }
        let destination = match self.destination(exchange)? {
            Ok(destination) => destination,
            Err(status) => return refuse(exchange, status),
        };
        let ask = Ask {
            tree: Arc::clone(tree),
            head: exchange.request.as_bytes().into(),
            path: path.into(),
            has_slash: exchange.path.ends_with(b"/") && !path.is_empty(),
            destination,
            user: exchange.user().map(|user| user.as_ref().into()),
            body: Vec::new(),
            now_s: exchange.common.now_s,
        };
        self.begin(exchange, ask, work)
    }
}

impl Dav {
    /// Has the worker forget what it keeps of files that were changed since it last looked.
    fn note_changes(&self) {
        let changes = self.inner.tree.changes();
        if self.inner.seen.replace(changes) != changes {
            self.inner.files.forget();
        }
    }

    /// Begins to do what is asked. It is done once, whatever becomes of its answer.
    fn begin(&self, exchange: &mut Exchange<'_>, ask: Ask, work: Work) -> Result<Handled, EncodeError> {
        let is_put = exchange.request.method() == Method::Put;
        let limit = if is_put { self.inner.tree.options().file_bytes_max } else { XML_BYTES_MAX as u64 };
        exchange.set_body_limit(limit);
        let Some(body) = exchange.take_body() else { return refuse(exchange, Status::INTERNAL_SERVER_ERROR) };
        exchange.ask_once();
        let this = self.clone();
        Ok(Handled::Later(local_future(async move {
            let done = if is_put { this.put(ask, body).await } else { this.work(ask, body, work).await };
            let outcome = done.unwrap_or_else(Outcome::from);
            let finish: Finish = Box::new(move |exchange| this.answer(exchange, outcome));
            finish
        })))
    }

    /// Reads an XML body and does what it says.
    async fn work(&self, mut ask: Ask, mut body: RequestBody, work: Work) -> Result<Outcome, Failure> {
        while let Some(piece) = body.next().await.map_err(|error| Failure::new(error.status()))? {
            if ask.body.len() + piece.len() > XML_BYTES_MAX {
                return Err(Failure::new(Status::CONTENT_TOO_LARGE));
            }
            ask.body.extend_from_slice(&piece);
        }
        self.pooled(move || work(&ask)).await
    }

    /// Writes a body to a file as it comes, no faster than the disk takes it.
    async fn put(&self, ask: Ask, mut body: RequestBody) -> Result<Outcome, Failure> {
        let ask = Arc::new(ask);
        let (asked, length) = (Arc::clone(&ask), body.length());
        // Before the body is asked for: who waits for "100 Continue" is told of a failure instead.
        let upload = self.pooled(move || put::begin(&asked, length)).await?;
        let mut under_way = UnderWay { upload: Some(upload), worker: self.inner.worker.clone() };
        let mut gathered = Vec::new();
        loop {
            let piece = body.next().await.map_err(|error| Failure::new(error.status()))?;
            let is_end = piece.is_none();
            if let Some(piece) = piece {
                gathered.extend_from_slice(&piece);
            }
            if gathered.len() < WRITE_BYTES && !is_end {
                continue;
            }
            let mut upload = under_way.upload.take().ok_or(BUSY)?;
            if is_end {
                let finish = move || upload.write(&gathered).and_then(|()| put::finish(&ask, upload));
                return self.pooled(finish).await;
            }
            let write = move || {
                upload.write(&gathered)?;
                gathered.clear();
                Ok((upload, gathered))
            };
            let written = self.pooled(write).await?;
            (under_way.upload, gathered) = (Some(written.0), written.1);
        }
    }

    async fn pooled<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = match self.inner.worker.pool().run(work) {
            Ok(pooled) => pooled.await,
            Err(busy) => Err(busy),
        };
        match done {
            Ok(done) => done,
            Err(PoolError::Panicked) => Err(Failure::new(Status::INTERNAL_SERVER_ERROR)),
            Err(PoolError::Full | PoolError::NoThread) => Err(BUSY),
        }
    }

    fn answer(&self, exchange: &mut Exchange<'_>, outcome: Outcome) -> Result<Handled, EncodeError> {
        let Outcome { status, lines, body, trouble } = outcome;
        if let (Some(log), Some(trouble)) = (&self.inner.log, trouble) {
            log.error("dav", format_args!("{}: {trouble}", exchange.path.escape_ascii()));
        }
        let reply = if status == Status::NO_CONTENT {
            head_only(status, &[&lines], exchange.common, exchange.memory)?.into()
        } else if body.is_empty() && status.code() >= 400 {
            return refuse_with(exchange, status, &lines);
        } else {
            exchange.text(status, &lines, body)?
        };
        Ok(Handled::Answer(reply))
    }

    /// The resource that `Destination` names, below the root; the status to refuse with where that may not be one's aim.
    fn destination(&self, exchange: &mut Exchange<'_>) -> Result<Aim, EncodeError> {
        if !matches!(exchange.request.method(), Method::Extension("COPY" | "MOVE")) {
            return Ok(Ok(None));
        }
        let Ok(Some(value)) = ask::sole(exchange.request, "Destination") else {
            return Ok(Err(Status::BAD_REQUEST));
        };
        let Ok(reference) = Reference::read(value) else { return Ok(Err(Status::BAD_REQUEST)) };
        if !is_here(exchange, &reference) {
            // It lies on another server (RFC 4918 section 9.8.5).
            return Ok(Err(Status::BAD_GATEWAY));
        }
        let Ok(path) = reference.normal_path() else { return Ok(Err(Status::BAD_REQUEST)) };
        let Some(local) = self.inner.tree.local_path(&path) else { return Ok(Err(Status::FORBIDDEN)) };
        if local.len() > PATH_BYTES_MAX {
            return Ok(Err(Status::URI_TOO_LONG));
        }
        let is_allowed = may_aim_at(exchange, &path)?;
        Ok(if is_allowed { Ok(Some(local.into())) } else { Err(Status::FORBIDDEN) })
    }
}

/// There is no thread or operation left for now.
const BUSY: Failure = Failure::new(Status::SERVICE_UNAVAILABLE);

/// An upload while its body comes. Dropped, what it had is removed on the pool.
struct UnderWay {
    upload: Option<Upload>,
    worker: WorkerHandle,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            // Without room there it is removed here: one name that nobody else knows.
            let _done_unheard = self.worker.pool().run(move || drop(upload));
        }
    }
}

/// PUT has its own way.
fn put_nothing(_: &Ask) -> Result<Outcome, Failure> {
    Err(Failure::new(Status::INTERNAL_SERVER_ERROR))
}

fn refuse(exchange: &mut Exchange<'_>, status: Status) -> Result<Handled, EncodeError> {
    refuse_with(exchange, status, b"")
}

/// An error page; where a method is not for this resource, with those that are (RFC 9110 section 15.5.6).
fn refuse_with(exchange: &mut Exchange<'_>, status: Status, lines: &[u8]) -> Result<Handled, EncodeError> {
    if status != Status::METHOD_NOT_ALLOWED {
        return exchange.error_with(status, lines).map(Handled::Answer);
    }
    let allow = format!("Allow: {ALLOW}\r\n");
    exchange.error_with(status, &[lines, allow.as_bytes()].concat()).map(Handled::Answer)
}

fn options(exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
    let allow = format!("Allow: {ALLOW}\r\n");
    let lines: [&[u8]; 2] = [b"DAV: 1, 2\r\nMS-Author-Via: DAV\r\nContent-Length: 0\r\n", allow.as_bytes()];
    let plan = head_only(Status::OK, &lines, exchange.common, exchange.memory)?;
    Ok(Handled::Answer(plan.into()))
}

/// Whether a reference is to the server that was asked, as far as its name goes.
fn is_here(exchange: &Exchange<'_>, reference: &Reference<'_>) -> bool {
    let Some(authority) = reference.authority else { return true };
    // Who was let in by a name and password in an address may repeat them.
    let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or(authority);
    let without_port = |host: &[u8]| {
        let end = [&b":80"[..], b":443"].iter().find_map(|port| host.strip_suffix(*port)).unwrap_or(host);
        end.to_ascii_lowercase()
    };
    exchange.request.host().is_none_or(|own| without_port(own.as_bytes()) == without_port(host))
}

/// Whether who asks could ask for `path` as well: it is of the same route, and all that has let this request pass lets one for
/// `path` pass too. Otherwise a destination would be a way around rules.
fn may_aim_at(exchange: &mut Exchange<'_>, path: &[u8]) -> Result<bool, EncodeError> {
    let site = exchange.site;
    if site.routes.find(path) != exchange.route() {
        return Ok(false);
    }
    let Ok(aim) = exchange.scratch.alloc_slice_copy(path) else { return Err(EncodeError::Full) };
    let own = std::mem::replace(&mut exchange.path, aim);
    let route = exchange.route().and_then(|number| site.routes.get(number));
    let stages = site.stages.iter().chain(route.iter().flat_map(|route| &route.stages));
    let mut is_allowed = true;
    for stage in stages {
        if !matches!(stage.request(exchange)?, Verdict::Pass) {
            is_allowed = false;
            break;
        }
    }
    exchange.path = own;
    Ok(is_allowed)
}
