//! What a connection has received, taken apart and handled message by message, as long as there is room for the answers.

use crate::connection::{Connection, Intent, Work};
use crate::framing::{Found, Framing, FramingFault};
use crate::handler::Reason;
use crate::message::{Message, Place};
use crate::owner::Owner;
use crate::state::{Facts, Phase};
use ringway_engine::Conn;
use ringway_engine::ring::{SLICE_BYTES_MAX, Slice};
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

/// Bytes that may wait to be sent while the peer's messages are still taken.
pub(crate) const WAITING_BYTES_MAX: usize = 64 * 1024;

/// How a connection begins.
pub(crate) fn first_phase(work: &mut Work, now_ms: u64) -> Phase {
    let terms = &work.owner.terms;
    let limits = terms.limits;
    let (phase, until_ms) = match terms.framing {
        _ if work.word.facts.has(Facts::OUTBOUND) => return Phase::Raw,
        Framing::WebSocket => (Phase::Upgrading, limits.read_ms_max),
        Framing::Auto(_) => (Phase::Deciding, terms.framing_limits.auto_wait_ms.max(1)),
        _ => return Phase::Raw,
    };
    if until_ms > 0 {
        work.rare().phase_until_ms = now_ms.saturating_add(until_ms);
    }
    phase
}

/// The time of the phase is over.
pub(crate) fn phase_is_over(work: &mut Work, conn: &mut Conn<'_>) {
    work.rare().phase_until_ms = 0;
    let has_begun = work.rare().seen > 0;
    match work.word.phase {
        Phase::Deciding if has_begun => {
            become_raw(work, conn);
            read(work, conn);
        }
        // Who says nothing may want to be spoken to first. What it says first still counts.
        Phase::Deciding => work.tell_opened(conn),
        Phase::Upgrading => {
            work.owner.counters.timeouts.add(1);
            work.fail(conn, Intent::Abort, Reason::Slow);
        }
        #[cfg(feature = "websockets")]
        Phase::WebSocket => work.end(Intent::Close, Reason::WebSocket(1006)),
        _ => {}
    }
}

/// It is no WebSocket.
pub(crate) fn become_raw(work: &mut Work, conn: &mut Conn<'_>) {
    work.word.phase = Phase::Raw;
    let rare = work.rare();
    rare.phase_until_ms = 0;
    rare.seen = 0;
    rare.began_ms = 0;
    work.tell_opened(conn);
}

/// Handles what has come.
pub(crate) fn read(work: &mut Work, conn: &mut Conn<'_>) {
    while may_read(work, conn) {
        let goes_on = match work.word.phase {
            Phase::Raw if work.rare.as_ref().is_some_and(|rare| !rare.assembly.is_empty()) => {
                assemble(work, conn)
            }
            Phase::Raw => read_next(work, conn),
            #[cfg(feature = "websockets")]
            Phase::Deciding | Phase::Upgrading => crate::websocket::begin(work, conn),
            #[cfg(feature = "websockets")]
            Phase::WebSocket => crate::websocket::read(work, conn),
            #[cfg(not(feature = "websockets"))]
            Phase::Deciding | Phase::Upgrading | Phase::WebSocket => {
                work.fail(conn, Intent::Abort, Reason::Upgrade);
                false
            }
        };
        if !goes_on {
            return;
        }
    }
    if work.intent != Intent::Stay {
        // Nobody will read it.
        while conn.take().is_some() {}
    }
}

pub(crate) fn may_read(work: &mut Work, conn: &mut Conn<'_>) -> bool {
    if work.intent != Intent::Stay || work.word.facts.has(Facts::PAUSED) {
        return false;
    }
    if !work.has_room() {
        work.out.flush(conn);
        let queued = if conn.is_flushed() { 0 } else { conn.queued_bytes() };
        work.out.recount(queued);
    }
    work.has_room()
}

/// Takes what is unread beyond `seen` bytes that were looked at, writable. `None`: there is no more, or no memory.
pub(crate) fn take(work: &mut Work, conn: &mut Conn<'_>, seen: usize) -> Option<Slice> {
    let input = if seen > 0 { conn.take_joined_beyond(seen) } else { conn.take() };
    let mut input = input?;
    if input.len() <= seen && input.len() < SLICE_BYTES_MAX {
        conn.unread(input);
        return None;
    }
    if input.unique_mut().is_none() {
        // Somebody else sees these bytes: answers in place are made elsewhere.
        match conn.pool().copy_of(&input) {
            Some(copy) => input = copy,
            None => {
                work.fail(conn, Intent::Abort, Reason::NoMemory);
                return None;
            }
        }
    }
    Some(input)
}

/// Handles the next piece of input; false when there is none that leads to anything.
fn read_next(work: &mut Work, conn: &mut Conn<'_>) -> bool {
    let seen = work.rare.as_ref().map_or(0, |rare| rare.seen);
    let Some(mut input) = take(work, conn, seen) else { return false };
    work.out.expect(input.len());
    let (at, left) = feed(work, conn, &mut input, seen);
    work.out.finish(conn, &input);
    work.owner.counters.bytes_in.add(at as u64);
    let rest_is_long = input.len() - at >= SLICE_BYTES_MAX;
    input.advance(at);
    match left {
        Left::Nothing => note_rest(work, conn, 0, None),
        Left::Part(total) => {
            note_rest(work, conn, input.len(), total);
            if rest_is_long || total.is_some_and(|total| total > SLICE_BYTES_MAX) {
                return begin_assembly(work, conn, &input);
            }
        }
        Left::Unseen => note_rest(work, conn, 0, None),
    }
    if work.intent == Intent::Stay {
        conn.unread(input);
    }
    true
}

/// What is left of an input.
enum Left {
    Nothing,
    /// The beginning of a message, of so many bytes if that is known.
    Part(Option<usize>),
    /// What was not looked at, for want of room for answers.
    Unseen,
}

/// Handles the whole messages in the input; where what follows them begins, and what it is.
fn feed(work: &mut Work, conn: &mut Conn<'_>, input: &mut Slice, seen: usize) -> (usize, Left) {
    let owner = Rc::clone(&work.owner);
    let Some(bytes) = input.unique_mut() else { return (0, Left::Unseen) };
    let mut at = 0;
    let mut seen = seen;
    loop {
        let rest = &mut bytes[at..];
        if rest.is_empty() {
            return (at, Left::Nothing);
        }
        match find(&owner, work.user, rest, std::mem::take(&mut seen)) {
            Found::Whole { total, payload } => {
                let message = Message::new(&mut rest[..total], payload, Place::Input(at));
                handle(&owner, work, conn, message);
                at += total;
            }
            Found::NeedMore(total) => return (at, Left::Part(total)),
            Found::Wrong(fault) => {
                work.fail(conn, Intent::Close, Reason::Framing(fault));
                return (bytes.len(), Left::Nothing);
            }
        }
        if work.intent != Intent::Stay {
            return (bytes.len(), Left::Nothing);
        }
        if work.word.facts.has(Facts::PAUSED) || !work.has_room() {
            return (at, Left::Unseen);
        }
    }
}

fn find(owner: &Owner, user: u64, input: &[u8], seen: usize) -> Found {
    let terms = &owner.terms;
    let measure = &mut |input: &[u8]| owner.handler.measure(user, input);
    terms.framing.next(input, seen, &terms.framing_limits, measure)
}

/// Gives a message to the handler.
#[inline]
pub(crate) fn handle(owner: &Rc<Owner>, work: &mut Work, conn: &mut Conn<'_>, message: Message<'_>) {
    owner.counters.messages_in.add(1);
    owner.trace(conn, true, message.payload());
    let timed = owner.is_timed().then(Instant::now);
    owner.handler.message(&mut Connection { conn: conn.reborrow(), work }, message);
    if let Some(began) = timed {
        owner.counters.time(began.elapsed());
    }
}

/// Keeps how much of a message under way was looked at.
pub(crate) fn note_rest(work: &mut Work, conn: &Conn<'_>, seen: usize, total: Option<usize>) {
    if seen == 0 && work.rare.is_none() {
        return;
    }
    let now_ms = conn.now_ms().max(1);
    let rare = work.rare();
    rare.seen = seen;
    rare.total = total;
    if seen == 0 {
        rare.began_ms = 0;
    } else if rare.began_ms == 0 {
        rare.began_ms = now_ms;
        work.is_due_new = true;
    }
}

/// A message is too long for one slice: it goes on in memory of its own.
fn begin_assembly(work: &mut Work, conn: &mut Conn<'_>, input: &Slice) -> bool {
    if !work.owner.reserve(input.len()) {
        work.fail(conn, Intent::Abort, Reason::NoMemory);
        return false;
    }
    work.owner.counters.bytes_in.add(input.len() as u64);
    work.rare().assembly.extend_from_slice(input);
    true
}

/// Adds what came to a message that is assembled, and handles it when it is whole; false when nothing came.
fn assemble(work: &mut Work, conn: &mut Conn<'_>) -> bool {
    let Some(mut input) = take(work, conn, 0) else { return false };
    let (owner, user) = (Rc::clone(&work.owner), work.user);
    let rare = work.rare();
    let had = rare.assembly.len();
    let missing = rare.total.map_or(usize::MAX, |total| total.saturating_sub(had));
    let count = input.len().min(missing);
    if !owner.reserve(count) {
        work.fail(conn, Intent::Abort, Reason::NoMemory);
        return false;
    }
    rare.assembly.extend_from_slice(&input[..count]);
    // The handler need not be asked again for what it has said.
    let found = match rare.total {
        Some(total) if rare.assembly.len() < total => Found::NeedMore(Some(total)),
        _ => find(&owner, user, &rare.assembly, had),
    };
    match found {
        Found::Whole { total, payload } => {
            let used = total.saturating_sub(had).min(count);
            owner.counters.bytes_in.add(used as u64);
            input.advance(used);
            conn.unread(input);
            let assembly = std::mem::take(&mut rare.assembly);
            owner.give_back(assembly.len());
            note_rest(work, conn, 0, None);
            assembled(work, conn, assembly, total, payload);
        }
        Found::NeedMore(total) => {
            rare.total = total;
            owner.counters.bytes_in.add(count as u64);
            input.advance(count);
            conn.unread(input);
        }
        Found::Wrong(fault) => work.fail(conn, Intent::Close, Reason::Framing(fault)),
    }
    true
}

fn assembled(work: &mut Work, conn: &mut Conn<'_>, mut bytes: Vec<u8>, total: usize, payload: Range<usize>) {
    let owner = Rc::clone(&work.owner);
    let Some(whole) = bytes.get_mut(..total) else {
        return work.fail(conn, Intent::Abort, Reason::Framing(FramingFault::Measure));
    };
    handle(&owner, work, conn, Message::new(whole, payload, Place::Apart));
}
