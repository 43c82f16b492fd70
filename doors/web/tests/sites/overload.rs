//! Requests that there is no room for: above a bandwidth, and beyond the limit of connections.

use crate::stand::{Build, Stand, factory, on_each_driver, says};
use ringway_engine::{Bandwidth, EndpointLimits, OverCapacity, Policy, Scope, WorkerHandle};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LARGE: usize = 60_000;

fn build(_: &WorkerHandle) -> Sites {
    let mut sites = Sites::new(Site::with_handler("free", says("free")));
    let mut governed = Site::with_handler("governed", says(&"x".repeat(LARGE)));
    governed.scope = 7;
    sites.add(governed, &["governed"]).expect("free");
    sites
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn refused(stand: &Stand) -> u64 {
    stand.server().totals().refused
}

#[test]
fn a_site_above_its_bandwidth_says_when_to_come_back_and_others_answer() {
    on_each_driver(build, |stand| {
        let governor = stand.server().governor();
        let slow = Bandwidth { policy: Policy::Simple, read_wait_ms_max: 50, ..Bandwidth::new(10_000) };
        assert!(governor.set(Scope::Site(7), Some(slow)));
        let mut client = stand.client();
        client.send(get("governed").as_bytes()).unwrap();
        assert_eq!(client.answer(false).unwrap().body.len(), LARGE);
        // That was more than a second's bytes. The body of what is refused is not read, so its connection ends.
        let began = Instant::now();
        client.send([get("governed"), get("free")].concat().as_bytes()).unwrap();
        let answers = client.answers(2).unwrap();
        assert_eq!((answers[0].status, answers[1].status), (503, 200));
        let seconds: u32 = answers[0].field("retry-after").expect("it says when").parse().unwrap();
        assert!((1..=120).contains(&seconds), "{seconds}");
        assert_eq!(answers[1].body, b"free");
        assert!(began.elapsed() < Duration::from_secs(5), "nobody waited for the bytes to be paid for");
        client.send(b"POST / HTTP/1.1\r\nHost: governed\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, answer.field("connection")), (503, Some("close")));
        let status = governor.status();
        assert_eq!((status[0].scope, status[0].rejected), (Scope::Site(7), 2));
        assert!(governor.set(Scope::Site(7), None));
        assert_eq!(stand.get("governed", "/").status, 200);
    });
}

#[test]
fn a_request_that_is_kept_back_is_answered_when_there_is_room() {
    on_each_driver(build, |stand| {
        let governor = stand.server().governor();
        assert!(
            governor.set(Scope::Server, Some(Bandwidth { policy: Policy::Simple, ..Bandwidth::new(1_000) }))
        );
        let mut clients = [stand.client(), stand.client()];
        clients[0].send(get("governed").as_bytes()).unwrap();
        assert_eq!(clients[0].answer(false).unwrap().body.len(), LARGE);
        for client in &mut clients {
            client.send(get("free").as_bytes()).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(10);
        while governor.status()[0].waiting < 2 && governor.status()[0].rejected == 0 {
            assert!(Instant::now() < until, "{:?}", governor.status());
        }
        assert!(governor.set(Scope::Server, None));
        for client in &mut clients {
            assert!(matches!(client.answer(false).unwrap().status, 200 | 503));
        }
    });
}

#[test]
fn a_connection_too_many_is_told_to_come_back() {
    on_each_driver(build, |stand| {
        let build: Build = Arc::new(build);
        let limits = EndpointLimits {
            connections_max: 1,
            over_capacity: OverCapacity::Busy,
            ..EndpointLimits::default()
        };
        stand.server().swap(0, factory(&build), limits, None, None).expect("it changes");
        let mut first = stand.client();
        first.send(get("free").as_bytes()).unwrap();
        assert_eq!(first.answer(false).unwrap().status, 200);
        let answer = stand.get("free", "/");
        assert_eq!((answer.status, answer.field("connection")), (503, Some("close")));
        assert_eq!(answer.field("retry-after"), Some("5"));
        assert_eq!(refused(stand), 1);
        first.send(get("free").as_bytes()).unwrap();
        assert_eq!(first.answer(false).unwrap().status, 200);
    });
}
