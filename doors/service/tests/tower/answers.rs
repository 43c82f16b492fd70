//! Answers: with and without bodies, long, streamed, wrong, broken off, and wanted by nobody any more.

use crate::stand::{Stand, eventually, on_each_driver, pattern, until};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, StreamExt};
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

const LONG: usize = 1_000_000;

/// Counts itself down when it is dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body that says a length and has so many bytes in pieces, each a little later.
struct Sized {
    said: u64,
    left: usize,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Sized {
    fn new(said: u64, left: usize) -> Self {
        Self { said, left, sleep: Box::pin(tokio::time::sleep(Duration::from_millis(1))) }
    }
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.sleep.as_mut().poll(context));
        self.sleep = Box::pin(tokio::time::sleep(Duration::from_millis(1)));
        let count = self.left.min(10);
        self.left -= count;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b's'; count])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.said)
    }
}

fn later() -> impl Future<Output = ()> {
    tokio::time::sleep(Duration::from_millis(1))
}

fn router() -> Router {
    let pieces = |count: usize| stream::iter((0..count).map(|at| Ok::<_, Infallible>(format!("{at} "))));
    let slow = |count: usize| {
        stream::iter(0..count).then(|at| async move {
            later().await;
            Ok::<_, io::Error>(format!("{at} "))
        })
    };
    let broken =
        move |count: usize| slow(count).chain(stream::once(async { Err(io::Error::other("no more")) }));
    Router::new()
        .route("/text", get(|| async { "hello" }))
        .route("/none", get(|| async {}))
        .route("/204", get(|| async { (StatusCode::NO_CONTENT, "left away") }))
        .route("/304", get(|| async { (StatusCode::NOT_MODIFIED, [("content-length", "7")]) }))
        .route("/long", get(|| async { pattern(LONG) }))
        .route("/pieces", get(move || async move { Body::from_stream(pieces(50)) }))
        .route("/slow", get(move || async move { Body::from_stream(slow(50)) }))
        .route(
            "/large",
            get(|| async {
                let piece = Bytes::from(pattern(LONG));
                Body::from_stream(stream::iter([piece.clone(), piece]).map(Ok::<_, Infallible>))
            }),
        )
        .route("/broken", get(move || async move { Body::from_stream(broken(3)) }))
        .route(
            "/broken/at/once",
            get(|| async {
                Body::from_stream(stream::once(async { Err::<Bytes, _>(io::Error::other("nothing")) }))
            }),
        )
        .route("/sized", get(|| async { Body::new(Sized::new(95, 95)) }))
        .route("/sized/short", get(|| async { Body::new(Sized::new(95, 90)) }))
        .route("/sized/beyond", get(|| async { Body::new(Sized::new(95, 120)) }))
        .route("/length", get(|| async { ([("content-length", "6")], "hello") }))
        .route("/length/none", get(|| async { ([("content-length", "x")], "hello") }))
        .route(
            "/own",
            get(|| async {
                ([("date", "now"), ("server", "own"), ("connection", "close"), ("x-mine", "kept")], "hello")
            }),
        )
        .route("/fields", get(|| async { (many_fields(), "hello") }))
        .route("/101", get(|| async { StatusCode::SWITCHING_PROTOCOLS }))
        .route("/panic", get(panics))
        .route(
            "/panic/later",
            get(|| async {
                later().await;
                panics().await
            }),
        )
        .route(
            "/panic/body",
            get(|| async {
                Body::from_stream(stream::once(async {
                    later().await;
                    panics().await;
                    Ok::<_, Infallible>("")
                }))
            }),
        )
}

#[expect(clippy::panic, reason = "what happens then is tested")]
async fn panics() -> StatusCode {
    panic!("on purpose")
}

fn many_fields() -> HeaderMap {
    let field = |at: usize| {
        let name = HeaderName::try_from(format!("x-{at}")).expect("a name");
        (name, HeaderValue::try_from("v".repeat(100)).expect("a value"))
    };
    (0..200).map(field).collect()
}

#[test]
fn bodies_leave_whole_in_pieces_and_later() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        let numbers: String = (0..50).map(|at| format!("{at} ")).collect();
        let twice = [pattern(LONG), pattern(LONG)].concat();
        let cases: [(&str, &[u8], bool); 7] = [
            ("/text", b"hello", true),
            ("/none", b"", true),
            ("/long", &pattern(LONG), true),
            // All of it is there at once, so its length is known.
            ("/pieces", numbers.as_bytes(), true),
            ("/slow", numbers.as_bytes(), false),
            ("/large", &twice, false),
            ("/sized", &[b's'; 95], true),
        ];
        for (path, body, has_length) in cases {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            let answer = client.answer(false).expect("an answer");
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body == body, "{path}: {} bytes", answer.body.len());
            assert_eq!(answer.field("content-length").is_some(), has_length, "{path}");
            assert_eq!(answer.field("transfer-encoding").is_none(), has_length, "{path}");
            assert_eq!(answer.head.to_lowercase().matches("content-length").count(), usize::from(has_length));
        }
        assert_eq!(stand.troubles(), [""; 0]);
    });
}

#[test]
fn what_has_no_body_says_so_and_the_connection_goes_on() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        let mut ask = |method: &str, path: &str| {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.send(request.as_bytes()).expect("it is open");
            let answer = client.answer(method == "HEAD").expect("an answer");
            (answer.status, answer.field("content-length").map(str::to_owned), answer.body)
        };
        assert_eq!(ask("HEAD", "/text"), (200, Some("5".into()), vec![]));
        assert_eq!(ask("HEAD", "/long"), (200, Some(LONG.to_string()), vec![]));
        assert_eq!(ask("HEAD", "/slow"), (200, None, vec![]));
        assert_eq!(ask("HEAD", "/nowhere").0, 404);
        assert_eq!(ask("GET", "/204"), (204, None, vec![]));
        assert_eq!(ask("GET", "/304"), (304, Some("7".into()), vec![]));
        assert_eq!(ask("HEAD", "/204"), (204, None, vec![]));
        assert_eq!(ask("GET", "/text"), (200, Some("5".into()), b"hello".to_vec()));
    });
}

#[test]
fn lengths_that_are_none_of_the_body_are_errors() {
    on_each_driver(router, |stand| {
        assert_eq!(stand.get("/length").status, 500);
        assert_eq!(stand.get("/length/none").status, 500);
        for path in ["/sized/short", "/sized/beyond"] {
            let mut client = stand.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            assert!(client.answer(false).is_err(), "{path}");
        }
        let troubles = stand.troubles();
        assert_eq!(troubles[0], "an answer announces 6 bytes and has 5");
        assert_eq!(troubles[1], "an answer's Content-Length is no number, or several");
        assert_eq!(stand.get("/text").status, 200);
    });
}

#[test]
fn what_is_the_servers_to_say_is_not_the_applications() {
    on_each_driver(router, |stand| {
        let answer = stand.get("/own");
        assert_eq!(answer.field("x-mine"), Some("kept"));
        assert_eq!(answer.field("connection"), None);
        assert_eq!(answer.field("server"), Some("Ringway"));
        assert_eq!(answer.head.to_lowercase().matches("\r\ndate:").count(), 1);
        assert_eq!(stand.get("/101").status, 500);
        assert!(stand.troubles()[0].contains("101"), "{:?}", stand.troubles());
    });
}

#[test]
fn heads_may_be_long_and_are_made_once() {
    on_each_driver(router, |stand| {
        let answer = stand.get("/fields");
        assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
        assert_eq!(answer.field("x-199"), Some(&*"v".repeat(100)));
        assert_eq!(answer.head.matches("\r\nx-").count(), 200);
    });
}

#[test]
fn panics_and_errors_cost_their_own_request() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        for path in ["/panic", "/panic/later", "/broken/at/once", "/text"] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            let status = client.answer(false).expect("on the same connection").status;
            assert_eq!(status, if path == "/text" { 200 } else { 500 }, "{path}");
        }
        for path in ["/broken", "/panic/body"] {
            let mut client = stand.client();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it is open");
            assert!(client.answer(false).is_err(), "{path}: nobody takes half a body for a whole one");
        }
        assert_eq!(
            stand.troubles(),
            [
                "a handler panicked: on purpose",
                "a handler panicked: on purpose",
                "the body of an answer broke off: nothing",
                "the body of an answer broke off: no more",
                "a handler panicked: on purpose",
            ]
        );
    });
}

#[test]
fn errors_of_a_service_are_answered() {
    let failing = tower::service_fn(|_: Request<ringway_service::tower::Body>| async {
        later().await;
        Err::<Response, _>(io::Error::other("out of order"))
    });
    for driver in crate::stand::drivers() {
        let stand = Stand::start(driver, ringway_service::tower::Tower::new(failing), "", 1);
        assert_eq!(stand.get("/").status, 500);
        assert_eq!(stand.troubles(), ["the service failed: out of order"]);
        stand.stop();
    }
}

#[test]
fn events_come_as_they_happen_and_end_with_their_reader() {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let events = move || {
        let alive = Alive::new(&count);
        let events = stream::unfold((alive, 0), |(alive, at)| async move {
            // The first at once, the second soon, then none for a long time.
            let pause = [0, 5, 3_600_000][at.min(2)];
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Some((Ok::<_, Infallible>(Event::default().data(at.to_string())), (alive, at + 1)))
        });
        async move { Sse::new(events).into_response() }
    };
    on_each_driver(
        || Router::new().route("/events", get(events.clone())),
        |stand| {
            let mut client = stand.client();
            client.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
            let head = until(&client, b"data: 1\n\n").expect("two events");
            let head = String::from_utf8_lossy(&head).into_owned();
            assert!(head.contains("content-type: text/event-stream"), "{head}");
            assert!(head.contains("data: 0\n\n"), "{head}");
            assert_eq!(alive.load(Ordering::SeqCst), 1);
            drop(client);
            eventually("its reader is gone", || alive.load(Ordering::SeqCst) == 0);
            // One that nobody closes does not keep the server from stopping.
            let mut client = stand.client();
            client.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
            until(&client, b"data: 1\n\n").expect("two events");
        },
    );
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_handler_ends_with_its_client_and_a_body_with_its_reader() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (handlers, bodies, made) = (Arc::clone(&alive), Arc::clone(&alive), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&made);
    let waits = move || {
        let alive = Alive::new(&handlers);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
        }
    };
    let endless = move || {
        let (alive, made) = (Alive::new(&bodies), Arc::clone(&counted));
        let piece = Bytes::from(vec![b'e'; 50_000]);
        let pieces = stream::repeat_with(move || {
            let _kept = &alive;
            made.fetch_add(piece.len(), Ordering::SeqCst);
            Ok::<_, Infallible>(piece.clone())
        });
        async move { Body::from_stream(pieces) }
    };
    let router = || Router::new().route("/waits", get(waits.clone())).route("/endless", get(endless.clone()));
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        client.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        eventually("it waits", || alive.load(Ordering::SeqCst) == 1);
        drop(client);
        eventually("nobody waits for it", || alive.load(Ordering::SeqCst) == 0);

        made.store(0, Ordering::SeqCst);
        let mut client = stand.client();
        client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        until(&client, b"eeee").expect("some of it");
        // It stops when its reader reads no more: at what sockets and queues hold.
        eventually("it waits for its reader", || {
            let before = made.load(Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            before > 0 && made.load(Ordering::SeqCst) == before
        });
        let before = made.load(Ordering::SeqCst);
        assert!(before < 16 * 1024 * 1024, "{before} bytes for a reader that does not read");
        drop(client);
        eventually("its reader is gone", || alive.load(Ordering::SeqCst) == 0);
    });
}
