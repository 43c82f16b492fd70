//! A worker's side of handlers on other threads: events go there, what they want is done here.

use super::lanes::Lanes;
use super::link::{Act, Event, Known, KnownSession, Link};
use crate::connection::Connection;
use crate::framing::Measure;
use crate::handler::{Closed, Handler, Reason, SendError};
use crate::log::Level;
use crate::message::Message;
use ringway_engine::ring::Handle;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The handler of a worker. A connection's word is its place, counted from 1.
pub(super) struct Moved {
    lanes: Arc<Lanes>,
    measure: Option<Rc<dyn Handler>>,
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    places: Vec<Option<Rc<Entry>>>,
    free: Vec<usize>,
}

struct Entry {
    link: Arc<Link>,
    /// There is no room for events.
    is_full: Cell<bool>,
    /// The handler wants no messages.
    is_held: Cell<bool>,
}

impl Moved {
    pub(super) fn new(lanes: Arc<Lanes>, measure: Option<Rc<dyn Handler>>) -> Self {
        Self { lanes, measure, entries: RefCell::default() }
    }

    fn entry(&self, word: u64) -> Option<Rc<Entry>> {
        let place = usize::try_from(word.checked_sub(1)?).ok()?;
        self.entries.borrow().places.get(place).cloned().flatten()
    }

    fn tell(&self, conn: &mut Connection<'_>, event: Event) {
        let Some(entry) = self.entry(conn.user()) else { return };
        if entry.link.tell(event) && !entry.is_full.replace(true) {
            conn.pause();
        }
    }
}

impl Entries {
    fn insert(&mut self, entry: Entry) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(Rc::new(entry));
        place as u64 + 1
    }

    fn remove(&mut self, word: u64) -> Option<Rc<Entry>> {
        let place = usize::try_from(word.checked_sub(1)?).ok()?;
        let entry = self.places.get_mut(place)?.take();
        self.free.extend(entry.is_some().then_some(place));
        entry
    }
}

impl Handler for Moved {
    fn opened(&self, conn: &mut Connection<'_>) {
        let lane = match self.lanes.choose() {
            Ok(lane) => lane,
            Err(error) => {
                let (owner, now_ms) = (Rc::clone(&conn.work.owner), conn.now_ms());
                owner.log(Level::Error, now_ms, &|| format!("no thread for its handler: {error}"));
                return conn.abort();
            }
        };
        let session = conn.session().map(|session| KnownSession {
            version: (*session.protocol).into(),
            server_name: session.server_name.as_deref().map(Into::into),
            protocol: (*session.alpn).into(),
            client: session.client_certificate.as_ref().map(|client| (*client.subject).into()),
        });
        let known = Known {
            peer: conn.peer(),
            is_websocket: conn.is_websocket(),
            is_outbound: conn.is_outbound(),
            session,
        };
        let queue_max = conn.work.owner.terms.limits.queue_bytes_max;
        let link = Arc::new(Link::new(known, conn.sender(), lane, queue_max));
        let entry = Entry { link, is_full: Cell::new(false), is_held: Cell::new(false) };
        let word = self.entries.borrow_mut().insert(entry);
        conn.set_user(word);
        self.tell(conn, Event::Opened);
    }

    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        self.tell(conn, Event::Message(message.payload().into(), message.is_text()));
    }

    fn ended(&self, conn: &mut Connection<'_>) {
        self.tell(conn, Event::Ended);
    }

    fn written(&self, conn: &mut Connection<'_>) {
        self.tell(conn, Event::Written);
    }

    fn timeout(&self, conn: &mut Connection<'_>) {
        self.tell(conn, Event::Timeout);
    }

    fn urgent(&self, conn: &mut Connection<'_>, byte: u8) {
        self.tell(conn, Event::Urgent(byte));
    }

    fn nudged(&self, conn: &mut Connection<'_>) {
        let Some(entry) = self.entry(conn.user()) else { return };
        match entry.link.acts() {
            None => self.tell(conn, Event::Nudged),
            Some(acts) => {
                let bytes = acts.iter().map(Act::bytes).sum();
                acts.into_iter().for_each(|act| perform(&entry, conn, act));
                entry.link.acted(bytes, conn.queued_bytes());
                if entry.is_full.get() && entry.link.has_room_again() {
                    hold(&entry, conn, false, entry.is_held.get());
                }
            }
        }
    }

    fn draining(&self, conn: &mut Connection<'_>) {
        self.tell(conn, Event::Draining);
    }

    fn closed(&self, closed: &Closed) {
        let Some(entry) = self.entries.borrow_mut().remove(closed.user) else { return };
        entry.link.close();
        entry.link.tell(Event::Closed(closed.reason));
    }

    fn measure(&self, user: u64, input: &[u8]) -> Measure {
        let Some(handler) = &self.measure else { return Measure::Bytes(input.len()) };
        let own = self.entry(user).map_or(0, |entry| entry.link.user.load(Ordering::Relaxed));
        handler.measure(own, input)
    }
}

/// Does what a handler wanted elsewhere.
fn perform(entry: &Entry, conn: &mut Connection<'_>, act: Act) {
    let sent = match act {
        Act::Send(bytes, true) => conn.send_text(&String::from_utf8_lossy(&bytes)),
        Act::Send(bytes, false) => conn.send(&bytes),
        Act::Raw(bytes) => conn.send_raw(&bytes),
        Act::File(file, offset, bytes) => conn.send_file(Handle::new(file), offset, bytes),
        other => return order(entry, conn, other),
    };
    // Who sent it is not there to hear of it, and what comes behind it would be misunderstood.
    match sent {
        Ok(()) | Err(SendError::Closed) => {}
        Err(error) => {
            let (owner, now_ms) = (Rc::clone(&conn.work.owner), conn.now_ms());
            owner.log(Level::Error, now_ms, &|| format!("a connection is reset: {error}"));
            conn.abort();
        }
    }
}

fn order(entry: &Entry, conn: &mut Connection<'_>, act: Act) {
    match act {
        Act::Send(..) | Act::Raw(_) | Act::File(..) => {}
        Act::Shut => conn.shut_down_write(),
        Act::Close => conn.close(),
        Act::CloseWith(code, reason) => conn.close_with(code, &reason),
        Act::Abort => conn.abort(),
        Act::Timeout(in_ms) => conn.set_timeout(in_ms),
        Act::Pause(is_held) => hold(entry, conn, entry.is_full.get(), is_held),
        Act::Room => hold(entry, conn, false, entry.is_held.get()),
        Act::WhenSent => conn.call_when_sent(),
        Act::Join(group) => {
            let _one_too_many = conn.join(&group);
        }
        Act::Leave(group) => {
            let _was_no_member = conn.leave(&group);
        }
        Act::Panicked(said) => {
            let (owner, now_ms) = (Rc::clone(&conn.work.owner), conn.now_ms());
            owner.counters.panics.add(1);
            owner.log(Level::Error, now_ms, &|| {
                format!("the handler panicked; its connection is reset: {said}")
            });
            conn.work.end(crate::connection::Intent::Abort, Reason::Panicked);
        }
    }
}

/// Takes messages or does not, for two who may have reasons.
fn hold(entry: &Entry, conn: &mut Connection<'_>, is_full: bool, is_held: bool) {
    entry.is_full.set(is_full);
    entry.is_held.set(is_held);
    if is_full || is_held { conn.pause() } else { conn.resume() }
}
