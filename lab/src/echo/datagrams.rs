//! Echo of datagrams: a server on a port of the engine, a blocking one for comparison, and clients that ask one at a time.

use crate::ceiling::Kind;
use crate::ceiling::serve::{Ending, Flags, Started, run_until_broken};
use crate::echo::failure::{Failure, What};
use crate::echo::plan::{Length, Moment, Plan, Report};
use crate::echo::script::{Cursor, Script};
use crate::measure::clock::thread_cpu;
use crate::refusal::Refusal;
use ringway_engine::{Handover, Outgoing, Port, PortHandler, PortOptions, PortSocket};
use ringway_ring::socket::{DatagramSocketOptions, bind_datagrams, connect_datagrams, local_address};
use ringway_ring::{Batch, DatagramOptions, Handle, Op, Payload, Ring, RingOptions, Wait};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Longest datagram that is said again, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// Datagrams received and not given back by the server.
const BUFFERS: u16 = 1024;

/// How long a stopping port may finish what it has.
const STOP: Duration = Duration::from_secs(1);

/// Starts an echo server of datagrams: on a port of one ring, or (`plain-blocking`) as a loop of two system calls.
///
/// # Errors
/// Refuses kinds that have no such server, and addresses that are taken.
pub fn start(
    kind: Kind,
    flags: &Flags,
    handover: Handover,
    ends: Sender<Ending>,
) -> Result<Started, Refusal> {
    let options = DatagramSocketOptions::default();
    let socket = bind_datagrams(flags.address, &options)
        .map_err(Refusal::because(format!("cannot listen on {}", flags.address)))?;
    let address = local_address(socket.as_fd()).unwrap_or(flags.address);
    match kind.driver() {
        Some(driver) => {
            let mut port_options =
                PortOptions { threads: 1, handover, wait: flags.wait, ..PortOptions::default() };
            port_options.ring.driver = driver;
            port_options.datagrams = DatagramOptions {
                buffers: BUFFERS,
                payload_bytes: DATAGRAM_BYTES_MAX,
                ..DatagramOptions::default()
            };
            start_port(socket, address, &port_options)
        }
        None if kind == Kind::PlainBlocking => start_blocking(socket, address, ends),
        None => {
            Err(Refusal::new(format!("{kind} does not serve datagrams; uring, epoll and plain-blocking do")))
        }
    }
}

fn start_port(socket: OwnedFd, address: SocketAddr, options: &PortOptions) -> Result<Started, Refusal> {
    let port = Port::start(vec![vec![socket]], options, Arc::new(Again))
        .map_err(|error| Refusal::new(error.to_string()))?;
    let settings = vec![
        ("wait mode", options.wait.to_string()),
        ("handover", format!("{:?}", options.handover)),
        ("server's driver", port.report().to_string()),
    ];
    let stop = move || {
        let end = port.stop(STOP);
        if let Some((_, death)) = end.deaths.first() {
            return Err(Refusal::failed(format!("the port's ring died: {death}")));
        }
        Ok(end.totals.iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    Ok(Started { address, settings, stop: Box::new(stop) })
}

/// Says every datagram again.
struct Again;

impl PortHandler for Again {
    fn batch(&self, _from: PortSocket, batch: &Batch, out: &mut Outgoing<'_>) {
        for datagram in batch {
            // The kernel knows who sent it; without that nobody can be answered.
            let Some(source) = datagram.source() else { continue };
            // What the queue has no room for is lost, as datagrams may be, and counted by the port.
            let _full = out.send(source, datagram.payload());
        }
    }
}

fn start_blocking(socket: OwnedFd, address: SocketAddr, ends: Sender<Ending>) -> Result<Started, Refusal> {
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(false).map_err(Refusal::because("cannot wait at the socket"))?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let work = move || {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let (bytes, source) = socket.recv_from(&mut buffer)?;
            counted.fetch_add(1, Ordering::Relaxed);
            let _lost_as_datagrams_may_be = socket.send_to(&buffer[..bytes], source);
        }
    };
    run_until_broken(Kind::PlainBlocking, ends, work)?;
    let stop = move || Ok(vec![("datagrams".to_owned(), count.load(Ordering::Relaxed))]);
    Ok(Started { address, settings: Vec::new(), stop: Box::new(stop) })
}

/// One client: a socket with one datagram under way.
struct Client {
    socket: Handle,
    cursor: Cursor,
    /// The datagram under way.
    message: Vec<u8>,
    sent_at: Instant,
}

/// Runs a plan's clients with datagrams: one a connection and under way at a time, each answer checked. Ramp, window, pauses,
/// disconnects and framing have no meaning here. A datagram that is not answered in the plan's patience ends the run.
///
/// # Errors
/// When the clients cannot run here.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(Moment)) -> Result<Report, Refusal> {
    let broke = |error: io::Error| Refusal::failed(format!("the clients' ring broke: {error}"));
    let options = RingOptions { driver: plan.driver, stream_buffers: 1, ..RingOptions::default() };
    let mut ring = Ring::new(&options).map_err(Refusal::because("cannot set up a ring"))?;
    let mut report = Report::new(ring.report().driver);
    let mut clients = open_clients(plan, &mut ring)?;
    report.opened = clients.len() as u64;
    let (warm_up, measured) = match plan.length {
        Length::Time { warm_up, measured } => (warm_up, measured),
        Length::Messages(_) => return Err(Refusal::new("datagrams are measured for a time")),
    };
    clients.iter_mut().try_for_each(|client| client.send()).map_err(Refusal::because("cannot send"))?;
    let begin = Instant::now() + warm_up;
    let mut cpu_begin = None;
    let wait = if plan.is_polled { Wait::Poll } else { Wait::AtMost(Duration::from_millis(50)) };
    loop {
        ring.poll(wait).map_err(broke)?;
        let now = Instant::now();
        if cpu_begin.is_none() && now >= begin {
            watch(Moment::Begin);
            cpu_begin = Some((Instant::now(), thread_cpu()));
        }
        while let Some(completion) = ring.next_completion() {
            let index = usize::try_from(completion.token).unwrap_or(usize::MAX);
            let Payload::Datagrams(batch) = completion.payload else { continue };
            let Some(client) = clients.get_mut(index) else { continue };
            if let Some(what) = client.answered(&batch, cpu_begin.is_some(), &mut report) {
                report.fail(index, what);
            }
            ring.recycle(batch);
        }
        let is_over = report.messages > 0 && cpu_begin.is_some_and(|(at, _)| at.elapsed() >= measured);
        if let Some(index) = clients.iter().position(|client| client.sent_at.elapsed() > plan.patience) {
            report.fail(index, clients[index].stalled(plan.patience));
        }
        if is_over || report.failed > 0 {
            break;
        }
    }
    if let Some((at, cpu)) = cpu_begin {
        report.elapsed = at.elapsed();
        report.client_cpu = thread_cpu().saturating_sub(cpu);
    }
    watch(Moment::End);
    Ok(report)
}

fn open_clients(plan: &Plan, ring: &mut Ring) -> Result<Vec<Client>, Refusal> {
    let datagrams =
        DatagramOptions { buffers: 16, payload_bytes: DATAGRAM_BYTES_MAX, ..DatagramOptions::default() };
    let open = |index: u32| -> io::Result<Client> {
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let fd = bind_datagrams(local, &DatagramSocketOptions::default())?;
        connect_datagrams(fd.as_fd(), plan.address)?;
        let socket = Handle::new(fd);
        let operation = Op::Datagrams(ring.datagrams(socket.clone(), &datagrams)?);
        if ring.submit(operation, u64::from(index)).is_err() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let cursor = Cursor::new(Script::of_life(plan.seed, index, 0, &plan.shape));
        Ok(Client { socket, cursor, message: Vec::new(), sent_at: Instant::now() })
    };
    let clients: io::Result<Vec<Client>> = (0..plan.connections).map(open).collect();
    clients.map_err(Refusal::because("cannot open the clients' sockets"))
}

impl Client {
    /// Sends the next message of the script.
    fn send(&mut self) -> io::Result<()> {
        let mut next = self.cursor;
        self.message.resize(next.left() as usize, 0);
        next.fill(&mut self.message);
        self.sent_at = Instant::now();
        let Some(socket) = self.socket.kernel() else { return Err(io::ErrorKind::NotConnected.into()) };
        rustix::net::send(socket, &self.message, rustix::net::SendFlags::empty())?;
        Ok(())
    }

    /// Takes the answer and sends the next message; what was wrong otherwise.
    fn answered(&mut self, batch: &Batch, is_measured: bool, report: &mut Report) -> Option<What> {
        let arrived = Instant::now();
        let mut answers = batch.iter();
        let answer = answers.next()?.payload();
        let offset = self.cursor.offset();
        if let Err(mismatch) = self.cursor.check(answer) {
            return Some(What::Different(Box::new(mismatch)));
        }
        if answer.len() < self.message.len() {
            let missing = (self.message.len() - answer.len()) as u64;
            return Some(What::Ended { offset: offset + answer.len() as u64, missing });
        }
        let surplus =
            answer.len() - self.message.len() + answers.map(|more| more.payload().len()).sum::<usize>();
        if surplus > 0 || batch.len() > 1 {
            return Some(What::Unasked { offset: self.cursor.offset(), bytes: surplus as u64 });
        }
        if is_measured {
            let ns = u64::try_from((arrived - self.sent_at).as_nanos()).unwrap_or(u64::MAX);
            report.latency.record(ns);
            report.messages += 1;
            report.bytes += answer.len() as u64;
        }
        let error = self.send().err()?;
        Some(What::Broken { offset: self.cursor.offset(), error: error.to_string() })
    }

    fn stalled(&self, patience: Duration) -> What {
        What::Stalled { offset: self.cursor.offset(), missing: self.message.len() as u64, patience }
    }
}

impl Report {
    fn fail(&mut self, connection: usize, what: What) {
        self.failed += 1;
        let connection = u32::try_from(connection).unwrap_or(u32::MAX);
        self.failures.push(Failure { connection, life: 0, what });
    }
}
