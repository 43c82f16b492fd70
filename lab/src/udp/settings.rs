//! What `udp serve` was told, and what of it was decided.

use ringway_engine::WaitMode;
use std::net::{Ipv4Addr, SocketAddr};

use super::receiver::Receiver;
use super::{kernel, rings};
use crate::refusal::Refusal;

/// The longest payload of a UDP datagram over IPv4.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_507;
/// A buffer that takes whatever a datagram or a train of coalesced ones can be.
const BUFFER_BYTES_MAX: usize = 65_535;
/// A buffer's size when nothing else was said and the datagrams fit.
const BUFFER_BYTES: usize = 2_048;
/// Pending receives when nothing else was said.
const BUFFERS: u16 = 1_024;
/// Pending receives of coalesced trains when nothing else was said: 4 MiB in all.
const BUFFERS_GRO: u16 = 64;
/// Pending receives at least: of fewer no quarter is left for a batch.
const BUFFERS_MIN: u16 = 4;
/// Pending receives at most.
const BUFFERS_MAX: u16 = 32_768;
/// Threads of a pool at most.
pub(super) const THREADS_MAX: usize = 64;
/// Results of one dequeue at most.
const RESULTS_MAX: usize = 4_096;
/// Results of one dequeue of a ring when nothing else was said.
const RESULTS: usize = 256;
/// Receive buffers that are asked for at most.
const RECEIVE_BUFFER_BYTES_MAX: usize = 1 << 30;
/// Threads of a pool when nothing else was said.
const THREADS: usize = 2;

/// Flags of `udp serve`. What was not said is chosen to fit the receiver.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Arguments {
    /// The receiver
    #[arg(long, value_enum, default_value = "ring-event")]
    pub(super) server: Receiver,
    /// Listen on this address; port 0 is any. A port of several rings listens on as many ports
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub(super) bind: SocketAddr,
    /// Size of the datagrams that count, in bytes; a shorter one ends the trial
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) size: usize,
    /// Iterations of work for every datagram
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) work: u32,
    /// Pending receives of a ring, a power of two [default: 1024; 64 with --gro]
    #[arg(long, value_name = "N")]
    pub(super) buffers: Option<u16>,
    /// Size of a buffer in bytes [default: 2048 or the datagrams' size; 65535 with --gro]
    #[arg(long, value_name = "BYTES")]
    pub(super) buffer_size: Option<usize>,
    /// Put a ring's buffers on huge pages
    #[arg(long)]
    pub(super) huge_pages: bool,
    /// Run on these cores only, as in 0,1
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub(super) cpus: Vec<usize>,
    /// Threads of ring-port-N and plain-port-N [default: 2]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Rings, each with its own port number, of ring-port-1 and ring-port-N [default: as many as threads]
    #[arg(long, value_name = "N")]
    pub(super) rings: Option<usize>,
    /// Results that one dequeue takes at most [default: 256 for rings, 1 for plain ports]
    #[arg(long, value_name = "N")]
    pub(super) results: Option<usize>,
    /// Receive buffer of a socket in bytes [default: the most that the system allows]
    #[arg(long, value_name = "BYTES")]
    pub(super) receive_buffer: Option<usize>,
    /// How ring-event and the rings of a port wait: event, adaptive, or batch:COMPLETIONS:TIME
    #[arg(long, value_name = "MODE")]
    pub(super) wait: Option<WaitMode>,
    /// Let the kernel coalesce datagrams of one sender (rings only)
    #[arg(long)]
    pub(super) gro: bool,
    /// Use readiness instead of io_uring under the rings
    #[arg(long)]
    pub(super) epoll: bool,
    /// End the trial by ourselves after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(super) timeout: u64,
}

/// The flags with everything decided.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: Receiver,
    pub(super) bind: SocketAddr,
    pub(super) size: usize,
    pub(super) work: u32,
    pub(super) buffers: u16,
    pub(super) buffer_bytes: usize,
    pub(super) huge_pages: bool,
    pub(super) threads: usize,
    pub(super) rings: usize,
    pub(super) results: usize,
    pub(super) receive_buffer_bytes: usize,
    pub(super) wait: WaitMode,
    pub(super) gro: bool,
    pub(super) epoll: bool,
}

impl Settings {
    /// Decides what was not said, and refuses what cannot be or would have no effect.
    pub(super) fn decide(arguments: &Arguments) -> Result<Settings, Refusal> {
        without_effect(arguments)?;
        let server = arguments.server;
        let threads = if server.has_pool() { arguments.threads.unwrap_or(THREADS) } else { 1 };
        let fitting = if arguments.gro { BUFFER_BYTES_MAX } else { BUFFER_BYTES.max(arguments.size) };
        let buffers = arguments.buffers.unwrap_or(if arguments.gro { BUFFERS_GRO } else { BUFFERS });
        let settings = Settings {
            server,
            bind: arguments.bind,
            size: arguments.size,
            work: arguments.work,
            buffers,
            buffer_bytes: arguments.buffer_size.unwrap_or(fitting),
            huge_pages: arguments.huge_pages,
            threads,
            rings: if server.is_ring_port() { arguments.rings.unwrap_or(threads) } else { 1 },
            results: arguments.results.unwrap_or(if server.is_ring() { results_fitting(buffers) } else { 1 }),
            receive_buffer_bytes: arguments.receive_buffer.unwrap_or_else(kernel::receive_buffer_bytes_max),
            wait: arguments.wait.unwrap_or_else(|| rings::wait_of(server)),
            gro: arguments.gro,
            epoll: arguments.epoll,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Refusal> {
        within("--size", self.size, 1..=DATAGRAM_BYTES_MAX)?;
        within("--threads", self.threads, 1..=THREADS_MAX)?;
        within("--rings", self.rings, 1..=THREADS_MAX)?;
        within("--results", self.results, 1..=RESULTS_MAX)?;
        within("--receive-buffer", self.receive_buffer_bytes, 1..=RECEIVE_BUFFER_BYTES_MAX)?;
        within("--buffer-size", self.buffer_bytes, 1..=BUFFER_BYTES_MAX)?;
        if self.buffer_bytes < self.size {
            let (buffer, size) = (self.buffer_bytes, self.size);
            return Err(Refusal::new(format!(
                "--buffer-size {buffer} is too small for datagrams of {size} bytes"
            )));
        }
        if !self.buffers.is_power_of_two() || !(BUFFERS_MIN..=BUFFERS_MAX).contains(&self.buffers) {
            return Err(Refusal::new(format!(
                "--buffers {} is no power of two from {BUFFERS_MIN} to {BUFFERS_MAX}",
                self.buffers
            )));
        }
        if self.server.is_ring_port() {
            // Three batches of a socket may be out at once, and the kernel needs room meanwhile.
            within("--results", self.results, 1..=usize::from(self.buffers) / 4)?;
        }
        let last = usize::from(self.bind.port()) + self.rings - 1;
        if self.bind.port() != 0 && last > usize::from(u16::MAX) {
            return Err(Refusal::new(format!(
                "{} rings from port {} on need ports up to {last}",
                self.rings,
                self.bind.port()
            )));
        }
        Ok(())
    }
}

/// Results of one dequeue of a ring when nothing else was said.
fn results_fitting(buffers: u16) -> usize {
    RESULTS.min(usize::from(buffers) / 4).max(1)
}

/// Refuses flags that the receiver could not obey: silence would spoil a comparison.
fn without_effect(arguments: &Arguments) -> Result<(), Refusal> {
    let server = arguments.server;
    let waits = server == Receiver::RingEvent || server.is_ring_port();
    let dequeues = server.is_ring() || matches!(server, Receiver::PlainPort1 | Receiver::PlainPortN);
    let flags = [
        ("--buffers", arguments.buffers.is_some(), server.is_ring()),
        ("--huge-pages", arguments.huge_pages, server.is_ring()),
        ("--threads", arguments.threads.is_some(), server.has_pool()),
        ("--rings", arguments.rings.is_some(), server.is_ring_port()),
        ("--results", arguments.results.is_some(), dequeues),
        ("--wait", arguments.wait.is_some(), waits),
        ("--gro", arguments.gro, server.is_ring()),
        ("--epoll", arguments.epoll, server.is_ring()),
    ];
    match flags.iter().find(|(_, given, obeyed)| *given && !*obeyed) {
        Some((flag, ..)) => Err(Refusal::new(format!("{flag} has no effect on {server}"))),
        None => Ok(()),
    }
}

/// Refuses a number that is out of its range.
pub(super) fn within(
    flag: &str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Refusal::new(format!("{flag} {value} is not within {} to {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn decide(flags: &str) -> Result<Settings, String> {
        let line = Line::try_parse_from(std::iter::once("serve").chain(flags.split_whitespace()));
        let arguments = line.map_err(|error| error.to_string())?.arguments;
        Settings::decide(&arguments).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_was_not_said_fits_the_receiver() {
        let ring = decide("--server ring-event").expect("fine");
        assert_eq!(
            (ring.threads, ring.rings, ring.buffers, ring.buffer_bytes),
            (1, 1, BUFFERS, BUFFER_BYTES)
        );
        let port = decide("--server ring-port-N --threads 3 --size 9000").expect("fine");
        assert_eq!((port.threads, port.rings, port.buffer_bytes), (3, 3, 9000));
        let gro = decide("--server ring-event --gro").expect("fine");
        assert_eq!((gro.buffers, gro.buffer_bytes), (BUFFERS_GRO, BUFFER_BYTES_MAX));
        let plain = decide("--server plain-port-N").expect("fine");
        assert_eq!((plain.threads, plain.rings, plain.results), (THREADS, 1, 1));
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (flags, sentence) in [
            ("--server plain-polled --gro", "--gro has no effect on plain-polled"),
            ("--server ring-event --threads 2", "--threads has no effect on ring-event"),
            ("--server plain-port-1 --huge-pages", "--huge-pages has no effect on plain-port-1"),
            ("--size 0", "--size 0 is not within 1 to 65507"),
            ("--size 4096 --buffer-size 1000", "--buffer-size 1000 is too small for datagrams of 4096 bytes"),
            ("--buffers 1000", "--buffers 1000 is no power of two from 4 to 32768"),
            (
                "--server ring-port-N --bind 127.0.0.1:65535",
                "2 rings from port 65535 on need ports up to 65536",
            ),
        ] {
            assert_eq!(decide(flags).expect_err(flags), sentence);
        }
    }
}
