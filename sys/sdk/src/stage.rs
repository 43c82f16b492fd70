//! Hooks into the stages of requests: what their authors write, and the table that the server calls.

use crate::answer::Answer;
use crate::handler::{Log, Reply, Setup};
use crate::later::{Fault, Later};
use crate::request::Request;
use crate::server;
use crate::tables::{FAILED, Healthy, Instance, Part, message, start_worker, stop_worker};
use ringway_plugin::abi::{self, Bytes, code, said};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Is asked about a site's requests and their answers. One value is one place in a configuration that names the library, for all
/// workers. A panic costs the request it happens on.
pub trait StageHook: Send + Sync + Sized + 'static {
    /// Makes one.
    ///
    /// # Errors
    /// Why that cannot be: the operator reads it where the configuration is read.
    fn create(setup: &Setup<'_>) -> Result<Self, String>;

    /// Lets a request pass, answers it, or decides later: what [`Request::later`] gave, which goes on by [`Later::pass`].
    fn request(&self, request: &Staged<'_>) -> Reply {
        let _every = request;
        Reply::Pass
    }

    /// Lets an answer pass, as it is or changed, or puts another one in its place. It cannot come later.
    fn answer(&self, request: &Staged<'_>) -> Reply {
        let _every = request;
        Reply::Pass
    }

    /// Whether it is well. Any thread.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A request at a stage: all of a [`Request`], and what hooks may do.
#[derive(Debug)]
pub struct Staged<'a>(Request<'a>);

impl<'a> std::ops::Deref for Staged<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        &self.0
    }
}

impl Staged<'_> {
    /// Adds a field line to the answer, whatever it will be.
    ///
    /// # Errors
    /// It can be none, or there is no room for it.
    pub fn add_field(&self, name: &str, value: &str) -> Result<(), Fault> {
        let Some(add) = server::table().and_then(|server| server.add_field) else {
            return Err(Fault::Other(server::MISSING));
        };
        let (name, value) = (Bytes::of(name.as_bytes()), Bytes::of(value.as_bytes()));
        // SAFETY: a function of the server's, given its request and texts that are valid for the call (I1, I2).
        Fault::of(unsafe { add(self.0.raw(), name, value) })
    }

    /// Takes all field lines of that name away from the answer that is there.
    ///
    /// # Errors
    /// It is the server's own, or there is no answer yet.
    pub fn remove_field(&self, name: &str) -> Result<(), Fault> {
        let Some(remove) = server::table().and_then(|server| server.remove_field) else {
            return Err(Fault::Other(server::MISSING));
        };
        // SAFETY: as above (I1, I2).
        Fault::of(unsafe { remove(self.0.raw(), Bytes::of(name.as_bytes())) })
    }

    /// Says who the client has proved to be.
    ///
    /// # Errors
    /// It is no name, or there is an answer already.
    pub fn set_user(&self, user: &str) -> Result<(), Fault> {
        let Some(set) = server::table().and_then(|server| server.set_user) else {
            return Err(Fault::Other(server::MISSING));
        };
        // SAFETY: as above (I1, I2).
        Fault::of(unsafe { set(self.0.raw(), Bytes::of(user.as_bytes())) })
    }

    /// The status of the answer that is there.
    #[must_use]
    pub fn answer_status(&self) -> Option<u16> {
        let status = server::table()?.answer_status?;
        // SAFETY: a function of the server's, given its request (I1, I2).
        u16::try_from(unsafe { status(self.0.raw()) }).ok().filter(|status| *status > 0)
    }
}

impl Later {
    /// Has the request go on, as that user's if there is one.
    ///
    /// # Errors
    /// It came too late, or is not a hook's.
    pub fn pass(self, user: Option<&str>) -> Result<(), Fault> {
        let Some(pass) = server::table().and_then(|server| server.pass_later) else {
            return Err(Fault::Other(server::MISSING));
        };
        let user = user.map_or(Bytes::NONE, |user| Bytes::of(user.as_bytes()));
        // SAFETY: a function of the server's, given a number and a text that is valid for the call (I1, I2).
        Fault::of(unsafe { pass(self.number(), user, std::ptr::null(), 0) })?;
        let _kept = std::mem::ManuallyDrop::new(self);
        Ok(())
    }
}

/// A library that hooks into stages by `T`.
pub struct Stages<T>(PhantomData<T>);

impl<T> fmt::Debug for Stages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stages")
    }
}

struct Own<T>(T);

impl<T: StageHook> Healthy for Own<T> {
    fn health(&self) -> Result<(), String> {
        self.0.health()
    }
}

impl<T: StageHook> Part for Stages<T> {
    const KIND: abi::Kind = abi::Kind::Stage;

    const STAGE: *const abi::StageHook = &abi::StageHook {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::StageHook>() as u32,
        flags: 0,
        worker_start: Some(Self::worker_start),
        worker_stop: Some(Self::worker_stop),
        accepted: None,
        request: Some(Self::request),
        answer: Some(Self::answer),
        over: None,
        served: None,
        closed: None,
    };

    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String> {
        T::create(setup).map(|hook| Instance::give(Own(hook), setup.log))
    }
}

impl<T: StageHook> Stages<T> {
    unsafe extern "C" fn worker_start(instance: *mut c_void, worker: *mut *mut c_void) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: a place of the server's for it (I2).
        unsafe { start_worker(instance.log(), worker, || ()) }
    }

    unsafe extern "C" fn worker_stop(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: ours, given back (I3).
        unsafe { stop_worker::<()>(instance.log(), worker) };
    }

    unsafe extern "C" fn request(
        instance: *mut c_void,
        _worker: *mut c_void,
        request: *const abi::Request,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        let staged = Staged(Request::new(request));
        replied(instance.log(), &staged, || instance.handler.0.request(&staged))
    }

    unsafe extern "C" fn answer(
        instance: *mut c_void,
        _worker: *mut c_void,
        request: *const abi::Request,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        let staged = Staged(Request::new(request));
        replied(instance.log(), &staged, || instance.handler.0.answer(&staged))
    }
}

/// Tells the server what a hook says.
fn replied(log: Log, staged: &Staged<'_>, act: impl FnOnce() -> Reply) -> i32 {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Reply::Answer(answer)) => match give(staged, &answer) {
            Some(code::OK) => said::DONE,
            code => {
                log.error(&format!("the server does not take the answer {answer:?}: {code:?}"));
                FAILED
            }
        },
        Ok(Reply::Later(_promised)) => said::LATER,
        Ok(Reply::Pass) => said::PASS,
        Err(panic) => {
            log.error(&format!("the hook panicked: {}", message(&*panic)));
            said::PANICKED
        }
    }
}

fn give(staged: &Staged<'_>, answer: &Answer) -> Option<i32> {
    let give = server::table()?.answer?;
    // SAFETY: a function of the server's, given its request and an answer for the call (I1, I2).
    Some(answer.with(|answer| unsafe { give(staged.0.raw(), answer) }))
}
