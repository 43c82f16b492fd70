//! The table of functions that libraries get, and the functions: each looks at what it was given, and lets no panic out.

use crate::abi::{self, Bytes, code};
use crate::answer::{Answer, slice};
use crate::browser;
use crate::connection::calls;
use crate::deferred;
use crate::error::Fault;
use crate::filter;
use crate::instance;
use crate::request::{Message, RequestView, User, is_worker, with_socket, with_view};
use crate::stage;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The longest message that a library may log, in bytes.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// The longest name of a group of sockets, in bytes.
const GROUP_NAME_BYTES_MAX: usize = 256;

/// The longest wait of a library's thread.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The table for all libraries, and for programs that are one themselves.
#[must_use]
pub fn server() -> *const abi::Server {
    &raw const TABLE.0
}

struct Table(abi::Server);

// SAFETY: numbers, functions, and a pointer to a constant (I4).
unsafe impl Sync for Table {}

static TABLE: Table = Table(abi::Server {
    #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
    struct_size: size_of::<abi::Server>() as u32,
    abi: abi::ABI,
    version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast::<c_char>(),
    log: Some(log),
    method: Some(method),
    target: Some(target),
    path: Some(path),
    query: Some(query),
    field: Some(field),
    field_at: Some(field_at),
    peer: Some(peer),
    user: Some(user),
    flags: Some(flags),
    route: Some(route),
    param: Some(param),
    query_value: Some(query_value),
    form_value: Some(form_value),
    body: Some(body),
    answer: Some(answer),
    later: Some(later),
    answer_later: Some(answer_later),
    begin: Some(begin),
    write: Some(write),
    end: Some(end),
    abort: Some(abort),
    wait: Some(wait),
    resume_body: Some(resume_body),
    open_socket: Some(open_socket),
    socket_send: Some(socket_send),
    socket_close: Some(socket_close),
    socket_join: Some(socket_join),
    socket_leave: Some(socket_leave),
    group_send: Some(group_send),
    conn_send: Some(calls::conn_send),
    conn_send_as: Some(calls::conn_send_as),
    conn_send_in_place: Some(calls::conn_send_in_place),
    conn_send_raw: Some(calls::conn_send_raw),
    conn_send_file: Some(calls::conn_send_file),
    conn_when_sent: Some(calls::conn_when_sent),
    conn_shut: Some(calls::conn_shut),
    conn_close: Some(calls::conn_close),
    conn_abort: Some(calls::conn_abort),
    conn_pause: Some(calls::conn_pause),
    conn_resume: Some(calls::conn_resume),
    conn_set_timeout: Some(calls::conn_set_timeout),
    conn_queued: Some(calls::conn_queued),
    conn_flags: Some(calls::conn_flags),
    conn_kind: Some(calls::conn_kind),
    conn_peer: Some(calls::conn_peer),
    conn_session: Some(calls::conn_session),
    conn_key: Some(calls::conn_key),
    conn_join: Some(calls::conn_join),
    conn_leave: Some(calls::conn_leave),
    post_send: Some(calls::post_send),
    post_shut: Some(calls::post_shut),
    post_close: Some(calls::post_close),
    post_nudge: Some(calls::post_nudge),
    broadcast: Some(calls::broadcast),
    connect: Some(calls::connect),
    peer_address: Some(calls::peer_address),
    peer_send: Some(calls::peer_send),
    peer_send_to: Some(calls::peer_send_to),
    add_field: Some(stage::calls::add_field),
    remove_field: Some(stage::calls::remove_field),
    set_user: Some(stage::calls::set_user),
    answer_status: Some(stage::calls::answer_status),
    answer_field: Some(stage::calls::answer_field),
    pass_later: Some(stage::calls::pass_later),
    filter_up: Some(filter::calls::filter_up),
    filter_down: Some(filter::calls::filter_down),
    filter_peer: Some(filter::calls::filter_peer),
    filter_flags: Some(filter::calls::filter_flags),
    cookie: Some(browser::cookie),
    set_cookie: Some(browser::set_cookie),
    session_value: Some(browser::session_value),
    session_set: Some(browser::session_set),
    session_user: Some(browser::session_user),
    session_log_in: Some(browser::session_log_in),
    session_log_out: Some(browser::session_log_out),
    answer_file: Some(browser::answer_file),
});

/// A panic of ours is not a library's to unwind through.
pub(crate) fn guarded<R>(otherwise: R, act: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(otherwise)
}

pub(crate) fn result(act: impl FnOnce() -> Result<(), Fault>) -> i32 {
    guarded(code::SERVER, || act().map_or_else(Fault::code, |()| code::OK))
}

pub(crate) fn ask(
    request: *const abi::Request,
    what: impl for<'a> FnOnce(&'a dyn RequestView) -> Option<&'a [u8]>,
) -> Bytes {
    let look = || with_view(request, |view| what(view).map_or(Bytes::NONE, Bytes::of));
    guarded(None, look).unwrap_or(Bytes::NONE)
}

pub(crate) fn ask_named(
    request: *const abi::Request,
    name: Bytes,
    what: impl for<'a> FnOnce(&'a dyn RequestView, &[u8]) -> Option<&'a [u8]>,
) -> Bytes {
    match slice(name) {
        Ok(Some(name)) => ask(request, |view| what(view, name)),
        _ => Bytes::NONE,
    }
}

extern "C" fn log(service: u64, level: u32, text: Bytes) {
    guarded((), || {
        if let Ok(Some(text)) = slice(text) {
            let text = &text[..text.len().min(MESSAGE_BYTES_MAX)];
            instance::say(service, level, &String::from_utf8_lossy(text));
        }
    });
}

extern "C" fn method(request: *const abi::Request) -> Bytes {
    ask(request, |view| Some(view.method()))
}

extern "C" fn target(request: *const abi::Request) -> Bytes {
    ask(request, |view| Some(view.target()))
}

extern "C" fn path(request: *const abi::Request) -> Bytes {
    ask(request, |view| Some(view.path()))
}

extern "C" fn query(request: *const abi::Request) -> Bytes {
    ask(request, |view| view.query())
}

extern "C" fn field(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.field(name))
}

extern "C" fn field_at(
    request: *const abi::Request,
    index: usize,
    name: *mut Bytes,
    value: *mut Bytes,
) -> i32 {
    if name.is_null() || value.is_null() || !name.is_aligned() || !value.is_aligned() {
        return code::INVALID;
    }
    let look = |view: &dyn RequestView| {
        view.field_at(index).map(|(name, value)| (Bytes::of(name), Bytes::of(value)))
    };
    let found = guarded(None, || with_view(request, look));
    let (is_there, (found_name, found_value)) = match found {
        None => return code::THREAD,
        Some(None) => (code::GONE, (Bytes::NONE, Bytes::NONE)),
        Some(Some(found)) => (code::OK, found),
    };
    // SAFETY: places of the library's own for two results (I2).
    unsafe {
        name.write(found_name);
        value.write(found_value);
    }
    is_there
}

extern "C" fn peer(request: *const abi::Request) -> Bytes {
    ask(request, |view| view.peer())
}

extern "C" fn user(request: *const abi::Request) -> Bytes {
    ask(request, |view| view.user())
}

extern "C" fn flags(request: *const abi::Request) -> u32 {
    guarded(None, || with_view(request, |view| view.flags())).unwrap_or(0)
}

extern "C" fn route(request: *const abi::Request) -> u32 {
    guarded(None, || with_view(request, |view| view.route())).unwrap_or(0)
}

extern "C" fn param(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.param(name))
}

extern "C" fn query_value(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.query_value(name))
}

extern "C" fn form_value(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.form_value(name))
}

extern "C" fn body(request: *const abi::Request) -> Bytes {
    ask(request, |view| view.body())
}

extern "C" fn answer(request: *const abi::Request, answer: *const abi::Answer) -> i32 {
    result(|| {
        // SAFETY: what the header asks of an answer, until this returns (I2).
        let answer = unsafe { Answer::read(answer) }?;
        with_view(request, |view| view.answer(&answer)).ok_or(Fault::Thread)?
    })
}

extern "C" fn later(request: *const abi::Request, user: *mut c_void) -> u64 {
    let promise = || with_view(request, |view| view.later(User::new(user)));
    guarded(None, promise).and_then(Result::ok).unwrap_or(0)
}

extern "C" fn answer_later(later: u64, answer: *const abi::Answer) -> i32 {
    result(|| {
        // SAFETY: what the header asks of an answer, until this returns (I2).
        let answer = unsafe { Answer::read(answer) }?;
        deferred::with(later, |deferred| deferred.answer(&answer))
    })
}

extern "C" fn begin(later: u64, head: *const abi::Answer) -> i32 {
    result(|| {
        // SAFETY: what the header asks of an answer, until this returns (I2).
        let head = unsafe { Answer::read(head) }?;
        deferred::with(later, |deferred| deferred.begin(&head))
    })
}

extern "C" fn write(later: u64, piece: Bytes) -> i32 {
    result(|| {
        let piece = slice(piece)?.unwrap_or_default();
        deferred::with(later, |deferred| deferred.write(piece))
    })
}

extern "C" fn end(later: u64) -> i32 {
    result(|| deferred::with(later, |deferred| deferred.end()))
}

extern "C" fn abort(later: u64) -> i32 {
    result(|| deferred::with(later, |deferred| deferred.abort()))
}

extern "C" fn wait(later: u64, timeout_ms: u32) -> i32 {
    result(|| {
        if is_worker() {
            return Err(Fault::Thread);
        }
        let within = Duration::from_millis(timeout_ms.into()).min(WAIT_MAX);
        deferred::with(later, |deferred| deferred.wait(within))
    })
}

extern "C" fn resume_body(later: u64) -> i32 {
    result(|| deferred::with(later, |deferred| deferred.resume_body()))
}

extern "C" fn open_socket(request: *const abi::Request, user: *mut c_void) -> i32 {
    result(|| with_view(request, |view| view.open_socket(User::new(user))).ok_or(Fault::Thread)?)
}

extern "C" fn socket_send(socket: *const abi::Socket, kind: u32, message: Bytes) -> i32 {
    result(|| {
        let message = Message::read(kind, slice(message)?.unwrap_or_default())?;
        with_socket(socket, |view| view.send(message))
    })
}

extern "C" fn socket_close(socket: *const abi::Socket, code: u32, reason: Bytes) -> i32 {
    result(|| {
        let code = u16::try_from(code).map_err(|_no_code| Fault::Invalid)?;
        let reason = text(reason)?;
        with_socket(socket, |view| view.close(code, reason))
    })
}

extern "C" fn socket_join(socket: *const abi::Socket, group: Bytes) -> i32 {
    result(|| {
        let group = group_name(group)?;
        with_socket(socket, |view| view.join(group))
    })
}

extern "C" fn socket_leave(socket: *const abi::Socket, group: Bytes) -> i32 {
    result(|| {
        let group = group_name(group)?;
        with_socket(socket, |view| view.leave(group))
    })
}

extern "C" fn group_send(service: u64, group: Bytes, kind: u32, message: Bytes) -> i32 {
    result(|| {
        let message = Message::read(kind, slice(message)?.unwrap_or_default())?;
        instance::broadcast(service, group_name(group)?, message)
    })
}

pub(crate) fn group_name<'a>(name: Bytes) -> Result<&'a str, Fault> {
    let name = text(name)?;
    if name.len() > GROUP_NAME_BYTES_MAX { Err(Fault::Limit) } else { Ok(name) }
}

pub(crate) fn text<'a>(bytes: Bytes) -> Result<&'a str, Fault> {
    str::from_utf8(slice(bytes)?.unwrap_or_default()).map_err(|_no_text| Fault::Invalid)
}
