//! Endpoints of datagrams: handlers, the peers they know for a while, and answers that leave in trains.

mod builtin;
mod echo;
mod peers;
mod relay;
mod replies;
mod rules;
mod sender;
mod serving;

pub use builtin::builtin;
pub use echo::echo;
pub use peers::{Expired, Why};
pub use relay::{RELAY_TO_MAX, RelayOptions, relay};
pub use replies::{Peer, Replies, Train};
pub use rules::{DatagramRules, PEERS_MAX};
pub use sender::{DatagramSender, Unsent};
pub use serving::DatagramService;

use ringway_engine::WorkerHandle;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Makes a worker's handler, on that worker's thread.
pub type DatagramHandlerFactory =
    Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn DatagramHandler>> + Send + Sync>;

/// What is done with the datagrams of an endpoint. One value per worker; nothing here may block. A panic costs the
/// datagram (or train) for which it happened and is counted.
pub trait DatagramHandler: 'static {
    /// A datagram came. It may be changed where it lies; what shall live longer is copied out. What is given to `out` leaves
    /// when the whole batch was handled, together.
    fn datagram(&self, peer: &mut Peer<'_>, payload: &mut [u8], out: &mut Replies<'_>);

    /// Several datagrams of one peer came as one, where the socket takes trains (GRO). Unless a handler knows better, it gets
    /// them one after the other.
    fn train(&self, peer: &mut Peer<'_>, mut train: Train<'_>, out: &mut Replies<'_>) {
        while let Some(payload) = train.next_mut() {
            self.datagram(peer, payload, out);
        }
    }

    /// Serving begins: what sends from other threads, by this worker's socket.
    fn started(&self, _sender: &DatagramSender) {}

    /// A peer is known no longer, and its word goes with it. What is given to `out` leaves at once; not where the reason is
    /// [`Why::Stopped`].
    fn expired(&self, _peer: &Expired, _out: &mut Replies<'_>) {}

    /// [`DatagramRules::tick_ms`] milliseconds have passed.
    fn tick(&self, _out: &mut Replies<'_>) {}

    /// The socket reported an error that a datagram's way through the network brought (ICMP, interface down); reception goes on.
    fn error(&self, _error: &io::Error) {}
}
