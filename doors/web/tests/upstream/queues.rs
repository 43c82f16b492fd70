//! Limits on connections, and who waits for them.

use crate::stand::{Failure, Peer, answer, eventually, group, on_each_driver, on_workers, options, request};
use ringway_engine::ring::DriverChoice;
use ringway_web::upstream::{GroupOptions, Key, LeaseError, Tried, Upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn who_finds_no_room_waits_in_order_and_not_for_ever() {
    on_each_driver(|worker| async move {
        let peer = Peer::saying("a");
        let limited =
            GroupOptions { connections_max: 1, queue_max: 1, queue_ms_max: 200, ..options(&[&peer]) };
        let group = group(limited);
        let upstream = Upstream::of(&group, &worker);
        let held = upstream.lease(&Key::default(), &mut Tried::default()).await.expect("there is room");
        let late = upstream.lease(&Key::default(), &mut Tried::default()).await.expect_err("there is none");
        assert_eq!((late.status().code(), group.waiting()), (503, 0));
        let waiter = upstream.clone();
        let is_served = Arc::new(AtomicUsize::new(0));
        worker.spawn({
            let is_served = Arc::clone(&is_served);
            async move {
                request(&waiter).await.expect("an answer");
                is_served.fetch_add(1, Ordering::SeqCst);
            }
        });
        eventually(&worker, "it waits", || group.waiting() == 1).await;
        let error = upstream.lease(&Key::default(), &mut Tried::default()).await.expect_err("enough wait");
        assert_eq!(error, LeaseError::Busy("app".to_owned()));
        drop(held);
        eventually(&worker, "it is served", || is_served.load(Ordering::SeqCst) == 1).await;
        assert_eq!((group.waiting(), group.backends()[0].connections()), (0, 1));
    });
}

#[test]
fn limits_hold_over_all_workers_and_nobody_starves() {
    const ROUNDS: usize = 50;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peer = Peer::new({
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, "a")
        }
    });
    let limited = GroupOptions { connections_max: 2, queue_ms_max: 10_000, ..options(&[&peer]) };
    let group = group(limited);
    let outcomes = on_workers(DriverChoice::Auto, 3, {
        let group = Arc::clone(&group);
        move |worker| {
            let group = Arc::clone(&group);
            async move {
                let upstream = Upstream::of(&group, &worker);
                let done = std::rc::Rc::new(std::cell::Cell::new(0));
                for _ in 0..4 {
                    let (upstream, done) = (upstream.clone(), std::rc::Rc::clone(&done));
                    worker.spawn(async move {
                        for _ in 0..ROUNDS {
                            match request(&upstream).await {
                                Ok(_) => done.set(done.get() + 1),
                                Err(Failure::NoLease(error)) => panic!("{error}"),
                                Err(Failure::Failed) => panic!("it failed"),
                            }
                        }
                    });
                }
                eventually(&worker, "all are served", || done.get() == 4 * ROUNDS).await;
                done.get()
            }
        }
    });
    assert_eq!(outcomes, [4 * ROUNDS; 3]);
    assert!(most.load(Ordering::SeqCst) <= 2);
    let figures = group.backends()[0].figures();
    assert_eq!((figures.in_flight, figures.failures, group.waiting()), (0, 0, 0));
}

#[test]
fn a_worker_that_keeps_a_connection_for_nobody_makes_room_for_others() {
    let peer = Peer::saying("a");
    let limited = GroupOptions { connections_max: 1, queue_ms_max: 10_000, ..options(&[&peer]) };
    let group = group(limited);
    let turn = Arc::new(AtomicUsize::new(0));
    on_workers(DriverChoice::Auto, 2, {
        let group = Arc::clone(&group);
        move |worker| {
            let (group, turn) = (Arc::clone(&group), Arc::clone(&turn));
            async move {
                let upstream = Upstream::of(&group, &worker);
                // One after the other, whoever is first: the one before keeps the only connection.
                let own = turn.fetch_add(1, Ordering::SeqCst) as u64;
                eventually(&worker, "it is its turn", || {
                    group.backends()[0].figures().answers.requests() == own
                })
                .await;
                request(&upstream).await.expect("an answer");
                eventually(&worker, "all are served", || {
                    group.backends()[0].figures().answers.requests() == 2
                })
                .await;
            }
        }
    });
    assert_eq!(peer.accepted(), 2);
}
