//! TLS as a filter of the engine: a handshake, then records.

use crate::failure::{Alert, Failure};
use crate::handshake::{Handshake, OneSide, Progress};
use crate::traffic::Traffic;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_engine::{Filter, FilterSource, Inbox, Room, Session};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// The application protocol by which a certificate authority asks for a proof (RFC 8737). Nothing follows its handshake.
pub(crate) const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

/// What a client that speaks HTTP without TLS gets.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 54\r\nConnection: close\r\n\r\nThis port speaks HTTPS: ask again with https:// there.";

/// The content type a connection must begin with.
const HANDSHAKE: u8 = 22;

/// A worker's source of filters.
pub(crate) struct Source {
    config: Arc<ServerConfig>,
    /// What the last handshake agreed on: the next one most often agrees on the same.
    known: RefCell<Option<Rc<Session>>>,
}

/// A connection's TLS.
pub(crate) struct TlsFilter {
    state: State,
    source: Option<Rc<Source>>,
}

enum State {
    /// Nothing has come yet: a connection that says nothing costs next to nothing.
    Fresh,
    Shaking(Box<Handshake>),
    Open(Box<Traffic>),
    /// The peer has been told why.
    Failed,
}

impl Source {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Rc<Self> {
        Rc::new(Self { config, known: RefCell::default() })
    }
}

/// The source as the engine holds it.
pub(crate) struct SharedSource(pub(crate) Rc<Source>);

impl FilterSource for SharedSource {
    fn make(&self) -> Box<dyn Filter> {
        Box::new(TlsFilter::server(&self.0))
    }
}

impl TlsFilter {
    /// The server's side of a connection.
    pub(crate) fn server(source: &Rc<Source>) -> Self {
        Self { state: State::Fresh, source: Some(Rc::clone(source)) }
    }

    /// The client's side of a connection.
    pub(crate) fn client(connection: rustls::client::UnbufferedClientConnection) -> Self {
        let handshake = Handshake::new(OneSide::Client(connection));
        Self { state: State::Shaking(Box::new(handshake)), source: None }
    }

    #[cfg(test)]
    pub(crate) fn traffic(&mut self) -> &mut Traffic {
        let State::Open(traffic) = &mut self.state else { panic!("the handshake is not done") };
        traffic
    }

    fn advance(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> Result<(), Failure> {
        if matches!(self.state, State::Fresh) {
            self.begin(wire, reply, pool)?;
        }
        if let State::Shaking(handshake) = &mut self.state {
            let mut words = Vec::new();
            let progress = handshake.advance(wire, &mut words);
            say(&words, reply, pool)?;
            // What rustls said says why; there is no alert to be added.
            let progress = progress.inspect_err(|_| {
                if !words.is_empty() {
                    self.state = State::Failed;
                }
            })?;
            if let Progress::Done = progress {
                self.open()?;
            }
        }
        match &mut self.state {
            State::Open(traffic) => traffic.receive(wire, plain, pool),
            State::Failed => Err(Failure::new(Alert::UnexpectedMessage, "bytes behind a failure")),
            State::Fresh | State::Shaking(_) => Ok(()),
        }
    }

    /// Looks at the first byte.
    fn begin(&mut self, wire: &mut Inbox, reply: &mut dyn FnMut(Slice), pool: &Pool) -> Result<(), Failure> {
        let Some(first) = wire.take_first() else { return Ok(()) };
        let kind = first.first().copied();
        wire.unread(first);
        match (kind, &self.source) {
            (Some(HANDSHAKE), Some(source)) => {
                let server = UnbufferedServerConnection::new(Arc::clone(&source.config));
                let server = server.map_err(|_refused| Failure::internal("no handshake can begin"))?;
                self.state = State::Shaking(Box::new(Handshake::new(OneSide::Server(server))));
                Ok(())
            }
            // A method: somebody has forgotten the s of https.
            (Some(b'A'..=b'Z'), _) => {
                say(PLAIN_HTTP_ANSWER, reply, pool)?;
                self.state = State::Failed;
                Err(Failure::new(Alert::UnexpectedMessage, "HTTP without TLS"))
            }
            _ => Err(Failure::new(Alert::UnexpectedMessage, "not TLS")),
        }
    }

    /// The handshake is done.
    fn open(&mut self) -> Result<(), Failure> {
        let State::Shaking(handshake) = std::mem::replace(&mut self.state, State::Failed) else {
            return Ok(());
        };
        let mut unshared = None;
        let mut traffic = match &self.source {
            Some(source) => handshake.finish(&mut source.known.borrow_mut())?,
            None => handshake.finish(&mut unshared)?,
        };
        // The proof was the handshake.
        traffic.is_ended = *traffic.session.alpn == *ACME_PROTOCOL;
        self.state = State::Open(Box::new(traffic));
        Ok(())
    }

    /// Ends the connection for a reason, and tells the peer if it does not know yet.
    fn fail(&mut self, failure: Failure, reply: &mut dyn FnMut(Slice), pool: &Pool) -> io::Error {
        let words = match std::mem::replace(&mut self.state, State::Failed) {
            State::Open(mut traffic) if failure.alert != Alert::CloseNotify => {
                traffic.alert(failure.alert, pool).ok()
            }
            State::Fresh | State::Shaking(_) => {
                let [level, alert] = failure.alert.message();
                pool.copy_of(&[crate::record::ALERT, 3, 3, 0, 2, level, alert])
            }
            State::Open(_) | State::Failed => None,
        };
        words.into_iter().for_each(reply);
        failure.into()
    }
}

impl Filter for TlsFilter {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        self.advance(wire, plain, reply, pool).map_err(|failure| self.fail(failure, reply, pool))
    }

    fn room(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<Option<Room>> {
        match &mut self.state {
            State::Fresh | State::Shaking(_) => Ok(None),
            State::Open(traffic) => Ok(Some(traffic.room(wire, pool)?)),
            State::Failed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn seal(&mut self, record: &mut [u8]) -> io::Result<()> {
        let State::Open(traffic) = &mut self.state else { return Err(io::ErrorKind::BrokenPipe.into()) };
        Ok(traffic.seal(record)?)
    }

    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        if let State::Open(traffic) = &mut self.state {
            wire(traffic.alert(Alert::CloseNotify, pool)?);
        }
        Ok(())
    }

    fn ended(&mut self) -> io::Result<()> {
        match &self.state {
            State::Open(traffic) if traffic.is_ended => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn is_ended(&self) -> bool {
        matches!(&self.state, State::Open(traffic) if traffic.is_ended)
    }

    fn session(&self) -> Option<Rc<Session>> {
        match &self.state {
            State::Open(traffic) => Some(Rc::clone(&traffic.session)),
            State::Fresh | State::Shaking(_) | State::Failed => None,
        }
    }
}

fn say(words: &[u8], reply: &mut dyn FnMut(Slice), pool: &Pool) -> Result<(), Failure> {
    for part in words.chunks(SLICE_BYTES_MAX) {
        reply(pool.copy_of(part).ok_or_else(Failure::memory)?);
    }
    Ok(())
}
