//! The cases of `http_desync_guardian` sent to the real server: what smuggles is refused once and ends the connection, what is
//! accepted ends where the next request begins.

use crate::stand::{Stand, on_both_drivers};
use ringway_testkit::{Answer, Client};
use std::net::SocketAddr;

#[path = "../../../pure/http/tests/desync_guardian/cases.rs"]
mod cases;

use cases::{Case, cases};

/// Stands behind every case: it is answered where the case ended, or never.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Bodies hold it over and over: a server that loses its place in one answers what must not be seen.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Every request is answered, whatever its method and target; bodies are as long as the cases say.
const SITE: &str = "[[site.route]]\npath = \"/**\"\nrespond = { body = \"taken\" }\n\
                    [[site.route]]\npath = \"/next\"\nrespond = { body = \"next\" }\n\
                    [[site.route]]\npath = \"/smuggled\"\nrespond = { body = \"smuggled\" }\n\
                    [limits]\nbody_size = \"8 MiB\"\nconnections_per_address = 0\n";

/// What became of a case.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Refused with this status, and nothing behind it was answered.
    Refused(u16),
    /// Answered, and so was what followed.
    Accepted,
}

/// The body that the head announces, as a parser reads it that takes the field at its word.
fn body_of(case: &Case) -> Vec<u8> {
    let text = String::from_utf8_lossy(&case.bytes).to_ascii_lowercase();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    for (name, value) in fields {
        match (name, value.trim()) {
            ("content-length", length) => {
                let length = length.parse().unwrap_or(0);
                return SMUGGLED.iter().copied().cycle().take(length).collect();
            }
            ("transfer-encoding", _) => {
                let size = format!("{:x}\r\n", SMUGGLED.len());
                return [size.as_bytes(), SMUGGLED, b"\r\n0\r\n\r\n"].concat();
            }
            _ => {}
        }
    }
    Vec::new()
}

/// Sends a case, its body, and another request. A server that refuses may close before it has read all of that.
fn outcome(address: SocketAddr, case: &Case) -> Outcome {
    let mut client = Client::connect(address).unwrap();
    let all = [&case.bytes[..], &body_of(case), NEXT].concat();
    let sent = client.send(&all);
    let is_head = case.bytes.starts_with(b"HEAD ");
    let first = client.answer(is_head).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = client.until_end();
    if is_refusal(&first) {
        let is_reset = rest.is_err();
        assert_eq!(first.field("connection"), Some("close"), "{case:?}: {first:?}");
        // A reset may take the end's place where more was sent than was read. What is no request is answered with a body
        // even where it begins as HEAD.
        let is_alone = rest.is_ok_and(|rest| !String::from_utf8_lossy(&rest).contains("HTTP/1."));
        assert!(is_alone || is_reset, "{case:?} is answered twice");
        return Outcome::Refused(first.status);
    }
    sent.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = rest.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("\r\n\r\nnext"), "{case:?}: then {rest:?}");
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{case:?}: then {rest:?}");
    // No path names anything with a control byte, which is no refusal.
    let is_named = !["%09", "%0A", "%0D"].iter().any(|escape| has(case, escape));
    let body: &[u8] = if is_head { b"" } else { b"taken" };
    assert!(if is_named { first.body == body } else { first.status == 404 }, "{case:?}: {first:?}");
    Outcome::Accepted
}

fn has(case: &Case, text: &str) -> bool {
    String::from_utf8_lossy(&case.bytes).contains(text)
}

fn is_refusal(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 411 | 413 | 414 | 417 | 431 | 501 | 505)
}

/// Asserts what the tier asks for; whether the case was accepted.
fn judge(case: &Case, outcome: &Outcome) -> bool {
    match (case.tier.as_str(), outcome) {
        ("Severe", Outcome::Refused(_)) | ("Compliant", Outcome::Accepted) => {}
        // Codings besides plain chunked are not implemented; an empty target has no form of RFC 9112 section 3.2.
        ("Compliant", Outcome::Refused(501)) if has_other_codings(case) => {}
        ("Compliant", Outcome::Refused(400)) if case.bytes.starts_with(b"GET  HTTP/1.1\r\n") => {}
        ("Ambiguous" | "Acceptable", _) => {}
        _ => panic!("{case:?}: {outcome:?}"),
    }
    *outcome == Outcome::Accepted
}

fn has_other_codings(case: &Case) -> bool {
    let text = String::from_utf8_lossy(&case.bytes).to_ascii_lowercase();
    let mut codings = text.lines().filter_map(|line| line.strip_prefix("transfer-encoding:"));
    codings.any(|codings| codings.trim() != "chunked")
}

#[test]
fn what_smuggles_is_refused_and_what_is_sound_is_served() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new("run-smuggling", driver);
        stand.more = SITE.to_owned();
        stand.write();
        let running = stand.start();
        let accepted = cases().iter().filter(|case| judge(case, &outcome(running.address(), case))).count();
        // 20 of the compliant ones, and 10 with one reading of those in between.
        assert_eq!(accepted, 30);
        running.stop();
    });
}
