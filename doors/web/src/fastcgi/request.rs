//! A request on its way to a program: its parameters in one slice, and what else fits into it.

use super::FastCgiOptions;
use crate::exchange::Exchange;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_http::cgi::Facts;
use ringway_http::fastcgi::{RequestWriter, Role};
use ringway_http::head::Version;
use ringway_http::status::Status;

/// The number of every request: a connection has one at a time.
pub(super) const REQUEST: u16 = 1;

/// What answers say of the server, and programs are told.
const SOFTWARE: &str = "ringway";

/// Bytes that the variables need beside the request's head and the names of files.
const SPARE_BYTES: usize = 768;

/// The program that a request is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'a> {
    /// The part of the path that names it.
    pub(super) name: &'a [u8],
    /// Its file, as the backend sees it.
    pub(super) file: &'a [u8],
    /// What follows it in the path.
    pub(super) path_info: &'a [u8],
}

/// Writes the request without its body. In the slice there is room behind it, mostly.
///
/// # Errors
/// The status to refuse with: there is no memory for it (503), or it is longer than there can be (431).
pub(super) fn write(
    exchange: &mut Exchange<'_>,
    slices: &Pool,
    program: &Program<'_>,
    options: &FastCgiOptions,
    content_length: Option<u64>,
    keeps: bool,
) -> Result<Slice, Status> {
    let remote = exchange.peer();
    let is_https = exchange.session().is_some();
    let user = exchange.user().cloned();
    let facts = Facts {
        request: exchange.request,
        query: exchange.query,
        script_name: program.name,
        path_info: program.path_info,
        document_root: &options.document_root,
        script_filename: program.file,
        remote,
        local: None,
        server_name: exchange.site.name.as_bytes(),
        is_https,
        user: user.as_deref().map(|name| (name.as_bytes(), &b"Basic"[..])),
        protocol: match exchange.request.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        software: SOFTWARE,
        content_length,
        // Who was let in here has shown a password that is not the program's business.
        tells_authorization: user.is_none(),
    };
    let no_memory = Status::SERVICE_UNAVAILABLE;
    let scratch = exchange.scratch.alloc_slice_with(facts.scratch_bytes(), |_| 0);
    let scratch = scratch.map_err(|_at_limit| no_memory)?;
    let params_bytes: usize = options.params.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    let names = 2 * (program.name.len() + program.path_info.len() + options.document_root.len());
    let mut wanted = SPARE_BYTES
        + exchange.request.as_bytes().len() * 3 / 2
        + exchange.query.map_or(0, <[u8]>::len)
        + names
        + program.file.len()
        + params_bytes;
    loop {
        let mut memory = slices.get(wanted.min(SLICE_BYTES_MAX)).ok_or(no_memory)?;
        let mut writer = RequestWriter::new(&mut memory, REQUEST, Role::RESPONDER, keeps);
        // Of two with one name PHP takes the last: what is configured is.
        let told = facts.environment(scratch, |name, value| writer.param(name, value));
        told.map_err(|_short| Status::INTERNAL_SERVER_ERROR)?;
        for (name, value) in &options.params {
            writer.param(name, value);
        }
        writer.end_params();
        match writer.finish() {
            Ok(len) => return Ok(memory.freeze(len)),
            Err(_full) if wanted >= SLICE_BYTES_MAX => return Err(Status::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Err(_full) => wanted = SLICE_BYTES_MAX,
        }
    }
}
