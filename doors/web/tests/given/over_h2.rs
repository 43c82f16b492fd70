//! The same over HTTP/2: streams beside each other, each with a window of its own.

use super::stand::{BYTES_MAX, Stand, counted, eventually, on_each_driver, pattern};
use ringway_h2::code::Code;
use ringway_h2::frame::{HEAD_BYTES, Head, Kind, PREFACE, write_reset, write_settings, write_window_update};
use ringway_testkit::Client;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;

/// END_STREAM, and END_HEADERS.
const END: u8 = 1;
const WHOLE_HEAD: u8 = 4;

/// What a stream's window lets be sent before it is opened again.
const WINDOW: usize = 65_535;

struct Peer {
    client: Client,
    statuses: HashMap<u32, Vec<String>>,
    bodies: HashMap<u32, Vec<u8>>,
    /// Bytes that windows were opened for.
    opened: HashMap<u32, usize>,
    resets: HashMap<u32, Code>,
    ended: Vec<u32>,
}

impl Peer {
    fn open(stand: &Stand) -> Self {
        let client = stand.client();
        let mut bytes = PREFACE.to_vec();
        write_settings(&mut bytes, &[]);
        client.stream().write_all(&bytes).expect("it reads");
        let opened = HashMap::from([(0, WINDOW)]);
        Self {
            client,
            statuses: HashMap::new(),
            bodies: HashMap::new(),
            opened,
            resets: HashMap::new(),
            ended: Vec::new(),
        }
    }

    fn send(&self, bytes: &[u8]) {
        self.client.stream().write_all(bytes).expect("it reads");
    }

    fn post(&mut self, stream: u32, path: &str, fields: &[(u8, &str)], ends: bool) {
        let text = |name: &[u8], value: &str| {
            [name, &[u8::try_from(value.len()).expect("short")], value.as_bytes()].concat()
        };
        // POST, http; path, authority, and fields by their numbers in the static table, as literals without indexing.
        let mut block = [&[0x83, 0x86][..], &text(&[0x04], path), &text(&[0x01], "a")].concat();
        for (number, value) in fields {
            block.extend(text(&[0x0f, number - 15], value));
        }
        let flags = WHOLE_HEAD | if ends { END } else { 0 };
        let len = u32::try_from(block.len()).expect("short");
        self.opened.insert(stream, WINDOW);
        self.send(&[&Head { len, kind: Kind::HEADERS, flags, stream }.bytes()[..], &block].concat());
    }

    fn data(&self, stream: u32, bytes: &[u8], ends: bool) {
        let len = u32::try_from(bytes.len()).expect("short");
        let flags = if ends { END } else { 0 };
        self.send(&[&Head { len, kind: Kind::DATA, flags, stream }.bytes()[..], bytes].concat());
    }

    /// Sends a body as fast as the windows let it.
    fn body(&mut self, stream: u32, mut body: &[u8], frame: usize) {
        while !body.is_empty() {
            let room = self.opened[&stream].min(self.opened[&0]);
            let count = body.len().min(frame).min(room);
            if count == 0 {
                self.next();
                continue;
            }
            *self.opened.get_mut(&stream).expect("known") -= count;
            *self.opened.get_mut(&0).expect("known") -= count;
            self.data(stream, &body[..count], count == body.len());
            body = &body[count..];
        }
    }

    /// Reads a frame, and opens the windows for what it brought.
    fn next(&mut self) {
        let mut tcp = self.client.stream();
        let mut head = [0; HEAD_BYTES];
        tcp.read_exact(&mut head).expect("a frame");
        let head = Head::read(&head).expect("whole");
        let mut payload = vec![0; head.len as usize];
        tcp.read_exact(&mut payload).expect("a frame");
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        match head.kind {
            Kind::DATA => {
                self.bodies.entry(head.stream).or_default().extend(&payload);
                let mut update = Vec::new();
                if head.len > 0 {
                    write_window_update(&mut update, 0, head.len);
                    write_window_update(&mut update, head.stream, head.len);
                }
                tcp.write_all(&update).expect("it reads");
            }
            Kind::HEADERS => {
                let status = match payload[0] {
                    0x88 => "200".to_owned(),
                    0x8c => "400".to_owned(),
                    // A literal with an indexed name, or one of the static table's.
                    first if first & 0x80 == 0 => {
                        String::from_utf8_lossy(&payload[2..2 + usize::from(payload[1])]).into_owned()
                    }
                    first => format!("field {first:#x}"),
                };
                self.statuses.entry(head.stream).or_default().push(status);
            }
            Kind::WINDOW_UPDATE => {
                *self.opened.entry(head.stream).or_insert(WINDOW) += number(0) as usize;
            }
            Kind::RST_STREAM => {
                self.resets.insert(head.stream, Code(number(0)));
            }
            Kind::SETTINGS | Kind::PING => {}
            other => panic!("{other:?} {payload:?}"),
        }
        if matches!(head.kind, Kind::DATA | Kind::HEADERS) && head.has(END) {
            self.ended.push(head.stream);
        }
    }

    /// The text of an answer, once it has ended.
    fn answer(&mut self, stream: u32) -> String {
        while !self.ended.contains(&stream) {
            assert!(!self.resets.contains_key(&stream), "{:?}", self.resets);
            self.next();
        }
        String::from_utf8_lossy(&self.bodies.remove(&stream).unwrap_or_default()).into_owned()
    }

    fn status(&self, stream: u32) -> &str {
        self.statuses[&stream].last().expect("an answer")
    }
}

#[test]
fn bodies_reach_handlers_whole_and_windows_open_as_they_are_read() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        let mut stream = 1;
        for (body, frame) in [(pattern(1), 1), (pattern(2_000), 3), (pattern(500_000), 16_384)] {
            for (path, fields) in
                [("/count", &[][..]), ("/echo", &[]), ("/count", &[(28, body.len().to_string())])]
            {
                let fields: Vec<(u8, &str)> =
                    fields.iter().map(|(number, value)| (*number, value.as_str())).collect();
                peer.post(stream, path, &fields, false);
                peer.body(stream, &body, frame);
                let answer = if path == "/echo" {
                    while !peer.ended.contains(&stream) {
                        peer.next();
                    }
                    counted(&peer.bodies[&stream])
                } else {
                    peer.answer(stream)
                };
                assert_eq!(answer, counted(&body), "{path}");
                stream += 2;
            }
        }
        peer.post(stream, "/count", &[], true);
        assert_eq!(peer.answer(stream), "0 0");
        stand.stop();
    });
}

#[test]
fn a_client_cannot_send_faster_than_the_handler_reads() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        peer.post(1, "/gated", &[], false);
        let body = pattern(WINDOW * 3);
        for chunk in body[..WINDOW].chunks(16_384) {
            peer.data(1, chunk, false);
        }
        *peer.opened.get_mut(&1).expect("known") = 0;
        *peer.opened.get_mut(&0).expect("known") -= WINDOW;
        // Another stream is served meanwhile, within what is left of the connection's window.
        peer.post(3, "/count", &[], true);
        assert_eq!(peer.answer(3), "0 0");
        assert_eq!(
            (stand.gate.taken.load(Ordering::Relaxed), peer.opened[&1]),
            (0, 0),
            "no window was opened"
        );
        stand.gate.open();
        peer.body(1, &body[WINDOW..], 10_000);
        assert_eq!(peer.answer(1), counted(&body));
        stand.stop();
    });
}

#[test]
fn limits_hold_and_what_nobody_takes_is_discarded() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        let body = pattern(usize::try_from(BYTES_MAX).expect("small") + 1);
        let length = body.len().to_string();
        peer.post(1, "/large", &[], false);
        peer.body(1, &body, 16_384);
        assert_eq!(peer.answer(1), counted(&body));
        for (stream, path) in [(3, "/count"), (5, "/ignore")] {
            peer.post(stream, path, &[(28, &length)], false);
            peer.answer(stream);
            assert_eq!(peer.status(stream), "413", "{path}");
        }
        for (stream, path) in [(7, "/early"), (9, "/first"), (11, "/ignore")] {
            peer.post(stream, path, &[], false);
            peer.body(stream, &body[..300_000], 9_000);
            peer.answer(stream);
            assert_eq!(peer.status(stream), "200", "{path}");
        }
        peer.post(13, "/count", &[], false);
        peer.body(13, b"next", 4);
        assert_eq!(peer.answer(13), counted(b"next"));
        stand.stop();
    });
}

#[test]
fn who_waits_to_be_told_is_told_when_the_body_is_wanted() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        let fields = [(35, "100-continue"), (28, "5")];
        peer.post(1, "/count", &fields, false);
        while !peer.statuses.contains_key(&1) {
            peer.next();
        }
        assert_eq!(peer.status(1), "100");
        peer.body(1, b"hello", 5);
        assert_eq!(peer.answer(1), counted(b"hello"));
        peer.post(3, "/ignore", &fields, false);
        assert_eq!(peer.answer(3), "ignored");
        assert_eq!(peer.statuses[&3], ["200"], "nothing came before");
        stand.stop();
    });
}

#[test]
fn bodies_that_do_not_come_or_are_given_up_hurt_nobody() {
    on_each_driver(|stand| {
        let mut peer = Peer::open(&stand);
        for stream in [1, 3] {
            peer.post(stream, "/count", &[], false);
            peer.data(stream, b"hello", false);
        }
        let mut reset = Vec::new();
        write_reset(&mut reset, 1, Code::CANCEL);
        peer.send(&reset);
        peer.answer(3);
        assert_eq!(peer.status(3), "408");
        peer.post(5, "/sized/300000/300000/65000", &[], true);
        peer.post(7, "/sized/300000/299999/4097", &[], true);
        while !peer.ended.contains(&5) || !peer.resets.contains_key(&7) {
            peer.next();
        }
        assert_eq!(peer.bodies[&5], vec![b's'; 300_000]);
        assert_eq!(peer.resets[&7], Code::INTERNAL_ERROR);
        eventually("both are told of, with their bytes", || {
            let told = stand.told.all();
            let bytes = |path: &str| told.iter().find(|(told, ..)| told == path).map(|(.., bytes)| *bytes);
            bytes("/sized/300000/300000/65000") == Some(300_000)
                && bytes("/sized/300000/299999/4097").is_some_and(|bytes| bytes < 300_000)
        });
        stand.stop();
    });
}
