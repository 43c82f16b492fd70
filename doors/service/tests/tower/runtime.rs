//! What handlers of the tokio world use: tasks, timers, sockets, blocking work, and crates that stand on them.

use crate::stand::on_each_driver;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use std::convert::Infallible;
use std::io;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

async fn spawns() -> String {
    let tasks: Vec<_> = (0..10)
        .map(|at| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10 - at)).await;
                at
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("it does not panic");
    }
    sum.to_string()
}

async fn blocks() -> String {
    let outer = std::thread::current().id();
    let blocked = tokio::task::spawn_blocking(move || std::thread::current().id() != outer);
    blocked.await.expect("it does not panic").to_string()
}

async fn times_out() -> StatusCode {
    let waited = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>());
    if waited.await.is_err() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::OK }
}

async fn asks(Path(port): Path<u16>) -> Result<Vec<u8>, (StatusCode, String)> {
    let bad = |error: io::Error| (StatusCode::BAD_GATEWAY, error.to_string());
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.map_err(bad)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.map_err(bad)?;
    Ok(text)
}

fn router() -> Router {
    Router::new()
        .route("/spawns", get(spawns))
        .route("/blocks", get(blocks))
        .route("/times/out", get(times_out))
        .route("/asks/{port}", get(asks))
        .route("/inside", get(|| async { tokio::task::block_in_place(|| "inside") }))
}

#[test]
fn tasks_timers_and_blocking_work_are_there() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        for _ in 0..20 {
            for (path, body) in [("/spawns", "45"), ("/blocks", "true"), ("/inside", "inside")] {
                client
                    .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                    .expect("it is open");
                let answer = client.answer(false).expect("an answer");
                assert_eq!((answer.status, &*answer.body), (200, body.as_bytes()), "{path}");
            }
        }
        assert_eq!(stand.get("/times/out").status, 504);
        assert_eq!(stand.troubles(), [""; 0]);
    });
}

#[test]
fn sockets_of_tokio_work_in_handlers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let said = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&said);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            count.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"first ").expect("it reads");
            stream.write_all(b"second").expect("it reads");
        }
    });
    on_each_driver(router, |stand| {
        said.store(0, Ordering::SeqCst);
        // Several at once, on both workers.
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let mut client = stand.client();
                client
                    .send(format!("GET /asks/{port} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                    .expect("open");
                client
            })
            .collect();
        for mut client in clients {
            let answer = client.answer(false).expect("an answer");
            assert_eq!((answer.status, &*answer.body), (200, &b"first second"[..]));
        }
        assert_eq!(said.load(Ordering::SeqCst), 16);
        assert_eq!(stand.get("/asks/1").status, 502);
    });
}

#[test]
fn a_body_may_be_made_by_a_task_of_the_runtime() {
    let router = || {
        Router::new().route(
            "/ticks",
            get(|| async {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(async move {
                    for at in 0..100 {
                        if sender.send(at).await.is_err() {
                            return;
                        }
                    }
                });
                let events = futures_util::stream::unfold(receiver, |mut receiver| async move {
                    let at: u32 = receiver.recv().await?;
                    Some((Ok::<_, Infallible>(Event::default().data(at.to_string())), receiver))
                });
                Sse::new(events)
            }),
        )
    };
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        client.send(b"GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        let answer = client.answer(false).expect("all of it");
        let expected: String = (0..100).map(|at| format!("data: {at}\n\n")).collect();
        assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    });
}
