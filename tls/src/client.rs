//! TLS on connections that this side opens.

use crate::certificates;
use crate::filter::TlsFilter;
use crate::options::Pem;
use crate::problem::Problem;
use ringway_engine::Filter;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
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
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn;
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config) })
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

fn system_file() -> Result<PathBuf, Problem> {
    let found = SYSTEM_FILES.iter().map(Path::new).find(|path| path.exists());
    let missing = || {
        let reason = "this machine has no file of trusted authorities".to_owned();
        Problem::BadAuthorities(PathBuf::from(SYSTEM_FILES[0]), reason)
    };
    found.map(Path::to_owned).ok_or_else(missing)
}
