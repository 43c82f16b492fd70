//! Clients of datagrams: one datagram under way each, every answer checked.

use crate::echo::failure::{Failure, What};
use crate::echo::plan::{Length, Moment, Plan, Report};
use crate::echo::script::{Cursor, Script};
use crate::measure::clock::thread_cpu;
use crate::refusal::Refusal;
use ringway_ring::socket::{DatagramSocketOptions, bind_datagrams, connect_datagrams};
use ringway_ring::{Batch, DatagramOptions, Handle, Op, Payload, Ring, RingOptions, Wait};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Longest datagram that is said again, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

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
        if let Err(mismatch) = self.cursor.check(&answer[..answer.len().min(self.message.len())]) {
            return Some(What::Different(Box::new(mismatch)));
        }
        if answer.len() < self.message.len() {
            let missing = (self.message.len() - answer.len()) as u64;
            return Some(What::Short { offset: offset + answer.len() as u64, missing });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::script::{Framing, Pattern, Sizes};
    use ringway_ring::DriverChoice;
    use std::net::UdpSocket;

    /// A server that answers each datagram with what `change` makes of it, until the clients are gone.
    fn server(change: impl Fn(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let address = socket.local_addr().expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((count, source)) = socket.recv_from(&mut buffer) {
                let mut answer = buffer[..count].to_vec();
                change(&mut answer);
                let _gone = socket.send_to(&answer, source);
            }
        });
        address
    }

    fn plan(address: SocketAddr, driver: DriverChoice) -> Plan {
        let sizes = Sizes { low: 10, high: 100 };
        Plan {
            address,
            connections: 3,
            ramp_per_s: 0,
            shape: Script { key: 0, sizes, pattern: Pattern::Seeded, framing: Framing::Raw },
            window: 1,
            length: Length::Time { warm_up: Duration::ZERO, measured: Duration::from_millis(30) },
            pause_ms: (0, 0),
            disconnect_per_mille: 0,
            seed: 5,
            driver,
            is_polled: driver == DriverChoice::Auto,
            patience: Duration::from_secs(10),
        }
    }

    /// What the first failure of clients of a lying server is.
    fn failure(change: impl Fn(&mut Vec<u8>) + Send + 'static) -> String {
        let plan = Plan { patience: Duration::from_secs(1), ..plan(server(change), DriverChoice::Epoll) };
        let report = run(&plan, &mut |_| {}).expect("the clients run");
        assert!(report.failed >= 1);
        report.failures[0].to_string()
    }

    #[test]
    fn right_answers_are_counted_on_every_driver() {
        for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
            let mut moments = Vec::new();
            let report =
                run(&plan(server(|_| {}), driver), &mut |moment| moments.push(moment)).expect("runs");
            assert_eq!((report.failed, report.opened), (0, 3));
            assert!(report.messages > 0 && report.latency.count() == report.messages);
            assert_eq!(moments, [Moment::Begin, Moment::End]);
        }
    }

    #[test]
    fn wrong_answers_are_told_apart() {
        let changed = failure(|answer| answer[7] ^= 1);
        assert!(changed.contains("byte 7 of its stream (byte 7 of message 0)"), "{changed}");
        let short = failure(|answer| answer.truncate(9));
        assert!(short.contains("the answer ended after 9 bytes of its stream and lacks"), "{short}");
        let long = failure(|answer| answer.push(0));
        assert!(
            long.contains(": 1 bytes came behind byte ") && long.contains("nobody had asked for"),
            "{long}"
        );
        let silent = failure(|answer| std::thread::sleep(Duration::from_secs(answer.len() as u64)));
        assert!(silent.contains("nothing came for 1.0 s after 0 bytes"), "{silent}");
    }
}
