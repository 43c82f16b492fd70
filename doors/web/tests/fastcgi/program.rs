//! Programs that a test writes itself, on the other side of FastCGI.

use ringway_http::fastcgi::{Asked, End, Head, Kind, Pairs, Responder, end_record};
use ringway_testkit::Scratch;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One request, as the program has it.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) keep: bool,
}

impl Request {
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// A connection that a program serves.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) stream: UnixStream,
    responder: Responder,
    input: Vec<u8>,
    /// Requests on this connection before this one.
    pub(crate) before: usize,
    /// Connections before this one.
    pub(crate) number: usize,
}

/// What a program does with a connection that has a request; `false`: it closes it.
pub(crate) type Act = dyn Fn(&mut Served, &Request) -> io::Result<bool> + Send + Sync;

/// A program with a socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    socket: PathBuf,
    is_over: Arc<AtomicBool>,
    pub(crate) connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    pub(crate) fn start(
        place: &Scratch,
        name: &str,
        act: impl Fn(&mut Served, &Request) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let socket = place.path().join(format!("{name}.sock"));
        let _left = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let (is_over, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, count, act) = (Arc::clone(&is_over), Arc::clone(&connections), Arc::new(act) as Arc<Act>);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let act = Arc::clone(&act);
                // It ends with its connection.
                std::thread::spawn(move || serve(stream.unwrap(), number, &*act));
            }
        });
        Self { socket, is_over, connections, thread: Some(thread) }
    }

    /// As a configuration says it.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _woken = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn serve(stream: UnixStream, number: usize, act: &Act) {
    let mut served = Served { stream, responder: Responder::new(), input: Vec::new(), before: 0, number };
    while let Ok(Some(request)) = served.request() {
        match act(&mut served, &request) {
            Ok(true) => served.before += 1,
            Ok(false) | Err(_) => return,
        }
    }
}

impl Served {
    /// The next request, whole.
    fn request(&mut self) -> io::Result<Option<Request>> {
        let (mut request, mut params) = (Request::default(), Vec::new());
        loop {
            let asked = self.responder.step(&self.input).map_err(io::Error::other)?;
            match asked {
                Asked::Begin { keep, .. } => request.keep = keep,
                Asked::Params { data } => params.extend_from_slice(&self.input[data]),
                Asked::ParamsEnd => {
                    for pair in Pairs::new(&params) {
                        let (name, value) = pair.map_err(io::Error::other)?;
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        request.params.insert(text(name), text(value));
                    }
                }
                Asked::Stdin { data } => request.body.extend_from_slice(&self.input[data]),
                Asked::StdinEnd => {
                    self.input.drain(..self.responder.consumed());
                    self.responder.done();
                    return Ok(Some(request));
                }
                Asked::NeedMore => {
                    self.input.clear();
                    let mut more = [0; 16 * 1024];
                    let count = self.stream.read(&mut more)?;
                    if count == 0 {
                        return Ok(None);
                    }
                    self.input.extend_from_slice(&more[..count]);
                    continue;
                }
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
            self.input.drain(..self.responder.consumed());
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Answers whole, and keeps the connection.
    pub(crate) fn answer(&mut self, text: &str) -> io::Result<bool> {
        let bytes = [stdout(text.as_bytes()), end(End::Complete(0))].concat();
        self.send(&bytes).map(|()| true)
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_for_end(&mut self) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        while self.stream.read(&mut [0; 1024])? > 0 {}
        Ok(false)
    }
}

/// A record with some padding.
pub(crate) fn record(kind: Kind, request: u16, content: &[u8]) -> Vec<u8> {
    let padding = (8 - content.len() % 8) % 8;
    let head = Head {
        kind,
        request,
        content_len: u16::try_from(content.len()).unwrap(),
        padding_len: u8::try_from(padding).unwrap(),
    };
    [&head.bytes()[..], content, &vec![0; padding]].concat()
}

/// Records of an answer.
pub(crate) fn stdout(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(60_000).flat_map(|part| record(Kind::STDOUT, 1, part)).collect()
}

pub(crate) fn end(end: End) -> Vec<u8> {
    end_record(1, end).to_vec()
}
