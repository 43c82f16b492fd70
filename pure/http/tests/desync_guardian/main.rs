//! The 159 request smuggling cases of the `http_desync_guardian` package, read from its source.
//!
//! What its authors call *Severe* must be refused, what they call *Compliant* accepted, except that a transfer
//! coding other than chunked is answered 501, as RFC 9112 section 6.1 asks of a server that lacks it, and an empty target 400. Of their
//! *Acceptable* and *Ambiguous* cases all are refused but two kinds that have one reading only: a body, framed
//! once, behind GET or HEAD, and field names that merely resemble a framing field.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use cases::{COUNT, Case, cases};
use ringway_http::head::{HeadScan, Limits, Request};
use ringway_http::refusal::Refusal;

/// Cases of each tier.
const COMPLIANT: usize = 28;
const SEVERE: usize = 58;
const AMBIGUOUS: usize = 58;
const ACCEPTABLE: usize = 15;

const _: () = assert!(COMPLIANT + SEVERE + AMBIGUOUS + ACCEPTABLE == COUNT);

/// Reads a case that arrives in two pieces, split at `at`.
fn read(bytes: &[u8], at: usize) -> Result<(), Refusal> {
    let limits = Limits::default();
    let mut scan = HeadScan::new();
    let end = match scan.find(&bytes[..at], &limits)? {
        Some(end) => Some(end),
        None => scan.find(bytes, &limits)?,
    };
    Request::parse(&bytes[..end.expect("every case is a whole head")], &limits).map(drop)
}

/// The outcome of a case, which no split changes.
fn outcome(case: &Case) -> Result<(), Refusal> {
    let whole = read(&case.bytes, case.bytes.len());
    for at in 0..case.bytes.len() {
        assert_eq!(read(&case.bytes, at), whole, "{} split at {at}", case.name);
    }
    whole
}

fn tier(name: &str, count: usize) -> Vec<Case> {
    let mut cases = cases();
    cases.retain(|case| case.tier == name);
    assert_eq!(cases.len(), count);
    cases
}

#[test]
fn severe_cases_are_refused() {
    for case in tier("Severe", SEVERE) {
        let outcome = outcome(&case);
        assert!(outcome.is_err(), "{}: {}", case.name, case.bytes.escape_ascii());
    }
}

#[test]
fn compliant_cases_are_accepted_or_name_a_coding_that_is_not_implemented() {
    let mut not_implemented = 0;
    for case in tier("Compliant", COMPLIANT) {
        match outcome(&case) {
            Ok(()) => {}
            Err(Refusal::CodingUnknown) => not_implemented += 1,
            Err(_) if case.bytes.starts_with(b"GET  HTTP/1.1") => {}
            Err(refusal) => panic!("{}: {refusal}: {}", case.name, case.bytes.escape_ascii()),
        }
    }
    assert_eq!(not_implemented, 7, "codings besides plain chunked");
}

/// A body that GET or HEAD does not need, but framed once and exactly: it is read like any other.
fn has_a_plain_body(case: &Case) -> bool {
    let reads = case.bytes.starts_with(b"GET ") || case.bytes.starts_with(b"HEAD ");
    let text = case.bytes.to_ascii_lowercase().escape_ascii().to_string();
    reads && text.matches("content-length: ").count() + text.matches("transfer-encoding: ").count() == 1
}

/// A field whose name no backend turns into a framing field: CGI keeps the number of dashes and underscores.
fn has_a_name_of_its_own(case: &Case) -> bool {
    let text = case.bytes.escape_ascii().to_string();
    text.contains("Transfer---Encoding: ") || text.contains("Transfer___Encoding: ")
}

#[test]
fn between_the_two_only_what_has_one_reading_is_accepted() {
    let mut accepted = tier("Ambiguous", AMBIGUOUS);
    accepted.extend(tier("Acceptable", ACCEPTABLE));
    accepted.retain(|case| outcome(case).is_ok());
    assert_eq!(accepted.iter().filter(|case| has_a_plain_body(case)).count(), 8);
    assert_eq!(accepted.iter().filter(|case| has_a_name_of_its_own(case)).count(), 2);
    assert_eq!(accepted.len(), 10, "{accepted:#?}");
}
