//! Hooks into the stages of requests: an instance on a worker, and each stage as a call into the library.

pub(crate) mod calls;

use crate::abi::{self, Bytes, said};
use crate::census;
use crate::error::{LoadError, Problem};
use crate::instance::Instance;
use crate::request::{self, Over, RequestView, User};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// An instance on a worker, with its state there. It cannot leave the worker's thread.
pub struct StageWorker {
    instance: Instance,
    table: abi::StageHook,
    raw: *mut c_void,
    state: *mut c_void,
    on_this_thread: PhantomData<*mut ()>,
}

/// What a hook says at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageSaid {
    /// It has answered.
    Done,
    /// It will, or will have the request go on.
    Later,
    /// Whoever is next.
    Pass,
    /// Close the connection without a word.
    Refuse,
    /// It panicked.
    Panicked,
    /// What the interface does not know.
    Unknown(i32),
}

impl StageSaid {
    fn of(code: i32) -> Self {
        match code {
            said::DONE => Self::Done,
            said::LATER => Self::Later,
            said::PASS => Self::Pass,
            said::REFUSE => Self::Refuse,
            said::PANICKED => Self::Panicked,
            code => Self::Unknown(code),
        }
    }
}

/// What was served, as a hook is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served<'a> {
    /// Status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// From the request's arrival to the answer's hand-over, in microseconds.
    pub duration_us: u64,
    /// The request's method; `None` where it could not be read.
    pub method: Option<&'a [u8]>,
    /// Its target, the same.
    pub target: Option<&'a [u8]>,
    /// The client's address, as text.
    pub peer: Option<&'a [u8]>,
    /// Who the client has proved to be.
    pub user: Option<&'a [u8]>,
    /// The site's name.
    pub site: &'a [u8],
}

impl StageWorker {
    /// Begins to use an instance on this thread.
    ///
    /// # Errors
    /// Its state cannot be made.
    pub fn start(instance: &Instance) -> Result<Self, LoadError> {
        request::note_worker();
        let library = instance.library();
        let table = library.stages()?;
        let raw = instance.raw();
        let mut state = ptr::null_mut();
        if let Some(start) = table.worker_start {
            // SAFETY: a function of the library, given its own instance and a place for the state (I3, I5).
            let code = unsafe { start(raw, &raw mut state) };
            if code != 0 {
                return Err(library.objection(Problem::Worker(code)));
            }
        }
        census::workers(library.number(), 1);
        Ok(Self { instance: instance.clone(), table, raw, state, on_this_thread: PhantomData })
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Whether it wants to hear of accepted connections.
    #[must_use]
    pub fn hears_accepted(&self) -> bool {
        self.table.accepted.is_some()
    }

    /// Whether it is asked about requests.
    #[must_use]
    pub fn hears_requests(&self) -> bool {
        self.table.request.is_some()
    }

    /// Whether it is asked about answers.
    #[must_use]
    pub fn hears_answers(&self) -> bool {
        self.table.answer.is_some()
    }

    /// Whether it is told what was served.
    #[must_use]
    pub fn hears_served(&self) -> bool {
        self.table.served.is_some()
    }

    /// Whether it is told of connections that have ended.
    #[must_use]
    pub fn hears_closed(&self) -> bool {
        self.table.closed.is_some()
    }

    /// Asks it about a connection; `None`: one without an address.
    pub fn accepted(&self, peer: Option<&[u8]>) -> StageSaid {
        let Some(call) = self.table.accepted else { return StageSaid::Pass };
        let peer = peer.map_or(Bytes::NONE, Bytes::of);
        // SAFETY: a function of the library, given its own instance and state, and bytes that are valid for the call (I3, I5).
        StageSaid::of(unsafe { call(self.raw, self.state, peer) })
    }

    /// Asks it about a request.
    pub fn request(&self, view: &dyn RequestView) -> StageSaid {
        self.ask(self.table.request, view)
    }

    /// Asks it about a request's answer.
    pub fn answer(&self, view: &dyn RequestView) -> StageSaid {
        self.ask(self.table.answer, view)
    }

    /// Tells it that a promise is over.
    pub fn over(&self, later: u64, user: User, how: Over) {
        if let Some(call) = self.table.over {
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw, self.state, later, user.pointer(), how as i32) };
        }
    }

    /// Tells it what was served.
    pub fn served(&self, served: &Served<'_>) {
        let Some(call) = self.table.served else { return };
        let bytes = |bytes: Option<&[u8]>| bytes.map_or(Bytes::NONE, Bytes::of);
        let served = abi::Served {
            #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
            struct_size: size_of::<abi::Served>() as u32,
            status: served.status.into(),
            body_bytes: served.body_bytes,
            duration_us: served.duration_us,
            method: bytes(served.method),
            target: bytes(served.target),
            peer: bytes(served.peer),
            user: bytes(served.user),
            site: Bytes::of(served.site),
        };
        // SAFETY: a function of the library, given its own instance and state, and what is valid for the call (I3, I5).
        unsafe { call(self.raw, self.state, &raw const served) };
    }

    /// Tells it of a connection that has ended.
    pub fn closed(&self, requests: u32) {
        if let Some(call) = self.table.closed {
            // SAFETY: a function of the library, given its own instance and state (I3, I5).
            unsafe { call(self.raw, self.state, requests) };
        }
    }

    fn ask(&self, call: Option<abi::Stage>, view: &dyn RequestView) -> StageSaid {
        let Some(call) = call else { return StageSaid::Pass };
        // SAFETY: a function of the library, given its own instance and state, and a view that is lent for the call (I3, I5, I6).
        StageSaid::of(request::lend(view, |request| unsafe { call(self.raw, self.state, request) }))
    }
}

impl Drop for StageWorker {
    fn drop(&mut self) {
        if let Some(stop) = self.table.worker_stop {
            // SAFETY: a function of the library, given its own instance and state, on the state's thread (I3, I5).
            unsafe { stop(self.raw, self.state) };
        }
        census::workers(self.instance.library().number(), -1);
    }
}

impl fmt::Debug for StageWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageWorker").field("instance", &self.instance).finish_non_exhaustive()
    }
}
