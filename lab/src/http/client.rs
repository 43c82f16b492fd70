//! The asking side of a load on one worker: connections kept busy, answers judged, all on the engine's turns.

use super::answer::{Memo, Read, Reader};
use super::plan::Plan;
use super::schedule::Schedule;
use super::script::Script;
use super::tally::{FaultKind, Tally};
use crate::measure::clock::thread_cpu;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_engine::{Conn, Events, Protocol, Stream, Turn, WorkerHandle};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// The longest nap of an open loop, so that it hears of its end.
const IDLE_NAP_MAX: Duration = Duration::from_millis(200);

/// How much of the next slice is copied behind a head that it ends.
const JOINED_BYTES: usize = 4 * 1024;

/// What is known of a target's answers.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) is_head: bool,
    pub(super) status: u16,
    pub(super) length: u64,
}

/// What one worker found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) tally: Tally,
    /// CPU time of its thread while it was measured, and the time that took.
    pub(super) cpu: Duration,
    pub(super) elapsed: Duration,
    /// Why it ended before its time.
    pub(super) gave_up: Option<String>,
}

/// What one worker of a load is to do.
pub(super) struct Task {
    pub(super) plan: Arc<Plan>,
    pub(super) facts: Arc<[Fact]>,
    pub(super) index: usize,
    /// All times count from here.
    pub(super) epoch: Instant,
    /// Right answers so far, for whoever watches.
    pub(super) answered: Arc<AtomicU64>,
    pub(super) report: Sender<Report>,
}

impl Task {
    /// This worker's part of a number that all share.
    fn share(&self, whole: u64) -> u64 {
        let (workers, index) = (self.plan.workers as u64, self.index as u64);
        whole / workers + u64::from(index < whole % workers)
    }
}

/// Where the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    Measured,
    /// Nothing more is asked; what is under way is waited for (open loop).
    Drained,
    Over,
}

/// The protocol: one value per worker, which all of its connections share.
#[derive(Clone)]
pub(super) struct Client(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) worker: WorkerHandle,
    /// Where connections go; set when the load starts.
    pub(super) address: Cell<Option<SocketAddr>>,
    pub(super) state: RefCell<State>,
}

/// Everything that changes.
pub(super) struct State {
    task: Task,
    script: Script,
    /// The same requests with `Connection: close`, where connections have a limit of them.
    last: Option<Script>,
    cursor: usize,
    memos: Vec<Memo>,
    slots: Vec<Slot>,
    pub(super) phase: Phase,
    /// When the measurement began and the CPU time of the thread then.
    begun: (u64, Duration),
    tally: Tally,
    /// Requests of this measurement still to be asked; `None`: no limit.
    budget: Option<u64>,
    in_flight: u64,
    pub(super) last_answer_ns: u64,
    pub(super) open: Option<OpenLoop>,
    /// Connections to be made.
    wanted: VecDeque<usize>,
    connecting: usize,
    is_reported: bool,
}

/// Requests with times of their own.
pub(super) struct OpenLoop {
    pub(super) schedule: Schedule,
    /// Each stream of the schedule is one target; otherwise the script says who is next.
    is_per_target: bool,
    /// Connections that take another request, the longest idle first.
    pub(super) free: VecDeque<usize>,
    /// Requests that a closing server left unanswered.
    returned: VecDeque<Asked>,
    /// A connection is made when a request needs it.
    is_lazy: bool,
}

/// A request under way, or several that were sent together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// When it was due, or sent, or its connection was begun.
    at_ns: u64,
    /// The place of the first in the script.
    place: usize,
    count: u32,
}

/// One connection of the load, made again when it has ended.
#[derive(Default)]
struct Slot {
    is_open: bool,
    reader: Reader,
    asked: VecDeque<Asked>,
    /// How many requests those are.
    unanswered: u32,
    /// Requests sent on this connection.
    used: u32,
    /// When the connection was wanted.
    wanted_ns: u64,
    /// When the oldest request under way became the oldest.
    progress_ns: u64,
    /// For sending outside of a turn.
    stream: Option<Stream>,
    /// In the list of those that take another request.
    is_listed: bool,
    /// The request that the connection is made for.
    pending: Option<Asked>,
}

/// What is to become of a connection after its bytes were read.
enum Verdict {
    Goes,
    Ends(Turn),
}

/// How far the bytes of a slice were read.
enum Consumed {
    All,
    /// The rest is the beginning of something.
    Part(usize),
    Ends(Turn),
}

impl Client {
    /// Makes the requests ready; nothing is asked yet.
    pub(super) fn new(task: Task, worker: &WorkerHandle) -> io::Result<Self> {
        let (plan, pool) = (Arc::clone(&task.plan), worker.slices());
        let script = Script::write(&plan, false, &pool)?;
        let has_last = plan.requests_per_connection.is_some();
        let last = has_last.then(|| Script::write(&plan, true, &pool)).transpose()?;
        let slots = usize::try_from(task.share(plan.connections as u64)).unwrap_or(0);
        let runs = if plan.is_open_loop() { plan.pipeline as usize } else { 1 };
        let slot = |_| Slot { asked: VecDeque::with_capacity(runs), ..Slot::default() };
        let state = State {
            cursor: task.index % script.round(),
            memos: plan.targets.iter().map(|_| Memo::default()).collect(),
            slots: (0..slots).map(slot).collect(),
            phase: Phase::WarmUp,
            begun: (0, Duration::ZERO),
            tally: Tally::default(),
            budget: None,
            in_flight: 0,
            last_answer_ns: 0,
            open: open_loop(&task),
            wanted: VecDeque::new(),
            connecting: 0,
            is_reported: false,
            task,
            script,
            last,
        };
        Ok(Self(Rc::new(Inner {
            worker: worker.clone(),
            address: Cell::new(None),
            state: RefCell::new(state),
        })))
    }
}

fn open_loop(task: &Task) -> Option<OpenLoop> {
    let plan = &task.plan;
    let own: Vec<f64> = plan.targets.iter().filter_map(|target| target.rate).collect();
    let is_per_target = !own.is_empty();
    let rates: Vec<f64> = if is_per_target { own } else { plan.rate.into_iter().collect() };
    (!rates.is_empty()).then(|| OpenLoop {
        schedule: Schedule::new(&rates, task.index, plan.workers),
        is_per_target,
        free: VecDeque::new(),
        returned: VecDeque::new(),
        is_lazy: plan.requests_per_connection == Some(1),
    })
}

impl Protocol for Client {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let state = &mut *self.0.state.borrow_mut();
        let index = usize::try_from(conn.context()[0]).unwrap_or(usize::MAX);
        state.turn(index, conn, events)
    }

    fn closed(&self, context: [u64; 2]) {
        self.0.state.borrow_mut().closed(usize::try_from(context[0]).unwrap_or(usize::MAX));
        self.0.pump();
    }
}

impl State {
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.task.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long until the load begins.
    pub(super) fn until_epoch(&self) -> Duration {
        self.task.epoch.saturating_duration_since(Instant::now())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.task.plan
    }

    /// Whether requests wait for their answers.
    pub(super) fn is_waiting(&self) -> bool {
        self.in_flight > 0
    }

    fn turn(&mut self, index: usize, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events == Events::SENT {
            // Answers are waited for, not the kernel's word that it has the requests.
            return Turn::Idle;
        }
        let now_ns = self.now_ns();
        if self.phase == Phase::Over || events.has(Events::DRAIN) {
            return Turn::Close;
        }
        if events.has(Events::OPENED) {
            self.opened(index, conn);
        }
        let verdict = match self.receive(index, conn, now_ns) {
            Verdict::Goes if conn.is_ended() => self.ended(index, conn.is_broken(), now_ns),
            Verdict::Goes if events.has(Events::TIMEOUT) => self.timed_out(index, conn, now_ns),
            verdict => verdict,
        };
        let turn = match verdict {
            Verdict::Goes => self.go_on(index, conn, now_ns),
            Verdict::Ends(turn) => turn,
        };
        self.conclude();
        turn
    }

    // Receiving.

    fn receive(&mut self, index: usize, conn: &mut Conn<'_>, now_ns: u64) -> Verdict {
        while let Some(mut slice) = conn.take() {
            loop {
                match self.consume(index, &slice, now_ns) {
                    Consumed::All => break,
                    Consumed::Ends(turn) => return Verdict::Ends(turn),
                    Consumed::Part(bytes) => {
                        slice.advance(bytes);
                        let Some(next) = conn.take() else {
                            conn.unread(slice);
                            return Verdict::Goes;
                        };
                        match join(slice, next, &conn.pool()) {
                            Ok((joined, rest)) => {
                                conn.unread(rest);
                                slice = joined;
                            }
                            Err((first, next)) => {
                                conn.unread(next);
                                conn.unread(first);
                                return Verdict::Goes;
                            }
                        }
                    }
                }
            }
        }
        Verdict::Goes
    }

    fn consume(&mut self, index: usize, bytes: &[u8], now_ns: u64) -> Consumed {
        let mut at = 0;
        while at < bytes.len() {
            let Self { slots, script, memos, task, .. } = self;
            let slot = &mut slots[index];
            let Some(asked) = slot.asked.front().copied() else {
                return Consumed::Ends(self.unasked(&bytes[at..]));
            };
            let target = script.target(asked.place) as usize;
            match slot.reader.read(&bytes[at..], task.facts[target].is_head, &mut memos[target]) {
                Ok(Read { consumed, answer: Some(answer) }) => {
                    at += consumed;
                    self.answered(index, asked, answer.status, answer.length, now_ns);
                    if !answer.keep_alive {
                        self.give_back(index);
                        return Consumed::Ends(Turn::Close);
                    }
                }
                Ok(Read { consumed, answer: None }) => {
                    at += consumed;
                    return if at == bytes.len() { Consumed::All } else { Consumed::Part(at) };
                }
                Err(broken) => {
                    let shown = excerpt(&bytes[at..]);
                    let name = self.task.facts[target].name.clone();
                    let sentence = move || format!("{name}: {}: {shown}", broken.reason());
                    self.lose(index, FaultKind::Malformed, sentence);
                    return Consumed::Ends(Turn::Abort);
                }
            }
        }
        Consumed::All
    }

    fn answered(&mut self, index: usize, asked: Asked, status: u16, length: u64, now_ns: u64) {
        let round = self.script.round();
        let slot = &mut self.slots[index];
        if let Some(first) = slot.asked.front_mut() {
            first.count -= 1;
            first.place = (first.place + 1) % round;
            if first.count == 0 {
                slot.asked.pop_front();
            }
        }
        slot.unanswered -= 1;
        slot.progress_ns = now_ns;
        self.in_flight -= 1;
        self.last_answer_ns = now_ns;
        if !self.counts(asked) {
            return;
        }
        let fact = &self.task.facts[self.script.target(asked.place) as usize];
        if status != fact.status {
            let sentence = || format!("{}: status {status} instead of {}", fact.name, fact.status);
            self.tally.wrong(FaultKind::Status, 1, sentence);
        } else if length != fact.length {
            let sentence = || format!("{}: a body of {length} bytes instead of {}", fact.name, fact.length);
            self.tally.wrong(FaultKind::Length, 1, sentence);
        } else {
            self.tally.right(now_ns.saturating_sub(asked.at_ns), length);
        }
    }

    /// In an open loop, what was due before the measurement is not part of it; in a closed loop, what is answered in it is.
    fn counts(&self, asked: Asked) -> bool {
        self.open.is_none() || asked.at_ns >= self.begun.0
    }

    // Faults.

    /// All requests under way on a connection have failed.
    fn lose(&mut self, index: usize, kind: FaultKind, sentence: impl FnOnce() -> String) {
        let counted = self.counted(index);
        let slot = &mut self.slots[index];
        self.in_flight -= u64::from(slot.unanswered);
        slot.asked.clear();
        slot.unanswered = 0;
        self.tally.wrong(kind, counted, sentence);
    }

    /// How many of a connection's requests under way belong to the measurement.
    fn counted(&self, index: usize) -> u64 {
        let asked = self.slots[index].asked.iter().filter(|asked| self.counts(**asked));
        asked.map(|asked| u64::from(asked.count)).sum()
    }

    /// Requests that the server, closing in an orderly way, has not answered are asked again.
    fn give_back(&mut self, index: usize) {
        let counted = self.counted(index);
        let slot = &mut self.slots[index];
        let count = u64::from(std::mem::take(&mut slot.unanswered));
        if count == 0 {
            return;
        }
        self.in_flight -= count;
        self.tally.resent += count;
        if let Some(budget) = &mut self.budget {
            *budget += counted;
        }
        match &mut self.open {
            // Nothing is asked any more.
            Some(_) if self.phase == Phase::Drained => {
                self.tally.unsent += count;
                slot.asked.clear();
            }
            Some(open) => open.returned.extend(slot.asked.drain(..)),
            None => slot.asked.clear(),
        }
    }

    fn unasked(&mut self, bytes: &[u8]) -> Turn {
        let shown = excerpt(bytes);
        self.tally.wrong(FaultKind::Malformed, 1, || format!("bytes that nobody asked for: {shown}"));
        Turn::Abort
    }

    fn ended(&mut self, index: usize, is_broken: bool, now_ns: u64) -> Verdict {
        if !is_broken
            && let Some(answer) = self.slots[index].reader.end()
            && let Some(asked) = self.slots[index].asked.front().copied()
        {
            self.answered(index, asked, answer.status, answer.length, now_ns);
            self.give_back(index);
        }
        let slot = &self.slots[index];
        if let Some(asked) = slot.asked.front() {
            let name = self.task.facts[self.script.target(asked.place) as usize].name.clone();
            let progress = progress(&slot.reader);
            let (kind, what) = match is_broken {
                true => (FaultKind::Reset, "the connection was reset"),
                false => (FaultKind::Cut, "the connection ended"),
            };
            self.lose(index, kind, || format!("{name}: {what} {progress}"));
        }
        Verdict::Ends(Turn::Close)
    }

    fn timed_out(&mut self, index: usize, conn: &mut Conn<'_>, now_ns: u64) -> Verdict {
        let timeout_ns = nanoseconds(self.task.plan.timeout);
        let slot = &self.slots[index];
        let waited_ns = now_ns.saturating_sub(slot.progress_ns);
        let Some(asked) = slot.asked.front().copied().filter(|_| waited_ns >= timeout_ns) else {
            let left_ns = if slot.asked.is_empty() { timeout_ns } else { timeout_ns - waited_ns };
            conn.set_deadline(conn.now_ms() + left_ns / 1_000_000 + 1);
            return Verdict::Goes;
        };
        let name = self.task.facts[self.script.target(asked.place) as usize].name.clone();
        let progress = progress(&slot.reader);
        self.lose(index, FaultKind::Timeout, || {
            format!("{name}: no answer within {} ms, {progress}", timeout_ns / 1_000_000)
        });
        Verdict::Ends(Turn::Abort)
    }

    // Connections.

    fn opened(&mut self, index: usize, conn: &mut Conn<'_>) {
        self.tally.connections += 1;
        let timeout_ms = nanoseconds(self.task.plan.timeout) / 1_000_000;
        conn.set_deadline(conn.now_ms() + timeout_ms + 1);
        let slot = &mut self.slots[index];
        slot.is_open = true;
        slot.reader = Reader::default();
        slot.used = 0;
        if self.open.is_some() {
            slot.stream = Some(conn.detach());
        }
    }

    /// A connection has ended. Unless its requests were accounted for, the engine gave it up.
    fn closed(&mut self, index: usize) {
        self.lose(index, FaultKind::Reset, || "a connection was given up".to_owned());
        let now_ns = self.now_ns();
        let slot = &mut self.slots[index];
        slot.is_open = false;
        slot.stream = None;
        self.want(index, now_ns);
        self.conclude();
    }

    /// The connection shall be made, now or when a request needs it.
    pub(super) fn want(&mut self, index: usize, now_ns: u64) {
        if matches!(self.phase, Phase::Drained | Phase::Over) {
            return;
        }
        let slot = &mut self.slots[index];
        slot.wanted_ns = now_ns;
        match &mut self.open {
            Some(open) if open.is_lazy => {
                if !slot.is_listed {
                    slot.is_listed = true;
                    open.free.push_back(index);
                }
            }
            _ => self.wanted.push_back(index),
        }
    }

    pub(super) fn want_all(&mut self) {
        let now_ns = self.now_ns();
        (0..self.slots.len()).for_each(|index| self.want(index, now_ns));
    }

    /// The next connection to be made, if another may be made at the same time.
    pub(super) fn next_wanted(&mut self, at_once_max: usize) -> Option<usize> {
        if self.connecting >= at_once_max || self.phase == Phase::Over {
            return None;
        }
        let index = self.wanted.pop_front()?;
        self.connecting += 1;
        Some(index)
    }

    pub(super) fn connect_ended(&mut self) {
        self.connecting -= 1;
    }

    /// A connection could not be made; the request that it was for has failed.
    pub(super) fn connect_failed(&mut self, index: usize, error: &io::Error) {
        let pending = self.slots[index].pending.take();
        match (pending, &mut self.budget) {
            (Some(asked), _) => {
                self.in_flight -= 1;
                if !self.counts(asked) {
                    return;
                }
            }
            (None, Some(0)) => return,
            (None, Some(budget)) => *budget -= 1,
            (None, None) => {}
        }
        self.tally.wrong(FaultKind::Connect, 1, || format!("no connection: {error}"));
    }

    // Asking.

    /// What a connection does next when its bytes are read.
    fn go_on(&mut self, index: usize, conn: &mut Conn<'_>, now_ns: u64) -> Turn {
        let slot = &self.slots[index];
        let is_used_up = self.task.plan.requests_per_connection.is_some_and(|limit| slot.used >= limit);
        if is_used_up {
            return if slot.asked.is_empty() { Turn::Close } else { Turn::Idle };
        }
        if self.open.is_some() {
            self.offer(index, now_ns, |slice| conn.send(slice));
        } else if slot.asked.is_empty() {
            self.ask_again(index, conn, now_ns);
        }
        Turn::Idle
    }

    /// Closed loop: the next requests, as many as the pipeline is deep.
    fn ask_again(&mut self, index: usize, conn: &mut Conn<'_>, now_ns: u64) {
        let slot = &mut self.slots[index];
        let limit = self.task.plan.requests_per_connection;
        let left = limit.map_or(u32::MAX, |limit| limit - slot.used).min(self.task.plan.pipeline);
        let count = self.budget.map_or(left, |budget| left.min(u32::try_from(budget).unwrap_or(u32::MAX)));
        if count == 0 {
            return;
        }
        let at_ns = if slot.used == 0 { slot.wanted_ns } else { now_ns };
        slot.progress_ns = now_ns;
        slot.used += count;
        let round = self.script.round();
        let (place, taken, count) = (self.cursor, count, count as usize);
        slot.asked.push_back(Asked { at_ns, place, count: taken });
        slot.unanswered += taken;
        self.in_flight += count as u64;
        if let Some(budget) = &mut self.budget {
            *budget -= count as u64;
        }
        self.cursor = (place + count) % round;
        match &self.last {
            Some(last) if limit == Some(slot.used) => {
                self.script.send(place, count - 1, |slice| conn.send(slice));
                last.send((place + count - 1) % round, 1, |slice| conn.send(slice));
            }
            _ => self.script.send(place, count, |slice| conn.send(slice)),
        }
    }

    /// Open loop: sends what is due on a connection as far as it takes more, then lists it as one that does.
    fn offer(&mut self, index: usize, now_ns: u64, mut send: impl FnMut(Slice)) {
        if let Some(asked) = self.slots[index].pending.take() {
            self.in_flight -= 1;
            self.ask(index, asked, now_ns, &mut send);
        }
        while self.takes_more(index) {
            let Some(asked) = self.take_due(now_ns) else {
                self.list(index);
                return;
            };
            self.ask(index, asked, now_ns, &mut send);
        }
    }

    fn takes_more(&self, index: usize) -> bool {
        let (slot, plan) = (&self.slots[index], &self.task.plan);
        let has_room = slot.unanswered < plan.pipeline;
        slot.is_open && has_room && plan.requests_per_connection.is_none_or(|limit| slot.used < limit)
    }

    fn list(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if let Some(open) = &mut self.open
            && !slot.is_listed
        {
            slot.is_listed = true;
            open.free.push_back(index);
        }
    }

    fn ask(&mut self, index: usize, asked: Asked, now_ns: u64, send: &mut impl FnMut(Slice)) {
        let slot = &mut self.slots[index];
        if slot.asked.is_empty() {
            slot.progress_ns = now_ns;
        }
        slot.used += 1;
        slot.asked.push_back(asked);
        slot.unanswered += 1;
        self.in_flight += 1;
        let is_last = self.task.plan.requests_per_connection == Some(slot.used);
        let script = self.last.as_ref().filter(|_| is_last).unwrap_or(&self.script);
        script.send(asked.place, 1, send);
    }

    /// The next request whose time has come, late ones first.
    fn take_due(&mut self, now_ns: u64) -> Option<Asked> {
        if matches!(self.phase, Phase::Drained | Phase::Over) || self.budget == Some(0) {
            return None;
        }
        let open = self.open.as_mut()?;
        let asked = match open.returned.pop_front() {
            Some(asked) => asked,
            None => {
                let due = open.schedule.take(now_ns)?;
                let place = if open.is_per_target { self.script.place_of(due.stream) } else { self.cursor };
                if !open.is_per_target {
                    self.cursor = (self.cursor + 1) % self.script.round();
                }
                Asked { at_ns: due.at_ns, place, count: 1 }
            }
        };
        // One that was due in the warm-up and is late is none of those to be measured.
        if let Some(budget) = self.budget.as_mut().filter(|_| asked.at_ns >= self.begun.0) {
            *budget -= 1;
        }
        Some(asked)
    }

    /// Open loop, outside of turns: sends what is due on connections that take more.
    pub(super) fn dispatch(&mut self, now_ns: u64) {
        while let Some(index) = self.open.as_mut().and_then(|open| open.free.pop_front()) {
            self.slots[index].is_listed = false;
            if !self.slots[index].is_open {
                // A lazy connection, made for this request; one that has closed meanwhile is listed again when it is made.
                let is_lazy = self.open.as_ref().is_some_and(|open| open.is_lazy);
                if !is_lazy || self.slots[index].pending.is_some() {
                    continue;
                }
                let Some(asked) = self.take_due(now_ns) else {
                    self.slots[index].is_listed = true;
                    self.open.as_mut().into_iter().for_each(|open| open.free.push_front(index));
                    return;
                };
                self.slots[index].pending = Some(asked);
                self.in_flight += 1;
                self.wanted.push_back(index);
                continue;
            }
            let Some(asked) = self.take_due(now_ns).filter(|_| self.takes_more(index)) else {
                self.slots[index].is_listed = true;
                self.open.as_mut().into_iter().for_each(|open| open.free.push_front(index));
                return;
            };
            let Some(mut stream) = self.slots[index].stream.take() else { continue };
            self.ask(index, asked, now_ns, &mut |slice| stream.send(slice));
            self.slots[index].stream = Some(stream);
            if self.takes_more(index) {
                self.list(index);
            }
        }
    }

    /// How long until the next request is due; `None` when no connection is free to take one.
    pub(super) fn until_due(&self, now_ns: u64) -> Option<Duration> {
        let open = self.open.as_ref()?;
        let next_ns = open.schedule.next_ns().saturating_sub(now_ns);
        // A due time beyond all runs must not be one beyond the timer.
        (!open.free.is_empty()).then(|| Duration::from_nanos(next_ns).min(IDLE_NAP_MAX))
    }

    // Phases.

    /// The measurement begins: what was counted until now was the warm-up.
    pub(super) fn begin(&mut self) {
        let now_ns = self.now_ns();
        self.phase = Phase::Measured;
        self.tally = Tally::default();
        self.begun = (now_ns, thread_cpu());
        self.last_answer_ns = now_ns;
        let share = self.task.plan.requests.map(|requests| self.task.share(requests));
        // In a closed loop, what is under way is part of the measurement, as it will be answered in it.
        let under_way = if self.open.is_some() { 0 } else { self.in_flight };
        self.budget = share.map(|share| share.saturating_sub(under_way));
        self.task.answered.store(0, Ordering::Relaxed);
        self.conclude();
    }

    /// For whoever watches.
    pub(super) fn publish(&self) {
        self.task.answered.store(self.tally.answers, Ordering::Relaxed);
    }

    /// The time is over: a closed loop ends at once, an open one waits for what it has asked.
    pub(super) fn time_over(&mut self) {
        let now_ns = self.now_ns();
        if self.phase != Phase::Measured {
            return;
        }
        // What became due since the last look and finds a free connection is not late.
        self.dispatch(now_ns);
        let Some(open) = &mut self.open else {
            self.finish(None);
            return;
        };
        let begun_ns = self.begun.0;
        let mut unsent = |at_ns: u64| {
            if at_ns >= begun_ns {
                self.tally.unsent += 1;
                // It would have waited at least so long.
                self.tally.latency.record(now_ns - at_ns);
            }
        };
        open.returned.drain(..).for_each(|asked| unsent(asked.at_ns));
        while let Some(due) = open.schedule.take(now_ns) {
            unsent(due.at_ns);
        }
        self.phase = Phase::Drained;
        self.conclude();
    }

    /// Ends the measurement when there is nothing left to wait for.
    pub(super) fn conclude(&mut self) {
        let is_done = match self.phase {
            Phase::Measured => self.budget == Some(0) && self.in_flight == 0,
            Phase::Drained => self.in_flight == 0,
            Phase::WarmUp | Phase::Over => false,
        };
        if is_done {
            self.finish(None);
        }
    }

    /// Ends the measurement and reports it.
    pub(super) fn finish(&mut self, gave_up: Option<String>) {
        self.phase = Phase::Over;
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        let mut tally = std::mem::take(&mut self.tally);
        tally.settle();
        tally.unanswered = self.in_flight;
        let elapsed = Duration::from_nanos(self.now_ns().saturating_sub(self.begun.0));
        let cpu = thread_cpu().saturating_sub(self.begun.1);
        let _nobody_waits = self.task.report.send(Report { tally, cpu, elapsed, gave_up });
    }
}

/// Puts the beginning of `next` behind `first`, which is part of a head or a trailer; the rest, possibly empty, comes back.
/// Without memory both come back as they were.
fn join(first: Slice, mut next: Slice, pool: &Pool) -> Result<(Slice, Slice), (Slice, Slice)> {
    let taken = next.len().min(JOINED_BYTES).min(SLICE_BYTES_MAX - first.len());
    let total = first.len() + taken;
    let Some(mut buffer) = pool.get(total) else { return Err((first, next)) };
    buffer[..first.len()].copy_from_slice(&first);
    buffer[first.len()..total].copy_from_slice(&next[..taken]);
    next.advance(taken);
    Ok((buffer.freeze(total), next))
}

fn progress(reader: &Reader) -> String {
    match reader.so_far() {
        _ if !reader.is_within() => "before the answer began or in its head".to_owned(),
        (bytes, Some(whole)) => format!("after {bytes} of {whole} bytes of the body"),
        (bytes, None) => format!("after {bytes} bytes of the body"),
    }
}

/// The beginning of what came instead of an answer, for a message.
fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(40)];
    format!("\"{}\"", shown.escape_ascii())
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
