//! From a request to the head that is sent on.

use super::options::ProxyOptions;
use crate::exchange::Exchange;
use crate::request_body::RequestBody;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_http::forwarded::AddressText;
use ringway_http::method::Method;
use ringway_http::relay::{self, Asking, Framing, RelayError, RequestRules};
use ringway_http::status::Status;

/// Memory for a head, in bytes, and how much of it may be added to what the client sent, before more is taken.
const HEAD_BYTES: usize = 2048;
const ADDED_BYTES: usize = 512;

/// Writes the head of the request as the upstream gets it. `framing` is that of the body to come.
///
/// # Errors
/// The status to refuse with.
pub(super) fn head(
    exchange: &mut Exchange<'_>,
    options: &ProxyOptions,
    pool: &Pool,
    framing: Framing,
    id: &[u8],
) -> Result<Slice, Status> {
    let peer = exchange.neighbour().map(|peer| AddressText::new(peer.ip()));
    let client = exchange.peer().map(|client| AddressText::new(client.ip()));
    let is_secure = exchange.session().is_some();
    let request = exchange.request;
    let path = path(exchange, options)?;
    let asking = Asking {
        path: [options.prefix.as_bytes(), path],
        query: exchange.query,
        host: match &options.host {
            Some(host) => host.as_bytes(),
            None => request.host().map_or(&b""[..], |host| host.as_bytes()),
        },
        framing,
        upgrade: upgrade(exchange, options),
        closes: false,
        peer,
        client,
        trusted: exchange.believed(),
        is_secure,
        id,
    };
    let (removed, lines) = options.edits.parts();
    let rules = RequestRules {
        removed,
        lines,
        x_forwarded: options.x_forwarded,
        forwarded: options.forwarded,
        via: options.via,
        id_name: options.id_field.as_bytes(),
    };
    let is_small = request.as_bytes().len() + lines.len() + ADDED_BYTES <= HEAD_BYTES;
    for bytes in [HEAD_BYTES, SLICE_BYTES_MAX].into_iter().skip(usize::from(!is_small)) {
        let mut memory = pool.get(bytes).ok_or(Status::SERVICE_UNAVAILABLE)?;
        match relay::write_request(request, &rules, &asking, &mut memory) {
            Ok(len) => return Ok(memory.freeze(len)),
            Err(RelayError::Full) => {}
            Err(RelayError::Options) => return Err(Status::BAD_REQUEST),
            Err(RelayError::Loop) => return Err(Status::LOOP_DETECTED),
            Err(RelayError::Value) => return Err(Status::INTERNAL_SERVER_ERROR),
        }
    }
    Err(Status::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// How a request's body is framed for the upstream.
pub(super) fn framing(method: Method<'_>, body: Option<&RequestBody>) -> Framing {
    match body.map(RequestBody::length) {
        Some(Some(length @ 1..)) => Framing::Length(length),
        Some(None) => Framing::Chunked,
        // Methods that usually have a body say so when there is none (RFC 9110 section 8.6).
        _ if matches!(method, Method::Post | Method::Put | Method::Patch) => Framing::Length(0),
        _ => Framing::None,
    }
}

/// The protocol that the client wants to go over to, if it may. A request with a body is answered as any other.
pub(super) fn upgrade<'a>(exchange: &Exchange<'a>, options: &ProxyOptions) -> Option<&'a [u8]> {
    let wanted = exchange.request.upgrade()?;
    let is_allowed = options.upgrades.iter().any(|name| wanted.eq_ignore_ascii_case(name.as_bytes()));
    (is_allowed && exchange.request.body().is_empty()).then_some(wanted)
}

fn path<'a>(exchange: &Exchange<'a>, options: &ProxyOptions) -> Result<&'a [u8], Status> {
    let (raw, path) = (exchange.request.path(), exchange.path);
    // Nearly always it goes on as it was sent.
    if options.strip.is_empty() && relay::is_spelling_of(raw, path) {
        return Ok(raw);
    }
    let Ok(memory) = exchange.scratch.alloc_slice_with(path.len() * 3, |_| 0) else {
        return Err(Status::SERVICE_UNAVAILABLE);
    };
    relay::encoded_path(raw, path, options.strip.as_bytes(), memory).map_err(|refusal| refusal.status())
}
