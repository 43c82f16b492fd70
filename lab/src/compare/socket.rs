//! WebSockets under load: echoes within a window, one message for everybody, and sockets that wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::idle::{Idle, PATIENCE};
use super::made::Made;
use crate::http::Served;
use crate::http::url::Url;
use crate::measure::cores;
use crate::progress::Progress;
use crate::refusal::Refusal;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are received at once.
const RECEIVE_BYTES: usize = 256 * 1024;

/// Events that are looked at together.
const EVENTS: usize = 512;

/// The key of RFC 6455's example, and the answer to it: everybody's, so that a server in a hundred lines of C can stand here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a client's frames are masked with.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What is said over WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// Everybody's own messages come back; so many are under way on each socket.
    Echo {
        /// Messages under way.
        window: usize,
    },
    /// The first socket says something, and everybody is told; then it says the next thing.
    Cast {
        /// One of so many sockets never reads; 0: all read.
        stalled_of: usize,
    },
}

/// What is asked of the sockets.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) bytes: usize,
    pub(super) talk: Talk,
    pub(super) time: Duration,
    pub(super) warm_up: Duration,
    pub(super) core: usize,
}

/// Talks for as long as is wanted, and counts the messages that came.
///
/// # Errors
/// When the server cannot be reached, does not speak WebSocket, or says what it was not told.
pub(super) fn load<C: Send>(
    load: &Load,
    served: &mut Served,
    clocks: impl Fn(&mut Served) -> C + Send,
    progress: &Progress,
) -> Result<(Made, C, C), Refusal> {
    crate::http::load::raise_descriptors(load.connections)?;
    progress.stage(&format!("{} WebSockets", load.connections));
    let url = Url::parse(&served.url)?;
    std::thread::scope(|scope| {
        // The client's core is this thread's alone.
        let talking = scope.spawn(move || {
            cores::pin(load.core)?;
            let mut talking = Talking::open(load, &url).map_err(Refusal::because("WebSockets"))?;
            talking.go_on_until(Instant::now() + load.warm_up)?;
            let (before, cpu, count) = (clocks(served), thread_time(), talking.count);
            talking.go_on_until(Instant::now() + load.time)?;
            let cpu = thread_time().saturating_sub(cpu);
            let after = clocks(served);
            Ok((Made::all_right(talking.count - count, cpu), before, after))
        });
        talking.join().map_err(|_panic| Refusal::failed("the thread of the WebSockets died"))?
    })
}

/// Opens `count` WebSockets, has each of them echo once, and reads the server's memory with all open.
///
/// # Errors
/// As [`load`].
pub(super) fn idle(served: &mut Served, count: usize, progress: &Progress) -> Result<Idle, Refusal> {
    crate::http::load::raise_descriptors(count)?;
    let url = Url::parse(&served.url)?;
    let address = url.address()?;
    let (asks, echo) = (frame(64, Some(MASK)), frame(64, None));
    let before_kib = served.read().resident_kib;
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let ask = || -> io::Result<TcpStream> {
            let mut socket = shake_hands(address, &url)?;
            socket.write_all(&asks)?;
            let mut heard = vec![0; echo.len()];
            socket.read_exact(&mut heard)?;
            if heard == echo { Ok(socket) } else { Err(lied()) }
        };
        let socket =
            ask().map_err(|error| Refusal::failed(format!("WebSocket {} of {count}: {error}", index + 1)))?;
        open.push(socket);
        progress.step("WebSockets that wait", index as u64, count as u64);
    }
    let with_kib = served.read().resident_kib;
    Ok(Idle { connections: open.len(), before_kib, with_kib })
}

/// One socket's place in what it says and hears.
struct Socket {
    stream: TcpStream,
    /// Bytes still to be sent.
    owes: usize,
    /// Bytes of messages that came.
    heard: usize,
}

/// All sockets under way.
struct Talking {
    talk: Talk,
    sockets: Vec<Socket>,
    poll: rustix::fd::OwnedFd,
    /// What a socket sends, as often as its window.
    said: Vec<u8>,
    /// What it hears, again and again, long enough to be compared with any receive.
    echoes: Vec<u8>,
    said_bytes: usize,
    echo_bytes: usize,
    memory: Vec<u8>,
    /// Messages that came.
    count: u64,
    /// Those that are still to come of this round of a cast.
    missing: usize,
}

impl Talking {
    fn open(load: &Load, url: &Url) -> io::Result<Self> {
        let address = url.address().map_err(io::Error::other)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let stream = shake_hands(address, url)?;
            stream.set_nonblocking(true)?;
            let is_stalled = matches!(load.talk, Talk::Cast { stalled_of } if is_stalled(index, stalled_of));
            if !is_stalled {
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), flags)?;
            }
            sockets.push(Socket { stream, owes: 0, heard: 0 });
        }
        let window = if let Talk::Echo { window } = load.talk { window } else { 1 };
        let (one, echo) = (frame(load.bytes, Some(MASK)), frame(load.bytes, None));
        let mut talking = Self {
            talk: load.talk,
            poll,
            said_bytes: one.len(),
            echo_bytes: echo.len(),
            said: one.repeat(window),
            echoes: echo.repeat(RECEIVE_BYTES / echo.len() + 2),
            sockets,
            memory: vec![0; RECEIVE_BYTES],
            count: 0,
            missing: 0,
        };
        match load.talk {
            Talk::Echo { .. } => {
                for at in 0..talking.sockets.len() {
                    talking.sockets[at].owes = talking.said.len();
                    talking.say(at)?;
                }
            }
            Talk::Cast { .. } => talking.say_to_all()?,
        }
        Ok(talking)
    }

    fn go_on_until(&mut self, end: Instant) -> Result<(), Refusal> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut heard_at = Instant::now();
        let mut known = self.count;
        while Instant::now() < end {
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            events.clear();
            match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Refusal::failed(format!("epoll: {error}"))),
            }
            for event in &events {
                let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.go_on(at).map_err(Refusal::because("a WebSocket"))?;
            }
            if self.count > known {
                (known, heard_at) = (self.count, Instant::now());
            }
            if heard_at.elapsed() > PATIENCE {
                return Err(Refusal::failed(format!("nothing came for {PATIENCE:?}")));
            }
        }
        Ok(())
    }

    fn go_on(&mut self, at: usize) -> io::Result<()> {
        while let ControlFlow::Continue(bytes) = self.hear(at)? {
            if bytes < RECEIVE_BYTES {
                break;
            }
        }
        self.say(at)?;
        if self.missing == 0 && matches!(self.talk, Talk::Cast { .. }) { self.say_to_all() } else { Ok(()) }
    }

    /// One receive, compared byte for byte with what must come.
    fn hear(&mut self, at: usize) -> io::Result<ControlFlow<(), usize>> {
        let socket = &mut self.sockets[at];
        let bytes = match socket.stream.read(&mut self.memory) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(ControlFlow::Break(())),
            Err(error) => return Err(error),
        };
        let from = socket.heard % self.echo_bytes;
        if self.memory[..bytes] != self.echoes[from..from + bytes] {
            return Err(lied());
        }
        let messages = (socket.heard + bytes) / self.echo_bytes - socket.heard / self.echo_bytes;
        socket.heard += bytes;
        self.count += messages as u64;
        match self.talk {
            Talk::Echo { .. } => socket.owes += messages * self.said_bytes,
            Talk::Cast { .. } => self.missing = self.missing.checked_sub(messages).ok_or_else(lied)?,
        }
        Ok(ControlFlow::Continue(bytes))
    }

    /// Sends what is owed, as far as there is room.
    fn say(&mut self, at: usize) -> io::Result<()> {
        let socket = &mut self.sockets[at];
        while socket.owes > 0 {
            let rest = socket.owes % self.said_bytes;
            let from = if rest == 0 { 0 } else { self.said_bytes - rest };
            let bytes = socket.owes.min(self.said.len() - from);
            match socket.stream.write(&self.said[from..from + bytes]) {
                Ok(sent) => socket.owes -= sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn say_to_all(&mut self) -> io::Result<()> {
        let Talk::Cast { stalled_of } = self.talk else { return Ok(()) };
        self.missing = (0..self.sockets.len()).filter(|index| !is_stalled(*index, stalled_of)).count();
        self.sockets[0].owes = self.said_bytes;
        self.say(0)
    }
}

/// Whether a socket never reads; the first one always does.
fn is_stalled(index: usize, stalled_of: usize) -> bool {
    stalled_of > 0 && index % stalled_of == stalled_of - 1
}

fn shake_hands(address: SocketAddr, url: &Url) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (target, authority) = (&url.target, &url.authority);
    // In one piece, as browsers send it.
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read(&mut byte)? == 0 {
            return Err(io::Error::other("no answer to the hand-shake"));
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT) {
        return Ok(stream);
    }
    Err(io::Error::other(format!("it is no WebSocket: {}", head.lines().next().unwrap_or_default())))
}

/// A binary message of `bytes` in one frame (RFC 6455 section 5.2).
fn frame(bytes: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short @ 0..=125), _) => frame.push(masked | short),
        (_, Ok(middle)) => {
            frame.push(masked | 126);
            frame.extend(middle.to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let payload = (b'a'..=b'z').cycle().take(bytes).enumerate();
    frame.extend(payload.map(|(at, letter)| letter ^ mask.map_or(0, |mask| mask[at % 4])));
    frame
}

fn lied() -> io::Error {
    io::Error::other("what came is not what was said")
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

#[test]
fn frames_are_those_of_the_standard() {
    assert_eq!(frame(3, None), b"\x82\x03abc");
    assert_eq!(
        frame(3, Some(MASK)),
        [0x82, 0x83, 0x12, 0x34, 0x56, 0x78, b'a' ^ 0x12, b'b' ^ 0x34, b'c' ^ 0x56]
    );
    assert_eq!((frame(126, None)[1], frame(126, None).len()), (126, 130));
    assert_eq!((frame(65_536, None)[1], frame(65_536, None).len()), (127, 65_546));
}

#[test]
fn one_of_so_many_is_stalled_and_never_the_first() {
    assert_eq!((0..1000).filter(|index| is_stalled(*index, 100)).count(), 10);
    assert!(!is_stalled(0, 100) && !is_stalled(7, 0));
}
