//! The table of a library: what it is, by kinds, and the callbacks that all kinds have.

use crate::handler::{Log, Setup};
use crate::server;
use ringway_plugin::abi;
use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// What `create` and `worker_start` say when they fail.
pub(crate) const FAILED: i32 = -1;

/// The table of a library.
#[derive(Debug)]
pub struct Table(abi::Plugin);

// SAFETY: it is a constant that points to constants (I4).
unsafe impl Sync for Table {}

/// A kind that a library is of: its table, and how an instance is made. What `create` gives is a box of its own.
pub trait Part: 'static {
    /// `RINGWAY_KIND_*`.
    const KIND: abi::Kind;
    /// Its table, where it is a connection handler.
    const CONNECTION: *const abi::ConnectionHandler = ptr::null();
    /// Its table, where it is a request handler.
    const REQUEST: *const abi::RequestHandler = ptr::null();

    /// Its table, where it is a stage hook.
    const STAGE: *const abi::StageHook = ptr::null();
    /// Its table, where it is a stream filter.
    const FILTER: *const abi::StreamFilter = ptr::null();

    /// Makes an instance.
    ///
    /// # Errors
    /// Why that cannot be.
    fn create(setup: &Setup<'_>) -> Result<*mut c_void, String>;
}

/// The kinds that a library is of.
pub trait Parts: 'static {
    /// Their tables.
    const CONNECTION: *const abi::ConnectionHandler;
    /// The same.
    const REQUEST: *const abi::RequestHandler;
    /// The same.
    const STAGE: *const abi::StageHook;
    /// The same.
    const FILTER: *const abi::StreamFilter;

    /// Makes an instance of a kind; `None`: it is of no such kind.
    fn create(kind: u32, setup: &Setup<'_>) -> Option<Result<*mut c_void, String>>;
}

impl<A: Part> Parts for (A,) {
    const CONNECTION: *const abi::ConnectionHandler = A::CONNECTION;
    const REQUEST: *const abi::RequestHandler = A::REQUEST;
    const STAGE: *const abi::StageHook = A::STAGE;
    const FILTER: *const abi::StreamFilter = A::FILTER;

    fn create(kind: u32, setup: &Setup<'_>) -> Option<Result<*mut c_void, String>> {
        (kind == A::KIND as u32).then(|| A::create(setup))
    }
}

impl<A: Part, B: Parts> Parts for (A, B) {
    const CONNECTION: *const abi::ConnectionHandler = either(A::CONNECTION, B::CONNECTION);
    const REQUEST: *const abi::RequestHandler = either(A::REQUEST, B::REQUEST);
    const STAGE: *const abi::StageHook = either(A::STAGE, B::STAGE);
    const FILTER: *const abi::StreamFilter = either(A::FILTER, B::FILTER);

    fn create(kind: u32, setup: &Setup<'_>) -> Option<Result<*mut c_void, String>> {
        if kind == A::KIND as u32 { Some(A::create(setup)) } else { B::create(kind, setup) }
    }
}

/// The one that is there.
///
/// # Panics
/// While it is compiled: both are.
const fn either<T>(one: *const T, other: *const T) -> *const T {
    if one.is_null() {
        return other;
    }
    assert!(other.is_null(), "a library has one handler of a kind");
    one
}

/// The table of a library that is of these kinds.
#[must_use]
pub const fn table<P: Parts>(name: &'static CStr, version: &'static CStr) -> Table {
    Table(abi::Plugin {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::Plugin>() as u32,
        abi: abi::ABI,
        name: name.as_ptr(),
        version: version.as_ptr(),
        create: Some(Callbacks::<P>::create),
        destroy: Some(destroy),
        health: Some(health),
        connection: P::CONNECTION,
        request: P::REQUEST,
        stage: P::STAGE,
        filter: P::FILTER,
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

/// A handler, what is done with every one, and the number of its place.
#[repr(C)]
pub(crate) struct Instance<T> {
    common: Common,
    pub(crate) handler: T,
}

#[repr(C)]
struct Common {
    destroy: unsafe fn(*mut c_void),
    health: unsafe fn(*mut c_void) -> Result<(), String>,
    log: Log,
}

impl<T: Healthy> Instance<T> {
    /// An instance, as the server gets it.
    pub(crate) fn give(handler: T, log: Log) -> *mut c_void {
        let common = Common { destroy: Self::destroy, health: Self::health, log };
        Box::into_raw(Box::new(Self { common, handler })).cast()
    }

    /// # Safety
    /// It is what [`Instance::give`] of this type gave, for the last time.
    unsafe fn destroy(instance: *mut c_void) {
        // SAFETY: as the caller promises (I3).
        drop(unsafe { Box::from_raw(instance.cast::<Self>()) });
    }

    /// # Safety
    /// It is what [`Instance::give`] of this type gave.
    unsafe fn health(instance: *mut c_void) -> Result<(), String> {
        // SAFETY: as the caller promises (I3).
        unsafe { &*instance.cast::<Self>() }.handler.health()
    }

    /// # Safety
    /// It is what [`Instance::give`] of this type gave, and lent for `'a`.
    pub(crate) unsafe fn of<'a>(instance: *mut c_void) -> &'a Self {
        // SAFETY: as the caller promises (I3).
        unsafe { &*instance.cast::<Self>() }
    }
}

impl<T> Instance<T> {
    pub(crate) fn log(&self) -> Log {
        self.common.log
    }
}

/// What every handler says of itself.
pub(crate) trait Healthy {
    /// Whether it is well.
    fn health(&self) -> Result<(), String>;
}

struct Callbacks<P>(PhantomData<P>);

impl<P: Parts> Callbacks<P> {
    unsafe extern "C" fn create(setup: *const abi::Setup, instance: *mut *mut c_void) -> i32 {
        // SAFETY: the server's, for this call (I2).
        let raw = unsafe { &*setup };
        // SAFETY: the same (I2).
        let (name, config) = unsafe { (server::bytes(raw.name), server::bytes(raw.config)) };
        let log = Log(raw.service);
        let made = catch_unwind(|| {
            let name = str::from_utf8(name.unwrap_or_default()).map_err(|error| error.to_string())?;
            let config = str::from_utf8(config.unwrap_or_default()).map_err(|error| error.to_string())?;
            let made = P::create(raw.kind, &Setup { name, config, log });
            made.unwrap_or_else(|| Err(format!("it is not of kind {}", raw.kind)))
        });
        let reason = match made {
            Ok(Ok(made)) => {
                // SAFETY: a place of the server's for it (I2).
                unsafe { instance.write(made) };
                return 0;
            }
            Ok(Err(reason)) => reason,
            Err(panic) => format!("it panicked: {}", message(&*panic)),
        };
        // SAFETY: room of the server's for a text (I2).
        unsafe { write_text(raw.error, raw.error_bytes, &reason) };
        FAILED
    }
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    // SAFETY: an instance begins with what all have (I3).
    let (destroy, log) = unsafe { ((*instance.cast::<Common>()).destroy, (*instance.cast::<Common>()).log) };
    // SAFETY: its own function, for the last time (I3).
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { destroy(instance) })) {
        log.error(&format!("it panicked at its end: {}", message(&*panic)));
    }
}

unsafe extern "C" fn health(instance: *mut c_void, text: *mut c_char, text_bytes: usize) -> i32 {
    // SAFETY: an instance begins with what all have (I3).
    let health = unsafe { &*instance.cast::<Common>() }.health;
    // SAFETY: its own function (I3).
    let said = catch_unwind(AssertUnwindSafe(|| unsafe { health(instance) }));
    let Err(reason) = said.unwrap_or_else(|panic| Err(message(&*panic))) else { return 0 };
    // SAFETY: room of the server's for a text (I2).
    unsafe { write_text(text, text_bytes, &reason) };
    1
}

/// Makes the state of a worker: what `worker_start` says.
///
/// # Safety
/// `place` is the server's for it.
pub(crate) unsafe fn start_worker<T>(log: Log, place: *mut *mut c_void, make: impl FnOnce() -> T) -> i32 {
    match catch_unwind(AssertUnwindSafe(make)) {
        Ok(state) => {
            // SAFETY: as the caller promises (I2).
            unsafe { place.write(Box::into_raw(Box::new(state)).cast()) };
            0
        }
        Err(panic) => {
            log.error(&format!("it panicked: {}", message(&*panic)));
            FAILED
        }
    }
}

/// Ends the state of a worker.
///
/// # Safety
/// It is what [`start_worker`] of this type made, for the last time.
pub(crate) unsafe fn stop_worker<T>(log: Log, worker: *mut c_void) {
    // SAFETY: as the caller promises (I3).
    let state = unsafe { Box::from_raw(worker.cast::<T>()) };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(state))) {
        log.error(&format!("it panicked: {}", message(&*panic)));
    }
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
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
