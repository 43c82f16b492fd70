//! Certificates that are made here: for development, and as proofs for a certificate authority.

use crate::options::{CertificateOptions, Pem};
use crate::problem::Problem;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a certificate for development is valid: what browsers accept at most.
const VALIDITY: Duration = Duration::from_secs(397 * 86_400);

/// Clocks that are late find it valid too.
const SKEW: Duration = Duration::from_secs(86_400);

/// What a certificate that was made here is called in messages.
const MADE_HERE: &str = "(made at start)";

/// A certificate that nobody trusts by himself, for `localhost`, the loopback addresses and `names`. Its key is P-256 and is
/// nowhere but in memory.
///
/// # Errors
/// `Refused` when a name is none.
pub fn self_signed(names: &[String], now: SystemTime) -> Result<CertificateOptions, Problem> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    all.extend(
        names.iter().filter(|name| !["localhost", "127.0.0.1", "::1"].contains(&name.as_str())).cloned(),
    );
    if let Some(none) = all.iter().find(|name| ServerName::try_from(name.trim_start_matches("*.")).is_err()) {
        return Err(Problem::Refused(format!("{none:?} is no name a certificate can be for")));
    }
    let mut params = CertificateParams::new(all).map_err(refused)?;
    params.not_before = (now - SKEW).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name = named("Ringway development certificate");
    let key = KeyPair::generate().map_err(refused)?;
    let certificate = params.self_signed(&key).map_err(refused)?;
    let pem = |text: String| Pem { path: PathBuf::from(MADE_HERE), bytes: text.into_bytes() };
    Ok(CertificateOptions {
        chain: pem(encoded("CERTIFICATE", certificate.der())),
        key: pem(encoded("PRIVATE KEY", key.serialized_der())),
        staple: None,
        names: Vec::new(),
    })
}

/// The certificate by which a name is proved to be ours (RFC 8737 section 3).
pub(crate) fn challenge(name: &str, proof: &[u8; 32]) -> Result<Arc<CertifiedKey>, Problem> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(refused)?;
    params.distinguished_name = named("Ringway");
    params.custom_extensions.push(CustomExtension::new_acme_identifier(proof));
    let pair = KeyPair::generate().map_err(refused)?;
    let certificate = params.self_signed(&pair).map_err(refused)?;
    let key = PrivateKeyDer::try_from(pair.serialized_der())
        .map_err(|reason| Problem::Refused(reason.to_owned()))?;
    let key = any_supported_type(&key).map_err(|error| Problem::Refused(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn refused(error: rcgen::Error) -> Problem {
    Problem::BadCertificate(PathBuf::from(MADE_HERE), format!("no certificate can be made: {error}"))
}

/// Bytes of DER in PEM (RFC 7468).
#[must_use]
pub fn encoded(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (place, group) in der.chunks(3).enumerate() {
        if place % 16 == 0 {
            text.push('\n');
        }
        let bits =
            group.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u32::from(byte) << (16 - 8 * at));
        for at in 0..4 {
            let sextet = bits >> (18 - 6 * at) & 63;
            text.push(if at <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----{text}\n-----END {label}-----\n")
}
