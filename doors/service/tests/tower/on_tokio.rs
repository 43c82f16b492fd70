//! Calls that run on the background runtime as a whole: their answers, errors, panics and ends.

use crate::stand::{eventually, on_each_driver, pattern, until};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::stream::{self, StreamExt};
use http_body::Body as _;
use ringway_service::tower::on_tokio;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG: usize = 1_000_000;

fn thread() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

async fn later() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[expect(clippy::panic, reason = "what happens then is tested")]
fn panics() -> Bytes {
    panic!("on purpose")
}

fn router() -> Router {
    let numbers = || {
        stream::iter(0..50).then(|at| async move {
            later().await;
            Ok::<_, io::Error>(format!("{at} "))
        })
    };
    Router::new()
        .route("/there", get(|| async { thread() }))
        .route(
            "/there/later",
            get(|| async {
                later().await;
                thread()
            }),
        )
        .route(
            "/body",
            get(|| async {
                Body::from_stream(stream::once(async {
                    later().await;
                    Ok::<_, Infallible>(thread())
                }))
            }),
        )
        .route("/long", get(|| async { pattern(LONG) }))
        .route("/numbers", get(move || async move { Body::from_stream(numbers()) }))
        .route(
            "/broken",
            get(move || async move {
                Body::from_stream(numbers().chain(stream::once(async { Err(io::Error::other("no more")) })))
            }),
        )
        .route(
            "/broken/at/once",
            get(|| async {
                Body::from_stream(stream::once(async { Err::<Bytes, _>(io::Error::other("nothing")) }))
            }),
        )
        .route("/panic", get(|| async { panics() }))
        .route(
            "/panic/body",
            get(|| async {
                Body::from_stream(stream::once(async {
                    later().await;
                    Ok::<_, Infallible>(panics())
                }))
            }),
        )
        .route("/echo", post(|request: Request| async move { request.into_body() }))
        .route(
            "/size",
            post(|request: Request| async move { format!("{:?}", request.body().size_hint().exact()) }),
        )
        .layer(on_tokio())
        .route("/here", get(|| async { thread() }))
}

#[test]
fn handlers_and_bodies_run_on_the_runtime() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        let mut ask = |path: &str| {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            client.answer(false).expect("an answer")
        };
        for path in ["/there", "/there/later", "/body"] {
            assert_eq!(String::from_utf8_lossy(&ask(path).body), "ringway-tokio", "{path}");
        }
        assert_ne!(ask("/here").body, b"ringway-tokio");
        assert_eq!(ask("/there").field("content-length"), Some("13"));
        let long = ask("/long");
        assert!(long.body == pattern(LONG) && long.field("content-length") == Some("1000000"));
        let numbers: String = (0..50).map(|at| format!("{at} ")).collect();
        assert_eq!(String::from_utf8_lossy(&ask("/numbers").body), numbers);
        assert_eq!(ask("/nowhere").status, 404);
        assert_eq!(stand.troubles(), [""; 0]);
    });
}

#[test]
fn bodies_of_requests_are_read_there() {
    on_each_driver(router, |stand| {
        let body = pattern(700_000);
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut client = stand.client();
        let mut sender = client.stream().try_clone().expect("a descriptor");
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            sender.write_all(request.as_bytes()).expect("it is open");
            sent.chunks(9_000).for_each(|piece| sender.write_all(piece).expect("it is open"));
        });
        assert!(client.answer(false).expect("an answer").body == body);
        sending.join().expect("all of it");
        let answer = stand.ask("POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(answer.body, b"Some(3)");
    });
}

#[test]
fn panics_and_errors_come_back() {
    on_each_driver(router, |stand| {
        assert_eq!(stand.get("/panic").status, 500);
        assert_eq!(stand.get("/broken/at/once").status, 500);
        for path in ["/broken", "/panic/body"] {
            let mut client = stand.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            assert!(client.answer(false).is_err(), "{path}");
        }
        let troubles = stand.troubles();
        assert_eq!(troubles[0], "a handler panicked: on purpose");
        assert!(troubles[1].contains("nothing") && troubles[2].contains("no more"), "{troubles:?}");
        assert!(troubles[3].contains("has ended before it"), "{troubles:?}");
    });
}

#[test]
fn a_call_ends_with_its_client() {
    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    let enter = |alive: &Arc<AtomicUsize>| {
        alive.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(alive))
    };
    let (waiting, streaming) = (Arc::clone(&alive), Arc::clone(&alive));
    let waits = move || {
        let alive = enter(&waiting);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
        }
    };
    let events = move || {
        let events = stream::unfold((enter(&streaming), 0), |(alive, at)| async move {
            tokio::time::sleep(Duration::from_millis([0, 3_600_000][at.min(1)])).await;
            Some((Ok::<_, Infallible>(Event::default().data(at.to_string())), (alive, at + 1)))
        });
        async move { Sse::new(events) }
    };
    let router = || {
        let routes = Router::new().route("/waits", get(waits.clone())).route("/events", get(events.clone()));
        routes.layer(on_tokio())
    };
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        client.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        eventually("it waits", || alive.load(Ordering::SeqCst) == 1);
        drop(client);
        eventually("nobody waits for it", || alive.load(Ordering::SeqCst) == 0);
        let mut client = stand.client();
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        until(&client, b"data: 0\n\n").expect("an event");
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        drop(client);
        eventually("its reader is gone", || alive.load(Ordering::SeqCst) == 0);
    });
}
