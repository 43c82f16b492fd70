//! Requests to an authority: one connection each, bounded in time and in what comes back.

use crate::failure::Failure;
use crate::url::Url;
use ringway_http::body::{BodyDecoder, Limits as BodyLimits, Step};
use ringway_http::head::Body;
use ringway_http::reply::{Delivery, Limits, Reply, ReplyScan};
use ringway_tls::{BlockingTls, TlsClient};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long connecting may take, and every wait for bytes.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a whole answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Most bytes of an answer's body: a chain of certificates has a few thousand.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How this client calls itself (RFC 8555 section 6.1).
const USER_AGENT: &str = concat!("ringway/", env!("CARGO_PKG_VERSION"));

/// What an authority answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) nonce: Option<String>,
    pub(crate) location: Option<String>,
    /// In seconds, where the authority says so and not by a date.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Vec<u8>,
}

/// Asks. `body` is sent as `application/jose+json`.
///
/// # Errors
/// When no whole answer was had.
pub(crate) fn ask(
    client: &TlsClient,
    method: &str,
    url: &Url,
    body: Option<&str>,
) -> Result<Answer, Failure> {
    exchange(client, method, url, body)
        .map_err(|reason| Failure::Unreachable { url: url.to_string(), reason })
}

fn exchange(client: &TlsClient, method: &str, url: &Url, body: Option<&str>) -> Result<Answer, String> {
    let mut stream = connect(client, url)?;
    let mut request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: application/json, \
         application/pem-certificate-chain\r\nConnection: close\r\n",
        url.target(),
        url.authority()
    );
    if let Some(body) = body {
        request +=
            &format!("Content-Type: application/jose+json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    } else {
        request += "\r\n";
    }
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(|error| error.to_string())?;
    Reader { stream, received: Vec::new(), deadline: Instant::now() + ANSWER_MAX }.answer(method == "HEAD")
}

fn connect(client: &TlsClient, url: &Url) -> Result<BlockingTls, String> {
    let addresses = (url.host(), url.port()).to_socket_addrs();
    let addresses = addresses.map_err(|error| format!("its name is not known: {error}"))?;
    let mut last = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, WAIT_MAX) {
            Ok(socket) => {
                let set = socket.set_read_timeout(Some(WAIT_MAX));
                set.and_then(|()| socket.set_write_timeout(Some(WAIT_MAX)))
                    .map_err(|error| error.to_string())?;
                return client.connect(url.host(), socket).map_err(|problem| problem.to_string());
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

struct Reader<R> {
    stream: R,
    received: Vec<u8>,
    deadline: Instant,
}

impl<R: Read> Reader<R> {
    fn answer(&mut self, to_head: bool) -> Result<Answer, String> {
        let limits = Limits::default();
        let mut scan = ReplyScan::new();
        let end = loop {
            match scan.find(&self.received, &limits).map_err(|fault| format!("not HTTP: {fault:?}"))? {
                Some(end) => break end,
                None if !self.more()? => return Err("the answer ends in its head".to_owned()),
                None => {}
            }
        };
        let head = self.received.drain(..end).collect::<Vec<u8>>();
        let reply = Reply::parse(&head, to_head, &limits).map_err(|fault| format!("not HTTP: {fault:?}"))?;
        let text = |name: &str| {
            reply.field(name).and_then(|value| str::from_utf8(value).ok()).map(ToOwned::to_owned)
        };
        let mut answer = Answer {
            status: reply.status().code(),
            nonce: text("Replay-Nonce"),
            location: text("Location"),
            retry_after: text("Retry-After").and_then(|seconds| seconds.trim().parse().ok()),
            body: Vec::new(),
        };
        answer.body = match reply.delivery() {
            Delivery::None => Vec::new(),
            Delivery::Length(len) => self.length(len)?,
            Delivery::Chunked => self.chunks()?,
            Delivery::UntilClose => self.rest()?,
        };
        Ok(answer)
    }

    fn length(&mut self, len: u64) -> Result<Vec<u8>, String> {
        let len = usize::try_from(len).ok().filter(|&len| len <= BODY_BYTES_MAX).ok_or_else(too_long)?;
        while self.received.len() < len {
            if !self.more()? {
                return Err("the answer ends early".to_owned());
            }
        }
        self.received.truncate(len);
        Ok(std::mem::take(&mut self.received))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let limits = BodyLimits { body_bytes_max: BODY_BYTES_MAX as u64, ..BodyLimits::default() };
        let mut decoder =
            BodyDecoder::new(Body::Chunked, limits).map_err(|refusal| format!("{refusal:?}"))?;
        let mut body = Vec::new();
        loop {
            let step = decoder.decode(&self.received).map_err(|refusal| format!("{refusal:?}"))?;
            let consumed = step.consumed();
            if let Step::Data { data } = &step {
                body.extend_from_slice(&self.received[data.clone()]);
            }
            let is_waiting = matches!(step, Step::NeedMore { .. });
            let is_done = matches!(step, Step::Done { .. });
            self.received.drain(..consumed);
            if is_done {
                return Ok(body);
            }
            if is_waiting && !self.more()? {
                return Err("the answer ends early".to_owned());
            }
        }
    }

    fn rest(&mut self) -> Result<Vec<u8>, String> {
        while self.more()? {
            if self.received.len() > BODY_BYTES_MAX {
                return Err(too_long());
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Receives more; false at the end.
    fn more(&mut self) -> Result<bool, String> {
        if Instant::now() >= self.deadline {
            return Err("the answer takes too long".to_owned());
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err("the answer takes too long".to_owned());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

fn too_long() -> String {
    "the answer is too long".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Answer, String> {
        let deadline = Instant::now() + ANSWER_MAX;
        Reader { stream: text, received: Vec::new(), deadline }.answer(false)
    }

    #[test]
    fn answers_are_read_however_their_body_is_delivered() {
        let fields = "Replay-Nonce: abc\r\nLocation: https://ca/1\r\nRetry-After: 3\r\n";
        for end in [
            "Content-Length: 5\r\n\r\nhello and more",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "\r\nhello",
        ] {
            let answer = read(format!("HTTP/1.1 201 Created\r\n{fields}{end}").as_bytes()).expect(end);
            assert_eq!((answer.status, answer.body.as_slice()), (201, b"hello".as_slice()));
            assert_eq!(answer.nonce.as_deref(), Some("abc"));
            assert_eq!(answer.location.as_deref(), Some("https://ca/1"));
            assert_eq!(answer.retry_after, Some(3));
        }
    }

    #[test]
    fn answers_that_are_cut_or_too_long_are_refused() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
            "SSH-2.0-hello\r\n",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
