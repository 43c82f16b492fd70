//! Backends that die and come back, that close early, that cannot be reached.

use crate::stand::{Failure, Peer, answer, group, on_each_driver, on_workers, options, request};
use ringway_engine::ring::DriverChoice;
use ringway_web::upstream::{BackendOptions, GroupOptions, LeaseError, Standing, TryRules, Upstream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn one_of_three_is_killed_and_restarted_under_load() {
    let peers = ["a", "b", "c"].map(Peer::saying);
    let group = group(options(&[&peers[0], &peers[1], &peers[2]]));
    let [a, b, c] = peers;
    let address = b.address;
    let (is_over, errors) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let last_b = Arc::new(Mutex::new(None));
    let killer = std::thread::spawn({
        let (group, is_over, last_b) = (Arc::clone(&group), Arc::clone(&is_over), Arc::clone(&last_b));
        move || {
            let until = Instant::now() + Duration::from_secs(10);
            while group.backends()[1].figures().answers.requests() < 50 {
                assert!(Instant::now() < until, "there is no load");
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(b);
            while group.backends()[1].standing() != Standing::Down {
                assert!(Instant::now() < until, "it is not seen to be down");
                std::thread::sleep(Duration::from_millis(1));
            }
            let _back = Peer::at(address, |_| answer(200, "back"));
            let restarted = Instant::now();
            while last_b.lock().expect("no panic").is_none() {
                assert!(Instant::now() < until, "it never gets a request again");
                std::thread::sleep(Duration::from_millis(1));
            }
            is_over.store(true, Ordering::SeqCst);
            restarted.elapsed()
        }
    });
    on_workers(DriverChoice::Auto, 2, {
        let (group, is_over, errors, last_b) =
            (Arc::clone(&group), Arc::clone(&is_over), Arc::clone(&errors), Arc::clone(&last_b));
        move |worker| {
            let (group, is_over, errors, last_b) =
                (Arc::clone(&group), Arc::clone(&is_over), Arc::clone(&errors), Arc::clone(&last_b));
            async move {
                let upstream = Upstream::of(&group, &worker);
                while !is_over.load(Ordering::SeqCst) {
                    match request(&upstream).await {
                        Ok(word) if word == "back" => {
                            last_b.lock().expect("no panic").get_or_insert_with(Instant::now);
                        }
                        Ok(_) => {}
                        Err(failure) => {
                            eprintln!("{failure:?}");
                            errors.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            }
        }
    });
    let recovery = killer.join().expect("it sees all of it");
    assert_eq!(errors.load(Ordering::SeqCst), 0, "no client sees an error");
    assert!(recovery <= Duration::from_secs(1), "{recovery:?}");
    let figures = group.backends()[1].figures();
    assert!(figures.failures >= 3 && figures.downs >= 1, "{figures:?}");
    drop((a, c));
}

#[test]
fn a_backend_that_closes_early_goes_down_and_is_tried_again_when_nothing_else_is_left() {
    on_each_driver(|worker| async move {
        let is_well = Arc::new(AtomicBool::new(false));
        let peer = Peer::new({
            let is_well = Arc::clone(&is_well);
            move |_| if is_well.load(Ordering::SeqCst) { answer(200, "a") } else { Vec::new() }
        });
        let group = group(options(&[&peer]));
        let upstream = Upstream::of(&group, &worker);
        for _ in 0..3 {
            assert!(matches!(request(&upstream).await, Err(Failure::NoLease(LeaseError::AllTried(_)))));
        }
        let figures = group.backends()[0].figures();
        assert_eq!((figures.standing, figures.failures, figures.downs), (Standing::Down, 3, 1));
        assert!(figures.latest.is_some_and(|latest| latest.reason.contains("closed the connection")));
        is_well.store(true, Ordering::SeqCst);
        assert_eq!(request(&upstream).await.expect("better than nothing"), "a");
        assert_eq!(group.backends()[0].standing(), Standing::Up);
    });
}

#[test]
fn nobody_listens_and_everybody_was_tried() {
    on_each_driver(|worker| async move {
        let addresses: Vec<_> = (0..2).map(|_| Peer::saying("x").address).collect();
        let backend = |address: &std::net::SocketAddr| {
            BackendOptions::new(address.to_string().parse().expect("an address"))
        };
        let group = group(GroupOptions::new("gone", addresses.iter().map(backend).collect()));
        let upstream = Upstream::of(&group, &worker);
        let Err(Failure::NoLease(error)) = request(&upstream).await else { panic!("nobody listens") };
        assert_eq!(error.status().code(), 502);
        let told = error.to_string();
        assert!(told.contains("of gone") && told.contains("refused"), "{told}");
        assert!(group.backends().iter().all(|backend| backend.figures().connect_failures == 1));
        assert!(
            group.backends().iter().all(|backend| backend.connections() == 0 && backend.in_flight() == 0)
        );
        for address in &addresses {
            group.drain(&address.to_string(), true);
        }
        let Err(Failure::NoLease(error)) = request(&upstream).await else { panic!("all were taken out") };
        assert_eq!((error.status().code(), error), (503, LeaseError::NoneAlive("gone".to_owned())));
    });
}

#[test]
fn no_more_backends_are_tried_than_allowed() {
    on_each_driver(|worker| async move {
        let addresses: Vec<_> = (0..5).map(|_| Peer::saying("x").address).collect();
        let backend = |address: &std::net::SocketAddr| {
            BackendOptions::new(address.to_string().parse().expect("an address"))
        };
        let tries = TryRules { attempts: 2, ..TryRules::default() };
        let options = GroupOptions::new("gone", addresses.iter().map(backend).collect());
        let group = group(GroupOptions { tries, ..options });
        assert!(request(&Upstream::of(&group, &worker)).await.is_err());
        let failures: u64 = group.backends().iter().map(|backend| backend.figures().connect_failures).sum();
        assert_eq!(failures, 2);
    });
}

#[test]
fn who_does_not_accept_is_given_up_in_time() {
    on_each_driver(|worker| async move {
        // The queue of this listener is full of connections that nobody takes.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let full = fill_queue(&listener, address);
        let backend = BackendOptions::new(address.to_string().parse().expect("an address"));
        let options = GroupOptions { connect_timeout_ms: 100, ..GroupOptions::new("slow", vec![backend]) };
        let group = group(options);
        let Err(Failure::NoLease(error)) = request(&Upstream::of(&group, &worker)).await else {
            panic!("nobody accepts")
        };
        assert_eq!(error.status().code(), 504, "{error}");
        assert!(error.to_string().contains("too long to connect"), "{error}");
        drop(full);
    });
}

/// Connections that fill a listener's queue.
fn fill_queue(listener: &std::net::TcpListener, address: std::net::SocketAddr) -> Vec<std::net::TcpStream> {
    rustix::net::listen(listener, 0).expect("it listens already");
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50));
    std::iter::from_fn(|| connect().ok()).take(64).collect()
}
