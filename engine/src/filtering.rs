//! What filters want of the engine besides bytes: to be called again, to be spared input, to be told of the end in time.

use crate::core::Core;
#[cfg(feature = "filters")]
use crate::core::count_address;
use crate::record::ConnId;
#[cfg(feature = "filters")]
use crate::record::Flags;
#[cfg(feature = "filters")]
use ringway_ring::SLICE_BYTES_MAX;
#[cfg(feature = "filters")]
use std::io;
#[cfg(feature = "filters")]
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Filters that are called again in one turn of the loop.
#[cfg(feature = "filters")]
const NAPS_BATCH: usize = 256;

#[cfg(feature = "filters")]
impl Core {
    /// A filter that speaks first does so now, and one without a handshake is open.
    pub(crate) fn begin_filter(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let filter = record.extra.as_ref().and_then(|extra| extra.filter.as_ref());
        if !record.awaits_preface() && filter.is_some_and(|filter| filter.speaks_first()) {
            self.decode(id);
        }
    }

    /// Has a filter called again after so many milliseconds; 0: not.
    pub(crate) fn nap(&mut self, id: ConnId, nap_ms: u32) {
        if nap_ms > 0 {
            self.naps.arm(id.index, self.now_ms.saturating_add(nap_ms.into()));
        } else if !self.naps.is_empty() {
            self.naps.disarm(id.index);
        }
    }

    pub(crate) fn nap_no_more(&mut self, id: ConnId) {
        self.nap(id, 0);
    }

    pub(crate) fn next_nap_ms(&self) -> Option<u64> {
        self.naps.next_wakeup()
    }

    /// Calls the filters whose time has come.
    pub(crate) fn wake_filters(&mut self) {
        for _ in 0..NAPS_BATCH {
            let Some(index) = self.naps.expire(self.now_ms) else { return };
            if let Some(id) = self.conns.current(index) {
                self.decode(id);
            }
        }
    }

    /// Receives nothing more for a filter that wants nothing more.
    pub(crate) fn dam(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let receiving = record.receiving;
        let Some(extra) = record.extra.as_deref_mut() else { return };
        let Some(filter) = &extra.filter else { return };
        if extra.is_dammed || filter.wants_input() || extra.wire.capacity() <= SLICE_BYTES_MAX {
            return;
        }
        extra.is_dammed = true;
        if let Some(op) = receiving
            && !record.flags.has(Flags::SWITCHING)
        {
            record.flags.set(Flags::SWITCHING);
            self.ring.cancel(op);
        }
    }

    /// Receives on when the filter has taken what came, and tells of the end that came meanwhile.
    pub(crate) fn undam(&mut self, id: ConnId) {
        let Some(record) = self.conns.get(id) else { return };
        let Some(extra) = record.extra.as_deref_mut().filter(|extra| extra.is_dammed) else { return };
        let is_wanted = extra.filter.as_ref().is_none_or(|filter| filter.wants_input());
        if !is_wanted && (extra.ends_late || extra.wire.capacity() > SLICE_BYTES_MAX / 2) {
            return;
        }
        extra.is_dammed = false;
        if std::mem::take(&mut extra.ends_late) {
            self.peer_ended(id);
            return;
        }
        self.rearm(id);
        self.feed_owner(id);
    }

    /// Whether the transport's end is to be told later, when the filter has taken what came before.
    pub(crate) fn ends_later(&mut self, id: ConnId) -> bool {
        let Some(extra) = self.conns.get(id).and_then(|record| record.extra.as_deref_mut()) else {
            return false;
        };
        let Some(filter) = &mut extra.filter else { return false };
        if filter.is_ended() || !filter.rewrites() {
            return false;
        }
        match catch_unwind(AssertUnwindSafe(|| filter.ended())) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                extra.is_dammed = true;
                extra.ends_late = true;
                true
            }
            // What it says of the end it says again; what it made of it is taken now.
            Ok(_) => {
                self.decode(id);
                false
            }
            Err(_panic) => false,
        }
    }

    /// Takes note of whom the peer speaks for, where that is said within the filter. `false`: its address has too many.
    pub(crate) fn client_is_told(&mut self, id: ConnId) -> bool {
        let Some(record) = self.conns.get(id) else { return false };
        let filter = record.extra.as_ref().and_then(|extra| extra.filter.as_ref());
        let Some(client) = filter.and_then(|filter| filter.client()) else { return true };
        let endpoint = record.endpoint;
        let limits = self.doors[usize::from(endpoint)].limits;
        if let Some(record) = self.conns.get(id) {
            let counted = record.flags.has(Flags::COUNTED).then_some(record.address_key);
            record.flags.clear(Flags::COUNTED);
            record.extra().peer = Some(client);
            if let Some(key) = counted {
                self.discount_key(key);
            }
        }
        let Self { conns, per_address, .. } = self;
        let Some(record) = conns.get(id) else { return false };
        if count_address(per_address, record, Some(client), &limits) {
            return true;
        }
        self.refused(endpoint);
        self.close_now(id);
        false
    }
}

/// Without filters there is nothing of this.
#[cfg(not(feature = "filters"))]
#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "without filters they are constants"
)]
impl Core {
    pub(crate) fn begin_filter(&mut self, _id: ConnId) {}
    pub(crate) fn nap(&mut self, _id: ConnId, _nap_ms: u32) {}
    pub(crate) fn nap_no_more(&mut self, _id: ConnId) {}
    pub(crate) fn next_nap_ms(&self) -> Option<u64> {
        None
    }
    pub(crate) fn wake_filters(&mut self) {}
    pub(crate) fn dam(&mut self, _id: ConnId) {}
    pub(crate) fn undam(&mut self, _id: ConnId) {}
    pub(crate) fn ends_later(&mut self, _id: ConnId) -> bool {
        false
    }
    pub(crate) fn client_is_told(&mut self, _id: ConnId) -> bool {
        true
    }
}
