//! A connection after its handshake: records opened and sealed where they lie, alerts, key updates, and the end.

use crate::failure::{Alert, Failure};
use crate::framing::{Framing, whole_record};
use crate::record::{ALERT, APPLICATION, HANDSHAKE, HEAD_BYTES, Keys};
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Inbox, Room, Session};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use std::ops::Range;
use std::rc::Rc;

/// Records in a row that carry no bytes for the protocol (empty ones, warnings, key updates, tickets) before the peer is taken
/// for one that wants nothing but to keep us busy.
const IDLE_RECORDS_MAX: u8 = 32;

/// Handshake messages after the handshake (RFC 8446 section 4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Alerts that do not end a connection by themselves.
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;

/// What rustls keeps for a connection whose records are ours.
pub(crate) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// A connection whose handshake is done.
pub(crate) struct Traffic {
    opening: Keys,
    sealing: Keys,
    kernel: Kernel,
    pub(crate) session: Rc<Session>,
    framing: Framing,
    /// The peer has said that nothing follows.
    pub(crate) is_ended: bool,
    /// The peer waits for new keys of ours; it gets them before the next bytes, once, however often it asked.
    is_update_owed: bool,
    /// Records without bytes for the protocol since the last one with any.
    idle_records: u8,
}

impl Traffic {
    pub(crate) fn new(opening: Keys, sealing: Keys, kernel: Kernel, session: Rc<Session>) -> Self {
        Self {
            opening,
            sealing,
            kernel,
            session,
            framing: Framing::default(),
            is_ended: false,
            is_update_owed: false,
            idle_records: 0,
        }
    }

    /// Opens what has arrived as a whole.
    pub(crate) fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        pool: &Pool,
    ) -> Result<(), Failure> {
        loop {
            if self.is_ended {
                // Nothing may follow (RFC 8446 section 6.1); what does is nobody's.
                wire.clear();
                return Ok(());
            }
            if self.framing.is_between() {
                let Some(slice) = wire.take_first() else { return Ok(()) };
                let slice = match whole_record(&slice)? {
                    Some(_) => match self.open_slice(slice, plain)? {
                        Opening::Done(rest) => {
                            rest.into_iter().for_each(|rest| wire.unread(rest));
                            continue;
                        }
                        Opening::Shared(slice) => slice,
                    },
                    None => slice,
                };
                wire.unread(slice);
            }
            let Some((head, length)) = self.framing.next(wire)? else { return Ok(()) };
            self.open_gathered(head, length, wire, plain, pool)?;
        }
    }

    /// Opens the whole records of a slice in place. Their plain bytes are moved together, so that a protocol finds what came
    /// together in one piece.
    fn open_slice(&mut self, mut slice: Slice, plain: &mut Inbox) -> Result<Opening, Failure> {
        let Some(buffer) = slice.unique_mut() else { return Ok(Opening::Shared(slice)) };
        let (mut at, mut shown) = (0, 0..0);
        let mut outcome = Ok(());
        while !self.is_ended {
            let total = match whole_record(&buffer[at..]) {
                Ok(Some(total)) => total,
                Ok(None) => break,
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            };
            match self.open(&mut buffer[at..at + total]) {
                Ok(found) => append(buffer, &mut shown, at + found.start..at + found.end),
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            }
            at += total;
        }
        let mut rest = slice.clone();
        rest.advance(at);
        slice.truncate(shown.end);
        slice.advance(shown.start);
        plain.push(slice);
        outcome.map(|()| Opening::Done((!rest.is_empty()).then_some(rest)))
    }

    /// Opens a record that arrived in pieces, or in a slice that others hold too, in a slice of its own.
    fn open_gathered(
        &mut self,
        head: [u8; HEAD_BYTES],
        length: usize,
        wire: &mut Inbox,
        plain: &mut Inbox,
        pool: &Pool,
    ) -> Result<(), Failure> {
        let total = HEAD_BYTES + length;
        let mut buffer = pool.get(total).ok_or_else(Failure::memory)?;
        buffer[..HEAD_BYTES].copy_from_slice(&head);
        wire.copy_to(&mut buffer[HEAD_BYTES..total]);
        let found = self.open(&mut buffer[..total])?;
        let mut slice = buffer.freeze(found.end);
        slice.advance(found.start);
        plain.push(slice);
        Ok(())
    }

    /// Opens one record in place and does what it says; where it has bytes for the protocol, those are the answer.
    fn open(&mut self, record: &mut [u8]) -> Result<Range<usize>, Failure> {
        let opened = self.opening.open(record)?;
        let range = opened.begin..opened.end;
        if opened.kind == APPLICATION && !range.is_empty() {
            self.idle_records = 0;
            return Ok(range);
        }
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS_MAX {
            return Err(Failure::new(Alert::UnexpectedMessage, "too many records without bytes"));
        }
        match opened.kind {
            APPLICATION => {}
            ALERT => self.hear_alert(&record[range])?,
            HANDSHAKE => self.hear_handshake(&record[range])?,
            _ => {
                return Err(Failure::new(
                    Alert::UnexpectedMessage,
                    "a record of a type that is out of place",
                ));
            }
        }
        Ok(0..0)
    }

    fn hear_alert(&mut self, message: &[u8]) -> Result<(), Failure> {
        match *message {
            [_, CLOSE_NOTIFY] => self.is_ended = true,
            // Warnings exist in TLS 1.2 only (RFC 8446 section 6).
            [_, USER_CANCELED] => {}
            [1, NO_RENEGOTIATION] if !self.opening.is_tls13() => {}
            [_, _] => return Err(Failure::new(Alert::CloseNotify, "the peer has given up")),
            _ => return Err(Failure::new(Alert::UnexpectedMessage, "an alert that is none")),
        }
        Ok(())
    }

    /// Messages after the handshake: one or more, whole. Nobody who is well cuts a message of five bytes in two.
    fn hear_handshake(&mut self, mut messages: &[u8]) -> Result<(), Failure> {
        if !self.opening.is_tls13() {
            // Renegotiation is refused, with what ends the connection in every implementation.
            return Err(Failure::new(Alert::HandshakeFailure, "a renegotiation"));
        }
        let out_of_place =
            || Failure::new(Alert::UnexpectedMessage, "a handshake message that is out of place");
        while let Some((&[kind, a, b, c], rest)) = messages.split_first_chunk() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let (body, rest) = rest.split_at_checked(length).ok_or_else(out_of_place)?;
            messages = rest;
            match (kind, body, &mut self.kernel) {
                // New keys begin with a new record (RFC 8446 section 5.1).
                (KEY_UPDATE, [wants @ (0 | 1)], _) if messages.is_empty() => {
                    self.renew_opening(*wants == 1)?
                }
                (NEW_SESSION_TICKET, ticket, Kernel::Client(kernel)) => {
                    let kept = kernel.handle_new_session_ticket(ticket);
                    kept.map_err(|_refused| {
                        Failure::new(Alert::UnexpectedMessage, "a session ticket that is none")
                    })?;
                }
                _ => return Err(out_of_place()),
            }
        }
        if messages.is_empty() { Ok(()) } else { Err(out_of_place()) }
    }

    fn renew_opening(&mut self, is_update_wanted: bool) -> Result<(), Failure> {
        let renewed = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_rx_secret(),
            Kernel::Client(kernel) => kernel.update_rx_secret(),
        };
        self.opening = Keys::new(renewed.map_err(|_refused| Failure::internal("no new keys"))?, true)?;
        self.is_update_owed |= is_update_wanted;
        Ok(())
    }

    /// What a record takes. Keys that are worn, or that the peer wants changed, are changed first.
    pub(crate) fn room(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> Result<Room, Failure> {
        let is_due = self.is_update_owed || self.sealing.is_worn();
        if is_due && self.sealing.is_tls13() {
            // "Update not requested": the peer changes its own when it sees fit.
            wire(self.message(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], pool)?);
            self.is_update_owed = false;
            let renewed = match &mut self.kernel {
                Kernel::Server(kernel) => kernel.update_tx_secret(),
                Kernel::Client(kernel) => kernel.update_tx_secret(),
            };
            self.sealing = Keys::new(renewed.map_err(|_refused| Failure::internal("no new keys"))?, true)?;
        }
        Ok(self.sealing.room())
    }

    pub(crate) fn seal(&mut self, record: &mut [u8]) -> Result<(), Failure> {
        self.sealing.seal(APPLICATION, record)
    }

    /// A record that no good peer sends.
    #[cfg(test)]
    pub(crate) fn forge(&mut self, kind: u8, message: &[u8], pool: &Pool) -> Slice {
        self.message(kind, message, pool).expect("fresh keys")
    }

    /// New keys, and a wish that the peer changes its own.
    #[cfg(test)]
    pub(crate) fn update(&mut self, pool: &Pool, said: &mut Vec<u8>) {
        said.extend_from_slice(&self.forge(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], pool));
        let Kernel::Client(kernel) = &mut self.kernel else { panic!("a client's words") };
        self.sealing = Keys::new(kernel.update_tx_secret().expect("TLS 1.3"), true).expect("keys");
    }

    /// The record of an alert.
    pub(crate) fn alert(&mut self, alert: Alert, pool: &Pool) -> Result<Slice, Failure> {
        self.message(ALERT, &alert.message(), pool)
    }

    fn message(&mut self, kind: u8, message: &[u8], pool: &Pool) -> Result<Slice, Failure> {
        let room = self.sealing.room();
        let total = room.head + message.len() + room.tail;
        let mut buffer = pool.get(total).ok_or_else(Failure::memory)?;
        buffer[room.head..room.head + message.len()].copy_from_slice(message);
        self.sealing.seal(kind, &mut buffer[..total])?;
        Ok(buffer.freeze(total))
    }
}

/// What came of opening a slice in place.
enum Opening {
    /// Its whole records are open; what is left of it begins a record.
    Done(Option<Slice>),
    /// Others hold it too: nothing in it may be written.
    Shared(Slice),
}

/// Moves what was found in `buffer` behind what was found before.
fn append(buffer: &mut [u8], shown: &mut Range<usize>, found: Range<usize>) {
    if shown.start == shown.end {
        *shown = found;
    } else {
        let length = found.len();
        buffer.copy_within(found, shown.end);
        shown.end += length;
    }
}
