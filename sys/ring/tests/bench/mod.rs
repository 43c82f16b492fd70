//! The bench of the ring's tests: one ring on one driver, peers that never block, and waits that end.

use ringway_ring::socket::{self, Address, ListenOptions};
use ringway_ring::{
    Completion, DriverChoice, Handle, Op, OpId, Payload, Pool, Restrict, Restriction, Ring, RingOptions, Wait,
};
use ringway_testkit::Seed;
use ringway_testkit::sim::{Faults, SimNet, SimPeer};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long one poll sleeps at most.
const NAP: Duration = Duration::from_millis(2);

/// Polls without sleep between two with.
const GLANCES: usize = 20;

/// A ring under test.
pub(crate) struct Bench {
    pub(crate) ring: Ring,
    pub(crate) seed: Seed,
    net: Option<SimNet>,
    next_port: u16,
    kept: VecDeque<Completion>,
    /// Every operation that was submitted through the bench.
    submitted: Vec<OpId>,
    /// Dropped after the ring.
    held: Vec<Box<dyn Peer>>,
}

/// The test's end of a connection; nothing blocks.
pub(crate) trait Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn finish(&mut self);
    fn reset(self: Box<Self>);
}

/// Where the test's ends come from.
pub(crate) struct Dialer {
    address: SocketAddr,
    net: Option<SimNet>,
}

/// Runs a test on every driver there is: io_uring and epoll (a loud skip where one is refused), and the simulated
/// network, well-behaved and rough. Afterwards everything must be back.
pub(crate) fn on_each(test: impl Fn(&mut Bench)) {
    on_each_with(&RingOptions::default(), test);
}

/// As [`on_each`], with a ring of these dimensions.
pub(crate) fn on_each_with(options: &RingOptions, test: impl Fn(&mut Bench)) {
    on_kernel_with(options, &test);
    for faults in [Faults::NONE, Faults::ROUGH] {
        on_simulated(options, faults, &test);
    }
}

/// Runs a test on the simulated network only.
pub(crate) fn on_simulated(options: &RingOptions, faults: Faults, test: impl Fn(&mut Bench)) {
    let seed = Seed::take();
    let net = SimNet::new(seed.value(), faults);
    let ring = net.ring(options).expect("a simulated ring");
    run(
        Bench {
            ring,
            seed,
            net: Some(net),
            next_port: 1,
            kept: VecDeque::new(),
            submitted: Vec::new(),
            held: Vec::new(),
        },
        test,
    );
}

/// Runs a test on io_uring and epoll only.
pub(crate) fn on_kernel(test: impl Fn(&mut Bench)) {
    on_kernel_with(&RingOptions::default(), test);
}

/// As [`on_kernel`], with a ring of these dimensions.
pub(crate) fn on_kernel_with(options: &RingOptions, test: impl Fn(&mut Bench)) {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        // Restricted, so that every test shows that the list of what the driver does is complete.
        match Ring::new(&RingOptions { driver, restrict: Restrict::ToAll, ..*options }) {
            Ok(ring) => {
                if let Restriction::Refused(reason) = &ring.report().restriction {
                    eprintln!("not restricted here: {reason}");
                }
                let seed = Seed::take();
                run(
                    Bench {
                        ring,
                        seed,
                        net: None,
                        next_port: 1,
                        kept: VecDeque::new(),
                        submitted: Vec::new(),
                        held: Vec::new(),
                    },
                    &test,
                );
            }
            Err(error) => eprintln!("SKIPPED on {driver:?}: {error}"),
        }
    }
}

fn run(mut bench: Bench, test: impl Fn(&mut Bench)) {
    test(&mut bench);
    let (pool, name) = (bench.ring.pool().clone(), bench.name());
    assert_eq!(bench.ring.counters().strangers, 0, "completions of unknown operations on {name}");
    drop(bench);
    assert_all_back(&pool, name);
}

/// Nothing of a pool is out, and its memory goes back to the system.
pub(crate) fn assert_all_back(pool: &Pool, name: &str) {
    assert_eq!(pool.slices_out(), 0, "slices are out on {name}");
    assert!(!pool.flush());
    assert_eq!(pool.mapped_bytes(), 0, "memory is mapped on {name}");
}

impl Bench {
    /// The driver's name, for messages.
    pub(crate) fn name(&self) -> &'static str {
        self.ring.report().driver
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.net.is_some()
    }

    /// The simulated network. Panics on a kernel driver.
    pub(crate) fn net(&self) -> &SimNet {
        self.net.as_ref().expect("a simulated bench")
    }

    pub(crate) fn submit(&mut self, op: Op, token: u64) -> OpId {
        let id = self.ring.submit(op, token).expect("below the limit of operations");
        self.submitted.push(id);
        id
    }

    /// Orphans every operation that is still in flight.
    pub(crate) fn orphan_all(&mut self) {
        // The names of those that ended reach nothing.
        self.submitted.drain(..).for_each(|id| self.ring.orphan(id));
    }

    /// Keeps peers open until the ring is gone.
    pub(crate) fn hold_until_dropped(&mut self, peers: Vec<Box<dyn Peer>>) {
        self.held.extend(peers);
    }

    /// Polls once, sleeping a little when nothing is there.
    pub(crate) fn poll(&mut self) {
        self.ring.poll(Wait::AtMost(NAP)).expect("the ring works");
        self.collect();
    }

    /// Polls once without sleeping.
    pub(crate) fn glance(&mut self) {
        self.ring.poll(Wait::Poll).expect("the ring works");
        self.collect();
    }

    /// Calls `step` until it says true, polling in between; fails after [`PATIENCE`].
    pub(crate) fn drive(&mut self, what: &str, mut step: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut glances = 0;
        while !step(self) {
            if Instant::now() > deadline {
                self.collect();
                self.collect();
                panic!("{what}: takes too long on {:?}; not asked for: {:?}", self.ring, self.kept);
            }
            // The step itself may bring the next thing about; only when it does not for long is there time to sleep.
            glances = if glances < GLANCES { glances + 1 } else { 0 };
            if glances > 0 { self.glance() } else { self.poll() }
        }
    }

    /// The next completion with this token; others are kept for later.
    pub(crate) fn next_of(&mut self, token: u64) -> Completion {
        self.wait_for(&format!("a completion of {token}"), |completion| completion.token == token)
    }

    /// The last completion with this token; what comes before is dropped.
    pub(crate) fn last_of(&mut self, token: u64) -> Completion {
        loop {
            let completion = self.next_of(token);
            if !completion.more {
                return completion;
            }
        }
    }

    /// A completion of any operation, if one is there.
    pub(crate) fn try_next(&mut self) -> Option<Completion> {
        self.collect();
        self.kept.pop_front()
    }

    /// A completion with this token, if one is there.
    pub(crate) fn try_next_of(&mut self, token: u64) -> Option<Completion> {
        self.collect();
        let index = self.kept.iter().position(|completion| completion.token == token)?;
        self.kept.remove(index)
    }

    /// A connection: our end and the test's.
    pub(crate) fn pair(&self) -> (Handle, Box<dyn Peer>) {
        match &self.net {
            Some(net) => {
                let (socket, peer) = net.pair();
                (socket, Box::new(peer))
            }
            None => {
                let (ours, peer) = tcp_pair();
                (ours, Box::new(peer))
            }
        }
    }

    /// A listener of ours, and what connects to it.
    pub(crate) fn listen(&mut self) -> (Handle, Dialer) {
        if let Some(net) = &self.net {
            let address = SocketAddr::from(([10, 0, 0, 1], self.next_port));
            self.next_port += 1;
            let listener = net.listen(address).expect("a fresh address");
            return (listener, Dialer { address, net: Some(net.clone()) });
        }
        let any = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
        let listener = Handle::new(socket::listen(&any, &ListenOptions::default()).expect("loopback"));
        let address = socket::local_address(listener.kernel().expect("real")).expect("bound");
        (listener, Dialer { address, net: None })
    }

    /// Receives `bytes` bytes by streaming, whatever interrupts it, and ends the stream.
    pub(crate) fn stream_exactly(&mut self, socket: &Handle, token: u64, bytes: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut id = self.submit(Op::Stream { socket: socket.clone() }, token);
        while got.len() < bytes {
            let completion = self.next_of(token);
            if !completion.more {
                assert!(!is_end(&completion), "the stream ended early on {}", self.name());
                id = self.submit(Op::Stream { socket: socket.clone() }, token);
            }
            got.extend(bytes_of(completion));
        }
        self.ring.cancel(id);
        loop {
            let completion = self.next_of(token);
            let is_last = !completion.more;
            got.extend(bytes_of(completion));
            if is_last {
                return got;
            }
        }
    }

    /// Writes all of `bytes` from the peer, polling while the window is full.
    pub(crate) fn write_all(&mut self, peer: &mut dyn Peer, bytes: &[u8]) {
        let mut sent = 0;
        self.drive("the peer's write", |_| {
            while sent < bytes.len() {
                match peer.write(&bytes[sent..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("the peer cannot write: {error}"),
                }
            }
            true
        });
    }

    /// Reads exactly `bytes` bytes at the peer, polling meanwhile.
    pub(crate) fn read_exactly(&mut self, peer: &mut dyn Peer, bytes: usize) -> Vec<u8> {
        let mut got = Vec::new();
        self.drive("the peer's read", |_| {
            read_into(peer, &mut got, bytes);
            got.len() >= bytes
        });
        assert_eq!(got.len(), bytes);
        got
    }

    fn wait_for(&mut self, what: &str, is_it: impl Fn(&Completion) -> bool) -> Completion {
        let mut found = None;
        self.drive(what, |bench| {
            bench.collect();
            let index = bench.kept.iter().position(&is_it);
            found = index.and_then(|index| bench.kept.remove(index));
            found.is_some()
        });
        found.expect("driven until it was there")
    }

    fn collect(&mut self) {
        while let Some(completion) = self.ring.next_completion() {
            self.kept.push_back(completion);
        }
    }
}

impl Dialer {
    pub(crate) fn dial(&self) -> Box<dyn Peer> {
        match &self.net {
            Some(net) => Box::new(net.dial(self.address).expect("somebody listens")),
            None => {
                let stream = TcpStream::connect(self.address).expect("somebody listens");
                stream.set_nonblocking(true).expect("a socket");
                Box::new(stream)
            }
        }
    }
}

impl Peer for SimPeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::read(self, buffer)
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn reset(self: Box<Self>) {
        Self::reset(&self);
    }
}

impl Peer for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).expect("connected");
    }

    fn reset(self: Box<Self>) {
        socket::set_abort_on_close(self.as_fd()).expect("a socket");
    }
}

/// A connected pair over loopback, both ends non-blocking, small writes leaving at once.
pub(crate) fn tcp_pair() -> (Handle, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let (ours, _) = listener.accept().expect("a connection waits");
    for stream in [&ours, &peer] {
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
    }
    (Handle::new(OwnedFd::from(ours)), peer)
}

/// Reads what is there, up to `limit` bytes in all; says whether the end was seen.
pub(crate) fn read_into(peer: &mut dyn Peer, got: &mut Vec<u8>, limit: usize) -> bool {
    let mut buffer = [0; 16 * 1024];
    while got.len() < limit {
        let room = buffer.len().min(limit - got.len());
        match peer.read(&mut buffer[..room]) {
            Ok(0) => return true,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the peer cannot read: {error}"),
        }
    }
    false
}

/// The bytes that a completion brings.
pub(crate) fn bytes_of(completion: Completion) -> Vec<u8> {
    match completion.payload {
        Payload::Bytes(slice) => slice.to_vec(),
        _ => Vec::new(),
    }
}

/// Whether a completion is the clean end of a stream.
pub(crate) fn is_end(completion: &Completion) -> bool {
    !completion.more
        && matches!(completion.result, Ok(0))
        && !matches!(completion.payload, Payload::Bytes(_) | Payload::Connection(_))
}

/// The error number of a completion.
pub(crate) fn errno(completion: &Completion) -> Option<i32> {
    completion.result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Bytes that tell their place: position `at` of stream `stream` is nowhere else nearby.
pub(crate) fn pattern(stream: u64, at: usize, bytes: usize) -> Vec<u8> {
    let byte = |at: u64| ((at ^ (at >> 8) ^ (at >> 16)).wrapping_mul(31).wrapping_add(stream)) & 0xff;
    (at as u64..(at + bytes) as u64).map(|at| u8::try_from(byte(at)).expect("masked")).collect()
}

/// `light` in the ordinary run, `heavy` with `RINGWAY_SLOW=1`.
pub(crate) fn count(light: usize, heavy: usize) -> usize {
    if std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1") { heavy } else { light }
}
