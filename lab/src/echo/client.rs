//! Echo clients: many connections on one ring that say their scripts and check every byte of the answers.

use crate::echo::failure::{Failure, What};
use crate::echo::plan::{FAILURES_KEPT, Length, Moment, Plan, Report};
use crate::echo::script::{Cursor, Guess, Mismatch, Pattern, SURE_BYTES, Script, mix};
use crate::measure::clock::thread_cpu;
use crate::refusal::Refusal;
use ringway_pace::Wheel;
use ringway_ring::socket::{self, Address, RawAddress};
use ringway_ring::{Completion, Connect, Handle, Op, OpId, Payload, Ring, RingOptions, Slice, Wait};
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Connects under way at once, so that no accept queue overflows.
const CONNECTING_MAX: u32 = 256;

/// Bytes handed to the ring in one send.
const SEND_BYTES_MAX: u32 = 64 * 1024;

/// Messages that are walked over to find whose bytes came.
const GUESS_STEPS_MAX: u64 = 2_000_000;

/// How often whoever watches is told how far the run is.
const TELLING: Duration = Duration::from_millis(100);

/// How long a wait is when only somebody else's buffer can help.
const STARVED_RETRY: Duration = Duration::from_millis(1);

/// Runs the clients until the plan is done. `watch` is called on this thread.
///
/// # Errors
/// When the machine cannot carry them: descriptors, memory, driver.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(Moment)) -> Result<Report, Refusal> {
    plan.reserve_descriptors()?;
    let mut clients = Clients::new(plan)?;
    clients.run(watch)?;
    Ok(clients.report)
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started, or done for good.
    Absent,
    Connecting,
    Talking,
    Pausing,
    /// Waits for its last answers, then closes.
    Closing,
    /// Sends its last message with a FIN behind it and waits for the answers and the server's FIN.
    Finishing,
    /// Sends a part of a message, then resets.
    Cutting,
}

struct Client {
    phase: Phase,
    life: u32,
    socket: Option<Handle>,
    connecting: Option<OpId>,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    writer: Cursor,
    reader: Cursor,
    /// Messages to be begun.
    owed: u32,
    /// When the messages under way were begun, in nanoseconds of the run's clock.
    begun_ns: VecDeque<u64>,
    /// Answers of all lives.
    answers: u64,
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
    peer: RawAddress,
    ring: Ring,
    all: Vec<Client>,
    wheel: Wheel,
    epoch: Instant,
    /// Connections that were started for the first time.
    started: u32,
    connecting: u32,
    /// Connections that are not absent.
    active: u32,
    /// Connections that found no memory for what they have to send.
    starved: VecDeque<u32>,
    stage: Stage,
    stage_until: Duration,
    cpu_begin: Duration,
    begin: Duration,
    /// When was last told how far the run is.
    told: Duration,
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
    fn new(plan: &'a Plan) -> Result<Self, Refusal> {
        let ring = Ring::new(&ring_options(plan)).map_err(Refusal::because("cannot set up a ring"))?;
        let peer = RawAddress::new(&Address::Tcp(plan.address))
            .map_err(Refusal::because("cannot use the address"))?;
        let blank = |_| Client::new(Cursor::new(plan.shape));
        let report = Report::new(ring.report().driver);
        Ok(Self {
            plan,
            peer,
            ring,
            all: (0..plan.connections).map(blank).collect(),
            wheel: Wheel::new(0),
            epoch: Instant::now(),
            started: 0,
            connecting: 0,
            active: 0,
            starved: VecDeque::new(),
            stage: Stage::Ramp,
            stage_until: Duration::ZERO,
            cpu_begin: Duration::ZERO,
            begin: Duration::ZERO,
            told: Duration::ZERO,
            report,
        })
    }

    fn run(&mut self, watch: &mut dyn FnMut(Moment)) -> Result<(), Refusal> {
        if matches!(self.plan.length, Length::Messages(_)) {
            self.begin_measuring(watch);
        }
        loop {
            self.start_due();
            self.feed_starved();
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
        Ok(())
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
        if self.plan.is_polled {
            return Wait::Poll;
        }
        let now = self.epoch.elapsed();
        let timer = self.wheel.next_wakeup().map(|at_ms| Duration::from_millis(at_ms).saturating_sub(now));
        let has_end = matches!(self.plan.length, Length::Time { .. });
        let stage = (has_end && matches!(self.stage, Stage::WarmUp | Stage::Measured))
            .then(|| self.stage_until.saturating_sub(now).min(Duration::from_millis(100)));
        let ramp = self.next_start().map(|at| at.saturating_sub(now));
        let starved = (!self.starved.is_empty()).then_some(STARVED_RETRY);
        match [timer, stage, ramp, starved].into_iter().flatten().min() {
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
        let is_open = self.started == self.plan.connections && self.connecting == 0;
        let now = self.epoch.elapsed();
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
            (Stage::Ramp | Stage::Measured, _) if now >= self.told + TELLING => {
                self.told = now;
                watch(Moment::Underway(self.started - self.connecting, self.report.messages));
            }
            _ => {}
        }
    }

    fn begin_measuring(&mut self, watch: &mut dyn FnMut(Moment)) {
        watch(Moment::Begin);
        self.stage = Stage::Measured;
        self.begin = self.epoch.elapsed();
        self.cpu_begin = thread_cpu();
        if let Length::Time { measured, .. } = self.plan.length {
            self.stage_until = self.begin + measured;
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
        }
        self.stage = Stage::Stopping;
        watch(Moment::End);
        self.started = self.plan.connections;
        for index in 0..self.plan.connections {
            match self.all[index as usize].phase {
                Phase::Connecting | Phase::Pausing => self.leave(index),
                Phase::Talking => {
                    let client = &mut self.all[index as usize];
                    client.owed = 0;
                    client.phase = Phase::Closing;
                    self.close_if_answered(index);
                }
                _ => {}
            }
        }
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms();
        while let Some(index) = self.wheel.expire(now_ms) {
            let client = &mut self.all[index as usize];
            match client.phase {
                Phase::Absent => {}
                Phase::Connecting => {
                    let patience = self.plan.patience.as_secs_f64();
                    self.fail(index, What::Unreachable(format!("nobody answered for {patience:.1} s")));
                }
                Phase::Pausing => {
                    client.phase = Phase::Talking;
                    self.open_window(index);
                    self.send(index);
                }
                _ => {
                    let what = What::Stalled {
                        offset: client.reader.offset(),
                        missing: client.writer.offset() - client.reader.offset(),
                        patience: self.plan.patience,
                    };
                    self.fail(index, what);
                }
            }
        }
    }

    fn arm_patience(&mut self, index: u32, now_ns: u64) {
        let patience_ms = u64::try_from(self.plan.patience.as_millis()).unwrap_or(u64::MAX);
        self.wheel.arm(index, (now_ns / 1_000_000).saturating_add(patience_ms));
    }

    // Connections.

    fn connect(&mut self, index: u32) {
        let opened = socket::stream_socket(&self.peer).and_then(|fd| {
            rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
            Ok(Handle::new(fd))
        });
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return self.fail(index, What::Unreachable(error.to_string())),
        };
        let client = &mut self.all[index as usize];
        let script = Script::of_life(self.plan.seed, index, client.life, &self.plan.shape);
        client.writer = Cursor::new(script);
        client.reader = client.writer;
        client.owed = 0;
        client.begun_ns.clear();
        client.phase = Phase::Connecting;
        client.socket = Some(socket.clone());
        self.connecting += 1;
        let operation = self.submit(Op::Connect(Connect::new(socket, self.peer)), Kind::Connect, index);
        self.all[index as usize].connecting = operation;
        let now_ns = self.now_ns();
        self.arm_patience(index, now_ns);
    }

    fn submit(&mut self, op: Op, kind: Kind, index: u32) -> Option<OpId> {
        // The ring is made for more operations than all connections can have.
        self.ring.submit(op, (kind as u64) << 32 | u64::from(index)).ok()
    }

    fn complete(&mut self, completion: Completion) {
        let index = u32::try_from(completion.token & 0xffff_ffff).unwrap_or(u32::MAX);
        match completion.token >> 32 {
            kind if kind == Kind::Connect as u64 => self.connected(index, completion.result),
            kind if kind == Kind::Receive as u64 => self.received(index, completion),
            _ => self.sent(index, completion),
        }
    }

    fn connected(&mut self, index: u32, result: io::Result<u32>) {
        self.connecting -= 1;
        let client = &mut self.all[index as usize];
        client.connecting = None;
        if let Err(error) = result {
            return self.fail(index, What::Unreachable(error.to_string()));
        }
        self.report.opened += 1;
        if self.stage == Stage::Stopping {
            return self.leave(index);
        }
        client.phase = Phase::Talking;
        self.open_window(index);
        self.receive(index);
        self.send(index);
    }

    fn receive(&mut self, index: u32) {
        let Some(socket) = self.all[index as usize].socket.clone() else { return };
        let operation = self.submit(Op::Stream { socket }, Kind::Receive, index);
        self.all[index as usize].receiving = operation;
    }

    fn received(&mut self, index: u32, completion: Completion) {
        let life = self.all[index as usize].life;
        if !completion.more {
            self.all[index as usize].receiving = None;
        }
        match (completion.result, completion.payload) {
            (Ok(1..), Payload::Bytes(bytes)) => {
                self.check(index, &bytes);
                let client = &self.all[index as usize];
                // Unless these bytes were the last of this life.
                if client.phase != Phase::Absent && client.life == life && client.receiving.is_none() {
                    self.receive(index);
                }
            }
            (Ok(_), _) => self.ended(index),
            // All buffers were in use: those that are back by now will do.
            (Err(error), _) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                self.receive(index);
            }
            (Err(error), _) => {
                let offset = self.all[index as usize].reader.offset();
                self.fail(index, What::Broken { offset, error: error.to_string() });
            }
        }
    }

    /// The server has finished.
    fn ended(&mut self, index: u32) {
        let client = &self.all[index as usize];
        let missing = client.writer.offset() - client.reader.offset();
        if client.phase == Phase::Finishing && missing == 0 {
            self.report.ended[1] += 1;
            return self.begin_again(index, false);
        }
        let offset = client.reader.offset();
        self.fail(index, What::Ended { offset, missing });
    }

    fn check(&mut self, index: u32, bytes: &Slice) {
        let now_ns = self.now_ns();
        let client = &mut self.all[index as usize];
        let before = client.reader;
        let asked = usize::try_from(client.writer.offset() - before.offset()).unwrap_or(usize::MAX);
        let checked = client.reader.check(&bytes[..bytes.len().min(asked)]);
        let finished = match checked {
            Ok(finished) => finished,
            Err(mut mismatch) => {
                if self.report.failures.len() < FAILURES_KEPT {
                    let place = usize::try_from(mismatch.offset - before.offset()).unwrap_or(0);
                    mismatch.guess = self.guess(index, &mismatch, &bytes[place..]);
                }
                return self.fail(index, What::Different(Box::new(mismatch)));
            }
        };
        if bytes.len() > asked {
            let what = What::Unasked { offset: client.reader.offset(), bytes: (bytes.len() - asked) as u64 };
            return self.fail(index, what);
        }
        if self.stage == Stage::Measured {
            self.report.bytes += bytes.len() as u64;
        }
        self.answered(index, finished, now_ns);
    }

    /// Where wrong bytes come from: elsewhere in the connection's stream, or the same place of another one's.
    fn guess(&self, index: u32, mismatch: &Mismatch, bytes: &[u8]) -> Guess {
        let cursor_of = |index: u32, client: &Client| {
            let script = Script::of_life(self.plan.seed, index, client.life, &self.plan.shape);
            let mut cursor = Cursor::new(script);
            cursor.skip(mismatch.offset);
            cursor
        };
        let Some(sample) = bytes.get(..SURE_BYTES) else { return Guess::Changed };
        if self.plan.shape.pattern != Pattern::Seeded {
            return Guess::Changed;
        }
        let guess = cursor_of(index, &self.all[index as usize]).guess(bytes);
        // Streams are walked to the place message by message, which far from their beginnings takes too long for a guess.
        let steps = (mismatch.message + 1).saturating_mul(u64::from(self.plan.connections));
        if guess != Guess::Changed || steps > GUESS_STEPS_MAX {
            return guess;
        }
        let mut others = (0..).zip(&self.all).filter(|(other, _)| *other != index);
        let found = others.find(|(other, client)| cursor_of(*other, client).matches(sample));
        found.map_or(Guess::Changed, |(other, _)| Guess::Stranger(other))
    }

    /// So many messages were answered in full.
    fn answered(&mut self, index: u32, finished: u64, now_ns: u64) {
        let is_measured = self.stage == Stage::Measured;
        let first = self.all[index as usize].reader.messages() - finished;
        for message in first..first + finished {
            let begun_ns = self.all[index as usize].begun_ns.pop_front().unwrap_or(now_ns);
            if is_measured {
                self.report.messages += 1;
                self.report.latency.record(now_ns - begun_ns);
            }
            let client = &mut self.all[index as usize];
            client.answers += 1;
            if client.phase == Phase::Talking {
                self.decide(index, message);
            }
        }
        match self.all[index as usize].phase {
            Phase::Closing => self.close_if_answered(index),
            Phase::Talking | Phase::Finishing | Phase::Cutting if finished > 0 => self.send(index),
            _ => {}
        }
    }

    /// Lets a connection begin messages until its window is full or it has begun all of them.
    fn open_window(&mut self, index: u32) {
        let client = &mut self.all[index as usize];
        let under_way = client.begun_ns.len() as u64;
        let left = match self.plan.length {
            Length::Messages(count) => count.saturating_sub(client.answers + under_way),
            Length::Time { .. } => u64::MAX,
        };
        let room = u64::from(self.plan.window).saturating_sub(under_way);
        client.owed = u32::try_from(room.min(left)).unwrap_or(u32::MAX);
    }

    /// Whether a connection has had all of its answers.
    fn is_enough(&self, index: u32) -> bool {
        matches!(self.plan.length, Length::Messages(count) if self.all[index as usize].answers >= count)
    }

    /// What a connection does after an answer; follows from the seed and the message alone.
    fn decide(&mut self, index: u32, message: u64) {
        let plan = self.plan;
        let is_enough = self.is_enough(index);
        let client = &mut self.all[index as usize];
        let place = u64::from(index) << 32 | u64::from(client.life);
        let chance = mix(mix(!plan.seed ^ place) ^ message);
        if is_enough {
            client.owed = 0;
            client.phase = Phase::Closing;
        } else if chance % 1000 < u64::from(plan.disconnect_per_mille) {
            let way = (chance >> 32) % 3;
            client.owed = u32::from(way > 0);
            client.phase =
                [Phase::Closing, Phase::Finishing, Phase::Cutting][usize::try_from(way).unwrap_or(0)];
        } else if plan.pause_ms.1 == 0 {
            self.open_window(index);
        } else if client.begun_ns.is_empty() {
            client.phase = Phase::Pausing;
            let span = u64::from(plan.pause_ms.1 - plan.pause_ms.0) + 1;
            let pause_ms = u64::from(plan.pause_ms.0) + (chance >> 32) % span;
            let until_ms = self.now_ms() + pause_ms;
            self.wheel.arm(index, until_ms);
        }
    }

    fn close_if_answered(&mut self, index: u32) {
        let client = &self.all[index as usize];
        if client.begun_ns.is_empty() && client.sending.is_none() {
            if self.stage != Stage::Stopping && !self.is_enough(index) {
                self.report.ended[0] += 1;
            }
            self.begin_again(index, false);
        }
    }

    // Sending.

    /// Sends what a connection owes, unless a send is under way.
    fn send(&mut self, index: u32) {
        let client = &mut self.all[index as usize];
        if client.sending.is_some() || client.owed == 0 && !client.writer.is_inside() {
            return;
        }
        let Some(socket) = client.socket.clone() else { return };
        let now_ns = self.now_ns();
        self.arm_patience(index, now_ns);
        let Some(mut bytes) = self.compose(index, now_ns) else {
            self.starved.push_back(index);
            return;
        };
        if self.ring.prefers_direct_send() {
            match self.ring.try_send(&socket, &bytes) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.broken(index, &error),
            }
            if bytes.is_empty() {
                return self.flushed(index);
            }
        }
        let operation = self.submit(Op::Send { socket, bytes, sent: 0 }, Kind::Send, index);
        self.all[index as usize].sending = operation;
    }

    /// Writes the next bytes of a connection's script into a buffer: as many whole messages as it owes, or a part of one.
    fn compose(&mut self, index: u32, now_ns: u64) -> Option<Slice> {
        let client = &mut self.all[index as usize];
        let most = client.writer.left().saturating_add(
            client
                .owed
                .saturating_sub(u32::from(!client.writer.is_inside()))
                .saturating_mul(self.plan.shape.size_max()),
        );
        let mut buffer = self.ring.pool().get(most.min(SEND_BYTES_MAX) as usize)?;
        let mut filled = 0;
        while filled < buffer.len() {
            if !client.writer.is_inside() {
                if client.owed == 0 {
                    break;
                }
                client.owed -= 1;
                client.begun_ns.push_back(now_ns);
            }
            let mut count = (client.writer.left() as usize).min(buffer.len() - filled);
            if client.phase == Phase::Cutting && client.owed == 0 {
                // The last message is cut off somewhere in its first buffer.
                let part = mix(client.writer.offset() ^ u64::from(client.life)) % count as u64;
                count = usize::try_from(part).unwrap_or(0) + 1;
                client.writer.fill(&mut buffer[filled..filled + count]);
                filled += count;
                break;
            }
            client.writer.fill(&mut buffer[filled..filled + count]);
            filled += count;
        }
        Some(buffer.freeze(filled))
    }

    fn sent(&mut self, index: u32, completion: Completion) {
        self.all[index as usize].sending = None;
        match (completion.result, completion.payload) {
            (Ok(count), Payload::Finished(Op::Send { bytes, .. })) if count as usize == bytes.len() => {
                self.flushed(index);
            }
            (Ok(_), _) => self.broken(index, &io::ErrorKind::WriteZero.into()),
            (Err(error), _) => self.broken(index, &error),
        }
    }

    fn broken(&mut self, index: u32, error: &io::Error) {
        let offset = self.all[index as usize].reader.offset();
        self.fail(index, What::Broken { offset, error: error.to_string() });
    }

    /// Everything composed is with the kernel.
    fn flushed(&mut self, index: u32) {
        let client = &self.all[index as usize];
        match client.phase {
            Phase::Cutting if client.owed == 0 => {
                self.report.ended[2] += 1;
                self.begin_again(index, true);
            }
            Phase::Closing if !client.writer.is_inside() => self.close_if_answered(index),
            Phase::Finishing if client.owed == 0 && !client.writer.is_inside() => {
                if let Some(socket) = client.socket.clone()
                    && let Err(error) = self.ring.shutdown(&socket, Shutdown::Write)
                {
                    self.broken(index, &error);
                }
            }
            _ => self.send(index),
        }
    }

    fn feed_starved(&mut self) {
        for _ in 0..self.starved.len() {
            let Some(index) = self.starved.pop_front() else { return };
            self.send(index);
        }
    }

    // Ends.

    fn fail(&mut self, index: u32, what: What) {
        self.report.failed += 1;
        let life = self.all[index as usize].life;
        if self.report.failures.len() < FAILURES_KEPT {
            self.report.failures.push(Failure { connection: index, life, what });
        }
        self.drop_socket(index, true);
        self.leave(index);
    }

    /// Closes a connection; it comes again if the run goes on and it has not had all of its answers.
    fn begin_again(&mut self, index: u32, is_reset: bool) {
        self.drop_socket(index, is_reset);
        if self.stage == Stage::Stopping || self.is_enough(index) {
            return self.leave(index);
        }
        self.all[index as usize].life += 1;
        self.connect(index);
    }

    /// Closes a connection for good.
    fn leave(&mut self, index: u32) {
        self.drop_socket(index, false);
        let client = &mut self.all[index as usize];
        client.phase = Phase::Absent;
        self.wheel.disarm(index);
        self.active -= 1;
    }

    fn drop_socket(&mut self, index: u32, is_reset: bool) {
        let client = &mut self.all[index as usize];
        let Some(socket) = client.socket.take() else { return };
        let connecting = client.connecting.take();
        self.connecting -= u32::from(connecting.is_some());
        let operations = [connecting, client.receiving.take(), client.sending.take()];
        if is_reset {
            let _gone_already = socket.kernel().map(socket::set_abort_on_close);
        } else {
            // The descriptor lives until the receive is cancelled; the FIN need not wait for that.
            let _gone_already = self.ring.shutdown(&socket, Shutdown::Write);
        }
        for operation in operations.into_iter().flatten() {
            self.ring.orphan(operation);
        }
    }
}

impl Client {
    fn new(cursor: Cursor) -> Client {
        Client {
            phase: Phase::Absent,
            life: 0,
            socket: None,
            connecting: None,
            receiving: None,
            sending: None,
            writer: cursor,
            reader: cursor,
            owed: 0,
            begun_ns: VecDeque::new(),
            answers: 0,
        }
    }
}

/// A ring on which no connection of the plan waits for another one's operations.
fn ring_options(plan: &Plan) -> RingOptions {
    let largest = plan.shape.size_max() as usize * plan.window as usize;
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
