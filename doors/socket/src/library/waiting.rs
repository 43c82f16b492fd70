//! A library that may wait, on one of the threads it is called on: which version each connection has, and what is made of its word.

use super::Shared;
use super::serving::reason_code;
use super::shown::fault;
use super::slab::Slab;
use super::version::{Version, Versions};
use crate::blocking::{BlockingHandler, Distant, Received, SessionParts, Thread};
use crate::connection::Connection;
use crate::framing::Measure;
use crate::handler::{Closed, Handler};
use crate::message::Message;
use ringway_engine::WorkerHandle;
use ringway_plugin::abi::{closed, conn as flag, message as kind, session};
use ringway_plugin::{ConnView, Event, Fault, Key, LoadError, Measured, User, Verdict};
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// The library on a thread.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    current: RefCell<Rc<Version>>,
    entries: RefCell<Slab<Entry>>,
    waker: Waker,
    /// Names its watch.
    number: u64,
}

/// What is kept of a connection.
struct Entry {
    version: Rc<Version>,
    user: User,
    key: Key,
    reason: Option<i32>,
}

impl Waiting {
    pub(super) fn new(shared: Arc<Shared>, thread: &Thread) -> Result<Rc<Self>, LoadError> {
        let current = RefCell::new(Version::start(&shared, None)?);
        let (entries, number) = (RefCell::new(Slab::new()), Versions::next_number());
        let waiting = Self { shared, current, entries, waker: thread.waker(), number };
        waiting.watch();
        Ok(Rc::new(waiting))
    }

    /// Has this thread go over to another version although no connection comes.
    fn watch(&self) {
        loop {
            self.renew();
            self.shared.watch(self.number, &self.waker);
            // Whoever has replaced it since has not seen the waker.
            if self.current.borrow().generation() == self.shared.generation() {
                return;
            }
        }
    }

    fn renew(&self) {
        let generation = self.shared.generation();
        if self.current.borrow().generation() == generation {
            return;
        }
        match Version::start(&self.shared, None) {
            Ok(version) => drop(self.current.replace(version)),
            Err(error) => {
                self.shared.complain(format_args!("a thread goes on with the old version: {error}"));
                self.current.borrow().is_asked_for(generation);
            }
        }
    }

    fn look(&self, word: u64) -> Option<(Rc<Version>, User)> {
        self.entries.borrow().get(word).map(|entry| (Rc::clone(&entry.version), entry.user))
    }

    fn event(&self, conn: &mut Distant, event: Event) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let verdict = version.worker.event(event, &Away::new(self, word, conn, None), &mut user);
        self.settle(conn, word, user, verdict, &version, event.as_str());
    }

    /// Does what a library says of an event.
    fn settle(
        &self,
        conn: &mut Distant,
        word: u64,
        user: User,
        verdict: Verdict,
        version: &Version,
        callback: &str,
    ) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
            entry.user = user;
        }
        let said = match verdict {
            Verdict::GoOn => return,
            Verdict::Close => return conn.close(),
            Verdict::Panicked => format!("its `{callback}` panicked"),
            Verdict::Unknown(code) => format!("its `{callback}` says {code}, which means nothing"),
        };
        self.fault(conn, word, version, closed::FAULT, &said);
    }

    fn fault(&self, conn: &mut Distant, word: u64, version: &Version, reason: i32, said: &str) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
            entry.reason = Some(reason);
        }
        let file = version.file();
        match conn.peer() {
            Some(peer) => self
                .shared
                .complain(format_args!("library {file}: {said}, and the connection is reset ({peer})")),
            None => self.shared.complain(format_args!("library {file}: {said}, and the connection is reset")),
        }
        conn.abort();
    }

    fn key(&self, word: u64, conn: &Distant) -> Key {
        let known = self.entries.borrow().get(word).map(|entry| entry.key);
        match known {
            None => Key::default(),
            Some(key) if key != Key::default() => key,
            Some(_) => {
                let key = self.shared.reach.enter(conn.sender()).unwrap_or_default();
                if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
                    entry.key = key;
                }
                key
            }
        }
    }
}

impl BlockingHandler for Waiting {
    fn opened(&self, conn: &mut Distant) {
        self.renew();
        let version = Rc::clone(&self.current.borrow());
        let hears = version.table.hears_broadcasts();
        let entry = Entry { version, user: User::NONE, key: Key::default(), reason: None };
        let Some(word) = self.entries.borrow_mut().insert(entry) else { return conn.abort() };
        conn.set_user(word);
        if hears {
            conn.join(self.shared.reach.all());
        }
        self.event(conn, Event::Opened);
    }

    fn message(&self, conn: &mut Distant, message: &mut Received) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let bytes = message.payload().len();
        if bytes > version.message_bytes_max {
            let said = format!("it takes no message of {bytes} bytes");
            return self.fault(conn, word, &version, closed::LIMIT, &said);
        }
        let verdict = version.worker.message(&Away::new(self, word, conn, Some(message)), &mut user);
        self.settle(conn, word, user, verdict, &version, "message");
    }

    fn ended(&self, conn: &mut Distant) {
        self.event(conn, Event::Ended);
    }

    fn written(&self, conn: &mut Distant) {
        self.event(conn, Event::Written);
    }

    fn timeout(&self, conn: &mut Distant) {
        self.event(conn, Event::Timeout);
    }

    fn nudged(&self, conn: &mut Distant) {
        self.event(conn, Event::Nudged);
    }

    fn draining(&self, conn: &mut Distant) {
        self.event(conn, Event::Draining);
    }

    fn urgent(&self, conn: &mut Distant, byte: u8) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let verdict = version.worker.urgent(&Away::new(self, word, conn, None), &mut user, byte);
        self.settle(conn, word, user, verdict, &version, "urgent");
    }

    fn closed(&self, closed: &Closed) {
        let entry = self.entries.borrow_mut().remove(closed.user);
        let Some(Entry { version, user, key, reason }) = entry else { return };
        if key != Key::default() {
            self.shared.reach.leave(key);
        }
        version.worker.closed(user, reason.unwrap_or(reason_code(closed.reason)));
    }

    fn tick_ms(&self) -> u64 {
        self.current.borrow().table.tick_ms().map_or(0, u64::from)
    }

    fn tick(&self) {
        let version = Rc::clone(&self.current.borrow());
        version.worker.tick();
    }

    fn woken(&self) {
        self.watch();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.unwatch(self.number);
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Says on a worker how long messages are. It is told of no connection there: the word that `measure` gets is none.
pub(super) struct Measuring {
    versions: Rc<Versions>,
}

impl Measuring {
    pub(super) fn new(shared: Arc<Shared>, handle: &WorkerHandle) -> Result<Rc<Self>, LoadError> {
        Ok(Rc::new(Self { versions: Versions::new(shared, handle)? }))
    }
}

impl Handler for Measuring {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        let _handled_elsewhere = (conn, message);
    }

    fn measure(&self, _: u64, input: &[u8]) -> Measure {
        match self.versions.current().worker.measure(User::NONE, input) {
            Measured::NeedMore => Measure::NeedMore,
            Measured::Bytes(bytes) => usize::try_from(bytes).map_or(Measure::Wrong, Measure::Bytes),
            Measured::Wrong | Measured::Panicked | Measured::Unknown(_) => Measure::Wrong,
        }
    }
}

/// A connection, lent to a library on another thread than its worker's.
struct Away<'a> {
    waiting: &'a Waiting,
    word: u64,
    conn: RefCell<&'a mut Distant>,
    message: RefCell<Option<&'a mut Received>>,
    place: Option<(*mut u8, usize)>,
    kind: u32,
    is_sent: Cell<bool>,
    peer: OnceCell<Option<Box<str>>>,
    session: OnceCell<Option<SessionParts>>,
}

impl<'a> Away<'a> {
    fn new(
        waiting: &'a Waiting,
        word: u64,
        conn: &'a mut Distant,
        mut message: Option<&'a mut Received>,
    ) -> Self {
        let is_text = message.as_ref().is_some_and(|message| message.is_text());
        let place = message.as_mut().map(|message| {
            let payload = message.payload_mut();
            (payload.as_mut_ptr(), payload.len())
        });
        Self {
            waiting,
            word,
            conn: RefCell::new(conn),
            message: RefCell::new(message),
            place,
            kind: if is_text { kind::TEXT } else { kind::BINARY },
            is_sent: Cell::new(false),
            peer: OnceCell::new(),
            session: OnceCell::new(),
        }
    }

    /// Does something with a connection that is not closed.
    fn open(&self, act: impl FnOnce(&mut Distant)) -> Result<(), Fault> {
        let conn = &mut *self.conn.borrow_mut();
        if !conn.is_open() {
            return Err(Fault::Gone);
        }
        act(conn);
        Ok(())
    }
}

impl ConnView for Away<'_> {
    fn message(&self) -> Option<(*mut u8, usize)> {
        self.place
    }

    fn send(&self, message: ringway_plugin::Message<'_>) -> Result<(), Fault> {
        let conn = &mut *self.conn.borrow_mut();
        let sent = match message {
            ringway_plugin::Message::Text(text) => conn.send_text(text),
            ringway_plugin::Message::Binary(bytes) => conn.send(bytes),
        };
        sent.map_err(fault)
    }

    fn send_raw(&self, bytes: &[u8]) -> Result<(), Fault> {
        self.conn.borrow_mut().send_raw(bytes).map_err(fault)
    }

    fn send_in_place(&self, from: usize, to: usize) -> Result<(), Fault> {
        let message = self.message.borrow();
        let message = message.as_ref().filter(|_| !self.is_sent.get()).ok_or(Fault::State)?;
        let part = message.payload().get(from..to).ok_or(Fault::Invalid)?;
        let conn = &mut *self.conn.borrow_mut();
        let sent = match (message.is_text(), std::str::from_utf8(part)) {
            (true, Ok(text)) => conn.send_text(text),
            _ => conn.send(part),
        };
        sent.map_err(fault)?;
        self.is_sent.set(true);
        Ok(())
    }

    fn send_file(&self, file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), Fault> {
        let file = file.try_clone_to_owned().map_err(|_no_file| Fault::Invalid)?;
        self.conn.borrow_mut().send_file(file, offset, bytes).map_err(fault)
    }

    fn call_when_sent(&self) -> Result<(), Fault> {
        self.open(Distant::call_when_sent)
    }

    fn shut(&self) -> Result<(), Fault> {
        self.open(Distant::shut_down_write)
    }

    fn close(&self) -> Result<(), Fault> {
        self.open(Distant::close)
    }

    fn abort(&self) -> Result<(), Fault> {
        self.open(Distant::abort)
    }

    fn pause(&self, is_paused: bool) -> Result<(), Fault> {
        self.open(|conn| if is_paused { conn.pause() } else { conn.resume() })
    }

    fn set_timeout(&self, timeout_ms: u32) -> Result<(), Fault> {
        self.open(|conn| conn.set_timeout(timeout_ms.into()))
    }

    fn queued_bytes(&self) -> u64 {
        self.conn.borrow().queued_bytes() as u64
    }

    fn flags(&self) -> u32 {
        let conn = self.conn.borrow();
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        bit(conn.is_tls(), flag::TLS) | bit(conn.is_outbound(), flag::OUTBOUND)
    }

    fn kind(&self) -> u32 {
        self.kind
    }

    fn peer(&self) -> Option<&[u8]> {
        let peer = || self.conn.borrow().peer().map(|peer| peer.to_string().into());
        self.peer.get_or_init(peer).as_ref().map(|peer| peer.as_bytes())
    }

    fn session(&self, what: u32) -> Option<&[u8]> {
        let session = self.session.get_or_init(|| self.conn.borrow().session_parts());
        let [version, server_name, protocol, client] = session.as_ref()?;
        match what {
            session::VERSION => version.as_deref(),
            session::SERVER_NAME => server_name.as_deref(),
            session::PROTOCOL => protocol.as_deref(),
            session::CLIENT => client.as_deref(),
            _ => None,
        }
    }

    fn key(&self) -> Key {
        self.waiting.key(self.word, &self.conn.borrow())
    }

    fn join(&self, group: &str) -> Result<(), Fault> {
        let conn = &mut *self.conn.borrow_mut();
        self.waiting.shared.reach.with_group(group, |group| conn.join(group))
    }

    fn leave(&self, group: &str) -> Result<(), Fault> {
        let group = self.waiting.shared.reach.find_group(group).ok_or(Fault::State)?;
        self.conn.borrow_mut().leave(&group);
        Ok(())
    }
}
