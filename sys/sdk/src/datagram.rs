//! Protocols of one's own by datagrams: what an author writes, and a peer while a datagram of it is handled.

use crate::handler::Setup;
use crate::later::Fault;
use crate::server::{self, MISSING};
use ringway_plugin::abi::{self, Bytes};
use std::fmt;
use std::marker::PhantomData;

/// Speaks a protocol by datagrams. One value is one endpoint that names the library, for all workers; it is dropped when
/// nobody uses it any more, on a thread that may wait. Datagrams of a peer come on one worker, one after the other. A panic costs the
/// datagram.
pub trait DatagramHandler: Send + Sync + Sized + 'static {
    /// What each worker keeps for itself: made, used and dropped on the worker's thread.
    type Worker: 'static;

    /// What is kept with each peer, for as long as the configuration says.
    type State: Default + 'static;

    /// How often [`DatagramHandler::tick`] is called, in milliseconds; 0: never.
    const TICK_MS: u32 = 0;

    /// Makes one.
    ///
    /// # Errors
    /// Why that cannot be: the operator reads it where the configuration is read.
    fn create(setup: &Setup<'_>) -> Result<Self, String>;

    /// Makes what a worker keeps.
    fn worker(&self) -> Self::Worker;

    /// A datagram has come. It may be changed where it lies.
    fn datagram(
        &self,
        worker: &Self::Worker,
        peer: &mut Peer<'_>,
        state: &mut Self::State,
        payload: &mut [u8],
    );

    /// A peer is forgotten: it was silent for too long, or others took its place.
    fn expired(&self, worker: &Self::Worker, state: Self::State) {
        let _knows_nothing_of_it = (worker, state);
    }

    /// Every [`DatagramHandler::TICK_MS`], on each worker.
    fn tick(&self, worker: &Self::Worker) {
        let _does_nothing = worker;
    }

    /// Whether it is well. Any thread.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Who has sent a datagram, while that is handled.
pub struct Peer<'a> {
    raw: *mut abi::Peer,
    is_forgotten: bool,
    callback: PhantomData<&'a mut ()>,
}

impl Peer<'_> {
    pub(crate) fn new(raw: *mut abi::Peer) -> Self {
        Self { raw, is_forgotten: false, callback: PhantomData }
    }

    pub(crate) fn is_forgotten(&self) -> bool {
        self.is_forgotten
    }

    /// Its address, such as `192.0.2.1:4711`.
    #[must_use]
    pub fn address(&self) -> &str {
        let Some(address) = server::table().and_then(|server| server.peer_address) else { return "" };
        // SAFETY: a function of the server's, given its peer; what it gives is valid until the callback returns (I1, I2).
        let bytes = unsafe { server::bytes(address(self.raw)) };
        str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// Sends it a datagram.
    ///
    /// # Errors
    /// There is no room: it is lost ([`Fault::Full`]).
    pub fn send(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.peer_send) else {
            return Fault::of(MISSING);
        };
        // SAFETY: a function of the server's, given its peer and bytes for the call (I1, I2).
        Fault::of(unsafe { send(self.raw, Bytes::of(payload)) })
    }

    /// Sends a datagram elsewhere, to an address such as `192.0.2.1:4711`.
    ///
    /// # Errors
    /// That is no address ([`Fault::Invalid`]); else as above.
    pub fn send_to(&mut self, address: &str, payload: &[u8]) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.peer_send_to) else {
            return Fault::of(MISSING);
        };
        let address = Bytes::of(address.as_bytes());
        // SAFETY: a function of the server's, given its peer and bytes for the call (I1, I2).
        Fault::of(unsafe { send(self.raw, address, Bytes::of(payload)) })
    }

    /// Has its state forgotten behind this datagram.
    pub fn forget(&mut self) {
        self.is_forgotten = true;
    }
}

impl fmt::Debug for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.address()).finish()
    }
}
