//! The tables of handlers of connections and datagrams, and their callbacks: they catch panics, and turn pointers into values.

use crate::connection::{Closed, Connection, ConnectionHandler, Measure, Message};
use crate::datagram::{DatagramHandler, Peer};
use crate::endpoint::Endpoint;
use crate::handler::{Log, Setup};
use crate::server;
use crate::state;
use crate::tables::{Healthy, Instance, Part, message, start_worker, stop_worker};
use ringway_plugin::abi::{self, Bytes, BytesMut, flag, said};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A library that speaks a protocol by `T` on connections.
pub struct Connections<T>(PhantomData<T>);

/// A library that speaks a protocol by `T` in datagrams.
pub struct Datagrams<T>(PhantomData<T>);

impl<T> fmt::Debug for Connections<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl<T> fmt::Debug for Datagrams<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Datagrams")
    }
}

struct OfConnections<T>(T);

struct OfDatagrams<T>(T);

impl<T: ConnectionHandler> Healthy for OfConnections<T> {
    fn health(&self) -> Result<(), String> {
        self.0.health()
    }
}

impl<T: DatagramHandler> Healthy for OfDatagrams<T> {
    fn health(&self) -> Result<(), String> {
        self.0.health()
    }
}

/// A table of which nothing is there.
const EMPTY: abi::ConnectionHandler = abi::ConnectionHandler {
    #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
    struct_size: size_of::<abi::ConnectionHandler>() as u32,
    flags: 0,
    tick_ms: 0,
    reserved: 0,
    message_bytes_max: 0,
    worker_start: None,
    worker_stop: None,
    opened: None,
    message: None,
    ended: None,
    written: None,
    timeout: None,
    nudged: None,
    draining: None,
    urgent: None,
    closed: None,
    tick: None,
    measure: None,
    datagram: None,
    expired: None,
};

impl<T: ConnectionHandler> Part for Connections<T> {
    const KIND: abi::Kind = abi::Kind::Connection;

    const CONNECTION: *const abi::ConnectionHandler = &abi::ConnectionHandler {
        flags: if T::BROADCASTS { flag::BROADCAST } else { 0 },
        tick_ms: T::TICK_MS,
        message_bytes_max: T::MESSAGE_BYTES_MAX,
        worker_start: Some(Self::worker_start),
        worker_stop: Some(Self::worker_stop),
        opened: Some(Self::opened),
        message: Some(Self::message),
        ended: Some(Self::ended),
        written: Some(Self::written),
        timeout: Some(Self::timeout),
        nudged: Some(Self::nudged),
        draining: Some(Self::draining),
        urgent: Some(Self::urgent),
        closed: Some(Self::closed),
        tick: Some(Self::tick),
        measure: Some(Self::measure),
        ..EMPTY
    };

    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String> {
        let made = T::create(setup, Endpoint::new(setup.log.0));
        made.map(|handler| Instance::give(OfConnections(handler), setup.log))
    }
}

/// What is said of an event that went as it should, or did not.
fn said<R>(log: Log, act: impl FnOnce() -> R, otherwise: R) -> R {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        log.error(&format!("the handler panicked: {}", message(&*panic)));
        otherwise
    })
}

impl<T: ConnectionHandler> Connections<T> {
    /// # Safety
    /// All pointers are the server's for a callback.
    unsafe fn event(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
        act: impl FnOnce(&T, &T::Worker, &mut Connection<'_>, &mut T::State),
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        let mut conn = Connection::new(conn);
        let call = || {
            // SAFETY: the server's place for the word, which only this type has written to (I2, I3).
            unsafe { state::with(word, |state| act(&instance.handler.0, worker, &mut conn, state)) };
            if conn.is_closing() { said::CLOSE } else { said::GO_ON }
        };
        said(instance.log(), call, said::PANICKED)
    }

    unsafe extern "C" fn worker_start(instance: *mut c_void, worker: *mut *mut c_void) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: a place of the server's for it (I2).
        unsafe { start_worker(instance.log(), worker, || instance.handler.0.worker()) }
    }

    unsafe extern "C" fn worker_stop(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: ours, given back (I3).
        unsafe { stop_worker::<T::Worker>(instance.log(), worker) };
    }

    unsafe extern "C" fn opened(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::opened) }
    }

    unsafe extern "C" fn message(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
        bytes: BytesMut,
    ) -> i32 {
        // SAFETY: the server's, this callback's alone until it returns (I2).
        let bytes = unsafe { server::bytes_mut(bytes) };
        let act = |handler: &T, worker: &T::Worker, conn: &mut Connection<'_>, state: &mut T::State| {
            handler.message(worker, conn, state, Message(bytes));
        };
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, act) }
    }

    unsafe extern "C" fn ended(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::ended) }
    }

    unsafe extern "C" fn written(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::written) }
    }

    unsafe extern "C" fn timeout(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::timeout) }
    }

    unsafe extern "C" fn nudged(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::nudged) }
    }

    unsafe extern "C" fn draining(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, T::draining) }
    }

    unsafe extern "C" fn urgent(
        instance: *mut c_void,
        worker: *mut c_void,
        conn: *mut abi::Conn,
        word: *mut *mut c_void,
        byte: u32,
    ) -> i32 {
        let act = |handler: &T, worker: &T::Worker, conn: &mut Connection<'_>, state: &mut T::State| {
            handler.urgent(worker, conn, state, byte.to_le_bytes()[0]);
        };
        // SAFETY: the server's, for this callback (I2).
        unsafe { Self::event(instance, worker, conn, word, act) }
    }

    unsafe extern "C" fn closed(instance: *mut c_void, worker: *mut c_void, word: *mut c_void, reason: i32) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        let call = || {
            // SAFETY: the word of this type's state, for the last time (I3).
            let state = unsafe { state::take::<T::State>(word) };
            instance.handler.0.closed(worker, state, Closed::of(reason));
        };
        said(instance.log(), call, ());
    }

    unsafe extern "C" fn tick(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        said(instance.log(), || instance.handler.0.tick(worker), ());
    }

    unsafe extern "C" fn measure(
        instance: *mut c_void,
        worker: *mut c_void,
        word: *mut c_void,
        input: Bytes,
    ) -> i64 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfConnections<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        // SAFETY: the server's, valid until the callback returns (I2).
        let input = unsafe { server::bytes(input) }.unwrap_or_default();
        let measure = |state: &T::State| instance.handler.0.measure(worker, state, input);
        let call = || {
            // SAFETY: the word of this type's state (I3).
            match unsafe { state::look(word, measure) } {
                Measure::NeedMore => said::NEED_MORE,
                Measure::Bytes(bytes) if bytes > 0 => i64::try_from(bytes).unwrap_or(i64::MAX),
                Measure::Bytes(_) | Measure::Wrong => said::WRONG,
            }
        };
        said(instance.log(), call, said::PANICKED.into())
    }
}

impl<T: DatagramHandler> Part for Datagrams<T> {
    const KIND: abi::Kind = abi::Kind::Connection;

    const CONNECTION: *const abi::ConnectionHandler = &abi::ConnectionHandler {
        tick_ms: T::TICK_MS,
        worker_start: Some(Self::worker_start),
        worker_stop: Some(Self::worker_stop),
        tick: Some(Self::tick),
        datagram: Some(Self::datagram),
        expired: Some(Self::expired),
        ..EMPTY
    };

    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String> {
        T::create(setup).map(|handler| Instance::give(OfDatagrams(handler), setup.log))
    }
}

impl<T: DatagramHandler> Datagrams<T> {
    unsafe extern "C" fn worker_start(instance: *mut c_void, worker: *mut *mut c_void) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfDatagrams<T>>::of(instance) };
        // SAFETY: a place of the server's for it (I2).
        unsafe { start_worker(instance.log(), worker, || instance.handler.0.worker()) }
    }

    unsafe extern "C" fn worker_stop(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfDatagrams<T>>::of(instance) };
        // SAFETY: ours, given back (I3).
        unsafe { stop_worker::<T::Worker>(instance.log(), worker) };
    }

    unsafe extern "C" fn tick(instance: *mut c_void, worker: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfDatagrams<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        said(instance.log(), || instance.handler.0.tick(worker), ());
    }

    unsafe extern "C" fn datagram(
        instance: *mut c_void,
        worker: *mut c_void,
        peer: *mut abi::Peer,
        word: *mut *mut c_void,
        payload: BytesMut,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfDatagrams<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        // SAFETY: the server's, this callback's alone until it returns (I2).
        let payload = unsafe { server::bytes_mut(payload) };
        let mut peer = Peer::new(peer);
        let act = |state: &mut T::State| {
            instance.handler.0.datagram(worker, &mut peer, state, payload);
            said::GO_ON
        };
        // SAFETY: the server's place for the word, which only this type has written to (I2, I3).
        let code = said(instance.log(), || unsafe { state::with(word, act) }, said::PANICKED);
        if code == said::GO_ON && peer.is_forgotten() { said::CLOSE } else { code }
    }

    unsafe extern "C" fn expired(instance: *mut c_void, worker: *mut c_void, word: *mut c_void) {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<OfDatagrams<T>>::of(instance) };
        // SAFETY: ours, lent for the call, on its thread (I3).
        let worker = unsafe { &*worker.cast::<T::Worker>() };
        // SAFETY: the word of this type's state, for the last time (I3).
        let call = || instance.handler.0.expired(worker, unsafe { state::take::<T::State>(word) });
        said(instance.log(), call, ());
    }
}
