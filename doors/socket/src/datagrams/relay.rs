//! The built-in handler `multicast-relay`: what comes goes to addresses and groups, and to whoever has asked for it.

use crate::datagrams::{DatagramHandler, DatagramHandlerFactory, DatagramSender, Peer, Replies, Train};
use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

/// Most addresses that a relay sends to.
pub const RELAY_TO_MAX: usize = 256;

/// Addresses of which it is remembered whether they are this machine's.
const JUDGED_MAX: usize = 256;

/// A subscriber's word.
const SUBSCRIBED: u64 = 1;

/// What a relay does.
#[derive(Clone, Debug, Default)]
pub struct RelayOptions {
    /// Where everything goes: groups, single machines. At most [`RELAY_TO_MAX`].
    pub to: Vec<SocketAddr>,
    /// Who sends a datagram to the endpoint itself, and not to a group that it has joined, gets what others send, as long as it
    /// is known ([`crate::datagrams::DatagramRules::peer_idle_ms`]). Senders' addresses can be forged: limit who may send. The
    /// socket must report where datagrams were sent to, or all that come subscribe. Default: no.
    pub subscribe: bool,
}

/// The built-in handler `multicast-relay`. What the relay itself has sent to a group that it has joined is not relayed again, and
/// with it what other programs of this machine send from the same port, which cannot be told from it; what came by a group does not
/// go back there.
///
/// # Errors
/// A sentence when it would send nowhere, or to too many.
pub fn relay(options: RelayOptions) -> Result<DatagramHandlerFactory, String> {
    if options.to.is_empty() && !options.subscribe {
        return Err("a relay needs addresses to send to, or subscribers".to_owned());
    }
    if options.to.len() > RELAY_TO_MAX {
        return Err(format!("a relay sends to {RELAY_TO_MAX} addresses at most, not {}", options.to.len()));
    }
    let options = Arc::new(options);
    Ok(Arc::new(move |_worker| {
        let relay =
            Relay { options: Arc::clone(&options), here: OnceCell::new(), judged: RefCell::default() };
        Ok(Rc::new(relay) as Rc<dyn DatagramHandler>)
    }))
}

struct Relay {
    options: Arc<RelayOptions>,
    /// Where the endpoint receives.
    here: OnceCell<SocketAddr>,
    /// Addresses, and whether they are this machine's.
    judged: RefCell<Vec<(IpAddr, bool)>>,
}

impl Relay {
    /// Sends on what came; `give` gives it to one address.
    fn relay(
        &self,
        peer: &mut Peer<'_>,
        out: &mut Replies<'_>,
        mut give: impl FnMut(&mut Replies<'_>, SocketAddr),
    ) {
        let (source, group) = (peer.address(), group_of(peer));
        let local = peer.destination().and_then(|destination| destination.local);
        if group.is_some() && self.is_own(source, local) {
            peer.forget();
            return;
        }
        if self.options.subscribe {
            match group {
                None => peer.set_user(SUBSCRIBED),
                Some(_) if peer.user() != SUBSCRIBED => peer.forget(),
                Some(_) => {}
            }
            out.for_each_peer(|to, user, out| {
                if user == SUBSCRIBED && to != source {
                    give(out, to);
                }
            });
        }
        for &to in &self.options.to {
            if Some(to.ip()) != group && to != source {
                give(out, to);
            }
        }
    }

    /// Whether this endpoint has sent it: from its port, and from an address of this machine. `local` is the one that the kernel
    /// would answer by.
    fn is_own(&self, source: SocketAddr, local: Option<IpAddr>) -> bool {
        if self.here.get().is_none_or(|here| here.port() != source.port()) {
            return false;
        }
        if let Some(local) = local {
            return local == source.ip();
        }
        let mut judged = self.judged.borrow_mut();
        if let Some((_, is_own)) = judged.iter().find(|(ip, _)| *ip == source.ip()) {
            return *is_own;
        }
        // Only this machine's addresses can be bound. Where no sockets can be made, better too few datagrams than a circle of them.
        let bound = UdpSocket::bind(SocketAddr::new(source.ip(), 0));
        let is_own = bound.err().is_none_or(|error| error.kind() != io::ErrorKind::AddrNotAvailable);
        if judged.len() >= JUDGED_MAX {
            judged.clear();
        }
        judged.push((source.ip(), is_own));
        is_own
    }
}

impl DatagramHandler for Relay {
    fn datagram(&self, peer: &mut Peer<'_>, payload: &mut [u8], out: &mut Replies<'_>) {
        self.relay(peer, out, |out, to| {
            // What the queue has no room for is lost, as datagrams may be, and counted.
            let _full = out.send(to, payload);
        });
    }

    fn train(&self, peer: &mut Peer<'_>, mut train: Train<'_>, out: &mut Replies<'_>) {
        let segment_bytes = train.segment_bytes();
        self.relay(peer, out, |out, to| {
            let _full = out.send_train(to, train.payload(), segment_bytes);
        });
    }

    fn started(&self, sender: &DatagramSender) {
        if let Some(address) = sender.local_address() {
            let _told_once = self.here.set(address);
        }
    }
}

/// The group that a datagram was sent to; `None`: it was sent to the endpoint itself.
fn group_of(peer: &Peer<'_>) -> Option<IpAddr> {
    peer.destination().map(|destination| destination.address).filter(IpAddr::is_multicast)
}
