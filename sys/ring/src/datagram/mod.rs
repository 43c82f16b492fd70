//! Datagrams: received in bulk, handed over in batches, given back in bulk.
//!
//! Nothing is allocated, locked or asked of the kernel per datagram. The way of a batch:
//!
//! 1. [`crate::socket::bind_datagrams`] makes a socket; its options (GRO, counting of drops, destinations) are set before 2.
//! 2. [`crate::Ring::datagrams`] makes a [`Datagrams`]: the operation with a memory region of its own, of
//!    [`DatagramOptions::buffers`] buffers, counted against the limit of the ring's pool. Streams share nothing with it.
//! 3. `ring.submit(Op::Datagrams(datagrams), token)` starts it. It goes on until it is cancelled or orphaned, or until an
//!    error that no retry mends.
//! 4. `ring.poll(..)`, then `ring.next_completion()` brings at most one completion for each such operation and poll, with
//!    `Payload::Datagrams(`[`Batch`]`)` of at most [`DatagramOptions::batch_max`] datagrams; what is beyond comes with the
//!    next poll, which then does not sleep.
//! 5. A [`Batch`] is `Send` and read-only; `for datagram in &batch` yields [`Datagram`]s, decoded as far as asked. What shall
//!    live longer is copied out.
//! 6. [`crate::Ring::recycle`] gives the buffers back to the kernel with one store. A batch that is dropped elsewhere (on
//!    another thread, in a panic) gives its buffers back too, a little later: none is ever lost.
//!
//! While a batch is out and buffers remain, the next one fills. An error that a datagram's way through the network brought
//! (`ECONNREFUSED`, `EHOSTUNREACH`, `ENETDOWN` …) is a completion with `Err` and `more`; reception goes on, with a pause of a
//! millisecond between attempts when nothing but errors comes. Running out of buffers is counted
//! ([`crate::Ring::datagram_counters`]) and ends with the first buffer given back; what arrives meanwhile waits in the
//! socket's buffer.

mod batch;
mod control;
mod receive;
mod region;
mod supply;

pub use batch::{Batch, Datagram, Iter, Segments};
pub use control::Destination;
pub(crate) use control::space;
pub(crate) use receive::{Receiver, sleep_once};
pub(crate) use region::{Layout, Record, Region};
pub(crate) use supply::{Provided, Supply};

#[cfg(doc)]
use crate::{DatagramOptions, Datagrams};
