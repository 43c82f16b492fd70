//! WebSockets of a library: opened, answered, in groups across workers, closed, and kept while their version is replaced.

use crate::stand::{As, Stand, build, drivers, get, is_mapped, text};
use ringway_testkit::{Client, Scratch};

/// A handshake as a client's, and what the server says of it: the status.
fn open(stand: &Stand, path: &str) -> (Client, String) {
    let mut client = stand.client();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.send(head.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.extend(client.exact(1).expect("a head"));
    }
    (client, String::from_utf8(answer).expect("ASCII"))
}

/// A short frame of a client's, under the key that changes nothing.
fn say(client: &mut Client, opcode: u8, payload: &[u8]) {
    let len = u8::try_from(payload.len()).expect("short");
    assert!(len < 126, "a short one");
    client.send(&[&[0x80 | opcode, 0x80 | len, 0, 0, 0, 0], payload].concat()).expect("it reads");
}

/// The next short frame of the server's.
fn hear(client: &mut Client) -> (u8, Vec<u8>) {
    let head = client.exact(2).expect("a frame");
    assert!(head[0] & 0x80 != 0 && head[1] < 126, "a short one, whole and not masked: {head:?}");
    (head[0] & 0xf, client.exact(head[1].into()).expect("its payload"))
}

fn joined(stand: &Stand, room: &str) -> Client {
    let (mut client, head) = open(stand, &format!("/ws/rooms/{room}"));
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert_eq!(hear(&mut client), (1, b"welcome".to_vec()));
    client
}

#[test]
fn sockets_of_a_library_talk_in_groups_and_close() {
    let scratch = Scratch::new("c-rooms");
    let library = build(&scratch, "rooms.c", "rooms", &[]);
    for driver in drivers() {
        let stand = Stand::start(driver, &library, "", As::Service("/ws"), 2);
        let mut red: Vec<Client> = (0..8).map(|_| joined(&stand, "red")).collect();
        let mut blue = joined(&stand, "blue");
        crate::eventually("nine sockets", || text(&stand.get("/ws/open")) == "9");
        say(&mut red[0], 1, "zu allen".as_bytes());
        for client in &mut red {
            assert_eq!(hear(client), (1, b"zu allen".to_vec()));
        }
        say(&mut blue, 2, b"\xff\0");
        assert_eq!(hear(&mut blue), (2, b"\xff\0".to_vec()), "and nothing of the red ones before");
        say(&mut red[1], 1, b"nonsense");
        assert_eq!(hear(&mut red[1]), (1, b"refused".to_vec()));
        say(&mut red[1], 1, b"leave");
        assert_eq!(hear(&mut red[1]), (1, b"left".to_vec()));
        say(&mut red[1], 1, b"without me");
        assert_eq!(hear(&mut red[2]), (1, b"without me".to_vec()));
        say(&mut red[1], 9, b"ping");
        assert_eq!(hear(&mut red[1]), (10, b"ping".to_vec()), "it has not heard what it said");
        say(&mut blue, 1, b"close");
        assert_eq!(hear(&mut blue), (8, [&4001_u16.to_be_bytes()[..], b"as you like"].concat()));
        say(&mut blue, 8, &4001_u16.to_be_bytes());
        crate::eventually("eight sockets", || text(&stand.get("/ws/open")) == "8");
        drop((red, blue));
        crate::eventually("no sockets", || text(&stand.get("/ws/open")) == "0");
        stand.stop();
    }
}

#[test]
fn what_is_no_handshake_is_told_so_and_messages_have_their_limit() {
    let scratch = Scratch::new("c-handshakes");
    let library = build(&scratch, "rooms.c", "rooms", &[]);
    let stand = Stand::start(drivers()[0], &library, "", As::Service("/ws"), 1);
    let answer = stand.get("/ws/rooms/red");
    assert_eq!((answer.status, answer.field("upgrade")), (426, Some("websocket")));
    let mut client = joined(&stand, "red");
    client.send(&[&[0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0][..], &[7; 1001]].concat()).expect("it reads");
    let (opcode, payload) = hear(&mut client);
    assert_eq!((opcode, &payload[..2]), (8, &1009_u16.to_be_bytes()[..]));
    drop(client);
    let plain = build(&scratch, "faults.c", "plain", &[]);
    stand.library.replace(&plain, "").expect("good");
    assert_eq!(text(&stand.get("/ws/fine")), "fine");
    stand.stop();
}

#[test]
fn sockets_live_on_in_their_version_when_it_is_replaced() {
    let scratch = Scratch::new("c-kept");
    let old = build(&scratch, "rooms.c", "rooms-old", &[]);
    let new = build(&scratch, "rooms.c", "rooms-new", &[]);
    let stand = Stand::start(drivers()[0], &old, "", As::Service("/ws"), 2);
    let mut before = joined(&stand, "red");
    stand.library.replace(&new, "").expect("good");
    let mut after = joined(&stand, "red");
    say(&mut before, 1, b"to both");
    assert_eq!((hear(&mut before), hear(&mut after)), ((1, b"to both".to_vec()), (1, b"to both".to_vec())));
    assert!(is_mapped("ringway-rooms-old-"), "a socket is open in it");
    drop(before);
    crate::eventually("the end of the old version", || !is_mapped("ringway-rooms-old-"));
    say(&mut after, 1, b"alone");
    assert_eq!(hear(&mut after), (1, b"alone".to_vec()));
    drop(after);
    let mut plain = stand.client();
    plain.send(get("/ws/open").as_bytes()).expect("it reads");
    assert_eq!(plain.answer(false).expect("an answer").status, 200);
    drop(plain);
    stand.stop();
}
