//! Stressing clients of streams: many connections on one ring, and the loop that drives them.

mod hear;
mod life;
mod say;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringway_pace::Wheel;
use ringway_ring::socket::RawAddress;
use ringway_ring::{Completion, Handle, Op, OpId, Ring, RingOptions, Wait};

use super::cursor::{Cursor, Mismatch, Way as Direction};
use super::plan::{Length, Moment, Plan, Report, Used};
use super::reader::Reader;
use super::seal::Sealed;
use super::series::Series;
use super::upgrade::Upgrade;
use crate::interrupt;
use crate::measure::clock::thread_cpu;
use crate::measure::process::Tree;
use crate::refusal::Refusal;

/// Connections that are being opened and agreed on at once, so that no accept queue overflows and nobody waits long for a handshake.
const CONNECTING_MAX: u32 = 256;

/// How often whoever watches is told how far the run is.
const TELLING: Duration = Duration::from_millis(100);

/// How long a wait is when only somebody else's buffer can help.
const STARVED_RETRY: Duration = Duration::from_millis(1);

/// How long what comes behind a wrong byte is waited for, in milliseconds.
const EXAMINE_MS: u64 = 250;

/// Runs the clients until the plan is done, or an interrupt was noted. `watch` is called on this thread; of `server` is read what it
/// uses.
///
/// # Errors
/// When the machine cannot carry them: descriptors, memory, driver.
pub fn run(plan: &Plan, server: Option<&mut Tree>, watch: &mut dyn FnMut(Moment)) -> Result<Report, Refusal> {
    plan.reserve_descriptors()?;
    let mut clients = Clients::new(plan, server)?;
    clients.run(watch)?;
    clients.report.rows = clients.series.finish();
    Ok(clients.report)
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started, or done for good.
    Absent,
    Connecting,
    /// TLS is being agreed on.
    Greeting,
    /// WebSocket is being agreed on.
    Shaking,
    Talking,
    Pausing,
    /// Waits for its last answers, then closes.
    Closing,
    /// Says that it ends behind its last message, and waits for the answers and the server's end.
    Finishing,
    /// Sends a part of a message, then resets.
    Cutting,
    /// Waits for what comes behind a wrong byte.
    Examining,
}

/// How far a connection is with saying that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    None,
    /// It is to be said behind what is owed.
    Due,
    /// It was said.
    Said,
}

struct Client {
    phase: Phase,
    life: u32,
    socket: Option<Handle>,
    connecting: Option<OpId>,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    sealed: Option<Box<Sealed>>,
    upgrade: Option<Box<Upgrade>>,
    writer: Cursor,
    reader: Reader,
    /// What is sent before the next message: handshake, answers to pings, the end.
    urgent: Vec<u8>,
    /// Messages to be begun.
    owed: u32,
    /// Messages that may be begun when the rate allows.
    wanted: u32,
    is_queued: bool,
    /// When the messages under way were begun, in nanoseconds of the run's clock.
    begun_ns: VecDeque<u64>,
    /// Answers of all lives.
    answers: u64,
    farewell: Farewell,
    /// Which way this life ends, where that was decided.
    way: Option<super::plan::Way>,
    /// Whether the server closed its WebSocket.
    is_closed: bool,
    /// A wrong byte and what came from it on.
    doubt: Option<Box<(Mismatch, Vec<u8>)>>,
}

/// What a token's operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect = 1,
    Receive = 2,
    Send = 3,
}

struct Clients<'a> {
    plan: &'a Plan,
    server: Option<&'a mut Tree>,
    peer: RawAddress,
    ring: Ring,
    all: Vec<Client>,
    wheel: Wheel,
    epoch: Instant,
    /// Connections that were started for the first time.
    started: u32,
    /// Connections that are being opened and agreed on.
    connecting: u32,
    /// Connections that are not absent.
    active: u32,
    /// Connections that are open and agreed on.
    open: u32,
    /// Connections that found no memory for what they have to send.
    starved: VecDeque<u32>,
    /// Connections that wait for the rate.
    queue: VecDeque<u32>,
    /// Messages that the rate has allowed.
    released: u64,
    stage: Stage,
    stage_until: Duration,
    cpu_begin: Duration,
    begin: Duration,
    /// When was last told how far the run is.
    told: Duration,
    /// Room for what is opened and sealed.
    plain: Vec<u8>,
    plain_out: Vec<u8>,
    series: Series,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ramp,
    WarmUp,
    Measured,
    Stopping,
}

impl<'a> Clients<'a> {
    fn new(plan: &'a Plan, server: Option<&'a mut Tree>) -> Result<Self, Refusal> {
        let ring = Ring::new(&ring_options(plan)).map_err(Refusal::because("cannot set up a ring"))?;
        let peer = RawAddress::new(&plan.address).map_err(Refusal::because("cannot use the address"))?;
        let report = Report::new(ring.report().driver);
        Ok(Self {
            plan,
            server,
            peer,
            ring,
            all: (0..plan.connections).map(|index| Client::new(plan, index)).collect(),
            wheel: Wheel::new(0),
            epoch: Instant::now(),
            started: 0,
            connecting: 0,
            active: 0,
            open: 0,
            starved: VecDeque::new(),
            queue: VecDeque::new(),
            released: 0,
            stage: Stage::Ramp,
            stage_until: Duration::ZERO,
            cpu_begin: Duration::ZERO,
            begin: Duration::ZERO,
            told: Duration::ZERO,
            plain: Vec::new(),
            plain_out: Vec::new(),
            series: Series::new(plan.interval),
            report,
        })
    }

    fn run(&mut self, watch: &mut dyn FnMut(Moment)) -> Result<(), Refusal> {
        let reading = self.server.as_mut().map(|server| server.read());
        self.series.begin(reading);
        if matches!(self.plan.length, Length::Messages(_)) {
            self.begin_measuring(watch);
        }
        loop {
            self.start_due();
            self.feed_starved();
            self.release();
            self.advance_stage(watch);
            if self.active == 0 && self.started == self.plan.connections {
                break;
            }
            let wait = self.wait();
            self.ring
                .poll(wait)
                .map_err(|error| Refusal::failed(format!("the clients' ring broke: {error}")))?;
            while let Some(completion) = self.ring.next_completion() {
                self.complete(completion);
            }
            self.expire();
        }
        self.stop(watch);
        self.close_row();
        Ok(())
    }

    fn complete(&mut self, completion: Completion) {
        let index = u32::try_from(completion.token & 0xffff_ffff).unwrap_or(u32::MAX);
        match completion.token >> 32 {
            kind if kind == Kind::Connect as u64 => self.connected(index, completion.result),
            kind if kind == Kind::Receive as u64 => self.received(index, completion),
            _ => self.sent(index, completion),
        }
    }

    fn submit(&mut self, op: Op, kind: Kind, index: u32) -> Option<OpId> {
        // The ring is made for more operations than all connections can have.
        self.ring.submit(op, (kind as u64) << 32 | u64::from(index)).ok()
    }

    // Time.

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// How long nothing but a completion can matter.
    fn wait(&self) -> Wait {
        let now = self.epoch.elapsed();
        let timer = self.wheel.next_wakeup().map(|at_ms| Duration::from_millis(at_ms).saturating_sub(now));
        let stage = matches!(self.stage, Stage::WarmUp | Stage::Measured)
            .then(|| self.stage_until.saturating_sub(now).min(TELLING));
        let row = self.series.due().saturating_sub(now);
        let ramp = self.next_start().map(|at| at.saturating_sub(now));
        let starved = (!self.starved.is_empty()).then_some(STARVED_RETRY);
        let rate = (!self.queue.is_empty()).then(|| self.next_release().saturating_sub(now));
        match [timer, stage, Some(row), ramp, starved, rate].into_iter().flatten().min() {
            Some(Duration::ZERO) => Wait::Poll,
            Some(time) => Wait::AtMost(time),
            None => Wait::Forever,
        }
    }

    /// When the next connection of the ramp is due, if it depends on time.
    fn next_start(&self) -> Option<Duration> {
        let is_due = self.started < self.plan.connections && self.connecting < CONNECTING_MAX;
        let per_s = u64::from(self.plan.ramp_per_s);
        is_due.then(|| {
            let ns = (u64::from(self.started) * 1_000_000_000).checked_div(per_s).unwrap_or(0);
            Duration::from_nanos(ns)
        })
    }

    fn start_due(&mut self) {
        while self.stage != Stage::Stopping && self.next_start().is_some_and(|at| at <= self.epoch.elapsed())
        {
            let index = self.started;
            self.started += 1;
            self.active += 1;
            self.connect(index);
        }
    }

    fn advance_stage(&mut self, watch: &mut dyn FnMut(Moment)) {
        let now = self.epoch.elapsed();
        if now >= self.series.due() {
            self.close_row();
        }
        if now >= self.told + TELLING {
            self.told = now;
            let (open, answers, failed) = (self.open, self.report.messages, self.report.failed);
            watch(Moment::Underway { open, answers, failed });
            if interrupt::interrupted() {
                return self.stop(watch);
            }
        }
        let is_open = self.started == self.plan.connections && self.connecting == 0;
        match (self.stage, self.plan.length) {
            (Stage::Ramp, Length::Time { warm_up, .. }) if is_open => {
                self.stage = Stage::WarmUp;
                self.stage_until = now + warm_up;
            }
            (Stage::WarmUp, _) if now >= self.stage_until => self.begin_measuring(watch),
            // On a machine that is busy with other things a short time may pass without an answer.
            (Stage::Measured, Length::Time { .. }) if now >= self.stage_until && self.report.messages > 0 => {
                self.stop(watch);
            }
            _ => {}
        }
    }

    fn close_row(&mut self) {
        let reading = self.server.as_mut().map(|server| server.read());
        self.series.close(self.epoch.elapsed(), self.open, self.report.failed, reading);
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
        if let Length::Time { measured, .. } = self.plan.length {
            self.stage_until = self.begin + measured;
        } else {
            self.stage_until = Duration::MAX;
        }
    }

    /// The measured part is over: nobody begins a message any more.
    fn stop(&mut self, watch: &mut dyn FnMut(Moment)) {
        if self.stage == Stage::Stopping {
            return;
        }
        if self.stage == Stage::Measured {
            self.report.elapsed = self.epoch.elapsed() - self.begin;
            self.report.client_cpu = thread_cpu().saturating_sub(self.cpu_begin);
            if let (Some(server), Some(used)) = (self.server.as_mut(), self.report.server.as_mut()) {
                used.after = server.read();
                used.cpu = used.after.cpu.since(used.before.cpu);
            }
        }
        self.stage = Stage::Stopping;
        watch(Moment::End);
        self.started = self.plan.connections;
        for index in 0..self.plan.connections {
            self.stop_one(index);
        }
    }

    // The rate.

    /// When the rate allows the next message.
    fn next_release(&self) -> Duration {
        let ns = u128::from(self.released) * 1_000_000_000 / u128::from(self.plan.rate_per_s.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Lets those begin messages whose turn it is.
    fn release(&mut self) {
        let now = self.epoch.elapsed();
        if self.queue.is_empty() && self.plan.rate_per_s > 0 {
            // What nobody wanted in time is not made up for.
            let due = now.as_nanos() * u128::from(self.plan.rate_per_s) / 1_000_000_000;
            self.released = self.released.max(u64::try_from(due).unwrap_or(u64::MAX));
        }
        while self.next_release() <= now {
            let Some(index) = self.queue.pop_front() else { return };
            let client = &mut self.all[index as usize];
            client.is_queued = false;
            if client.phase != Phase::Talking || client.wanted == 0 {
                continue;
            }
            self.released += 1;
            client.wanted -= 1;
            client.owed += 1;
            if client.wanted > 0 {
                client.is_queued = true;
                self.queue.push_back(index);
            }
            self.send(index);
        }
    }
}

impl Client {
    fn new(plan: &Plan, index: u32) -> Client {
        let key = plan.shape.messages.key(index, 0);
        Client {
            phase: Phase::Absent,
            life: 0,
            socket: None,
            connecting: None,
            receiving: None,
            sending: None,
            sealed: None,
            upgrade: None,
            writer: Cursor::new(plan.shape, Direction::There, key),
            reader: Reader::new(plan.shape, key),
            urgent: Vec::new(),
            owed: 0,
            wanted: 0,
            is_queued: false,
            begun_ns: VecDeque::new(),
            answers: 0,
            farewell: Farewell::None,
            way: None,
            is_closed: false,
            doubt: None,
        }
    }

    /// Messages that were begun and are not answered in full.
    fn unanswered(&self) -> u64 {
        self.writer.begun().saturating_sub(self.reader.message())
    }
}

/// A ring on which no connection of the plan waits for another one's operations.
fn ring_options(plan: &Plan) -> RingOptions {
    let largest = plan.size_max() as usize * plan.window as usize;
    let (stream_buffers, stream_buffer_bytes) = if largest > 4096 { (512, 16 * 1024) } else { (1024, 2048) };
    RingOptions {
        driver: plan.driver,
        submission_entries: 1024,
        completion_entries: 16 * 1024,
        stream_buffers,
        stream_buffer_bytes,
        ..RingOptions::default()
    }
}
