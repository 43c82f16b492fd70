//! Answers of libraries, copied and made fit to be sent.

use ringway_engine::heap::local_future;
use ringway_http::response::{EncodeError, HeadWriter};
use ringway_http::status::Status;
use ringway_plugin::{Answer, Fault};
use ringway_web::body_source::BodySource;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled};
use std::io;
use std::task::{Context, Poll};

/// Most bytes of an answer's field lines.
const LINES_BYTES_MAX: usize = 32 * 1024;

/// Fields that say how an answer is framed and by whom: the server's to say.
const SERVERS_OWN: [&[u8]; 9] = [
    b"connection",
    b"content-length",
    b"date",
    b"keep-alive",
    b"server",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// An answer, or the head and first piece of one.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) status: Status,
    pub(crate) lines: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// How long a body is that comes in pieces.
    pub(crate) length: Option<u64>,
}

impl Written {
    /// A copy of `answer`.
    pub(crate) fn new(answer: &Answer<'_>) -> Result<Self, Fault> {
        let status = Status::new(answer.status).ok_or(Fault::Invalid)?;
        if status.is_bodiless() && !answer.body.is_empty() {
            return Err(Fault::Invalid);
        }
        let mut lines = Vec::new();
        for field in answer.fields() {
            let (name, value) = field?;
            if Self::is_servers_own(name) {
                return Err(Fault::Invalid);
            }
            let before = lines.len();
            let after = before + name.len() + value.len() + b": \r\n".len();
            if after > LINES_BYTES_MAX {
                return Err(Fault::Limit);
            }
            lines.resize(after, 0);
            HeadWriter::new(&mut lines[before..]).field(name, value).map_err(|_unsendable| Fault::Invalid)?;
        }
        Ok(Self { status, lines, body: answer.body.to_vec(), length: answer.length })
    }

    /// Whether a field is the server's own to say.
    pub(crate) fn is_servers_own(name: &[u8]) -> bool {
        SERVERS_OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// An answer without a body. `lines` have their CR LF.
    pub(crate) fn head(status: Status, lines: Vec<u8>) -> Self {
        Self { status, lines, body: Vec::new(), length: None }
    }

    /// Sends it. Whoever made it is not asked again.
    pub(crate) fn send(self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        exchange.ask_once();
        if exchange.lacks_memory(self.lines.len()) {
            let finish: Finish = Box::new(move |exchange| self.send(exchange));
            return Ok(Handled::Later(local_future(std::future::ready(finish))));
        }
        if self.status.is_bodiless() {
            return exchange.stream_with(self.status, &self.lines, None, NoBody).map(Handled::Answer);
        }
        exchange.text(self.status, &self.lines, self.body).map(Handled::Answer)
    }
}

/// What follows a head without a body; nobody asks it.
struct NoBody;

impl BodySource for NoBody {
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }
}
