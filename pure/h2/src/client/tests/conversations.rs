//! Both machines talk to each other: whatever is said, and however it is split, arrives, and windows are never overrun.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::connection::{Buffers as ServerBuffers, Connection as Server, Event as ServerEvent};
use crate::frame::{HEAD_BYTES, Head, PAYLOAD_BYTES};

/// An exchange that is to take place.
#[derive(Clone, Debug)]
struct Exchange {
    path: String,
    fields: Vec<(String, String)>,
    request: Vec<u8>,
    status: u16,
    answer_fields: Vec<(String, String)>,
    answer: Vec<u8>,
    says_length: bool,
}

fn any_fields() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec(("x-[a-z]{1,3}|accept|range|x-request-id", "[a-z0-9]{0,12}"), 0..5)
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 1..50),
        (60_000..200_000_usize).prop_map(|len| vec![len.to_le_bytes()[0]; len]),
    ]
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    let status = prop_oneof![Just(200_u16), Just(404), Just(500), 200..204_u16, 400..600_u16];
    ("/[a-z]{0,9}", any_fields(), any_body(), status, any_fields(), any_body(), any::<bool>()).prop_map(
        |(path, fields, request, status, answer_fields, answer, says_length)| Exchange {
            path,
            fields,
            request,
            status,
            answer_fields,
            answer,
            says_length,
        },
    )
}

fn lines(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// What is still to be sent on a stream.
struct Outgoing {
    stream: u32,
    rest: Vec<u8>,
}

/// One side of the wire and what is on its way to the other.
struct Wire {
    bytes: Vec<u8>,
    sizes: Vec<usize>,
    turn: usize,
}

impl Wire {
    /// The next piece that arrives behind what was kept.
    fn piece(&mut self) -> Vec<u8> {
        let size = self.sizes[self.turn % self.sizes.len()].min(self.bytes.len());
        self.turn += 1;
        self.bytes.drain(..size).collect()
    }
}

/// Sends what the windows let be sent of every body, a little at a time.
fn pour(
    outgoing: &mut Vec<Outgoing>,
    mut room: impl FnMut(u32) -> usize,
    mut frame: impl FnMut(u32, &[u8], bool),
) {
    outgoing.retain_mut(|body| {
        let len = room(body.stream).min(PAYLOAD_BYTES).min(body.rest.len());
        let is_last = len == body.rest.len();
        if len > 0 || is_last {
            let piece: Vec<u8> = body.rest.drain(..len).collect();
            frame(body.stream, &piece, is_last);
        }
        !is_last
    });
}

/// Asserts that no frame is larger than is allowed.
fn check_frames(mut out: &[u8]) {
    while let Some(head) = Head::read(out.strip_prefix(crate::frame::PREFACE).unwrap_or(out)) {
        out = out.strip_prefix(crate::frame::PREFACE).unwrap_or(out);
        assert!(head.len as usize <= PAYLOAD_BYTES);
        out = &out[HEAD_BYTES + head.len as usize..];
    }
    assert!(out.is_empty());
}

/// Both sides, and what each has heard.
struct Talk<'e> {
    exchanges: &'e [Exchange],
    client: Connection,
    buffers: Buffers,
    server: Server,
    server_buffers: ServerBuffers,
    to_server: Wire,
    to_client: Wire,
    kept_by_server: Vec<u8>,
    kept_by_client: Vec<u8>,
    requests: Vec<Outgoing>,
    answers: Vec<Outgoing>,
    asked: HashMap<u32, (String, Vec<u8>)>,
    answered: HashMap<u32, (String, Vec<u8>, bool)>,
}

impl<'e> Talk<'e> {
    fn new(exchanges: &'e [Exchange], sizes: &[usize]) -> Self {
        let mut buffers = Buffers::default();
        let mut server_buffers = ServerBuffers::default();
        let wire = || Wire { bytes: Vec::new(), sizes: sizes.to_vec(), turn: 0 };
        let mut talk = Self {
            exchanges,
            client: Connection::new(Scheme::Https, Limits::client(), &mut buffers),
            server: Server::new(Limits::default(), &mut server_buffers),
            buffers,
            server_buffers,
            to_server: wire(),
            to_client: wire(),
            kept_by_server: Vec::new(),
            kept_by_client: Vec::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            asked: HashMap::new(),
            answered: HashMap::new(),
        };
        for exchange in exchanges {
            let head =
                format!("PUT {} HTTP/1.1\r\nHost: a.org\r\n{}\r\n", exchange.path, lines(&exchange.fields));
            let ends = exchange.request.is_empty();
            let stream = talk.client.request(head.as_bytes(), ends, &mut talk.buffers).expect("room");
            if !ends {
                talk.requests.push(Outgoing { stream, rest: exchange.request.clone() });
            }
        }
        talk
    }

    fn exchange(&self, stream: u32) -> &'e Exchange {
        &self.exchanges[(stream as usize - 1) / 2]
    }

    /// Until nothing more is said by either.
    fn run(&mut self) {
        for _ in 0..100_000 {
            let Self { client, buffers, server, server_buffers, .. } = self;
            let (client, server) = (std::cell::RefCell::new(client), std::cell::RefCell::new(server));
            pour(
                &mut self.requests,
                |stream| client.borrow().room(stream),
                |stream, piece, ends| {
                    assert!(client.borrow_mut().data(stream, piece.len(), ends, buffers));
                    buffers.out.extend_from_slice(piece);
                },
            );
            pour(
                &mut self.answers,
                |stream| server.borrow().room(stream),
                |stream, piece, ends| {
                    assert!(server.borrow_mut().data(stream, piece.len(), ends, server_buffers));
                    server_buffers.out.extend_from_slice(piece);
                },
            );
            check_frames(&self.buffers.out);
            check_frames(&self.server_buffers.out);
            self.to_server.bytes.append(&mut self.buffers.out);
            self.to_client.bytes.append(&mut self.server_buffers.out);
            if self.to_server.bytes.is_empty() && self.to_client.bytes.is_empty() {
                return;
            }
            self.serve();
            self.listen();
        }
        panic!("they do not come to an end");
    }

    fn serve(&mut self) {
        let mut input = std::mem::take(&mut self.kept_by_server);
        input.append(&mut self.to_server.piece());
        let mut at = 0;
        loop {
            let step = self.server.receive(&input[at..], 0, &mut self.server_buffers).expect("sound");
            let from = at;
            at += step.consumed;
            match step.event {
                None => break,
                Some(ServerEvent::Request { stream, ends }) => {
                    let head = String::from_utf8(self.server_buffers.head().to_vec()).unwrap();
                    self.asked.insert(stream, (head, Vec::new()));
                    if ends {
                        self.answer(stream);
                    }
                }
                Some(ServerEvent::Data { stream, at: piece, ends }) => {
                    let bytes = &input[from..][piece];
                    self.asked.get_mut(&stream).expect("it began").1.extend_from_slice(bytes);
                    let count = u32::try_from(bytes.len()).unwrap();
                    self.server.consume(stream, count, &mut self.server_buffers);
                    if ends {
                        self.answer(stream);
                    }
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        self.kept_by_server = input.split_off(at);
    }

    fn answer(&mut self, stream: u32) {
        let exchange = self.exchange(stream);
        let length = format!("Content-Length: {}\r\n", exchange.answer.len());
        let length = if exchange.says_length { &length } else { "" };
        let head =
            format!("HTTP/1.1 {} X\r\n{length}{}\r\n", exchange.status, lines(&exchange.answer_fields));
        assert!(self.server.respond(stream, head.as_bytes(), false, &mut self.server_buffers));
        self.answers.push(Outgoing { stream, rest: exchange.answer.clone() });
    }

    fn listen(&mut self) {
        let mut input = std::mem::take(&mut self.kept_by_client);
        input.append(&mut self.to_client.piece());
        let mut at = 0;
        loop {
            let step = self.client.receive(&input[at..], 0, &mut self.buffers).expect("sound");
            let from = at;
            at += step.consumed;
            match step.event {
                None => break,
                Some(Event::Answer { stream, ends }) => {
                    let head = String::from_utf8(self.buffers.head().to_vec()).unwrap();
                    self.answered.insert(stream, (head, Vec::new(), ends));
                }
                Some(Event::Data { stream, at: piece, ends }) => {
                    let answer = self.answered.get_mut(&stream).expect("it began");
                    answer.1.extend_from_slice(&input[from..][piece.clone()]);
                    answer.2 |= ends;
                    self.client.consume(stream, u32::try_from(piece.len()).unwrap(), &mut self.buffers);
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        self.kept_by_client = input.split_off(at);
    }
}

/// Lengths of bodies that no window holds at once take many turns.
const CASES: u32 = 48;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn whatever_is_said_arrives(
        exchanges in proptest::collection::vec(any_exchange(), 1..8),
        sizes in proptest::collection::vec(1..40_000_usize, 1..6),
    ) {
        let mut talk = Talk::new(&exchanges, &sizes);
        talk.run();
        prop_assert_eq!((talk.client.streams(), talk.server.streams()), (0, 0));
        for (place, exchange) in exchanges.iter().enumerate() {
            let stream = u32::try_from(place * 2 + 1).unwrap();
            let (head, body) = &talk.asked[&stream];
            let framing = if exchange.request.is_empty() { "" } else { "transfer-encoding: chunked\r\n" };
            let expected =
                format!("PUT {} HTTP/1.1\r\nhost: a.org\r\n{}{framing}\r\n", exchange.path, lines(&exchange.fields));
            prop_assert_eq!(head, &expected);
            prop_assert!(*body == exchange.request);
            let (head, body, is_whole) = &talk.answered[&stream];
            let length = format!("content-length: {}\r\n", exchange.answer.len());
            let (before, behind) = match exchange.says_length {
                true => (length.as_str(), ""),
                false => ("", "transfer-encoding: chunked\r\n"),
            };
            let fields = format!("{before}{}{behind}", lines(&exchange.answer_fields));
            prop_assert_eq!(head, &text(&exchange.status.to_string(), &fields));
            prop_assert!(*body == exchange.answer && *is_whole);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_open in any::<bool>()) {
        let bytes = if is_open { [settings(&[]), bytes].concat() } else { bytes };
        let requests = [GET, POST, HEAD];
        let whole = feed(&requests, &bytes, std::iter::empty(), Limits::client(), idle);
        prop_assert_eq!(feed(&requests, &bytes, 1..bytes.len(), Limits::client(), idle), whole);
    }

    #[test]
    fn no_split_changes_an_outcome(
        frames in proptest::collection::vec(any_frame(), 0..24),
        stops in proptest::collection::vec(any::<u16>(), 0..6),
    ) {
        let bytes = [settings(&[]), frames.concat()].concat();
        let limits = Limits { resets_burst: 5, idle_frames_burst: 8, ..Limits::client() };
        let requests = [GET, POST, HEAD, GET];
        let whole = feed(&requests, &bytes, std::iter::empty(), limits, busy);
        let mut stops: Vec<usize> = stops.iter().map(|stop| usize::from(*stop) % (bytes.len() + 1)).collect();
        stops.sort_unstable();
        prop_assert_eq!(&feed(&requests, &bytes, stops.into_iter(), limits, busy), &whole);
        prop_assert_eq!(&feed(&requests, &bytes, 1..bytes.len(), limits, busy), &whole);
    }
}

/// A frame that is often sound.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0_u32), Just(1), Just(3), Just(5), Just(7), 0..20_u32];
    let payload = prop_oneof![
        Just(fields(&[(":status", "200")])),
        Just(fields(&[(":status", "103")])),
        Just(vec![0x88, 0x5c, 1, b'3']),
        Just(vec![0x88, 0x40, 1, b'k', 1, b'v']),
        Just(vec![0x88, 0xbe]),
        Just(vec![0; 4]),
        Just(vec![0; 8]),
        Just(vec![0, 0, 0, 3, 0, 0, 0, 0]),
        Just(vec![0, 0, 0, 7]),
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (0..11_u8, prop_oneof![Just(0_u8), Just(1), Just(4), Just(5), any::<u8>()], stream, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(Kind(kind), flags, stream, &payload))
}

/// A client that gives some requests up, and asks again where others failed.
fn busy(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    match event {
        Event::Answer { stream: 3, .. } => connection.reset(3, Code::CANCEL, buffers),
        Event::Failed { .. } => {
            let _full_or_leaving = connection.request(GET.as_bytes(), true, buffers);
        }
        Event::Interim { stream } => {
            let _gone_or_whole = connection.data(*stream, 0, true, buffers);
        }
        _ => {}
    }
}
