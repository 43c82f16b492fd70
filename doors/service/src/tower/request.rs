//! From a request's head to the `http` crate's: the bytes are copied once, names and values share them.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri, Version};
use ringway_http::head;
use ringway_http::method::Method as Token;
use ringway_http::relay;
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use std::ops::Range;

/// Bytes of memory that heads share, one after the other; what outlives its request keeps this much at most.
const HEADS_BYTES: usize = 8 * 1024;

/// Fields that a map has room for at first, and at most when it is used again.
const FIELDS: usize = 12;
const FIELDS_KEPT_MAX: usize = 64;

/// What a worker makes heads of requests from; heads that are done with give their memory back.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Where heads are copied to.
    memory: BytesMut,
    /// A map that was used before.
    fields: Option<HeaderMap>,
}

impl Heads {
    /// The head of the exchange's request, for a service that is mounted at `prefix` (`/a/b`, or nothing).
    ///
    /// # Errors
    /// The status to refuse with: the `http` crate is stricter than the server with some bytes in targets.
    pub(super) fn make(&mut self, exchange: &Exchange<'_>, prefix: &str) -> Result<Request<()>, Status> {
        let head = self.copy(exchange.request.as_bytes());
        let mut request = Request::new(());
        *request.method_mut() = method(exchange.request.method())?;
        *request.uri_mut() = uri(exchange, prefix, &head)?;
        *request.version_mut() = match exchange.request.version() {
            head::Version::Http10 => Version::HTTP_10,
            head::Version::Http11 => Version::HTTP_11,
        };
        let mut fields = self.fields.take().unwrap_or_else(|| HeaderMap::with_capacity(FIELDS));
        let sent = exchange.request.as_bytes();
        for field in exchange.request.fields() {
            let name = HeaderName::from_bytes(field.name).map_err(|_bad| Status::BAD_REQUEST)?;
            let value = head.slice(place(sent, field.value));
            let value = HeaderValue::from_maybe_shared(value).map_err(|_bad| Status::BAD_REQUEST)?;
            let added = fields.try_append(name, value);
            added.map_err(|_many| Status::REQUEST_HEADER_FIELDS_TOO_LARGE)?;
        }
        *request.headers_mut() = fields;
        Ok(request)
    }

    /// Takes back a map that is done with.
    pub(super) fn put_fields(&mut self, mut fields: HeaderMap) {
        if self.fields.is_none() && (1..=FIELDS_KEPT_MAX).contains(&fields.capacity()) {
            fields.clear();
            self.fields = Some(fields);
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.memory.capacity() - self.memory.len() < bytes.len() {
            // In the same memory again, unless somebody still has part of it.
            self.memory.reserve(bytes.len().max(HEADS_BYTES));
        }
        self.memory.extend_from_slice(bytes);
        self.memory.split().freeze()
    }
}

/// Where `part` lies in `whole`, which it is a part of.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr()).min(whole.len());
    start..(start + part.len()).min(whole.len())
}

fn method(token: Token<'_>) -> Result<Method, Status> {
    Ok(match token {
        Token::Get => Method::GET,
        Token::Head => Method::HEAD,
        Token::Post => Method::POST,
        Token::Put => Method::PUT,
        Token::Delete => Method::DELETE,
        Token::Options => Method::OPTIONS,
        Token::Patch => Method::PATCH,
        Token::Trace => Method::TRACE,
        Token::Connect => Method::CONNECT,
        Token::Extension(name) => {
            Method::from_bytes(name.as_bytes()).map_err(|_bad| Status::NOT_IMPLEMENTED)?
        }
    })
}

/// The path as it was sent, where that is a spelling of the one that rules and routes have seen, otherwise that one; and
/// without the prefix.
fn uri(exchange: &Exchange<'_>, prefix: &str, head: &Bytes) -> Result<Uri, Status> {
    let request = exchange.request;
    let (raw, path) = (request.path(), exchange.path);
    let is_as_sent = prefix.is_empty()
        && exchange.query == request.query()
        && (raw == path || relay::is_spelling_of(raw, path));
    let text = if is_as_sent && !request.is_absolute() {
        head.slice(place(request.as_bytes(), request.target()))
    } else {
        rewritten(exchange, prefix)?
    };
    let target = PathAndQuery::from_maybe_shared(text).map_err(|_bad| Status::BAD_REQUEST)?;
    Ok(Uri::from(target))
}

fn rewritten(exchange: &Exchange<'_>, prefix: &str) -> Result<Bytes, Status> {
    let mut memory = vec![0; exchange.path.len() * 3];
    let path = relay::encoded_path(exchange.request.path(), exchange.path, prefix.as_bytes(), &mut memory);
    let path = path.map_err(|refusal| refusal.status())?;
    let mut text = BytesMut::with_capacity(path.len() + 2 + exchange.query.map_or(0, <[u8]>::len));
    if !path.starts_with(b"/") && path != b"*" {
        text.extend_from_slice(b"/");
    }
    text.extend_from_slice(path);
    if let Some(query) = exchange.query {
        text.extend_from_slice(b"?");
        text.extend_from_slice(query);
    }
    Ok(text.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_share_memory_and_use_it_again() {
        let mut heads = Heads::default();
        let first = heads.copy(&[1; 100]);
        let start = first.as_ptr().addr();
        drop(first);
        // As many as fit many times over: all lie in the first memory.
        for _ in 0..HEADS_BYTES {
            let head = heads.copy(&[2; 100]);
            assert!((start..start + HEADS_BYTES).contains(&head.as_ptr().addr()));
            assert_eq!(head, vec![2; 100]);
        }
        let kept = heads.copy(&[3; 5_000]);
        let next = heads.copy(&[4; 5_000]);
        assert!(kept == vec![3; 5_000] && next == vec![4; 5_000]);
    }

    #[test]
    fn maps_are_used_again_unless_they_are_large() {
        let mut heads = Heads::default();
        heads.put_fields(HeaderMap::with_capacity(FIELDS_KEPT_MAX * 4));
        heads.put_fields(HeaderMap::new());
        assert!(heads.fields.is_none());
        let mut used = HeaderMap::with_capacity(FIELDS);
        used.insert("a", HeaderValue::from_static("b"));
        heads.put_fields(used);
        assert!(heads.fields.as_ref().is_some_and(|fields| fields.is_empty() && fields.capacity() > 0));
    }

    #[test]
    fn a_part_is_found_in_its_whole() {
        let whole = b"GET / HTTP/1.1";
        assert_eq!(place(whole, &whole[4..5]), 4..5);
        assert_eq!(place(whole, &whole[..]), 0..14);
        assert_eq!(place(whole, &whole[14..]), 14..14);
    }
}
