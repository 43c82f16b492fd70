//! A layer that reads whose connection it is from what a proxy says first (PROXY protocol, versions 1 and 2).

use super::Voice;
use super::layer::{Layer, Out, Pieces};
use ringway_engine::Inbox;
use ringway_engine::ring::SLICE_BYTES_MAX;
use ringway_http::proxy_protocol::{Header, Source, parse};
use std::io;
use std::net::SocketAddr;

/// What a connection has said of whose it is.
pub(crate) struct Proxy {
    voice: Voice,
    peer: Option<SocketAddr>,
    client: Option<SocketAddr>,
    is_told: bool,
    is_trusted: bool,
}

impl Proxy {
    /// `is_trusted`: the peer is one whose word is taken.
    pub(crate) fn new(voice: Voice, peer: Option<SocketAddr>, is_trusted: bool) -> Self {
        Self { voice, peer, client: None, is_told: false, is_trusted }
    }

    fn refuse(&self, why: &str) -> io::Error {
        match self.peer {
            Some(peer) => self.voice.warn(&format!("filter proxy-protocol: {peer} is refused: {why}")),
            None => self.voice.warn(&format!("filter proxy-protocol: a connection is refused: {why}")),
        }
        io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")
    }
}

impl Layer for Proxy {
    fn begin(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        if self.is_trusted {
            return Ok(());
        }
        Err(self.refuse("it is no trusted proxy, and connections here come by one"))
    }

    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while !self.is_told {
            let Some(mut bytes) = below.next_joined(out.pool) else { return Ok(()) };
            match parse(&bytes) {
                Ok(None) if bytes.len() < SLICE_BYTES_MAX => {
                    below.unread(bytes);
                    return Ok(());
                }
                Ok(None) => return Err(self.refuse("its header is too long")),
                Ok(Some(Header { bytes: length, source, .. })) => {
                    self.is_told = true;
                    if let Source::Client { client, .. } = source {
                        self.client = Some(SocketAddr::new(client.ip().to_canonical(), client.port()));
                    }
                    bytes.advance(length.min(bytes.len()));
                    below.unread(bytes);
                }
                Err(error) => return Err(self.refuse(error.words())),
            }
        }
        while let Some(piece) = below.take_first() {
            out.up.push(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            out.down.push(piece);
        }
        Ok(())
    }

    fn ended(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        if self.is_told { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn is_open(&self) -> bool {
        self.is_told
    }

    fn client(&self) -> Option<SocketAddr> {
        self.client
    }
}
