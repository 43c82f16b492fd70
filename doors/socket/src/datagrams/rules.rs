//! Rules of an endpoint of datagrams: which peers it knows, for how long, and how often they may send.

use ringway_pace::TokenRate;

/// Most peers that a worker may know of an endpoint: what can be set.
pub const PEERS_MAX: usize = 16 << 20;

/// What peers of an endpoint may do. All of it holds on each worker for itself; the kernel gives a peer to one worker.
#[derive(Clone, Debug)]
pub struct DatagramRules {
    /// Most peers known at once, at most 16,777,216; further ones are not heard until one of them expires. 0: no peer is
    /// known, each datagram stands for itself, and nothing is kept. Default 0.
    pub peers_max: usize,
    /// Most peers of one address; 0: no limit. IPv6 addresses count by /64. Default 0.
    pub peers_per_address_max: u32,
    /// Milliseconds after its last datagram until a peer expires. Default 60,000.
    pub peer_idle_ms: u64,
    /// How often an address may send; what it sends beyond that is not heard. IPv6 addresses count by /64.
    /// Default: as often as it likes.
    pub rate_per_address: Option<TokenRate>,
    /// Milliseconds between ticks; 0: no ticks. Default 0.
    pub tick_ms: u64,
    /// Most datagrams that wait to be sent from other threads. Default 1,024.
    pub posted_max: usize,
    /// Most bytes of them. Default 1 MiB.
    pub posted_bytes_max: usize,
}

impl Default for DatagramRules {
    fn default() -> Self {
        Self {
            peers_max: 0,
            peers_per_address_max: 0,
            peer_idle_ms: 60_000,
            rate_per_address: None,
            tick_ms: 0,
            posted_max: 1024,
            posted_bytes_max: 1 << 20,
        }
    }
}
