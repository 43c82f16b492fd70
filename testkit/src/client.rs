//! A raw HTTP/1.1 client over TCP: bytes out in pieces of any size, whole answers or the end in, each within a deadline.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a client waits for anything unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer's head, a mistake beyond.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// A connection to a server under test.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    patience: Duration,
    /// Received, not yet part of an answer.
    rest: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head as it came, without the empty line.
    pub head: String,
    /// The body, freed of its chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the first field of that name, in any case of letters.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Client {
    /// Connects; small writes leave at once.
    ///
    /// # Errors
    /// What `connect(2)` says.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, patience: PATIENCE, rest: Vec::new() })
    }

    /// Changes how long a call waits at most (10 s by default).
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends everything.
    ///
    /// # Errors
    /// What `write(2)` says; `TimedOut` or `WouldBlock` when the server does not take it in time.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.patience))?;
        self.stream.write_all(bytes)
    }

    /// Sends everything in pieces of `sizes` bytes, over and over; zero counts as one. Every piece is a segment of its
    /// own, but the server may receive several at once.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_in_pieces(&mut self, mut bytes: &[u8], sizes: &[usize]) -> io::Result<()> {
        for size in sizes.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (piece, rest) = bytes.split_at((*size).clamp(1, bytes.len()));
            self.send(piece)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// What `shutdown(2)` says.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Closes with a reset instead of an end.
    ///
    /// # Errors
    /// What `setsockopt(2)` says.
    pub fn abort(self) -> io::Result<()> {
        use std::os::fd::AsFd;
        ringway_ring::socket::set_abort_on_close(self.stream.as_fd())
    }

    /// The next answer. `is_head` says that the request was HEAD, so that no body follows whatever the head announces.
    ///
    /// # Errors
    /// `TimedOut` when it does not come in time; `UnexpectedEof` when the connection ends before or within it;
    /// `InvalidData` when it is no HTTP/1.1 answer.
    pub fn answer(&mut self, is_head: bool) -> io::Result<Answer> {
        let deadline = Instant::now() + self.patience;
        let head_bytes = loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.rest.len() > HEAD_BYTES_MAX {
                return Err(invalid("a head without an end"));
            }
            self.more(deadline)?;
        };
        let head = String::from_utf8_lossy(&self.rest[..head_bytes]).into_owned();
        self.rest.drain(..head_bytes + 4);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status =
            status.filter(|_| head.starts_with("HTTP/1.")).ok_or_else(|| invalid("a status line"))?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if !is_head && status >= 200 && status != 204 && status != 304 {
            answer.body = self.body(&answer, deadline)?;
        }
        Ok(answer)
    }

    /// The next `count` answers, in order.
    ///
    /// # Errors
    /// As [`Client::answer`], for the first that does not come.
    pub fn answers(&mut self, count: usize) -> io::Result<Vec<Answer>> {
        (0..count).map(|_| self.answer(false)).collect()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `TimedOut` when they do not come in time; `UnexpectedEof` when the stream ends before.
    pub fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.patience;
        while self.rest.len() < count {
            self.more(deadline)?;
        }
        let later = self.rest.split_off(count);
        Ok(std::mem::replace(&mut self.rest, later))
    }

    /// Everything up to the end of the stream.
    ///
    /// # Errors
    /// `TimedOut` when the end does not come in time; `ConnectionReset` when it is none.
    pub fn until_end(&mut self) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.more(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.rest));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn body(&mut self, answer: &Answer, deadline: Instant) -> io::Result<Vec<u8>> {
        if answer.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.chunks(deadline);
        }
        match answer.field("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_not_a_number| invalid("a content length"))?;
                self.exactly(length, deadline)
            }
            // Without a length the body lasts until the end (RFC 9112, section 6.3).
            None => self.until_end(),
        }
    }

    fn chunks(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).map_err(|_not_a_number| invalid("a chunk size"))?;
            if size == 0 {
                while !self.line(deadline)?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size, deadline)?);
            if !self.line(deadline)?.is_empty() {
                return Err(invalid("the end of a chunk"));
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                self.rest.drain(..end + 2);
                return Ok(line);
            }
            self.more(deadline)?;
        }
    }

    fn exactly(&mut self, bytes: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.rest.len() < bytes {
            self.more(deadline)?;
        }
        Ok(self.rest.drain(..bytes).collect())
    }

    /// Receives something before the deadline.
    fn more(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.rest.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            // EAGAIN: the read's time was up.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} was expected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn served(text: &'static [u8]) -> (Client, std::thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            stream.write_all(text).expect("the client reads");
            stream.read_to_end(&mut request).expect("the client ends");
            request
        });
        (Client::connect(address).expect("somebody listens"), server)
    }

    #[test]
    fn reads_answers_of_every_framing() {
        let (mut client, server) = served(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
              HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n\
              HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        );
        let answers = client.answers(3).expect("three answers");
        let bodies: Vec<&[u8]> = answers.iter().map(|answer| &*answer.body).collect();
        assert_eq!(bodies, [&b"abc"[..], b"", b"hello"]);
        assert_eq!((answers[1].status, answers[1].field("content-length")), (304, Some("9")));
        assert!(client.answer(true).expect("a head").body.is_empty());
        client.send_in_pieces(b"0123456789", &[1, 3, 0]).expect("the server reads");
        client.finish().expect("open");
        assert_eq!(client.until_end().expect("the server ends"), b"");
        assert_eq!(server.join().expect("no panic"), b"0123456789");
    }

    #[test]
    fn what_does_not_come_is_an_error() {
        let (mut client, server) = served(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab");
        client.set_patience(Duration::from_millis(50));
        assert_eq!(client.answer(false).expect_err("a byte is missing").kind(), io::ErrorKind::TimedOut);
        client.abort().expect("open");
        assert!(server.join().is_err(), "the server saw the reset");
    }
}
