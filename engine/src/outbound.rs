//! Connections that this side opens: their rules, and how a connected socket becomes a worker's connection.

use crate::core::Core;
use crate::endpoint::{EndpointLimits, ProtocolFactory};
use crate::protocol::Events;
use crate::record::Record;
use crate::worker::WorkerHandle;
use ringway_ring::Handle;
use std::fmt;
use std::io;

/// What speaks on connections that this side opens, with their limits; no listening address belongs to it.
#[derive(Clone)]
pub struct Outbound {
    /// Its limits; [`EndpointLimits::connections_per_address_max`] has no meaning here.
    pub limits: EndpointLimits,
    /// What speaks there.
    pub protocol: ProtocolFactory,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl WorkerHandle {
    /// Makes a connected stream socket (see [`WorkerHandle::connect`]) a connection of this worker. `outbound` is the place
    /// in [`crate::ServerOptions::outbound`]; `context` is what [`crate::Conn::context`] says in its first turn, which has
    /// [`Events::OPENED`], and [`Events::DRAIN`] where the worker drains already. Not during a turn.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such place, `QuotaExceeded` at [`EndpointLimits::connections_max`]. The socket is
    /// closed then.
    pub fn open(&self, outbound: usize, socket: Handle, context: [u64; 2]) -> io::Result<()> {
        self.local.core.borrow_mut().open_outbound(outbound, socket, context)
    }
}

impl Core {
    fn open_outbound(&mut self, outbound: usize, socket: Handle, context: [u64; 2]) -> io::Result<()> {
        let endpoint = self.outbound_room(outbound)?;
        let mut record = Record::new(socket, endpoint);
        record.context = context;
        let id = self.insert(record);
        self.counters.connected.add(1);
        let mut events = Events::OPENED;
        if self.is_draining {
            events.add(Events::DRAIN);
        }
        self.notify(id, events);
        Ok(())
    }

    /// The door of a kind of outbound connections, when one more may come through.
    pub(crate) fn outbound_room(&self, outbound: usize) -> io::Result<u16> {
        let door = self.doors[..self.outbound].get(outbound);
        let (Some(door), Ok(endpoint)) = (door, u16::try_from(outbound)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such kind of outbound connections"));
        };
        if door.open >= door.limits.connections_max {
            self.counters.refused.add(1);
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(endpoint)
    }

    /// Whether this side opened the connections of an endpoint.
    pub(crate) fn is_outbound(&self, endpoint: u16) -> bool {
        usize::from(endpoint) < self.outbound
    }
}
