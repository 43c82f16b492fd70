//! The handler: which requests are for scripts, what the starter is asked, and what becomes of the answer.

use super::answer::Answer;
use super::failure::Failure;
use super::run::Run;
use super::upward::Input;
use crate::answer;
use crate::exchange::Exchange;
use crate::limit::retry_after;
use crate::log::errors::ErrorLog;
use crate::pipeline::{Finish, Handled, Handler, Reply, Source};
use crate::request_body::{BodyError, RequestBody};
use crate::spool::{SpoolError, SpoolSpace};
use ringway_engine::WorkerHandle;
use ringway_engine::heap::local_future;
use ringway_engine::ring::Slice;
use ringway_http::cgi::order::{OrderWriter, Refused};
use ringway_http::cgi::{AnswerHead, Facts};
use ringway_http::head::{Body, Known, Version};
use ringway_http::method::Method;
use ringway_http::reply::Limits;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_http::target;
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

/// Longest path that a script is looked for under, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// After how long a client may come again when too many scripts run, in milliseconds.
const BUSY_MS: u64 = 1_000;

/// What a script is told that this server is called.
const SOFTWARE: &str = "ringway";

/// Where scripts are among a site's paths, and what is asked of them.
#[derive(Clone, Debug)]
pub struct CgiOptions {
    /// The place of the scripts' rules in the list that the starter has.
    pub rules: u16,
    /// What stands before a script's path in the paths of the site, without a slash at its end. Paths that do not begin
    /// with it are not this handler's.
    pub mount: Box<[u8]>,
    /// Endings of scripts. Empty: whatever is there is asked for.
    pub endings: Vec<Box<[u8]>>,
    /// Whether a directory may have a script as its index.
    pub has_index: bool,
    /// Whether files that are executable are scripts, whatever their ending.
    pub executables: bool,
    /// Whether what is no script is the next handler's; else it is refused.
    pub falls_through: bool,
    /// How long a script may say nothing, in milliseconds.
    pub silence_ms_max: u64,
    /// The largest body a script is given, in bytes; unset: what the connection's limits say.
    pub body_bytes_max: Option<u64>,
    /// Where bodies of unknown length wait: scripts are told the length before they read.
    pub spool: SpoolSpace,
    /// Whether scripts are told `HTTP_AUTHORIZATION`.
    pub tells_authorization: bool,
    /// What a script may make grow in the head of its answer.
    pub limits: Limits,
}

/// Has scripts answer.
pub struct Cgi {
    shared: Rc<Shared>,
}

/// What a handler's runs have in common.
pub(super) struct Shared {
    pub(super) options: Arc<CgiOptions>,
    pub(super) starter: Arc<OwnedFd>,
    pub(super) worker: WorkerHandle,
    pub(super) log: ErrorLog,
}

impl Cgi {
    /// A handler of a worker that asks the starter at the other end of `starter`.
    #[must_use]
    pub fn new(
        options: Arc<CgiOptions>,
        starter: Arc<OwnedFd>,
        worker: &WorkerHandle,
        log: ErrorLog,
    ) -> Self {
        Self { shared: Rc::new(Shared { options, starter, worker: worker.clone(), log }) }
    }
}

impl fmt::Debug for Cgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgi").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Handler for Cgi {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let shared = &self.shared;
        let Some(path) = shared.options.path_of(exchange.path) else { return Ok(Handled::NotMine) };
        if path.len() > PATH_BYTES_MAX {
            return exchange.error(Status::URI_TOO_LONG).map(Handled::Answer);
        }
        if let Some(most) = shared.options.body_bytes_max {
            exchange.set_body_limit(most);
        }
        // Over HTTP/2 a head without a length may have a body all the same.
        let has_body = exchange.has_body();
        let body = if has_body { exchange.take_body() } else { None };
        match body {
            Some(body) if body.length().is_none() => Ok(shared.collect(body)),
            Some(body) => {
                let length = body.length();
                shared.start(exchange, path, Some(Input::Arriving(body)), length)
            }
            None => {
                let says_none = matches!(exchange.request.body(), Body::Length(_));
                shared.start(exchange, path, None, says_none.then_some(0))
            }
        }
    }
}

impl CgiOptions {
    /// The part of a path that names a script; `None` where none can be.
    fn path_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(&*self.mount).filter(|rest| rest.starts_with(b"/"))?;
        if self.executables || self.endings.is_empty() {
            return Some(rest);
        }
        (self.has_index && rest.ends_with(b"/") || self.has_ending(rest)).then_some(rest)
    }

    /// Whether a segment of a path has the ending of a script.
    fn has_ending(&self, path: &[u8]) -> bool {
        let is_script = |segment: &[u8]| self.endings.iter().any(|ending| segment.ends_with(ending));
        path.split(|byte| *byte == b'/').any(is_script)
    }
}

impl Shared {
    /// Keeps a body until its length is known.
    fn collect(self: &Rc<Self>, mut body: RequestBody) -> Handled {
        let shared = Rc::clone(self);
        Handled::Later(local_future(async move {
            let spooled = shared.options.spool.spool(&mut body, &shared.worker).await;
            let finish: Finish = Box::new(move |exchange| {
                exchange.ask_once();
                let Some(path) = shared.options.path_of(exchange.path) else { return Ok(Handled::NotMine) };
                match spooled {
                    Ok(spooled) => {
                        let length = spooled.len();
                        let input = Input::Spooled(spooled.into_reader(shared.worker.clone()));
                        shared.start(exchange, path, Some(input), Some(length))
                    }
                    Err(SpoolError::Body(BodyError::Gone)) => Ok(Handled::Close),
                    Err(error) => {
                        let name = String::from_utf8_lossy(exchange.path).into_owned();
                        shared.failed(exchange, &name, &Failure::Spool(error))
                    }
                }
            });
            finish
        }))
    }

    /// Asks for the script.
    fn start(
        self: &Rc<Self>,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        input: Option<Input>,
        length: Option<u64>,
    ) -> Result<Handled, EncodeError> {
        let Some(order) = self.order(exchange, path, input.is_some(), length) else {
            return exchange.error(Status::REQUEST_HEADER_FIELDS_TOO_LARGE).map(Handled::Answer);
        };
        // A script runs once.
        exchange.ask_once();
        exchange.needs_client();
        let name: Box<str> = String::from_utf8_lossy(exchange.path).into();
        let is_head = exchange.request.method() == Method::Head;
        let shared = Rc::clone(self);
        Ok(Handled::Later(local_future(async move { shared.run(name, order, input, is_head).await })))
    }

    /// What the starter is asked; `None` when there is too much to tell.
    fn order(
        &self,
        exchange: &mut Exchange<'_>,
        path: &[u8],
        has_body: bool,
        content_length: Option<u64>,
    ) -> Option<Vec<u8>> {
        let request = exchange.request;
        let user = exchange.user().cloned();
        let user =
            user.as_deref().map(|user| (user.as_bytes(), auth_type(request.sole(Known::Authorization))));
        let facts = Facts {
            request,
            query: exchange.query,
            // The starter knows which part of the path this is, and the rest of it.
            script_name: b"",
            path_info: b"",
            document_root: b"",
            script_filename: b"",
            remote: exchange.peer(),
            local: None,
            server_name: exchange.site.name.as_bytes(),
            is_https: exchange.session().is_some(),
            user,
            protocol: if request.version() == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" },
            software: SOFTWARE,
            content_length,
            tells_authorization: self.options.tells_authorization,
        };
        let mut memory = Vec::new();
        let mut order =
            OrderWriter::new(&mut memory, self.options.rules, has_body, &self.options.mount, path);
        let mut scratch = vec![0; facts.scratch_bytes()];
        facts.environment(&mut scratch, |name, value| order.variable(name, value)).ok()?;
        order.finish().ok()?;
        Some(memory)
    }

    /// Runs a script as far as the head of its answer.
    async fn run(
        self: Rc<Self>,
        name: Box<str>,
        order: Vec<u8>,
        body: Option<Input>,
        is_head: bool,
    ) -> Finish {
        let shared = Rc::clone(&self);
        let outcome = async {
            let mut run = Run::start(self, name.clone(), &order, body).await?;
            let head = run.head().await?;
            AnswerHead::parse(&head, &shared.options.limits).map_err(Failure::Head)?;
            Ok((head, run))
        };
        match outcome.await {
            Ok((head, run)) => Box::new(move |exchange| answered(exchange, &head, run, is_head)),
            Err(failure) => Box::new(move |exchange| shared.failed(exchange, &name, &failure)),
        }
    }

    /// Answers for a script that did not.
    fn failed(
        &self,
        exchange: &mut Exchange<'_>,
        name: &str,
        failure: &Failure,
    ) -> Result<Handled, EncodeError> {
        match failure {
            // What has the ending of a script is never served as a file, whoever makes it between two looks.
            Failure::Refused(Refused::Missing | Refused::NoScript, _)
                if self.options.falls_through && !self.options.has_ending(exchange.path) =>
            {
                return Ok(Handled::NotMine);
            }
            Failure::Refused(Refused::Directory, _) => {
                let plan =
                    answer::redirect(exchange.request, exchange.path, exchange.common, exchange.memory)?;
                return Ok(Handled::Answer(Reply { plan, source: Source::None }));
            }
            _ => {}
        }
        let status = failure.status();
        let lines = if status == Status::SERVICE_UNAVAILABLE { retry_after(BUSY_MS) } else { Vec::new() };
        let reply = exchange.error_with(status, &lines)?;
        self.complain(name, failure);
        Ok(Handled::Answer(reply))
    }

    /// Tells the operator.
    pub(super) fn complain(&self, name: &str, failure: &Failure) {
        if failure.is_worth_a_line() {
            self.log
                .error("cgi", format_args!("the script of {name} did not answer as it should: {failure}"));
        }
    }
}

/// How a user has shown who it is, as `AUTH_TYPE` calls it.
fn auth_type(authorization: Option<&[u8]>) -> &[u8] {
    let scheme = authorization.and_then(|value| value.split(|byte| *byte == b' ').next());
    scheme.unwrap_or(b"Certificate")
}

/// Answers with what a script has written.
fn answered(
    exchange: &mut Exchange<'_>,
    head: &Slice,
    run: Run,
    is_head: bool,
) -> Result<Handled, EncodeError> {
    // It was read before.
    let limits = run.ear.shared.options.limits;
    let Ok(told) = AnswerHead::parse(head, &limits) else {
        return exchange.error(Status::BAD_GATEWAY).map(Handled::Answer);
    };
    if let Some(location) = told.local_redirect() {
        run.ear.release();
        return redirected(exchange, location);
    }
    let status = told.status();
    let mut lines = Vec::new();
    for field in told.fields() {
        lines.extend_from_slice(field.name);
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(field.value);
        lines.extend_from_slice(b"\r\n");
    }
    let length = told.content_length();
    if is_head || status.is_bodiless() || length == Some(0) {
        let length =
            length.filter(|_| !status.is_bodiless()).map(|length| format!("Content-Length: {length}\r\n"));
        let length = length.unwrap_or_default();
        let plan = answer::head_only(status, &[&lines, length.as_bytes()], exchange.common, exchange.memory)?;
        run.ear.release();
        return Ok(Handled::Answer(plan.into()));
    }
    exchange.stream_with(status, &lines, length, Answer::new(run, length)).map(Handled::Answer)
}

/// Has another path of this site answer (RFC 3875 section 6.2.2).
fn redirected(exchange: &mut Exchange<'_>, location: &[u8]) -> Result<Handled, EncodeError> {
    if !matches!(exchange.request.method(), Method::Get | Method::Head) {
        // The body is gone with the script, so the client has to ask.
        let lines = [b"Location: ", location, b"\r\n"].concat();
        return exchange.text(Status::SEE_OTHER, &lines, Vec::new()).map(Handled::Answer);
    }
    let (path, query) = match location.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&location[..mark], Some(&location[mark + 1..])),
        None => (location, None),
    };
    let mut memory = vec![0; path.len()];
    let rewritten = target::normalise(path, &mut memory)
        .map_err(|_no_path| Status::BAD_GATEWAY)
        .and_then(|path| exchange.rewrite(path, query));
    match rewritten {
        Ok(()) => Ok(Handled::Rewritten),
        Err(status) => exchange.error(status).map(Handled::Answer),
    }
}
