//! Handlers that panic, block, never answer, answer twice or not at all: the client learns of it, and everybody else goes on.

use crate::stand::{Stand, eventually, on_each_driver, send, text};
use ringway_service::{Later, NobodyWaits, OwnedRequest, Request, Response, Service};
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the tests hold in their hands.
#[derive(Clone, Default)]
struct Hands {
    laters: Arc<Mutex<Vec<Later>>>,
    gate: Arc<Mutex<Option<Receiver<()>>>>,
    drops: Arc<AtomicU32>,
    exits: Arc<AtomicU32>,
}

/// Counts its drop.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn service(hands: &Hands) -> Service {
    let hands = hands.clone();
    Service::new("misbehaving", move |app| {
        let (hands, worker) = (hands.clone(), app.worker().clone());
        app.get("/ok", || "ok");
        app.get("/panic", || -> &'static str { panic!("on purpose") });
        app.get("/panic-async", |_: OwnedRequest| async { if true { panic!("at once") } else { "" } });
        app.get("/panic-later", |request: OwnedRequest| async move {
            request.worker().sleep(Duration::from_millis(1)).await;
            if true { panic!("after a while, {}", 7) } else { "" }
        });
        let laters = Arc::clone(&hands.laters);
        let promise = move |_: &Request<'_>| {
            let (later, answer) = Response::later();
            laters.lock().expect("no panic").push(later);
            answer
        };
        app.get("/later", promise.clone());
        app.group("/impatient", |app| {
            app.answer_limit(Duration::from_millis(60));
            app.get("/later", promise);
            let drops = Arc::clone(&hands.drops);
            app.get("/never", move |request: OwnedRequest| {
                let counted = Counted(Arc::clone(&drops));
                async move {
                    let _kept = (counted, request);
                    pending::<&'static str>().await
                }
            });
        });
        app.group("", |app| {
            app.answer_limit(Duration::from_secs(1));
            app.post("/read", |mut request: OwnedRequest| async move { request.text(1000).await });
        });
        app.post("/leave", |request: OwnedRequest| async move {
            drop(request);
            "left"
        });
        app.get("/dropped", || {
            let (later, answer) = Response::later();
            drop(later);
            answer
        });
        let gate = Arc::clone(&hands.gate);
        app.get("/block", move || {
            let gate = gate.lock().expect("no panic").take();
            gate.map_or("open", |gate| gate.recv().map_or("gone", |()| "let go"))
        });
        app.get("/panic-spawned", move || {
            worker.spawn(async { panic!("in a task of its own") });
            "spawned"
        });
        let exits = Arc::clone(&hands.exits);
        app.on_exit(move || {
            exits.fetch_add(1, Ordering::Relaxed);
        });
        app.on_exit(|| panic!("at the exit"));
        Ok(())
    })
}

fn on_each(test: impl Fn(Stand, Hands)) {
    let hands: Mutex<Option<Hands>> = Mutex::new(None);
    let make = || {
        let fresh = Hands::default();
        let service = service(&fresh);
        *hands.lock().expect("no panic") = Some(fresh);
        service
    };
    on_each_driver(make, |stand| {
        let hands = hands.lock().expect("no panic").take().expect("made with the service");
        test(stand, hands);
    });
}

fn has_line(service: &Service, parts: &[&str]) -> bool {
    service.log().since(0).iter().any(|line| parts.iter().all(|part| line.text.contains(part)))
}

#[test]
fn a_panic_is_an_answer_and_a_line_in_the_log() {
    on_each(|stand, hands| {
        let mut client = stand.client();
        let paths = ["/panic", "/ok", "/panic-async", "/panic-later", "/ok"];
        for path in paths {
            send(&mut client, &format!("GET {path} HTTP/1.1"), "", "");
        }
        let answers = client.answers(5).expect("the connection goes on");
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [500, 200, 500, 500, 200]);
        assert!(!text(&answers[0]).contains("purpose"), "what panicked is nobody's business");
        drop(client);
        let service = stand.stop();
        let totals = service.stats().totals();
        // The exit hook's is one of them.
        assert_eq!((totals.panics, totals.errors, totals.in_flight), (4, 3, 0));
        assert!(has_line(&service, &["GET /panic:", "on purpose", "500"]));
        assert!(has_line(&service, &["GET /panic-later:", "after a while, 7"]));
        assert_eq!(hands.exits.load(Ordering::Relaxed), 1, "one hook's panic does not keep the others");
    });
}

#[test]
fn who_never_answers_is_dropped_in_time() {
    on_each(|stand, hands| {
        let mut client = stand.client();
        for path in ["/impatient/never", "/ok"] {
            send(&mut client, &format!("GET {path} HTTP/1.1"), "", "");
        }
        let answers = client.answers(2).expect("in order");
        assert_eq!((answers[0].status, answers[1].status), (503, 200));
        drop(client);
        assert_eq!(hands.drops.load(Ordering::Relaxed), 1, "with all that it holds");
        // One whose client leaves is dropped then, or when its time is up.
        let mut client = stand.client();
        send(&mut client, "GET /impatient/never HTTP/1.1", "", "");
        drop(client);
        eventually("the second is dropped", || hands.drops.load(Ordering::Relaxed) == 2);
        let service = stand.stop();
        assert!(has_line(&service, &["GET /impatient/never:", "no answer within 60 ms"]));
        assert!(service.stats().totals().late >= 1);
    });
}

#[test]
fn a_body_that_comes_slowly_is_not_its_handlers_fault() {
    on_each(|stand, _| {
        let mut client = stand.client();
        client.send(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").expect("it is open");
        // All of it takes longer than a handler may, each pause does not.
        for digit in b'1'..=b'9' {
            std::thread::sleep(Duration::from_millis(150));
            client.send(&[digit]).expect("it is open");
        }
        let answer = client.answer(false).expect("an answer");
        assert_eq!((answer.status, text(&answer)), (200, "123456789".to_owned()));
        // One that stops does not keep its handler for ever.
        client.send(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123").expect("it is open");
        assert_eq!(client.answer(false).expect("an answer").status, 503);
        drop(client);
        stand.stop();
    });
}

#[test]
fn who_drops_its_request_leaves_the_body_to_the_connection() {
    on_each(|stand, _| {
        let mut client = stand.client();
        for body in ["x".repeat(300_000), "y".to_owned()] {
            send(&mut client, "POST /leave HTTP/1.1", "", &body);
            assert_eq!(text(&client.answer(false).expect("an answer")), "left");
        }
        send(&mut client, "GET /ok HTTP/1.1", "", "");
        assert_eq!(text(&client.answer(false).expect("the connection goes on")), "ok");
        drop(client);
        stand.stop();
    });
}

#[test]
fn a_handle_that_is_dropped_answers_and_one_that_is_late_hears_of_it() {
    on_each(|stand, hands| {
        assert_eq!(stand.get("/dropped").status, 500);
        assert_eq!(stand.get("/impatient/later").status, 503);
        let late = hands.laters.lock().expect("no panic").pop().expect("it was made");
        assert!(late.is_in_vain());
        assert_eq!(late.answer("too late"), Err(NobodyWaits));
        // From another thread, in time.
        let (stand, laters) = (stand, Arc::clone(&hands.laters));
        let answering = std::thread::spawn(move || {
            loop {
                if let Some(later) = laters.lock().expect("no panic").pop() {
                    return later.answer("in time");
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(text(&stand.get("/later")), "in time");
        assert_eq!(answering.join().expect("no panic"), Ok(()));
        let service = stand.stop();
        let totals = service.stats().totals();
        assert_eq!((totals.dropped, totals.late, totals.errors), (1, 1, 2));
        assert!(has_line(&service, &["GET /dropped:", "dropped"]));
    });
}

#[test]
fn a_handler_that_blocks_is_named_before_it_comes_back() {
    on_each(|stand, hands| {
        let (release, gate): (Sender<()>, _) = channel();
        *hands.gate.lock().expect("no panic") = Some(gate);
        let mut client = stand.client();
        send(&mut client, "GET /block HTTP/1.1", "", "");
        let service = stand.service.clone();
        eventually("it is named", || has_line(&service, &["GET /block:", "still does"]));
        release.send(()).expect("it waits");
        assert_eq!(text(&client.answer(false).expect("an answer")), "let go");
        assert_eq!(stand.get("/ok").status, 200);
        drop(client);
        let service = stand.stop();
        assert_eq!(service.stats().totals().blocked, 1);
        assert!(has_line(&service, &["GET /block:", "kept its worker"]));
    });
}

#[test]
fn a_task_that_panics_takes_nobody_with_it() {
    on_each(|stand, _| {
        assert_eq!(text(&stand.get("/panic-spawned")), "spawned");
        assert_eq!(stand.get("/ok").status, 200);
        let service = stand.stop();
        assert!(has_line(&service, &["a task panicked", "in a task of its own"]));
    });
}
