//! Applications of axum over HTTP/2: requests on one connection, bodies both ways, answers as they are ready.

use crate::stand::on_each_driver;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use futures_util::stream::{self, StreamExt};
use ringway_h2::frame::{HEAD_BYTES, Head, Kind, PREFACE, write_settings};
use ringway_service::tower::on_tokio;
use ringway_testkit::Client;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::time::Duration;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short");
    [&Head { len, kind, flags, stream }.bytes()[..], payload].concat()
}

/// A request whose method is one of HPACK's table; literals are not indexed.
fn request(stream: u32, method: u8, path: &str, body: Option<&str>) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("short");
    let block = [&[method, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'a']].concat();
    let end = if body.is_none() { END_STREAM } else { 0 };
    let mut bytes = frame(Kind::HEADERS, END_HEADERS | end, stream, &block);
    if let Some(body) = body {
        bytes.extend(frame(Kind::DATA, END_STREAM, stream, body.as_bytes()));
    }
    bytes
}

/// The bodies of `count` answers by their streams, in the order in which they ended.
fn answers(client: &Client, count: usize) -> Vec<(u32, String)> {
    let mut tcp = client.stream();
    let (mut bodies, mut ended): (BTreeMap<u32, Vec<u8>>, Vec<u32>) = Default::default();
    while ended.len() < count {
        let mut head = [0; HEAD_BYTES];
        tcp.read_exact(&mut head).expect("a frame");
        let head = Head::read(&head).expect("whole");
        let mut payload = vec![0; head.len as usize];
        tcp.read_exact(&mut payload).expect("a frame");
        assert!(head.kind != Kind::RST_STREAM && head.kind != Kind::GOAWAY, "{head:?} {payload:?}");
        if head.kind == Kind::DATA {
            bodies.entry(head.stream).or_default().extend(payload);
        }
        if matches!(head.kind, Kind::DATA | Kind::HEADERS) && head.has(END_STREAM) {
            ended.push(head.stream);
        }
    }
    let mut body = |stream: u32| String::from_utf8(bodies.remove(&stream).unwrap_or_default()).expect("text");
    ended.into_iter().map(|stream| (stream, body(stream))).collect()
}

fn router() -> Router {
    let slow = || {
        stream::iter(0..5).then(|at| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<_, Infallible>(at.to_string())
        })
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(move || async move { Body::from_stream(slow()) }))
        .route(
            "/late",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                "at last"
            }),
        )
        .route("/echo", post(|request: Request| async move { request.into_body() }))
        .route("/shout", post(|text: String| async move { text.to_uppercase() }).layer(on_tokio()))
}

#[test]
fn handlers_and_bodies_of_all_kinds_share_a_connection() {
    const GET: u8 = 0x82;
    const POST: u8 = 0x83;
    on_each_driver(router, |stand| {
        let client = stand.client();
        let mut bytes = PREFACE.to_vec();
        write_settings(&mut bytes, &[]);
        bytes.extend(request(1, GET, "/late", None));
        bytes.extend(request(3, GET, "/", None));
        bytes.extend(request(5, POST, "/echo", Some("and back")));
        bytes.extend(request(7, GET, "/slow", None));
        bytes.extend(request(9, POST, "/shout", Some("louder")));
        client.stream().write_all(&bytes).expect("it reads");
        let mut answers = answers(&client, 5);
        assert_ne!(answers[0].0, 1, "who waits holds nobody up");
        answers.sort_unstable();
        let texts: Vec<&str> = answers.iter().map(|(_, text)| &**text).collect();
        assert_eq!(texts, ["at last", "hello", "and back", "01234", "LOUDER"]);
        assert_eq!(stand.troubles(), [""; 0]);
    });
}
