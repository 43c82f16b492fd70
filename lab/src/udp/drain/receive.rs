//! Emptying one socket in several ways: ring, readiness driver, plain receives, and a plain C loop started beside.

use ringway_engine::ring::socket::{self, DatagramSocketOptions, SendBatch, send_datagrams};
use ringway_engine::ring::{DatagramOptions, DriverChoice, Handle, Op, Payload, Ring, RingOptions, Wait};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::measure::clock;
use crate::refusal::Refusal;
use crate::udp::kernel;

/// Datagrams that fill a socket.
const DATAGRAMS: usize = 960;
/// Datagrams of a train; [`DATAGRAMS`] is a multiple.
const TRAIN: usize = 60;
/// Fillings of one round.
const FILLINGS: usize = 100;
/// Fillings before the first round, not measured.
const WARM_UP: usize = 20;
/// Room of a buffer for one datagram.
const BUFFER_BYTES: usize = 2_048;
/// Room of a buffer for a train.
const TRAIN_BYTES_MAX: usize = 65_535;

/// A way to empty a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Ring,
    RingEpoll,
    Plain,
    Yardstick,
    TrainsRing,
    TrainsPlain,
}

impl Method {
    /// All, in the order in which they are shown.
    pub(super) const ALL: [Method; 6] = [
        Method::Ring,
        Method::RingEpoll,
        Method::Plain,
        Method::Yardstick,
        Method::TrainsRing,
        Method::TrainsPlain,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Method::Ring => "ring (multishot receive)",
            Method::RingEpoll => "readiness driver (recvmmsg)",
            Method::Plain => "plain receive loop",
            Method::Yardstick => "plain C loop, multishot receive",
            Method::TrainsRing => "trains: ring, coalesced (GRO)",
            Method::TrainsPlain => "trains: plain receive loop",
        }
    }

    /// What it is compared with.
    pub(super) fn base(self) -> Method {
        if self.has_trains() { Method::TrainsPlain } else { Method::Plain }
    }

    /// Whether datagrams of this size can be received so.
    pub(super) fn fits(self, size: usize) -> bool {
        !self.has_trains() || size * TRAIN <= crate::udp::settings::DATAGRAM_BYTES_MAX
    }

    fn has_trains(self) -> bool {
        matches!(self, Method::TrainsRing | Method::TrainsPlain)
    }
}

/// One way to empty a socket, ready.
pub(super) struct Receive {
    pub(super) method: Method,
    pub(super) size: usize,
    way: Way,
}

enum Way {
    Ring { ring: Box<Ring>, sender: UdpSocket },
    Plain { receiver: UdpSocket, sender: UdpSocket },
    Yardstick(PathBuf),
}

impl Receive {
    /// Sets everything up and warms it up.
    pub(super) fn new(method: Method, size: usize, yardstick: Option<&Path>) -> Result<Receive, Refusal> {
        let way = match method {
            Method::Ring | Method::TrainsRing => ring(DriverChoice::Uring, method, size)?,
            Method::RingEpoll => ring(DriverChoice::Epoll, method, size)?,
            Method::Plain | Method::TrainsPlain => plain()?,
            Method::Yardstick => Way::Yardstick(yardstick.unwrap_or(Path::new("drain")).to_owned()),
        };
        let mut receive = Receive { method, size, way };
        if method != Method::Yardstick {
            receive.fillings(WARM_UP)?;
        }
        Ok(receive)
    }

    /// One round: CPU nanoseconds a datagram.
    pub(super) fn round(&mut self) -> Result<f64, Refusal> {
        if let Way::Yardstick(program) = &self.way {
            return ask(program, self.size);
        }
        self.fillings(FILLINGS)
    }

    fn fillings(&mut self, count: usize) -> Result<f64, Refusal> {
        let broken = |error: io::Error| Refusal::failed(format!("{}: {error}", self.method.name()));
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            spent += match &mut self.way {
                Way::Ring { ring, sender } => {
                    fill(sender, self.method, self.size).map_err(broken)?;
                    timed(|| drain_ring(ring, self.size)).map_err(broken)?
                }
                Way::Plain { receiver, sender } => {
                    fill(sender, self.method, self.size).map_err(broken)?;
                    timed(|| drain_plain(receiver, self.size)).map_err(broken)?
                }
                Way::Yardstick(_) => Duration::ZERO,
            };
        }
        Ok(spent.as_nanos() as f64 / (count * DATAGRAMS) as f64)
    }
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let before = clock::thread_cpu();
    work()?;
    Ok(clock::thread_cpu().saturating_sub(before))
}

fn ring(driver: DriverChoice, method: Method, size: usize) -> Result<Way, Refusal> {
    let refused = Refusal::because::<io::Error>(format!("{} is impossible here", method.name()));
    let gro = method == Method::TrainsRing;
    let set_up = || -> io::Result<Way> {
        let mut ring = Ring::new(&RingOptions { driver, ..RingOptions::default() })?;
        let receive_buffer_bytes = u32::try_from(kernel::receive_buffer_bytes_max()).unwrap_or(u32::MAX);
        let options = DatagramSocketOptions { receive_buffer_bytes, gro, ..DatagramSocketOptions::default() };
        let receiver = socket::bind_datagrams(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options)?;
        let address = socket::local_address(receiver.as_fd()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let sender = sender_to(address)?;
        let payload_bytes = if gro { TRAIN_BYTES_MAX } else { BUFFER_BYTES.max(size) };
        let buffers = if gro { 64 } else { 1024 };
        let options = DatagramOptions { buffers, payload_bytes, ..DatagramOptions::default() };
        let datagrams = ring.datagrams(Handle::new(receiver), &options)?;
        ring.submit(Op::Datagrams(datagrams), 0)
            .map_err(|_op| io::Error::other("a ring takes an operation"))?;
        Ok(Way::Ring { ring: Box::new(ring), sender })
    };
    set_up().map_err(refused)
}

fn plain() -> Result<Way, Refusal> {
    let receiver =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Refusal::because("cannot open a socket"))?;
    kernel::set_receive_buffer(&receiver, kernel::receive_buffer_bytes_max())?;
    let set_up = || -> io::Result<Way> {
        receiver.set_nonblocking(true)?;
        let sender = sender_to(receiver.local_addr()?)?;
        Ok(Way::Plain { receiver, sender })
    };
    set_up().map_err(Refusal::because("cannot set a socket up"))
}

fn sender_to(address: SocketAddr) -> io::Result<UdpSocket> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.connect(address)?;
    Ok(sender)
}

fn fill(sender: &UdpSocket, method: Method, size: usize) -> io::Result<()> {
    let bytes = [0x5a; TRAIN_BYTES_MAX];
    if !method.has_trains() {
        return (0..DATAGRAMS).try_for_each(|_| sender.send(&bytes[..size]).map(drop));
    }
    let train = &bytes[..size * TRAIN];
    let segment_bytes = u16::try_from(size).map_err(io::Error::other)?;
    let mut outgoing = SendBatch::new(1, train.len());
    for _ in 0..DATAGRAMS / TRAIN {
        outgoing.push_train(None, train, segment_bytes).map_err(io::Error::other)?;
        if send_datagrams(sender.as_fd(), &mut outgoing)?.datagrams < TRAIN {
            return Err(io::Error::other("the kernel did not take a train"));
        }
    }
    Ok(())
}

fn drain_ring(ring: &mut Ring, size: usize) -> io::Result<()> {
    let mut count = 0;
    while count < DATAGRAMS {
        ring.poll(Wait::AtMost(Duration::from_secs(1)))?;
        let before = count;
        while let Some(completion) = ring.next_completion() {
            completion.result?;
            if let Payload::Datagrams(batch) = completion.payload {
                count += batch.iter().map(|datagram| datagram.payload().len() / size).sum::<usize>();
                ring.recycle(batch);
            }
        }
        if count == before {
            return Err(io::Error::other(format!("only {count} of {DATAGRAMS} datagrams came")));
        }
    }
    Ok(())
}

fn drain_plain(receiver: &UdpSocket, size: usize) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES * 8];
    let mut count = 0;
    loop {
        match receiver.recv(&mut buffer) {
            Ok(bytes) => count += bytes / size,
            // Empty, as the plain loop of the yardstick finds out too.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && count == DATAGRAMS => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Runs the plain C loop and reads its figure.
fn ask(program: &Path, size: usize) -> Result<f64, Refusal> {
    let name = program.display();
    let output = Command::new(program)
        .args(["msmsg", &size.to_string(), "0"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(Refusal::because(format!("cannot run {name}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    figure_in(&text).ok_or_else(|| Refusal::new(format!("{name} printed no figure before \" ns/dgram\"")))
}

fn figure_in(text: &str) -> Option<f64> {
    let (before, _) = text.split_once(" ns/dgram")?;
    before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_a_plain_loop_is_found() {
        assert_eq!(figure_in("msmsg,1024,gso0,354.1 ns/dgram,got 307200 of 307200\n"), Some(354.1));
        assert_eq!(figure_in("nothing"), None);
    }

    #[test]
    fn every_way_empties_its_socket() {
        for method in Method::ALL.into_iter().filter(|method| *method != Method::Yardstick) {
            for size in [64, 1024] {
                match Receive::new(method, size, None) {
                    Ok(mut receive) => {
                        let ns = receive.fillings(1).expect("all datagrams come");
                        assert!(ns > 0.0, "{}: {ns}", method.name());
                    }
                    Err(refusal) => assert!(refusal.to_string().contains("is impossible here"), "{refusal}"),
                }
            }
        }
    }
}
