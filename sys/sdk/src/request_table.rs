//! The table of a handler of requests, and its callbacks: they catch panics, and turn pointers into values.

use crate::handler::{Reply, RequestHandler, Setup};
use crate::request::Request;
use crate::server;
use crate::tables::{FAILED, Healthy, Instance, Part, message, start_worker, stop_worker};
use ringway_plugin::abi::{self, code, said};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// A library that answers requests by `T`.
pub struct Requests<T>(PhantomData<T>);

impl<T> fmt::Debug for Requests<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

struct Own<T>(T);

impl<T: RequestHandler> Healthy for Own<T> {
    fn health(&self) -> Result<(), String> {
        self.0.health()
    }
}

impl<T: RequestHandler> Part for Requests<T> {
    const KIND: abi::Kind = abi::Kind::Request;

    const REQUEST: *const abi::RequestHandler = &abi::RequestHandler {
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

    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String> {
        T::create(setup).map(|handler| Instance::give(Own(handler), setup.log))
    }
}

impl<T: RequestHandler> Requests<T> {
    unsafe extern "C" fn worker_start(instance: *mut c_void, worker: *mut *mut c_void) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: a place of the server's for it (I2).
        unsafe { start_worker(instance.log(), worker, || instance.handler.0.worker()) }
    }

    unsafe extern "C" fn worker_stop(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: ours, given back (I3).
        unsafe { stop_worker::<T::Worker>(instance.log(), worker) };
    }

    unsafe extern "C" fn request(
        instance: *mut c_void,
        worker: *mut c_void,
        request: *const abi::Request,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let state = unsafe { &*worker.cast::<T::Worker>() };
        let request = Request::new(request);
        let replied = catch_unwind(AssertUnwindSafe(|| instance.handler.0.request(state, &request)));
        let log = instance.log();
        match replied {
            Ok(Reply::Answer(answer)) => {
                let give = server::table().and_then(|server| server.answer);
                // SAFETY: a function of the server's, given its request and an answer for the call (I1, I2).
                let given = give.map(|give| answer.with(|answer| unsafe { give(request.raw(), answer) }));
                match given {
                    Some(code::OK) => said::DONE,
                    code => {
                        log.error(&format!("the server does not take the answer {answer:?}: {code:?}"));
                        FAILED
                    }
                }
            }
            Ok(Reply::Later(_promised)) => said::LATER,
            Ok(Reply::Pass) => said::PASS,
            Err(panic) => {
                log.error(&format!("the handler panicked: {}", message(&*panic)));
                said::PANICKED
            }
        }
    }
}
