//! FastCGI: requests that programs behind an upstream answer, such as PHP's.
//!
//! A script that was found among files is run by [`crate::scripts::RunScripts`]; a handler that has a program of its own
//! gives that every request. Answers stream: what a program sends goes on to the client from where it was received, no faster
//! than the client takes it, and the same holds for bodies on their way to the program.
//!
//! A connection has one request at a time. It is kept for the next one where the upstream's connections are limited
//! ([`crate::upstream::GroupOptions::connections_max`]), and else closed behind the answer: a process of PHP serves one connection
//! until it ends, so one that is kept idle takes a process from those who wait, and nobody but its owner knows how many
//! processes there are.

mod answer;
mod call;
mod passage;
mod reading;
mod request;
mod send_file;
mod trouble;
mod upload;
mod watch;

use crate::exchange::Exchange;
use crate::file_store::FileStore;
use crate::load::LoadOptions;
use crate::log::errors::ErrorLog;
use crate::pipeline::{Finish, Handled, Handler};
use crate::request_body::{BodyError, RequestBody};
use crate::root::OpenRoot;
use crate::scripts::{Endings, RunScripts, Script};
use crate::spool::{SpoolError, SpoolSpace};
use crate::static_files::{FilesOptions, StaticFiles};
use crate::upstream::{Key, Upstream};
use call::Call;
use passage::Terms;
use request::Program;
use ringway_engine::WorkerHandle;
use ringway_engine::heap::local_future;
use ringway_engine::ring::Pool;
use ringway_http::head;
use ringway_http::method::Method;
use ringway_http::reply;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use send_file::SendDir;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;
use upload::{Body, Upload};

/// Longest body of unknown length, in bytes, where there is no directory to spool it to: programs must be told the length before
/// they get it, so it is kept until then.
pub const UNSIZED_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of all such bodies.
const UNSIZED_BODIES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Name and value of a parameter.
pub type Param = (Box<[u8]>, Box<[u8]>);

/// What a handler of FastCGI does, as its owner says it.
#[derive(Debug)]
pub struct FastCgiOptions {
    /// The directory of the site as the programs see it, without a slash at its end.
    pub document_root: Box<[u8]>,
    /// The one program that gets all requests, as its own machine sees it. `None`: scripts that are found among files run.
    pub script: Option<Box<[u8]>>,
    /// Which scripts those are.
    pub endings: Endings,
    /// Where that program lies among the site's paths, without a slash at its end.
    pub prefix: Box<[u8]>,
    /// Further parameters.
    pub params: Vec<Param>,
    /// Longest body of a request, in bytes; `None`: as everywhere.
    pub body_bytes_max: Option<u64>,
    /// Where bodies of unknown length wait until all of them is there. Default: memory, up to [`UNSIZED_BODY_BYTES_MAX`].
    pub spool: SpoolSpace,
    /// What programs may make grow in the heads of their answers.
    pub answer: reply::Limits,
    /// Directories that programs may have files sent from, each by its path among the server's.
    pub send_dirs: Vec<(Box<[u8]>, OpenRoot)>,
}

impl Default for FastCgiOptions {
    /// Scripts among files, nothing besides.
    fn default() -> Self {
        Self {
            document_root: Box::default(),
            script: None,
            endings: Endings::php(),
            prefix: Box::default(),
            params: Vec::new(),
            body_bytes_max: None,
            spool: SpoolSpace::in_memory(UNSIZED_BODY_BYTES_MAX, UNSIZED_BODIES_BYTES_MAX),
            answer: reply::Limits::default(),
            send_dirs: Vec::new(),
        }
    }
}

/// Has programs behind an upstream answer. Clones are the same handler.
#[derive(Clone)]
pub struct FastCgi(Rc<Inner>);

struct Inner {
    options: Arc<FastCgiOptions>,
    upstream: Rc<Upstream>,
    terms: Rc<Terms>,
    slices: Pool,
    worker: WorkerHandle,
    send_dirs: Vec<SendDir>,
}

impl FastCgi {
    /// Asks the backends of `upstream`; what goes wrong is told to `log`.
    ///
    /// # Errors
    /// When the store has no number left for the directories that files are sent from.
    pub fn new(
        options: Arc<FastCgiOptions>,
        upstream: Rc<Upstream>,
        log: ErrorLog,
        worker: &WorkerHandle,
        store: &FileStore,
    ) -> io::Result<Self> {
        let group = upstream.group();
        let terms = Terms {
            log,
            tries: group.tries(),
            worker: worker.clone(),
            upstream: group.name().into(),
            keeps: group.options().connections_max > 0,
        };
        let send_dir = |(prefix, root): &(Box<[u8]>, OpenRoot)| {
            let load = LoadOptions { index: Vec::new(), ..LoadOptions::default() };
            let options =
                FilesOptions { prefix: prefix.clone(), any_method: true, ..FilesOptions::default() };
            let files = StaticFiles::new(root, Arc::new(load), options, store)?;
            let disk = root.path().as_os_str().as_bytes();
            let disk = disk.strip_suffix(b"/").unwrap_or(disk).into();
            Ok(SendDir { prefix: prefix.clone(), disk, files })
        };
        let send_dirs = options.send_dirs.iter().map(send_dir).collect::<io::Result<_>>()?;
        let (terms, slices) = (Rc::new(terms), worker.slices());
        Ok(Self(Rc::new(Inner { options, upstream, terms, slices, worker: worker.clone(), send_dirs })))
    }

    /// Takes the request in, or first its body where nobody knows its length.
    fn start(&self, exchange: &mut Exchange<'_>, program: &Program<'_>) -> Result<Handled, EncodeError> {
        if let Some(bytes) = self.0.options.body_bytes_max {
            exchange.set_body_limit(bytes);
        }
        // Taken before: what is asked now is what an answer of this server led to.
        let body = exchange.take_body().filter(|body| !body.is_empty());
        match body {
            Some(body) if body.error().is_some() => {
                let status = body.error().map_or(Status::BAD_REQUEST, BodyError::status);
                exchange.error(status).map(Handled::Answer)
            }
            Some(body) if body.length().is_none() => Ok(self.collect(body, program)),
            Some(body) => {
                let length = body.length();
                self.ask(exchange, program, Some(Body::Arriving(body)), length)
            }
            None => {
                let says_none = matches!(exchange.request.body(), head::Body::Length(_));
                self.ask(exchange, program, None, says_none.then_some(0))
            }
        }
    }

    /// Receives a body whose length must be known before the program is asked.
    fn collect(&self, mut body: RequestBody, program: &Program<'_>) -> Handled {
        let this = self.clone();
        let (name, file) = (Vec::from(program.name), Vec::from(program.file));
        let path_info = Vec::from(program.path_info);
        Handled::Later(local_future(async move {
            let spooled = this.0.options.spool.spool(&mut body, &this.0.worker).await;
            let finish: Finish = Box::new(move |exchange| {
                exchange.ask_once();
                match spooled {
                    Ok(spooled) => {
                        let program = Program { name: &name, file: &file, path_info: &path_info };
                        let bytes = spooled.len();
                        let reader = spooled.into_reader(this.0.worker.clone());
                        this.ask(exchange, &program, Some(Body::Spooled(reader)), Some(bytes))
                    }
                    Err(SpoolError::Body(BodyError::Gone)) => Ok(Handled::Close),
                    Err(error) => exchange.error(error.status()).map(Handled::Answer),
                }
            });
            finish
        }))
    }

    fn ask(
        &self,
        exchange: &mut Exchange<'_>,
        program: &Program<'_>,
        body: Option<Body>,
        length: Option<u64>,
    ) -> Result<Handled, EncodeError> {
        let request = match request::write(
            exchange,
            &self.0.slices,
            program,
            &self.0.options,
            length,
            self.0.terms.keeps,
        ) {
            Ok(request) => request,
            Err(status) => return exchange.error(status).map(Handled::Answer),
        };
        let call = Call {
            request,
            upload: Upload::new(body),
            is_idempotent: is_idempotent(exchange.request.method()),
            key: Key::new(exchange.peer(), None),
        };
        exchange.needs_client();
        let this = self.clone();
        Ok(Handled::Later(local_future(async move {
            let inner = &this.0;
            let outcome = call::call(&inner.upstream, &inner.terms, inner.options.answer, call).await;
            let finish: Finish = Box::new(move |exchange| this.finish(exchange, outcome));
            finish
        })))
    }
}

fn is_idempotent(method: Method<'_>) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options)
}

impl RunScripts for FastCgi {
    fn runs(&self, name: &[u8]) -> bool {
        self.0.options.endings.is_script(name)
    }

    fn run(&self, exchange: &mut Exchange<'_>, script: &Script<'_>) -> Result<Handled, EncodeError> {
        let name = exchange.scratch.alloc_slice_with(script.prefix.len() + 1 + script.name.len(), |_| 0_u8);
        let root = &self.0.options.document_root;
        let file = exchange.scratch.alloc_slice_with(root.len() + 1 + script.name.len(), |_| 0_u8);
        let (Ok(path), Ok(file)) = (name, file) else {
            return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
        };
        for (memory, before) in [(&mut *path, script.prefix), (&mut *file, root)] {
            let (front, back) = memory.split_at_mut(before.len() + 1);
            front[..before.len()].copy_from_slice(before);
            front[before.len()] = b'/';
            back.copy_from_slice(script.name);
        }
        self.start(exchange, &Program { name: path, file, path_info: script.path_info })
    }
}

impl Handler for FastCgi {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let options = Arc::clone(&self.0.options);
        let Some(file) = &options.script else { return Ok(Handled::NotMine) };
        let path = exchange.path;
        let Some(path_info) = path.strip_prefix(&*options.prefix) else { return Ok(Handled::NotMine) };
        if !matches!(path_info.first(), None | Some(b'/')) {
            return Ok(Handled::NotMine);
        }
        self.start(exchange, &Program { name: &options.prefix, file, path_info })
    }
}

impl fmt::Debug for FastCgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FastCgi({})", self.0.terms.upstream)
    }
}
