//! The threads, each with a handler of its own, and the connections that stay with them.

use super::distant::{Distant, Received};
use super::link::{Act, Event, Link};
use super::{BlockingFactory, BlockingHandler, BlockingOptions};
use crate::handler::Closed;
use ringway_lock::{Condvar, Mutex, MutexGuard};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// Events of one connection that are handled before those of others have their turn.
const EVENTS_IN_A_ROW: usize = 16;

/// Stack of such a thread, in bytes: what is called there is not ours.
const STACK_BYTES: usize = 2 << 20;

/// All threads of an endpoint. When it goes, they end behind what waits for them.
pub(super) struct Lanes {
    handlers: BlockingFactory,
    options: BlockingOptions,
    lanes: Mutex<Vec<Arc<Lane>>>,
}

/// A thread's own.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: Mutex<Queue>,
    news: Condvar,
    /// Connections that stay with it.
    connections: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Connections with events.
    links: VecDeque<Arc<Link>>,
    is_busy: bool,
    is_woken: bool,
    is_over: bool,
}

/// The thread that a handler is made on.
#[derive(Debug)]
pub struct Thread {
    lane: Arc<Lane>,
}

impl Thread {
    /// Waking it from any thread has [`BlockingHandler::woken`] called on this one.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.lane))
    }
}

impl Lanes {
    pub(super) fn new(handlers: BlockingFactory, options: BlockingOptions) -> Self {
        Self { handlers, options, lanes: Mutex::default() }
    }

    /// A thread for a connection: the one with the fewest, or another one where all are busy.
    ///
    /// # Errors
    /// There is none, and none can be started.
    pub(super) fn choose(&self) -> io::Result<Arc<Lane>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |lane: &Arc<Lane>| (lane.is_busy(), lane.connections.load(Ordering::Relaxed));
        let best = lanes.iter().min_by_key(|lane| load(lane)).cloned();
        let has_idle = best.as_ref().is_some_and(|lane| !lane.is_busy());
        let chosen = if has_idle || (best.is_some() && lanes.len() >= self.options.threads_max.max(1)) {
            best
        } else {
            match self.start(lanes.len()) {
                Ok(lane) => {
                    lanes.push(Arc::clone(&lane));
                    Some(lane)
                }
                Err(error) if best.is_none() => return Err(error),
                Err(_others_do_it) => best,
            }
        };
        let lane = chosen.ok_or(io::ErrorKind::NotFound)?;
        lane.connections.fetch_add(1, Ordering::Relaxed);
        Ok(lane)
    }

    fn start(&self, number: usize) -> io::Result<Arc<Lane>> {
        let lane = Arc::new(Lane::default());
        let (own, handlers) = (Arc::clone(&lane), Arc::clone(&self.handlers));
        let name = format!("{}-{number}", self.options.name);
        let builder = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        builder.spawn(move || work(&own, &handlers))?;
        Ok(lane)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in self.lanes.get_mut().unwrap_or_else(PoisonError::into_inner) {
            lane.queue().is_over = true;
            lane.news.notify_one();
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn schedule(&self, link: Arc<Link>) {
        self.queue().links.push_back(link);
        self.news.notify_one();
    }

    fn is_busy(&self) -> bool {
        let queue = self.queue();
        queue.is_busy || !queue.links.is_empty()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing to do, waited for.
    fn next(&self, tick_at: Option<Instant>) -> Next {
        let mut queue = self.queue();
        queue.is_busy = false;
        loop {
            if std::mem::take(&mut queue.is_woken) {
                return Next::Woken;
            }
            let now = Instant::now();
            if tick_at.is_some_and(|at| at <= now) {
                return Next::Tick;
            }
            if let Some(link) = queue.links.pop_front() {
                queue.is_busy = true;
                return Next::Link(link);
            }
            if queue.is_over {
                return Next::Over;
            }
            queue = match tick_at {
                Some(at) => {
                    let left = at.saturating_duration_since(now);
                    self.news.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.news.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Wake for Lane {
    fn wake(self: Arc<Self>) {
        self.queue().is_woken = true;
        self.news.notify_one();
    }
}

enum Next {
    Link(Arc<Link>),
    Tick,
    Woken,
    Over,
}

/// A thread's life.
fn work(lane: &Arc<Lane>, handlers: &BlockingFactory) {
    let thread = Thread { lane: Arc::clone(lane) };
    let handler = match catch_unwind(AssertUnwindSafe(|| handlers(&thread))) {
        Ok(Ok(handler)) => handler,
        Ok(Err(error)) => return refuse(lane, &format!("no handler on this thread: {error}")),
        Err(panic) => return refuse(lane, &format!("no handler on this thread: {}", words_of(&*panic))),
    };
    let every = Some(handler.tick_ms()).filter(|ms| *ms > 0).map(Duration::from_millis);
    let mut tick_at = every.map(|every| Instant::now() + every);
    loop {
        let done = match lane.next(tick_at) {
            Next::Link(link) => {
                handle(lane, &*handler, &link);
                Ok(())
            }
            Next::Tick => {
                tick_at = every.map(|every| Instant::now() + every);
                catch_unwind(AssertUnwindSafe(|| handler.tick()))
            }
            Next::Woken => catch_unwind(AssertUnwindSafe(|| handler.woken())),
            Next::Over => return,
        };
        // No connection is at fault that could be ended for it.
        let _panicked = done;
    }
}

/// Ends every connection: there is nobody to handle it.
fn refuse(lane: &Lane, why: &str) {
    loop {
        match lane.next(None) {
            Next::Link(link) => {
                link.silence();
                link.act(Act::Panicked(why.into()));
                while link.next().is_some() {}
            }
            Next::Tick | Next::Woken => {}
            Next::Over => return,
        }
    }
}

/// Handles some of a connection's events.
fn handle(lane: &Lane, handler: &dyn BlockingHandler, link: &Arc<Link>) {
    for _ in 0..EVENTS_IN_A_ROW {
        let Some(event) = link.next() else { return };
        if let Event::Closed(_) = event {
            lane.connections.fetch_sub(1, Ordering::Relaxed);
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tell(handler, link, event))) {
            link.silence();
            link.act(Act::Panicked(words_of(&*panic).into()));
        }
    }
    lane.schedule(Arc::clone(link));
}

fn tell(handler: &dyn BlockingHandler, link: &Arc<Link>, event: Event) {
    let conn = &mut Distant { link: Arc::clone(link) };
    match event {
        Event::Opened => handler.opened(conn),
        Event::Message(bytes, is_text) => handler.message(conn, &mut Received { bytes, is_text }),
        Event::Ended => handler.ended(conn),
        Event::Written => handler.written(conn),
        Event::Timeout => handler.timeout(conn),
        Event::Urgent(byte) => handler.urgent(conn, byte),
        Event::Nudged => handler.nudged(conn),
        Event::Draining => handler.draining(conn),
        Event::Closed(reason) => handler.closed(&Closed { user: conn.user(), reason }),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
