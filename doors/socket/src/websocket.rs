//! WebSockets (RFC 6455) on endpoints of messages: the upgrade, told from raw traffic, and what comes in frames.

use crate::connection::{Connection, Intent, Work};
use crate::framing::FRAME_BYTES_MAX;
use crate::handler::Reason;
use crate::message::{Message as Handed, Place as At};
use crate::reading;
use crate::state::{Facts, Phase};
use ringway_engine::Conn;
use ringway_engine::ring::Slice;
use ringway_http::head::{HeadScan, Limits as HeadLimits, Request};
use ringway_http::status::Status;
use ringway_ws::Role;
use ringway_ws::close as close_frame;
use ringway_ws::close::{CONTROL_FRAME_BYTES_MAX, Close, CloseState};
use ringway_ws::code::CloseCode;
use ringway_ws::decoder::{Decoder, Event, Limits, Message, Owned, Place, Step};
use ringway_ws::fault::Fault;
use ringway_ws::frame::{CONTROL_BYTES_MAX, HEAD_BYTES_MAX, Head, Opcode};
use ringway_ws::handshake::{Refusal, Upgrade};
use std::ops::Range;
use std::rc::Rc;

/// How long the other end's close frame is awaited, in milliseconds.
const CLOSE_MS_MAX: u64 = 5_000;

/// A WebSocket's state between turns.
#[derive(Debug)]
pub(crate) struct Session {
    decoder: Decoder,
    close: CloseState,
}

/// A frame's head, written to the end of `out`; its length.
pub(crate) fn head(payload: u64, is_text: bool, out: &mut [u8; FRAME_BYTES_MAX]) -> usize {
    let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
    let head = Head { length: payload, ..Head::of_server(opcode, 0) };
    let mut written = [0; HEAD_BYTES_MAX];
    let len = head.write(&mut written);
    out[FRAME_BYTES_MAX - len..].copy_from_slice(&written[..len]);
    len
}

/// What the beginning of a connection is.
enum Beginning {
    /// No request for a WebSocket.
    Raw,
    /// It may become one.
    Open,
    /// One that is answered with this, and where what follows it begins.
    Upgrade(usize, Vec<u8>),
    Refused(Refusal),
}

/// Looks at what a connection begins with; false when more of it must come.
pub(crate) fn begin(work: &mut Work, conn: &mut Conn<'_>) -> bool {
    let seen = work.rare.as_ref().map_or(0, |rare| rare.seen);
    let Some(mut input) = reading::take(work, conn, seen) else { return false };
    let may_be_raw = work.word.phase == Phase::Deciding;
    // Who has been greeted in another protocol does not ask for this one.
    let is_raw = may_be_raw && work.word.facts.has(Facts::SPOKEN);
    let beginning = if is_raw { Beginning::Raw } else { look(&input, &work.owner.terms.origins) };
    match beginning {
        Beginning::Open => {
            let is_first = seen == 0;
            reading::note_rest(work, conn, input.len(), None);
            if is_first {
                let read_ms = work.owner.terms.limits.read_ms_max;
                let until_ms = if read_ms == 0 { 0 } else { conn.now_ms().saturating_add(read_ms) };
                work.rare().phase_until_ms = until_ms;
            }
            conn.unread(input);
            false
        }
        Beginning::Upgrade(end, answer) => {
            work.owner.counters.bytes_in.add(end as u64);
            input.advance(end);
            reading::note_rest(work, conn, 0, None);
            conn.unread(input);
            upgraded(work, conn, &answer);
            true
        }
        Beginning::Raw if may_be_raw => {
            reading::note_rest(work, conn, 0, None);
            conn.unread(input);
            reading::become_raw(work, conn);
            true
        }
        Beginning::Raw => refuse(work, conn, Refusal::NotAsked),
        Beginning::Refused(refusal) => refuse(work, conn, refusal),
    }
}

fn look(input: &[u8], origins: &[Box<str>]) -> Beginning {
    const GET: &[u8] = b"GET ";
    let common = input.len().min(GET.len());
    if input[..common] != GET[..common] {
        return Beginning::Raw;
    }
    let line_end = memchr::memchr(b'\n', input);
    if line_end.is_some_and(|at| !input[..at].trim_ascii_end().ends_with(b" HTTP/1.1")) {
        return Beginning::Raw;
    }
    let limits = HeadLimits::default();
    let end = match HeadScan::new().find(input, &limits) {
        Ok(Some(end)) => end,
        Ok(None) => return Beginning::Open,
        Err(_malformed) => return Beginning::Raw,
    };
    let Ok(request) = Request::parse(&input[..end], &limits) else { return Beginning::Raw };
    match Upgrade::read(&request) {
        Ok(None) => Beginning::Raw,
        Err(refusal) => Beginning::Refused(refusal),
        Ok(Some(upgrade)) => {
            let is_let_in = origins.is_empty()
                || upgrade.origin().is_none_or(|from| {
                    origins.iter().any(|let_in| let_in.as_bytes().eq_ignore_ascii_case(from))
                });
            if !is_let_in {
                return Beginning::Refused(Refusal::Origin);
            }
            let mut answer =
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
            upgrade.answer(None, None, &mut answer);
            answer.extend_from_slice(b"\r\n");
            Beginning::Upgrade(end, answer)
        }
    }
}

fn upgraded(work: &mut Work, conn: &mut Conn<'_>, answer: &[u8]) {
    let most = work.owner.terms.framing_limits.message_bytes_max;
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let limits = Limits { message_bytes_max: most, frame_bytes_max: most };
    let session = Session { decoder: Decoder::new(Role::Server, limits), close: CloseState::Open };
    work.word.phase = Phase::WebSocket;
    let rare = work.rare();
    rare.phase_until_ms = 0;
    rare.socket = Some(Box::new(session));
    if work.out.bytes(answer, &conn.pool()).is_err() {
        return work.fail(conn, Intent::Abort, Reason::NoMemory);
    }
    work.tell_opened(conn);
}

/// Answers a request that does not become a WebSocket.
fn refuse(work: &mut Work, conn: &mut Conn<'_>, refusal: Refusal) -> bool {
    let status: Status = refusal.status();
    let reason = refusal.reason();
    let answer = format!(
        "HTTP/1.1 {} {}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{reason}\n",
        status.code(),
        status.reason(),
        reason.len() + 1
    );
    // Without memory the end of the connection has to say it.
    let _no_memory = work.out.bytes(answer.as_bytes(), &conn.pool());
    work.fail(conn, Intent::Close, Reason::Upgrade);
    false
}

/// What a frame or message is, without holding on to where it lies.
enum What {
    More { consumed: usize },
    Message { consumed: usize, is_text: bool, place: Option<Range<usize>> },
    Ping { consumed: usize, bytes: [u8; CONTROL_BYTES_MAX], len: usize },
    Pong { consumed: usize },
    Close { code: Option<CloseCode> },
    Fault(Fault),
}

/// Handles what has come in frames; false when nothing that leads on is there.
pub(crate) fn read(work: &mut Work, conn: &mut Conn<'_>) -> bool {
    let seen = work.rare.as_ref().map_or(0, |rare| rare.seen);
    let Some(mut input) = reading::take(work, conn, seen) else { return false };
    work.out.expect(input.len());
    let (at, rest) = feed(work, conn, &mut input);
    work.out.finish(conn, &input);
    work.owner.counters.bytes_in.add(at as u64);
    input.advance(at);
    let is_under_way = work
        .rare
        .as_ref()
        .and_then(|rare| rare.socket.as_ref())
        .is_some_and(|session| !session.decoder.is_idle() && rest == Rest::Seen);
    reading::note_rest(work, conn, if rest == Rest::Seen { input.len() } else { 0 }, None);
    note_message(work, conn, is_under_way);
    if work.intent == Intent::Stay {
        conn.unread(input);
    }
    true
}

/// A message whose pieces are with the decoder has begun, too.
fn note_message(work: &mut Work, conn: &Conn<'_>, is_under_way: bool) {
    let now_ms = conn.now_ms().max(1);
    let rare = work.rare();
    if is_under_way && rare.began_ms == 0 {
        rare.began_ms = now_ms;
        work.is_due_new = true;
    }
}

/// Whether what is left was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Seen,
    Unseen,
}

fn feed(work: &mut Work, conn: &mut Conn<'_>, input: &mut Slice) -> (usize, Rest) {
    let Some(bytes) = input.unique_mut() else { return (0, Rest::Unseen) };
    let mut at = 0;
    loop {
        let rest = &mut bytes[at..];
        match next(work, rest) {
            What::More { consumed } => return (at + consumed, Rest::Seen),
            What::Message { consumed, is_text, place } => {
                take_message(work, conn, rest, is_text, place, at);
                at += consumed;
            }
            What::Ping { consumed, bytes, len } => {
                say(work, conn, Opcode::Pong, &bytes[..len]);
                at += consumed;
            }
            What::Pong { consumed } => at += consumed,
            What::Close { code } => {
                closed_by_peer(work, conn, code);
                return (bytes.len(), Rest::Unseen);
            }
            What::Fault(fault) => {
                failed(work, conn, fault);
                return (bytes.len(), Rest::Unseen);
            }
        }
        if work.intent != Intent::Stay {
            return (bytes.len(), Rest::Unseen);
        }
        if work.word.facts.has(Facts::PAUSED) || !work.has_room() {
            return (at, Rest::Unseen);
        }
    }
}

fn next(work: &mut Work, rest: &mut [u8]) -> What {
    let Some(session) = work.rare().socket.as_mut() else { return What::More { consumed: 0 } };
    match session.decoder.next(rest) {
        Err(fault) => What::Fault(fault),
        Ok(Step::NeedMore { consumed, .. }) => What::More { consumed },
        Ok(Step::Event { consumed, event }) => match event {
            Event::Message { message, place } => {
                let is_text = matches!(message, Message::Text(_));
                let place = match place {
                    Place::InInput(range) => Some(range),
                    Place::Assembled => None,
                };
                What::Message { consumed, is_text, place }
            }
            Event::Ping(payload) => {
                let mut bytes = [0; CONTROL_BYTES_MAX];
                let len = payload.len().min(bytes.len());
                bytes[..len].copy_from_slice(&payload[..len]);
                What::Ping { consumed, bytes, len }
            }
            Event::Pong(_) => What::Pong { consumed },
            Event::Close(close) => What::Close { code: close.code },
        },
    }
}

/// Gives a message to the handler, where it lies.
fn take_message(
    work: &mut Work,
    conn: &mut Conn<'_>,
    rest: &mut [u8],
    is_text: bool,
    place: Option<Range<usize>>,
    at: usize,
) {
    let owner = Rc::clone(&work.owner);
    if work.word.facts.has(Facts::SHUT) {
        // This side has closed.
        return;
    }
    if let Some(range) = place {
        let message = Handed::new(&mut rest[..range.end], range, At::Input(at));
        return reading::handle(&owner, work, conn, message.with_text(is_text));
    }
    let taken = work.rare().socket.as_mut().and_then(|session| session.decoder.take());
    let mut bytes = match taken {
        Some(Owned::Text(text)) => text.into_bytes(),
        Some(Owned::Binary(bytes)) => bytes,
        None => return,
    };
    let len = bytes.len();
    let message = Handed::new(&mut bytes, 0..len, At::Apart);
    reading::handle(&owner, work, conn, message.with_text(is_text));
}

/// Sends a control frame.
fn say(work: &mut Work, conn: &Conn<'_>, opcode: Opcode, payload: &[u8]) {
    if !work.may_send() {
        return;
    }
    let mut frame = [0; CONTROL_FRAME_BYTES_MAX];
    let len = close_frame::control(&mut frame, opcode, payload, None);
    // At the pool's limit it is left away: the peer asks again.
    let _no_memory = work.out.bytes(&frame[..len], &conn.pool());
}

fn say_close(work: &mut Work, conn: &Conn<'_>, said: &Close<'_>) {
    let mut frame = [0; CONTROL_FRAME_BYTES_MAX];
    let len = close_frame::write(&mut frame, said, None);
    // Without memory the end of the connection has to say it.
    let _no_memory = work.out.bytes(&frame[..len], &conn.pool());
}

/// The handler closes, or the server for it: the peer's close frame is awaited.
pub(crate) fn close(conn: &mut Connection<'_>, code: CloseCode, reason: &str) {
    begin_close(conn.work, &conn.conn, code, reason);
}

/// Says that this side closes.
pub(crate) fn begin_close(work: &mut Work, conn: &Conn<'_>, code: CloseCode, reason: &str) {
    let Some(session) = work.rare().socket.as_mut() else { return };
    if !session.close.close() {
        return;
    }
    let is_over = session.close.is_over();
    say_close(work, conn, &Close { code: Some(code), reason });
    work.word.facts.set(Facts::SHUT);
    work.rare().reason.get_or_insert(Reason::WebSocket(code.get()));
    if is_over {
        work.intent = Intent::Close;
    } else {
        work.rare().phase_until_ms = conn.now_ms().saturating_add(CLOSE_MS_MAX);
        work.is_due_new = true;
    }
}

/// The peer has said that it closes; its frame is answered.
fn closed_by_peer(work: &mut Work, conn: &Conn<'_>, code: Option<CloseCode>) {
    work.rare().reason.get_or_insert(Reason::WebSocket(code.map_or(1005, CloseCode::get)));
    let Some(session) = work.rare().socket.as_mut() else { return };
    if let Some(answer) = session.close.received(&Close { code, reason: "" }) {
        let _is_first = session.close.close();
        say_close(work, conn, &answer);
    }
    work.end(Intent::Close, Reason::Peer);
}

/// The peer broke the protocol.
fn failed(work: &mut Work, conn: &mut Conn<'_>, fault: Fault) {
    let said = work.rare().socket.as_mut().and_then(|session| session.close.fail(fault));
    if let Some(close) = said {
        say_close(work, conn, &close);
    }
    work.owner.counters.faults.add(1);
    work.fail(conn, Intent::Close, Reason::WebSocket(fault.code().get()));
}
