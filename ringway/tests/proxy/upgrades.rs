//! Connections that go over to another protocol: WebSockets of a real library, and others.

use crate::stand::{Setup, eventually, send};
use crate::upstream::Upstream;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Own: 1\r\n\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

#[test]
fn bytes_go_both_ways_until_one_side_ends() {
    let upstream = Upstream::start(|talk| {
        let Some(asked) = talk.request() else { return };
        assert_eq!((asked.field("upgrade"), asked.field("connection")), (Some("websocket"), Some("Upgrade")));
        talk.say(&[SWITCH, b"first"].concat());
        let sent = talk.until_end();
        talk.say(&sent);
        talk.say(b" and last");
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-tunnel");
    let mut client = ringway.client();
    send(&mut client, "GET /", UPGRADE, b"");
    let answer = client.answer(false).unwrap();
    assert_eq!(
        (answer.status, answer.field("upgrade"), answer.field("x-own")),
        (101, Some("websocket"), Some("1"))
    );
    assert!(answer.field("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    let body: Vec<u8> =
        (0..3_000_000_u32).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    client.send(&body).unwrap();
    client.finish().unwrap();
    let back = client.until_end().unwrap();
    assert!(back == [b"first", &body[..], b" and last"].concat(), "{} bytes", back.len());
}

#[test]
fn what_is_not_allowed_or_not_wanted_is_no_upgrade() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            assert!(asked.target() == "/no" || asked.field("upgrade").is_none());
            talk.answer(b"plain");
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-no-tunnel");
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(ringway.ask("GET /h2c", h2c, b"").body, b"plain");
    assert!(!upstream.last_head().to_ascii_lowercase().contains("http2-settings"));
    assert_eq!(ringway.ask("GET /no", UPGRADE, b"").body, b"plain");
    assert_eq!(ringway.ask("POST /body", UPGRADE, b"body").body, b"plain");
}

#[test]
fn silence_ends_an_upgraded_connection_and_talk_does_not() {
    let upstream = Upstream::start(|talk| {
        let Some(_asked) = talk.request() else { return };
        talk.say(SWITCH);
        talk.until_end();
    });
    let setup = Setup { proxy: "upgrade_idle = \"1s\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = setup.start("proxy-idle-tunnel");
    let mut client = ringway.client();
    send(&mut client, "GET /", UPGRADE, b"");
    assert_eq!(client.answer(false).unwrap().status, 101);
    let began = Instant::now();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        client.send(b"x").unwrap();
    }
    let talked = began.elapsed();
    assert_eq!(client.until_end().unwrap(), b"");
    assert!(began.elapsed() >= talked + Duration::from_millis(900), "{:?}", began.elapsed());
}

/// The library `ws`, as an echo.
struct Echo {
    child: Child,
    address: SocketAddr,
}

impl Echo {
    fn start() -> Self {
        let script = "const { WebSocketServer } = require('ws'); const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });\n\
            server.on('connection', socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));\n\
            server.on('listening', () => console.log(server.address().port));";
        let mut command = Command::new("node");
        command
            .arg("-e")
            .arg(script)
            .env("NODE_PATH", "/usr/share/nodejs")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("nodejs is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the library ws (node-ws) is installed");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The client of the same library: messages of many sizes, text and binary, each of which must come back as it was.
const CLIENT: &str = "
const { WebSocket } = require('ws');
const socket = new WebSocket(process.argv[1]);
const sizes = [0, 1, 125, 126, 65535, 65536, 1000000];
let at = 0;
const next = () => at < sizes.length * 2 ? socket.send(message(at), { binary: at % 2 == 1 }) : socket.close(1000, 'done');
const message = at => Buffer.alloc(sizes[at >> 1], at % 2 == 1 ? at : 'a');
socket.on('open', next);
socket.on('message', (data, isBinary) => {
  if (isBinary != (at % 2 == 1) || Buffer.compare(data, message(at)) != 0) { console.log('message', at, 'is another'); process.exit(1); }
  at += 1; next();
});
socket.on('close', (code, reason) => { console.log(code, String(reason), at); process.exit(0); });
socket.on('error', error => { console.log(String(error)); process.exit(1); });
";

#[test]
fn websockets_of_a_real_library_work_through_it() {
    let echo = Echo::start();
    let ringway = Setup::before(&[echo.address]).start("proxy-ws");
    for _ in 0..3 {
        let mut command = Command::new("node");
        command
            .arg("-e")
            .arg(CLIENT)
            .arg(format!("ws://{}/", ringway.address()))
            .env("NODE_PATH", "/usr/share/nodejs");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), "1000 done 14");
    }
}

#[test]
fn many_tunnels_are_open_at_once() {
    let upstream = Upstream::start(|talk| {
        if talk.request().is_some() {
            talk.say(SWITCH);
            let sent = talk.until_end();
            talk.say(&sent);
        }
    });
    let ringway = Setup::before(&[upstream.address()]).start("proxy-tunnels");
    let mut clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = ringway.client();
            send(&mut client, "GET /", UPGRADE, b"");
            assert_eq!(client.answer(false).unwrap().status, 101);
            client
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.stream().write_all(format!("{number}").as_bytes()).unwrap();
        client.finish().unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut back = String::new();
        client.stream().read_to_string(&mut back).unwrap();
        assert_eq!(back, format!("{number}"));
    }
    eventually("all to be there", || (upstream.connections() == 100).then_some(()));
}
