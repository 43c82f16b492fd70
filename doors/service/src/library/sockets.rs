//! WebSockets of libraries: a request that becomes one, its events, and groups of them.

use super::hosted::Side;
pub(crate) use crate::socket::Acceptor;
use crate::socket::{
    CloseCode, Closed, Group, GroupOptions, Groups, Handshake, Message, Refusal, SendError, Socket,
    SocketHandler, SocketOptions,
};
use ringway_engine::WorkerHandle;
use ringway_http::response::EncodeError;
use ringway_plugin::{Broadcast, Fault, SocketView, User, Worker};
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Handled, Reply};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What a library's request is to become.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A socket, which the library knows by its word.
    Socket(Box<Handshake>, User),
    /// An answer that says why there is none.
    Refused(Refusal),
}

/// The groups of a library, whatever version it is of.
pub(crate) struct Rooms(Groups);

impl Rooms {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Groups::new(GroupOptions::default())))
    }
}

impl Broadcast for Rooms {
    fn send(&self, group: &str, message: ringway_plugin::Message<'_>) -> Result<(), Fault> {
        // Where nobody is, nobody hears it; elsewhere somebody may.
        self.0.group(group).send(ours(message));
        Ok(())
    }
}

/// What accepts a library's sockets, if it has something for them.
pub(crate) fn acceptor(worker: &Worker, handle: &WorkerHandle) -> Option<Rc<Acceptor>> {
    let bytes_max = worker.instance().library().requests().ok()?.socket_message_bytes_max()?;
    let mut options = SocketOptions::default();
    if bytes_max > 0 {
        options.message_bytes_max = bytes_max;
        options.frame_bytes_max = bytes_max;
    }
    Some(Rc::new(Acceptor::new(handle.clone(), options)))
}

impl Opening {
    /// Looks at a handshake.
    pub(crate) fn read(acceptor: &Acceptor, exchange: &mut Exchange<'_>, user: User) -> Self {
        match acceptor.read(exchange) {
            Ok(handshake) => Self::Socket(Box::new(handshake), user),
            Err(refusal) => Self::Refused(refusal),
        }
    }

    /// Whether it becomes one.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(..))
    }

    /// Answers it.
    pub(crate) fn answer(
        self,
        side: &Rc<Side>,
        worker: &Rc<Worker>,
        acceptor: &Acceptor,
        exchange: &mut Exchange<'_>,
    ) -> Result<Handled, EncodeError> {
        exchange.ask_once();
        let reply: Reply = match self {
            Self::Socket(handshake, user) => {
                let events =
                    Events { side: Rc::clone(side), worker: Rc::clone(worker), user, is_closed: false };
                acceptor.open(exchange, &handshake, events)?
            }
            Self::Refused(refusal) => Acceptor::refuse(exchange, refusal)?,
        };
        Ok(Handled::Answer(reply))
    }
}

/// The events of a socket, on their way to the library that has opened it.
struct Events {
    side: Rc<Side>,
    worker: Rc<Worker>,
    user: User,
    is_closed: bool,
}

impl SocketHandler for Events {
    fn opened(&mut self, socket: &mut Socket<'_>) {
        let shown = Shown { socket: RefCell::new(socket), groups: &self.side.shared.rooms.0 };
        self.worker.socket_opened(&shown, self.user);
    }

    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        let message = match message {
            Message::Text(text) => ringway_plugin::Message::Text(text),
            Message::Binary(bytes) => ringway_plugin::Message::Binary(bytes),
        };
        let shown = Shown { socket: RefCell::new(socket), groups: &self.side.shared.rooms.0 };
        self.worker.socket_message(&shown, self.user, message);
    }

    fn closed(&mut self, closed: &Closed<'_>) {
        self.end(closed.code, closed.reason);
    }
}

impl Events {
    fn end(&mut self, code: u16, reason: &str) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.worker.socket_closed(self.user, code, reason);
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // One that was never opened has an end, too.
        self.end(1006, "");
    }
}

/// A socket as a library sees it.
struct Shown<'v, 's> {
    socket: RefCell<&'v mut Socket<'s>>,
    groups: &'v Groups,
}

impl Shown<'_, '_> {
    fn group(&self, name: &str) -> Group {
        self.groups.group(name)
    }
}

impl SocketView for Shown<'_, '_> {
    fn send(&self, message: ringway_plugin::Message<'_>) -> Result<(), Fault> {
        self.socket.borrow_mut().send(ours(message)).map_err(|error| match error {
            SendError::Closed => Fault::Gone,
            SendError::Full => Fault::Full,
            SendError::NoMemory => Fault::Server,
        })
    }

    fn close(&self, code: u16, reason: &str) -> Result<(), Fault> {
        let code = CloseCode::new(code).ok_or(Fault::Invalid)?;
        self.socket.borrow_mut().close(code, reason);
        Ok(())
    }

    fn join(&self, group: &str) -> Result<(), Fault> {
        if self.socket.borrow_mut().join(&self.group(group)) { Ok(()) } else { Err(Fault::Limit) }
    }

    fn leave(&self, group: &str) -> Result<(), Fault> {
        let group = self.groups.find(group).ok_or(Fault::State)?;
        if self.socket.borrow_mut().leave(&group) { Ok(()) } else { Err(Fault::State) }
    }
}

fn ours(message: ringway_plugin::Message<'_>) -> Message<'_> {
    match message {
        ringway_plugin::Message::Text(text) => Message::Text(text),
        ringway_plugin::Message::Binary(bytes) => Message::Binary(bytes),
    }
}
