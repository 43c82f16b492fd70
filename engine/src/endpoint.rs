//! Endpoints: listening addresses with their rules.

use crate::accepting::Listening;
use crate::filter::FilterFactory;
use crate::preface::Preface;
use crate::protocol::Protocol;
use crate::worker::WorkerHandle;
use ringway_ring::socket::{self, Address, ListenOptions};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// How new connections find their worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Every worker listens on the port and the kernel spreads connections by a hash.
    #[default]
    ReusePort,
    /// One worker accepts and hands each connection to the worker with the fewest.
    LeastLoaded,
}

/// What becomes of connections beyond [`EndpointLimits::connections_max`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverCapacity {
    /// They are closed at once.
    #[default]
    Drop,
    /// They are left in the kernel's queue until nine tenths of the limit are open: accepting stops. What was accepted before
    /// it stopped waits too, or is served beyond the limit where one worker accepts for others.
    Resist,
    /// Their protocol is told with [`crate::Events::BUSY`], to answer that there is no room and close; at most
    /// [`BUSY_MAX`] at once, further ones are closed. Behind a filter (TLS) all are closed: the answer would cost more than the
    /// connection.
    Busy,
}

/// Most connections beyond the limit that are told so at once, on a worker.
pub const BUSY_MAX: usize = 256;

/// Limits of one endpoint on one worker.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLimits {
    /// Most connections of the endpoint open at once on a worker.
    pub connections_max: usize,
    /// What becomes of further ones.
    pub over_capacity: OverCapacity,
    /// Most connections of one address on a worker; 0: no limit. IPv6 addresses count by /64.
    pub connections_per_address_max: u32,
    /// How long a closing connection for which its protocol has set no deadline may take nothing of what is still to be
    /// sent, in milliseconds, before it is reset.
    pub close_stall_ms_max: u64,
    /// Unread memory a connection may pin before it is paused, in bytes; [`crate::INBOX_BYTES_MAX`] unless its protocol
    /// takes large messages at once.
    pub inbox_bytes_max: usize,
    /// What one connection is sent, in bytes a second; 0: no limit.
    pub send_bytes_per_s: u64,
    /// What one connection may be sent at once beyond its rate, in bytes.
    pub send_burst_bytes: u64,
    /// How long the handshake of the endpoint's filter may take, in milliseconds, and its preface before that; the connection
    /// is closed then.
    pub handshake_ms_max: u64,
    /// The endpoint's protocol receives itself ([`crate::Conn::arrived_apart`]), as it must to tell urgent data from others. Not
    /// behind a filter.
    #[cfg(feature = "members")]
    pub receives_apart: bool,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            over_capacity: OverCapacity::default(),
            connections_per_address_max: 0,
            close_stall_ms_max: 60_000,
            inbox_bytes_max: crate::INBOX_BYTES_MAX,
            send_bytes_per_s: 0,
            send_burst_bytes: 0,
            handshake_ms_max: 15_000,
            #[cfg(feature = "members")]
            receives_apart: false,
        }
    }
}

/// Makes a worker's protocol value, on that worker's thread.
pub type ProtocolFactory = Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn Protocol>> + Send + Sync>;

/// A listening address with its rules and its protocol.
#[derive(Clone)]
pub struct Endpoint {
    /// Where to listen.
    pub address: Address,
    /// How connections are spread over workers. Unix sockets, which the kernel does not spread, are always balanced by
    /// load.
    pub balance: Balance,
    /// The listening socket's options.
    pub listen: ListenOptions,
    /// Its limits.
    pub limits: EndpointLimits,
    /// What speaks there.
    pub protocol: ProtocolFactory,
    /// What its connections go through, such as TLS. The protocol hears of a connection when its handshake is done.
    pub filter: Option<FilterFactory>,
    /// Knows the proxies in front of it, and reads what their connections begin with, before the filter: whom they speak for. The
    /// protocol hears of a connection when that is said, and the address that it says is the connection's peer from then on.
    pub preface: Option<Arc<dyn Preface>>,
    /// Sockets that listen already, bound by somebody else (a supervisor, an earlier server, systemd): they are accepted
    /// from instead of binding `address`. Any number of them serves any number of workers. They are duplicated; whoever
    /// gave them may keep them, and what waits in their queues outlives this server.
    pub listeners: Vec<Arc<OwnedFd>>,
    /// Urgent data of its connections (RFC 9293 section 3.8.5) are ordinary bytes where they stand, as RFC 6093 recommends.
    /// Otherwise they are not received with the others, and lost unless somebody reads them apart.
    #[cfg(feature = "members")]
    pub urgent_inline: bool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("balance", &self.balance)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A bound endpoint: its address with the real port, and its listening sockets.
#[derive(Debug)]
pub(crate) struct Bound {
    address: Address,
    /// Of each worker.
    listeners: Vec<Vec<OwnedFd>>,
    /// Who accepts does so for all workers.
    is_shared_out: bool,
    is_inherited: bool,
}

impl Bound {
    /// The address, and what each worker listens on for the endpoint of this number.
    pub(crate) fn for_workers(self, endpoint: u16) -> (Address, Vec<Vec<Listening>>) {
        let Self { address, listeners, is_shared_out, is_inherited } = self;
        let listening = |socket| Listening { endpoint, socket, is_shared_out, is_inherited };
        let each = |own: Vec<OwnedFd>| own.into_iter().map(listening).collect();
        (address, listeners.into_iter().map(each).collect())
    }
}

impl Endpoint {
    /// An endpoint with ordinary options and limits.
    #[must_use]
    pub fn new(address: Address, protocol: ProtocolFactory) -> Self {
        Self {
            address,
            balance: Balance::default(),
            listen: ListenOptions::default(),
            limits: EndpointLimits::default(),
            protocol,
            filter: None,
            preface: None,
            listeners: Vec::new(),
            #[cfg(feature = "members")]
            urgent_inline: false,
        }
    }

    /// Binds without serving: the address with its real port, and as many listening sockets as so many workers want. For
    /// a process that binds, and passes them on as [`Endpoint::listeners`].
    ///
    /// # Errors
    /// What `bind(2)` and `listen(2)` say.
    pub fn listen_for(&self, workers: usize) -> io::Result<(Address, Vec<OwnedFd>)> {
        let is_tcp = matches!(self.address, Address::Tcp(_));
        let is_spread = self.is_spread() && workers > 1;
        let options = ListenOptions { reuse_port: is_spread || self.listen.reuse_port, ..self.listen };
        let first = socket::listen(&self.address, &options)?;
        // Port 0 became a real one: the other workers must listen on the same.
        let address = match socket::local_address(first.as_fd()) {
            Some(tcp) if is_tcp => Address::Tcp(tcp),
            _ => self.address.clone(),
        };
        let mut listeners = vec![first];
        if is_spread {
            for _ in 1..workers {
                listeners.push(socket::listen(&address, &options)?);
            }
        }
        Ok((address, listeners))
    }

    /// Why TCP Fast Open, if this endpoint asks for it, does not work here: a sentence for the start-up message.
    #[must_use]
    pub fn fast_open_note(&self) -> Option<String> {
        if self.listen.fast_open_queue == 0 || !matches!(self.address, Address::Tcp(_)) {
            return None;
        }
        // Linux keeps this setting for both IP versions here.
        let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen");
        fast_open_note(setting.ok().as_deref())
    }

    /// The listening sockets of each worker: inherited, or bound now.
    pub(crate) fn bind(&self, workers: usize) -> io::Result<Bound> {
        let (address, sockets) =
            if self.listeners.is_empty() { self.listen_for(workers)? } else { self.inherit()? };
        #[cfg(feature = "members")]
        if self.urgent_inline {
            // Connections have what their listener has when they are made.
            sockets.iter().try_for_each(socket::set_urgent_inline)?;
        }
        // With a socket for every worker the kernel spreads connections. With fewer, whoever accepts shares out.
        let is_shared_out = workers > 1 && (!self.is_spread() || sockets.len() < workers);
        let mut listeners: Vec<Vec<OwnedFd>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, socket) in sockets.into_iter().enumerate() {
            listeners[index % workers].push(socket);
        }
        Ok(Bound { address, listeners, is_shared_out, is_inherited: !self.listeners.is_empty() })
    }

    /// Duplicates of the sockets that were passed in, and where they listen.
    fn inherit(&self) -> io::Result<(Address, Vec<OwnedFd>)> {
        let mut sockets = Vec::with_capacity(self.listeners.len());
        for socket in &self.listeners {
            socket::adopt_listener(socket.as_fd(), &self.listen)?;
            sockets.push(socket.try_clone()?);
        }
        let tcp = sockets.first().and_then(|first| socket::local_address(first.as_fd()));
        Ok((tcp.map_or_else(|| self.address.clone(), Address::Tcp), sockets))
    }

    /// Whether the kernel spreads connections over a socket per worker.
    fn is_spread(&self) -> bool {
        self.balance == Balance::ReusePort && matches!(self.address, Address::Tcp(_))
    }
}

/// What the sysctl's text means for a server; `None` when its bit is set.
fn fast_open_note(setting: Option<&str>) -> Option<String> {
    /// `TFO_SERVER_ENABLE` of the kernel's `include/net/tcp.h`.
    const SERVER: u32 = 2;
    match setting.and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(bits) if bits & SERVER != 0 => None,
        Some(bits) => Some(format!(
            "TCP Fast Open is asked for, but this kernel does not offer it to servers: net.ipv4.tcp_fastopen is {bits} \
             and lacks the bit {SERVER}"
        )),
        None => {
            Some("TCP Fast Open is asked for, but this kernel does not say whether it offers it".to_owned())
        }
    }
}

/// A short name for an address, hard to collide with on purpose; IPv6 by /64, because a host has all of that.
pub(crate) fn address_key(ip: &IpAddr) -> u32 {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    let hasher = HASHER.get_or_init(RandomState::new);
    let hash = match ip.to_canonical() {
        IpAddr::V4(v4) => hasher.hash_one(v4.octets()),
        IpAddr::V6(v6) => hasher.hash_one(&v6.octets()[..8]),
    };
    u32::try_from(hash & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_open_is_explained_when_its_server_bit_is_off() {
        assert_eq!(fast_open_note(Some("3\n")), None);
        assert_eq!(fast_open_note(Some("2\n")), None);
        assert!(fast_open_note(Some("1\n")).is_some_and(|note| note.contains("net.ipv4.tcp_fastopen is 1")));
        assert!(fast_open_note(None).is_some());
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_together() {
        let key = |text: &str| address_key(&text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
