//! Bodies of requests: at hand, coming, too long, broken, read elsewhere, and not read at all.

use crate::stand::{BYTES_MAX, Stand, eventually, on_each_driver, pattern, until, with};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Multipart, Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::StreamExt;
use http_body::Body as _;
use ringway_service::tower::{QUEUE_BYTES_MAX, Tower};
use ringway_testkit::Answer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What handlers and tests tell each other.
#[derive(Default)]
struct Told {
    taken: AtomicUsize,
    may_read: AtomicBool,
    errors: AtomicUsize,
}

async fn count(request: Request) -> Result<String, (StatusCode, String)> {
    let hint = request.body().size_hint().exact();
    let mut body = request.into_body().into_data_stream();
    let (mut bytes, mut sum) = (0, 0);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| (StatusCode::IM_A_TEAPOT, error.to_string()))?;
        bytes += piece.len();
        sum = piece.iter().fold(sum, |sum, byte| step(sum, *byte));
    }
    Ok(format!("{bytes} {sum} {hint:?}"))
}

fn step(sum: u64, byte: u8) -> u64 {
    (sum * 31 + u64::from(byte)) % 1_000_003
}

fn counted(bytes: &[u8], is_said: bool) -> String {
    let hint = is_said.then_some(bytes.len() as u64);
    format!("{} {} {hint:?}", bytes.len(), bytes.iter().fold(0, |sum, byte| step(sum, *byte)))
}

async fn gated(State(told): State<Arc<Told>>, request: Request) -> String {
    while !told.may_read.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => told.taken.fetch_add(piece.len(), Ordering::SeqCst),
            Err(_gone) => told.errors.fetch_add(1, Ordering::SeqCst),
        };
    }
    told.taken.load(Ordering::SeqCst).to_string()
}

/// Reads the body on another thread.
async fn elsewhere(request: Request) -> Result<String, (StatusCode, String)> {
    tokio::spawn(count(request)).await.expect("it does not panic")
}

async fn parts(mut form: Multipart) -> Result<String, (StatusCode, String)> {
    let mut text = String::new();
    while let Some(field) = form.next_field().await.map_err(|error| (error.status(), error.body_text()))? {
        let name = field.name().unwrap_or("?").to_owned();
        let bytes = field.bytes().await.map_err(|error| (error.status(), error.body_text()))?;
        text += &format!("{name} {}\n", counted(&bytes, false));
    }
    Ok(text)
}

fn router(told: &Arc<Told>) -> Router {
    Router::new()
        .route("/count", post(count))
        .route("/elsewhere", post(elsewhere))
        .route("/gated", post(gated))
        .route("/bytes", post(|bytes: Bytes| async move { counted(&bytes, false) }))
        .route(
            "/small",
            post(|bytes: Bytes| async move { bytes.len().to_string() }).layer(DefaultBodyLimit::max(100)),
        )
        .route("/echo", post(|request: Request| async move { request.into_body() }))
        .route("/unread", post(|| async { "not read" }))
        .route(
            "/drops",
            post(|request: Request| async move {
                drop(request);
                tokio::time::sleep(Duration::from_millis(5)).await;
                "dropped"
            }),
        )
        .route("/refuses", post(|| async { StatusCode::UNAUTHORIZED }))
        .route("/parts", post(parts))
        .route("/hint", post(|body: Body| async move { format!("{:?}", body.size_hint().exact()) }))
        .with_state(Arc::clone(told))
}

fn head(path: &str, length: usize, fields: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n").into_bytes()
}

fn chunked(path: &str, pieces: &[&[u8]]) -> Vec<u8> {
    let mut text =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in pieces {
        text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\nX-Trailer: left away\r\n\r\n");
    text
}

fn said(answer: &Answer) -> (u16, String) {
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn test(check: impl Fn(&Stand, &Told)) {
    let told = Arc::new(Told::default());
    on_each_driver(
        || router(&told),
        |stand| {
            told.taken.store(0, Ordering::SeqCst);
            told.errors.store(0, Ordering::SeqCst);
            told.may_read.store(false, Ordering::SeqCst);
            check(stand, &told);
        },
    );
}

#[test]
fn bodies_arrive_whole_however_they_come() {
    test(|stand, _| {
        let mut client = stand.client();
        for path in ["/count", "/elsewhere"] {
            for len in [0, 1, 5_000, 200_000, 900_000] {
                let body = pattern(len);
                let request = [head(path, len, ""), body.clone()].concat();
                client.send(&request).expect("it is open");
                assert_eq!(
                    said(&client.answer(false).expect("an answer")),
                    (200, counted(&body, true)),
                    "{path} {len}"
                );
                let sizes = if len > 5_000 { [40_000, 100, 9_999] } else { [1, 7, 300] };
                client.send_in_pieces(&request, &sizes).expect("it is open");
                assert_eq!(
                    said(&client.answer(false).expect("an answer")),
                    (200, counted(&body, true)),
                    "{path} {len}"
                );
                let pieces: Vec<&[u8]> = body.chunks(1_000).collect();
                let request = chunked(path, &pieces);
                client.send_in_pieces(&request, &[50_000, 3, 20_000]).expect("it is open");
                let answer = said(&client.answer(false).expect("an answer"));
                assert!(
                    [counted(&body, false), counted(&body, true)].contains(&answer.1),
                    "{path} {len} {answer:?}"
                );
            }
        }
    });
}

#[test]
fn a_length_that_was_said_is_known_to_the_application() {
    test(|stand, _| {
        let mut client = stand.client();
        client.send(&head("/hint", 500_000, "Expect: 100-continue\r\n")).expect("it is open");
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, "Some(500000)".into()));
        assert_eq!(said(&stand.ask("POST /hint HTTP/1.1\r\nHost: a\r\n\r\n")), (200, "Some(0)".into()));
    });
}

#[test]
fn a_client_that_waits_to_be_told_is_told_when_the_body_is_wanted() {
    test(|stand, _| {
        let client = stand.client();
        let mut sender = stand.client();
        drop(client);
        sender.send(&head("/count", 5, "Expect: 100-continue\r\n")).expect("it is open");
        assert_eq!(sender.answer(false).expect("an interim answer").status, 100);
        sender.send(b"hello").expect("it is open");
        assert_eq!(said(&sender.answer(false).expect("an answer")), (200, counted(b"hello", true)));
        let mut refused = stand.client();
        refused.send(&head("/refuses", 5, "Expect: 100-continue\r\n")).expect("it is open");
        assert_eq!(refused.answer(false).expect("the only answer").status, 401);
    });
}

#[test]
fn both_directions_go_on_at_once() {
    test(|stand, _| {
        let mut client = stand.client();
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("open");
        let mut back = 0;
        for at in 0..20 {
            let end = format!("<{at}>");
            let piece = [&vec![b'.'; 30_000][..], end.as_bytes()].concat();
            client.send(format!("{:x}\r\n", piece.len()).as_bytes()).expect("it is open");
            client.send(&piece).expect("it is open");
            client.send(b"\r\n").expect("it is open");
            let echoed = until(&client, end.as_bytes()).expect("it comes back before more is sent");
            back += echoed.len();
        }
        client.send(b"0\r\n\r\n").expect("it is open");
        let rest = until(&client, b"\r\n0\r\n\r\n").expect("the end");
        assert!(rest.len() < 100, "{} bytes", rest.len());
        assert!(back > 600_000);
    });
}

#[test]
fn a_body_that_is_not_read_slows_its_client() {
    test(|stand, told| {
        let body = pattern(900_000);
        let mut client = stand.client();
        client.send(&head("/gated", body.len(), "")).expect("it is open");
        // Sent by another thread, because nobody takes it.
        let stream = client.stream().try_clone().expect("a descriptor");
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            let mut stream = stream;
            for piece in body.chunks(10_000) {
                stream.write_all(piece).expect("it is open");
                counter.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        assert_eq!(told.taken.load(Ordering::SeqCst), 0);
        told.may_read.store(true, Ordering::SeqCst);
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, "900000".into()));
        sender.join().expect("it does not panic");
        assert_eq!(sent.load(Ordering::SeqCst), 900_000);
        assert_eq!(told.errors.load(Ordering::SeqCst), 0);
        const { assert!(QUEUE_BYTES_MAX < 900_000, "not all of it waits in the queue") };
    });
}

#[test]
fn limits_of_the_server_and_of_the_application_both_hold() {
    let too_long = usize::try_from(BYTES_MAX).expect("small") + 1;
    test(|stand, _| {
        // Said beforehand: nobody is asked.
        let mut client = stand.client();
        client.send(&head("/count", too_long, "")).expect("it is open");
        assert_eq!(client.answer(false).expect("an answer").status, 413);
        // Found out on the way.
        let body = pattern(too_long);
        let pieces: Vec<&[u8]> = body.chunks(50_000).collect();
        let mut client = stand.client();
        let _may_be_cut_off = client.send(&chunked("/count", &pieces));
        assert_eq!(client.answer(false).expect("an answer").status, 413);
        // The application's own.
        let answer = |len: usize| {
            let mut client = stand.client();
            client.send(&[head("/small", len, ""), pattern(len)].concat()).expect("it is open");
            client.answer(false).expect("an answer").status
        };
        assert_eq!((answer(100), answer(101)), (200, 413));
    });
    // A service may ask for more than the server's.
    let told = Arc::new(Told::default());
    let tower = || Tower::new(router(&told).layer(DefaultBodyLimit::disable())).body_limit(3_000_000);
    with(tower, |stand| {
        let body = pattern(2_500_000);
        let mut client = stand.client();
        client.send(&[head("/count", body.len(), ""), body.clone()].concat()).expect("it is open");
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, counted(&body, true)));
        client.send(&head("/count", 3_000_001, "")).expect("it is open");
        assert_eq!(client.answer(false).expect("an answer").status, 413);
    });
}

#[test]
fn a_body_that_is_none_is_refused_whatever_the_application_says() {
    test(|stand, _| {
        for path in ["/count", "/elsewhere", "/bytes"] {
            let mut client = stand.client();
            client
                .send(
                    format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
                        .as_bytes(),
                )
                .expect("it is open");
            client.send(b"loXX5\r\n").expect("it is open");
            assert_eq!(client.answer(false).expect("an answer").status, 400, "{path}");
        }
    });
}

#[test]
fn what_is_not_read_is_not_taken_for_the_next_request() {
    test(|stand, _| {
        let mut client = stand.client();
        for path in ["/unread", "/drops", "/refuses", "/unread"] {
            let body = pattern(300_000);
            client.send(&[head(path, body.len(), ""), body].concat()).expect("it is open");
            let answer = client.answer(false).expect("an answer");
            assert_eq!(answer.status, if path == "/refuses" { 401 } else { 200 }, "{path}");
        }
        client.send(&[head("/bytes", 5, ""), b"hello".to_vec()].concat()).expect("it is open");
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, counted(b"hello", false)));
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_is_news_to_who_reads() {
    test(|stand, told| {
        told.may_read.store(true, Ordering::SeqCst);
        let mut client = stand.client();
        client.send(&[head("/gated", 100_000, ""), pattern(50_000)].concat()).expect("it is open");
        eventually("half of it is read", || told.taken.load(Ordering::SeqCst) == 50_000);
        drop(client);
        // The next one is served as ever.
        let body = pattern(10_000);
        let mut client = stand.client();
        client.send(&[head("/count", body.len(), ""), body.clone()].concat()).expect("it is open");
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, counted(&body, true)));
    });
}

#[test]
fn forms_with_files_are_read_as_they_come() {
    test(|stand, _| {
        let file = pattern(400_000);
        let mut body = b"--xYx\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nbread\r\n--xYx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: application/octet-stream\r\n\r\n".to_vec();
        body.extend_from_slice(&file);
        body.extend_from_slice(b"\r\n--xYx--\r\n");
        let mut client = stand.client();
        let fields = "Content-Type: multipart/form-data; boundary=xYx\r\n";
        client
            .send_in_pieces(&[head("/parts", body.len(), fields), body].concat(), &[10_000, 77])
            .expect("it is open");
        let expected = format!("title {}\nfile {}\n", counted(b"bread", false), counted(&file, false));
        assert_eq!(said(&client.answer(false).expect("an answer")), (200, expected));
    });
}
