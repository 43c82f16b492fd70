//! The certificate of a directory that is served with TLS.

use super::Serve;
use crate::tls::{CertificateOptions, Pem, Problem, TicketKeys, TlsOptions, TlsServer, self_signed};
use std::path::PathBuf;
use std::time::SystemTime;

/// Which certificate is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeTls {
    /// One that is made at the start, for `localhost`, the loopback addresses and these names; for development.
    SelfSigned(Vec<String>),
    /// One from files in PEM.
    Files {
        /// The certificate, and behind it those that lead to its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

impl ServeTls {
    /// Reads the certificate, or makes it.
    fn load(&self) -> Result<CertificateOptions, Problem> {
        match self {
            Self::SelfSigned(names) => self_signed(names, SystemTime::now()),
            Self::Files { certificate, key } => Ok(CertificateOptions {
                chain: Pem::read(certificate)?,
                key: Pem::read(key)?,
                staple: None,
                names: Vec::new(),
            }),
        }
    }
}

impl Serve {
    /// TLS as it is asked for, with what clients may dislike of the certificate: sentences for people.
    ///
    /// # Errors
    /// Why there can be none, as sentences for people.
    pub fn tls_server(&self) -> Result<Option<(TlsServer, Vec<String>)>, String> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let certificate = tls.load().map_err(|problem| sentences(&[problem]))?;
        let protocols = protocols().iter().map(|protocol| protocol.to_vec()).collect();
        let options = TlsOptions { alpn: protocols, ..TlsOptions::new(vec![certificate]) };
        let made = TlsServer::new(&options, TicketKeys::new(), SystemTime::now());
        let (server, problems) = made.map_err(|problems| sentences(&problems))?;
        Ok(Some((server, problems.iter().map(|problem| format!("{problem}.")).collect())))
    }

    /// Reads the certificate anew, for connections to come. One that was made stays.
    ///
    /// # Errors
    /// What is wrong with it, as sentences for people; the old one is shown on.
    pub fn renew_certificate(&self, server: &TlsServer) -> Result<Vec<String>, String> {
        let Some(tls @ ServeTls::Files { .. }) = &self.tls else { return Ok(Vec::new()) };
        let certificate = tls.load().map_err(|problem| sentences(&[problem]))?;
        let replaced = server.certificates().replace(&[certificate], SystemTime::now());
        let problems = replaced.map_err(|problems| sentences(&problems))?;
        Ok(problems.iter().map(|problem| format!("{problem}.")).collect())
    }
}

/// What is spoken, the most wanted first.
fn protocols() -> &'static [&'static [u8]] {
    if cfg!(feature = "h2") { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] }
}

fn sentences(problems: &[Problem]) -> String {
    let all: Vec<String> = problems.iter().map(|problem| format!("{problem}.")).collect();
    all.join(" ")
}
