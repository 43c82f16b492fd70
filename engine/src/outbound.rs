//! Connections that this side opens: their rules, and how a connected socket becomes a worker's connection.

use crate::core::Core;
use crate::endpoint::{EndpointLimits, ProtocolFactory};
#[cfg(feature = "held")]
use crate::filter::Filter;
use crate::protocol::Events;
#[cfg(feature = "held")]
use crate::record::Flags;
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

/// Where connections come through: an endpoint, or a kind of outbound connections, of this server. Known to a protocol by
/// [`crate::Protocol::placed`] and [`crate::Conn::door`]; the same on all workers.
#[cfg(feature = "held")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoorKey(pub(crate) u16);

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

    /// Makes a connected stream socket a connection of the protocol that speaks at `door`, beside those that were accepted
    /// there, and counts it against the same limit. With a filter the protocol hears of it when the handshake is done, which
    /// may take [`EndpointLimits::handshake_ms_max`]; it hears of its end ([`crate::Protocol::closed`]) in any case, by the context that
    /// is given here. Not during a turn.
    ///
    /// # Errors
    /// `NotConnected` when the endpoint was removed, `QuotaExceeded` at [`EndpointLimits::connections_max`], `Unsupported`
    /// for a filter in an engine that was built without them. The socket is closed then, and nobody hears of it.
    #[cfg(feature = "held")]
    pub fn open_at(
        &self,
        door: DoorKey,
        socket: Handle,
        filter: Option<Box<dyn Filter>>,
        context: [u64; 2],
    ) -> io::Result<()> {
        self.local.core.borrow_mut().open_at(door, socket, filter, context)
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

    #[cfg(feature = "held")]
    fn open_at(
        &mut self,
        door: DoorKey,
        socket: Handle,
        filter: Option<Box<dyn Filter>>,
        context: [u64; 2],
    ) -> io::Result<()> {
        if filter.is_some() && !cfg!(feature = "filters") {
            // Better no connection than one that is not encrypted.
            return Err(io::ErrorKind::Unsupported.into());
        }
        let limits = self.room_at(door)?;
        let mut record = Record::new(socket, door.0);
        record.context = context;
        let has_filter = filter.is_some();
        if has_filter {
            let extra = record.extra();
            (extra.filter, extra.is_outbound) = (filter, true);
            record.flags.set(Flags::SHAKING);
        }
        let id = self.insert(record);
        self.counters.connected.add(1);
        if limits.send_bytes_per_s > 0 {
            self.set_send_rate(id, limits.send_bytes_per_s, limits.send_burst_bytes);
        }
        let mut events = Events::OPENED;
        if self.is_draining {
            events.add(Events::DRAIN);
        }
        if has_filter {
            self.deadlines.arm(id.index, self.now_ms.saturating_add(limits.handshake_ms_max));
            // A side that speaks first does so now.
            self.decode(id);
        }
        self.notify(id, events);
        Ok(())
    }

    /// The limits of a door through which one more connection may come.
    #[cfg(feature = "held")]
    pub(crate) fn room_at(&self, door: DoorKey) -> io::Result<EndpointLimits> {
        let found = self.doors.get(usize::from(door.0)).filter(|found| !found.is_draining);
        let found = found.ok_or(io::ErrorKind::NotConnected)?;
        if found.open >= found.limits.connections_max {
            self.refused(door.0);
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(found.limits)
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
