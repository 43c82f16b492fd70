//! Filters of streams: what their authors write, and the table that the server calls.

use crate::handler::{Log, Setup};
use crate::server;
use crate::tables::{FAILED, Healthy, Instance, Part, message, start_worker, stop_worker};
use ringway_plugin::abi::{self, Bytes, BytesMut, code};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Stands between the transport of connections and their protocol. One value is one place in a configuration that names the
/// library, for all workers. A panic costs the connection it happens on.
pub trait StreamFilter: Send + Sync + Sized + 'static {
    /// What is kept of each connection, on its worker.
    type State: 'static;

    /// Makes one.
    ///
    /// # Errors
    /// Why that cannot be: the operator reads it where the configuration is read.
    fn create(setup: &Setup<'_>) -> Result<Self, String>;

    /// A connection is there; `None`: it is not wanted. The filter may speak first.
    fn accept(&self, stream: &mut Filtered<'_>) -> Option<Self::State>;

    /// Bytes have come from below; says how many it has taken. What it leaves comes again with more behind it.
    ///
    /// # Errors
    /// The connection cannot go on.
    fn read(
        &self,
        stream: &mut Filtered<'_>,
        state: &mut Self::State,
        bytes: &mut [u8],
    ) -> Result<usize, Broken>;

    /// Bytes have come from above; the same.
    ///
    /// # Errors
    /// The connection cannot go on.
    fn write(
        &self,
        stream: &mut Filtered<'_>,
        state: &mut Self::State,
        bytes: &mut [u8],
    ) -> Result<usize, Broken>;

    /// No more comes from below.
    ///
    /// # Errors
    /// Something is missing.
    fn ended(&self, stream: &mut Filtered<'_>, state: &mut Self::State) -> Result<(), Broken> {
        let _nothing_to_say = (stream, state);
        Ok(())
    }

    /// No more comes from above: last words go down now.
    ///
    /// # Errors
    /// The connection cannot go on.
    fn finish(&self, stream: &mut Filtered<'_>, state: &mut Self::State) -> Result<(), Broken> {
        let _nothing_to_say = (stream, state);
        Ok(())
    }

    /// Whether it is well. Any thread.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A connection, while a filter is called for it.
pub struct Filtered<'a> {
    raw: *mut abi::Filter,
    lent: PhantomData<(&'a (), *mut ())>,
}

impl Filtered<'_> {
    /// Gives bytes on to the protocol. A part of what the callback was given is not copied.
    ///
    /// # Errors
    /// More than 1 MiB in one call.
    pub fn up(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.give(bytes, |server| server.filter_up)
    }

    /// Gives bytes on to the wire; the same.
    ///
    /// # Errors
    /// More than 1 MiB in one call.
    pub fn down(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.give(bytes, |server| server.filter_down)
    }

    /// The client's address, such as `192.0.2.1:4711`; none for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        let peer = server::table()?.filter_peer?;
        // SAFETY: a function of the server's, given its filter; what it gives is valid until the callback returns (I1, I2).
        str::from_utf8(unsafe { server::bytes(peer(self.raw)) }?).ok()
    }

    /// Whether there is TLS below: the wire does not see what the filter sees.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let Some(flags) = server::table().and_then(|server| server.filter_flags) else { return false };
        // SAFETY: a function of the server's, given its filter (I1, I2).
        unsafe { flags(self.raw) & abi::filter::TLS != 0 }
    }

    fn give(
        &mut self,
        bytes: &[u8],
        function: impl Fn(&abi::Server) -> Option<abi::FilterBytes>,
    ) -> Result<(), Broken> {
        let function = server::table().and_then(function).ok_or(Broken)?;
        // SAFETY: a function of the server's, given its filter and bytes that are valid for the call (I1, I2).
        let given = unsafe { function(self.raw, Bytes::of(bytes)) };
        if given == code::OK { Ok(()) } else { Err(Broken) }
    }
}

impl fmt::Debug for Filtered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtered").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

/// A library that filters streams by `T`.
pub struct Filters<T>(PhantomData<T>);

impl<T> fmt::Debug for Filters<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filters")
    }
}

struct Own<T>(T);

impl<T: StreamFilter> Healthy for Own<T> {
    fn health(&self) -> Result<(), String> {
        self.0.health()
    }
}

impl<T: StreamFilter> Part for Filters<T> {
    const KIND: abi::Kind = abi::Kind::Filter;

    const FILTER: *const abi::StreamFilter = &abi::StreamFilter {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::StreamFilter>() as u32,
        flags: 0,
        worker_start: Some(Self::worker_start),
        worker_stop: Some(Self::worker_stop),
        accept: Some(Self::accept),
        read: Some(Self::read),
        write: Some(Self::write),
        writev: None,
        send_file: None,
        ended: Some(Self::ended),
        finish: Some(Self::finish),
        interest: None,
        close: Some(Self::close),
    };

    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String> {
        T::create(setup).map(|filter| Instance::give(Own(filter), setup.log))
    }
}

impl<T: StreamFilter> Filters<T> {
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

    unsafe extern "C" fn accept(
        instance: *mut c_void,
        _worker: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        let mut stream = Filtered { raw: filter, lent: PhantomData };
        let state = caught(instance.log(), || instance.handler.0.accept(&mut stream)).flatten();
        let Some(state) = state else { return FAILED };
        // SAFETY: a place of the server's for the connection's word (I2).
        unsafe { user.write(Box::into_raw(Box::new(state)).cast()) };
        0
    }

    unsafe extern "C" fn read(
        instance: *mut c_void,
        _worker: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
        bytes: BytesMut,
    ) -> i64 {
        // SAFETY: as the server promises of its arguments (I2, I3).
        unsafe { Self::take(instance, filter, user, bytes, T::read) }
    }

    unsafe extern "C" fn write(
        instance: *mut c_void,
        _worker: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
        bytes: BytesMut,
    ) -> i64 {
        // SAFETY: as the server promises of its arguments (I2, I3).
        unsafe { Self::take(instance, filter, user, bytes, T::write) }
    }

    unsafe extern "C" fn ended(
        instance: *mut c_void,
        _worker: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: as the server promises of its arguments (I2, I3).
        unsafe { Self::tell(instance, filter, user, T::ended) }
    }

    unsafe extern "C" fn finish(
        instance: *mut c_void,
        _worker: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
    ) -> i32 {
        // SAFETY: as the server promises of its arguments (I2, I3).
        unsafe { Self::tell(instance, filter, user, T::finish) }
    }

    unsafe extern "C" fn close(instance: *mut c_void, _worker: *mut c_void, user: *mut c_void) {
        if user.is_null() {
            return;
        }
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: what `accept` made, given back (I3).
        let state = unsafe { Box::from_raw(user.cast::<T::State>()) };
        let _told = caught(instance.log(), || drop(state));
    }

    /// # Safety
    /// What the header says of `read` and `write`.
    unsafe fn take(
        instance: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
        bytes: BytesMut,
        call: impl FnOnce(&T, &mut Filtered<'_>, &mut T::State, &mut [u8]) -> Result<usize, Broken>,
    ) -> i64 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: what `accept` made, lent for the call, on its thread (I3).
        let state = unsafe { &mut *(*user).cast::<T::State>() };
        // SAFETY: the callback's alone until it returns (I2).
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes.data, bytes.len) };
        let mut stream = Filtered { raw: filter, lent: PhantomData };
        let taken = caught(instance.log(), || call(&instance.handler.0, &mut stream, state, bytes));
        match taken {
            Some(Ok(taken)) => i64::try_from(taken).unwrap_or(i64::MAX),
            Some(Err(Broken)) | None => FAILED.into(),
        }
    }

    /// # Safety
    /// What the header says of `ended` and `finish`.
    unsafe fn tell(
        instance: *mut c_void,
        filter: *mut abi::Filter,
        user: *mut *mut c_void,
        call: impl FnOnce(&T, &mut Filtered<'_>, &mut T::State) -> Result<(), Broken>,
    ) -> i32 {
        // SAFETY: ours, lent for the call (I3).
        let instance = unsafe { Instance::<Own<T>>::of(instance) };
        // SAFETY: what `accept` made, lent for the call, on its thread (I3).
        let state = unsafe { &mut *(*user).cast::<T::State>() };
        let mut stream = Filtered { raw: filter, lent: PhantomData };
        match caught(instance.log(), || call(&instance.handler.0, &mut stream, state)) {
            Some(Ok(())) => 0,
            Some(Err(Broken)) | None => FAILED,
        }
    }
}

/// What came of a call, unless it panicked; that is told.
fn caught<R>(log: Log, act: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(act))
        .inspect_err(|panic| log.error(&format!("the filter panicked: {}", message(&**panic))))
        .ok()
}
