//! Handshakes: rustls is fed one record at a time, so that it never sees one that is ours to open.

use crate::certificates;
use crate::failure::{Alert, Failure};
use crate::framing::Framing;
use crate::record::{HEAD_BYTES, Keys};
use crate::traffic::{Kernel, Traffic};
use aws_lc_rs::digest;
use ringway_engine::{ClientCertificate, Inbox, Session};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CipherSuite, CommonState, ExtractedSecrets, HandshakeKind, ProtocolVersion};
use std::rc::Rc;

/// Most records of a peer's handshake. A certificate chain takes a few.
const RECORDS_MAX: u32 = 64;

/// Most bytes of a peer's handshake, headers included: a long chain of certificates fits several times.
const BYTES_MAX: usize = 128 * 1024;

/// Most rounds that one record causes in rustls: a few answers each.
const ROUNDS_MAX: u32 = 64;

/// A handshake under way.
pub(crate) struct Handshake {
    side: OneSide,
    framing: Framing,
    /// Records that rustls has not let go of: a message that is not whole.
    pending: Vec<u8>,
    records: u32,
    bytes: usize,
    /// The name the client asked for.
    server_name: Option<Box<str>>,
}

/// Which end of the connection this is.
pub(crate) enum OneSide {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// How far a handshake has come.
pub(crate) enum Progress {
    /// More has to arrive.
    Waits,
    /// It is done.
    Done,
}

/// What one look at rustls said.
enum Round {
    Again,
    Waits,
    Failed(Failure),
}

impl Handshake {
    pub(crate) fn new(side: OneSide) -> Self {
        Self {
            side,
            framing: Framing::default(),
            pending: Vec::new(),
            records: 0,
            bytes: 0,
            server_name: None,
        }
    }

    /// Goes on with what has arrived; `words` is what must be sent, even when this fails.
    pub(crate) fn advance(&mut self, wire: &mut Inbox, words: &mut Vec<u8>) -> Result<Progress, Failure> {
        if matches!(self.side, OneSide::Client(_)) && self.records == 0 && self.bytes == 0 {
            // The client speaks first, once.
            self.bytes = 1;
            self.work(words)?;
        }
        while let Some((head, length)) = self.framing.next(wire)? {
            self.records += 1;
            self.bytes += HEAD_BYTES + length;
            if self.records > RECORDS_MAX || self.bytes > BYTES_MAX {
                return Err(Failure::new(Alert::HandshakeFailure, "a handshake that is too long"));
            }
            self.pending.extend_from_slice(&head);
            let at = self.pending.len();
            self.pending.resize(at + length, 0);
            wire.copy_to(&mut self.pending[at..]);
            if let Progress::Done = self.work(words)? {
                if !self.pending.is_empty() {
                    let reason = "a message that goes on behind the handshake";
                    return Err(Failure::new(Alert::UnexpectedMessage, reason));
                }
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Waits)
    }

    /// Lets rustls work on what is pending.
    fn work(&mut self, words: &mut Vec<u8>) -> Result<Progress, Failure> {
        let mut failure = None;
        for _ in 0..ROUNDS_MAX {
            let pending = &mut self.pending[..];
            let (discard, round) = match &mut self.side {
                OneSide::Server(server) => take(server.process_tls_records(pending), words),
                OneSide::Client(client) => take(client.process_tls_records(pending), words),
            };
            if let Some(name) = certificates::take_asked_name() {
                self.server_name = Some(name);
            }
            self.pending.drain(..discard.min(self.pending.len()));
            match (round, &failure) {
                (Round::Again, _) => {}
                (Round::Waits, None) if self.common().is_handshaking() => return Ok(Progress::Waits),
                (Round::Waits, None) => return Ok(Progress::Done),
                // Its alert is still to be had.
                (Round::Failed(first), None) => failure = Some(first),
                (_, Some(_)) => break,
            }
        }
        Err(failure.unwrap_or_else(|| Failure::internal("a handshake without an end")))
    }

    /// What has been agreed on, with the keys.
    pub(crate) fn finish(self, known: &mut Option<Rc<Session>>) -> Result<Traffic, Failure> {
        let found = self.session()?;
        // Most connections of a worker agree on the same.
        let session = match known {
            Some(known) if **known == found => Rc::clone(known),
            _ => Rc::clone(known.insert(Rc::new(found))),
        };
        let is_tls13 = self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let refused = |_| Failure::internal("the secrets cannot be had");
        let (secrets, kernel) = match self.side {
            OneSide::Server(server) => server.dangerous_into_kernel_connection().map(from_server),
            OneSide::Client(client) => client.dangerous_into_kernel_connection().map(from_client),
        }
        .map_err(refused)?;
        let opening = Keys::new(secrets.rx, is_tls13)?;
        let sealing = Keys::new(secrets.tx, is_tls13)?;
        Ok(Traffic::new(opening, sealing, kernel, session))
    }

    fn session(&self) -> Result<Session, Failure> {
        let common = self.common();
        let peer = common.peer_certificates().and_then(<[_]>::first);
        let client_certificate =
            peer.filter(|_| matches!(self.side, OneSide::Server(_))).map(|certificate| {
                let fingerprint = digest::digest(&digest::SHA256, certificate);
                ClientCertificate {
                    subject: crate::x509::Facts::read(certificate)
                        .map_or_else(|_| Box::default(), |facts| facts.subject.into()),
                    fingerprint: fingerprint.as_ref().try_into().unwrap_or_default(),
                }
            });
        Ok(Session {
            alpn: common.alpn_protocol().unwrap_or_default().into(),
            server_name: self.server_name.clone(),
            protocol: match common.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => return Err(Failure::internal("a version that is not offered was agreed on")),
            },
            cipher: common.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
            client_certificate,
            is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            OneSide::Server(server) => server,
            OneSide::Client(client) => client,
        }
    }
}

fn from_server(
    (secrets, kernel): (ExtractedSecrets, KernelConnection<ServerConnectionData>),
) -> (ExtractedSecrets, Kernel) {
    (secrets, Kernel::Server(kernel))
}

fn from_client(
    (secrets, kernel): (ExtractedSecrets, KernelConnection<ClientConnectionData>),
) -> (ExtractedSecrets, Kernel) {
    (secrets, Kernel::Client(kernel))
}

/// Takes what one look at rustls gives.
fn take<Data>(status: UnbufferedStatus<'_, '_, Data>, words: &mut Vec<u8>) -> (usize, Round) {
    let UnbufferedStatus { discard, state } = status;
    let round = match state {
        Ok(ConnectionState::EncodeTlsData(mut encoding)) => {
            let at = words.len();
            match encoding.encode(&mut []) {
                Err(EncodeError::InsufficientSize(missing)) => {
                    words.resize(at + missing.required_size, 0);
                    let encoded = encoding.encode(&mut words[at..]);
                    words.truncate(at + encoded.unwrap_or(0));
                }
                Ok(_) | Err(EncodeError::AlreadyEncoded) => {}
            }
            Round::Again
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Round::Again
        }
        // A server may speak before the client has finished; this one does not.
        Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => Round::Waits,
        Ok(_) => Round::Failed(Failure::new(
            Alert::UnexpectedMessage,
            "an end, or bytes, before the handshake is done",
        )),
        Err(error) => Round::Failed(Failure::handshake(&error)),
    };
    (discard, round)
}

/// IANA's name of a cipher suite that is offered.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}
