//! Settings of TLS, certificates, ACME.

use crate::config::values::{FilePath, SiteName, UrlText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS, for all endpoints that have it on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Whether clients get tickets by which they resume a session.
    pub tickets: bool,
    /// Certificates of clients.
    pub client_certificates: ClientCertificates,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V1_2,
            tickets: true,
            client_certificates: ClientCertificates::default(),
        }
    }
}

/// Certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificates {
    /// Whether clients are asked for a certificate: `none`, `optional`, or `required` (who has none is refused).
    pub mode: ClientCertificateMode,
    /// A PEM file with the authorities whose certificates are believed.
    pub ca: Option<FilePath>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum ClientCertificateMode {
    #[default]
    None,
    Optional,
    Required,
}

/// A certificate: from files, or from ACME.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file with the certificate and those that link it to its authority. Read anew when it changes.
    pub cert: Option<FilePath>,
    /// A PEM file with its private key.
    pub key: Option<FilePath>,
    /// A file with an OCSP answer (DER) that is handed to clients.
    pub ocsp: Option<FilePath>,
    /// Whether it is had from the authority of `[acme]`, and renewed; instead of `cert` and `key`.
    pub acme: bool,
    /// The names it is shown for. Empty: those that are in it. With `acme` the names it is asked for.
    pub names: Vec<SiteName>,
}

/// Certificates from a certificate authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The authority's directory.
    #[serde(default = "lets_encrypt")]
    pub directory: UrlText,
    /// Where the authority writes to when something is wrong.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether you agree to the authority's terms of service; without that it gives nothing.
    #[serde(default)]
    pub agree: bool,
    /// By what the authority is shown that the names are yours, in the order in which they are tried: `http-01` needs an
    /// endpoint on port 80, `tls-alpn-01` one with TLS on port 443.
    #[serde(default = "every_challenge")]
    #[schemars(length(min = 1))]
    pub challenges: Vec<AcmeChallenge>,
    /// The directory where account and certificates are kept.
    pub storage: FilePath,
    /// A PEM file with the authority by which the directory's own certificate is believed. Unset: those of the system.
    #[serde(default)]
    pub ca: Option<FilePath>,
}

fn lets_encrypt() -> UrlText {
    "https://acme-v02.api.letsencrypt.org/directory"
        .parse()
        .unwrap_or_else(|_never| unreachable!("this is a URL"))
}

fn every_challenge() -> Vec<AcmeChallenge> {
    vec![AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01]
}

/// A way to show that a name is one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the setting says what its words mean")]
pub enum AcmeChallenge {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}
