//! Handshakes: requests that become sockets, or are told why not.

use super::handler::SocketHandler;
use super::options::{Origins, SocketOptions, Terms};
use super::session::{ConnSession, Session};
use ringway_http::head::Request;
use ringway_http::response::EncodeError;
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
}

impl Acceptor {
    /// Sockets with these options.
    #[must_use]
    pub fn new(options: SocketOptions) -> Self {
        Self { terms: Rc::new(Terms::new(options)) }
    }

    /// Sockets with these options; `panicked` is called whenever a handler of theirs has panicked.
    #[must_use]
    pub fn with_panics_told(options: SocketOptions, panicked: impl Fn() + 'static) -> Self {
        let terms = Terms { panicked: Some(Box::new(panicked)), ..Terms::new(options) };
        Self { terms: Rc::new(terms) }
    }

    /// Reads the handshake of a request; `is_secure` says whether it came over TLS.
    ///
    /// # Errors
    /// Why there will be no socket; [`Acceptor::refuse`] says it to the client.
    pub fn read(&self, request: &Request<'_>, is_secure: bool) -> Result<Handshake, Refusal> {
        let Some(upgrade) = Upgrade::read(request)? else { return Err(Refusal::NotAsked) };
        let options = &self.terms.options;
        if !is_welcome(&upgrade, &options.origins, is_secure) {
            return Err(Refusal::Origin);
        }
        let ours: Vec<&str> = options.protocols.iter().map(String::as_str).collect();
        let protocol = upgrade.protocol(&ours);
        let agreement = options.deflate.as_ref().and_then(|deflate| upgrade.deflate(deflate));
        let mut lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\n".to_vec();
        upgrade.answer(protocol, agreement.as_ref(), &mut lines);
        Ok(Handshake { protocol: protocol.map(str::to_owned), agreement, lines })
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
        exchange.take_over(&handshake.lines, Box::new(ConnSession::new(session)))
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
        let is_secure = exchange.session().is_some();
        match self.read(exchange.request, is_secure) {
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
