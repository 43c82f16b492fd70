//! What a handler of datagrams works with: the peer that has sent, its train, and the way out.

use crate::datagrams::peers::Peers;
use ringway_engine::Outgoing;
use ringway_engine::ring::Datagram;
use ringway_engine::ring::datagram::Destination;
use ringway_engine::ring::socket::Full;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;

/// Who sent a datagram.
#[derive(Debug)]
pub struct Peer<'a> {
    address: SocketAddr,
    head: Datagram<'a>,
    pub(super) user: u64,
    pub(super) is_new: bool,
    pub(super) is_forgotten: bool,
}

impl<'a> Peer<'a> {
    pub(super) fn new(address: SocketAddr, head: Datagram<'a>, user: u64, is_new: bool) -> Self {
        Self { address, head, user, is_new, is_forgotten: false }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A word of the handler's own, kept as long as the peer is known; 0 at first, and always where no peers are known
    /// ([`crate::datagrams::DatagramRules::peers_max`]).
    #[must_use]
    pub fn user(&self) -> u64 {
        self.user
    }

    /// Keeps a word with the peer.
    pub fn set_user(&mut self, user: u64) {
        self.user = user;
    }

    /// Whether this is the first that is heard of it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Forgets the peer when this datagram was handled, and its word; the handler is not told of it.
    pub fn forget(&mut self) {
        self.is_forgotten = true;
    }

    /// Where the datagram was sent to, such as a multicast group; `None` unless the socket reports it
    /// ([`ringway_engine::ring::socket::DatagramSocketOptions::reports_destination`]).
    #[must_use]
    pub fn destination(&self) -> Option<Destination> {
        self.head.destination()
    }
}

/// Datagrams of one peer that came as one: all of one size but the last, which may be shorter.
#[derive(Debug)]
pub struct Train<'a> {
    payload: &'a mut [u8],
    segment_bytes: u16,
    at: usize,
}

impl<'a> Train<'a> {
    pub(super) fn new(payload: &'a mut [u8], segment_bytes: u16) -> Self {
        Self { payload, segment_bytes: segment_bytes.max(1), at: 0 }
    }

    /// The next datagram; `None` behind the last.
    pub fn next_mut(&mut self) -> Option<&mut [u8]> {
        let end = self.payload.len().min(self.at + usize::from(self.segment_bytes));
        let start = std::mem::replace(&mut self.at, end);
        (start < end).then(|| &mut self.payload[start..end])
    }

    /// All of them, one behind the other.
    #[must_use]
    pub fn payload(&mut self) -> &mut [u8] {
        self.payload
    }

    /// Bytes of each but the last; at least 1.
    #[must_use]
    pub fn segment_bytes(&self) -> u16 {
        self.segment_bytes
    }
}

/// The way out of an endpoint's socket. What does not fit into its queue is refused to the caller and counted: UDP may lose.
pub struct Replies<'a> {
    /// `None` where nothing can be sent any more.
    out: Option<Outgoing<'a>>,
    peers: &'a RefCell<Peers>,
    pub(super) to: Option<SocketAddr>,
    pub(super) tally: Given,
}

/// What was given to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
    pub(super) refused: u64,
}

impl<'a> Replies<'a> {
    pub(super) fn new(out: Option<Outgoing<'a>>, peers: &'a RefCell<Peers>) -> Self {
        Self { out, peers, to: None, tally: Given::default() }
    }

    /// Answers whoever sent the datagram that is handled. What goes to one peer in a row and is equally long leaves as one
    /// train, and arrives as single datagrams.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room for it, and where no datagram is handled (a tick).
    pub fn reply(&mut self, payload: &[u8]) -> Result<(), Full> {
        let to = self.to.ok_or(Full)?;
        self.send(to, payload)
    }

    /// Answers with `payload` as datagrams of `segment_bytes`, the last one shorter where it must be.
    ///
    /// # Errors
    /// As [`Replies::reply`]; none of them is sent then.
    pub fn reply_train(&mut self, payload: &[u8], segment_bytes: u16) -> Result<(), Full> {
        let to = self.to.ok_or(Full)?;
        self.send_train(to, payload, segment_bytes)
    }

    /// Sends a datagram to any address.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room for it.
    pub fn send(&mut self, to: SocketAddr, payload: &[u8]) -> Result<(), Full> {
        let sent = self.out.as_mut().map_or(Err(Full), |out| out.send_joined(to, payload));
        self.tally.note(sent.is_ok(), 1, payload.len());
        sent
    }

    /// Sends `payload` to any address as datagrams of `segment_bytes`.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room for all of them; none is sent.
    pub fn send_train(&mut self, to: SocketAddr, payload: &[u8], segment_bytes: u16) -> Result<(), Full> {
        let sent = self.out.as_mut().map_or(Err(Full), |out| out.send_train(to, payload, segment_bytes));
        let datagrams = payload.len().div_ceil(usize::from(segment_bytes.max(1))).max(1);
        self.tally.note(sent.is_ok(), datagrams, payload.len());
        sent
    }

    /// Calls `each` with the address and the word of every known peer of this worker. Words that were set while the present
    /// datagram is handled are not among them yet.
    pub fn for_each_peer(&mut self, mut each: impl FnMut(SocketAddr, u64, &mut Self)) {
        let peers = self.peers;
        let Ok(known) = peers.try_borrow() else { return };
        known.iter().for_each(|(address, user)| each(address, user, self));
    }

    /// How many peers are known on this worker.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.try_borrow().map_or(0, |peers| peers.len())
    }

    /// Messages that wait to be sent; a train is one.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.out.as_ref().map_or(0, Outgoing::queued)
    }
}

impl Given {
    pub(super) fn note(&mut self, is_taken: bool, datagrams: usize, bytes: usize) {
        if is_taken {
            self.datagrams += datagrams as u64;
            self.bytes += bytes as u64;
        } else {
            self.refused += datagrams as u64;
        }
    }
}

impl fmt::Debug for Replies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("to", &self.to)
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_is_its_datagrams_in_order() {
        for (bytes, segment) in [(10_usize, 4_u16), (8, 4), (3, 4), (1, 1), (0, 5)] {
            let mut payload: Vec<u8> = (0..).take(bytes).collect();
            let whole = payload.clone();
            let mut train = Train::new(&mut payload, segment);
            let mut seen = Vec::new();
            while let Some(piece) = train.next_mut() {
                assert!(!piece.is_empty() && piece.len() <= usize::from(segment));
                seen.extend_from_slice(piece);
            }
            assert_eq!(seen, whole);
        }
    }
}
