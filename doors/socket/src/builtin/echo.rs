//! What answers with what came, and what answers nothing.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::handler::{Handler, HandlerFactory};
use crate::message::Message;
use std::rc::Rc;
use std::sync::Arc;

/// Sends every message back, from where it lies.
struct Echo;

impl Handler for Echo {
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        super::sent_or_abort(conn, |conn| conn.reply(message));
    }
}

/// Takes everything and says nothing (RFC 863).
struct Discard;

impl Handler for Discard {
    fn message(&self, _conn: &mut Connection<'_>, _message: Message<'_>) {}
}

pub(super) fn echo(_settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    Ok(Arc::new(|_worker| Ok(Rc::new(Echo) as Rc<dyn Handler>)))
}

pub(super) fn discard(_settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    Ok(Arc::new(|_worker| Ok(Rc::new(Discard) as Rc<dyn Handler>)))
}
