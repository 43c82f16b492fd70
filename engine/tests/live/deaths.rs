//! Panics and deaths: of a turn, a task, a filter's neighbour, a worker; each takes with it what it must and no more.

use crate::stand::echo::TurnEcho;
use crate::stand::{PATIENCE, Setup, Stand, connect, eventually, exchange, on_each_driver, read_all};
use ringway_engine::ring::socket::Address;
use ringway_engine::{Balance, Conn, Events, Protocol, Server, StartError, Turn, WorkerHandle};
use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// An echo that panics in the manner that is asked for.
struct Volatile {
    echo: TurnEcho,
}

impl Volatile {
    fn start(setup: impl Fn(&mut Setup), driver: ringway_engine::ring::DriverChoice) -> Stand {
        let mut made = Setup::new(driver, |_| Self { echo: TurnEcho::default() });
        setup(&mut made);
        made.start()
    }
}

/// Its drop panics.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose: a drop");
        }
    }
}

/// Never ready; holds what panics when it is dropped.
fn never(grenade: Grenade) -> impl Future<Output = ()> {
    poll_fn(move |_| {
        let _held = &grenade;
        Poll::Pending
    })
}

impl Protocol for Volatile {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let Some(bytes) = conn.take() else { return self.echo.turn(conn, events) };
        match &*bytes {
            b"turn" => panic!("on purpose: a turn"),
            b"task" => Turn::task(async { panic!("on purpose: a task") }),
            b"later" => {
                let mut stream = conn.detach();
                Turn::task(async move {
                    let _end = stream.read().await;
                    panic!("on purpose: a task that has waited");
                })
            }
            b"free" => {
                conn.worker().spawn(async { panic!("on purpose: a free task") });
                conn.send(bytes);
                Turn::Idle
            }
            b"drop" => {
                let mut stream = conn.detach();
                Turn::task(async move {
                    let mut never = pin!(never(Grenade));
                    // Ends with its connection: the peer resets it.
                    poll_fn(|context| never.as_mut().poll(context)).await;
                    let _end = stream.read().await;
                    Turn::Close
                })
            }
            b"closed" => {
                conn.set_context([1, 0]);
                conn.send(bytes);
                Turn::Close
            }
            b"core" => {
                // Not allowed in a turn; it costs the connection and nothing else.
                let _now = conn.worker().now_ms();
                Turn::Idle
            }
            _ => {
                conn.unread(bytes);
                self.echo.turn(conn, events)
            }
        }
    }

    fn closed(&self, [volatile, _]: [u64; 2]) {
        assert_eq!(volatile, 0, "on purpose: a closed connection");
    }
}

fn ask(stand: &Stand, word: &[u8]) -> TcpStream {
    let mut stream = stand.connect();
    stream.write_all(word).expect("the server reads");
    stream
}

fn is_reset(mut stream: TcpStream) {
    let error = stream.read(&mut [0; 16]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_panic_takes_its_connection_only() {
    on_each_driver(|driver| {
        let stand = Volatile::start(|_| {}, driver);
        let mut other = stand.connect();
        let panics = |count: u64| {
            let found = eventually("panics are counted", || match stand.totals().panics {
                found if found < count => Err(found),
                found => Ok(found),
            });
            assert_eq!(found, count);
        };
        exchange(&mut other, 10, 10);
        is_reset(ask(&stand, b"turn"));
        is_reset(ask(&stand, b"task"));
        is_reset(ask(&stand, b"core"));
        let mut later = ask(&stand, b"later");
        eventually("its task waits", || if stand.totals().tasks == 2 { Ok(()) } else { Err(()) });
        later.write_all(b"now").expect("the server reads");
        is_reset(later);
        panics(4);
        let mut free = ask(&stand, b"free");
        let mut echo = [0; 4];
        free.read_exact(&mut echo).expect("its connection lives");
        panics(5);
        exchange(&mut free, 10, 10);
        assert_eq!(read_all(&mut ask(&stand, b"closed")), b"closed");
        panics(6);
        exchange(&mut other, 1000, 10);
        drop((other, free));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_drop_that_panics_is_contained() {
    on_each_driver(|driver| {
        let stand = Volatile::start(|_| {}, driver);
        let _waiting = ask(&stand, b"drop");
        eventually("its task waits", || if stand.totals().tasks == 1 { Ok(()) } else { Err(()) });
        exchange(&mut stand.connect(), 10, 10);
        // The drain resets the connection and drops the task.
        let server = stand.into_server();
        server.drain(std::time::Duration::from_millis(20));
        server.wait(PATIENCE).expect("no worker dies");
    });
}

/// The worker whose thread this is.
fn worker_index() -> usize {
    let thread = std::thread::current();
    let name = thread.name().and_then(|name| name.strip_prefix("ringway-"));
    name.and_then(|index| index.parse().ok()).expect("a worker's thread")
}

#[test]
fn a_worker_that_dies_at_its_start_is_named_and_the_others_drain() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.options.workers = 2;
        setup.options.on_start = Some(Arc::new(|_: &WorkerHandle| {
            assert_eq!(worker_index(), 0, "on purpose: a start");
        }));
        let server = setup.start().into_server();
        let death = server.wait(PATIENCE).expect_err("a worker died");
        assert!(death.starts_with("worker 1 died: ") && death.contains("on purpose: a start"), "{death}");
    });
}

/// A waker that panics: the worker that uses it dies.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("on purpose: a waker");
    }
}

/// Kills the worker whose handle it is given, a few milliseconds later.
fn kill(worker: &WorkerHandle) {
    let mut sleep = Box::pin(worker.sleep_until(5));
    worker.spawn(async move {
        let bomb = Waker::from(Arc::new(Bomb));
        if sleep.as_mut().poll(&mut Context::from_waker(&bomb)).is_pending() {
            pending::<()>().await;
        }
    });
}

#[test]
fn a_worker_that_dies_at_work_is_named_and_the_others_drain() {
    on_each_driver(|driver| {
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.options.workers = 2;
        setup.endpoint.balance = Balance::LeastLoaded;
        let is_wanted = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&is_wanted);
        setup.options.on_start = Some(Arc::new(move |worker: &WorkerHandle| {
            if worker_index() == 1 {
                let (handle, shared) = (worker.clone(), Arc::clone(&shared));
                worker.spawn(async move {
                    while !shared.load(Ordering::SeqCst) {
                        handle.sleep_until(handle.now_ms() + 5).await;
                    }
                    kill(&handle);
                });
            }
        }));
        let stand = setup.start();
        let address = stand.address();
        // With the same load, the first stays with the accepting worker and the second goes to the other.
        let mut lucky = stand.connect();
        exchange(&mut lucky, 10, 10);
        let mut unlucky = stand.connect();
        exchange(&mut unlucky, 10, 10);
        is_wanted.store(true, Ordering::SeqCst);
        // Its connections end with it, this way or that.
        match unlucky.read(&mut [0; 1]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        // The acceptor finds out and keeps new ones to itself.
        for _ in 0..10 {
            exchange(&mut connect(address).expect("still listening"), 100, 10);
        }
        exchange(&mut lucky, 100, 10);
        let waiting = std::thread::spawn(move || stand.into_server().wait(PATIENCE));
        assert_eq!(lucky.read(&mut [0; 1]).expect("drained"), 0);
        let death = waiting.join().expect("no panic").expect_err("a worker died");
        assert!(death.starts_with("worker 1 died: ") && death.contains("on purpose: a waker"), "{death}");
    });
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    on_each_driver(|driver| {
        let stand = Stand::start(driver, |_| TurnEcho::default());
        let address = Address::Tcp(stand.address());
        // The port is taken.
        let mut setup = Setup::new(driver, |_| TurnEcho::default());
        setup.endpoint.address = address.clone();
        let error = Server::start(std::slice::from_ref(&setup.endpoint), &setup.options).expect_err("taken");
        assert!(
            matches!(&error, StartError::Bind(at, cause) if *at == address && cause.kind() == ErrorKind::AddrInUse)
        );
        stand.stop();
        // One of two workers has no protocol.
        setup.options.workers = 2;
        let made = Arc::clone(&setup.endpoint.protocol);
        setup.endpoint.protocol = Arc::new(move |worker| match worker_index() {
            0 => made(worker),
            _ => Err(io::Error::other("on purpose: no protocol")),
        });
        let error =
            Server::start(std::slice::from_ref(&setup.endpoint), &setup.options).expect_err("no protocol");
        assert!(matches!(error, StartError::Protocol(_)), "{error}");
        // The port is free again at once.
        setup.endpoint.protocol = Arc::new(|_| Ok(Rc::new(TurnEcho::default()) as Rc<dyn Protocol>));
        setup.options.workers = 1;
        let stand = setup.start();
        exchange(&mut stand.connect(), 10, 10);
        stand.until_resting();
        stand.stop();
    });
}
