//! One certificate: the order, the proofs, the request, the chain (RFC 8555 sections 7.4 and 7.5, RFC 8737).

use crate::account::{encode, proof};
use crate::authority::{Authority, json_of, nonsense, parse_url, printable};
use crate::failure::Failure;
use crate::https::Answer;
use crate::url::Url;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long an authority may take to look at a proof, or to issue.
const POLL_MAX: Duration = Duration::from_secs(180);

/// Between two looks, unless the authority says how long.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// Most names of a certificate: what authorities take.
const NAMES_MAX: usize = 100;

/// Longest token of a challenge, in bytes.
const TOKEN_LEN_MAX: usize = 128;

/// A way to prove that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A file under `/.well-known/acme-challenge/` on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A certificate shown on port 443 to who speaks `acme-tls/1` (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// Shows proofs to the authority; called from the thread that obtains.
pub trait Prover: Send + Sync {
    /// Answers `GET /.well-known/acme-challenge/{token}` with `authorization` from now on.
    fn show_file(&self, token: &str, authorization: &str);
    /// No longer.
    fn hide_file(&self, token: &str);
    /// Shows a certificate with `proof` to who asks for `name` and speaks `acme-tls/1`.
    ///
    /// # Errors
    /// Why it cannot be done.
    fn show_certificate(&self, name: &str, proof: [u8; 32]) -> Result<(), String>;
    /// No longer.
    fn hide_certificate(&self, name: &str);
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate and those that link it to its authority, in PEM.
    pub chain: Vec<u8>,
    /// Its private key, in PEM.
    pub key: Vec<u8>,
}

/// Obtains a certificate for `names`, proving them by the first of `challenges` that the authority offers for each.
///
/// # Errors
/// Why it was not had.
pub fn obtain(
    authority: &mut Authority,
    names: &[String],
    challenges: &[Challenge],
    prover: &dyn Prover,
) -> Result<Issued, Failure> {
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(Failure::Here(format!(
            "a certificate is for 1 to {NAMES_MAX} names, not {}",
            names.len()
        )));
    }
    let identifiers: Vec<Value> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
    let url = authority.new_order();
    let what = "an order";
    let answer = authority.post(what, &url, Some(&json!({"identifiers": identifiers})))?;
    let order_url =
        answer.location.as_deref().ok_or_else(|| nonsense(what, "it has no Location".to_owned()))?;
    let order_url = parse_url(order_url)?;
    let order = json_of(what, &answer)?;
    let authorizations = order["authorizations"].as_array().cloned().unwrap_or_default();
    if authorizations.len() > NAMES_MAX {
        return Err(nonsense(what, "it has more authorizations than names".to_owned()));
    }
    for url in &authorizations {
        let url = url_of(what, url)?;
        authorize(authority, &url, challenges, prover)?;
    }
    let finalize = url_of(what, &order["finalize"])?;
    issue(authority, &order_url, &finalize, names)
}

/// Proves one name.
fn authorize(
    authority: &mut Authority,
    url: &Url,
    challenges: &[Challenge],
    prover: &dyn Prover,
) -> Result<(), Failure> {
    let what = "an authorization";
    let found = json_of(what, &authority.get(what, url)?)?;
    let name = found["identifier"]["value"].as_str().unwrap_or_default().to_owned();
    if found["status"] == "valid" {
        return Ok(());
    }
    let offered = found["challenges"].as_array().cloned().unwrap_or_default();
    let chosen = challenges.iter().find_map(|&kind| {
        let found = offered.iter().find(|offered| offered["type"] == kind.name())?;
        Some((kind, found))
    });
    let Some((kind, challenge)) = chosen else {
        let wanted: Vec<&str> = challenges.iter().map(|kind| kind.name()).collect();
        let detail = format!("it offers none of {}", wanted.join(", "));
        return Err(Failure::Unproved { name, detail });
    };
    let token = challenge["token"].as_str().unwrap_or_default();
    if !is_token(token) {
        return Err(nonsense(what, "the token of a challenge is none".to_owned()));
    }
    let challenge_url = url_of(what, &challenge["url"])?;
    let shown = Shown::show(prover, kind, &name, token, &authority.authorization(token))?;
    authority.post("a look at the proof", &challenge_url, Some(&json!({})))?;
    let settled = poll(authority, what, url, "pending")?;
    drop(shown);
    if settled["status"] == "valid" {
        return Ok(());
    }
    let errors = settled["challenges"].as_array().into_iter().flatten();
    let detail = errors.filter_map(|challenge| challenge["error"]["detail"].as_str()).next();
    Err(Failure::Unproved { name, detail: printable(detail.unwrap_or("it does not say why")) })
}

/// A proof for as long as it is to be seen.
struct Shown<'a> {
    prover: &'a dyn Prover,
    kind: Challenge,
    name: &'a str,
    token: &'a str,
}

impl<'a> Shown<'a> {
    fn show(
        prover: &'a dyn Prover,
        kind: Challenge,
        name: &'a str,
        token: &'a str,
        authorization: &str,
    ) -> Result<Self, Failure> {
        match kind {
            Challenge::Http01 => prover.show_file(token, authorization),
            Challenge::TlsAlpn01 => prover
                .show_certificate(name, proof(authorization))
                .map_err(|detail| Failure::Unproved { name: name.to_owned(), detail })?,
        }
        Ok(Self { prover, kind, name, token })
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        match self.kind {
            Challenge::Http01 => self.prover.hide_file(self.token),
            Challenge::TlsAlpn01 => self.prover.hide_certificate(self.name),
        }
    }
}

fn issue(
    authority: &mut Authority,
    order_url: &Url,
    finalize: &Url,
    names: &[String],
) -> Result<Issued, Failure> {
    let (key, request) = request_for(names).map_err(|error| Failure::Here(error.to_string()))?;
    let what = "a certificate";
    // The order becomes ready when the last proof was seen.
    poll(authority, "an order", order_url, "pending")?;
    authority.post(what, finalize, Some(&json!({"csr": encode(&request)})))?;
    let mut order = poll(authority, what, order_url, "processing")?;
    if order["status"] == "ready" {
        // It has not begun yet.
        order = poll(authority, what, order_url, "ready")?;
    }
    if order["status"] != "valid" {
        let detail = printable(order["error"]["detail"].as_str().unwrap_or("it does not say why"));
        return Err(Failure::Refused {
            what: what.to_owned(),
            status: 200,
            kind: "invalid".to_owned(),
            detail,
        });
    }
    let url = url_of(what, &order["certificate"])?;
    let chain = authority.get(what, &url)?.body;
    if !chain.starts_with(b"-----BEGIN CERTIFICATE-----") {
        return Err(nonsense(what, "it is no PEM".to_owned()));
    }
    Ok(Issued { chain, key: key.into_bytes() })
}

/// A new key in PEM, and the signed request for its certificate in DER (RFC 2986).
fn request_for(names: &[String]) -> Result<(String, Vec<u8>), rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let pair = KeyPair::generate()?;
    let request = params.serialize_request(&pair)?;
    Ok((ringway_tls::encoded("PRIVATE KEY", pair.serialized_der()), request.der().to_vec()))
}

/// Looks at a resource until its status is another one than `unsettled`.
fn poll(authority: &mut Authority, what: &str, url: &Url, unsettled: &str) -> Result<Value, Failure> {
    let begin = Instant::now();
    loop {
        let answer = authority.get(what, url)?;
        let found = json_of(what, &answer)?;
        if found["status"] != unsettled {
            return Ok(found);
        }
        if begin.elapsed() > POLL_MAX {
            return Err(Failure::TooLong(what.to_owned()));
        }
        std::thread::sleep(pause(&answer));
    }
}

fn pause(answer: &Answer) -> Duration {
    answer.retry_after.map_or(POLL_PAUSE, Duration::from_secs).clamp(POLL_PAUSE, PAUSE_MAX)
}

fn url_of(what: &str, value: &Value) -> Result<Url, Failure> {
    let text = value.as_str().unwrap_or_default();
    Url::parse(text).ok_or_else(|| nonsense(what, format!("{text:?} is no https URL")))
}

/// A token becomes part of a path and must be what RFC 8555 section 8 says it is.
fn is_token(token: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (22..=TOKEN_LEN_MAX).contains(&token.len()) && token.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_the_protocol_says() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for bad in ["", "short", "../../../../../../etc/passwd", "evaGxfADs6pSRb2LAv9IZf17\r\nX: y"] {
            assert!(!is_token(bad), "{bad}");
        }
        assert!(!is_token(&"a".repeat(TOKEN_LEN_MAX + 1)));
    }

    #[test]
    fn a_request_has_a_key_of_its_own() {
        let names = vec!["www.example.org".to_owned(), "example.org".to_owned()];
        let (key, request) = request_for(&names).expect("good names");
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
        assert!(request.windows(15).any(|part| part == b"www.example.org"));
        assert_ne!(request_for(&names).expect("good names").0, key);
    }

    #[test]
    fn pauses_are_the_authoritys_within_bounds() {
        let answer =
            |retry_after| Answer { status: 200, nonce: None, location: None, retry_after, body: Vec::new() };
        assert_eq!(pause(&answer(None)), POLL_PAUSE);
        assert_eq!(pause(&answer(Some(3))), Duration::from_secs(3));
        assert_eq!(pause(&answer(Some(0))), POLL_PAUSE);
        assert_eq!(pause(&answer(Some(86_400))), PAUSE_MAX);
    }
}
