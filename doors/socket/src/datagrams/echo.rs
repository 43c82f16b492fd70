//! The built-in handler `udp-echo`: every datagram goes back to whoever sent it, trains as trains.

use crate::datagrams::{DatagramHandler, DatagramHandlerFactory, Peer, Replies, Train};
use std::rc::Rc;
use std::sync::Arc;

/// Says every datagram again.
struct Echo;

impl DatagramHandler for Echo {
    fn datagram(&self, _peer: &mut Peer<'_>, payload: &mut [u8], out: &mut Replies<'_>) {
        // What the queue has no room for is lost, as datagrams may be, and counted.
        let _full = out.reply(payload);
    }

    fn train(&self, _peer: &mut Peer<'_>, mut train: Train<'_>, out: &mut Replies<'_>) {
        let segment_bytes = train.segment_bytes();
        let _full = out.reply_train(train.payload(), segment_bytes);
    }
}

/// The built-in handler `udp-echo`.
#[must_use]
pub fn echo() -> DatagramHandlerFactory {
    Arc::new(|_worker| Ok(Rc::new(Echo) as Rc<dyn DatagramHandler>))
}
