//! A backend that speaks HTTP/2 and does with requests what a test wants: this crate's own machine behind a plain socket.

use ringway_h2::code::Code;
use ringway_h2::connection::{Buffers, Connection, Event};
use ringway_h2::frame::{PAYLOAD_BYTES, write_goaway};
use ringway_h2::limits::Limits;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// What is done with a request once it is whole.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answer 200 with this, whose length is said.
    Answer(Vec<u8>),
    /// Answer 200 with the request's own body, whose length is not said.
    Echo,
    /// Refuse the stream.
    Refuse,
    /// Reset the stream.
    Reset(Code),
    /// Say that no request was served, this one included, and close.
    Leave,
    /// Begin an answer of that many bytes and reset the stream within it.
    Tear(usize),
    /// Nothing.
    Hang,
}

/// Number of the connection, number of the request on it, the head as HTTP/1.1 has it.
type Script = dyn Fn(usize, usize, &str) -> Act + Send + Sync;

/// A backend. Dropped, it listens no more.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    limits: Limits,
    accepted: AtomicUsize,
    served: AtomicUsize,
    is_dead: AtomicBool,
}

impl Peer {
    pub(crate) fn new(script: impl Fn(usize, usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::with(Limits::default(), script)
    }

    pub(crate) fn with(
        limits: Limits,
        script: impl Fn(usize, usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            limits,
            accepted: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub(crate) fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.is_dead.store(true, Ordering::SeqCst);
        let _wakes_it = TcpStream::connect(self.address);
        self.accepting.take().unwrap().join().unwrap();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept() else { return };
        if shared.is_dead.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || Talk::new(number, &shared).run(socket));
    }
}

/// One connection.
struct Talk<'s> {
    number: usize,
    shared: &'s Shared,
    machine: Connection,
    buffers: Buffers,
    /// Requests whose bodies are to come: stream, head, body so far.
    asked: Vec<(u32, String, Vec<u8>)>,
    /// Bodies of answers: stream, the rest, whether it is torn in the end.
    answers: Vec<(u32, Vec<u8>, bool)>,
    requests: usize,
    is_over: bool,
}

impl<'s> Talk<'s> {
    fn new(number: usize, shared: &'s Shared) -> Self {
        let mut buffers = Buffers::default();
        let machine = Connection::new(shared.limits, &mut buffers);
        let (asked, answers) = (Vec::new(), Vec::new());
        Self { number, shared, machine, buffers, asked, answers, requests: 0, is_over: false }
    }

    fn run(mut self, mut socket: TcpStream) {
        let (mut input, mut buffer) = (Vec::new(), [0; 30_000]);
        loop {
            self.pour();
            if socket.write_all(&std::mem::take(&mut self.buffers.out)).is_err() {
                return;
            }
            if std::mem::take(&mut self.is_over) {
                let _gone_already = socket.shutdown(Shutdown::Write);
            }
            match socket.read(&mut buffer) {
                Ok(count) if count > 0 => input.extend_from_slice(&buffer[..count]),
                _ => return,
            }
            let mut at = 0;
            while let Ok(step) = self.machine.receive(&input[at..], 0, &mut self.buffers) {
                let from = at;
                at += step.consumed;
                let Some(event) = step.event else { break };
                self.take(event, &input[from..]);
            }
            input.drain(..at);
        }
    }

    fn take(&mut self, event: Event, input: &[u8]) {
        match event {
            Event::Request { stream, ends } => {
                let head = String::from_utf8_lossy(self.buffers.head()).into_owned();
                self.asked.push((stream, head, Vec::new()));
                if ends {
                    self.act(stream);
                }
            }
            Event::Data { stream, at, ends } => {
                let Some(asked) = self.asked.iter_mut().find(|asked| asked.0 == stream) else { return };
                asked.2.extend_from_slice(&input[at.clone()]);
                self.machine.consume(stream, u32::try_from(at.len()).unwrap(), &mut self.buffers);
                if ends {
                    self.act(stream);
                }
            }
            Event::Reset { stream } => self.asked.retain(|asked| asked.0 != stream),
            Event::Oversized { .. } => {}
        }
    }

    fn act(&mut self, stream: u32) {
        let place = self.asked.iter().position(|asked| asked.0 == stream).unwrap();
        let (_, head, body) = self.asked.swap_remove(place);
        let act = (self.shared.script)(self.number, self.requests, &head);
        self.requests += 1;
        self.shared.served.fetch_add(1, Ordering::SeqCst);
        match act {
            Act::Answer(body) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Peer: h2\r\n\r\n", body.len());
                assert!(self.machine.respond(stream, head.as_bytes(), false, &mut self.buffers));
                self.answers.push((stream, body, false));
            }
            Act::Echo => {
                assert!(self.machine.respond(stream, b"HTTP/1.1 200 OK\r\n\r\n", false, &mut self.buffers));
                self.answers.push((stream, body, false));
            }
            Act::Refuse => self.machine.reset(stream, Code::REFUSED_STREAM, &mut self.buffers),
            Act::Reset(code) => self.machine.reset(stream, code, &mut self.buffers),
            Act::Leave => {
                write_goaway(&mut self.buffers.out, 0, Code::NO_ERROR);
                self.is_over = true;
            }
            Act::Tear(bytes) => {
                assert!(self.machine.respond(stream, b"HTTP/1.1 200 OK\r\n\r\n", false, &mut self.buffers));
                self.answers.push((stream, vec![b'x'; bytes], true));
            }
            Act::Hang => {}
        }
    }

    /// Sends what the windows allow.
    fn pour(&mut self) {
        let Self { machine, buffers, answers, .. } = self;
        answers.retain_mut(|(stream, rest, is_torn)| {
            while machine.has(*stream) {
                let len = machine.room(*stream).min(PAYLOAD_BYTES).min(rest.len());
                let is_last = len == rest.len();
                if len == 0 && !rest.is_empty() {
                    return true;
                }
                if machine.data(*stream, len, is_last && !*is_torn, buffers) {
                    buffers.out.extend(rest.drain(..len));
                }
                if is_last {
                    if *is_torn {
                        machine.reset(*stream, Code::INTERNAL_ERROR, buffers);
                    }
                    return false;
                }
            }
            false
        });
    }
}
