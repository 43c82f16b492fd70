//! Where a worker's guests sit: found by the connection's context words, with one index and no hash.

use super::Guest;
use crate::clock::Persistence;
use crate::connection::{Phase, State};
use crate::exchange::{Course, Link};
use crate::execution::{Asked, Shared, client_of};
use crate::site_counters::Active;
use ringway_engine::{Conn, Description, Events, SendProgress, Session, Turn};
use ringway_http::head::Request;
use ringway_http::status::Status;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// One guest. Small, because there is one for each connection that waits.
#[derive(Default)]
struct Seat {
    /// Away during its turn, and for good when that has panicked.
    guest: Option<Box<dyn Guest>>,
    /// What somebody will want to know at the end.
    note: Option<Box<Note>>,
}

/// A request that was answered with a guest.
struct Note {
    shared: Rc<Shared>,
    /// What stages will be told, where there are any.
    head: Option<Box<[u8]>>,
    course: Course,
    started: Option<Instant>,
    protocol: &'static str,
    peer: Option<SocketAddr>,
    /// The site counts it as active until it is dropped.
    _active: Option<Active>,
}

/// All guests of a worker, whatever endpoint they came by: a connection keeps its guest when the protocol of its endpoint is
/// replaced by another configuration's.
#[derive(Default)]
struct Seats {
    seats: Vec<Seat>,
    free: Vec<u32>,
}

impl Seats {
    fn add(&mut self, seat: Seat) -> u32 {
        if let Some(place) = self.free.pop() {
            self.seats[place as usize] = seat;
            return place;
        }
        let place = u32::try_from(self.seats.len()).expect("fewer connections than 2^32");
        self.seats.push(seat);
        place
    }

    fn get(&mut self, place: u64) -> Option<&mut Seat> {
        self.seats.get_mut(usize::try_from(place).ok()?)
    }

    /// Leaves a place to the next one. Connections hear of their end once, so nobody leaves twice.
    fn remove(&mut self, place: u64) -> Option<Seat> {
        let seat = std::mem::take(self.get(place)?);
        self.free.extend(u32::try_from(place).ok());
        Some(seat)
    }
}

thread_local! {
    static SEATS: RefCell<Seats> = RefCell::default();
}

/// Who was at the other end of a connection that is gone.
struct Past(Option<SocketAddr>);

impl Link for Past {
    fn peer(&mut self) -> Option<SocketAddr> {
        self.0
    }

    fn session(&mut self) -> Option<Rc<Session>> {
        None
    }
}

/// Gives a connection's guest its place; the connection's state says which from now on.
pub(crate) fn seat(
    shared: &Rc<Shared>,
    asked: &Asked<'_>,
    course: &mut Course,
    link: &mut dyn Link,
    guest: Box<dyn Guest>,
    mut state: State,
) -> State {
    let note = note_of(shared, asked, course, link).map(Box::new);
    let seat = Seat { guest: Some(guest), note };
    let place = SEATS.with_borrow_mut(|seats| seats.add(seat));
    state.phase = Phase::Guest;
    state.progress = SendProgress::from_bits(u64::from(place));
    state
}

/// The turn of a connection's guest.
pub(crate) fn turn(conn: &mut Conn<'_>, state: State, events: Events) -> Turn {
    let place = state.progress.bits();
    // It is away meanwhile: whatever it does may reach for other guests' seats.
    let guest = SEATS.with_borrow_mut(|seats| seats.get(place).and_then(|seat| seat.guest.take()));
    let Some(mut guest) = guest else { return Turn::Abort };
    let turn = guest.turn(conn, events);
    SEATS.with_borrow_mut(|seats| {
        if let Some(seat) = seats.get(place) {
            seat.guest = Some(guest);
        }
    });
    turn
}

/// A guest's connection has ended.
pub(crate) fn closed(state: State) {
    let Ok(Some(seat)) = SEATS.try_with(|seats| seats.borrow_mut().remove(state.progress.bits())) else {
        return;
    };
    let Seat { guest, note } = seat;
    if let Some(note) = note {
        tell(&note, guest.as_ref().map_or(0, |guest| guest.body_bytes()));
    }
    if let Some(guest) = guest {
        guest.closed();
    }
}

/// What somebody will want to know at the end; the site's counters are told of the answer now, because how long the
/// connection was open would say nothing beside the times of answers.
fn note_of(shared: &Rc<Shared>, asked: &Asked<'_>, course: &mut Course, link: &mut dyn Link) -> Option<Note> {
    let site = shared.sites.get(course.site.unwrap_or(usize::MAX));
    if let Some(counters) = &site.counters {
        counters.served(Status::SWITCHING_PROTOCOLS.code(), 0, asked.elapsed_us());
    } else if site.served.is_empty() {
        return None;
    }
    let has_stages = !site.served.is_empty();
    Some(Note {
        shared: Rc::clone(shared),
        head: has_stages.then(|| asked.request.as_bytes().into()),
        peer: if has_stages && site.wants_details() { client_of(course, link) } else { None },
        course: Course { site: course.site, user: course.user.take(), ..Course::default() },
        started: asked.started,
        protocol: asked.protocol,
        _active: shared.enter(asked.request),
    })
}

/// Tells those who wanted to know.
fn tell(note: &Note, body_bytes: u64) {
    let shared = &note.shared;
    let site = shared.sites.get(note.course.site.unwrap_or(usize::MAX));
    if let Some(counters) = &site.counters {
        counters.body_bytes.add(body_bytes);
    }
    let Some(head) = &note.head else { return };
    let Ok(request) = Request::parse(head, &shared.limits.head) else { return };
    let Note { started, protocol, peer, .. } = *note;
    let asked = Asked { request: &request, kept: Persistence::Close, started, protocol };
    let status = Status::SWITCHING_PROTOCOLS.code();
    shared.tell_stages(site, Some(&asked), &note.course, &mut Past(peer), status, body_bytes);
}

/// What can be said of a guest's connection.
pub(crate) fn describe(state: State) -> Description {
    let facts = SEATS.try_with(|seats| {
        let mut seats = seats.borrow_mut();
        seats.get(state.progress.bits()).and_then(|seat| seat.guest.as_ref().map(|guest| guest.describe()))
    });
    let own = state.describe();
    match facts {
        Ok(Some(facts)) => Description {
            requests: facts.requests.max(own.requests),
            opened_ms: facts.opened_ms.or(own.opened_ms),
            ..facts
        },
        _ => own,
    }
}
