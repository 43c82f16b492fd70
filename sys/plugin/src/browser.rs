//! What libraries may call about a browser that asks: its cookies, its session, and files for it.

use crate::abi::{self, Bytes};
use crate::answer::slice;
use crate::error::Fault;
use crate::functions::{ask, ask_named, result, text};
use crate::request::{Cookie, RequestView, with_view};

fn act(request: *const abi::Request, act: impl FnOnce(&dyn RequestView) -> Result<(), Fault>) -> i32 {
    result(|| with_view(request, act).ok_or(Fault::Thread)?)
}

pub(crate) extern "C" fn cookie(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.cookie(name))
}

pub(crate) extern "C" fn set_cookie(
    request: *const abi::Request,
    name: Bytes,
    value: Bytes,
    max_age_s: i64,
    flags: u32,
) -> i32 {
    act(request, |view| {
        let max_age_s = u64::try_from(max_age_s).ok();
        view.set_cookie(&Cookie { name: text(name)?, value: text(value)?, max_age_s, flags })
    })
}

pub(crate) extern "C" fn session_value(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.session_value(name))
}

pub(crate) extern "C" fn session_set(request: *const abi::Request, name: Bytes, value: Bytes) -> i32 {
    act(request, |view| {
        let value = slice(value)?.map(str::from_utf8).transpose();
        view.session_set(text(name)?, value.map_err(|_no_text| Fault::Invalid)?)
    })
}

pub(crate) extern "C" fn session_user(request: *const abi::Request) -> Bytes {
    ask(request, |view| view.session_user())
}

pub(crate) extern "C" fn session_log_in(request: *const abi::Request, user: Bytes) -> i32 {
    act(request, |view| match text(user)? {
        "" => Err(Fault::Invalid),
        user => view.session_log_in(user),
    })
}

pub(crate) extern "C" fn session_log_out(request: *const abi::Request) -> i32 {
    act(request, |view| view.session_log_out())
}

pub(crate) extern "C" fn answer_file(request: *const abi::Request, path: Bytes) -> i32 {
    act(request, |view| view.answer_file(text(path)?))
}
