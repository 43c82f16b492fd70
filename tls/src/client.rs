//! TLS on connections that this side opens.

use crate::certificates;
use crate::filter::TlsFilter;
use crate::options::Pem;
use crate::problem::Problem;
use ringway_engine::Filter;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where Linux distributions keep the authorities that a machine trusts.
pub const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Most servers whose sessions are remembered for resumption.
const SESSIONS_MAX: usize = 256;

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorities {
    /// Those that this machine trusts.
    #[default]
    System,
    /// These, in PEM.
    Only(Pem),
}

/// TLS towards servers, for [`ringway_engine::Conn::set_filter`].
#[derive(Clone)]
pub struct TlsClient {
    pub(crate) config: Arc<ClientConfig>,
}

impl TlsClient {
    /// TLS towards servers that `authorities` vouch for; `alpn` is what is spoken, the most wanted first.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn new(authorities: &Authorities, alpn: Vec<Vec<u8>>) -> Result<Self, Problem> {
        let pem = match authorities {
            Authorities::System => Pem::read(&system_file()?)?,
            Authorities::Only(pem) => pem.clone(),
        };
        let refused = |reason: String| Problem::BadAuthorities(pem.path.clone(), reason);
        let mut roots = RootCertStore::empty();
        // A machine's store may hold old ones that nothing can be made of; one that can is needed.
        roots.add_parsable_certificates(certificates::chain(&pem).map_err(refused)?);
        if roots.is_empty() {
            return Err(refused("none of them can be used".to_owned()));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| Problem::Refused(error.to_string()))?;
        Ok(Self::finished(builder.with_root_certificates(roots).with_no_client_auth(), alpn))
    }

    /// TLS towards servers that need not show who they are: who stands in between can read and change everything. For
    /// networks that are trusted, and for trying things out.
    ///
    /// # Errors
    /// When the cryptography is refused.
    pub fn unverified(alpn: Vec<Vec<u8>>) -> Result<Self, Problem> {
        let provider = Arc::new(default_provider());
        let believer = Arc::new(Believer(provider.signature_verification_algorithms));
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| Problem::Refused(error.to_string()))?;
        let config = builder.dangerous().with_custom_certificate_verifier(believer).with_no_client_auth();
        Ok(Self::finished(config, alpn))
    }

    fn finished(mut config: ClientConfig, alpn: Vec<Vec<u8>>) -> Self {
        config.alpn_protocols = alpn;
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        config.enable_secret_extraction = true;
        Self { config: Arc::new(config) }
    }

    /// A filter for a connection to the server of this name or address. What is sent before its handshake is done waits.
    ///
    /// # Errors
    /// `Refused` when the name is none.
    pub fn filter(&self, server: &str) -> Result<Box<dyn Filter>, Problem> {
        let name = ServerName::try_from(server.to_owned());
        let name = name.map_err(|_no_name| Problem::Refused(format!("{server} is no name of a server")))?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let connection = connection.map_err(|error| Problem::Refused(error.to_string()))?;
        Ok(Box::new(TlsFilter::client(connection)))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// Believes every certificate; what is signed with its key must be signed all the same.
#[derive(Debug)]
struct Believer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn system_file() -> Result<PathBuf, Problem> {
    let found = SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
    let missing = || {
        let reason = "this machine has no file of trusted authorities".to_owned();
        Problem::BadAuthorities(PathBuf::from(SYSTEM_FILES[0]), reason)
    };
    found.map(Path::to_owned).ok_or_else(missing)
}
