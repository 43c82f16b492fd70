//! What keeps a load going beside the answers: connections made, due requests sent at their times, the phases in order.

use super::client::{Client, Inner, Phase, nanoseconds};
use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{Handle, Interest, Op};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Connections that a worker makes at the same time; more would only wait in the server's queue, or fall out of it.
const CONNECTS_MAX: usize = 64;

/// How long a connection that could not be made waits for the next try.
const RETRY_MS: u64 = 50;

/// The grain of an open loop's time: requests due within it are sent together.
pub(super) const GRAIN: Duration = Duration::from_micros(50);

/// How long an open loop without a free connection waits; a connection that becomes free need not wait for that.
const BUSY_NAP: Duration = Duration::from_millis(1);

/// How often progress is published, and a standstill looked for.
const WATCH_MS: u64 = 100;

/// A load with a number of requests but no duration gives up when nothing is answered for its timeout and this.
const STANDSTILL: Duration = Duration::from_secs(5);

impl Client {
    /// Begins at the common epoch: connects, and measures as the plan says, `begin_ns` and `end_ns` after it.
    pub(super) fn start(&self, address: SocketAddr, begin_ns: u64, end_ns: Option<u64>) {
        let inner = Rc::clone(&self.0);
        inner.address.set(Some(address));
        self.0.worker.spawn(async move {
            inner.sleep_until_epoch().await;
            inner.begin_load(begin_ns == 0);
            inner.watch(begin_ns, end_ns).await;
        });
    }
}

impl Inner {
    fn begin_load(self: &Rc<Self>, is_measured_at_once: bool) {
        let is_open_loop = {
            let state = &mut *self.state.borrow_mut();
            if is_measured_at_once {
                state.begin();
            }
            state.want_all();
            state.open.is_some()
        };
        self.pump();
        if is_open_loop {
            let ticking = Rc::clone(self);
            self.worker.spawn(async move {
                if let Err(error) = ticking.tick().await {
                    ticking.state.borrow_mut().finish(Some(format!("the timer failed: {error}")));
                }
            });
        }
    }

    /// Starts making connections, as many as may be made at once.
    pub(super) fn pump(self: &Rc<Self>) {
        loop {
            let Some(index) = self.state.borrow_mut().next_wanted(CONNECTS_MAX) else { return };
            let own = Rc::clone(self);
            self.worker.spawn(async move { own.connect(index).await });
        }
    }

    async fn connect(self: Rc<Self>, index: usize) {
        let Some(address) = self.address.get() else { return };
        let timeout_ms = nanoseconds(self.state.borrow().plan().timeout) / 1_000_000;
        let until_ms = self.worker.now_ms() + timeout_ms.max(1);
        let connected = self.worker.connect(&Address::Tcp(address), until_ms, false).await;
        let opened = connected.and_then(|socket| {
            if let Some(fd) = socket.kernel() {
                rustix::net::sockopt::set_tcp_nodelay(fd, true)?;
            }
            self.worker.open(0, socket, [index as u64, 0])
        });
        if let Err(error) = opened {
            {
                let state = &mut *self.state.borrow_mut();
                state.connect_failed(index, &error);
                state.conclude();
            }
            // Its place among those being made is kept: a server that refuses all is not asked more often than that.
            self.worker.sleep_until(self.worker.now_ms() + RETRY_MS).await;
            let state = &mut *self.state.borrow_mut();
            let now_ns = state.now_ns();
            state.want(index, now_ns);
        }
        self.state.borrow_mut().connect_ended();
        self.pump();
    }

    /// Open loop: sends what is due when it is due.
    async fn tick(self: &Rc<Self>) -> io::Result<()> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = Handle::new(timerfd_create(TimerfdClockId::Monotonic, flags)?);
        loop {
            let wait = {
                let state = &mut *self.state.borrow_mut();
                if matches!(state.phase, Phase::Drained | Phase::Over) {
                    return Ok(());
                }
                let now_ns = state.now_ns();
                state.dispatch(now_ns);
                state.until_due(now_ns).map_or(BUSY_NAP, |wait| wait.max(GRAIN))
            };
            self.pump();
            self.nap(&timer, wait).await?;
        }
    }

    /// Sleeps by the kernel's fine timer; the worker's own wheel has a grain of milliseconds.
    async fn nap(&self, timer: &Handle, time: Duration) -> io::Result<()> {
        let Some(fd) = timer.kernel() else { return Ok(()) };
        // Setting it also takes back that it has expired.
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let once = Timespec { tv_sec, tv_nsec: time.subsec_nanos().into() };
        let times = Itimerspec { it_interval: zero, it_value: once };
        timerfd_settime(fd, TimerfdTimerFlags::empty(), &times)?;
        let ready = Op::Ready { socket: timer.clone(), interest: Interest::Readable };
        self.worker.operation(ready)?.await.result.map(|_| ())
    }

    /// Brings the phases about at their times.
    async fn watch(self: &Rc<Self>, begin_ns: u64, end_ns: Option<u64>) {
        self.sleep_until_ns(begin_ns).await;
        if self.state.borrow().phase == Phase::WarmUp {
            self.state.borrow_mut().begin();
        }
        let standstill = self.state.borrow().plan().timeout + STANDSTILL;
        loop {
            let now_ns = self.state.borrow().now_ns();
            let next_ns = now_ns + WATCH_MS * 1_000_000;
            self.sleep_until_ns(
                end_ns.filter(|end_ns| *end_ns > now_ns).map_or(next_ns, |end_ns| end_ns.min(next_ns)),
            )
            .await;
            if self.look_around(end_ns, standstill) {
                return;
            }
            // The last requests of an open loop may need connections.
            self.pump();
        }
    }

    /// Whether the load is over, which it may be from now on.
    fn look_around(&self, end_ns: Option<u64>, standstill: Duration) -> bool {
        let state = &mut *self.state.borrow_mut();
        state.publish();
        let now_ns = state.now_ns();
        if end_ns.is_some_and(|end_ns| now_ns >= end_ns) {
            state.time_over();
        }
        let is_still = now_ns.saturating_sub(state.last_answer_ns) > nanoseconds(standstill);
        if end_ns.is_none() && is_still && (state.open.is_none() || state.is_waiting()) {
            state.finish(Some(format!("nothing was answered for {} s", standstill.as_secs())));
        }
        state.phase == Phase::Over
    }

    async fn sleep_until_epoch(&self) {
        let wait = self.state.borrow().until_epoch();
        let left_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if !wait.is_zero() {
            self.worker.sleep_until(self.worker.now_ms() + left_ms + 1).await;
        }
    }

    async fn sleep_until_ns(&self, at_ns: u64) {
        let left_ns = at_ns.saturating_sub(self.state.borrow().now_ns());
        if left_ns > 0 {
            self.worker.sleep_until(self.worker.now_ms() + left_ns.div_ceil(1_000_000)).await;
        }
    }
}
