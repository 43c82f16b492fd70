//! A library on a worker: which version each connection has, what it is told, and what is made of its word.

use super::Shared;
use super::outward::Outward;
use super::reach::Reach;
use super::shown::Shown;
use super::slab::Slab;
use super::version::{Version, Versions};
use crate::connection::Connection;
use crate::framing::Measure;
use crate::handler::{Closed, Handler, Reason};
use crate::log::Level;
use crate::message::Message;
use crate::outbound::Connector;
use crate::remote::Sender;
use ringway_engine::WorkerHandle;
use ringway_plugin::abi::closed;
use ringway_plugin::{Event, Key, LoadError, Measured, User, Verdict};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// The handler of a worker.
pub(crate) struct Serving {
    versions: Rc<Versions>,
    entries: Rc<RefCell<Slab<Entry>>>,
    outward: Rc<Outward>,
    connector: OnceCell<Connector>,
}

/// What is kept of a connection.
pub(super) struct Entry {
    version: Rc<Version>,
    user: User,
    /// What it is reached by, where that was asked for; zeros else.
    key: Key,
    /// How it is reached when its version goes, if it is maintained.
    maintained: Option<Upkeep>,
    /// Why it ends, where the engine's room cannot know.
    reason: Option<i32>,
}

/// What is kept of connections that are maintained.
enum Upkeep {
    /// What each of them begins with. It is none itself.
    Mould,
    /// One of them.
    Live(Sender),
}

impl Serving {
    pub(super) fn new(shared: Arc<Shared>, handle: &WorkerHandle) -> Result<Rc<Self>, LoadError> {
        let outward = Outward::new(shared.reach.id());
        let versions = Versions::new(shared, handle)?;
        let entries: Rc<RefCell<Slab<Entry>>> = Rc::new(RefCell::new(Slab::new()));
        let serving = Rc::new(Self { versions, entries, outward, connector: OnceCell::new() });
        serving.outward.begin(&serving);
        let own = Rc::downgrade(&serving);
        serving.versions.tell(move |version| {
            if let Some(serving) = own.upgrade() {
                serving.renewed(version);
            }
        });
        Ok(serving)
    }

    /// Another version has come: what an older one has maintained ends, and what the new one has wanted is made.
    fn renewed(&self, version: &Rc<Version>) {
        let is_over = |entry: &Entry| {
            let is_mould = matches!(entry.maintained, Some(Upkeep::Mould));
            if let Some(Upkeep::Live(sender)) = &entry.maintained
                && !Rc::ptr_eq(&entry.version, version)
            {
                // One that has ended already does not hear of it.
                let _ended = sender.close();
            }
            is_mould && !Rc::ptr_eq(&entry.version, version)
        };
        let moulds = self.entries.borrow_mut().drain(is_over);
        drop(moulds);
        self.connect_waiting();
    }

    fn connect_waiting(&self) {
        for wanted in self.outward.take_waiting() {
            let (instance, user) = (wanted.instance, wanted.user);
            let made = self.connect(wanted);
            if let (Err(_fault), Some(version)) = (made, self.versions.of_instance(instance)) {
                version.worker.closed(user, closed::UNREACHABLE);
            }
        }
    }

    pub(super) fn connector(&self) -> Option<&Connector> {
        self.connector.get()
    }

    /// Whether connections can be made for an instance by now.
    pub(super) fn may_connect(&self, instance: u64) -> bool {
        self.connector.get().is_some() && self.versions.of_instance(instance).is_some()
    }

    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.versions.shared().reach
    }

    /// Keeps what is known of a connection that is to be: its word.
    pub(super) fn prepare(&self, version: Rc<Version>, user: User, is_mould: bool) -> Option<u64> {
        let maintained = is_mould.then_some(Upkeep::Mould);
        let entry = Entry { version, user, key: Key::default(), maintained, reason: None };
        self.entries.borrow_mut().insert(entry)
    }

    /// It will not be, and the library knows.
    pub(super) fn forget(&self, word: u64) {
        let entry = self.entries.borrow_mut().remove(word);
        drop(entry);
    }

    /// The word of a connection that begins.
    fn begin(&self, conn: &mut Connection<'_>) -> Option<u64> {
        let prepared = conn.user();
        if prepared == 0 {
            return self.prepare(self.versions.current(), User::NONE, false);
        }
        let mould = {
            let entries = self.entries.borrow();
            let entry = entries.get(prepared)?;
            entry.maintained.is_some().then(|| (Rc::clone(&entry.version), entry.user))
        };
        let Some((version, user)) = mould else { return Some(prepared) };
        let maintained = Some(Upkeep::Live(conn.sender()));
        let entry = Entry { version, user, key: Key::default(), maintained, reason: None };
        self.entries.borrow_mut().insert(entry)
    }

    /// The key of a connection.
    pub(super) fn key(&self, word: u64, conn: &mut Connection<'_>) -> Key {
        let known = self.entries.borrow().get(word).map(|entry| entry.key);
        match known {
            None => Key::default(),
            Some(key) if key != Key::default() => key,
            Some(_) => {
                let key = self.reach().enter(conn.sender()).unwrap_or_default();
                if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
                    entry.key = key;
                }
                key
            }
        }
    }

    fn event(&self, conn: &mut Connection<'_>, event: Event) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let verdict = version.worker.event(event, &Shown::new(self, word, conn, None), &mut user);
        self.settle(conn, word, user, verdict, &version, event.as_str());
    }

    #[inline]
    fn look(&self, word: u64) -> Option<(Rc<Version>, User)> {
        let entries = self.entries.borrow();
        entries.get(word).map(|entry| (Rc::clone(&entry.version), entry.user))
    }

    /// Does what a library says of an event.
    #[inline]
    fn settle(
        &self,
        conn: &mut Connection<'_>,
        word: u64,
        user: User,
        verdict: Verdict,
        version: &Version,
        callback: &str,
    ) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
            entry.user = user;
        }
        match verdict {
            Verdict::GoOn => {}
            Verdict::Close => conn.close(),
            Verdict::Panicked => self.fault(conn, word, version, closed::FAULT, || {
                format!("its `{callback}` panicked, and the connection is reset")
            }),
            Verdict::Unknown(code) => self.fault(conn, word, version, closed::FAULT, || {
                format!("its `{callback}` says {code}, which means nothing, and the connection is reset")
            }),
        }
    }

    /// A library is at fault: that costs the connection.
    #[cold]
    fn fault(
        &self,
        conn: &mut Connection<'_>,
        word: u64,
        version: &Version,
        reason: i32,
        text: impl FnOnce() -> String,
    ) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(word) {
            entry.reason = Some(reason);
        }
        let line = std::cell::Cell::new(Some(text));
        let owner = Rc::clone(&conn.work.owner);
        owner.counters.faults.add(1);
        let peer = conn.peer();
        owner.log(Level::Error, conn.now_ms(), &|| {
            let text = line.take().map(|text| text()).unwrap_or_default();
            match peer {
                Some(peer) => format!("library {}: {text} ({peer})", version.file()),
                None => format!("library {}: {text}", version.file()),
            }
        });
        conn.abort();
    }

    fn end(&self, word: u64, reason: i32) {
        // Whatever its end calls finds the table free.
        let entry = self.entries.borrow_mut().remove(word);
        let Some(Entry { version, user, key, reason: own, .. }) = entry else { return };
        if key != Key::default() {
            self.reach().leave(key);
        }
        version.worker.closed(user, own.unwrap_or(reason));
    }
}

impl Handler for Serving {
    fn started(&self, connector: &Connector) {
        self.connector.get_or_init(|| connector.clone());
        self.connect_waiting();
    }

    fn opened(&self, conn: &mut Connection<'_>) {
        let word = self.begin(conn);
        conn.set_user(word.unwrap_or(0));
        let Some(word) = word else { return conn.abort() };
        let hears = self.look(word).is_some_and(|(version, _)| version.table.hears_broadcasts());
        if hears {
            conn.join(self.reach().all());
        }
        self.event(conn, Event::Opened);
    }

    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let bytes = message.len();
        if bytes > version.message_bytes_max {
            let what = || format!("it takes no message of {bytes} bytes, and the connection is reset");
            return self.fault(conn, word, &version, closed::LIMIT, what);
        }
        let verdict = {
            let shown = Shown::new(self, word, conn, Some(message));
            version.worker.message(&shown, &mut user)
        };
        self.settle(conn, word, user, verdict, &version, "message");
    }

    fn ended(&self, conn: &mut Connection<'_>) {
        self.event(conn, Event::Ended);
    }

    fn written(&self, conn: &mut Connection<'_>) {
        self.event(conn, Event::Written);
    }

    fn timeout(&self, conn: &mut Connection<'_>) {
        self.event(conn, Event::Timeout);
    }

    fn nudged(&self, conn: &mut Connection<'_>) {
        self.event(conn, Event::Nudged);
    }

    fn draining(&self, conn: &mut Connection<'_>) {
        self.event(conn, Event::Draining);
    }

    fn urgent(&self, conn: &mut Connection<'_>, byte: u8) {
        let word = conn.user();
        let Some((version, mut user)) = self.look(word) else { return };
        let verdict = version.worker.urgent(&Shown::new(self, word, conn, None), &mut user, byte);
        self.settle(conn, word, user, verdict, &version, "urgent");
    }

    fn closed(&self, closed: &Closed) {
        self.end(closed.user, reason_code(closed.reason));
    }

    fn measure(&self, word: u64, input: &[u8]) -> Measure {
        let Some((version, user)) = self.look(word) else { return Measure::Wrong };
        match version.worker.measure(user, input) {
            Measured::NeedMore => Measure::NeedMore,
            Measured::Wrong => Measure::Wrong,
            Measured::Bytes(bytes) => usize::try_from(bytes).map_or(Measure::Wrong, Measure::Bytes),
            said @ (Measured::Panicked | Measured::Unknown(_)) => {
                self.versions.complain(format_args!(
                    "library {}: its `measure` says {said:?}, which means nothing, and the connection is closed",
                    version.file()
                ));
                Measure::Wrong
            }
        }
    }
}

/// What a library is told of a connection's end.
pub(super) fn reason_code(reason: Reason) -> i32 {
    match reason {
        Reason::Peer => closed::PEER,
        Reason::Handler => closed::HANDLER,
        Reason::Broken | Reason::CutOff => closed::BROKEN,
        Reason::Idle | Reason::Slow | Reason::Stalled | Reason::Full => closed::TIME,
        Reason::Framing(_) | Reason::Urgent | Reason::Upgrade => closed::LIMIT,
        Reason::Panicked => closed::FAULT,
        Reason::NoMemory | Reason::Busy => closed::SERVER,
        Reason::Unreachable => closed::UNREACHABLE,
        Reason::WebSocket(code) => code.into(),
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("versions", &self.versions).finish_non_exhaustive()
    }
}
