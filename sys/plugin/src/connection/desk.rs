//! Where connections and peers are looked at while a call lasts, and what is said of who looks elsewhere.

use super::{ConnView, PeerView};
use crate::abi;
use crate::error::Fault;
use crate::instance;
use ringway_lock::{Mutex, MutexGuard};
use std::cell::Cell;
use std::fmt::Write as _;
use std::ptr::NonNull;
use std::sync::PoisonError;

/// Misuses of an instance on a worker that are told one by one. Then only every second, fourth, eighth is.
pub const MISUSES_TOLD_MAX: u64 = 8;

/// `RINGWAY_LOG_ERROR`.
const LEVEL_ERROR: u32 = 1;

/// Places that a desk gives away in turn, so that one of an earlier call is known for what it is.
const PLACES: usize = 4096;

/// What a worker lends views at. Its memory is there for its addresses alone: they are nobody else's.
pub(crate) struct Desk {
    places: Box<[u8]>,
    next: Cell<usize>,
}

/// A view that is lent on this thread, and the place that was given away for it.
pub(crate) struct Lent<V: ?Sized>(Cell<Option<(usize, NonNull<V>)>>);

thread_local! {
    static CONN: Lent<dyn ConnView> = const { Lent(Cell::new(None)) };
    static PEER: Lent<dyn PeerView> = const { Lent(Cell::new(None)) };
}

impl Desk {
    /// A desk for an instance on this thread; `file` is for messages.
    pub(crate) fn new(service: u64, file: &str) -> Self {
        let places = vec![0; PLACES].into_boxed_slice();
        lock().push(Known { start: places.as_ptr().addr(), service, file: file.into(), misuses: 0 });
        Self { places, next: Cell::new(0) }
    }

    /// Shows a connection while `call` lasts, which is given where.
    pub(crate) fn lend<R>(&self, view: &dyn ConnView, call: impl FnOnce(*mut abi::Conn) -> R) -> R {
        let view = NonNull::from_ref(view);
        // SAFETY: only the lifetime is forgotten; the view is taken away before this returns (I6).
        let view = unsafe { std::mem::transmute::<NonNull<dyn ConnView>, NonNull<dyn ConnView>>(view) };
        let place = self.place();
        CONN.with(|lent| lent.during(place.addr(), view, || call(place.cast())))
    }

    /// The same of a peer.
    pub(crate) fn lend_peer<R>(&self, view: &dyn PeerView, call: impl FnOnce(*mut abi::Peer) -> R) -> R {
        let view = NonNull::from_ref(view);
        // SAFETY: only the lifetime is forgotten; the view is taken away before this returns (I6).
        let view = unsafe { std::mem::transmute::<NonNull<dyn PeerView>, NonNull<dyn PeerView>>(view) };
        let place = self.place();
        PEER.with(|lent| lent.during(place.addr(), view, || call(place.cast())))
    }

    pub(crate) fn place(&self) -> *mut u8 {
        let next = self.next.get();
        self.next.set((next + 1) % PLACES);
        std::ptr::from_ref(&self.places[next]).cast_mut()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let start = self.places.as_ptr().addr();
        lock().retain(|known| known.start != start);
    }
}

impl<V: ?Sized> Lent<V> {
    pub(crate) const fn nothing() -> Self {
        Self(Cell::new(None))
    }

    pub(crate) fn during<R>(&self, place: usize, view: NonNull<V>, call: impl FnOnce() -> R) -> R {
        let _back = Back { lent: self, before: self.0.replace(Some((place, view))) };
        call()
    }

    pub(crate) fn find(&self, place: usize) -> Option<NonNull<V>> {
        self.0.get().filter(|(lent, _)| *lent == place).map(|(_, view)| view)
    }
}

/// Puts a view back where it was, however the call ends.
struct Back<'a, V: ?Sized> {
    lent: &'a Lent<V>,
    before: Option<(usize, NonNull<V>)>,
}

impl<V: ?Sized> Drop for Back<'_, V> {
    fn drop(&mut self) {
        self.lent.0.set(self.before);
    }
}

/// Does something with the connection behind a library's pointer, if that is good here and now. `function` is who was called.
pub(crate) fn with_conn<R>(
    conn: *const abi::Conn,
    function: &str,
    act: impl FnOnce(&dyn ConnView) -> Result<R, Fault>,
) -> Result<R, Fault> {
    // A thread that is ending has none.
    match CONN.try_with(|lent| lent.find(conn.addr())).ok().flatten() {
        // SAFETY: it is lent on this thread, while the call lasts that lent it, which is below us (I6).
        Some(view) => noticed(conn.addr(), function, act(unsafe { view.as_ref() })),
        None => Err(misused(conn.addr(), function, "a connection outside of the callback that was given it")),
    }
}

/// The same of a peer.
pub(crate) fn with_peer<R>(
    peer: *const abi::Peer,
    function: &str,
    act: impl FnOnce(&dyn PeerView) -> Result<R, Fault>,
) -> Result<R, Fault> {
    match PEER.try_with(|lent| lent.find(peer.addr())).ok().flatten() {
        // SAFETY: it is lent on this thread, while the call lasts that lent it, which is below us (I6).
        Some(view) => noticed(peer.addr(), function, act(unsafe { view.as_ref() })),
        None => Err(misused(peer.addr(), function, "a peer outside of the callback that was given it")),
    }
}

/// Tells of what only a mistake can be.
pub(crate) fn noticed<R>(place: usize, function: &str, done: Result<R, Fault>) -> Result<R, Fault> {
    match &done {
        Err(Fault::Invalid) => drop(misused(place, function, "arguments that make no sense")),
        Err(Fault::Limit) => drop(misused(place, function, "more than is taken")),
        _ => {}
    }
    done
}

/// Tells what a library did with a pointer, if it is known whose it was.
pub(crate) fn misused(place: usize, function: &str, with: &str) -> Fault {
    let told = {
        let mut desks = lock();
        let own = desks.iter_mut().find(|known| place.wrapping_sub(known.start) < PLACES);
        own.and_then(|known| {
            known.misuses += 1;
            let is_told = known.misuses <= MISUSES_TOLD_MAX || known.misuses.is_power_of_two();
            is_told.then(|| (known.service, known.line(function, with)))
        })
    };
    if let Some((service, line)) = told {
        instance::say(service, LEVEL_ERROR, &line);
    }
    Fault::Thread
}

/// A desk, as all threads know it.
struct Known {
    start: usize,
    service: u64,
    file: Box<str>,
    misuses: u64,
}

impl Known {
    fn line(&self, function: &str, with: &str) -> String {
        let thread = std::thread::current();
        let on = thread.name().unwrap_or("without a name");
        let mut line = format!("library {}: it called `{function}` with {with}, on thread {on}", self.file);
        if self.misuses > MISUSES_TOLD_MAX {
            let _memory = write!(line, " (the {}th such mistake)", self.misuses);
        }
        line
    }
}

static DESKS: Mutex<Vec<Known>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<Known>> {
    DESKS.lock().unwrap_or_else(PoisonError::into_inner)
}
