//! Sockets on real connections and both drivers: handshakes, messages, limits, time, ends, groups.

mod groups;
mod over_h2;
mod route;
mod stand;

use ringway_ws::frame::Opcode;
use ringway_ws::handshake::accept_key;
use stand::{PATIENCE, SMALL_BYTES, eventually, framed, on_each_driver};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;

#[test]
fn messages_come_back_however_they_are_cut() {
    on_each_driver(|stand| {
        for path in ["/echo", "/async"] {
            let messages: Vec<Vec<u8>> = [0, 1, 64, 125, 126, 4_000, 65_535, 65_536, 300_000]
                .map(|len| (0..len).map(|at| u8::try_from(at % 251).expect("small")).collect())
                .to_vec();
            let stream: Vec<u8> = messages.iter().flat_map(|bytes| framed(Opcode::Binary, bytes)).collect();
            for sizes in [&[usize::MAX][..], &[1, 5_000], &[13, 40_001]] {
                let mut peer = stand.open(path);
                peer.client.send_in_pieces(&stream, sizes).expect("it reads");
                for message in &messages {
                    let (first, payload) = peer.frame();
                    assert_eq!(first, 0x82, "{path}");
                    assert!(payload == *message, "{path}: {} bytes", message.len());
                }
            }
        }
        stand.stop();
    });
}

/// A long message may be sent back from where it was received: what is sent around it keeps its place.
#[test]
fn what_is_sent_around_a_message_that_goes_back_keeps_its_order() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        let texts = [100, 4_095, 4_096, 9_000, 16_384, 40_000, 65_600].map(|len| "ab".repeat(len / 2));
        // Some of each come with the next one, so that the receives fill large buffers sooner or later.
        for together in [1, 3, 1, 1] {
            for texts in texts.chunks(together) {
                let said = |text: &String| framed(Opcode::Text, format!("around {text}").as_bytes());
                peer.client.send(&texts.iter().flat_map(said).collect::<Vec<_>>()).expect("it reads");
                for text in texts {
                    assert_eq!(peer.text(), "before");
                    assert!(peer.text() == *text && peer.text() == *text, "{} bytes", text.len());
                    assert_eq!(peer.text().len(), 42_000);
                    assert_eq!(peer.text(), "after");
                }
            }
        }
        // Whole frames follow whole frames when the handler falls behind one.
        peer.say(&format!("last {}", texts[3]));
        let mut heard = vec![peer.frame()];
        while heard.last().is_some_and(|(first, _)| *first != 0x88) {
            heard.push(peer.frame());
        }
        assert!(
            heard
                .iter()
                .all(|(first, text)| *first == 0x88 || *text == texts[3].as_bytes() || text == b"more")
        );
        stand.stop();
    });
}

#[test]
fn what_comes_with_the_request_is_heard_and_answered_at_once() {
    on_each_driver(|stand| {
        let (mut peer, answer) = stand.handshake("/echo", "", &framed(Opcode::Text, b"early"));
        assert_eq!(answer.status, 101);
        assert_eq!(peer.text(), "early");
        // Messages in one piece, and control frames between fragments.
        let mut many: Vec<u8> =
            (0..16).flat_map(|at| framed(Opcode::Text, format!("m{at}").as_bytes())).collect();
        let mut fragment = framed(Opcode::Text, b"frag");
        fragment[0] = 0x01;
        many.extend(fragment);
        many.extend(framed(Opcode::Ping, b"?"));
        many.extend(framed(Opcode::Continuation, b"ment"));
        peer.client.send(&many).expect("open");
        for at in 0..16 {
            assert_eq!(peer.text(), format!("m{at}"));
        }
        assert_eq!(peer.frame(), (0x8a, b"?".to_vec()));
        assert_eq!(peer.text(), "fragment");
        stand.stop();
    });
}

#[test]
fn what_came_before_a_fault_is_answered_before_it_unless_that_takes_too_long() {
    on_each_driver(|stand| {
        for (path, said, is_answered) in
            [("/echo", "hello", true), ("/async", "hello", true), ("/async", "stay", false)]
        {
            let mut peer = stand.open(path);
            let mut broken = framed(Opcode::Text, said.as_bytes());
            broken.extend(framed(Opcode::Text, b"\xff"));
            peer.client.send(&broken).expect("open");
            if is_answered {
                assert_eq!(peer.text(), said, "{path}");
            }
            assert_eq!(peer.close(), (1007, "text is not UTF-8".to_owned()), "{path} {said}");
            assert_eq!(peer.client.until_end().expect("a FIN"), b"");
        }
        stand.stop();
    });
}

#[test]
fn handshakes_that_are_wrong_are_told_so() {
    on_each_driver(|stand| {
        let refused = |lines: &str, status: u16| {
            let (_, answer) = stand.handshake("/echo", lines, b"");
            assert_eq!(answer.status, status, "{lines}");
        };
        refused("Origin: http://evil.example\r\n", 403);
        refused("Origin: https://a.example\r\n", 403);
        refused("Origin: null\r\n", 403);
        refused("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400);
        refused("Sec-WebSocket-Extensions: ;;\r\n", 400);
        let (_, answer) = stand.handshake("/echo", "Origin: http://a.example\r\n", b"");
        assert_eq!(answer.status, 101);
        let mut client = stand.client();
        client.send(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").expect("open");
        let answer = client.answer(false).expect("an answer");
        assert_eq!((answer.status, answer.field("upgrade")), (426, Some("websocket")));
        let (_, answer) = stand.handshake("/chat", "Sec-WebSocket-Protocol: soup, chat\r\n", b"");
        assert_eq!((answer.status, answer.field("sec-websocket-protocol")), (101, Some("chat")));
        stand.stop();
    });
}

#[test]
fn compression_is_used_when_it_is_agreed_on() {
    on_each_driver(|stand| {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        let (mut peer, answer) = stand.handshake("/deflate", offer, b"");
        let agreed = answer.field("sec-websocket-extensions").expect("an answer");
        assert!(agreed.starts_with("permessage-deflate"), "{agreed}");
        peer.say(&"all work and no play ".repeat(100));
        let (first, payload) = peer.frame();
        assert_eq!(first, 0xc1, "compressed");
        assert!(payload.len() < 200, "{} bytes", payload.len());
        let (mut peer, _) = stand.handshake("/echo", offer, b"");
        peer.say("as it is");
        assert_eq!(peer.text(), "as it is");
        stand.stop();
    });
}

#[test]
fn faults_and_limits_close_with_their_codes() {
    on_each_driver(|stand| {
        let fail = |path: &str, bytes: &[u8], code: u16| {
            let mut peer = stand.open(path);
            peer.client.send(bytes).expect("open");
            assert_eq!(peer.close().0, code);
            assert_eq!(peer.client.until_end().expect("a FIN"), b"");
        };
        fail("/echo", b"\x81\x01a", 1002);
        fail("/echo", &framed(Opcode::Text, b"\xff"), 1007);
        fail("/echo", &framed(Opcode::Close, b"\x03"), 1002);
        fail("/small", &framed(Opcode::Binary, &vec![0; SMALL_BYTES as usize + 1]), 1009);
        eventually("all are told of", || stand.heard.closed().len() == 4);
        let codes: Vec<u16> = stand.heard.closed().iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [1002, 1007, 1002, 1009]);
        stand.stop();
    });
}

#[test]
fn who_closes_waits_for_the_other_a_limited_time() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        peer.client.send(&framed(Opcode::Close, b"\x03\xe9bye")).expect("open");
        assert_eq!(peer.close(), (1001, String::new()));
        assert_eq!(peer.client.until_end().expect("a FIN"), b"");
        let mut peer = stand.open("/echo");
        peer.say("close enough");
        assert_eq!(peer.close(), (1000, "enough".to_owned()));
        // What was on its way is still heard.
        let before = stand.heard.messages.load(Ordering::Acquire);
        peer.say("late");
        eventually("it is heard", || stand.heard.messages.load(Ordering::Acquire) > before);
        peer.answer_close(1000);
        // This one never answers.
        let mut peer = stand.open("/echo");
        peer.say("close now");
        assert_eq!(peer.close().0, 1000);
        assert_eq!(peer.client.until_end().expect("a FIN"), b"");
        drop(peer);
        eventually("three are told of", || stand.heard.closed().len() == 3);
        // And this one just goes.
        drop(stand.open("/echo"));
        eventually("so is the last", || stand.heard.closed().len() == 4);
        let told = stand.heard.closed();
        let expected = [(1001, "bye"), (1000, "enough"), (1000, "now"), (1006, "")];
        assert_eq!(told, expected.map(|(code, reason)| (code, reason.to_owned())));
        stand.stop();
    });
}

#[test]
fn a_handler_that_panics_closes_its_socket_with_1011() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        peer.say("first");
        peer.say("panic");
        assert_eq!(peer.text(), "first");
        assert_eq!(peer.close(), (1011, String::new()));
        peer.answer_close(1011);
        assert_eq!(stand.heard.panics.load(Ordering::Acquire), 1);
        assert!(stand.heard.closed().is_empty(), "it is not called again");
        stand.stop();
    });
}

#[test]
fn peers_are_pinged_and_those_that_say_nothing_end() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/pings");
        for _ in 0..3 {
            assert_eq!(peer.frame(), (0x89, Vec::new()));
            peer.client.send(&framed(Opcode::Pong, b"")).expect("open");
            assert_eq!(peer.text(), "pong ");
        }
        assert_eq!(peer.frame(), (0x89, Vec::new()));
        let end = peer.client.until_end();
        assert!(end.is_err() || end.is_ok_and(|rest| rest.is_empty()), "no close frame for who is gone");
        let mut peer = stand.open("/idle");
        assert_eq!(peer.close().0, 1001);
        peer.answer_close(1001);
        let mut peer = stand.open("/echo");
        peer.say("later");
        assert_eq!(peer.text(), "it is time");
        peer.say("ping x");
        assert_eq!(peer.frame(), (0x89, b"x".to_vec()));
        stand.stop();
    });
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either() {
    on_each_driver(|stand| {
        let peer = stand.open("/echo");
        peer.client.stream().set_nonblocking(true).expect("a socket");
        let piece = framed(Opcode::Binary, &vec![0; 100_000]);
        let mut sent = 0;
        // The kernel's buffers and the queue's bounds are all that it can fill.
        while sent < 64 << 20 {
            use std::io::Write;
            match peer.client.stream().write(&piece[..]) {
                Ok(count) if count < piece.len() => break,
                Ok(count) => sent += count,
                Err(_full) => break,
            }
        }
        assert!(sent < 64 << 20, "it took everything");
        eventually("it is given up", || stand.heard.closed().len() == 1);
        assert_eq!(stand.heard.closed()[0].0, 1006);
        stand.stop();
    });
}

#[test]
fn a_queue_that_is_full_says_so() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        peer.say("much");
        let mut bytes = 0;
        while bytes < 900_000 {
            bytes += peer.text().len();
        }
        peer.say("and on");
        let mut last = String::new();
        while last != "and on" {
            last = peer.text();
        }
        stand.stop();
    });
}

#[test]
fn a_drain_says_goodbye() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        let mut other = stand.open("/async");
        stand.drain();
        assert_eq!(peer.close().0, 1001);
        peer.answer_close(1001);
        assert_eq!(other.close().0, 1001);
        other.answer_close(1001);
        stand.stop();
    });
}

#[test]
fn sockets_that_this_side_opens_speak_as_clients() {
    on_each_driver(|stand| {
        for path in ["/echo", "/deflate", "/chat", "/async"] {
            let mut peer = stand.open("/via");
            peer.say(&format!("ws://{}{path}", stand.address()));
            assert_eq!(peer.text(), "open", "{path}");
            for len in [0, 1, 125, 126, 70_000, 300_000] {
                let text = "all work ".repeat(len / 9 + 1);
                peer.say(&text);
                assert!(peer.text() == text, "{path}: {len} bytes");
            }
            if path != "/async" {
                peer.say("close so long");
                assert_eq!(peer.text(), "1000 so long");
                assert_eq!(peer.close().0, 1000);
            }
        }
        let mut peer = stand.open("/via");
        peer.say(&format!("ws://{}/nowhere", stand.address()));
        assert_eq!(peer.text(), "answered with status 404");
        let mut peer = stand.open("/via");
        peer.say("wss://127.0.0.1/");
        assert_eq!(peer.text(), "no TLS for this URL");
        stand.stop();
    });
}

/// The end of what was received is a part of a frame each time, however much comes behind it.
#[test]
fn a_flood_of_small_frames_is_read_to_its_end() {
    on_each_driver(|stand| {
        let far = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut near = stand.open("/via");
        near.say(&format!("ws://{}/", far.local_addr().expect("an address")));
        let (mut far, _) = far.accept().expect("it connects");
        // Much of it is there at once, so that it is received in the largest pieces there are.
        let flood = [&b"\x8a\x40"[..], &[b'x'; 64]].concat().repeat(200_000);
        let answer = [&accepted(&mut far)[..], &flood, b"\x81\x04done"].concat();
        far.write_all(&answer).expect("it reads");
        assert_eq!(near.text(), "open");
        near.say("more");
        assert_eq!(near.text(), "done");
        far.write_all(b"\x88\x02\x03\xe8").expect("open");
        let mut rest = Vec::new();
        far.set_read_timeout(Some(PATIENCE)).expect("a time");
        far.read_to_end(&mut rest).expect("a FIN");
        drop((near, far));
        stand.stop();
    });
}

/// Reads a handshake and returns the answer.
fn accepted(far: &mut TcpStream) -> Vec<u8> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        far.read_exact(&mut byte).expect("a head");
        head.push(byte[0].into());
    }
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = accept_key(key.as_bytes().try_into().expect("24 letters"));
    let lines = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    [&lines[..], &accept, b"\r\n\r\n"].concat()
}

#[test]
fn a_task_that_ends_closes_its_socket() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/async");
        peer.say("hello");
        assert_eq!(peer.text(), "hello");
        peer.say("enough");
        assert_eq!(peer.close(), (1000, String::new()));
        peer.answer_close(1000);
        let mut peer = stand.open("/async");
        peer.client.send(&framed(Opcode::Close, b"\x0f\xa0own")).expect("open");
        assert_eq!(peer.close().0, 4000);
        eventually("the task hears of it", || stand.heard.closed() == [(4000, "own".to_owned())]);
        stand.stop();
    });
}
