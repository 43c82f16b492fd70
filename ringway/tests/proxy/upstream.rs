//! Servers of the tests' own, which say exactly what a test has them say.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server that serves each connection on a thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

/// One connection of such a server.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: TcpStream,
    rest: Vec<u8>,
    /// Which connection of its server it is, from 0 on.
    pub(crate) number: usize,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of the first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The target.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

impl Upstream {
    /// A server on a port of its own.
    pub(crate) fn start(serve: impl Fn(&mut Talk) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), serve)
    }

    /// A server at an address.
    pub(crate) fn at(address: SocketAddr, serve: impl Fn(&mut Talk) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, heads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let is_over = Arc::new(AtomicBool::new(false));
        let server = Self {
            address,
            connections: Arc::clone(&connections),
            heads: Arc::clone(&heads),
            is_over: Arc::clone(&is_over),
        };
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let number = connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let (serve, heads) = (Arc::clone(&serve), Arc::clone(&heads));
                std::thread::spawn(move || serve(&mut Talk { stream, rest: Vec::new(), number, heads }));
            }
        });
        server
    }

    /// One that answers each request with the same, and keeps the connection.
    pub(crate) fn always(answer: &'static [u8]) -> Self {
        Self::start(move |talk| {
            while talk.request().is_some() {
                talk.say(answer);
            }
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The head of the latest request.
    pub(crate) fn last_head(&self) -> String {
        self.heads().pop().unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _wakes_it = TcpStream::connect(self.address);
    }
}

impl Talk {
    /// The next request with its body; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<Asked> {
        let asked = self.head()?;
        let length = asked.field("content-length").map(|text| text.parse::<usize>().unwrap());
        let is_chunked = asked.field("transfer-encoding").is_some();
        assert!(length.is_none() || !is_chunked, "framed twice: {}", asked.head);
        let body = match (length, is_chunked) {
            (_, true) => self.chunks()?,
            (Some(length), false) => self.take(length)?,
            (None, false) => Vec::new(),
        };
        Some(Asked { body, ..asked })
    }

    /// The head of the next request.
    pub(crate) fn head(&mut self) -> Option<Asked> {
        let end = self.until(b"\r\n\r\n")?;
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let head = head.trim_end().to_owned();
        self.heads.lock().unwrap().push(head.clone());
        Some(Asked { head, body: Vec::new() })
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            self.more().ok().filter(|is_more| *is_more)?;
        }
        Some(self.rest.drain(..count).collect())
    }

    /// A chunked body.
    pub(crate) fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.until(b"\r\n")?;
            let line = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let data = self.take(size + 2)?;
            assert_eq!(&data[size..], b"\r\n");
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&data[..size]);
        }
    }

    /// Everything until the client ends its direction.
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        while let Ok(true) = self.more() {}
        std::mem::take(&mut self.rest)
    }

    /// Sends; whether it could.
    pub(crate) fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends; the client may be gone.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.try_say(bytes);
    }

    /// Answers 200 with a body of known length.
    pub(crate) fn answer(&mut self, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.say(&[head.as_bytes(), body].concat());
    }

    /// Ends this direction.
    pub(crate) fn finish(&self) {
        let _gone = self.stream.shutdown(Shutdown::Write);
    }

    fn until(&mut self, what: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.rest.windows(what.len()).position(|window| window == what) {
                return Some(at + what.len());
            }
            self.more().ok().filter(|is_more| *is_more)?;
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer)?;
        self.rest.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}
