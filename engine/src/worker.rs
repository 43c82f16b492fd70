//! A worker: one thread with its ring, connections, tasks and deadlines; nothing on its hot path is shared.

use crate::connection::Conn;
use crate::core::Core;
use crate::counters::Counters;
use crate::mailbox::{Mailbox, Message};
use crate::pool::ThreadPool;
use crate::protocol::{Events, Protocol, Turn};
use crate::record::{ConnId, Flags};
use crate::task::{self, Polled, TaskId, Tasks, Work};
use crate::timer::Timers;
use crate::token::Token;
use crate::wait::WaitMode;
use ringway_ring::socket::Address;
use ringway_ring::{Completion, Handle, Op, OpId, Payload, Ring};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// How long accepting rests after it failed for want of descriptors or memory, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// How often the accept queues are looked at while connections come, in milliseconds.
const BACKLOG_CHECK_MS: u64 = 1_000;

/// Expired deadlines handled in one turn of the loop.
const EXPIRED_BATCH: usize = 4_096;

/// Everything of a worker that its tasks and protocols reach.
pub(crate) struct Local {
    pub(crate) core: RefCell<Core>,
    pub(crate) tasks: Tasks,
    pub(crate) timers: Timers,
    pub(crate) pool: ThreadPool,
}

/// A handle to the worker whose thread this is. `!Send`.
#[derive(Clone)]
pub struct WorkerHandle {
    pub(crate) local: Rc<Local>,
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) ring: Ring,
    pub(crate) mailbox: Mailbox,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) protocols: Vec<Rc<dyn Protocol>>,
    pub(crate) limits: Vec<crate::EndpointLimits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: ThreadPool,
    pub(crate) wait: WaitMode,
    pub(crate) first_receive_bytes: usize,
    /// All workers, for the one that accepts for others.
    pub(crate) peers: Vec<Peer>,
    pub(crate) index: usize,
}

/// Another worker, as an acceptor sees it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) mailbox: Mailbox,
    pub(crate) counters: Arc<Counters>,
}

/// A listening socket of this worker.
pub(crate) struct Listener {
    pub(crate) endpoint: u16,
    pub(crate) socket: Handle,
    pub(crate) is_shared_out: bool,
    accepting: Option<OpId>,
    /// When a failed accept is tried again.
    retry_at_ms: Option<u64>,
}

impl Listener {
    pub(crate) fn new(endpoint: u16, socket: OwnedFd, address: &Address, is_shared_out: bool) -> Self {
        let is_shared_out = is_shared_out && matches!(address, Address::Tcp(_));
        Self { endpoint, socket: Handle::new(socket), is_shared_out, accepting: None, retry_at_ms: None }
    }
}

/// A worker at work.
pub(crate) struct Worker {
    local: Rc<Local>,
    parts: WorkerSide,
}

struct WorkerSide {
    mailbox: Mailbox,
    listeners: Vec<Listener>,
    protocols: Vec<Rc<dyn Protocol>>,
    counters: Arc<Counters>,
    wait: WaitMode,
    first_receive_bytes: usize,
    peers: Vec<Peer>,
    index: usize,
    drain_until_ms: Option<u64>,
    backlog_check_at_ms: u64,
    idle_polls: u32,
    messages: Vec<Message>,
    run_queue: Vec<TaskId>,
    ready: Vec<ConnId>,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        let core = Core::new(parts.ring, parts.limits, Arc::clone(&parts.counters));
        let local = Local {
            core: RefCell::new(core),
            tasks: Tasks::new(parts.mailbox.clone()),
            timers: Timers::default(),
            pool: parts.pool,
        };
        let side = WorkerSide {
            mailbox: parts.mailbox,
            listeners: parts.listeners,
            protocols: parts.protocols,
            counters: parts.counters,
            wait: parts.wait,
            first_receive_bytes: parts.first_receive_bytes,
            peers: parts.peers,
            index: parts.index,
            drain_until_ms: None,
            backlog_check_at_ms: 0,
            idle_polls: 0,
            messages: Vec::new(),
            run_queue: Vec::new(),
            ready: Vec::new(),
        };
        Self { local: Rc::new(local), parts: side }
    }

    pub(crate) fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(Rc::clone(&self.local))
    }

    /// Works until it has drained.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.is_done() {
            self.turn()?;
        }
        self.local.tasks.clear();
        Ok(())
    }

    /// One turn of the loop: wait, collect, handle in batches.
    fn turn(&mut self) -> io::Result<()> {
        self.arm_accepts();
        self.local.core.borrow_mut().feed_starved();
        let wait = self.parts.wait.choose(self.parts.idle_polls, self.until_next_ms());
        let had_news = {
            let core = &mut *self.local.core.borrow_mut();
            core.ring.poll(wait)?;
            core.update_clock();
            core.ring.take_woken()
        };
        let started = Instant::now();
        let completions = self.collect();
        self.expire();
        if had_news {
            self.read_mail();
        }
        self.give_turns();
        self.run_tasks();
        self.end_turn(started);
        self.parts.idle_polls = if completions == 0 { self.parts.idle_polls.saturating_add(1) } else { 0 };
        Ok(())
    }

    fn until_next_ms(&self) -> Option<u64> {
        let core = self.local.core.borrow();
        if task::any_scheduled() || !core.ready.is_empty() || core.has_starved() {
            return Some(0);
        }
        let retry = self.parts.listeners.iter().filter_map(|listener| listener.retry_at_ms).min();
        let all =
            [core.deadlines.next_wakeup(), self.local.timers.next_wakeup(), self.parts.drain_until_ms, retry];
        all.into_iter().flatten().min().map(|at_ms| at_ms.saturating_sub(core.now_ms))
    }

    fn is_done(&self) -> bool {
        let core = self.local.core.borrow();
        let is_accepting = self.parts.listeners.iter().any(|listener| listener.accepting.is_some());
        core.is_draining && core.conns.len() == 0 && !is_accepting
    }

    // Completions.

    fn collect(&mut self) -> usize {
        let mut count = 0;
        loop {
            let accepted = {
                let core = &mut *self.local.core.borrow_mut();
                let Some(completion) = core.ring.next_completion() else { break };
                count += 1;
                core.complete(completion)
            };
            if let Some((listener, completion)) = accepted {
                self.accepted(listener, completion);
            }
        }
        count
    }

    fn accepted(&mut self, index: u32, completion: Completion) {
        let Completion { result, more, payload, .. } = completion;
        let now_ms = self.local.core.borrow().now_ms;
        let Some(listener) = self.parts.listeners.get_mut(index as usize) else { return };
        if !more {
            listener.accepting = None;
        }
        let (endpoint, is_shared_out) = (listener.endpoint, listener.is_shared_out);
        match payload {
            Payload::Connection(socket) => {
                if is_shared_out && self.hand_out(endpoint, &socket) {
                    return;
                }
                self.local.core.borrow_mut().open(endpoint, socket);
            }
            _ if result.is_err() && !self.local.core.borrow().is_draining => {
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: slow down; what waits in the queue is served when there is room.
                self.parts.counters.accept_failures.add(1);
                if let Some(listener) = self.parts.listeners.get_mut(index as usize) {
                    listener.retry_at_ms = Some(now_ms + ACCEPT_PAUSE_MS);
                }
            }
            _ => {}
        }
    }

    /// Hands a connection to the worker with the fewest; false when that is this one.
    fn hand_out(&self, endpoint: u16, socket: &Handle) -> bool {
        let load = |peer: &Peer| peer.counters.open.get();
        let fewest = (0..self.parts.peers.len()).min_by_key(|&index| load(&self.parts.peers[index]));
        let Some(chosen) = fewest.filter(|&index| index != self.parts.index) else { return false };
        // A duplicate descriptor, because the handle is this thread's.
        let Some(Ok(fd)) = socket.kernel().map(|fd| fd.try_clone_to_owned()) else { return false };
        self.parts.peers[chosen].mailbox.send(Message::Connection(endpoint, fd));
        true
    }

    fn arm_accepts(&mut self) {
        let core = &mut *self.local.core.borrow_mut();
        if core.is_draining {
            return;
        }
        for (index, listener) in self.parts.listeners.iter_mut().enumerate() {
            let rests = listener.retry_at_ms.is_some_and(|at_ms| at_ms > core.now_ms);
            if listener.accepting.is_some() || rests {
                continue;
            }
            listener.retry_at_ms = None;
            let op = Op::Accept { listener: listener.socket.clone() };
            let token = Token::Accept(u32::try_from(index).unwrap_or(u32::MAX)).bits();
            match core.ring.submit(op, token) {
                Ok(id) => listener.accepting = Some(id),
                Err(_full) => listener.retry_at_ms = Some(core.now_ms + ACCEPT_PAUSE_MS),
            }
        }
    }

    // Time.

    fn expire(&mut self) {
        {
            let core = &mut *self.local.core.borrow_mut();
            let now_ms = core.now_ms;
            for _ in 0..EXPIRED_BATCH {
                let Some(index) = core.deadlines.expire(now_ms) else { break };
                let Some(id) = core.conns.current(index) else { continue };
                core.counters.timeouts.add(1);
                let is_lingering = core.conns.get(id).is_some_and(|record| {
                    record.flags.has(Flags::LINGERING) || record.flags.has(Flags::CLOSING)
                });
                if is_lingering {
                    core.abort(id);
                } else {
                    core.notify(id, Events::TIMEOUT);
                }
            }
            self.local.timers.expire(now_ms);
        }
        let now_ms = self.local.core.borrow().now_ms;
        if self.parts.drain_until_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            let core = &mut *self.local.core.borrow_mut();
            core.conns.ids().into_iter().for_each(|id| core.abort(id));
            self.parts.drain_until_ms = None;
        }
    }

    // Mail.

    fn read_mail(&mut self) {
        let mut messages = std::mem::take(&mut self.parts.messages);
        self.parts.mailbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Wake(bits) => task::schedule(TaskId::from_bits(bits)),
                Message::Connection(endpoint, fd) => {
                    self.local.core.borrow_mut().open(endpoint, Handle::new(fd));
                }
                Message::Drain(within_ms) => self.begin_drain(within_ms),
            }
        }
        self.parts.messages = messages;
    }

    /// Stops accepting; what was accepted meanwhile is still served.
    fn begin_drain(&mut self, within_ms: u64) {
        let core = &mut *self.local.core.borrow_mut();
        core.is_draining = true;
        self.parts.drain_until_ms = Some(core.now_ms + within_ms);
        for listener in &self.parts.listeners {
            if let Some(id) = listener.accepting {
                core.ring.cancel(id);
            }
        }
        for id in core.conns.ids() {
            core.notify(id, Events::DRAIN);
        }
    }

    // Turns.

    fn give_turns(&mut self) {
        let mut ready = std::mem::take(&mut self.parts.ready);
        std::mem::swap(&mut ready, &mut self.local.core.borrow_mut().ready);
        for id in ready.drain(..) {
            self.give_turn(id);
        }
        self.parts.ready = ready;
        self.tell_ended();
    }

    fn give_turn(&self, id: ConnId) {
        let core = &mut *self.local.core.borrow_mut();
        let Some(record) = core.conns.get(id) else { return };
        record.flags.clear(Flags::QUEUED);
        let endpoint = usize::from(record.endpoint);
        let is_closing = record.flags.has(Flags::LINGERING) || record.flags.has(Flags::CLOSING);
        if record.events.has(Events::OPENED) {
            core.receive_at_once(id, self.parts.first_receive_bytes);
        }
        if is_closing || record_is_linger_next(core, id) {
            return;
        }
        let Some(protocol) = self.parts.protocols.get(endpoint) else { return };
        let mut conn = Conn { core, local: &self.local, id };
        let events = conn.take_events();
        if events.is_empty() {
            return;
        }
        conn.core.counters.turns.add(1);
        let turn = catch_unwind(AssertUnwindSafe(|| protocol.turn(&mut conn, events)));
        let turn = turn.unwrap_or_else(|_panic| {
            conn.core.counters.panics.add(1);
            Turn::Abort
        });
        Self::carry_out(&self.local, conn.core, id, turn);
    }

    fn carry_out(local: &Rc<Local>, core: &mut Core, id: ConnId, turn: Turn) {
        match turn {
            Turn::Idle => core.settle(id),
            Turn::Close => core.close(id),
            Turn::Linger => core.linger(id),
            Turn::Abort => core.abort(id),
            Turn::Task(future) => {
                core.counters.tasks.add(1);
                let task = local.tasks.spawn(Work::Connection(id, future));
                match core.conns.get(id) {
                    Some(record) => record.task = Some(task),
                    None => core.orphaned_tasks.push(task),
                }
                core.rearm(id);
            }
        }
    }

    fn run_tasks(&mut self) {
        let mut queue = std::mem::take(&mut self.parts.run_queue);
        task::take_scheduled(&mut queue);
        for id in queue.drain(..) {
            self.run_task(id);
        }
        self.parts.run_queue = queue;
    }

    fn run_task(&self, id: TaskId) {
        let (conn, turn) = match self.local.tasks.poll(id) {
            Polled::Pending | Polled::Done => return,
            Polled::Turn(conn, turn) => (Some(conn), turn),
            Polled::Panicked(conn) => {
                self.parts.counters.panics.add(1);
                (conn, Turn::Abort)
            }
        };
        let core = &mut *self.local.core.borrow_mut();
        let Some(conn) = conn else { return };
        let Some(record) = core.conns.get(conn) else { return };
        record.task = None;
        let is_idle = matches!(turn, Turn::Idle);
        Self::carry_out(&self.local, core, conn, turn);
        // What arrived or happened while the task ran is the next turn's.
        if is_idle && let Some(record) = core.conns.get(conn) {
            let mut events = std::mem::take(&mut record.events);
            if !record.inbox.is_empty() {
                events.add(Events::DATA);
            }
            if record.flags.has(Flags::ENDED) {
                events.add(Events::END);
            }
            if core.is_draining {
                events.add(Events::DRAIN);
            }
            if !events.is_empty() {
                core.notify(conn, events);
            }
        }
    }

    fn tell_ended(&self) {
        loop {
            let (ended, orphans) = {
                let core = &mut *self.local.core.borrow_mut();
                (std::mem::take(&mut core.ended), std::mem::take(&mut core.orphaned_tasks))
            };
            if ended.is_empty() && orphans.is_empty() {
                return;
            }
            for task in orphans {
                self.local.tasks.remove(task);
            }
            for (endpoint, context) in &ended {
                if let Some(protocol) = self.parts.protocols.get(usize::from(*endpoint)) {
                    let _panicked = catch_unwind(AssertUnwindSafe(|| protocol.closed(*context)));
                }
            }
        }
    }

    fn end_turn(&mut self, started: Instant) {
        self.tell_ended();
        let core = &mut *self.local.core.borrow_mut();
        let counters = &self.parts.counters;
        let turn_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.longest_turn_us.raise(turn_us);
        counters.operations.set(core.ring.in_flight() as u64);
        counters.memory_bytes.set(core.ring.pool().mapped_bytes() as u64);
        let has_come = counters.accepted.get() > 0;
        if has_come && core.now_ms >= self.parts.backlog_check_at_ms {
            self.parts.backlog_check_at_ms = core.now_ms + BACKLOG_CHECK_MS;
            check_backlog(&self.parts.listeners, counters);
        }
    }
}

fn record_is_linger_next(core: &mut Core, id: ConnId) -> bool {
    core.conns.get(id).is_none_or(|record| record.flags.has(Flags::LINGER_NEXT))
}

/// Looks at the accept queues: a multishot accept empties them as fast as the worker turns, so a full one means that the
/// worker is overloaded and clients are being turned away.
fn check_backlog(listeners: &[Listener], counters: &Counters) {
    for listener in listeners {
        let queue = listener.socket.kernel().map(ringway_ring::socket::accept_queue);
        let Some(Ok((waiting, room))) = queue else { continue };
        counters.backlog_high.raise(u64::from(waiting));
        if room > 0 && waiting * 5 >= room * 4 {
            counters.backlog_alarms.add(1);
        }
    }
}

impl WorkerHandle {
    pub(crate) fn new(local: Rc<Local>) -> Self {
        Self { local }
    }

    /// Runs a future on this worker, beside everything else. A panic ends this future only.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.local.tasks.spawn(Work::Free(Box::pin(future)));
    }

    /// The pool for blocking work.
    #[must_use]
    pub fn pool(&self) -> &ThreadPool {
        &self.local.pool
    }

    /// The worker's clock in milliseconds. Not during a turn: a protocol asks its [`Conn`].
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.local.core.borrow().now_ms
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerHandle")
    }
}
