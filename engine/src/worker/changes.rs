//! What a change of the endpoints does on each worker: build first, then put in place.

use super::Worker;
use crate::accepting::Listening;
use crate::change::{Builder, Prepared};
use crate::core::Door;
use crate::governor::Side;
use crate::protocol::Events;
use crate::server::panic_text;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "held")]
use std::rc::Rc;
use std::sync::mpsc::Sender;

impl Worker {
    /// Builds what an endpoint is to be, and keeps it until it is put in place or another change is prepared.
    pub(crate) fn prepare(&mut self, builder: &Builder) -> io::Result<()> {
        let earlier = self.parts.prepared.take();
        self.discard(earlier);
        if self.local.core.borrow().is_draining {
            return Err(io::Error::other("the server drains"));
        }
        let handle = self.handle();
        let built = catch_unwind(AssertUnwindSafe(|| builder.build(&handle)));
        let built = built.unwrap_or_else(|panic| {
            self.parts.counters.panics.add(1);
            Err(io::Error::other(panic_text(&*panic)))
        });
        self.parts.prepared = Some(built?);
        Ok(())
    }

    /// Drops what was prepared.
    pub(crate) fn forget_prepared(&mut self) {
        let prepared = self.parts.prepared.take();
        self.discard(prepared);
    }

    /// Puts in place what was prepared for a door that is there, or is the next one: every connection that no task holds,
    /// and every new one, is its from here on.
    pub(crate) fn put_in_place(&mut self, endpoint: u16) {
        let Some(Prepared { protocol, limits, filters, preface }) = self.parts.prepared.take() else {
            return;
        };
        let place = usize::from(endpoint);
        let old_filters = self.local.core.borrow_mut().set_door(place, limits, filters, preface);
        if self.parts.protocols.len() == place {
            self.parts.protocols.push(None);
        }
        #[cfg(feature = "held")]
        let placed = Rc::clone(&protocol);
        let old = self.parts.protocols.get_mut(place).and_then(|held| held.replace(protocol));
        self.discard((old, old_filters));
        #[cfg(feature = "held")]
        if catch_unwind(AssertUnwindSafe(|| placed.placed(crate::DoorKey(endpoint)))).is_err() {
            self.parts.counters.panics.add(1);
        }
    }

    /// Accepts from further sockets.
    pub(crate) fn listen(&mut self, listeners: Vec<Listening>) {
        self.parts.acceptor.add(listeners);
    }

    /// Begins to accept anew.
    pub(crate) fn renew_accepts(&mut self) {
        self.parts.acceptor.renew(&mut self.local.core.borrow_mut());
    }

    /// Stops accepting for an endpoint; `told` is dropped when nothing more will be accepted or handed to another worker.
    pub(crate) fn stop_accepting(&mut self, endpoint: u16, told: &Sender<()>) {
        let core = &mut *self.local.core.borrow_mut();
        self.parts.acceptor.remove(core, endpoint, told);
    }

    /// Tells an endpoint's connections to finish; the last one to end takes the protocol with it.
    pub(crate) fn retire(&mut self, endpoint: u16) {
        let place = usize::from(endpoint);
        {
            let core = &mut *self.local.core.borrow_mut();
            let Some(door) = core.doors.get_mut(place) else { return };
            door.is_draining = true;
            for id in core.conns.ids() {
                if core.conns.get(id).is_some_and(|record| record.endpoint == endpoint) {
                    core.notify(id, Events::DRAIN);
                }
            }
        }
        self.forget_if_over(place);
    }

    /// Puts another governor in place, or none.
    pub(crate) fn govern(&self, side: Option<Side>) {
        self.local.core.borrow_mut().govern(side);
    }

    /// Duplicates of this worker's listening sockets, with their endpoints.
    pub(crate) fn listeners(&self) -> io::Result<Vec<(u16, OwnedFd)>> {
        self.parts.acceptor.duplicates()
    }

    /// Drops the protocol of a removed endpoint when its last connection has ended.
    pub(super) fn forget_if_over(&mut self, place: usize) {
        if !self.local.core.borrow().doors.get(place).is_some_and(Door::is_over) {
            return;
        }
        let protocol = self.parts.protocols.get_mut(place).and_then(Option::take);
        let filters = self.local.core.borrow_mut().doors[place].filters.take();
        self.discard((protocol, filters));
    }

    /// Drops something of a protocol's, outside of the core; a panic in it is counted.
    fn discard<T>(&self, value: T) {
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            self.parts.counters.panics.add(1);
        }
    }
}
