//! Connections that asked once and wait: what each of them costs the server in memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::Served;
use crate::http::url::Url;
use crate::progress::Progress;
use crate::refusal::Refusal;

/// How long one answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What idle connections cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// Connections that were answered and are open.
    pub(super) connections: usize,
    /// Resident memory before, in KiB.
    pub(super) before_kib: u64,
    /// Resident memory with all of them open, in KiB.
    pub(super) with_kib: u64,
}

impl Idle {
    /// Bytes of resident memory a connection.
    pub(super) fn bytes_per_connection(&self) -> f64 {
        let grown = self.with_kib.saturating_sub(self.before_kib) as f64 * 1024.0;
        grown / self.connections.max(1) as f64
    }
}

/// Opens `count` connections one after the other, each of which asks once, and reads the server's memory with all open.
///
/// # Errors
/// When the server cannot be reached or does not answer.
pub(super) fn measure(served: &mut Served, count: usize, progress: &Progress) -> Result<Idle, Refusal> {
    crate::http::load::raise_descriptors(count)?;
    let url = Url::parse(&served.url)?;
    let (address, request) = (url.address()?, request(&url));
    let before_kib = served.read().resident_kib;
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let connection = ask_once(address, &request)
            .map_err(|error| Refusal::failed(format!("idle connection {} of {count}: {error}", index + 1)))?;
        open.push(connection);
        progress.step("idle connections", index as u64, count as u64);
    }
    let with_kib = served.read().resident_kib;
    Ok(Idle { connections: open.len(), before_kib, with_kib })
}

/// What is asked once on each connection.
pub(super) fn request(url: &Url) -> String {
    format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", url.target, url.authority)
}

/// A connection whose one answer was read to its end.
fn ask_once(address: SocketAddr, request: &str) -> std::io::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    ask(&mut connection, request)?;
    Ok(connection)
}

/// Sends a request and reads its answer to the end.
pub(super) fn ask(connection: &mut (impl Read + Write), request: &str) -> std::io::Result<()> {
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(whole) = whole_length(&answer)
            && answer.len() >= whole
        {
            return Ok(());
        }
        if answer.len() > HEAD_BYTES_MAX && whole_length(&answer).is_none() {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "the answer has no Content-Length"));
        }
        match connection.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
}

/// How long the answer is with its body, when its head is there and says so.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let head_length = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..head_length]).ok()?;
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut length = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Some(head_length + length.next()?.1.trim().parse::<usize>().ok()?)
}

#[test]
fn an_answer_ends_with_its_body() {
    assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH: 7\r\n\r\nab"), Some(51));
    assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n"), None);
    assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\n\r\n"), None);
}
