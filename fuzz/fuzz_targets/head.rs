//! Request heads: no input panics, no split changes an outcome, and what is accepted reads the same to another parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::conditional::{Validators, evaluate, range_applies};
use ringway_http::etag::EntityTag;
use ringway_http::head::{Body, HeadScan, Known, Limits, Request, Version};
use ringway_http::negotiate::Accepted;
use ringway_http::refusal::Refusal;

type Outcome = Result<Option<String>, Refusal>;

/// Feeds the bytes as prefixes that end at `stops`, then whole.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = HeadScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return Request::parse(&bytes[..end], limits).map(|request| Some(format!("{end} {request:?}")));
        }
    }
    Ok(None)
}

/// What is promised of every request that is accepted.
fn check(request: &Request<'_>, limits: &Limits) {
    assert!(request.line().len() <= limits.line_bytes_max as usize);
    assert!(request.as_bytes().len() <= limits.head_bytes_max as usize);
    assert!(request.fields().count() <= usize::from(limits.fields_max));
    assert!(request.path().starts_with(b"/") || request.path() == b"*");
    assert!(request.host().is_some() || request.version() == Version::Http10);
    let named = |name: &str| {
        request.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).count()
    };
    let framed = match request.body() {
        Body::None => (0, 0),
        Body::Length(_) => (1, 0),
        Body::Chunked => (0, 1),
    };
    assert_eq!((named("content-length"), named("transfer-encoding")), framed);
    for known in Known::ALL {
        assert_eq!(request.values(*known).count(), named(known.as_str()));
        assert_eq!(request.sole(*known).is_some(), named(known.as_str()) == 1);
    }
    for field in request.fields() {
        assert!(!field.name.is_empty());
        assert!(!field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let tag = EntityTag { weak: false, opaque: b"a" };
    let current = Validators { tag: Some(tag), modified_s: Some(784_111_777) };
    let _ = evaluate(request, Some(&current));
    let _ = range_applies(request, &current, 800_000_000);
    let _ = Accepted::parse(request.accept_encoding());
}

/// httparse is laxer in many ways; whatever is accepted here must mean the same there.
fn compare(bytes: &[u8], end: usize, ours: &Request<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    match theirs.parse(bytes) {
        Ok(status) => assert_eq!(status, httparse::Status::Complete(end)),
        // It wants targets to be UTF-8.
        Err(httparse::Error::Token) if str::from_utf8(ours.target()).is_err() => return,
        Err(error) => panic!("{error}"),
    }
    assert_eq!(theirs.method, Some(ours.method().as_str()));
    assert_eq!(theirs.path.map(str::as_bytes), Some(ours.target()));
    assert_eq!(theirs.headers.len(), ours.fields().count());
    for (theirs, ours) in theirs.headers.iter().zip(ours.fields()) {
        assert_eq!((theirs.name.as_bytes(), theirs.value), (ours.name, ours.value));
    }
}

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (tight, split, bytes) = input;
    let limits = if tight {
        Limits { line_bytes_max: 24, head_bytes_max: 80, fields_max: 4 }
    } else {
        Limits::default()
    };
    let whole = feed(bytes, std::iter::empty(), &limits);
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(feed(bytes, std::iter::once(split), &limits), whole);
    assert_eq!(feed(bytes, 0..bytes.len(), &limits), whole);
    // Parsing stands on its own: whatever it is handed, it answers.
    let _ = Request::parse(bytes, &limits);
    if let Ok(Some(end)) = HeadScan::new().find(bytes, &limits)
        && let Ok(request) = Request::parse(&bytes[..end], &limits)
    {
        check(&request, &limits);
        compare(bytes, end, &request);
    }
});
