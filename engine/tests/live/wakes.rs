//! Wake-ups and time: from foreign threads, from the pool, from timers, from operations; none is lost.

use crate::stand::echo::TurnEcho;
use crate::stand::{PATIENCE, Setup, Stand, eventually, exchange, on_each_driver, on_worker};
use ringway_engine::ring::socket::{self, Address, ListenOptions};
use ringway_engine::ring::{Handle, Interest, Op};
use ringway_engine::{Conn, Events, Operation, PoolError, Protocol, Turn};
use ringway_testkit::Seed;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A value that a foreign thread gives once.
#[derive(Default)]
struct Slot {
    value: Option<u64>,
    waker: Option<Waker>,
}

type Oneshot = Arc<Mutex<Slot>>;

/// Waits for the value.
async fn taken(oneshot: Oneshot) -> u64 {
    poll_fn(|context| {
        let mut slot = oneshot.lock().expect("nobody panics");
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// A thread that fills every oneshot it is given, with a wake-up too many.
fn filler() -> Sender<(Oneshot, u64)> {
    let (sender, orders) = channel::<(Oneshot, u64)>();
    std::thread::spawn(move || {
        for (oneshot, value) in orders {
            let waker = {
                let mut slot = oneshot.lock().expect("nobody panics");
                slot.value = Some(value);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake_by_ref();
                waker.wake();
            }
        }
    });
    sender
}

#[test]
fn from_another_thread_are_not_lost() {
    on_each_driver(|driver| {
        // One after the other: each finds the worker asleep, or about to be.
        let sum = on_worker(driver, |_| async {
            let filler = filler();
            let mut sum = 0;
            for value in 0..3_000 {
                let oneshot = Oneshot::default();
                filler.send((Arc::clone(&oneshot), value)).expect("it works until we are gone");
                sum += taken(oneshot).await;
            }
            sum
        });
        assert_eq!(sum, (0..3_000).sum::<u64>());
        // Many at once, from several threads.
        let sum = on_worker(driver, |worker| async move {
            let fillers = [filler(), filler(), filler()];
            let (sum, left) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(500)));
            let done = Oneshot::default();
            for task in 0..500_u64 {
                let filler = fillers[usize::try_from(task % 3).expect("below 3")].clone();
                let (sum, left, done) = (Rc::clone(&sum), Rc::clone(&left), Arc::clone(&done));
                worker.spawn(async move {
                    for _ in 0..10 {
                        let oneshot = Oneshot::default();
                        filler.send((Arc::clone(&oneshot), task)).expect("it works until we are gone");
                        let value = taken(oneshot).await;
                        sum.set(sum.get() + value);
                    }
                    left.set(left.get() - 1);
                    if left.get() == 0 {
                        filler.send((done, 0)).expect("it works until we are gone");
                    }
                });
            }
            taken(done).await;
            sum.get()
        });
        assert_eq!(sum, 10 * (0..500).sum::<u64>());
    });
}

#[test]
fn the_pool_answers_tasks_and_says_when_it_is_full() {
    on_each_driver(|driver| {
        let (sum, full) = on_worker(driver, |worker| async move {
            let (mut sum, mut full) = (0, 0);
            let mut waiting = std::collections::VecDeque::new();
            for number in 0..5_000_u64 {
                match worker.pool().run(move || number) {
                    Ok(pooled) => waiting.push_back(pooled),
                    Err(error) => {
                        assert_eq!(error, PoolError::Full);
                        full += 1;
                        sum += number;
                    }
                }
                if waiting.len() > 2_000 {
                    sum += waiting.pop_front().expect("many").await.expect("no panic");
                }
            }
            for pooled in waiting {
                sum += pooled.await.expect("no panic");
            }
            assert_eq!(
                worker.pool().run(|| -> u64 { panic!("on purpose") }).expect("room").await,
                Err(PoolError::Panicked)
            );
            (sum, full)
        });
        assert_eq!(sum, (0..5_000).sum::<u64>(), "{full} found the queue full");
    });
}

#[test]
fn sleepers_wake_in_order_and_never_early() {
    let seed = Seed::take();
    on_each_driver(|driver| {
        let value = seed.value();
        let woken = on_worker(driver, move |worker| {
            let mut rng = ringway_testkit::Rng::new(value);
            async move {
                let woken = Rc::new(RefCell::new(Vec::new()));
                // All are asleep by then: those that come too late wake in no order.
                let begin_ms = worker.now_ms() + 400;
                for _ in 0..2_000 {
                    let at_ms = begin_ms + rng.below(250) as u64;
                    let (handle, woken) = (worker.clone(), Rc::clone(&woken));
                    worker.spawn(async move {
                        // One that is given up, for every one that is waited for.
                        let mut dropped = handle.sleep_until(at_ms + 1);
                        let _pending =
                            poll_fn(|context| Poll::Ready(Pin::new(&mut dropped).poll(context))).await;
                        handle.sleep_until(at_ms).await;
                        assert!(handle.now_ms() >= at_ms, "never early");
                        woken.borrow_mut().push(at_ms);
                    });
                }
                worker.sleep_until(begin_ms + 300).await;
                woken.take()
            }
        });
        assert_eq!(woken.len(), 2_000);
        // The wheel ticks every 8 ms; within a tick there is no order.
        assert!(woken.is_sorted_by_key(|at_ms| at_ms.div_ceil(8)), "{woken:?}");
    });
}

#[test]
fn ten_thousand_sleepers_wake_at_one_instant() {
    on_each_driver(|driver| {
        let count = on_worker(driver, |worker| async move {
            let count = Rc::new(Cell::new(0));
            let at_ms = worker.now_ms() + 100;
            for _ in 0..10_000 {
                let (handle, count) = (worker.clone(), Rc::clone(&count));
                worker.spawn(async move {
                    handle.sleep_until(at_ms).await;
                    count.set(count.get() + 1);
                });
            }
            while count.get() < 10_000 {
                worker.sleep_until(worker.now_ms() + 10).await;
            }
            count.get()
        });
        assert_eq!(count, 10_000);
    });
}

/// A listener whose queue is full, so that further connects wait; with what fills it.
fn full_listener() -> (Address, Vec<TcpStream>, OwnedFd) {
    let any = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let listener = socket::listen(&any, &ListenOptions { backlog: 1, ..ListenOptions::default() });
    let listener = listener.expect("loopback");
    let address = socket::local_address(listener.as_fd()).expect("bound");
    let mut fill = Vec::new();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => fill.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                return (Address::Tcp(address), fill, listener);
            }
        }
        assert!(fill.len() < 100, "the queue of one takes all");
    }
}

#[test]
fn a_connect_succeeds_or_is_refused_or_gives_up_in_time() {
    let (full, _fill, _listener) = full_listener();
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| TurnEcho::default());
        let good = Address::Tcp(stand.address());
        let nobody = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        let (full, began) = (full.clone(), Instant::now());
        let (good, refused, late) = on_worker(driver, move |worker| {
            let (good, full) = (good.clone(), full.clone());
            async move {
                let until_ms = worker.now_ms() + 10_000;
                let connected = worker.connect(&good, until_ms, false).await;
                let refused = worker.connect(&Address::Tcp(nobody), until_ms, false).await;
                let soon_ms = worker.now_ms() + 200;
                let late = worker.connect(&full, soon_ms, false).await;
                let kind = |result: std::io::Result<Handle>| result.expect_err("no connection").kind();
                (connected.is_ok(), kind(refused), kind(late))
            }
        });
        assert!(good);
        assert_eq!((refused, late), (ErrorKind::ConnectionRefused, ErrorKind::TimedOut));
        assert!(began.elapsed() >= Duration::from_millis(200), "never early");
        stand.until_resting();
        stand.stop();
    });
}

/// Keeps an operation from a task and drops it in a turn, when the core is the turn's.
#[derive(Default)]
struct Keeper {
    kept: Rc<RefCell<Option<(Operation, UnixStream)>>>,
}

impl Protocol for Keeper {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if events.has(Events::OPENED) {
            let (worker, kept) = (conn.worker(), Rc::clone(&self.kept));
            let mut stream = conn.detach();
            return Turn::task(async move {
                let (ours, theirs) = UnixStream::pair().expect("descriptors");
                // Nobody will ever write to it.
                let socket = Handle::new(ours.into());
                let operation = worker.operation(Op::Ready { socket, interest: Interest::Readable });
                *kept.borrow_mut() = Some((operation.expect("room"), theirs));
                let word = stream.slice_of(b"kept").expect("room");
                stream.send(word);
                Turn::Idle
            });
        }
        if events.has(Events::DATA) {
            drop(self.kept.borrow_mut().take());
            return Turn::Close;
        }
        if conn.is_ended() { Turn::Close } else { Turn::Idle }
    }
}

#[test]
fn an_operation_that_is_dropped_in_a_turn_is_cancelled_all_the_same() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| Keeper::default());
        let mut stream = stand.connect();
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("the operation is under way");
        eventually("accept, receive and the kept one are under way", || match stand.totals().operations {
            3 => Ok(()),
            other => Err(other),
        });
        stream.write_all(b"!").expect("the server reads");
        assert_eq!(stream.read(&mut word).expect("a good end"), 0);
        stand.until_resting();
        stand.stop();
    });
}

/// Polls its future only when that future's own waker was used, as combinators of many futures do.
struct Strict<F> {
    future: F,
    flag: Arc<Flag>,
}

struct Flag {
    is_woken: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if let Some(parent) = self.parent.lock().expect("nobody panics").take() {
            parent.wake();
        }
    }
}

impl<F: Future + Unpin> Future for Strict<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        *self.flag.parent.lock().expect("nobody panics") = Some(context.waker().clone());
        if !self.flag.is_woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

fn strict<F: Future>(future: F) -> Strict<Pin<Box<F>>> {
    let flag = Flag { is_woken: AtomicBool::new(true), parent: Mutex::new(None) };
    Strict { future: Box::pin(future), flag: Arc::new(flag) }
}

/// An echo every wait of which stands in a combinator that polls only what was woken.
struct StrictEcho;

impl Protocol for StrictEcho {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        assert!(events.has(Events::OPENED));
        let (mut stream, worker) = (conn.detach(), conn.worker());
        Turn::task(async move {
            while let Ok(Some(bytes)) = strict(stream.read()).await {
                let first = stream.slice_of(&bytes[..1]).expect("room");
                strict(worker.sleep_until(0)).await;
                if strict(stream.write(bytes)).await.is_err() || strict(stream.flush()).await.is_err() {
                    return Turn::Abort;
                }
                drop(first);
            }
            Turn::Close
        })
    }
}

#[test]
fn a_wait_inside_a_combinator_is_woken_by_its_own_waker() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| StrictEcho);
        setup.options.workers = 1;
        let stand = setup.start();
        let mut stream = stand.connect();
        stream.set_read_timeout(Some(PATIENCE)).expect("open");
        for _ in 0..20 {
            exchange(&mut stream, 5_000, 500);
        }
        drop(stream);
        stand.until_resting();
        stand.stop();
    });
}
