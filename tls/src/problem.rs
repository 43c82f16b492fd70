//! What can be wrong with certificates and keys: sentences that name the file.

use crate::x509::Moment;
use std::fmt;
use std::path::PathBuf;

/// Something wrong with what TLS was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is no certificate to show.
    NoCertificates,
    /// A file could not be read.
    Unreadable(PathBuf, String),
    /// A file has no certificate in it, or none that can be read.
    BadCertificate(PathBuf, String),
    /// A file has no private key in it, or none that can be used.
    BadKey(PathBuf, String),
    /// The key (the second file) is not the certificate's (the first).
    KeyMismatch(PathBuf, PathBuf),
    /// The authorities for clients' certificates cannot be used.
    BadAuthorities(PathBuf, String),
    /// The certificate was valid until then, in seconds since 1970.
    Expired(PathBuf, i64),
    /// The certificate is valid from then on, in seconds since 1970.
    NotYetValid(PathBuf, i64),
    /// The certificate is not for this name; it is for those.
    NameNotCovered(PathBuf, String, Vec<String>),
    /// rustls refuses the settings.
    Refused(String),
}

impl Problem {
    /// Whether nothing can be served with this. What is not fatal lets clients refuse the certificate.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Expired(..) | Self::NotYetValid(..) | Self::NameNotCovered(..))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificates => write!(f, "TLS needs a certificate"),
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::BadCertificate(path, reason) => write!(f, "{}: {reason}", path.display()),
            Self::BadKey(path, reason) => write!(f, "{}: {reason}", path.display()),
            Self::KeyMismatch(chain, key) => {
                write!(
                    f,
                    "the key in {} is not that of the certificate in {}",
                    key.display(),
                    chain.display()
                )
            }
            Self::BadAuthorities(path, reason) => {
                write!(f, "the authorities for clients' certificates in {}: {reason}", path.display())
            }
            Self::Expired(path, end) => {
                write!(
                    f,
                    "the certificate in {} has expired: it was valid until {}",
                    path.display(),
                    Moment(*end)
                )
            }
            Self::NotYetValid(path, begin) => {
                write!(
                    f,
                    "the certificate in {} is not valid yet: it will be from {}",
                    path.display(),
                    Moment(*begin)
                )
            }
            Self::NameNotCovered(path, name, names) => {
                let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
                write!(f, "the certificate in {} is not for {name}: it is for {names}", path.display())
            }
            Self::Refused(reason) => write!(f, "TLS cannot be set up like this: {reason}"),
        }
    }
}

impl std::error::Error for Problem {}
