//! `udp send`: the generator, as fast as it can or at a rate, and the short datagrams that end a trial.

use ringway_engine::ring::socket::{SendBatch, send_datagrams, set_segment_bytes};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::served::{quantity, row_of};
use super::settings::{DATAGRAM_BYTES_MAX, within};
use super::stamp;
use crate::measure::{clock, cores};
use crate::outcome::{Column, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use serde_json::Value;

/// Datagrams sent between two looks at the clock.
const BURST: usize = 64;
/// Segments of one train at most, as the kernel has it (UDP_MAX_SEGMENTS was 64 until 6.10).
const SEGMENTS_MAX: usize = 64;
/// Messages of one `sendmmsg` at most (UIO_MAXIOV).
const BATCH_MAX: usize = 1_024;
/// Targets at most.
const TARGETS_MAX: usize = 64;
/// Short datagrams sent to each target at a time at the end.
const CLOSING_BURST: usize = 4;
/// Between two bursts of short datagrams.
const CLOSING_PAUSE: Duration = Duration::from_millis(1);
/// A generator that is ahead of its rate by more than this sleeps, otherwise it spins.
const SLEEP_FROM: Duration = Duration::from_micros(200);
/// How long is sent when neither number nor time was said.
const SECONDS: f64 = 5.0;

/// Flags of `udp send`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Arguments {
    /// Send to these addresses in turn, as in 127.0.0.1:9000,127.0.0.1:9001
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', required = true)]
    pub(super) to: Vec<SocketAddr>,
    /// Size of a datagram in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) size: usize,
    /// Send so many datagrams, all threads together
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub(super) count: Option<u64>,
    /// Send for so long [default: 5]
    #[arg(long, value_name = "SECONDS")]
    pub(super) seconds: Option<f64>,
    /// Datagrams a second, all threads together [default: as fast as possible]
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<u64>,
    /// Threads, each with its own socket
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) threads: usize,
    /// Datagrams that are given to the kernel as one train and cut there (GSO); 1 is none
    #[arg(long, value_name = "SEGMENTS", default_value_t = 1)]
    pub(super) gso: usize,
    /// Datagrams (with --gso: trains) of one system call; 1 is a tight loop around sendto
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) batch: usize,
    /// Run on these cores only, as in 0,1
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub(super) cpus: Vec<usize>,
    /// Size of the short datagrams that end the trial in bytes [default: 8, or less if the others are shorter]
    #[arg(long, value_name = "BYTES")]
    pub(super) closing_size: Option<usize>,
    /// Repeat the short datagrams until nobody listens any more, at most so long; 0 sends none
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000)]
    pub(super) closing: u64,
}

/// What a generator has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sent {
    /// Datagrams that the kernel took.
    pub(super) datagrams: f64,
    /// From the first to the last.
    pub(super) seconds: f64,
    /// CPU time per datagram.
    pub(super) cpu_ns: f64,
    /// Datagrams that the kernel did not take for want of memory.
    pub(super) refused: f64,
}

/// Names and units of the rows.
const ROWS: [(&str, &str); 5] = [
    ("datagrams", ""),
    ("time", "s"),
    ("rate", "datagrams/s"),
    ("CPU per datagram", "ns"),
    ("refused by the kernel", ""),
];

/// Runs the generator.
pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    check(arguments)?;
    if !arguments.cpus.is_empty() {
        cores::pin_to(&arguments.cpus)?;
    }
    let plans = plan(arguments)?;
    progress.stage(&format!("sending to {:?}", arguments.to));
    let (began, cpu) = (Instant::now(), clock::process_cpu());
    let results = thread::scope(|scope| {
        let threads: Vec<_> = plans.into_iter().map(|plan| scope.spawn(move || plan.run())).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .map(|result| result.unwrap_or_else(|_panic| Err(broken())))
            .collect::<Result<Vec<_>, Refusal>>()
    });
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), clock::process_cpu().saturating_sub(cpu));
    // Even when a thread failed, the receiver is told that the trial is over.
    let heard = close(arguments)?;
    let (datagrams, refused) = results?.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let cpu_ns = if datagrams == 0 { 0.0 } else { cpu.as_nanos() as f64 / datagrams as f64 };
    let sent = Sent { datagrams: datagrams as f64, seconds, cpu_ns, refused: refused as f64 };
    let mut outcome = describe(arguments);
    outcome.tables.push(sent.table());
    if !heard && arguments.closing > 0 {
        outcome.note("short datagrams were sent until the time for them was over: somebody may listen still");
    }
    Ok(outcome)
}

fn broken() -> Refusal {
    Refusal::failed("a thread of the generator panicked")
}

fn check(arguments: &Arguments) -> Result<(), Refusal> {
    within("the number of targets", arguments.to.len(), 1..=TARGETS_MAX)?;
    within("--size", arguments.size, 1..=DATAGRAM_BYTES_MAX)?;
    within("--threads", arguments.threads, 1..=stamp::FLOWS_MAX)?;
    within("--gso", arguments.gso, 1..=SEGMENTS_MAX)?;
    within("--batch", arguments.batch, 1..=BATCH_MAX)?;
    if arguments.to.iter().any(|target| target.is_ipv4() != arguments.to[0].is_ipv4()) {
        return Err(Refusal::new("targets are of one family, IPv4 or IPv6"));
    }
    let (size, gso) = (arguments.size, arguments.gso);
    if size * gso > DATAGRAM_BYTES_MAX {
        let sentence =
            format!("a train of {gso} datagrams of {size} bytes is longer than {DATAGRAM_BYTES_MAX} bytes");
        return Err(Refusal::new(sentence));
    }
    if arguments.closing_size.is_some_and(|closing| closing >= size) {
        return Err(Refusal::new(format!(
            "--closing-size must be below the size of the datagrams, {size} bytes"
        )));
    }
    if arguments.seconds.is_some_and(|seconds| !(0.0..=86_400.0).contains(&seconds)) {
        return Err(Refusal::new("--seconds must be within 0 and 86400"));
    }
    if arguments.rate == Some(0) {
        return Err(Refusal::new("--rate must be above 0"));
    }
    Ok(())
}

/// What one thread is to send.
struct Plan {
    socket: UdpSocket,
    targets: Vec<SocketAddr>,
    flow: u16,
    sequence: u64,
    size: usize,
    segments: usize,
    batch: usize,
    count: Option<u64>,
    time: Duration,
    rate: Option<f64>,
    buffer: Vec<u8>,
    outgoing: SendBatch,
    turn: usize,
}

fn plan(arguments: &Arguments) -> Result<Vec<Plan>, Refusal> {
    let threads = arguments.threads as u64;
    let one = |thread: u64| -> Result<Plan, Refusal> {
        let socket = socket_for(arguments.to[0])?;
        let train = arguments.size * arguments.gso;
        if arguments.gso > 1 && arguments.batch == 1 {
            // A train of two or more fits into one datagram's longest size, so this is exact.
            let segment_bytes = u16::try_from(arguments.size).unwrap_or(u16::MAX);
            set_segment_bytes(socket.as_fd(), segment_bytes)
                .map_err(Refusal::because("the kernel does not cut trains (GSO)"))?;
        }
        Ok(Plan {
            socket,
            targets: arguments.to.clone(),
            flow: u16::try_from(thread).unwrap_or(0),
            sequence: 0,
            size: arguments.size,
            segments: arguments.gso,
            batch: arguments.batch,
            count: arguments.count.map(|count| count / threads + u64::from(thread < count % threads)),
            time: Duration::from_secs_f64(arguments.seconds.unwrap_or(SECONDS)),
            rate: arguments.rate.map(|rate| rate as f64 / arguments.threads as f64),
            buffer: vec![0x5a; train],
            outgoing: SendBatch::new(arguments.batch, arguments.batch * train),
            turn: 0,
        })
    };
    (0..threads).map(one).collect()
}

/// A socket that can send to addresses like this one.
fn socket_for(target: SocketAddr) -> Result<UdpSocket, Refusal> {
    let any = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    UdpSocket::bind(any).map_err(Refusal::because("cannot open a socket"))
}

impl Plan {
    /// Sends; gives how many datagrams the kernel took and how many it refused.
    fn run(mut self) -> Result<(u64, u64), Refusal> {
        let began = Instant::now();
        let (mut sent, mut refused) = (0, 0);
        loop {
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(sent + refused));
            let elapsed = began.elapsed();
            if left == 0 || self.count.is_none() && elapsed >= self.time {
                return Ok((sent, refused));
            }
            let allowed = self.allowed(elapsed, sent + refused).min(left);
            let (taken, denied) = self.burst(allowed)?;
            sent += taken;
            refused += denied;
        }
    }

    /// How many datagrams may be sent now; waits a moment if none.
    fn allowed(&self, elapsed: Duration, sent: u64) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let ahead = sent as f64 - elapsed.as_secs_f64() * rate;
        if ahead < 0.0 {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and saturates"
            )]
            return (-ahead).ceil() as u64;
        }
        let wait = Duration::from_secs_f64(ahead / rate).min(self.time.max(Duration::from_millis(1)));
        if wait > SLEEP_FROM {
            thread::sleep(wait)
        } else {
            std::hint::spin_loop()
        }
        0
    }

    /// Sends up to `allowed` datagrams, and about [`BURST`] at most.
    fn burst(&mut self, allowed: u64) -> Result<(u64, u64), Refusal> {
        let unit = self.segments * self.batch;
        let bursts = BURST.div_ceil(unit);
        let (mut sent, mut refused) = (0, 0);
        for _ in 0..bursts {
            let want =
                usize::try_from(allowed.saturating_sub(sent + refused)).unwrap_or(usize::MAX).min(unit);
            if want == 0 {
                break;
            }
            let result = if self.batch > 1 { self.send_many(want) } else { self.send_one(want) };
            match result {
                Ok(taken) => {
                    sent += taken as u64;
                    refused += (want - taken) as u64;
                }
                // The queue of a device is full; these datagrams are lost, as on any network.
                Err(error) if is_full(&error) => refused += want as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Refusal::failed(format!("cannot send to {}: {error}", self.target())));
                }
            }
        }
        Ok((sent, refused))
    }

    /// One datagram, or one train from where it was written: the socket has the kernel cut it.
    fn send_one(&mut self, want: usize) -> io::Result<usize> {
        self.stamp(want);
        let target = self.next_target();
        self.socket.send_to(&self.buffer[..want * self.size], target)?;
        Ok(want)
    }

    /// Several datagrams or trains with one system call.
    fn send_many(&mut self, want: usize) -> io::Result<usize> {
        // A train of two or more fits into one datagram's longest size, so this is exact.
        let segment_bytes = u16::try_from(self.size).unwrap_or(u16::MAX);
        let mut left = want;
        while left > 0 {
            let datagrams = left.min(self.segments);
            left -= datagrams;
            self.stamp(datagrams);
            let target = self.next_target();
            let train = &self.buffer[..datagrams * self.size];
            let pushed = if datagrams > 1 {
                self.outgoing.push_train(Some(target), train, segment_bytes)
            } else {
                self.outgoing.push(Some(target), train)
            };
            pushed.map_err(io::Error::other)?;
        }
        let mut taken = send_datagrams(self.socket.as_fd(), &mut self.outgoing)?.datagrams;
        let refused =
            self.outgoing.refusals().iter().map(|refusal| io::Error::from_raw_os_error(refusal.errno));
        if let Some(error) = refused.into_iter().find(|error| !is_full(error)) {
            return Err(error);
        }
        while !self.outgoing.is_empty() {
            let mut writable = [PollFd::new(&self.socket, PollFlags::OUT)];
            poll(&mut writable, None)?;
            taken += send_datagrams(self.socket.as_fd(), &mut self.outgoing)?.datagrams;
        }
        Ok(taken)
    }

    fn stamp(&mut self, datagrams: usize) {
        for datagram in self.buffer.chunks_exact_mut(self.size).take(datagrams) {
            self.sequence += 1;
            stamp::write(datagram, self.flow, self.sequence);
        }
    }

    fn next_target(&mut self) -> SocketAddr {
        self.turn = (self.turn + 1) % self.targets.len();
        self.target()
    }

    fn target(&self) -> SocketAddr {
        self.targets[self.turn]
    }
}

/// Whether a send failed for want of buffers.
fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // ENOBUFS: a device's queue; EAGAIN: the socket's own buffer.
    matches!(Errno::from_io_error(error), Some(Errno::NOBUFS | Errno::AGAIN))
}

/// Sends short datagrams to every target until it refuses them, for a limited time. Says whether all refused.
fn close(arguments: &Arguments) -> Result<bool, Refusal> {
    let short = vec![0; arguments.closing_size.unwrap_or_else(|| 8.min(arguments.size - 1))];
    let mut open = Vec::new();
    for target in &arguments.to {
        let socket = socket_for(*target)?;
        socket.connect(target).map_err(Refusal::because(format!("cannot reach {target}")))?;
        open.push(socket);
    }
    let began = Instant::now();
    let at_most = Duration::from_millis(arguments.closing);
    while !open.is_empty() && began.elapsed() < at_most {
        open.retain(|socket| (0..CLOSING_BURST).all(|_| is_heard(socket.send(&short))));
        thread::sleep(CLOSING_PAUSE);
    }
    Ok(open.is_empty())
}

/// Whether somebody may still listen, as far as a send on a connected socket says.
fn is_heard(sent: io::Result<usize>) -> bool {
    !sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn describe(arguments: &Arguments) -> Outcome {
    let mut outcome = Outcome::new("UDP: what the generator sends");
    outcome.setting("targets", format!("{:?}", arguments.to));
    outcome.setting("datagram", format!("{} bytes", arguments.size));
    let rate =
        arguments.rate.map_or_else(|| "as fast as possible".to_owned(), |rate| format!("{rate} a second"));
    outcome.setting("rate", rate);
    outcome.setting("threads", arguments.threads.to_string());
    outcome.setting("messages a system call", arguments.batch.to_string());
    outcome.setting("datagrams a train (GSO)", arguments.gso.to_string());
    outcome
}

impl Sent {
    /// Datagrams a second.
    pub(super) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.datagrams / self.seconds } else { 0.0 }
    }

    fn table(&self) -> Table {
        let columns = vec![Column::text("what"), Column::number("value", "", 0)];
        let mut table = Table::new("sent", "What the generator did", columns);
        let values = [self.datagrams, self.seconds, self.rate(), self.cpu_ns, self.refused];
        for ((name, unit), value) in ROWS.iter().zip(values) {
            table.row([(*name).into(), quantity(Some(value), unit)]);
        }
        table
    }

    /// Reads what [`Sent::table`] wrote into the JSON of an outcome.
    pub(super) fn read(outcome: &Value) -> Option<Sent> {
        let mut values = [0.0; ROWS.len()];
        for ((name, _), value) in ROWS.iter().zip(&mut values) {
            *value = row_of(outcome, name)?["value"].as_f64()?;
        }
        let [datagrams, seconds, _rate, cpu_ns, refused] = values;
        Some(Sent { datagrams, seconds, cpu_ns, refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_says_can_be_read_back() {
        let sent = Sent { datagrams: 5e6, seconds: 2.0, cpu_ns: 400.0, refused: 1.0 };
        let mut outcome = Outcome::new("a run");
        outcome.tables.push(sent.table());
        assert_eq!(Sent::read(&outcome.to_json()), Some(sent));
    }

    #[test]
    fn a_full_queue_is_not_the_end() {
        assert!(is_full(&io::Error::from_raw_os_error(105)) && is_full(&io::Error::from_raw_os_error(11)));
        assert!(!is_full(&io::Error::from_raw_os_error(101)));
    }

    #[test]
    fn only_a_refusal_says_that_nobody_listens() {
        assert!(is_heard(Ok(8)));
        assert!(is_heard(Err(io::Error::from_raw_os_error(105))));
        assert!(!is_heard(Err(io::Error::from_raw_os_error(111))));
    }
}
