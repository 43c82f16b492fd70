//! Leases and kept connections.

use crate::stand::{Peer, ask, eventually, group, on_each_driver, options, request, try_once};
use ringway_web::upstream::{BackendOptions, GroupOptions, Key, ProxyHeader, Tried, Upstream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[test]
fn connections_are_used_again_and_backends_take_turns() {
    on_each_driver(|worker| async move {
        let peers = ["a", "b", "c"].map(Peer::saying);
        let group = group(options(&[&peers[0], &peers[1], &peers[2]]));
        let upstream = Upstream::of(&group, &worker);
        let mut counts = BTreeMap::new();
        for _ in 0..30 {
            *counts.entry(request(&upstream).await.expect("an answer")).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
        for (peer, backend) in peers.iter().zip(group.backends()) {
            let figures = backend.figures();
            assert_eq!((peer.accepted(), figures.connects, figures.connections), (1, 1, 1));
            assert_eq!((figures.answers.by_class[2], figures.failures, figures.in_flight), (10, 0, 0));
            assert!(figures.answers.latency_us(1.0).is_some());
        }
    });
}

#[test]
fn what_was_closed_or_said_too_much_is_not_used_again() {
    on_each_driver(|worker| async move {
        let peer = Peer::saying("a");
        let group = group(options(&[&peer]));
        let upstream = Upstream::of(&group, &worker);
        request(&upstream).await.expect("an answer");
        peer.hang_up();
        // Seen before it is used again, or in the use: a failure of nobody's either way.
        request(&upstream).await.expect("an answer");
        let figures = group.backends()[0].figures();
        assert_eq!((peer.accepted(), figures.failures), (2, 0));
        assert!(figures.stale <= 1);
        // An answer to nothing.
        let talkative =
            Peer::new(|_| b"HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n".to_vec());
        let other = crate::stand::group(options(&[&talkative]));
        let upstream = Upstream::of(&other, &worker);
        for _ in 0..3 {
            let lease = upstream.lease(&Key::default(), &mut Tried::default()).await.expect("it lives");
            assert!(!lease.is_reused());
            ask_short(lease).await;
        }
        assert_eq!(talkative.accepted(), 3);
        drop(upstream);
    });
}

/// Asks, reads the first bytes of the answer only as far as they are one answer, and keeps the connection.
async fn ask_short(mut lease: ringway_web::upstream::Lease) {
    let question = lease.stream.slice_of(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    lease.stream.send(question);
    let bytes = lease.stream.read().await.expect("open").expect("an answer");
    let rest = lease.stream.slice_of(&bytes[bytes.len() - 19..]).expect("room");
    lease.stream.unread(rest);
    lease.answered(200);
    lease.keep();
}

#[test]
fn a_dropped_lease_closes_and_kept_connections_end_in_time() {
    on_each_driver(|worker| async move {
        let peer = Peer::saying("a");
        let group = group(GroupOptions { idle_ms_max: 100, ..options(&[&peer]) });
        let upstream = Upstream::of(&group, &worker);
        let lease = upstream.lease(&Key::default(), &mut Tried::default()).await.expect("it lives");
        assert_eq!((group.backends()[0].in_flight(), group.backends()[0].connections()), (1, 1));
        drop(lease);
        assert_eq!((group.backends()[0].in_flight(), group.backends()[0].connections()), (0, 0));
        request(&upstream).await.expect("an answer");
        assert_eq!(group.backends()[0].connections(), 1);
        eventually(&worker, "it is closed", || group.backends()[0].connections() == 0).await;
    });
}

#[test]
fn a_drained_backend_gets_nothing_new_until_it_is_taken_in_again() {
    on_each_driver(|worker| async move {
        let peers = ["a", "b"].map(Peer::saying);
        let group = group(options(&[&peers[0], &peers[1]]));
        let upstream = Upstream::of(&group, &worker);
        for _ in 0..4 {
            request(&upstream).await.expect("an answer");
        }
        let address = peers[0].address.to_string();
        assert!(group.drain(&address, true));
        for _ in 0..10 {
            assert_eq!(request(&upstream).await.expect("an answer"), "b");
        }
        eventually(&worker, "what was kept is closed", || group.backends()[0].connections() == 0).await;
        assert!(group.drain(&address, false));
        let mut words = Vec::new();
        for _ in 0..2 {
            words.push(request(&upstream).await.expect("an answer"));
        }
        words.sort();
        assert_eq!(words, ["a", "b"]);
    });
}

#[test]
fn names_are_looked_up_and_unix_sockets_are_connected_to() {
    on_each_driver(|worker| async move {
        let peer = Peer::saying("a");
        let named =
            BackendOptions::new(format!("localhost:{}", peer.address.port()).parse().expect("a name"));
        let by_name = group(GroupOptions::new("named", vec![named]));
        assert_eq!(request(&Upstream::of(&by_name, &worker)).await.expect("an answer"), "a");
        let nowhere = BackendOptions::new("nowhere.invalid:80".parse().expect("a name"));
        let nobody = group(GroupOptions::new("nobody", vec![nowhere]));
        let mut tried = Tried::default();
        let error = try_once(&Upstream::of(&nobody, &worker), &mut tried).await.expect_err("nobody is there");
        assert!(format!("{error:?}").contains("cannot be resolved"), "{error:?}");
        let scratch = ringway_testkit::Scratch::new("upstream");
        let path = scratch.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a path");
        let options = BackendOptions::new(format!("unix:{}", path.display()).parse().expect("a path"));
        let unix = group(GroupOptions::new("unix", vec![options]));
        let upstream = Upstream::of(&unix, &worker);
        let lease = upstream.lease(&Key::default(), &mut Tried::default()).await.expect("it listens");
        let (_accepted, _) = listener.accept().expect("it is there");
        drop(lease);
    });
}

#[test]
fn the_client_is_told_before_anything_else_and_such_connections_are_not_kept() {
    on_each_driver(|worker| async move {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let peer = Peer::new({
            let heads = Arc::clone(&heads);
            move |asked| {
                heads.lock().expect("no panic").push(asked.lines().next().unwrap_or_default().to_owned());
                crate::stand::answer(200, "a")
            }
        });
        let group = group(GroupOptions { proxy_header: Some(ProxyHeader::V1), ..options(&[&peer]) });
        let upstream = Upstream::of(&group, &worker);
        let address = |text: &str| Some(text.parse().expect("an address"));
        let key = Key::new(address("192.0.2.7:1234"), address("198.51.100.1:443"));
        let lease = upstream.lease(&key, &mut Tried::default()).await.expect("it lives");
        ask(lease).await.expect("an answer");
        request(&upstream).await.expect("an answer");
        assert_eq!(
            *heads.lock().expect("no panic"),
            ["PROXY TCP4 192.0.2.7 198.51.100.1 1234 443", "PROXY UNKNOWN"]
        );
        assert_eq!(peer.accepted(), 2);
    });
}
