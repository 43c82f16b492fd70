//! An instance that speaks a protocol, on a worker: each event, as a call into the library.

use super::desk::Desk;
use super::{ConnView, Event, Measured, PeerView, Verdict};
use crate::abi::{self, Bytes, BytesMut, code};
use crate::error::{LoadError, Problem};
use crate::instance::Instance;
use crate::request::{self, User};
use crate::{census, tables};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// An instance on a worker, with its state there. It cannot leave the worker's thread.
pub struct ConnectionWorker {
    instance: Instance,
    table: abi::ConnectionHandler,
    raw: *mut c_void,
    state: *mut c_void,
    desk: Desk,
    on_this_thread: PhantomData<*mut ()>,
}

impl ConnectionWorker {
    /// Begins to use an instance on this thread.
    ///
    /// # Errors
    /// Its state cannot be made.
    pub fn start(instance: &Instance) -> Result<Self, LoadError> {
        request::note_worker();
        let library = instance.library();
        let table = library.connections()?.table;
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
        let desk = Desk::new(instance.service(), &library.path().to_string_lossy());
        Ok(Self { instance: instance.clone(), table, raw, state, desk, on_this_thread: PhantomData })
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Tells it of an event. What it does not listen to goes on, but the peer's end, the timeout and a drain, which close.
    pub fn event(&self, event: Event, view: &dyn ConnView, user: &mut User) -> Verdict {
        let Some(call) = event.of(&self.table) else {
            return match event {
                Event::Ended | Event::Timeout | Event::Draining => Verdict::Close,
                Event::Opened | Event::Written | Event::Nudged => Verdict::GoOn,
            };
        };
        let word = user.place();
        // SAFETY: a function of the library, given its own instance, state and word, and a view that is lent for the call (I3, I5,
        // I6).
        Verdict::of(self.desk.lend(view, |conn| unsafe { call(self.raw, self.state, conn, word) }))
    }

    /// Gives it a message: [`ConnView::message`].
    pub fn message(&self, view: &dyn ConnView, user: &mut User) -> Verdict {
        let (Some(call), Some((data, len))) = (self.table.message, view.message()) else {
            return Verdict::GoOn;
        };
        let word = user.place();
        let message = BytesMut { data, len };
        // SAFETY: as above, with bytes that are the callback's alone until it returns (I3, I5, I6).
        Verdict::of(self.desk.lend(view, |conn| unsafe { call(self.raw, self.state, conn, word, message) }))
    }

    /// Gives it an urgent byte.
    pub fn urgent(&self, view: &dyn ConnView, user: &mut User, byte: u8) -> Verdict {
        let Some(call) = self.table.urgent else { return Verdict::GoOn };
        let word = user.place();
        // SAFETY: as above (I3, I5, I6).
        Verdict::of(
            self.desk.lend(view, |conn| unsafe { call(self.raw, self.state, conn, word, byte.into()) }),
        )
    }

    /// Tells it that a connection has ended: [`abi::closed`].
    pub fn closed(&self, user: User, reason: i32) {
        if let Some(call) = self.table.closed {
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw, self.state, user.pointer(), reason) };
        }
    }

    /// Its time has come again.
    pub fn tick(&self) {
        if let Some(call) = self.table.tick {
            // SAFETY: a function of the library, given its own instance and state (I3, I5).
            unsafe { call(self.raw, self.state) };
        }
    }

    /// How long the message is that `input` begins with.
    #[must_use]
    pub fn measure(&self, user: User, input: &[u8]) -> Measured {
        let Some(call) = self.table.measure else { return Measured::Unknown(code::STATE.into()) };
        // SAFETY: a function of the library, given its own instance, state and word, and bytes that are valid for the call (I3, I5).
        Measured::of(unsafe { call(self.raw, self.state, user.pointer(), Bytes::of(input)) })
    }

    /// Gives it a datagram.
    pub fn datagram(&self, view: &dyn PeerView, user: &mut User, payload: &mut [u8]) -> Verdict {
        let Some(call) = self.table.datagram else { return Verdict::GoOn };
        let word = user.place();
        let payload = BytesMut { data: payload.as_mut_ptr(), len: payload.len() };
        // SAFETY: a function of the library, given its own instance, state and word, a view that is lent for the call, and bytes
        // that are the callback's alone until it returns (I3, I5, I6).
        Verdict::of(
            self.desk.lend_peer(view, |peer| unsafe { call(self.raw, self.state, peer, word, payload) }),
        )
    }

    /// Tells it that a peer is forgotten, if it had a word for it.
    pub fn expired(&self, user: User) {
        if let (Some(call), false) = (self.table.expired, user.is_none()) {
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw, self.state, user.pointer()) };
        }
    }

    /// How its connections are served.
    #[must_use]
    pub fn connections(&self) -> tables::ConnectionTable {
        tables::ConnectionTable { table: self.table }
    }
}

impl Drop for ConnectionWorker {
    fn drop(&mut self) {
        if let Some(stop) = self.table.worker_stop {
            // SAFETY: a function of the library, given its own instance and state, on the state's thread (I3, I5).
            unsafe { stop(self.raw, self.state) };
        }
        census::workers(self.instance.library().number(), -1);
    }
}

impl fmt::Debug for ConnectionWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionWorker").field("instance", &self.instance).finish_non_exhaustive()
    }
}
