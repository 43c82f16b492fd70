//! The 159 request smuggling cases of the `http_desync_guardian` package, read from its source.
//!
//! What its authors call *Severe* must be refused, what they call *Compliant* accepted, except that a transfer
//! coding other than chunked is answered 501, as RFC 9112 section 6.1 asks of a server that lacks it. Of their
//! *Acceptable* and *Ambiguous* cases all are refused but two kinds that have one reading only: a body, framed
//! once, behind GET or HEAD, and field names that merely resemble a framing field.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ringway_http::head::{HeadScan, Limits, Request};
use ringway_http::refusal::Refusal;
use yaml_rust2::{Yaml, YamlLoader};

const PACKAGE: &str = "http_desync_guardian-0.1.3";

/// Cases of each tier; the sum is 159.
const COMPLIANT: usize = 28;
const SEVERE: usize = 58;
const AMBIGUOUS: usize = 58;
const ACCEPTABLE: usize = 15;

#[derive(Debug)]
struct Case {
    name: String,
    tier: String,
    bytes: Vec<u8>,
}

/// Where cargo keeps the source of the package; asking for metadata makes it fetch what is missing.
fn package_folder() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = |extra: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["metadata", "--format-version", "1", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).args(extra).output().unwrap()
    };
    let mut output = metadata(&["--offline"]);
    if !output.status.success() {
        output = metadata(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json = String::from_utf8(output.stdout).unwrap();
    let manifest = format!("{PACKAGE}/Cargo.toml\"");
    let at = json.find(&manifest).expect("the package is a dependency");
    let start = json[..at].rfind('"').unwrap() + 1;
    PathBuf::from(&json[start..at]).join(PACKAGE)
}

fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> =
        package_folder().join("tests").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().flat_map(|path| cases_in(path)).collect()
}

fn cases_in(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let documents = YamlLoader::load_from_str(&text).unwrap();
    let cases = documents[0].as_vec().unwrap();
    cases
        .iter()
        .map(|case| Case {
            name: scalar(&case["name"]),
            tier: scalar(&case["expected"]["tier"]),
            bytes: render(case),
        })
        .collect()
}

fn scalar(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        other => panic!("{other:?} is no text"),
    }
}

/// The request as it would be on the wire.
fn render(case: &Yaml) -> Vec<u8> {
    let (method, uri, version) = (scalar(&case["method"]), scalar(&case["uri"]), scalar(&case["version"]));
    // An empty URI has one way to be sent: as the path of an absolute target (RFC 9112 section 3.2.2).
    let uri = if uri.is_empty() { "http://localhost" } else { &uri };
    let mut head =
        if version.is_empty() { format!("{method} {uri}") } else { format!("{method} {uri} {version}") };
    head.push_str("\r\n");
    let fields = case["headers"].as_vec().map(Vec::as_slice).unwrap_or_default();
    // The cases are about other things and most leave Host out, which alone would have them refused.
    if !fields.iter().any(|field| scalar(&field["name"]).eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    for field in fields {
        head.push_str(&format!("{}: {}\r\n", scalar(&field["name"]), scalar(&field["value"])));
    }
    head.push_str("\r\n");
    bytes(&head)
}

/// Escapes such as `\xa0` mean that byte; other letters are UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for letter in text.chars() {
        match u8::try_from(u32::from(letter)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

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
    assert_eq!(cases.len(), COMPLIANT + SEVERE + AMBIGUOUS + ACCEPTABLE);
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
