//! WebSockets on endpoints of messages, alone and beside raw traffic.

use crate::faults::Noting;
use crate::stand::{Setup, Stand, on_each_driver, pattern, read_line};
use ringway_engine::ring::DriverChoice;
use ringway_socket::{Framing, Reason, builtin_framing};
use std::io::{Read, Write};
use std::net::TcpStream;

const ASK: &[u8] = b"GET /any HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn start(driver: DriverChoice, framing: Framing) -> (Stand, Noting) {
    let noting = Noting::default();
    let made = noting.clone();
    (Setup::with(driver, move || made.clone()).on(|terms| terms.framing = framing).start(), noting)
}

/// A client's frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | u8::try_from(len).expect("short")),
        len @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).expect("short").to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The server's next frame: its first byte and payload.
fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame comes");
    let len = match head[1] {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).expect("a length");
            u64::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len).expect("a length");
            u64::from_be_bytes(len)
        }
        len => u64::from(len),
    };
    let mut payload = vec![0; usize::try_from(len).expect("it fits")];
    stream.read_exact(&mut payload).expect("a payload");
    (head[0], payload)
}

fn upgrade(stream: &mut TcpStream) {
    stream.write_all(ASK).expect("it reads");
    read_upgrade(stream);
}

fn read_upgrade(stream: &mut TcpStream) {
    assert_eq!(read_line(stream), "HTTP/1.1 101 Switching Protocols");
    let mut fields = Vec::new();
    while fields.last().is_none_or(|line: &String| !line.is_empty()) {
        fields.push(read_line(stream));
    }
    assert!(fields.contains(&"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()), "{fields:?}");
}

#[test]
fn messages_come_back_as_frames() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, Framing::WebSocket);
        let mut stream = stand.connect();
        upgrade(&mut stream);
        for size in [0, 1, 125, 126, 5_000, 65_536, 200_000] {
            let payload = pattern(size, size);
            stream.write_all(&frame(2, &payload)).expect("it reads");
            assert_eq!(read_frame(&mut stream), (0x82, payload), "{size}");
        }
        // Several at once, with a ping among them; and one in pieces.
        let many =
            [frame(1, "grüß".as_bytes()), frame(9, b"are you there"), frame(1, b"two"), frame(2, &[7; 300])]
                .concat();
        for piece in [many.len(), 3] {
            for part in many.chunks(piece) {
                stream.write_all(part).expect("it reads");
            }
            assert_eq!(read_frame(&mut stream), (0x81, "grüß".into()));
            assert_eq!(read_frame(&mut stream), (0x8a, b"are you there".into()));
            assert_eq!(read_frame(&mut stream), (0x81, b"two".into()));
            assert_eq!(read_frame(&mut stream), (0x82, vec![7; 300]));
        }
        stream.write_all(&frame(8, &[0x03, 0xe8])).expect("it reads");
        assert_eq!(read_frame(&mut stream), (0x88, vec![0x03, 0xe8]));
        assert_eq!(stream.read(&mut [0; 1]).expect("a good end"), 0);
        stand.until_resting();
        assert_eq!(noting.ends(), [(13, Reason::WebSocket(1000))]);
        assert_eq!(stand.counted().errors, 0);
        stand.stop();
    });
}

#[test]
fn what_breaks_the_protocol_is_told_its_code() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, Framing::WebSocket);
        for (wrong, code) in
            [(frame(3, b""), 1002), (frame(1, b"\xff"), 1007), (vec![0x81, 0x01, b'x'], 1002)]
        {
            let mut stream = stand.connect();
            upgrade(&mut stream);
            stream.write_all(&wrong).expect("it reads");
            let (opcode, said) = read_frame(&mut stream);
            assert_eq!((opcode, u16::from_be_bytes([said[0], said[1]])), (0x88, code));
            drop(stream);
            stand.until_resting();
            assert_eq!(noting.ends().pop(), Some((0, Reason::WebSocket(code))));
        }
        let mut other = stand.connect();
        other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        other.read_to_string(&mut answer).expect("a good end");
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthis is a WebSocket\n"));
        stand.until_resting();
        assert_eq!(stand.counted().faults, 4);
        stand.stop();
    });
}

#[test]
fn a_chat_of_lines_and_sockets_on_one_address() {
    on_each_driver(|driver| {
        let stand = Setup::builtin(driver, "chat")
            .on(|terms| {
                terms.framing = Framing::Auto(Box::new(builtin_framing("chat")));
                terms.framing_limits.auto_wait_ms = 100;
            })
            .start();
        // Who says nothing is greeted all the same.
        let mut lines = stand.connect();
        assert!(read_line(&mut lines).starts_with("welcome; you are guest "));
        // Who begins at once need not wait, and is told by what it says.
        let mut quick = stand.connect();
        quick.write_all(b"GETTING here\n").expect("it reads");
        assert!(read_line(&mut quick).starts_with("welcome; "));
        let mut socket = stand.connect();
        for part in ASK.chunks(50) {
            socket.write_all(part).expect("it reads");
        }
        read_upgrade(&mut socket);
        let (first, said) = read_frame(&mut socket);
        assert!(first == 0x81 && said.starts_with(b"welcome; you are guest 3"), "{said:?}");
        lines.write_all(b"by line\n").expect("it reads");
        while !read_frame(&mut socket).1.ends_with(b": by line") {}
        socket.write_all(&frame(1, b"by frame")).expect("it reads");
        while !read_line(&mut lines).ends_with(": by frame") {}
        while !read_line(&mut quick).ends_with(": by frame") {}
        drop((lines, quick, socket));
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn where_nothing_was_said_a_late_upgrade_is_one() {
    on_each_driver(|driver| {
        let (stand, noting) = start(driver, Framing::Auto(Box::new(Framing::None)));
        let (mut late, mut raw) = (stand.connect(), stand.connect());
        raw.write_all(b"GET me nowhere").expect("it reads");
        // Both are told of as raw by then, and the echo has nothing to say by itself.
        let mut answer = [0; 15];
        raw.write_all(b"\n").expect("it reads");
        raw.read_exact(&mut answer).expect("it is no request");
        upgrade(&mut late);
        late.write_all(&frame(2, b"x")).expect("it reads");
        assert_eq!(read_frame(&mut late), (0x82, b"x".into()));
        drop((late, raw));
        stand.until_resting();
        let mut ends = noting.ends();
        ends.sort_by_key(|(user, reason)| (*user, reason.word()));
        assert_eq!(ends, [(1, Reason::Peer), (1, Reason::WebSocket(1006))]);
        stand.stop();
    });
}
