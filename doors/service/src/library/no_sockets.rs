//! What stands where WebSockets are not built: libraries that ask for one are told that there is none.

use super::hosted::Side;
use ringway_engine::WorkerHandle;
use ringway_http::response::EncodeError;
use ringway_plugin::{Broadcast, User, Worker};
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::Handled;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

/// There is none.
#[derive(Debug)]
pub(crate) struct Opening(Infallible);

/// There are no groups.
pub(crate) struct Rooms;

impl Rooms {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self)
    }
}

impl Broadcast for Rooms {
    fn send(&self, _group: &str, _message: ringway_plugin::Message<'_>) -> Result<(), ringway_plugin::Fault> {
        Err(ringway_plugin::Fault::Server)
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) struct Acceptor(Infallible);

/// Nothing accepts.
pub(crate) fn acceptor(_worker: &Worker, _handle: &WorkerHandle) -> Option<Rc<Acceptor>> {
    None
}

impl Opening {
    pub(crate) fn read(acceptor: &Acceptor, _exchange: &mut Exchange<'_>, _user: User) -> Self {
        match acceptor.0 {}
    }

    pub(crate) fn is_socket(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn answer(
        self,
        _side: &Rc<Side>,
        _worker: &Rc<Worker>,
        _acceptor: &Acceptor,
        _exchange: &mut Exchange<'_>,
    ) -> Result<Handled, EncodeError> {
        match self.0 {}
    }
}
