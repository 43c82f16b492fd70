//! Questions to backends whether they are well, and slow starts.

use crate::stand::{Peer, answer, eventually, group, on_each_driver, options, request};
use ringway_web::upstream::{BackendOptions, Check, GroupOptions, Key, Speaks, Standing, Tried, Upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn one_that_says_it_is_unwell_gets_nothing_until_it_says_otherwise() {
    on_each_driver(|worker| async move {
        let is_well = Arc::new(AtomicBool::new(true));
        let sick = Peer::new({
            let is_well = Arc::clone(&is_well);
            move |asked| match (asked.starts_with("GET /well "), is_well.load(Ordering::SeqCst)) {
                (true, false) => answer(503, "no"),
                (true, true) => answer(204, ""),
                (false, _) => answer(200, "sick"),
            }
        });
        let well = Peer::new(|_| answer(200, "well"));
        let check =
            Check { path: Some("/well".to_owned()), interval_ms: 50, fall: 2, rise: 2, ..Check::default() };
        let group = group(GroupOptions { check: Some(check), ..options(&[&sick, &well]) });
        let upstream = Upstream::of(&group, &worker);
        request(&upstream).await.expect("an answer");
        is_well.store(false, Ordering::SeqCst);
        let backend = &group.backends()[0];
        eventually(&worker, "it is seen", || backend.standing() == Standing::Unwell).await;
        assert!(backend.figures().latest.is_some_and(|latest| latest.reason == "it answers 503"));
        for _ in 0..6 {
            assert_eq!(request(&upstream).await.expect("an answer"), "well");
        }
        is_well.store(true, Ordering::SeqCst);
        eventually(&worker, "it is seen", || backend.standing() == Standing::Up).await;
        assert_eq!(group.backends()[1].standing(), Standing::Up);
    });
}

#[test]
fn who_does_not_speak_the_protocol_or_says_nothing_is_unwell() {
    on_each_driver(|worker| async move {
        let http = Peer::saying("a");
        for speaks in [Speaks::FastCgi, Speaks::Http2] {
            let check = Check { interval_ms: 50, timeout_ms: 100, fall: 1, ..Check::default() };
            let group = group(GroupOptions { check: Some(check), speaks, ..options(&[&http]) });
            let _upstream = Upstream::of(&group, &worker);
            let backend = &group.backends()[0];
            eventually(&worker, "it is seen", || backend.standing() == Standing::Unwell).await;
        }
    });
}

#[test]
fn a_program_that_is_busy_need_not_answer_and_one_that_is_not_must() {
    on_each_driver(|worker| async move {
        // Its one process has a connection of ours; others wait in the queue.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let backend = BackendOptions::new(address.parse().expect("an address"));
        let check = Check { interval_ms: 50, timeout_ms: 50, fall: 1, ..Check::default() };
        let options = GroupOptions::new("php", vec![backend]);
        let group = group(GroupOptions { check: Some(check), speaks: Speaks::FastCgi, ..options });
        let upstream = Upstream::of(&group, &worker);
        let lease = upstream.lease(&Key::default(), &mut Tried::default()).await.expect("it listens");
        eventually(&worker, "it was asked", || group.backends()[0].figures().probes >= 3).await;
        assert_eq!(group.backends()[0].standing(), Standing::Up);
        drop(lease);
        eventually(&worker, "it is seen", || group.backends()[0].standing() == Standing::Unwell).await;
    });
}
