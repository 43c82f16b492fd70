//! Requests as libraries see them: a view that is lent for a call, and what they say of it.

use crate::abi::{self, said};
use crate::answer::Answer;
use crate::error::Fault;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;

/// A request, as whoever has it shows it to a library. All of it is asked for on one thread, during one call; what is given
/// is the library's to look at until that call returns.
pub trait RequestView {
    /// Its method.
    fn method(&self) -> &[u8];

    /// Its target as it was sent.
    fn target(&self) -> &[u8];

    /// Its path, decoded and normal.
    fn path(&self) -> &[u8];

    /// What follows the `?`, as it was sent.
    fn query(&self) -> Option<&[u8]>;

    /// The value of the first field of that name.
    fn field(&self, name: &[u8]) -> Option<&[u8]>;

    /// Name and value of a field, in the order they were sent.
    fn field_at(&self, index: usize) -> Option<(&[u8], &[u8])>;

    /// The client's address, as text.
    fn peer(&self) -> Option<&[u8]>;

    /// Who the client has proved to be.
    fn user(&self) -> Option<&[u8]>;

    /// Bits of [`abi::flag`].
    fn flags(&self) -> u32;

    /// The number of the route that was taken; 0 without routes.
    fn route(&self) -> u32;

    /// A parameter of the route's pattern.
    fn param(&self, name: &[u8]) -> Option<&[u8]>;

    /// The first value of that name in the query, decoded.
    fn query_value(&self, name: &[u8]) -> Option<&[u8]>;

    /// The first value of that name in a body that is a form, decoded.
    fn form_value(&self, name: &[u8]) -> Option<&[u8]>;

    /// The body, if it was collected.
    fn body(&self) -> Option<&[u8]>;

    /// Takes the answer.
    ///
    /// # Errors
    /// There is one already ([`Fault::State`]), or it cannot be sent.
    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault>;

    /// Promises an answer: the promise's number.
    ///
    /// # Errors
    /// There is an answer or promise already, or there are too many.
    fn later(&self, user: User) -> Result<u64, Fault>;

    /// Has it become a WebSocket.
    ///
    /// # Errors
    /// There is an answer or promise already, the library has nothing for sockets, or the request cannot become one
    /// ([`Fault::Invalid`]), which is its answer then.
    fn open_socket(&self, user: User) -> Result<(), Fault>;

    /// Adds a field line to the answer, whatever that will be. For hooks, as what follows.
    ///
    /// # Errors
    /// It can be none, or there is no room for it; [`Fault::State`] for handlers.
    fn add_field(&self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let _no_hook = (name, value);
        Err(Fault::State)
    }

    /// Takes field lines away from the answer that is there.
    ///
    /// # Errors
    /// It is the server's own; [`Fault::State`] where there is no answer.
    fn remove_field(&self, name: &[u8]) -> Result<(), Fault> {
        let _no_hook = name;
        Err(Fault::State)
    }

    /// Says who the client has proved to be.
    ///
    /// # Errors
    /// It is no name; [`Fault::State`] where it is not the time.
    fn set_user(&self, user: &str) -> Result<(), Fault> {
        let _no_hook = user;
        Err(Fault::State)
    }

    /// The status of the answer that is there.
    fn answer_status(&self) -> Option<u16> {
        None
    }

    /// The value of the first field of that name of the answer that is there.
    fn answer_field(&self, name: &[u8]) -> Option<&[u8]> {
        let _no_hook = name;
        None
    }

    /// The first cookie of that name. For request handlers, as what follows.
    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        let _no_handler = name;
        None
    }

    /// Has the browser keep a cookie.
    ///
    /// # Errors
    /// It is none; [`Fault::State`] where it is not the time.
    fn set_cookie(&self, cookie: &Cookie<'_>) -> Result<(), Fault> {
        let _no_handler = cookie;
        Err(Fault::State)
    }

    /// A value of the browser's session.
    fn session_value(&self, name: &[u8]) -> Option<&[u8]> {
        let _no_session = name;
        None
    }

    /// Sets a value of the session, or takes it away.
    ///
    /// # Errors
    /// It would be too large; [`Fault::State`] without a session.
    fn session_set(&self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        let _no_session = (name, value);
        Err(Fault::State)
    }

    /// Who has logged in.
    fn session_user(&self) -> Option<&[u8]> {
        None
    }

    /// The session is this user's from now on.
    ///
    /// # Errors
    /// As above.
    fn session_log_in(&self, user: &str) -> Result<(), Fault> {
        let _no_session = user;
        Err(Fault::State)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// As above.
    fn session_log_out(&self) -> Result<(), Fault> {
        Err(Fault::State)
    }

    /// Answers with a file.
    ///
    /// # Errors
    /// There is an answer or promise already, or there are no files.
    fn answer_file(&self, path: &str) -> Result<(), Fault> {
        let _no_files = path;
        Err(Fault::State)
    }
}

/// A cookie that a browser is to keep.
#[derive(Clone, Copy, Debug)]
pub struct Cookie<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// How long, in seconds; `None`: until the browser is closed.
    pub max_age_s: Option<u64>,
    /// Bits of [`abi::flag`].
    pub flags: u32,
}

/// What a library knows one of its promises by. Only the library gets it back.
#[derive(Clone, Copy, Debug)]
pub struct User(*mut c_void);

// SAFETY: nobody here looks at it; the library says in which thread's hands it is good (I5).
unsafe impl Send for User {}

impl User {
    pub(crate) fn new(user: *mut c_void) -> Self {
        Self(user)
    }

    pub(crate) fn pointer(self) -> *mut c_void {
        self.0
    }

    /// None, as what a library has not set.
    pub const NONE: Self = Self(std::ptr::null_mut());

    /// Whether the library has none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// Where the library may put another one.
    pub(crate) fn place(&mut self) -> *mut *mut c_void {
        &raw mut self.0
    }
}

/// What a library says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has answered.
    Done,
    /// It will.
    Later,
    /// It is somebody else's.
    Pass,
    /// Its handler panicked.
    Panicked,
    /// What the interface does not know.
    Unknown(i32),
}

impl Said {
    pub(crate) fn of(code: i32) -> Self {
        match code {
            said::DONE => Self::Done,
            said::LATER => Self::Later,
            said::PASS => Self::Pass,
            said::PANICKED => Self::Panicked,
            code => Self::Unknown(code),
        }
    }
}

/// What a library says of a piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfBody {
    /// The next one.
    More,
    /// The next one when it asks for it.
    Pause,
    /// No more of it.
    Stop,
    /// What the interface does not know, or a panic.
    Unknown(i32),
}

impl OfBody {
    pub(crate) fn of(code: i32) -> Self {
        match code {
            said::MORE => Self::More,
            said::PAUSE => Self::Pause,
            said::STOP => Self::Stop,
            code => Self::Unknown(code),
        }
    }
}

/// How a promise was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Over {
    /// The answer is with the connection.
    Answered = 0,
    /// The client is gone.
    Gone = 1,
    /// No answer came in time.
    Late = 2,
    /// The request's body could not be read to its end.
    Body = 3,
    /// Given up by the library, or for a fault of it.
    Aborted = 4,
}

/// A WebSocket, as whoever has it shows it to a library: on one thread, during one call.
pub trait SocketView {
    /// Sends a message.
    ///
    /// # Errors
    /// It is closed ([`Fault::Gone`]), or too much waits ([`Fault::Full`]).
    fn send(&self, message: Message<'_>) -> Result<(), Fault>;

    /// Closes it.
    ///
    /// # Errors
    /// No such code may be sent.
    fn close(&self, code: u16, reason: &str) -> Result<(), Fault>;

    /// Becomes a member of a group.
    ///
    /// # Errors
    /// Of too many.
    fn join(&self, group: &str) -> Result<(), Fault>;

    /// Is a member no more.
    ///
    /// # Errors
    /// It was none.
    fn leave(&self, group: &str) -> Result<(), Fault>;
}

/// A message of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    pub(crate) fn read(kind: u32, bytes: &'a [u8]) -> Result<Self, Fault> {
        match kind {
            abi::message::TEXT => str::from_utf8(bytes).map(Message::Text).map_err(|_no_text| Fault::Invalid),
            abi::message::BINARY => Ok(Self::Binary(bytes)),
            _ => Err(Fault::Invalid),
        }
    }

    pub(crate) fn parts(self) -> (u32, &'a [u8]) {
        match self {
            Self::Text(text) => (abi::message::TEXT, text.as_bytes()),
            Self::Binary(bytes) => (abi::message::BINARY, bytes),
        }
    }
}

/// Where a thread's requests, or sockets, are looked at, one at a time.
struct Desk<V: ?Sized> {
    view: Cell<Option<NonNull<V>>>,
}

impl<V: ?Sized> Desk<V> {
    const fn new() -> Self {
        Self { view: Cell::new(None) }
    }

    /// Shows a view while `call` lasts, which is given where.
    fn lend<R>(&self, view: NonNull<V>, call: impl FnOnce(*const ()) -> R) -> R {
        let _lent = Lent { desk: self, before: self.view.replace(Some(view)) };
        call(std::ptr::from_ref(self).cast())
    }

    /// The view, if this is where `pointer` leads.
    fn find(&self, pointer: *const ()) -> Option<NonNull<V>> {
        self.view.get().filter(|_| std::ptr::from_ref(self).cast() == pointer)
    }
}

thread_local! {
    static REQUESTS: Desk<dyn RequestView> = const { Desk::new() };
    static SOCKETS: Desk<dyn SocketView> = const { Desk::new() };
    /// Whether libraries are called on this thread: a worker.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Puts a view back where it was, however the call ends.
struct Lent<'a, V: ?Sized> {
    desk: &'a Desk<V>,
    before: Option<NonNull<V>>,
}

impl<V: ?Sized> Drop for Lent<'_, V> {
    fn drop(&mut self) {
        self.desk.view.set(self.before);
    }
}

/// Shows a request to whoever is called with the pointer, while that lasts.
pub(crate) fn lend<R>(view: &dyn RequestView, call: impl FnOnce(*const abi::Request) -> R) -> R {
    let view = NonNull::from_ref(view);
    // SAFETY: only the lifetime is forgotten; the view is taken away before this returns (I6).
    let view = unsafe { std::mem::transmute::<NonNull<dyn RequestView>, NonNull<dyn RequestView>>(view) };
    REQUESTS.with(|desk| desk.lend(view, |place| call(place.cast())))
}

/// The same of a socket.
pub(crate) fn lend_socket<R>(view: &dyn SocketView, call: impl FnOnce(*const abi::Socket) -> R) -> R {
    let view = NonNull::from_ref(view);
    // SAFETY: only the lifetime is forgotten; the view is taken away before this returns (I6).
    let view = unsafe { std::mem::transmute::<NonNull<dyn SocketView>, NonNull<dyn SocketView>>(view) };
    SOCKETS.with(|desk| desk.lend(view, |place| call(place.cast())))
}

/// Looks at the request behind a library's pointer, if that is good here and now.
pub(crate) fn with_view<R>(
    request: *const abi::Request,
    look: impl FnOnce(&dyn RequestView) -> R,
) -> Option<R> {
    // A thread that is ending has none.
    let view = REQUESTS.try_with(|desk| desk.find(request.cast())).ok().flatten()?;
    // SAFETY: it is this thread's desk, whose view is there while the call lasts that lent it, which is below us (I6).
    Some(look(unsafe { view.as_ref() }))
}

/// The same of a socket; without one the thread is wrong.
pub(crate) fn with_socket(
    socket: *const abi::Socket,
    act: impl FnOnce(&dyn SocketView) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let view = SOCKETS.try_with(|desk| desk.find(socket.cast())).ok().flatten().ok_or(Fault::Thread)?;
    // SAFETY: it is this thread's desk, whose view is there while the call lasts that lent it, which is below us (I6).
    act(unsafe { view.as_ref() })
}

/// Notes that this thread is a worker: it must not wait.
pub fn note_worker() {
    IS_WORKER.set(true);
}

/// Whether this thread is a worker on which libraries are called: it must not wait.
#[must_use]
pub fn is_worker() -> bool {
    IS_WORKER.try_with(Cell::get).unwrap_or(false)
}
