//! What a library made for one place in a configuration, and its state on a worker.

use crate::abi::{self, Bytes, Kind};
use crate::census;
use crate::connection::Connections;
use crate::error::{Fault, LoadError, Problem};
use crate::library::Library;
use crate::request::{self, Message, OfBody, Over, RequestView, Said, SocketView, User};
use ringway_lock::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Room for the reason why an instance cannot be made, and for what it says of its health, in bytes.
const REASON_BYTES: usize = 1024;

/// How grave what a library says is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are as usual")]
pub enum Level {
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

/// Who hears what an instance says, from any thread.
pub type Listener = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Who sends messages to groups of WebSockets, from any thread.
pub trait Broadcast: Send + Sync {
    /// Sends a message to all members of a group.
    ///
    /// # Errors
    /// It cannot be sent.
    fn send(&self, group: &str, message: Message<'_>) -> Result<(), Fault>;
}

/// What an instance is made with.
pub struct Setting<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// Its own section of the configuration.
    pub config: &'a str,
    /// Who hears what it says.
    pub listener: Listener,
    /// Who sends to its groups of WebSockets, where there are any.
    pub broadcast: Option<Arc<dyn Broadcast>>,
    /// Who reaches its connections, where it is a protocol.
    pub connections: Option<Arc<dyn Connections>>,
}

impl fmt::Debug for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// An instance of a library. Clones are the same one; when the last of them and the last [`Worker`] of it are gone it is
/// destroyed, on a thread of its own, because that may wait.
#[derive(Clone, Debug)]
pub struct Instance(Arc<Inner>);

struct Inner {
    /// `None` once it is being destroyed.
    made: Option<Made>,
}

struct Made {
    library: Library,
    instance: *mut c_void,
    service: u64,
}

// SAFETY: the header has instances used on any thread (I5).
unsafe impl Send for Made {}
// SAFETY: as above (I5).
unsafe impl Sync for Made {}

impl Instance {
    /// Has `library` make one.
    ///
    /// # Errors
    /// It answers no requests, or cannot make one, for the reason it says.
    pub fn of_requests(library: &Library, setting: &Setting<'_>) -> Result<Self, LoadError> {
        library.requests()?;
        Self::new(library, Kind::Request, setting)
    }

    /// Has `library` make one that speaks a protocol.
    ///
    /// # Errors
    /// It speaks none, or cannot make one, for the reason it says.
    pub fn of_connections(library: &Library, setting: &Setting<'_>) -> Result<Self, LoadError> {
        library.connections()?;
        Self::new(library, Kind::Connection, setting)
    }

    /// Has `library` make one that hooks into the stages of requests.
    ///
    /// # Errors
    /// It does not do that, or cannot make one, for the reason it says.
    pub fn of_stages(library: &Library, setting: &Setting<'_>) -> Result<Self, LoadError> {
        library.stages()?;
        Self::new(library, Kind::Stage, setting)
    }

    /// Has `library` make one that filters streams.
    ///
    /// # Errors
    /// It does not do that, or cannot make one, for the reason it says.
    pub fn of_filters(library: &Library, setting: &Setting<'_>) -> Result<Self, LoadError> {
        library.filters()?;
        Self::new(library, Kind::Filter, setting)
    }

    fn new(library: &Library, kind: Kind, setting: &Setting<'_>) -> Result<Self, LoadError> {
        let service = register(setting);
        match create(library, kind, setting, service) {
            Ok(instance) => {
                census::instances(library.number(), 1);
                let made = Made { library: library.clone(), instance, service };
                Ok(Self(Arc::new(Inner { made: Some(made) })))
            }
            Err(problem) => {
                forget(service);
                Err(library.objection(problem))
            }
        }
    }

    /// Its library.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.made().library
    }

    /// Its number, by which it logs and reaches its groups.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.service()
    }

    /// How it is: fine, or not, for a reason. Any thread.
    ///
    /// # Errors
    /// What it says of itself.
    pub fn health(&self) -> Result<(), String> {
        let made = self.made();
        let Some(health) = made.library.loaded().tables.plugin.health else { return Ok(()) };
        let mut text = [0; REASON_BYTES];
        // SAFETY: a function of the library, given its own instance and room for a text (I3, I5).
        let code = unsafe { health(made.instance, text.as_mut_ptr().cast::<c_char>(), text.len()) };
        match code {
            0 => Ok(()),
            code => Err(reason(&mut text).unwrap_or_else(|| format!("it says {code}"))),
        }
    }

    /// What it is known by to the library's functions.
    pub(crate) fn service(&self) -> u64 {
        self.made().service
    }

    pub(crate) fn raw(&self) -> *mut c_void {
        self.made().instance
    }

    fn made(&self) -> &Made {
        self.0.made.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(made) = self.made.take() else { return };
        census::ending(1);
        let slot = Arc::new(Mutex::new(Some(made)));
        let theirs = Arc::clone(&slot);
        let run = move || end(theirs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = std::thread::Builder::new().name("ringway-unload".to_owned()).spawn(run);
        if thread.is_err() {
            // Without a thread to spare it happens here.
            let made = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            end(made);
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("library", &self.made.as_ref().map(|made| &made.library)).finish()
    }
}

/// Destroys an instance, and with it its library if nobody else has it.
fn end(made: Option<Made>) {
    let Some(Made { library, instance, service }) = made else { return };
    if let Some(destroy) = library.loaded().tables.plugin.destroy {
        // SAFETY: a function of the library, given its own instance for the last time (I3, I5).
        unsafe { destroy(instance) };
    }
    forget(service);
    census::instances(library.number(), -1);
    drop(library);
    census::ending(-1);
}

fn create(
    library: &Library,
    kind: Kind,
    setting: &Setting<'_>,
    service: u64,
) -> Result<*mut c_void, Problem> {
    let Some(create) = library.loaded().tables.plugin.create else { return Ok(library.loaded().given) };
    let mut error = [0; REASON_BYTES];
    let setup = abi::Setup {
        #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
        struct_size: size_of::<abi::Setup>() as u32,
        kind: kind as u32,
        service,
        name: Bytes::of(setting.name.as_bytes()),
        config: Bytes::of(setting.config.as_bytes()),
        error: error.as_mut_ptr().cast::<c_char>(),
        error_bytes: error.len(),
    };
    let mut instance = ptr::null_mut();
    // SAFETY: a function of the library, given what the header says (I3).
    let code = unsafe { create(&raw const setup, &raw mut instance) };
    if code == 0 { Ok(instance) } else { Err(Problem::Create(code, reason(&mut error).unwrap_or_default())) }
}

/// The text that a library wrote, whether it ended it or not.
fn reason(text: &mut [u8]) -> Option<String> {
    *text.last_mut()? = 0;
    let text = CStr::from_bytes_until_nul(text).ok()?.to_string_lossy();
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!line.trim().is_empty()).then(|| line.trim().to_owned())
}

/// An instance on a worker, with its state there. It cannot leave the worker's thread.
pub struct Worker {
    instance: Instance,
    table: abi::RequestHandler,
    state: *mut c_void,
    on_this_thread: PhantomData<*mut ()>,
}

impl Worker {
    /// Begins to use an instance on this thread.
    ///
    /// # Errors
    /// Its state cannot be made.
    pub fn start(instance: &Instance) -> Result<Self, LoadError> {
        request::note_worker();
        let library = instance.library();
        let table = library.requests()?.table;
        let mut state = ptr::null_mut();
        if let Some(start) = table.worker_start {
            // SAFETY: a function of the library, given its own instance and a place for the state (I3, I5).
            let code = unsafe { start(instance.made().instance, &raw mut state) };
            if code != 0 {
                return Err(library.objection(Problem::Worker(code)));
            }
        }
        census::workers(library.number(), 1);
        Ok(Self { instance: instance.clone(), table, state, on_this_thread: PhantomData })
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Asks it to answer a request.
    pub fn request(&self, view: &dyn RequestView) -> Said {
        let Some(call) = self.table.request else { return Said::Pass };
        // SAFETY: a function of the library, given its own instance and state, and a view that is lent for the call (I3, I5, I6).
        Said::of(request::lend(view, |request| unsafe { call(self.raw(), self.state, request) }))
    }

    /// Gives it a piece of a request's body; `None` at its end.
    pub fn body(&self, later: u64, user: User, piece: Option<&[u8]>) -> OfBody {
        let Some(call) = self.table.body else { return OfBody::Stop };
        let piece = piece.map_or(Bytes::NONE, Bytes::of);
        // SAFETY: a function of the library, given its own instance, state and word (I3, I5).
        OfBody::of(unsafe { call(self.raw(), self.state, later, user.pointer(), piece) })
    }

    /// Tells it that there is room for more of an answer.
    pub fn writable(&self, later: u64, user: User) {
        if let Some(call) = self.table.writable {
            // SAFETY: a function of the library, given its own instance, state and word (I3, I5).
            unsafe { call(self.raw(), self.state, later, user.pointer()) };
        }
    }

    /// Tells it that a promise is over.
    pub fn over(&self, later: u64, user: User, how: Over) {
        if let Some(call) = self.table.over {
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw(), self.state, later, user.pointer(), how as i32) };
        }
    }

    /// Tells it that a socket is open.
    pub fn socket_opened(&self, socket: &dyn SocketView, user: User) {
        if let Some(call) = self.sockets().and_then(|sockets| sockets.opened) {
            // SAFETY: a function of the library, given its own instance, state and word, and a view that is lent for the call (I3,
            // I5, I6).
            request::lend_socket(socket, |socket| unsafe {
                call(self.raw(), self.state, socket, user.pointer());
            });
        }
    }

    /// Gives it a message of a socket.
    pub fn socket_message(&self, socket: &dyn SocketView, user: User, message: Message<'_>) {
        if let Some(call) = self.sockets().and_then(|sockets| sockets.message) {
            let (kind, bytes) = message.parts();
            // SAFETY: as above, with bytes that are valid for the call (I3, I5, I6).
            request::lend_socket(socket, |socket| unsafe {
                call(self.raw(), self.state, socket, user.pointer(), kind, Bytes::of(bytes));
            });
        }
    }

    /// Tells it that a socket has ended.
    pub fn socket_closed(&self, user: User, code: u16, reason: &str) {
        if let Some(call) = self.sockets().and_then(|sockets| sockets.closed) {
            let reason = Bytes::of(reason.as_bytes());
            // SAFETY: a function of the library, given its own instance, state and word, for the last time (I3, I5).
            unsafe { call(self.raw(), self.state, user.pointer(), code.into(), reason) };
        }
    }

    fn sockets(&self) -> Option<&abi::SocketHandler> {
        self.instance.library().loaded().tables.requests.as_ref()?.sockets.as_ref()
    }

    fn raw(&self) -> *mut c_void {
        self.instance.made().instance
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(stop) = self.table.worker_stop {
            // SAFETY: a function of the library, given its own instance and state, on the state's thread (I3, I5).
            unsafe { stop(self.raw(), self.state) };
        }
        census::workers(self.instance.library().number(), -1);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Whom the numbers of instances stand for.
struct Registered {
    service: u64,
    listener: Listener,
    broadcast: Option<Arc<dyn Broadcast>>,
    connections: Option<Arc<dyn Connections>>,
}

static REGISTER: RwLock<Vec<Registered>> = RwLock::new(Vec::new());

fn register(setting: &Setting<'_>) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let service = NEXT.fetch_add(1, Ordering::Relaxed);
    let (listener, broadcast) = (Arc::clone(&setting.listener), setting.broadcast.clone());
    let connections = setting.connections.clone();
    write().push(Registered { service, listener, broadcast, connections });
    service
}

fn forget(service: u64) {
    // What it was told with may have an end of its own, which is not for behind the lock.
    let forgotten = {
        let mut register = write();
        let place = register.iter().position(|entry| entry.service == service);
        place.map(|place| register.swap_remove(place))
    };
    drop(forgotten);
}

fn read() -> RwLockReadGuard<'static, Vec<Registered>> {
    REGISTER.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Vec<Registered>> {
    REGISTER.write().unwrap_or_else(PoisonError::into_inner)
}

/// Who reaches the connections of an instance.
pub(crate) fn connections(service: u64) -> Result<Arc<dyn Connections>, Fault> {
    let register = read();
    let entry = register.iter().find(|entry| entry.service == service).ok_or(Fault::Gone)?;
    entry.connections.clone().ok_or(Fault::State)
}

/// Sends a message to a group of an instance.
pub(crate) fn broadcast(service: u64, group: &str, message: Message<'_>) -> Result<(), Fault> {
    let (broadcast, connections) = {
        let register = read();
        let entry = register.iter().find(|entry| entry.service == service).ok_or(Fault::Gone)?;
        (entry.broadcast.clone(), entry.connections.clone())
    };
    match (broadcast, connections) {
        (Some(broadcast), _) => broadcast.send(group, message),
        (None, Some(connections)) => connections.group_send(group, message),
        (None, None) => Err(Fault::Server),
    }
}

/// Passes on what an instance says.
pub(crate) fn say(service: u64, level: u32, text: &str) {
    let listener = {
        let register = read();
        let entry = register.iter().find(|entry| entry.service == service);
        entry.map(|entry| Arc::clone(&entry.listener))
    };
    let level = match level {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Notice,
        5 => Level::Debug,
        _ => Level::Info,
    };
    if let Some(listener) = listener {
        listener(level, text);
    }
}
