//! A client of HTTP/2 that says exactly what it is told to, and hears everything.

use crate::server::{PATIENCE, Server};
use ringway_h2::code::Code;
use ringway_h2::frame::{HEAD_BYTES, Head, Kind, PREFACE, write_settings, write_window_update};
use ringway_h2::hpack::{Decoder, FieldSink};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// Flags of a request that is whole.
pub(super) const WHOLE: u8 = 0x5;

/// Flags of a request whose body follows.
pub(super) const OPEN: u8 = 0x4;

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Whether it ends its stream.
    pub(super) fn ends(&self) -> bool {
        matches!(self.kind, Kind::DATA | Kind::HEADERS) && self.flags & 1 != 0
    }

    /// The code at the end of RST_STREAM and GOAWAY.
    pub(super) fn code(&self) -> Code {
        let at = if self.kind == Kind::GOAWAY { 4 } else { 0 };
        Code(u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes")))
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }
}

#[derive(Debug, Default)]
struct List(Vec<(String, String)>);

impl FieldSink for List {
    type Class = ();

    fn classify(_name: &[u8], _value: &[u8]) {}

    fn field(&mut self, (): (), name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(name), text(value)));
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Peer {
    tcp: TcpStream,
    decoder: Decoder<()>,
    /// Of the last HEADERS.
    fields: Vec<(String, String)>,
    /// Whether windows are opened again for what comes.
    pub(super) gives_back: bool,
}

impl Peer {
    /// A connection on which both have said their settings.
    pub(super) fn open(server: &Server) -> Self {
        Self::on(tcp(server), &[])
    }

    /// The same on a socket at hand, with settings.
    pub(super) fn on(tcp: TcpStream, settings: &[(u16, u32)]) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut peer = Self { tcp, decoder: Decoder::default(), fields: Vec::new(), gives_back: true };
        let mut bytes = PREFACE.to_vec();
        write_settings(&mut bytes, settings);
        peer.send(&bytes);
        assert_eq!(peer.wait_for(Kind::SETTINGS).flags, 0, "the server's own come first");
        assert_eq!(peer.wait_for(Kind::SETTINGS).flags, 1);
        peer.send(&frame(Kind::SETTINGS, 1, 0, &[]));
        peer
    }

    /// A connection on which nothing was said.
    pub(super) fn silent(server: &Server) -> Self {
        let tcp = tcp(server);
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { tcp, decoder: Decoder::default(), fields: Vec::new(), gives_back: true }
    }

    /// Says this; that nobody listens any more is not said.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _gone = self.tcp.write_all(bytes);
    }

    /// Whether what is sent still arrives anywhere.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).is_ok()
    }

    /// Asks for a path.
    pub(super) fn get(&mut self, stream: u32, path: &str) {
        self.send(&headers(stream, WHOLE, &request("GET", path, &[])));
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; HEAD_BYTES];
        if !self.fill(&mut head) {
            return None;
        }
        let head = Head::read(&head).expect("nine bytes");
        let mut payload = vec![0; head.len as usize];
        assert!(self.fill(&mut payload) || payload.is_empty(), "a whole frame");
        if head.kind == Kind::HEADERS {
            let mut list = List::default();
            self.decoder.decode(&payload, &mut Vec::new(), &mut list).expect("a field section");
            self.fields = list.0;
        }
        if head.kind == Kind::DATA && self.gives_back && head.len > 0 {
            let mut update = Vec::new();
            write_window_update(&mut update, 0, head.len);
            if head.flags & 1 == 0 {
                write_window_update(&mut update, head.stream, head.len);
            }
            self.send(&update);
        }
        Some(Frame { kind: head.kind, flags: head.flags, stream: head.stream, payload })
    }

    /// The next frame of this kind; others are passed over, but not the end.
    pub(super) fn wait_for(&mut self, kind: Kind) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the end, instead of {kind:?}"));
            if frame.kind == kind {
                return frame;
            }
            assert_ne!(frame.kind, Kind::GOAWAY, "{:?} instead of {kind:?}", frame.code());
        }
    }

    /// The answer on a stream; frames of others are passed over.
    pub(super) fn answer(&mut self, stream: u32) -> Answer {
        let (mut fields, mut body) = (Vec::new(), Vec::new());
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("the end, instead of an answer on {stream}"));
            if frame.stream != stream {
                assert_ne!(frame.kind, Kind::GOAWAY, "{:?}", frame.code());
                continue;
            }
            assert_ne!(frame.kind, Kind::RST_STREAM, "{:?}", frame.code());
            if frame.kind == Kind::HEADERS {
                fields = std::mem::take(&mut self.fields);
            }
            if frame.kind == Kind::DATA {
                body.extend_from_slice(&frame.payload);
            }
            if frame.ends() {
                let status = fields.remove(0);
                assert_eq!(status.0, ":status");
                return Answer { status: status.1.parse().expect("a number"), fields, body };
            }
        }
    }

    /// Asserts that the connection ends with GOAWAY and this code.
    #[track_caller]
    pub(super) fn ends_with(&mut self, code: Code, why: &str) {
        let mut goaway = None;
        while let Some(frame) = self.next() {
            if frame.kind == Kind::GOAWAY {
                goaway = Some(frame.code());
            }
        }
        assert_eq!(goaway, Some(code), "{why}");
    }

    /// Asserts that the connection lives: a PING is answered.
    #[track_caller]
    pub(super) fn lives(&mut self) {
        self.send(&frame(Kind::PING, 0, 0, b"stillthr"));
        loop {
            let pong = self.wait_for(Kind::PING);
            if pong.flags == 1 && pong.payload == b"stillthr" {
                return;
            }
        }
    }

    /// Whether all of it came; not when the connection ended.
    fn fill(&mut self, memory: &mut [u8]) -> bool {
        match self.tcp.read_exact(memory) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                false
            }
            Err(error) => panic!("nothing comes: {error}"),
        }
    }
}

/// A connection on which nothing was said.
pub(super) fn tcp(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// A frame as a client sends it.
pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("24 bits");
    [&Head { len, kind, flags, stream }.bytes()[..], payload].concat()
}

/// HEADERS of these fields.
pub(super) fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(Kind::HEADERS, flags, stream, block)
}

/// A field section without indexing: everything literal and plain.
pub(super) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name, value] {
            match u8::try_from(text.len()) {
                Ok(len @ 0..127) => block.push(len),
                _ => {
                    let rest = text.len() - 127;
                    block.extend([0x7f, u8::try_from(rest % 128).expect("below 128") | 0x80]);
                    block.push(u8::try_from(rest / 128).expect("short fields"));
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A request's fields.
pub(super) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let list = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")];
    fields(&[&list[..], more].concat())
}

/// A DATA frame.
pub(super) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(Kind::DATA, flags, stream, payload)
}

/// A WINDOW_UPDATE frame.
pub(super) fn window_update(stream: u32, step: u32) -> Vec<u8> {
    frame(Kind::WINDOW_UPDATE, 0, stream, &step.to_be_bytes())
}

/// A RST_STREAM frame.
pub(super) fn reset(stream: u32, code: Code) -> Vec<u8> {
    frame(Kind::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

/// A SETTINGS frame.
pub(super) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    write_settings(&mut out, list);
    out
}
