//! Wake-ups from other threads.

use crate::bench::{PATIENCE, count, on_each};
use ringway_ring::Wait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn no_wake_of_many_threads_is_lost() {
    on_each(|bench| {
        let (threads, rounds) = (4, count(2000, 50_000));
        let mail = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (waker, mail) = (bench.ring.waker(), Arc::clone(&mail));
                std::thread::spawn(move || {
                    for _ in 0..rounds {
                        mail.fetch_add(1, Ordering::Release);
                        waker.wake();
                    }
                })
            })
            .collect();
        // A thread that sleeps for ever must find all the mail by being woken alone.
        let deadline = Instant::now() + PATIENCE;
        let mut found = 0;
        while found < threads * rounds {
            assert!(Instant::now() < deadline, "{found} letters on {}", bench.name());
            if bench.ring.take_woken() {
                found += mail.swap(0, Ordering::Acquire);
            } else {
                bench.ring.poll(Wait::Forever).expect("the ring works");
            }
        }
        for worker in workers {
            worker.join().expect("no panic");
        }
        assert_eq!(mail.load(Ordering::Acquire), 0);
    });
}

#[test]
fn a_wake_before_the_wait_counts_and_only_once() {
    on_each(|bench| {
        bench.ring.waker().wake();
        bench.drive("the wake", |bench| bench.ring.take_woken());
        if !bench.is_simulated() {
            bench.ring.poll(Wait::Poll).expect("the ring works");
            assert!(!bench.ring.take_woken(), "woken once on {}", bench.name());
        }
        // A waker outlives its ring and then does nothing.
        let waker = bench.ring.waker();
        std::thread::spawn(move || waker.wake()).join().expect("no panic");
    });
}

#[test]
fn a_limited_wait_ends_without_anything() {
    on_each(|bench| {
        for micros in [0, 1, 700, 3000] {
            let time = Duration::from_micros(micros);
            let begun = Instant::now();
            let mut is_whole = || {
                let begun = Instant::now();
                bench.ring.poll(Wait::AtMost(time)).expect("the ring works");
                begun.elapsed() >= time
            };
            // A signal or a thawed process may cut a wait short, but not each of them.
            let has_whole = (0..10).any(|_| is_whole());
            assert!(has_whole || bench.is_simulated(), "wakes before the time on {}", bench.name());
            assert!(begun.elapsed() < PATIENCE);
        }
    });
}
