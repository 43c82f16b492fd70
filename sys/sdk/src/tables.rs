//! The tables of a library, and the callbacks in them: they catch panics, and turn pointers into values.

use crate::handler::{Log, Reply, RequestHandler, Setup};
use crate::request::Request;
use crate::server;
use ringway_plugin::abi::{self, code, said};
use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// What `create` says when it fails.
const FAILED: i32 = -1;

/// The table of a library.
#[derive(Debug)]
pub struct Table(abi::Plugin);

// SAFETY: it is a constant that points to constants (I4).
unsafe impl Sync for Table {}

/// The table of a library whose handler is `T`.
#[must_use]
pub const fn table<T: RequestHandler>(name: &'static CStr, version: &'static CStr) -> Table {
    Table(abi::Plugin {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::Plugin>() as u32,
        abi: abi::ABI,
        name: name.as_ptr(),
        version: version.as_ptr(),
        create: Some(Tables::<T>::create),
        destroy: Some(Tables::<T>::destroy),
        health: Some(Tables::<T>::health),
        connection: ptr::null(),
        request: Tables::<T>::REQUESTS,
        stage: ptr::null(),
        filter: ptr::null(),
    })
}

/// A text with its NUL.
///
/// # Panics
/// While it is compiled: it has none, or one within.
#[must_use]
pub const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_nul) => panic!("a text ends with its one NUL"),
    }
}

/// What the library's symbol does.
#[must_use]
pub fn entry(server: *const abi::Server, table: &'static Table) -> *const abi::Plugin {
    if server::set(server) { &raw const table.0 } else { ptr::null() }
}

/// A handler, and the number of its place.
struct Instance<T> {
    handler: T,
    log: Log,
}

struct Tables<T>(PhantomData<T>);

impl<T: RequestHandler> Tables<T> {
    const REQUESTS: &'static abi::RequestHandler = &abi::RequestHandler {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::RequestHandler>() as u32,
        flags: 0,
        body_bytes_max: T::BODY_BYTES_MAX,
        // A route of ours is one of the interface's, and nothing else.
        routes: T::ROUTES.as_ptr().cast(),
        routes_len: T::ROUTES.len(),
        worker_start: Some(Self::worker_start),
        worker_stop: Some(Self::worker_stop),
        request: Some(Self::request),
        body: None,
        writable: None,
        over: None,
        socket: ptr::null(),
    };

    unsafe extern "C" fn create(setup: *const abi::Setup, instance: *mut *mut c_void) -> i32 {
        // SAFETY: the server's, for this call (I2).
        let raw = unsafe { &*setup };
        // SAFETY: the same (I2).
        let (name, config) = unsafe { (server::bytes(raw.name), server::bytes(raw.config)) };
        let log = Log(raw.service);
        let made = catch_unwind(|| {
            let name = str::from_utf8(name.unwrap_or_default()).map_err(|error| error.to_string())?;
            let config = str::from_utf8(config.unwrap_or_default()).map_err(|error| error.to_string())?;
            T::create(&Setup { name, config, log })
        });
        let reason = match made {
            Ok(Ok(handler)) => {
                // SAFETY: a place of the server's for it (I2).
                unsafe { instance.write(Box::into_raw(Box::new(Instance { handler, log })).cast()) };
                return 0;
            }
            Ok(Err(reason)) => reason,
            Err(panic) => format!("it panicked: {}", message(&*panic)),
        };
        // SAFETY: room of the server's for a text (I2).
        unsafe { write_text(raw.error, raw.error_bytes, &reason) };
        FAILED
    }

    unsafe extern "C" fn destroy(instance: *mut c_void) {
        // SAFETY: ours, given back (I3).
        let instance = unsafe { Box::from_raw(instance.cast::<Instance<T>>()) };
        let log = instance.log;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(instance))) {
            log.error(&format!("it panicked at its end: {}", message(&*panic)));
        }
    }

    unsafe extern "C" fn health(instance: *mut c_void, text: *mut c_char, text_bytes: usize) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { &*instance.cast::<Instance<T>>() };
        let said = catch_unwind(AssertUnwindSafe(|| instance.handler.health()));
        let Err(reason) = said.unwrap_or_else(|panic| Err(message(&*panic))) else { return 0 };
        // SAFETY: room of the server's for a text (I2).
        unsafe { write_text(text, text_bytes, &reason) };
        1
    }

    unsafe extern "C" fn worker_start(instance: *mut c_void, worker: *mut *mut c_void) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { &*instance.cast::<Instance<T>>() };
        match catch_unwind(AssertUnwindSafe(|| instance.handler.worker())) {
            Ok(state) => {
                // SAFETY: a place of the server's for it (I2).
                unsafe { worker.write(Box::into_raw(Box::new(state)).cast()) };
                0
            }
            Err(panic) => {
                instance.log.error(&format!("it panicked: {}", message(&*panic)));
                FAILED
            }
        }
    }

    unsafe extern "C" fn worker_stop(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { &*instance.cast::<Instance<T>>() };
        // SAFETY: ours, given back (I3).
        let state = unsafe { Box::from_raw(worker.cast::<T::Worker>()) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(state))) {
            instance.log.error(&format!("it panicked: {}", message(&*panic)));
        }
    }

    unsafe extern "C" fn request(
        instance: *mut c_void,
        worker: *mut c_void,
        request: *const abi::Request,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { &*instance.cast::<Instance<T>>() };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let state = unsafe { &*worker.cast::<T::Worker>() };
        let request = Request::new(request);
        let replied = catch_unwind(AssertUnwindSafe(|| instance.handler.request(state, &request)));
        match replied {
            Ok(Reply::Answer(answer)) => {
                let give = server::table().and_then(|server| server.answer);
                // SAFETY: a function of the server's, given its request and an answer for the call (I1, I2).
                let given = give.map(|give| answer.with(|answer| unsafe { give(request.raw(), answer) }));
                match given {
                    Some(code::OK) => said::DONE,
                    code => {
                        instance
                            .log
                            .error(&format!("the server does not take the answer {answer:?}: {code:?}"));
                        FAILED
                    }
                }
            }
            Ok(Reply::Later(_promised)) => said::LATER,
            Ok(Reply::Pass) => said::PASS,
            Err(panic) => {
                instance.log.error(&format!("the handler panicked: {}", message(&*panic)));
                said::PANICKED
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Writes as much of a text as there is room for, and its NUL.
///
/// # Safety
/// There is room for `bytes` at `place`.
unsafe fn write_text(place: *mut c_char, bytes: usize, text: &str) {
    let Some(room) = bytes.checked_sub(1) else { return };
    let mut len = text.len().min(room);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    // SAFETY: as the caller promises; no more than there is room for (I2).
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), place.cast::<u8>(), len);
        place.add(len).write(0);
    }
}
