//! Prefaces: what a proxy in front says on a connection before anything else, whose connection it is. TLS and protocol come
//! after it and never see it.

use crate::core::{Core, count_address};
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Record};
use ringway_ring::SLICE_BYTES_MAX;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Knows the proxies in front of an endpoint, and reads what their connections begin with. One value for all workers.
pub trait Preface: Send + Sync {
    /// What to expect of this peer (`None`: a Unix socket).
    fn expects(&self, peer: Option<SocketAddr>) -> Expected;

    /// Looks at what has come so far: at most [`SLICE_BYTES_MAX`] bytes, always from the connection's first.
    fn read(&self, bytes: &[u8], peer: Option<SocketAddr>) -> Said;
}

/// What is expected of a new connection's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It says first whose connection it is; that address is its peer, and counts.
    Preface,
    /// It is a proxy whose protocol says whom each request came from: no limit for addresses counts its connections.
    Proxy,
    /// It is a client of its own.
    Client,
    /// Nothing: it is closed at once, and not told why.
    Stranger,
}

/// What a preface has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Not everything yet.
    More,
    /// Whose connection it is; what follows behind so many bytes is the protocol's.
    Done {
        /// Bytes of the preface.
        bytes: usize,
        /// Who is at the other end of the proxy; `None`: the proxy itself, which no limit for addresses counts.
        client: Option<SocketAddr>,
    },
    /// Nothing that can be understood: the connection is reset.
    Refused,
}

impl Core {
    /// What is expected of a new connection's peer.
    pub(crate) fn expects(&self, record: &mut Record) -> Expected {
        // Without the feature no server starts with one, and no endpoint is built with one.
        let preface = self.doors[usize::from(record.endpoint)].preface.as_ref();
        let Some(preface) = preface.filter(|_| cfg!(feature = "preface")) else { return Expected::Client };
        let peer = record.peer();
        let expected = catch_unwind(AssertUnwindSafe(|| preface.expects(peer)));
        expected.unwrap_or_else(|_panic| {
            self.counters.panics.add(1);
            Expected::Stranger
        })
    }

    /// Reads on in what a connection begins with.
    pub(crate) fn read_preface(&mut self, id: ConnId) {
        let pool = self.pool();
        let Some(record) = self.conns.get(id) else { return };
        let Some(preface) = self.doors[usize::from(record.endpoint)].preface.as_ref().map(Arc::clone) else {
            // The endpoint expects none any more: what this connection says cannot be told apart.
            return self.abort(id);
        };
        let peer = record.peer();
        let Some(mut bytes) = record.inbox.next_joined(&pool) else { return };
        let said = catch_unwind(AssertUnwindSafe(|| preface.read(&bytes, peer)));
        match said {
            Ok(Said::More) if bytes.len() < SLICE_BYTES_MAX => record.inbox.unread(bytes),
            Ok(Said::Done { bytes: length, client }) => {
                bytes.advance(length.min(bytes.len()));
                record.inbox.unread(bytes);
                let extra = record.extra();
                extra.awaits_preface = false;
                extra.peer = client.or(extra.peer);
                self.introduced(id, client);
            }
            Ok(Said::More | Said::Refused) => self.abort(id),
            Err(_panic) => {
                self.counters.panics.add(1);
                self.abort(id);
            }
        }
    }

    /// A connection has said whose it is: it counts against that address, and its filter or its protocol begins.
    fn introduced(&mut self, id: ConnId, client: Option<SocketAddr>) {
        let Self { conns, doors, per_address, .. } = self;
        let Some(record) = conns.get(id) else { return };
        let endpoint = record.endpoint;
        let door = &doors[usize::from(endpoint)];
        let limits = door.limits;
        if client.is_some() && !count_address(per_address, record, client, &limits) {
            self.refused(endpoint);
            return self.close_now(id);
        }
        match door.put_filter(record) {
            Ok(true) => {
                record.extra().wire = std::mem::take(&mut record.inbox);
                self.deadlines.arm(id.index, self.now_ms.saturating_add(limits.handshake_ms_max));
                self.decode(id);
            }
            Ok(false) => {
                record.flags.clear(Flags::SHAKING);
                self.deadlines.disarm(id.index);
                // Bytes behind the preface are news with it.
                let mut events = Events::OPENED;
                if !record.inbox.is_empty() {
                    events.add(Events::DATA);
                }
                self.notify(id, events);
            }
            Err(_panic) => {
                self.counters.panics.add(1);
                self.close_now(id);
            }
        }
    }
}
