//! What handlers of the tokio world use: tasks, timers, sockets, blocking work, and crates that stand on them.

use crate::stand::{eventually, on_each_driver};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use ringway_service::tower::{BoxError, on_tokio};
use std::convert::Infallible;
use std::io;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
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

/// Asks another server over a connection of hyper's.
async fn fetches(Path(port): Path<u16>) -> Result<Response, BoxError> {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/blocks").header("host", "a").body(Body::empty())?;
    let answer = sender.send_request(request).await?;
    // Its body goes on as it comes.
    Ok(answer.map(Body::new))
}

async fn fetched(port: Path<u16>) -> Result<Response, (StatusCode, String)> {
    fetches(port).await.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
}

fn router() -> Router {
    Router::new()
        .route("/fetches/{port}", get(fetched))
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

#[test]
fn connections_of_hyper_work_in_handlers() {
    on_each_driver(router, |stand| {
        // It asks itself: the other worker, or the same one while it waits.
        let port = stand.address().port();
        for _ in 0..20 {
            let answer = stand.get(&format!("/fetches/{port}"));
            assert_eq!((answer.status, &*answer.body), (200, &b"true"[..]));
        }
        assert_eq!(stand.get("/fetches/1").status, 502);
    });
}

/// Redis on a port of its own, until it is dropped.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// `None` where it is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).ok()?.port();
        let port_text = port.to_string();
        let arguments = ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut command = Command::new("redis-server");
        command.args(arguments).stdout(Stdio::null()).current_dir(std::env::temp_dir());
        let process = command.spawn().ok()?;
        let redis = Self { process, port };
        eventually("Redis listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

async fn count(State(client): State<redis_client::Client>) -> Result<String, (StatusCode, String)> {
    let count = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis_client::cmd("INCR").arg("count").query_async::<u64>(&mut connection).await
    };
    match count.await {
        Ok(count) => Ok(count.to_string()),
        Err(error) => Err((StatusCode::BAD_GATEWAY, error.to_string())),
    }
}

#[test]
fn a_client_of_redis_works_in_handlers() {
    let Some(redis) = Redis::start() else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    let client = redis_client::Client::open(("127.0.0.1", redis.port)).expect("an address");
    let router = || {
        let counting = Router::new().route("/count", get(count)).with_state(client.clone());
        counting.clone().nest("/tokio", counting.layer(on_tokio()))
    };
    let counted = AtomicUsize::new(0);
    on_each_driver(router, |stand| {
        for _ in 0..10 {
            for path in ["/count", "/tokio/count"] {
                let answer = stand.get(path);
                let count = counted.fetch_add(1, Ordering::SeqCst) + 1;
                assert_eq!((answer.status, answer.body), (200, count.to_string().into_bytes()));
            }
        }
    });
    drop(redis);
    on_each_driver(router, |stand| {
        assert_eq!(stand.get("/count").status, 502);
        assert_eq!(stand.get("/tokio/count").status, 502);
    });
}
