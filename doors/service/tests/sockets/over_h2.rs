//! Sockets over streams of HTTP/2 (RFC 8441), said frame by frame.

use crate::stand::{Stand, eventually, framed, on_each_driver};
use ringway_testkit::Client;
use ringway_ws::frame::Opcode;
use std::collections::HashMap;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field whose name is said, too.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

struct Peer {
    client: Client,
    bodies: HashMap<u32, Vec<u8>>,
    heads: HashMap<u32, Vec<u8>>,
    ended: Vec<u32>,
    resets: Vec<u32>,
    settings: Vec<u8>,
}

impl Peer {
    fn open(stand: &Stand) -> Self {
        let mut client = stand.client();
        let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
        client.send(&hello).expect("open");
        let (bodies, heads) = (HashMap::new(), HashMap::new());
        Self { client, bodies, heads, ended: Vec::new(), resets: Vec::new(), settings: Vec::new() }
    }

    fn connect(&mut self, stream: u32, path: &str, more: &[u8]) {
        let fields: Vec<Vec<u8>> = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "a.example"),
            ("sec-websocket-version", "13"),
        ]
        .map(|(name, value)| literal(name, value))
        .to_vec();
        let block = [&fields.concat()[..], more].concat();
        self.client.send(&frame(HEADERS, END_HEADERS, stream, &block)).expect("open");
    }

    fn data(&mut self, stream: u32, bytes: &[u8]) {
        for piece in bytes.chunks(10_000) {
            self.client.send(&frame(DATA, 0, stream, piece)).expect("open");
        }
    }

    /// Takes the next frame in.
    fn next(&mut self) {
        let head = self.client.exact(9).expect("a frame");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.client.exact(len as usize).expect("a payload");
        match head[3] {
            DATA => {
                self.bodies.entry(stream).or_default().extend(&payload);
                if !payload.is_empty() {
                    let opened = [
                        frame(WINDOW_UPDATE, 0, 0, &len.to_be_bytes()),
                        frame(WINDOW_UPDATE, 0, stream, &len.to_be_bytes()),
                    ];
                    self.client.send(&opened.concat()).expect("open");
                }
            }
            HEADERS => drop(self.heads.insert(stream, payload)),
            RESET => self.resets.push(stream),
            SETTINGS if head[4] == 0 => self.settings = payload,
            _ => {}
        }
        if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
            self.ended.push(stream);
        }
    }

    fn until(&mut self, mut check: impl FnMut(&Self) -> bool) {
        while !check(self) {
            self.next();
        }
    }

    /// The next bytes of a stream's body.
    fn expect(&mut self, stream: u32, bytes: &[u8]) {
        self.until(|peer| peer.bodies.get(&stream).is_some_and(|body| body.len() >= bytes.len()));
        let body = self.bodies.get_mut(&stream).expect("a body");
        assert!(body.starts_with(bytes), "{}", body[..body.len().min(80)].escape_ascii());
        body.drain(..bytes.len());
    }
}

#[test]
fn a_stream_carries_what_a_connection_would() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        for (stream, path) in [(1, "/echo"), (3, "/async")] {
            peer.connect(stream, path, b"");
            peer.until(|peer| peer.heads.contains_key(&stream));
            assert_eq!(peer.heads[&stream][0], 0x88, "200");
        }
        assert!(peer.settings.windows(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "it is announced");
        let long = framed(Opcode::Binary, &vec![5; 50_000]);
        for stream in [1, 3] {
            peer.data(stream, &framed(Opcode::Text, b"hello"));
            peer.expect(stream, b"\x81\x05hello");
            peer.data(stream, &long);
            peer.expect(stream, &[&[0x82, 126, 0xc3, 0x50][..], &[5; 50_000]].concat());
        }
        // Several at once, within the window: more than is answered before the first answers have left.
        let part = framed(Opcode::Binary, &[6; 9_000]);
        peer.data(3, &part.repeat(4));
        (0..4).for_each(|_| peer.expect(3, &[&[0x82, 126, 0x23, 0x28][..], &[6; 9_000]].concat()));
        peer.data(1, &part.repeat(4));
        (0..4).for_each(|_| peer.expect(1, &[&[0x82, 126, 0x23, 0x28][..], &[6; 9_000]].concat()));
        // Longer than the limit of a request's body, and slower than one may be.
        for _ in 0..30 {
            peer.data(1, &long);
            peer.expect(1, &[&[0x82, 126, 0xc3, 0x50][..], &[5; 50_000]].concat());
        }
        peer.data(1, &framed(Opcode::Text, b"later"));
        peer.expect(1, b"\x81\x0ait is time");
        peer.data(1, &framed(Opcode::Text, b"join room"));
        let room = stand.groups.group("room");
        eventually("it is a member", || room.len() == 1);
        room.send_text("all");
        peer.expect(1, b"\x81\x03all");
        peer.data(1, &framed(Opcode::Close, b"\x0f\xa0own"));
        peer.expect(1, b"\x88\x02\x0f\xa0");
        peer.until(|peer| peer.ended.contains(&1));
        eventually("it is told of", || stand.heard.closed() == [(4000, "own".to_owned())]);
        eventually("it has left", || room.is_empty());
        stand.drain();
        peer.expect(3, b"\x88");
        drop(peer);
        stand.stop();
    });
}

#[test]
fn what_cannot_be_a_socket_is_told_so() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        peer.connect(1, "/echo", &literal("origin", "http://evil.example"));
        peer.connect(3, "/nowhere", b"");
        peer.connect(5, "/echo", &literal("connection", "upgrade"));
        peer.until(|peer| peer.heads.len() == 2 && peer.resets.contains(&5));
        // 403 and 404 are said by their numbers, in their one way each.
        assert!(peer.heads[&1].windows(3).any(|text| text == b"403"), "{}", peer.heads[&1].escape_ascii());
        assert_eq!(peer.heads[&3][0], 0x8d, "404");
        stand.stop();
    });
}
