//! The server's side: what a client asks for, and the fields of the answer.

use ringway_http::head::{Authority, Fields, Known, Request};
use ringway_http::method::Method;

use super::{KEY_BYTES, Refusal, VERSION, accept_key, line, list};
use crate::base64;
use crate::deflate::{Agreement, Options, agreement};

/// Subprotocols a client may name.
const PROTOCOLS_MAX: usize = 32;

/// A request that asks for a WebSocket, every field of it checked.
#[derive(Clone, Debug)]
pub struct Upgrade<'b> {
    fields: Fields<'b>,
    host: Option<Authority<'b>>,
    origin: Option<&'b [u8]>,
    /// `None` over HTTP/2, which has no keys.
    key: Option<[u8; KEY_BYTES]>,
}

impl<'b> Upgrade<'b> {
    /// Reads a request of HTTP/1.1. `None` when it asks for no WebSocket and is an ordinary request.
    ///
    /// # Errors
    /// A [`Refusal`] when it asks for one in a way that cannot be answered.
    pub fn read(request: &Request<'b>) -> Result<Option<Self>, Refusal> {
        let Some(upgrade) = request.upgrade() else { return Ok(None) };
        if !list::tokens(upgrade).flatten().any(|token| token.eq_ignore_ascii_case("websocket")) {
            return Ok(None);
        }
        if request.method() != Method::Get {
            return Err(Refusal::Method);
        }
        if !request.body().is_empty() {
            return Err(Refusal::Body);
        }
        let key = sole(request, "sec-websocket-key").ok_or(Refusal::KeyCount)?;
        if !base64::is_of_16(key) {
            return Err(Refusal::KeyForm);
        }
        let key = key.try_into().map_err(|_length| Refusal::KeyForm)?;
        Self::checked(request, Some(key)).map(Some)
    }

    /// Reads an extended CONNECT of HTTP/2 whose `:protocol` is `websocket` (RFC 8441), turned into a head of HTTP/1.1 by
    /// whoever knows that it was one.
    ///
    /// # Errors
    /// A [`Refusal`] when the fields that remain cannot be answered.
    pub fn read_connect(request: &Request<'b>) -> Result<Self, Refusal> {
        Self::checked(request, None)
    }

    fn checked(request: &Request<'b>, key: Option<[u8; KEY_BYTES]>) -> Result<Self, Refusal> {
        if sole(request, "sec-websocket-version") != Some(VERSION.as_bytes()) {
            return Err(Refusal::Version);
        }
        let origin = request.sole(Known::Origin);
        if origin.is_none() && request.has(Known::Origin) {
            return Err(Refusal::OriginCount);
        }
        let upgrade = Self { fields: request.fields(), host: request.host(), origin, key };
        upgrade.check_protocols()?;
        let mut extensions = upgrade.values("sec-websocket-extensions").flat_map(list::extensions);
        if !extensions.all(|extension| extension.is_some_and(|it| it.parameters().all(|each| each.is_some())))
        {
            return Err(Refusal::Extensions);
        }
        Ok(upgrade)
    }

    fn check_protocols(&self) -> Result<(), Refusal> {
        let mut seen = [""; PROTOCOLS_MAX];
        let listed = self.values("sec-websocket-protocol").flat_map(list::tokens);
        for (at, protocol) in listed.enumerate() {
            let protocol = protocol.ok_or(Refusal::Protocols)?;
            if at == PROTOCOLS_MAX || seen[..at].contains(&protocol) {
                return Err(Refusal::Protocols);
            }
            seen[at] = protocol;
        }
        Ok(())
    }

    /// `Origin`, which browsers always send: the site whose page asks.
    pub const fn origin(&self) -> Option<&'b [u8]> {
        self.origin
    }

    /// Whether the page that asks is of the host that is asked, by the same scheme: of `https` if the connection is
    /// `secure`, of `http` otherwise. True when there is no `Origin`, so when no page asks.
    pub fn is_same_origin(&self, secure: bool) -> bool {
        let Some(origin) = self.origin else { return true };
        let (scheme, port) = if secure { (&b"https://"[..], 443) } else { (&b"http://"[..], 80) };
        let Some((sent, rest)) = origin.split_at_checked(scheme.len()) else { return false };
        let (Ok(theirs), Some(ours)) = (Authority::parse(rest), self.host) else { return false };
        sent.eq_ignore_ascii_case(scheme)
            && theirs.name().eq_ignore_ascii_case(ours.name())
            && theirs.port().unwrap_or(port) == ours.port().unwrap_or(port)
    }

    /// The subprotocols that the client speaks, the one it likes best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'b str> {
        self.values("sec-websocket-protocol").flat_map(list::tokens).flatten()
    }

    /// The client's first subprotocol that is among `ours`.
    pub fn protocol(&self, ours: &[&str]) -> Option<&'b str> {
        self.protocols().find(|protocol| ours.contains(protocol))
    }

    /// What compression there will be, if the client offers one that can be agreed on: its first.
    pub fn deflate(&self, options: &Options) -> Option<Agreement> {
        self.values("sec-websocket-extensions")
            .flat_map(list::extensions)
            .flatten()
            .filter(|extension| extension.name == agreement::NAME.as_bytes())
            .find_map(|extension| Agreement::answer(&extension, options))
    }

    /// Appends the field lines that answer: all but `Connection` and `Upgrade`, which only HTTP/1.1 has and whoever writes
    /// "101 Switching Protocols" adds. Over HTTP/2 the status is 200.
    pub fn answer(&self, protocol: Option<&str>, deflate: Option<&Agreement>, out: &mut Vec<u8>) {
        if let Some(key) = &self.key {
            line("Sec-WebSocket-Accept", &accept_key(key), out);
        }
        if let Some(protocol) = protocol {
            line("Sec-WebSocket-Protocol", protocol.as_bytes(), out);
        }
        if let Some(agreement) = deflate {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            agreement.write(out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let fields = self.fields.clone();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }
}

/// The value of a field that stands once.
fn sole<'b>(request: &Request<'b>, name: &str) -> Option<&'b [u8]> {
    let mut values = request.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    let first = values.next()?;
    if values.next().is_some() { None } else { Some(first.value) }
}
