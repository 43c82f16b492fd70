//! A worker: one thread with its ring, connections, tasks and deadlines; nothing on its hot path is shared.

mod changes;
mod datagrams;

use crate::accepting::{Acceptor, Peer};
use crate::change::Prepared;
use crate::connection::Conn;
use crate::core::{Core, Door, Ended};
use crate::counters::Counters;
use crate::filter::FilterSource;
use crate::mailbox::{Mailbox, Message};
use crate::pool::ThreadPool;
use crate::preface::Preface;
use crate::protocol::{Events, Protocol, Turn};
#[cfg(feature = "members")]
use crate::record::Mode;
use crate::record::{ConnId, Flags};
use crate::task::{self, Polled, TaskId, Tasks, Work};
use crate::timer::Timers;
use crate::udp::{self, DatagramHandler, UdpSocket};
use crate::wait::WaitMode;
use ringway_heap::local_future;
use ringway_ring::{Handle, Pool, Ring};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

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
    /// What was dropped while the core was lent out.
    pub(crate) abandoned: RefCell<Vec<Abandoned>>,
    /// How many tasks keep the worker from stopping: see [`WorkerHandle::unfinished`].
    pub(crate) unfinished: Cell<usize>,
    /// Threads that look names up.
    pub(crate) resolver: Option<ThreadPool>,
}

/// What nobody waits for any more, dropped where the core was lent out.
pub(crate) enum Abandoned {
    /// An operation, by its place.
    Operation(u32),
    /// A connection that its owner has let go of.
    Stream(ConnId),
    /// A connection that shall have a turn.
    #[cfg(feature = "members")]
    Nudge(ConnId),
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
    pub(crate) acceptor: Acceptor,
    pub(crate) udp: Vec<UdpSocket>,
    /// Of the kinds of outbound connections, and behind them of all endpoints.
    pub(crate) doors: Vec<Door>,
    /// How many of them are kinds of outbound connections.
    pub(crate) outbound: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pool: ThreadPool,
    pub(crate) resolver: Option<ThreadPool>,
    pub(crate) wait: WaitMode,
    pub(crate) first_receive_bytes: usize,
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a worker's.
pub(crate) fn is_current() -> bool {
    IS_WORKER.get()
}

/// A worker at work.
pub(crate) struct Worker {
    local: Rc<Local>,
    parts: WorkerSide,
}

struct WorkerSide {
    mailbox: Mailbox,
    acceptor: Acceptor,
    /// Of the core's doors; `None` when its endpoint was removed and its last connection has ended.
    protocols: Vec<Option<Rc<dyn Protocol>>>,
    /// What a change under way is to put in place.
    prepared: Option<Prepared>,
    datagram_handlers: Vec<Rc<dyn DatagramHandler>>,
    counters: Arc<Counters>,
    wait: WaitMode,
    first_receive_bytes: usize,
    drain_until_ms: Option<u64>,
    backlog_check_at_ms: u64,
    idle_polls: u32,
    messages: Vec<Message>,
    run_queue: Vec<TaskId>,
    ready: Vec<ConnId>,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        IS_WORKER.set(true);
        let mut core = Core::new(parts.ring, parts.doors, parts.outbound, Arc::clone(&parts.counters));
        core.udp = udp::Side::new(parts.udp);
        let local = Local {
            core: RefCell::new(core),
            tasks: Tasks::new(parts.mailbox.clone()),
            timers: Timers::default(),
            pool: parts.pool,
            abandoned: RefCell::default(),
            unfinished: Cell::new(0),
            resolver: parts.resolver,
        };
        let side = WorkerSide {
            mailbox: parts.mailbox,
            acceptor: parts.acceptor,
            protocols: Vec::new(),
            prepared: None,
            datagram_handlers: Vec::new(),
            counters: parts.counters,
            wait: parts.wait,
            first_receive_bytes: parts.first_receive_bytes,
            drain_until_ms: None,
            backlog_check_at_ms: 0,
            idle_polls: 0,
            messages: Vec::new(),
            run_queue: Vec::new(),
            ready: Vec::new(),
        };
        Self { local: Rc::new(local), parts: side }
    }

    /// Sets what speaks on outbound connections and on the endpoints, in the order of the doors; before the worker runs.
    pub(crate) fn set_protocols(&mut self, protocols: Vec<Rc<dyn Protocol>>) {
        #[cfg(feature = "held")]
        for (door, protocol) in (0..).zip(&protocols) {
            protocol.placed(crate::DoorKey(door));
        }
        self.parts.protocols = protocols.into_iter().map(Some).collect();
    }

    /// Sets what the connections of the endpoints go through, in their order; before the worker runs.
    pub(crate) fn set_filters(&self, filters: Vec<Option<Rc<dyn FilterSource>>>) {
        let core = &mut *self.local.core.borrow_mut();
        let endpoints = core.doors[core.outbound..].iter_mut();
        endpoints.zip(filters).for_each(|(door, filters)| door.filters = filters);
    }

    /// Sets what the connections of the endpoints begin with, in their order; before the worker runs.
    pub(crate) fn set_prefaces(&self, prefaces: impl Iterator<Item = Option<Arc<dyn Preface>>>) {
        let core = &mut *self.local.core.borrow_mut();
        let endpoints = core.doors[core.outbound..].iter_mut();
        endpoints.zip(prefaces).for_each(|(door, preface)| door.preface = preface);
    }

    /// Sets what handles the datagrams of the UDP endpoints, in their order; before the worker runs.
    pub(crate) fn set_datagram_handlers(&mut self, handlers: Vec<Rc<dyn DatagramHandler>>) {
        if cfg!(feature = "udp") {
            handlers.iter().enumerate().for_each(|(endpoint, handler)| handler.placed(endpoint));
        }
        self.parts.datagram_handlers = handlers;
    }

    /// Sets all workers, for the one that accepts for others; before the worker runs.
    pub(crate) fn set_peers(&mut self, peers: Vec<Peer>) {
        self.parts.acceptor.set_peers(peers);
    }

    pub(crate) fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(Rc::clone(&self.local))
    }

    /// Works until it has drained.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !(self.is_done() && self.parts.mailbox.close_if_served()) {
            self.turn()?;
        }
        self.local.core.borrow().publish();
        Ok(())
    }

    /// One turn of the loop: wait, collect, handle in batches.
    fn turn(&mut self) -> io::Result<()> {
        {
            let core = &mut *self.local.core.borrow_mut();
            self.parts.acceptor.arm(core);
            core.arm_udp();
            core.feed_starved();
            if core.is_governed() {
                core.let_go_on();
            }
            core.publish();
        }
        let wait = self.parts.wait.choose(self.parts.idle_polls, self.until_next_ms());
        let (had_news, started) = {
            let core = &mut *self.local.core.borrow_mut();
            core.ring.poll(wait)?;
            core.update_clock();
            core.trim_pool();
            core.turn_started = Instant::now();
            (core.ring.take_woken(), core.turn_started)
        };
        self.parts.acceptor.open_pending(&mut self.local.core.borrow_mut());
        let completions = self.collect();
        self.expire();
        if had_news {
            self.read_mail();
        }
        self.give_datagrams();
        self.give_turns();
        self.local.wake_all();
        self.run_tasks();
        self.end_turn(started);
        self.parts.idle_polls = if completions == 0 { self.parts.idle_polls.saturating_add(1) } else { 0 };
        Ok(())
    }

    fn until_next_ms(&self) -> Option<u64> {
        let core = self.local.core.borrow();
        if task::any_scheduled()
            || !core.ready.is_empty()
            || !core.wakes.is_empty()
            || core.udp.has_news()
            || self.parts.acceptor.has_pending()
        {
            return Some(0);
        }
        let retries = [self.parts.acceptor.next_retry_ms(), core.udp.next_retry_ms()];
        let governed = if core.is_governed() { core.next_to_go_on_ms() } else { None };
        let deadlines = [core.deadlines.next_wakeup(), self.local.timers.next_wakeup(), governed];
        let own = [self.parts.drain_until_ms, core.next_trim_ms()];
        let all = deadlines.into_iter().chain(retries).chain(own);
        let next =
            all.flatten().chain(core.next_nap_ms()).min().map(|at_ms| at_ms.saturating_sub(core.clock_ms()));
        [next, core.until_feeding_ms()].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        let core = self.local.core.borrow();
        let is_busy = self.local.unfinished.get() > 0 && self.parts.drain_until_ms.is_some();
        let is_receiving = self.parts.acceptor.is_accepting() || !core.udp.is_settled();
        // Connections that somebody here owns do not outlive those that they serve.
        core.is_draining && core.conns.len() == core.owned && !is_receiving && !is_busy
    }

    // Completions.

    fn collect(&mut self) -> usize {
        let mut count = 0;
        loop {
            let core = &mut *self.local.core.borrow_mut();
            let Some(completion) = core.ring.next_completion() else { return count };
            count += 1;
            if let Some((listener, completion)) = core.complete(completion) {
                self.parts.acceptor.accepted(core, listener, completion);
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
                let flags = core.conns.get(id).map_or(Flags::default(), |record| record.flags);
                if flags.has(Flags::LINGERING) {
                    // Everything is sent, the FIN too: what the peer still sends is its own affair.
                    core.close_now(id);
                } else if flags.is_closing() {
                    core.closing_timed_out(id);
                } else if flags.has(Flags::SHAKING) {
                    core.close_now(id);
                } else {
                    core.notify(id, Events::TIMEOUT);
                }
            }
        }
        self.local.core.borrow_mut().wake_filters();
        let now_ms = self.local.core.borrow().now_ms;
        self.local.timers.expire(now_ms);
        if self.parts.drain_until_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            let core = &mut *self.local.core.borrow_mut();
            core.conns.ids().into_iter().for_each(|id| core.abort(id));
            core.abandon_udp();
            self.parts.drain_until_ms = None;
        }
    }

    // Mail.

    fn read_mail(&mut self) {
        let mut messages = std::mem::take(&mut self.parts.messages);
        self.parts.mailbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Wake(bits) => self.local.tasks.mailed(bits),
                Message::Connection(endpoint, fd) => {
                    self.local.core.borrow_mut().open(endpoint, Handle::new(fd));
                    self.parts.counters.adopted.add(1);
                }
                Message::Drain(within_ms) => self.begin_drain(within_ms),
                // Without the feature nobody asks.
                Message::Survey(survey) => {
                    if cfg!(feature = "survey") {
                        survey.carry_out(&mut self.local.core.borrow_mut(), &self.parts.protocols);
                    }
                }
                Message::Visit(visit) => (visit.0)(self),
            }
        }
        self.parts.messages = messages;
    }

    /// Stops accepting; what was accepted meanwhile is still served.
    fn begin_drain(&mut self, within_ms: u64) {
        let core = &mut *self.local.core.borrow_mut();
        let until_ms = core.now_ms.saturating_add(within_ms);
        // Asked again, the server may only hurry.
        self.parts.drain_until_ms = Some(self.parts.drain_until_ms.map_or(until_ms, |ms| ms.min(until_ms)));
        if core.is_draining {
            return;
        }
        core.is_draining = true;
        core.counters.draining.set(1);
        self.parts.acceptor.drain(core);
        core.drain_udp();
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
        let endpoint = record.endpoint;
        let is_new = record.events.has(Events::OPENED) && record.receiving.is_none();
        #[cfg(feature = "members")]
        let is_new = is_new && record.mode != Mode::Paused;
        if is_new && !core.is_outbound(endpoint) {
            core.receive_at_once(id, self.parts.first_receive_bytes);
        }
        let Some(record) = core.conns.get(id) else { return };
        record.flags.clear(Flags::QUEUED);
        if record.flags.is_closing() {
            return;
        }
        if record.flags.has(Flags::SHAKING) {
            core.keep_shaking(id);
            return;
        }
        if let Some(task) = record.task {
            // What its last turn caused before it became a task is the task's to see.
            task::schedule(task);
            return;
        }
        let endpoint = usize::from(record.endpoint);
        let Some(Some(protocol)) = self.parts.protocols.get(endpoint) else { return };
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
            // A protocol that has been told that nothing can be delivered any more has nothing left to wait for.
            Turn::Idle if core.is_lost(id) => core.close_now(id),
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
            // There is always a turn after a task: the protocol sets its deadlines there.
            events.add(Events::SENT);
            if !record.inbox.is_empty() {
                events.add(Events::DATA);
            }
            if record.flags.has(Flags::ENDED) {
                events.add(Events::END);
            }
            if core.drains(conn) {
                events.add(Events::DRAIN);
            }
            core.notify(conn, events);
        }
    }

    fn tell_ended(&mut self) {
        loop {
            let (ended, orphan) = {
                let core = &mut *self.local.core.borrow_mut();
                (core.ended.pop_front(), core.orphaned_tasks.pop())
            };
            if let Some(task) = orphan {
                self.local.tasks.remove(task);
            }
            match ended {
                Some(ended) => self.tell(ended),
                None if orphan.is_none() => return,
                None => {}
            }
        }
    }

    fn tell(&mut self, ended: Ended) {
        let place = usize::from(ended.endpoint);
        let Some(Some(protocol)) = self.parts.protocols.get(place) else { return };
        let told = catch_unwind(AssertUnwindSafe(|| {
            drop(ended.filter);
            if ended.is_known {
                protocol.closed(ended.context);
            }
        }));
        if told.is_err() {
            self.parts.counters.panics.add(1);
        }
        self.forget_if_over(place);
    }

    fn end_turn(&mut self, started: Instant) {
        self.tell_ended();
        self.local.wake_all();
        self.local.release_abandoned();
        let core = self.local.core.borrow();
        let counters = &self.parts.counters;
        let turn_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        counters.longest_turn_us.raise(turn_ns / 1000);
        counters.busy_ns.add(turn_ns);
        let has_come = counters.accepted.get() > 0;
        if has_come && core.now_ms >= self.parts.backlog_check_at_ms {
            self.parts.backlog_check_at_ms = core.now_ms + BACKLOG_CHECK_MS;
            self.parts.acceptor.check_backlog();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whoever would hand it a connection keeps it; and tasks hold the worker they live on.
        self.parts.mailbox.close();
        self.local.tasks.clear();
    }
}

impl Local {
    /// Uses the wakers that were collected while the core was lent out.
    fn wake_all(&self) {
        loop {
            let Some(waker) = self.core.borrow_mut().wakes.pop_front() else { return };
            waker.wake();
        }
    }

    /// Orphans the operations that were dropped while the core was lent out.
    fn release_abandoned(&self) {
        loop {
            let Some(abandoned) = self.abandoned.borrow_mut().pop() else { return };
            // What is released is dropped after the core.
            match abandoned {
                Abandoned::Operation(place) => drop(self.core.borrow_mut().release_waiter(place)),
                Abandoned::Stream(id) if cfg!(feature = "held") => {
                    drop(self.core.borrow_mut().let_go(id));
                }
                Abandoned::Stream(_) => {}
                #[cfg(feature = "members")]
                Abandoned::Nudge(id) => self.core.borrow_mut().notify(id, Events::NUDGED),
            }
        }
    }
}

impl WorkerHandle {
    pub(crate) fn new(local: Rc<Local>) -> Self {
        Self { local }
    }

    /// Runs a future on this worker, beside everything else. A panic ends this future only.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.local.tasks.spawn(Work::Free(local_future(future)));
    }

    /// Keeps a draining worker from stopping, for a task that has something to finish; at most until the drain's time is
    /// up. Ends when the guard is dropped.
    #[must_use]
    pub fn unfinished(&self) -> Unfinished {
        self.local.unfinished.set(self.local.unfinished.get() + 1);
        Unfinished { local: Rc::clone(&self.local) }
    }

    /// Whether the server drains. Not during a turn: a protocol asks its [`Conn`].
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.local.core.borrow().is_draining
    }

    /// Where this worker's slices come from. Not during a turn: a protocol asks its [`Conn`].
    #[must_use]
    pub fn slices(&self) -> Pool {
        self.local.core.borrow().pool()
    }

    /// The pool for blocking work.
    #[must_use]
    pub fn pool(&self) -> &ThreadPool {
        &self.local.pool
    }

    /// Whether this is called from a protocol's turn, during which some of what is offered here must not be used.
    #[must_use]
    pub fn is_in_turn(&self) -> bool {
        self.local.core.try_borrow().is_err()
    }

    /// Waits until this is no protocol's turn: at once in a task. For futures that may be polled first on a turn, before they use
    /// what is not offered there.
    ///
    /// # Cancellation
    /// Dropping it loses nothing.
    pub fn off_turn(&self) -> impl Future<Output = ()> + use<> {
        let handle = self.clone();
        std::future::poll_fn(move |context| {
            if !handle.is_in_turn() {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        })
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

/// See [`WorkerHandle::unfinished`].
pub struct Unfinished {
    local: Rc<Local>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.local.unfinished.set(self.local.unfinished.get() - 1);
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unfinished")
    }
}
