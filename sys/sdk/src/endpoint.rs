//! An endpoint as its handler reaches it: connections by their keys, groups, connections outward.

use crate::later::Fault;
use crate::server::{self, MISSING};
use crate::state;
use ringway_plugin::abi::{self, Bytes, conn};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// A connection's name, good on any thread. One whose connection has ended does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(crate) abi::Key);

/// What a message is, on a WebSocket. Elsewhere there is no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// UTF-8.
    Text = abi::message::TEXT,
    /// Bytes.
    Binary = abi::message::BINARY,
}

/// An endpoint whose handler keeps an `S` with each connection. It may be kept, and used on any thread.
pub struct Endpoint<S> {
    service: u64,
    state: PhantomData<fn(S)>,
}

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Endpoint<S> {}

impl<S> Endpoint<S> {
    pub(crate) fn new(service: u64) -> Self {
        Self { service, state: PhantomData }
    }

    /// Sends a message to a connection.
    ///
    /// # Errors
    /// It has ended ([`Fault::Gone`]), or too much is on its way there ([`Fault::Full`]).
    pub fn send(&self, key: Key, kind: Kind, message: &[u8]) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.post_send) else {
            return Fault::of(MISSING);
        };
        // SAFETY: a function of the server's, given bytes that are valid for the call (I1).
        Fault::of(unsafe { send(self.service, key.0, kind as u32, Bytes::of(message)) })
    }

    /// Has a connection send nothing more.
    ///
    /// # Errors
    /// It has ended.
    pub fn shut_down_write(&self, key: Key) -> Result<(), Fault> {
        self.by_key(key, |server| server.post_shut)
    }

    /// Closes a connection when everything is sent.
    ///
    /// # Errors
    /// It has ended.
    pub fn close(&self, key: Key) -> Result<(), Fault> {
        self.by_key(key, |server| server.post_close)
    }

    /// Has `nudged` called, on the connection's worker.
    ///
    /// # Errors
    /// It has ended.
    pub fn nudge(&self, key: Key) -> Result<(), Fault> {
        self.by_key(key, |server| server.post_nudge)
    }

    /// Sends a message to all members of a group, on all workers. Who does not keep up misses messages.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn group_send(&self, group: &str, kind: Kind, message: &[u8]) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.group_send) else {
            return Fault::of(MISSING);
        };
        let group = Bytes::of(group.as_bytes());
        // SAFETY: a function of the server's, given bytes that are valid for the call (I1).
        Fault::of(unsafe { send(self.service, group, kind as u32, Bytes::of(message)) })
    }

    /// Sends a message to all connections, on all workers. Who does not keep up misses messages.
    ///
    /// # Errors
    /// It cannot be sent, or the handler says nothing of [`crate::ConnectionHandler::BROADCASTS`].
    pub fn broadcast(&self, kind: Kind, message: &[u8]) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.broadcast) else {
            return Fault::of(MISSING);
        };
        // SAFETY: a function of the server's, given bytes that are valid for the call (I1).
        Fault::of(unsafe { send(self.service, kind as u32, Bytes::of(message)) })
    }

    fn by_key(&self, key: Key, function: impl Fn(&abi::Server) -> Option<abi::ByKey>) -> Result<(), Fault> {
        let Some(function) = server::table().and_then(function) else { return Fault::of(MISSING) };
        // SAFETY: a function of the server's, given numbers (I1).
        Fault::of(unsafe { function(self.service, key.0) })
    }
}

impl<S: Default + 'static> Endpoint<S> {
    /// Has a connection made to `host:port` or `unix:/path`, with TLS or without, on the worker of the callback that this is called in,
    /// [`crate::ConnectionHandler::tick`] included. It has the same events as any other, with `state` for its state, and ends
    /// with `closed` although it could not be made.
    ///
    /// # Errors
    /// This is no worker's thread, or there are too many, or no such place can be; the state is dropped.
    pub fn connect(&self, to: &str, tls: bool, state: S) -> Result<(), Fault> {
        let word = state::word(state);
        let flags = if tls { conn::CONNECT_TLS } else { 0 };
        self.ask(to, flags, word).inspect_err(|_fault| {
            // SAFETY: the server has not taken it (I3).
            drop(unsafe { state::take::<S>(word) });
        })
    }

    /// Has a connection made, and made anew, ever later, whenever it cannot be made or has ended, until another version of the
    /// library comes. Each of them begins with a state of its own, and ends with `closed`.
    ///
    /// # Errors
    /// This is no worker's thread, or there are too many, or no such place can be.
    pub fn maintain(&self, to: &str, tls: bool) -> Result<(), Fault> {
        let tls = if tls { conn::CONNECT_TLS } else { 0 };
        self.ask(to, tls | conn::CONNECT_MAINTAIN, ptr::null_mut())
    }

    fn ask(&self, to: &str, flags: u32, word: *mut c_void) -> Result<(), Fault> {
        let Some(connect) = server::table().and_then(|server| server.connect) else {
            return Fault::of(MISSING);
        };
        // SAFETY: a function of the server's, given a text for the call and a word that a handler of ours takes back (I1, I3).
        Fault::of(unsafe { connect(self.service, Bytes::of(to.as_bytes()), flags, word) })
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.service).finish()
    }
}
