//! One end of a WebSocket over a socket that waits: what any program does with the machines.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ringway_http::head::{HeadScan, Limits as HeadLimits, Request};
use ringway_http::reply::{Limits as ReplyLimits, Reply, ReplyScan};
use ringway_testkit::{Rng, Seed};
use ringway_ws::close::{self, CONTROL_FRAME_BYTES_MAX, Close, CloseState};
use ringway_ws::decoder::{Decoder, Event, Limits, Message, Step};
use ringway_ws::deflate::{Agreement, Deflater, Inflater, Options, Spare};
use ringway_ws::frame::Opcode;
use ringway_ws::handshake::{Ask, ClientHandshake, Upgrade};
use ringway_ws::{Kind, Role, encoder};

/// The suite's largest messages have 16 MiB.
const LIMITS: Limits = Limits { message_bytes_max: 32 << 20, frame_bytes_max: 32 << 20 };

/// What is received at a time, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How long the other end may take to end a connection that is over.
const LINGER: Duration = Duration::from_secs(2);

/// A message that was received.
pub(crate) enum Heard {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// One end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    role: Role,
    decoder: Decoder,
    deflater: Option<Deflater>,
    state: CloseState,
    input: Vec<u8>,
    output: Vec<u8>,
    /// What the next input is to have at least.
    bytes_min: usize,
    rng: Rng,
}

impl Peer {
    /// The server's end, once the client has asked for it.
    pub(crate) fn accept(mut stream: TcpStream, options: &Options) -> Option<Self> {
        let mut input = Vec::new();
        let mut scan = HeadScan::new();
        let limits = HeadLimits::default();
        let end = loop {
            receive(&mut stream, &mut input)?;
            if let Some(end) = scan.find(&input, &limits).ok()? {
                break end;
            }
        };
        let request = Request::parse(&input[..end], &limits).ok()?;
        let upgrade = Upgrade::read(&request).expect("the suite's handshakes are sound")?;
        let agreement = upgrade.deflate(options);
        let mut answer =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
        upgrade.answer(None, agreement.as_ref(), &mut answer);
        answer.extend_from_slice(b"\r\n");
        stream.write_all(&answer).ok()?;
        let rest = input.split_off(end);
        Some(Self::new(stream, Role::Server, agreement.as_ref(), options, rest))
    }

    /// The client's end.
    pub(crate) fn connect(mut stream: TcpStream, ask: &Ask<'_>) -> Self {
        let mut rng = Seed::take().rng();
        let handshake =
            ClientHandshake::new((u128::from(rng.bits()) << 64 | u128::from(rng.bits())).to_ne_bytes());
        let mut request = Vec::new();
        handshake.write(ask, &mut request).expect("a sound request");
        stream.write_all(&request).expect("the suite reads");
        let (mut input, mut scan, limits) = (Vec::new(), ReplyScan::new(), ReplyLimits::default());
        let end = loop {
            receive(&mut stream, &mut input).expect("the suite answers");
            if let Some(end) = scan.find(&input, &limits).expect("a sound answer") {
                break end;
            }
        };
        let reply = Reply::parse(&input[..end], false, &limits).expect("a sound answer");
        let agreement = handshake.check(&reply, ask).expect("an answer to this request").deflate;
        let options = ask.deflate.copied().unwrap_or_default();
        let rest = input.split_off(end);
        Self::new(stream, Role::Client, agreement.as_ref(), &options, rest)
    }

    fn new(
        stream: TcpStream,
        role: Role,
        agreement: Option<&Agreement>,
        options: &Options,
        input: Vec<u8>,
    ) -> Self {
        stream.set_nodelay(true).expect("a socket");
        let spare = Rc::new(Spare::new());
        let decoder = match agreement {
            None => Decoder::new(role, LIMITS),
            Some(agreement) => {
                Decoder::with_deflate(role, LIMITS, Inflater::new(role, agreement, Rc::clone(&spare)))
            }
        };
        let deflater = agreement.map(|agreement| Deflater::new(role, agreement, options, spare));
        let (state, rng) = (CloseState::Open, Seed::take().rng());
        Self { stream, role, decoder, deflater, state, input, output: Vec::new(), bytes_min: 1, rng }
    }

    /// Sends every message back until the connection is over.
    pub(crate) fn echo(&mut self) {
        while let Some(heard) = self.hear() {
            match heard {
                Heard::Text(text) => self.say(Kind::Text, text.as_bytes()),
                Heard::Binary(bytes) => self.say(Kind::Binary, &bytes),
            }
        }
    }

    /// The next message; `None` when the connection is over. Control frames are answered on the way.
    pub(crate) fn hear(&mut self) -> Option<Heard> {
        loop {
            if self.input.len() >= self.bytes_min
                && let Some(heard) = self.turn()
            {
                return Some(heard);
            }
            self.flush()?;
            if self.state.is_over() {
                self.end();
                return None;
            }
            if self.input.len() < self.bytes_min {
                receive(&mut self.stream, &mut self.input)?;
            }
        }
    }

    /// One step of the decoder.
    fn turn(&mut self) -> Option<Heard> {
        let (mut consumed, mut heard, mut answer) = (0, None, None);
        let key = self.key();
        match self.decoder.next(&mut self.input) {
            Ok(Step::NeedMore { consumed: done, bytes_min }) => {
                (consumed, self.bytes_min) = (done, bytes_min);
            }
            Ok(Step::Event { consumed: done, event }) => {
                (consumed, self.bytes_min) = (done, 1);
                match event {
                    Event::Message { message: Message::Text(text), .. } => {
                        heard = Some(Heard::Text(text.to_owned()))
                    }
                    Event::Message { message: Message::Binary(bytes), .. } => {
                        heard = Some(Heard::Binary(bytes.to_vec()));
                    }
                    Event::Ping(payload) => {
                        let mut frame = [0; CONTROL_FRAME_BYTES_MAX];
                        let end = close::control(&mut frame, Opcode::Pong, payload, key);
                        self.output.extend_from_slice(&frame[..end]);
                    }
                    Event::Pong(_) => {}
                    Event::Close(close) => {
                        answer = self.state.received(&close);
                        assert!(answer.is_none() || self.state.close());
                    }
                }
            }
            Err(fault) => answer = self.state.fail(fault),
        }
        if let Some(close) = answer {
            let mut frame = [0; CONTROL_FRAME_BYTES_MAX];
            let end = close::write(&mut frame, &Close { reason: close.reason, ..close }, key);
            self.output.extend_from_slice(&frame[..end]);
        }
        self.input.drain(..consumed);
        heard
    }

    fn say(&mut self, kind: Kind, payload: &[u8]) {
        let key = self.key();
        match &mut self.deflater {
            Some(deflater) => {
                encoder::message(kind, payload, key, deflater, &mut self.output);
            }
            None => encoder::frame(kind.into(), payload, key, &mut self.output),
        }
    }

    /// A fresh key for a client's frame.
    fn key(&mut self) -> Option<[u8; 4]> {
        let [key @ .., _, _, _, _] = self.rng.bits().to_ne_bytes();
        (self.role == Role::Client).then_some(key)
    }

    fn flush(&mut self) -> Option<()> {
        let sent = self.stream.write_all(&self.output).ok();
        self.output.clear();
        sent
    }

    /// The server ends the connection and reads what still comes, so that its last bytes arrive; the client waits for that.
    fn end(&mut self) {
        if self.role == Role::Server {
            let _gone = self.stream.shutdown(Shutdown::Write);
        }
        self.stream.set_read_timeout(Some(LINGER)).expect("a time");
        self.input.clear();
        while receive(&mut self.stream, &mut self.input).is_some() {
            self.input.clear();
        }
    }
}

/// Adds what comes next; `None` at the end.
fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let before = input.len();
    input.resize(before + PIECE_BYTES, 0);
    let count = stream.read(&mut input[before..]).unwrap_or(0);
    input.truncate(before + count);
    (count > 0).then_some(())
}
