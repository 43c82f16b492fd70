//! What goes out: heads without what belongs to HTTP/1.1, bodies within the windows (RFC 9113 sections 5.2, 6.9 and 8.2).

use super::*;
use crate::frame::setting;
use crate::hpack::{Decoder, FieldSink};

#[derive(Default)]
struct List(Vec<(String, String)>);

impl FieldSink for List {
    type Class = ();

    fn classify(_name: &[u8], _value: &[u8]) {}

    fn field(&mut self, (): (), name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.0.push((text(name), text(value)));
    }
}

/// A server whose client has sent these frames, and the decoder of that client.
struct Stand {
    connection: Connection,
    buffers: Buffers,
    decoder: Decoder<()>,
}

impl Stand {
    fn new(frames: &[Vec<u8>]) -> Self {
        let mut buffers = Buffers::default();
        let connection = Connection::new(Limits::default(), &mut buffers);
        let mut stand = Self { connection, buffers, decoder: Decoder::default() };
        stand.take(&opened(frames));
        stand
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut at = 0;
        loop {
            let step = self.connection.receive(&bytes[at..], 0, &mut self.buffers).expect("no fault");
            at += step.consumed;
            if step.event.is_none() {
                break;
            }
        }
        assert_eq!(at, bytes.len());
        self.buffers.out.clear();
    }

    fn respond(&mut self, stream: u32, text: &str, ends: bool) -> bool {
        self.connection.respond(stream, text.as_bytes(), ends, &mut self.buffers)
    }

    fn sent(&mut self) -> Vec<Sent> {
        sent(&std::mem::take(&mut self.buffers.out))
    }

    fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut list = List::default();
        self.decoder.decode(block, &mut Vec::new(), &mut list).expect("sound");
        list.0
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn s8_2_names_are_lowered_and_fields_of_a_connection_left_out() {
    let mut stand = Stand::new(&[get(1), get(3)]);
    let text = "HTTP/1.1 206 Partial Content\r\nDate: now\r\nConnection: close\r\nKeep-Alive: 5\r\n\
                Content-Length: 5\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nX:\r\n\r\n";
    for stream in [1, 3] {
        assert!(stand.respond(stream, text, false));
        let frames = stand.sent();
        assert_eq!((frames.len(), frames[0].kind, frames[0].flags), (1, Kind::HEADERS, 4));
        let fields = stand.fields(&frames[0].payload);
        let expected = [(":status", "206"), ("date", "now"), ("content-length", "5"), ("x", "")];
        assert_eq!(fields, pairs(&expected));
    }
}

#[test]
fn s8_1_a_stream_has_one_answer_and_interim_ones_before_it() {
    let mut stand = Stand::new(&[post(1)]);
    assert!(stand.respond(1, "HTTP/1.1 100 Continue\r\n\r\n", false));
    assert!(stand.respond(1, "HTTP/1.1 200 OK\r\n\r\n", true));
    assert!(!stand.respond(1, "HTTP/1.1 200 OK\r\n\r\n", true), "it has ended");
    assert!(!stand.respond(3, "HTTP/1.1 200 OK\r\n\r\n", true), "it never was");
    let flags: Vec<u8> = stand.sent().iter().map(|sent| sent.flags).collect();
    assert_eq!(flags, [4, 5]);
    assert_eq!((stand.connection.streams(), stand.connection.room(1)), (1, 0), "its body may still come");
    stand.take(&data(1, 1, b"late"));
    assert_eq!(stand.connection.streams(), 0);
}

#[test]
fn s4_3_long_heads_are_continued() {
    let mut stand = Stand::new(&[get(1)]);
    let value = "\u{e9}".repeat(20_000);
    assert!(stand.respond(1, &format!("HTTP/1.1 200 OK\r\nX: {value}\r\n\r\n"), true));
    let frames = stand.sent();
    assert_eq!(frames.iter().map(|sent| sent.kind).collect::<Vec<_>>()[1..], [Kind::CONTINUATION; 2]);
    let block: Vec<u8> = frames.iter().flat_map(|sent| sent.payload.clone()).collect();
    assert_eq!(stand.fields(&block), pairs(&[(":status", "200"), ("x", &value)]));
}

#[test]
fn s5_2_data_stays_within_both_windows() {
    let mut stand = Stand::new(&[get(1), get(3)]);
    for stream in [1, 3] {
        assert!(stand.respond(stream, "HTTP/1.1 200 OK\r\n\r\n", false));
        assert_eq!(stand.connection.room(stream), 65_535);
    }
    for len in [16_384, 16_384, 16_384, 16_383] {
        assert!(stand.connection.data(1, len, false, &mut stand.buffers));
    }
    assert_eq!((stand.connection.room(1), stand.connection.room(3)), (0, 0), "the connection's is used up");
    assert!(stand.connection.is_stalled(1) == stand.connection.is_stalled(3), "it is not a stream's fault");
    assert!(!stand.connection.data(3, 1, false, &mut stand.buffers));
    stand.take(&window_update(0, 10));
    assert_eq!((stand.connection.room(1), stand.connection.room(3)), (0, 10));
    assert!(stand.connection.is_stalled(1) && !stand.connection.is_stalled(3));
    assert!(!stand.connection.data(3, 11, true, &mut stand.buffers));
    assert!(stand.connection.data(3, 10, true, &mut stand.buffers));
    assert!(!stand.connection.has(3));
    // Section 6.9: an empty frame that ends a stream needs no window.
    assert!(stand.connection.data(1, 0, true, &mut stand.buffers));
    assert_eq!((stand.connection.streams(), stand.connection.sent_bytes()), (0, 65_545));
}

#[test]
fn s6_9_2_windows_move_with_the_setting_and_below_nothing() {
    let mut stand = Stand::new(&[settings(&[(setting::INITIAL_WINDOW_SIZE, 100)]), get(1)]);
    assert!(stand.respond(1, "HTTP/1.1 200 OK\r\n\r\n", false));
    assert!(stand.connection.data(1, 100, false, &mut stand.buffers));
    stand.take(&settings(&[(setting::INITIAL_WINDOW_SIZE, 50)]));
    assert_eq!(stand.connection.room(1), 0);
    stand.take(&window_update(1, 60));
    assert_eq!(stand.connection.room(1), 10, "it was 50 below nothing");
    stand.take(&settings(&[(setting::INITIAL_WINDOW_SIZE, 70)]));
    assert_eq!(stand.connection.room(1), 30);
}

#[test]
fn s4_2_frames_are_never_larger_than_every_peer_takes() {
    let mut stand = Stand::new(&[settings(&[(setting::MAX_FRAME_SIZE, 100_000)]), get(1)]);
    assert!(stand.respond(1, "HTTP/1.1 200 OK\r\n\r\n", false));
    assert!(!stand.connection.data(1, 16_385, false, &mut stand.buffers));
    assert!(stand.connection.data(1, 16_384, false, &mut stand.buffers));
}

#[test]
fn s8_1_the_rest_of_a_request_can_be_given_up() {
    let mut stand = Stand::new(&[post(1)]);
    assert!(stand.respond(1, "HTTP/1.1 413 Content Too Large\r\n\r\n", true));
    stand.buffers.out.clear();
    stand.connection.reset(1, Code::NO_ERROR, &mut stand.buffers);
    stand.connection.reset(1, Code::NO_ERROR, &mut stand.buffers);
    let frames = stand.sent();
    assert_eq!(frames, [Sent { kind: Kind::RST_STREAM, flags: 0, stream: 1, payload: vec![0; 4] }], "once");
}

/// RFC 7541 section 4.2: the table shrinks as the peer's setting says, and the next head says so.
#[test]
fn s4_3_1_the_table_follows_the_peer() {
    let mut stand = Stand::new(&[get(1), get(3), get(5)]);
    let text = "HTTP/1.1 200 OK\r\nServer: Ringway\r\n\r\n";
    assert!(stand.respond(1, text, true));
    let block = stand.sent()[0].payload.clone();
    stand.fields(&block);
    stand.take(&settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
    for (stream, first) in [(3, 0x20), (5, 0x88)] {
        assert!(stand.respond(stream, text, true));
        let block = stand.sent()[0].payload.clone();
        assert_eq!(block[0], first);
        assert_eq!(stand.fields(&block), pairs(&[(":status", "200"), ("server", "Ringway")]));
    }
}
