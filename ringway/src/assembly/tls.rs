//! TLS: certificates of the configuration, and what endpoints ask of clients.

use super::provisions::ReadSecret;
use super::{AssemblyError, Kept, Provisions};
use crate::config::settings::{Certificate, ClientCertificateMode, Config, TlsVersion};
use crate::config::values::FilePath;
use crate::tls::{
    CertificateOptions, Certificates, ClientCertificates, Pem, Problem, TlsOptions, TlsServer, Version,
};
use std::sync::Arc;
use std::time::SystemTime;

/// The application protocol of HTTP/1.1 (RFC 7301, section 6).
const HTTP1: &[u8] = b"http/1.1";

/// The application protocol of HTTP/2 (RFC 9113, section 3.2).
const HTTP2: &[u8] = b"h2";

/// What clients are shown, and where that is replaced.
pub(crate) type Shown = (Arc<Certificates>, Vec<CertificateOptions>);

/// The TLS of all endpoints that have it.
pub(super) struct Secure {
    pub(super) server: TlsServer,
    /// What is not as it should be.
    pub(super) problems: Vec<Problem>,
    certificates: Vec<CertificateOptions>,
}

impl Secure {
    /// For an endpoint that speaks HTTP/2 too, or does not.
    pub(super) fn speaking(&self, http2: bool) -> TlsServer {
        if http2 { self.server.clone() } else { self.server.with_alpn(&[HTTP1.to_vec()]) }
    }

    pub(super) fn shown(&self) -> Shown {
        (Arc::clone(self.server.certificates()), self.certificates.clone())
    }
}

/// The TLS of all endpoints that have it; `None` when no endpoint has it.
pub(super) fn server(
    config: &Config,
    kept: &Kept,
    provisions: &Provisions<'_>,
) -> Result<Option<Secure>, AssemblyError> {
    if !config.endpoint.iter().any(|endpoint| endpoint.tls) {
        return Ok(None);
    }
    let cannot = |problem: &Problem| AssemblyError::new("TLS cannot be offered", problem);
    let shown = |certificate: &Certificate| match config.acme.as_ref().filter(|_| certificate.acme) {
        Some(acme) => kept.shelf.options(acme, certificate),
        None => options(certificate, provisions.read_secret).map_err(|problem| cannot(&problem)),
    };
    let certificates = config.certificate.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    let options = TlsOptions {
        alpn: vec![HTTP2.to_vec(), HTTP1.to_vec()],
        version_min: match config.tls.min_version {
            TlsVersion::V1_2 => Version::Tls12,
            TlsVersion::V1_3 => Version::Tls13,
        },
        tickets: config.tls.tickets,
        clients: clients(config, provisions.read_secret).map_err(|problem| cannot(&problem))?,
        ..TlsOptions::new(certificates.clone())
    };
    let made = TlsServer::new(&options, Arc::clone(&provisions.tickets), SystemTime::now());
    made.map(|(server, problems)| Some(Secure { server, problems, certificates })).map_err(|problems| {
        match problems.iter().find(|problem| problem.is_fatal()) {
            Some(problem) => cannot(problem),
            None => AssemblyError::new("TLS cannot be offered", "its settings are refused"),
        }
    })
}

/// A certificate from files, read.
pub(crate) fn options(
    certificate: &Certificate,
    read: ReadSecret<'_>,
) -> Result<CertificateOptions, Problem> {
    let (Some(cert), Some(key)) = (&certificate.cert, &certificate.key) else {
        return Err(Problem::NoCertificates);
    };
    let staple = certificate.ocsp.as_ref().map(|path| pem(path, read)).transpose()?;
    Ok(CertificateOptions {
        chain: pem(cert, read)?,
        key: pem(key, read)?,
        staple: staple.map(|file| file.bytes),
        names: certificate.names.iter().map(ToString::to_string).collect(),
    })
}

fn pem(path: &FilePath, read: ReadSecret<'_>) -> Result<Pem, Problem> {
    let path = path.as_path();
    let bytes = read(path).map_err(|error| Problem::Unreadable(path.to_owned(), error.to_string()))?;
    Ok(Pem { path: path.to_owned(), bytes })
}

fn clients(config: &Config, read: ReadSecret<'_>) -> Result<ClientCertificates, Problem> {
    let settings = &config.tls.client_certificates;
    let Some(ca) = settings.ca.as_ref().filter(|_| settings.mode != ClientCertificateMode::None) else {
        return Ok(ClientCertificates::None);
    };
    let ca = pem(ca, read)?;
    Ok(match settings.mode {
        ClientCertificateMode::Required => ClientCertificates::Required(ca),
        _ => ClientCertificates::Optional(ca),
    })
}
