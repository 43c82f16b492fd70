//! What a relayed exchange allocates: nothing. Allocations are counted for the process, so this test has one of its own.

mod stand;

use ringway_engine::ring::socket::Address;
use ringway_engine::{Conn, EndpointLimits, Events, Outbound, Protocol, Stream, Turn};
use stand::echo::TurnEcho;
use stand::{Setup, Stand, on_each_driver};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::task::{Context, Poll};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Exchanges before counting: by then tables have their size.
const WARM: usize = 200;

/// Exchanges that are counted.
const COUNTED: usize = 2_000;

/// Passes what comes from the client to a held connection and back, in one task.
struct Relay {
    upstream: SocketAddr,
}

impl Protocol for Relay {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if !events.has(Events::OPENED) {
            return Turn::Close;
        }
        let (mut client, worker, upstream) = (conn.detach(), conn.worker(), self.upstream);
        Turn::task(async move {
            let socket = worker.connect(&Address::Tcp(upstream), worker.now_ms() + 10_000, false).await;
            let held = worker.hold(0, socket.expect("a listener"), None);
            let mut held = held.expect("room");
            poll_fn(|context| relay(&mut client, &mut held, context)).await.expect("both sides are sound");
            Turn::Close
        })
    }
}

fn relay(client: &mut Stream, held: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        match client.poll_read(context)? {
            Poll::Ready(Some(slice)) => held.send(slice),
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Pending => break,
        }
    }
    while let Poll::Ready(Some(slice)) = held.poll_read(context)? {
        client.send(slice);
    }
    Poll::Pending
}

#[test]
fn waiting_on_a_held_connection_in_anothers_task_allocates_nothing() {
    on_each_driver(|driver| {
        let echo = Stand::start(driver, |_| TurnEcho::default());
        let upstream = echo.address();
        let mut setup = Setup::new(driver, move |_| Relay { upstream });
        setup.options.outbound = vec![Outbound::held(EndpointLimits::default())];
        let stand = setup.start();
        let mut stream = stand.connect();
        let (question, mut answer) = ([7; 100], [0; 100]);
        let mut exchange = || {
            stream.write_all(&question).expect("it reads");
            stream.read_exact(&mut answer).expect("the answer comes");
        };
        (0..WARM).for_each(|_| exchange());
        let region = Region::new(ALLOCATOR);
        (0..COUNTED).for_each(|_| exchange());
        let allocations = region.change().allocations;
        // A table may grow once more.
        assert!(allocations < 20, "{allocations} in {COUNTED} exchanges on {driver:?}");
        drop(stream);
        stand.until_resting();
        assert_eq!(stand.stop().panics, 0);
        assert_eq!(echo.stop().panics, 0);
    });
}
