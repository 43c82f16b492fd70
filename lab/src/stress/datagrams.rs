//! Stressing clients of datagrams: each is a message with its number in it, so what is lost, late, doubled or wrong is told apart.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ringway_pace::Wheel;
use ringway_ring::socket::{
    Address, DatagramSocketOptions, SendBatch, bind_datagrams, connect_datagrams, send_datagrams,
};
use ringway_ring::{Batch, DatagramOptions, Handle, Op, Payload, Ring, RingOptions, Wait};

use super::cause::Cause;
use super::cursor::{Mismatch, Part};
use super::failure::{Failure, What};
use super::message::Messages;
use super::plan::{Length, Moment, Plan, Report, Used};
use super::series::Series;
use crate::interrupt;
use crate::measure::clock::thread_cpu;
use crate::measure::process::Tree;
use crate::refusal::Refusal;

/// Bytes of the number in front of each message.
const MARK_BYTES: usize = 8;

/// The longest datagram, in bytes.
const DATAGRAM_BYTES_MAX: u32 = 65_507;

/// Bytes of all sockets' buffers together, at most.
const BUFFER_BYTES_MAX: usize = 2 << 30;

/// Datagrams received and not looked at, of one socket, at most.
const BUFFERS_MAX: u32 = 64;

/// Lost datagrams that are remembered, to tell late ones from double ones.
const LOST_KEPT: usize = 1024;

/// Bytes of datagrams that are sent together.
const SEND_BYTES_MAX: usize = 1 << 20;

/// How often whoever watches is told how far the run is.
const TELLING: Duration = Duration::from_millis(100);

/// Bytes shown before and after the first wrong one.
const SHOWN_BYTES: usize = 8;

/// Refuses what no datagrams can be sent to, and sizes that they do not have.
pub(super) fn accepts(address: &Address, low: u32, high: u32) -> Result<(), Refusal> {
    if !matches!(address, Address::Tcp(_)) {
        return Err(Refusal::new("datagrams go to IP:PORT"));
    }
    if low < u32::try_from(MARK_BYTES).unwrap_or(0) || high > DATAGRAM_BYTES_MAX {
        return Err(Refusal::new(format!("a datagram has {MARK_BYTES} to {DATAGRAM_BYTES_MAX} bytes here")));
    }
    Ok(())
}

/// Runs the clients until the plan is done, or an interrupt was noted. `watch` is called on this thread; of `server` is read what it
/// uses.
///
/// # Errors
/// When the machine cannot carry them.
pub fn run(plan: &Plan, server: Option<&mut Tree>, watch: &mut dyn FnMut(Moment)) -> Result<Report, Refusal> {
    plan.reserve_descriptors()?;
    let mut talkers = Talkers::new(plan, server)?;
    talkers.run(watch)?;
    talkers.report.rows = talkers.series.finish();
    Ok(talkers.report)
}

/// A datagram that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at_ns: u64,
    is_answered: bool,
}

struct Talker {
    socket: Handle,
    key: u64,
    /// The number of the next datagram.
    next: u64,
    /// Datagrams from the oldest that is not answered on; they end before `next`.
    sent: VecDeque<Sent>,
    lost: VecDeque<u64>,
    highest: Option<u64>,
    /// Of those in `sent`.
    unanswered: u32,
    is_queued: bool,
}

struct Talkers<'a> {
    plan: &'a Plan,
    server: Option<&'a mut Tree>,
    ring: Ring,
    all: Vec<Talker>,
    wheel: Wheel,
    epoch: Instant,
    queue: VecDeque<u32>,
    released: u64,
    batch: SendBatch,
    message: Vec<u8>,
    stage: Stage,
    until: Duration,
    begin: Duration,
    cpu_begin: Duration,
    told: Duration,
    series: Series,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    WarmUp,
    Measured,
    Stopping,
}

impl<'a> Talkers<'a> {
    fn new(plan: &'a Plan, server: Option<&'a mut Tree>) -> Result<Self, Refusal> {
        let (_, high) = plan.shape.messages.sizes.ends();
        let buffers = plan.window.next_power_of_two().clamp(8, BUFFERS_MAX);
        let datagrams = DatagramOptions {
            buffers: u16::try_from(buffers).unwrap_or(8),
            // One byte more tells of answers that are too long.
            payload_bytes: high as usize + 1,
            ..DatagramOptions::default()
        };
        let options = RingOptions {
            driver: plan.driver,
            stream_buffers: 1,
            completion_entries: 16 * 1024,
            pool_bytes_max: BUFFER_BYTES_MAX,
            ..RingOptions::default()
        };
        let mut ring = Ring::new(&options).map_err(Refusal::because("cannot set up a ring"))?;
        let Address::Tcp(address) = plan.address else { return Err(Refusal::new("datagrams go to IP:PORT")) };
        let opened =
            (0..plan.connections).map(|index| Talker::open(plan, address, index, &datagrams, &mut ring));
        let all: io::Result<Vec<Talker>> = opened.collect();
        let all = all.map_err(Refusal::because("cannot open the clients' sockets"))?;
        let mut report = Report::new(ring.report().driver);
        report.opened = all.len() as u64;
        Ok(Self {
            plan,
            server,
            ring,
            all,
            wheel: Wheel::new(0),
            epoch: Instant::now(),
            queue: (0..plan.connections).collect(),
            released: 0,
            batch: SendBatch::new(plan.window as usize, SEND_BYTES_MAX.max(high as usize * 16)),
            message: Vec::new(),
            stage: Stage::WarmUp,
            until: Duration::ZERO,
            begin: Duration::ZERO,
            cpu_begin: Duration::ZERO,
            told: Duration::ZERO,
            series: Series::new(plan.interval),
            report,
        })
    }

    fn run(&mut self, watch: &mut dyn FnMut(Moment)) -> Result<(), Refusal> {
        let reading = self.server.as_mut().map(|server| server.read());
        self.series.begin(reading);
        self.all.iter_mut().for_each(|talker| talker.is_queued = true);
        match self.plan.length {
            Length::Messages(_) => self.begin_measuring(watch),
            Length::Time { warm_up, .. } => self.until = warm_up,
        }
        loop {
            self.send_due();
            self.advance(watch);
            let is_done = self.all.iter().all(|talker| talker.sent.is_empty()) && self.queue.is_empty();
            if is_done && (self.stage == Stage::Stopping || matches!(self.plan.length, Length::Messages(_))) {
                break;
            }
            let wait = self.wait();
            self.ring
                .poll(wait)
                .map_err(|error| Refusal::failed(format!("the clients' ring broke: {error}")))?;
            while let Some(completion) = self.ring.next_completion() {
                let index = u32::try_from(completion.token).unwrap_or(u32::MAX);
                // Errors are those of single datagrams, which are counted lost.
                let Payload::Datagrams(batch) = completion.payload else { continue };
                self.heard(index, &batch);
                self.ring.recycle(batch);
            }
            self.expire();
        }
        self.stop(watch);
        self.close_row();
        self.judge();
        Ok(())
    }

    // Time.

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wait(&self) -> Wait {
        let now = self.epoch.elapsed();
        let timer = self.wheel.next_wakeup().map(|at_ms| Duration::from_millis(at_ms).saturating_sub(now));
        let row = self.series.due().saturating_sub(now).min(TELLING);
        let rate = (!self.queue.is_empty()).then(|| self.next_release().saturating_sub(now));
        let time = [timer, Some(row), rate].into_iter().flatten().min().unwrap_or(TELLING);
        if time.is_zero() { Wait::Poll } else { Wait::AtMost(time) }
    }

    fn advance(&mut self, watch: &mut dyn FnMut(Moment)) {
        let now = self.epoch.elapsed();
        if now >= self.series.due() {
            self.close_row();
        }
        if now >= self.told + TELLING {
            self.told = now;
            let open = self.plan.connections;
            let (answers, failed) = (self.report.messages, self.report.failed);
            watch(Moment::Underway { open, answers, failed });
            if interrupt::interrupted() {
                self.stop(watch);
            }
        }
        let Length::Time { measured, .. } = self.plan.length else { return };
        match self.stage {
            Stage::WarmUp if now >= self.until => {
                self.begin_measuring(watch);
                self.until = now + measured;
            }
            Stage::Measured if now >= self.until => self.stop(watch),
            _ => {}
        }
    }

    fn begin_measuring(&mut self, watch: &mut dyn FnMut(Moment)) {
        watch(Moment::Begin);
        self.stage = Stage::Measured;
        self.begin = self.epoch.elapsed();
        self.cpu_begin = thread_cpu();
        if let Some(server) = self.server.as_mut() {
            let now = server.read();
            self.report.server = Some(Used { cpu: now.cpu.since(now.cpu), before: now, after: now });
        }
    }

    fn stop(&mut self, watch: &mut dyn FnMut(Moment)) {
        if self.stage == Stage::Stopping {
            return;
        }
        self.stage = Stage::Stopping;
        self.report.elapsed = self.epoch.elapsed() - self.begin;
        self.report.client_cpu = thread_cpu().saturating_sub(self.cpu_begin);
        if let (Some(server), Some(used)) = (self.server.as_mut(), self.report.server.as_mut()) {
            used.after = server.read();
            used.cpu = used.after.cpu.since(used.before.cpu);
        }
        watch(Moment::End);
        self.queue.clear();
    }

    fn close_row(&mut self) {
        let reading = self.server.as_mut().map(|server| server.read());
        self.series.close(self.epoch.elapsed(), self.plan.connections, self.report.failed, reading);
    }

    /// A server that never answered is not one that loses datagrams.
    fn judge(&mut self) {
        if self.report.messages == 0 && self.report.failed == 0 {
            let owed = self.report.datagrams.sent;
            let what = What::Stalled { message: 0, at: 0, owed, patience: self.plan.patience };
            self.report.fail(Failure { connection: 0, life: 0, at: self.epoch.elapsed(), what });
        }
    }

    // Sending.

    fn next_release(&self) -> Duration {
        let ns = u128::from(self.released) * 1_000_000_000 / u128::from(self.plan.rate_per_s.max(1));
        if self.plan.rate_per_s == 0 {
            Duration::ZERO
        } else {
            Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
        }
    }

    fn send_due(&mut self) {
        let now = self.epoch.elapsed();
        if self.queue.is_empty() && self.plan.rate_per_s > 0 {
            // What nobody wanted in time is not made up for.
            let due = now.as_nanos() * u128::from(self.plan.rate_per_s) / 1_000_000_000;
            self.released = self.released.max(u64::try_from(due).unwrap_or(u64::MAX));
        }
        while self.stage != Stage::Stopping && self.next_release() <= now {
            let Some(index) = self.queue.pop_front() else { return };
            self.all[index as usize].is_queued = false;
            let room = self.room(index);
            let count = if self.plan.rate_per_s == 0 { room } else { room.min(1) };
            if count == 0 {
                continue;
            }
            self.released += u64::from(count);
            self.send(index, count);
            self.queue_if_room(index);
        }
    }

    /// Datagrams that a client may send now.
    fn room(&self, index: u32) -> u32 {
        let talker = &self.all[index as usize];
        let left = self.plan.share(index).map_or(u64::MAX, |share| share.saturating_sub(talker.next));
        let room = self.plan.window.saturating_sub(talker.unanswered);
        // One that is never answered keeps the list long until it is lost.
        let is_long = talker.sent.len() >= self.plan.window as usize * 4;
        u32::try_from(u64::from(room).min(left)).unwrap_or(0) * u32::from(!is_long)
    }

    fn queue_if_room(&mut self, index: u32) {
        if self.stage != Stage::Stopping && self.room(index) > 0 && !self.all[index as usize].is_queued {
            self.all[index as usize].is_queued = true;
            self.queue.push_back(index);
        }
    }

    fn send(&mut self, index: u32, count: u32) {
        let at_ns = self.now_ns();
        let talker = &mut self.all[index as usize];
        if talker.sent.is_empty() {
            self.wheel.arm(index, at_ms(at_ns, self.plan.patience));
        }
        for _ in 0..count {
            compose(&self.plan.shape.messages, talker.key, talker.next, &mut self.message);
            if self.batch.push(None, &self.message).is_err() {
                // What is left of the window goes with the next turn.
                break;
            }
            talker.next += 1;
            talker.unanswered += 1;
            talker.sent.push_back(Sent { at_ns, is_answered: false });
            self.report.datagrams.sent += 1;
        }
        // What the socket has no room for is lost, and counted when its time is over.
        if let Some(socket) = talker.socket.kernel() {
            let _lost = send_datagrams(socket, &mut self.batch);
        }
        self.batch.clear();
    }

    // Hearing.

    fn heard(&mut self, index: u32, batch: &Batch) {
        let now_ns = self.now_ns();
        for datagram in batch {
            let payload = datagram.payload();
            match self.check(index, payload) {
                Ok(number) => self.answered(index, number, payload.len() as u64, now_ns),
                Err(what) => {
                    let at = self.epoch.elapsed();
                    self.report.fail(Failure { connection: index, life: 0, at, what });
                }
            }
        }
        self.queue_if_room(index);
    }

    /// The number of the message that came back, when every byte of it is right.
    fn check(&mut self, index: u32, payload: &[u8]) -> Result<u64, What> {
        let talker = &self.all[index as usize];
        let (key, next) = (talker.key, talker.next);
        let Some(mark) = payload.first_chunk::<MARK_BYTES>() else {
            let sentence = format!("a datagram of {} bytes came, which none was", payload.len());
            return Err(What::Frame { message: next, sentence });
        };
        let word = u64::from_le_bytes(*mark);
        let number = word ^ key;
        if number >= next {
            let sentence = match self.owner(index, word) {
                Some((connection, message)) => format!("message {message} of connection {connection} came"),
                None => format!("a datagram came that was never sent (its number is {number:x})"),
            };
            return Err(What::Frame { message: next, sentence });
        }
        compose(&self.plan.shape.messages, key, number, &mut self.message);
        if let Some(place) = payload.iter().zip(&self.message).position(|(got, right)| got != right) {
            return Err(different(number, place, &self.message, payload));
        }
        let (size, at) = (small(self.message.len()), small(payload.len().min(self.message.len())));
        if payload.len() != self.message.len() {
            let is_longer = payload.len() > self.message.len();
            return Err(What::Length { message: number, size, at, is_longer });
        }
        Ok(number)
    }

    /// Whose datagram begins with `word`.
    fn owner(&self, index: u32, word: u64) -> Option<(u32, u64)> {
        let mut others = (0..).zip(&self.all).filter(|(other, _)| *other != index);
        others.find_map(|(other, talker)| {
            let number = word ^ talker.key;
            (number < talker.next).then_some((other, number))
        })
    }

    fn answered(&mut self, index: u32, number: u64, bytes: u64, now_ns: u64) {
        let talker = &mut self.all[index as usize];
        let oldest = talker.next - talker.sent.len() as u64;
        let place = number.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
        let Some(sent) = place.and_then(|place| talker.sent.get_mut(place)) else {
            match talker.lost.iter().position(|lost| *lost == number) {
                Some(place) => {
                    talker.lost.remove(place);
                    self.report.datagrams.late += 1;
                }
                None => self.report.datagrams.twice += 1,
            }
            return;
        };
        if sent.is_answered {
            self.report.datagrams.twice += 1;
            return;
        }
        sent.is_answered = true;
        let ns = now_ns.saturating_sub(sent.at_ns);
        talker.unanswered -= 1;
        self.report.datagrams.overtaken += u64::from(talker.highest.is_some_and(|highest| number < highest));
        talker.highest = talker.highest.max(Some(number));
        self.series.answered(ns);
        self.series.received(bytes);
        if self.stage == Stage::Measured {
            self.report.messages += 1;
            self.report.bytes += bytes;
            self.report.latency.record(ns);
        }
        self.settle(index);
    }

    /// Forgets what is answered, and waits for the oldest that is not.
    fn settle(&mut self, index: u32) {
        let talker = &mut self.all[index as usize];
        while talker.sent.front().is_some_and(|sent| sent.is_answered) {
            talker.sent.pop_front();
        }
        match talker.sent.front() {
            Some(sent) => self.wheel.arm(index, at_ms(sent.at_ns, self.plan.patience)),
            None => drop(self.wheel.disarm(index)),
        }
    }

    fn expire(&mut self) {
        let now_ns = self.now_ns();
        let patience_ns = u64::try_from(self.plan.patience.as_nanos()).unwrap_or(u64::MAX);
        while let Some(index) = self.wheel.expire(now_ns / 1_000_000) {
            let talker = &mut self.all[index as usize];
            while let Some(sent) = talker.sent.front()
                && (sent.is_answered || sent.at_ns.saturating_add(patience_ns) <= now_ns)
            {
                if !sent.is_answered {
                    let number = talker.next - talker.sent.len() as u64;
                    talker.unanswered -= 1;
                    talker.lost.push_back(number);
                    if talker.lost.len() > LOST_KEPT {
                        talker.lost.pop_front();
                    }
                    self.report.datagrams.lost += 1;
                }
                talker.sent.pop_front();
            }
            self.settle(index);
            self.queue_if_room(index);
        }
    }
}

impl Talker {
    fn open(
        plan: &Plan,
        address: SocketAddr,
        index: u32,
        datagrams: &DatagramOptions,
        ring: &mut Ring,
    ) -> io::Result<Talker> {
        let local = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let fd = bind_datagrams(local, &DatagramSocketOptions::default())?;
        connect_datagrams(fd.as_fd(), address)?;
        let socket = Handle::new(fd);
        let operation = Op::Datagrams(ring.datagrams(socket.clone(), datagrams)?);
        if ring.submit(operation, u64::from(index)).is_err() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Talker {
            socket,
            key: plan.shape.messages.key(index, 0),
            next: 0,
            sent: VecDeque::new(),
            lost: VecDeque::new(),
            highest: None,
            unanswered: 0,
            is_queued: false,
        })
    }
}

/// A message with its number in front, which only its connection can read.
fn compose(messages: &Messages, key: u64, number: u64, target: &mut Vec<u8>) {
    target.resize(messages.size(key, number) as usize, 0);
    messages.fill(key, number, 0, target);
    if let Some(mark) = target.first_chunk_mut::<MARK_BYTES>() {
        *mark = (number ^ key).to_le_bytes();
    }
}

fn different(number: u64, place: usize, expected: &[u8], got: &[u8]) -> What {
    let start = place.saturating_sub(SHOWN_BYTES);
    let part = |bytes: &[u8]| bytes[start..bytes.len().min(place + 1 + SHOWN_BYTES)].to_vec();
    let count = got.iter().zip(expected).filter(|(got, right)| got != right).count();
    let mismatch = Mismatch {
        message: number,
        size: small(expected.len()),
        part: Part::Payload,
        at: small(place),
        at_whole: small(place),
        expected: part(expected),
        got: part(got),
        index: place - start,
    };
    What::Different(Box::new(mismatch), Cause::Changed(count))
}

/// When a datagram of `at_ns` is lost, in milliseconds; rounded up, so that it is.
fn at_ms(at_ns: u64, patience: Duration) -> u64 {
    at_ns.saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX)).div_ceil(1_000_000)
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
