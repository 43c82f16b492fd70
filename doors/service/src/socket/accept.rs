//! Handshakes: requests that become sockets, or are told why not.

use super::handler::SocketHandler;
use super::options::{Origins, SocketOptions, Terms};
use super::over_h2::StreamSession;
use super::session::{ConnSession, Session};
use ringway_engine::WorkerHandle;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::Reply;
use ringway_ws::Role;
use ringway_ws::deflate::Agreement;
use ringway_ws::handshake::{Refusal, Upgrade, VERSION_LINE};
use std::fmt;
use std::rc::Rc;

/// What makes sockets of a route's requests, on one worker.
#[derive(Clone, Debug)]
pub struct Acceptor {
    worker: WorkerHandle,
    terms: Rc<Terms>,
}

/// A handshake that may be answered.
#[derive(Debug)]
pub struct Handshake {
    /// The subprotocol that was agreed on.
    pub protocol: Option<String>,
    agreement: Option<Agreement>,
    /// The answer's field lines.
    lines: Vec<u8>,
    /// It came over a stream of HTTP/2.
    is_stream: bool,
}

impl Acceptor {
    /// Sockets with these options, on this worker.
    #[must_use]
    pub fn new(worker: WorkerHandle, options: SocketOptions) -> Self {
        Self { worker, terms: Rc::new(Terms::new(options)) }
    }

    /// The same; `panicked` is called whenever a handler of theirs has panicked.
    #[must_use]
    pub fn with_panics_told(
        worker: WorkerHandle,
        options: SocketOptions,
        panicked: impl Fn() + 'static,
    ) -> Self {
        let terms = Terms { panicked: Some(Box::new(panicked)), ..Terms::new(options) };
        Self { worker, terms: Rc::new(terms) }
    }

    /// Reads the handshake of a request.
    ///
    /// # Errors
    /// Why there will be no socket; [`Acceptor::refuse`] says it to the client.
    pub fn read(&self, exchange: &mut Exchange<'_>) -> Result<Handshake, Refusal> {
        let is_secure = exchange.session().is_some();
        let is_stream = exchange.is_extended_connect();
        let upgrade = if is_stream {
            if exchange.request.upgrade() != Some(b"websocket") {
                return Err(Refusal::NotAsked);
            }
            Upgrade::read_connect(exchange.request)?
        } else {
            Upgrade::read(exchange.request)?.ok_or(Refusal::NotAsked)?
        };
        let options = &self.terms.options;
        if !is_welcome(&upgrade, &options.origins, is_secure) {
            return Err(Refusal::Origin);
        }
        let ours: Vec<&str> = options.protocols.iter().map(String::as_str).collect();
        let protocol = upgrade.protocol(&ours);
        let agreement = options.deflate.as_ref().and_then(|deflate| upgrade.deflate(deflate));
        let mut lines = Vec::with_capacity(256);
        if !is_stream {
            lines.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
        }
        upgrade.answer(protocol, agreement.as_ref(), &mut lines);
        Ok(Handshake { protocol: protocol.map(str::to_owned), agreement, lines, is_stream })
    }

    /// Answers a handshake: the connection is `handler`'s from there on.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the exchange's memory is too small.
    pub fn open(
        &self,
        exchange: &mut Exchange<'_>,
        handshake: &Handshake,
        handler: impl SocketHandler + 'static,
    ) -> Result<Reply, EncodeError> {
        let terms = Rc::clone(&self.terms);
        let agreement = handshake.agreement.as_ref();
        let session = Session::new(terms, Role::Server, agreement, Box::new(handler));
        if !handshake.is_stream {
            return exchange.take_over(&handshake.lines, Box::new(ConnSession::new(session)));
        }
        let Some(body) = exchange.take_body() else { return exchange.error(Status::INTERNAL_SERVER_ERROR) };
        let stream = StreamSession::new(session, body, self.worker.clone());
        exchange.stream(Status::OK, &handshake.lines, stream)
    }

    /// Tells a client why there is no socket.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the exchange's memory is too small.
    pub fn refuse(exchange: &mut Exchange<'_>, refusal: Refusal) -> Result<Reply, EncodeError> {
        let lines: &[u8] = match refusal {
            Refusal::NotAsked => b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
            Refusal::Version => VERSION_LINE.as_bytes(),
            _ => b"",
        };
        exchange.error_with(refusal.status(), lines)
    }

    /// Reads a handshake and answers it, with a socket for the handler that `make` gives or an error page.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the exchange's memory is too small; `make` is asked again then.
    pub fn accept<H: SocketHandler + 'static>(
        &self,
        exchange: &mut Exchange<'_>,
        make: impl FnOnce(&Handshake) -> H,
    ) -> Result<Reply, EncodeError> {
        match self.read(exchange) {
            Ok(handshake) => {
                let handler = make(&handshake);
                self.open(exchange, &handshake, handler)
            }
            Err(refusal) => Self::refuse(exchange, refusal),
        }
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.as_deref().unwrap_or("no subprotocol"))
    }
}

/// Whether the page that asks may.
fn is_welcome(upgrade: &Upgrade<'_>, origins: &Origins, is_secure: bool) -> bool {
    let Some(origin) = upgrade.origin() else { return true };
    match origins {
        Origins::Any => true,
        Origins::Same => upgrade.is_same_origin(is_secure),
        Origins::SameAnd(others) => {
            upgrade.is_same_origin(is_secure)
                || others.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(origin))
        }
    }
}
