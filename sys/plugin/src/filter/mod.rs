//! Filters of streams: an instance on a worker, each event of a connection as a call into the library, and what it gives on.

pub(crate) mod calls;

use crate::abi::{self, BytesMut};
use crate::census;
use crate::connection::desk::{Desk, Lent, misused, noticed};
use crate::error::{Fault, LoadError, Problem};
use crate::instance::Instance;
use crate::request::{self, User};
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Most bytes that a filter may give on in one direction in one call.
pub const GIVEN_BYTES_MAX: usize = 1024 * 1024;

/// Most pieces that are given to a filter in one call.
pub const PIECES_MAX: usize = 64;

/// The longest time after which a filter is asked again, in milliseconds.
const AFTER_MS_MAX: u32 = 60_000;

/// A connection as whoever has it shows it to a filter: on one thread, during one call.
pub trait FilterView {
    /// Gives bytes on, to the protocol.
    ///
    /// # Errors
    /// More than [`GIVEN_BYTES_MAX`] in this call ([`Fault::Limit`]), or there is no memory ([`Fault::Full`]).
    fn up(&self, bytes: Given<'_>) -> Result<(), Fault>;

    /// Gives bytes on, to the wire.
    ///
    /// # Errors
    /// As above.
    fn down(&self, bytes: Given<'_>) -> Result<(), Fault>;

    /// The client's address, as text.
    fn peer(&self) -> Option<&[u8]>;

    /// Bits of [`abi::filter`].
    fn flags(&self) -> u32;
}

/// What a filter gives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// A part of what it was given, where it lies: of which piece, from which of its bytes to which other.
    Part(usize, usize, usize),
    /// Bytes of its own, until the call returns.
    Bytes(&'a [u8]),
}

/// What a filter wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Bytes from below.
    pub read: bool,
    /// Bytes from above.
    pub write: bool,
    /// To be asked again after so many milliseconds at the latest; 0: it does not say.
    pub after_ms: u32,
}

impl Interest {
    /// Everything, whenever it comes.
    pub const ALL: Self = Self { read: true, write: true, after_ms: 0 };
}

/// A view, and where the bytes lie that the callback was given.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    view: &'a dyn FilterView,
    /// Address and length of each piece.
    pieces: &'a [(usize, usize)],
}

thread_local! {
    static FILTER: Lent<Shown<'static>> = const { Lent::nothing() };
}

impl Shown<'_> {
    /// What a library gives on: a part of what it was given, if it lies there.
    fn given<'b>(&self, bytes: abi::Bytes) -> Result<Given<'b>, Fault> {
        let start = bytes.data.addr();
        for (number, (piece, len)) in self.pieces.iter().enumerate() {
            let Some(from) = start.checked_sub(*piece) else { continue };
            if let Some(to) = from.checked_add(bytes.len).filter(|to| *to <= *len) {
                return Ok(Given::Part(number, from, to));
            }
        }
        Ok(Given::Bytes(crate::answer::slice(bytes)?.unwrap_or_default()))
    }
}

/// Does something with the filter behind a library's pointer, if that is good here and now. `function` is who was called.
pub(crate) fn with_filter<R>(
    filter: *const abi::Filter,
    function: &str,
    act: impl FnOnce(&Shown<'_>) -> Result<R, Fault>,
) -> Result<R, Fault> {
    match FILTER.try_with(|lent| lent.find(filter.addr())).ok().flatten() {
        // SAFETY: it is lent on this thread, while the call lasts that lent it, which is below us (I6).
        Some(shown) => noticed(filter.addr(), function, act(unsafe { shown.as_ref() })),
        None => Err(misused(filter.addr(), function, "a filter outside of the callback that was given it")),
    }
}

/// An instance on a worker, with its state there. It cannot leave the worker's thread.
pub struct FilterWorker {
    instance: Instance,
    table: abi::StreamFilter,
    raw: *mut c_void,
    state: *mut c_void,
    desk: Desk,
    on_this_thread: PhantomData<*mut ()>,
}

impl FilterWorker {
    /// Begins to use an instance on this thread.
    ///
    /// # Errors
    /// Its state cannot be made.
    pub fn start(instance: &Instance) -> Result<Self, LoadError> {
        request::note_worker();
        let library = instance.library();
        let table = library.filters()?;
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

    /// Shows it a connection that is there: its word, 0 or not.
    pub fn accept(&self, view: &dyn FilterView, user: &mut User) -> i32 {
        self.event(self.table.accept, view, user)
    }

    /// Gives it bytes from below: how many it has taken, or a negative number.
    pub fn read(&self, view: &dyn FilterView, user: &mut User, bytes: &mut [u8]) -> i64 {
        self.takes(self.table.read, view, user, bytes)
    }

    /// Gives it bytes from above: the same.
    pub fn write(&self, view: &dyn FilterView, user: &mut User, bytes: &mut [u8]) -> i64 {
        self.takes(self.table.write, view, user, bytes)
    }

    /// Whether it takes several pieces from above at once.
    #[must_use]
    pub fn has_writev(&self) -> bool {
        self.table.writev.is_some()
    }

    /// Gives it at most [`PIECES_MAX`] pieces from above: how many bytes of them it has taken, or a negative number.
    pub fn writev(&self, view: &dyn FilterView, user: &mut User, pieces: &mut [&mut [u8]]) -> i64 {
        let Some(call) = self.table.writev else { return 0 };
        let most = pieces.len().min(PIECES_MAX);
        let mut given = [BytesMut { data: ptr::null_mut(), len: 0 }; PIECES_MAX];
        let mut places = [(0, 0); PIECES_MAX];
        for ((piece, given), place) in pieces.iter_mut().zip(&mut given).zip(&mut places) {
            *given = BytesMut { data: piece.as_mut_ptr(), len: piece.len() };
            *place = (given.data.addr(), given.len);
        }
        let (word, given) = (user.place(), given.as_ptr());
        // SAFETY: a function of the library, given its own instance, state and word, a view that is lent for the call, and bytes
        // that are the callback's alone until it returns (I3, I5, I6).
        self.lend(view, &places[..most], |filter| unsafe {
            call(self.raw, self.state, filter, word, given, most)
        })
    }

    /// Whether it sees to ranges of files.
    #[must_use]
    pub fn has_send_file(&self) -> bool {
        self.table.send_file.is_some()
    }

    /// Gives it a range of a file from above: how many bytes of it it has seen to, or a negative number.
    pub fn send_file(
        &self,
        view: &dyn FilterView,
        user: &mut User,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
    ) -> i64 {
        let Some(call) = self.table.send_file else { return 0 };
        let word = user.place();
        // SAFETY: as above, with a descriptor that is open until it returns (I3, I5, I6).
        self.lend(view, &[], |filter| unsafe {
            call(self.raw, self.state, filter, word, file.as_raw_fd(), offset, bytes)
        })
    }

    /// Tells it that nothing more comes from below: its word, 0 or not.
    pub fn ended(&self, view: &dyn FilterView, user: &mut User) -> i32 {
        self.event(self.table.ended, view, user)
    }

    /// Tells it that nothing more comes from above: its word, 0 or not.
    pub fn finish(&self, view: &dyn FilterView, user: &mut User) -> i32 {
        self.event(self.table.finish, view, user)
    }

    /// What it wants now.
    pub fn interest(&self, user: &mut User) -> Interest {
        let Some(call) = self.table.interest else { return Interest::ALL };
        let (word, mut after_ms) = (user.place(), 0);
        // SAFETY: a function of the library, given its own instance, state and word, and a place for a number (I3, I5).
        let wants = unsafe { call(self.raw, self.state, word, &raw mut after_ms) };
        Interest {
            read: wants & abi::filter::WANTS_READ != 0,
            write: wants & abi::filter::WANTS_WRITE != 0,
            after_ms: after_ms.min(AFTER_MS_MAX),
        }
    }

    /// Tells it that a connection is over.
    pub fn close(&self, user: User) {
        if let Some(call) = self.table.close {
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw, self.state, user.pointer()) };
        }
    }

    fn event(&self, call: Option<abi::FilterEvent>, view: &dyn FilterView, user: &mut User) -> i32 {
        let Some(call) = call else { return 0 };
        let word = user.place();
        // SAFETY: a function of the library, given its own instance, state and word, and a view that is lent for the call (I3, I5,
        // I6).
        self.lend(view, &[], |filter| unsafe { call(self.raw, self.state, filter, word) })
    }

    fn takes(
        &self,
        call: Option<abi::FilterTakes>,
        view: &dyn FilterView,
        user: &mut User,
        bytes: &mut [u8],
    ) -> i64 {
        let Some(call) = call else { return 0 };
        let word = user.place();
        let given = BytesMut { data: bytes.as_mut_ptr(), len: bytes.len() };
        // SAFETY: as above, with bytes that are the callback's alone until it returns (I3, I5, I6).
        self.lend(view, &[(given.data.addr(), given.len)], |filter| unsafe {
            call(self.raw, self.state, filter, word, given)
        })
    }

    /// Shows a connection while `call` lasts, which is given where.
    fn lend<R>(
        &self,
        view: &dyn FilterView,
        pieces: &[(usize, usize)],
        call: impl FnOnce(*mut abi::Filter) -> R,
    ) -> R {
        let shown = Shown { view, pieces };
        let shown: NonNull<Shown<'_>> = NonNull::from_ref(&shown);
        let place = self.desk.place();
        FILTER.with(|lent| lent.during(place.addr(), shown.cast(), || call(place.cast())))
    }
}

impl Drop for FilterWorker {
    fn drop(&mut self) {
        if let Some(stop) = self.table.worker_stop {
            // SAFETY: a function of the library, given its own instance and state, on the state's thread (I3, I5).
            unsafe { stop(self.raw, self.state) };
        }
        census::workers(self.instance.library().number(), -1);
    }
}

impl fmt::Debug for FilterWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterWorker").field("instance", &self.instance).finish_non_exhaustive()
    }
}
