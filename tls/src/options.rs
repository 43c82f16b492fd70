//! What an endpoint's TLS is made of, as its owner says it.

use crate::problem::Problem;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file's contents, with the name it goes by in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The file's name.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Pem {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Problem::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|error| Problem::Unreadable(path.to_owned(), error.to_string()))?;
        Ok(Self { path: path.to_owned(), bytes })
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may be in it.
        write!(f, "Pem({}, {} bytes)", self.path.display(), self.bytes.len())
    }
}

/// A certificate and what belongs to it.
#[derive(Clone, Debug)]
pub struct CertificateOptions {
    /// The certificate, and behind it those that lead to its authority, in PEM.
    pub chain: Pem,
    /// Its private key, in PEM: PKCS #8, PKCS #1 or SEC 1, without a passphrase.
    pub key: Pem,
    /// A response of OCSP to be shown with it, in DER.
    pub staple: Option<Vec<u8>>,
    /// Names it is to be shown for; one may begin with `*.`. Those in the certificate when there are none here.
    pub names: Vec<String>,
}

/// The oldest version of TLS that is spoken; 1.1 and older are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2, with forward secrecy and authenticated ciphers only.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What is wanted of clients' certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nothing.
    #[default]
    None,
    /// One that these authorities have signed, or none.
    Optional(Pem),
    /// One that these authorities have signed.
    Required(Pem),
}

/// An endpoint's TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The certificates. A client that names none of their names, or no name, is shown the first. Of several for one name the
    /// first whose key the client understands is shown.
    pub certificates: Vec<CertificateOptions>,
    /// Application protocols, the most wanted first.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version spoken.
    pub version_min: Version,
    /// What is wanted of clients' certificates.
    pub clients: ClientCertificates,
    /// Whether clients get tickets, by which they resume a session.
    pub tickets: bool,
    /// Most sessions of TLS 1.2 that are remembered for clients without tickets.
    pub sessions_max: usize,
}

impl TlsOptions {
    /// The defaults, with these certificates: HTTP/1.1, TLS 1.2 and 1.3, nothing wanted of clients, tickets.
    #[must_use]
    pub fn new(certificates: Vec<CertificateOptions>) -> Self {
        Self {
            certificates,
            alpn: vec![b"http/1.1".to_vec()],
            version_min: Version::default(),
            clients: ClientCertificates::default(),
            tickets: true,
            sessions_max: 1_024,
        }
    }
}
