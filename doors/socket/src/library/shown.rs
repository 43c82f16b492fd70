//! A connection as a library sees it while one of its callbacks lasts.

use super::serving::Serving;
use crate::connection::Connection;
use crate::handler::SendError;
use crate::message::Message;
use ringway_engine::Session;
use ringway_engine::ring::Handle;
use ringway_plugin::abi::{conn, message as kind, session};
use ringway_plugin::{ConnView, Fault, Key};
use std::cell::{OnceCell, RefCell};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

/// A connection, lent to a library.
pub(super) struct Shown<'v, 'c, 'm> {
    serving: &'v Serving,
    word: u64,
    conn: RefCell<&'v mut Connection<'c>>,
    message: RefCell<Option<Message<'m>>>,
    place: Option<(*mut u8, usize)>,
    kind: u32,
    /// What was asked for once, until the callback returns.
    peer: OnceCell<Option<Box<str>>>,
    session: OnceCell<Option<Rc<Session>>>,
}

impl<'v, 'c, 'm> Shown<'v, 'c, 'm> {
    #[inline]
    pub(super) fn new(
        serving: &'v Serving,
        word: u64,
        conn: &'v mut Connection<'c>,
        mut message: Option<Message<'m>>,
    ) -> Self {
        let kind = match &message {
            Some(message) if message.is_text() => kind::TEXT,
            _ => kind::BINARY,
        };
        let place = message.as_mut().map(|message| {
            let payload = message.payload_mut();
            (payload.as_mut_ptr(), payload.len())
        });
        Self {
            serving,
            word,
            conn: RefCell::new(conn),
            message: RefCell::new(message),
            place,
            kind,
            peer: OnceCell::new(),
            session: OnceCell::new(),
        }
    }
}

impl ConnView for Shown<'_, '_, '_> {
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
        let mut message = self.message.borrow_mut().take().ok_or(Fault::State)?;
        let conn = &mut *self.conn.borrow_mut();
        message.truncate(to);
        message.advance(from);
        conn.reply(message).map_err(fault)
    }

    fn send_file(&self, file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), Fault> {
        // The library closes its own when it likes.
        let file = file.try_clone_to_owned().map_err(|_no_file| Fault::Invalid)?;
        self.conn.borrow_mut().send_file(Handle::new(file), offset, bytes).map_err(fault)
    }

    fn call_when_sent(&self) -> Result<(), Fault> {
        self.open(|conn| conn.call_when_sent())
    }

    fn shut(&self) -> Result<(), Fault> {
        self.open(|conn| conn.shut_down_write())
    }

    fn close(&self) -> Result<(), Fault> {
        self.open(|conn| conn.close())
    }

    fn abort(&self) -> Result<(), Fault> {
        self.open(|conn| conn.abort())
    }

    fn pause(&self, is_paused: bool) -> Result<(), Fault> {
        self.open(|conn| if is_paused { conn.pause() } else { conn.resume() })
    }

    fn set_timeout(&self, timeout_ms: u32) -> Result<(), Fault> {
        self.open(|conn| conn.set_timeout(timeout_ms.into()))
    }

    fn queued_bytes(&self) -> u64 {
        self.conn.borrow_mut().queued_bytes() as u64
    }

    fn flags(&self) -> u32 {
        let conn = &mut *self.conn.borrow_mut();
        let bit = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        bit(conn.session().is_some(), conn::TLS)
            | bit(conn.is_outbound(), conn::OUTBOUND)
            | bit(conn.is_ended(), conn::ENDED)
    }

    fn kind(&self) -> u32 {
        self.kind
    }

    fn peer(&self) -> Option<&[u8]> {
        let peer = || self.conn.borrow_mut().peer().map(|peer| peer.to_string().into());
        self.peer.get_or_init(peer).as_ref().map(|peer| peer.as_bytes())
    }

    fn session(&self, what: u32) -> Option<&[u8]> {
        let session = self.session.get_or_init(|| self.conn.borrow_mut().session()).as_ref()?;
        match what {
            session::VERSION => Some(session.protocol.as_bytes()),
            session::SERVER_NAME => session.server_name.as_ref().map(|name| name.as_bytes()),
            session::PROTOCOL => (!session.alpn.is_empty()).then_some(&*session.alpn),
            session::CLIENT => session.client_certificate.as_ref().map(|client| client.subject.as_bytes()),
            _ => None,
        }
    }

    fn key(&self) -> Key {
        self.serving.key(self.word, &mut self.conn.borrow_mut())
    }

    fn join(&self, group: &str) -> Result<(), Fault> {
        let conn = &mut *self.conn.borrow_mut();
        let is_member = self.serving.reach().with_group(group, |group| conn.join(group))?;
        if is_member { Ok(()) } else { Err(Fault::Limit) }
    }

    fn leave(&self, group: &str) -> Result<(), Fault> {
        let group = self.serving.reach().find_group(group).ok_or(Fault::State)?;
        if self.conn.borrow_mut().leave(&group) { Ok(()) } else { Err(Fault::State) }
    }
}

impl Shown<'_, '_, '_> {
    /// Does something with a connection that is not closed.
    fn open(&self, act: impl FnOnce(&mut Connection<'_>)) -> Result<(), Fault> {
        let conn = &mut *self.conn.borrow_mut();
        act(conn);
        Ok(())
    }
}

pub(super) fn fault(error: SendError) -> Fault {
    match error {
        SendError::Closed => Fault::Gone,
        SendError::Full => Fault::Full,
        SendError::TooLong => Fault::Limit,
        SendError::NoMemory => Fault::Server,
    }
}
