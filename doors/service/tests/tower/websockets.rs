//! WebSockets in applications of axum: by the extractor, in tasks with tokio around them, and by callbacks.

use crate::stand::{Stand, on_each_driver, until};
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ringway_service::socket::{CloseCode, Message, Origins, Socket, SocketOptions};
use ringway_service::tower::{WebSocketUpgrade, on_tokio};
use ringway_testkit::Client;
use std::io::Read;
use std::time::Duration;

const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ASK: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(message) = socket.next().await {
            if socket.send(message.as_message()).await.is_err() {
                break;
            }
        }
    })
}

/// Uses what only tokio has.
async fn ticks(Path(count): Path<u32>, upgrade: WebSocketUpgrade) -> Response {
    tokio::time::sleep(Duration::from_millis(1)).await;
    upgrade.on_upgrade(move |mut socket| async move {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for at in 0..count {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sender.send(at).await.expect("it listens");
            }
        });
        while let Some(at) = receiver.recv().await {
            socket.send_text(&at.to_string()).await.expect("it is open");
        }
        socket.close(CloseCode::NORMAL, "all of them");
    })
}

async fn callbacks(upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(["chat.v2", "chat.v1"]);
    upgrade.handled_by(|handshake| {
        let protocol = handshake.protocol.clone().unwrap_or_default();
        move |socket: &mut Socket<'_>, message: Message<'_>| {
            let text = format!("{protocol} {}", message.as_bytes().len());
            socket.send_text(&text).expect("there is room");
        }
    })
}

async fn anybody(upgrade: WebSocketUpgrade) -> impl IntoResponse {
    let options = SocketOptions { origins: Origins::Any, ..SocketOptions::default() };
    ([("x-mine", "added")], upgrade.options(options).on_upgrade(|_socket| async {}))
}

async fn panics(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        let _asked = socket.next().await;
        assert!(socket.closed().is_some(), "on purpose");
    })
}

fn router() -> Router {
    let sockets = Router::new().route("/echo", get(echo)).route("/ticks/{count}", get(ticks));
    sockets
        .clone()
        .route("/callbacks", get(callbacks))
        .route("/anybody", get(anybody))
        .route("/panics", get(panics))
        .route("/posted", post(echo))
        .nest("/tokio", sockets.layer(on_tokio()))
}

fn open(stand: &Stand, path: &str, fields: &str) -> (Client, String) {
    let mut client = stand.client();
    client
        .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{ASK}{KEY}{fields}\r\n").as_bytes())
        .expect("it is open");
    let head = until(&client, b"\r\n\r\n").expect("an answer");
    (client, String::from_utf8_lossy(&head).into_owned())
}

/// A short frame, masked with zeros.
fn send(client: &mut Client, opcode: u8, payload: &[u8]) {
    let len = u8::try_from(payload.len()).expect("short");
    assert!(len < 126, "a short frame");
    client.send(&[&[0x80 | opcode, 0x80 | len, 0, 0, 0, 0], payload].concat()).expect("it is open");
}

/// The next short frame of the server.
fn receive(client: &Client) -> (u8, Vec<u8>) {
    let mut stream = client.stream();
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload).expect("all of it");
    (head[0] & 15, payload)
}

#[test]
fn sockets_echo_tick_and_close() {
    on_each_driver(router, |stand| {
        for base in ["", "/tokio"] {
            let (mut client, head) = open(stand, &format!("{base}/echo"), "");
            assert!(
                head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                "{head}"
            );
            for text in ["hello", "", "again"] {
                send(&mut client, 1, text.as_bytes());
                assert_eq!(receive(&client), (1, text.as_bytes().to_vec()));
            }
            send(&mut client, 2, &[0, 255]);
            assert_eq!(receive(&client), (2, vec![0, 255]));
            send(&mut client, 8, &[0x03, 0xe8]);
            assert_eq!(receive(&client).0, 8);

            let (client, _) = open(stand, &format!("{base}/ticks/5"), "");
            for at in 0..5 {
                assert_eq!(receive(&client), (1, at.to_string().into_bytes()));
            }
            assert_eq!(receive(&client), (8, [&[0x03, 0xe8][..], b"all of them"].concat()));
        }
    });
}

#[test]
fn callbacks_know_the_subprotocol() {
    on_each_driver(router, |stand| {
        let (mut client, head) = open(stand, "/callbacks", "Sec-WebSocket-Protocol: chat.v1, other\r\n");
        assert!(head.to_lowercase().contains("sec-websocket-protocol: chat.v1\r\n"), "{head}");
        send(&mut client, 1, b"hello");
        assert_eq!(receive(&client), (1, b"chat.v1 5".to_vec()));
    });
}

#[test]
fn who_asks_wrongly_is_told_and_goes_on() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        let mut status = |request: String| {
            client.send(request.as_bytes()).expect("it is open");
            let answer = client.answer(false).expect("an answer");
            (answer.status, answer.field("upgrade").map(str::to_owned))
        };
        let get = |fields: &str| format!("GET /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(status(get("")), (426, Some("websocket".into())));
        assert_eq!(status(get(ASK)).0, 400);
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n";
        assert_eq!(status(get(&format!("{ASK}{key}"))).0, 400);
        assert_eq!(status(get(&format!("{ASK}{KEY}Origin: http://other\r\n"))).0, 403);
        assert_eq!(status(get(&format!("{ASK}{}", KEY.replace("13", "12")))).0, 426);
        let post = format!("POST /posted HTTP/1.1\r\nHost: a\r\n{ASK}{KEY}\r\n");
        assert_eq!(status(post).0, 400);
        assert_eq!(status(get("")).0, 426);
        let (_client, head) = open(stand, "/anybody", "Origin: http://other\r\n");
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("x-mine: added"), "{head}");
        assert_eq!(stand.troubles(), [""; 0]);
    });
}

#[test]
fn a_panic_ends_its_socket_only() {
    on_each_driver(router, |stand| {
        let (mut client, _) = open(stand, "/panics", "");
        let (mut other, _) = open(stand, "/echo", "");
        send(&mut client, 1, b"now");
        assert_eq!(receive(&client).0, 8);
        send(&mut other, 1, b"still here");
        assert_eq!(receive(&other).1, b"still here");
        assert_eq!(stand.troubles(), ["a handler panicked: on purpose"]);
    });
}
