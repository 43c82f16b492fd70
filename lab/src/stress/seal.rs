//! TLS of the clients: rustls with its own record layer, so that it shares nothing with the record layer of the servers here.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::refusal::Refusal;
use crate::trusting;

/// Bytes that are opened at a time.
const OPEN_BYTES: usize = 16 * 1024;

/// How connections are sealed.
#[derive(Clone)]
pub struct Sealing {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// For people: whom the clients believe.
    pub trust: String,
}

/// One sealed connection.
pub struct Sealed(ClientConnection);

impl Sealing {
    /// TLS 1.3 with a server called `name`, whose certificate must come from an authority in the file `authorities`; without
    /// one, any certificate is taken. Each handshake is a full one unless `resumes`.
    ///
    /// # Errors
    /// Refuses names and files that are none.
    pub fn new(
        name: &str,
        authorities: Option<&Path>,
        resumes: bool,
        protocols: &[&str],
    ) -> Result<Sealing, Refusal> {
        let (mut config, trust) = match authorities {
            None => (trusting::config()?, "any certificate".to_owned()),
            Some(path) => (believing(path)?, format!("the authorities in {}", path.display())),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        let server = ServerName::try_from(name.to_owned())
            .map_err(Refusal::because(format!("{name:?} is no name of a server")))?;
        Ok(Sealing { config: Arc::new(config), name: server, trust })
    }

    /// A new connection; its handshake is ready to be sent.
    ///
    /// # Errors
    /// What rustls says.
    pub fn connection(&self) -> Result<Sealed, String> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut connection = connection.map_err(|error| error.to_string())?;
        connection.set_buffer_limit(None);
        Ok(Sealed(connection))
    }
}

fn believing(path: &Path) -> Result<ClientConfig, Refusal> {
    let reading = format!("cannot read {}", path.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(Refusal::because(&reading))?;
    for certificate in certificates {
        let certificate = certificate.map_err(Refusal::because(&reading))?;
        roots.add(certificate).map_err(Refusal::because(&reading))?;
    }
    if roots.is_empty() {
        return Err(Refusal::new(format!("there is no certificate in {}", path.display())));
    }
    Ok(trusting::versions()?.with_root_certificates(roots).with_no_client_auth())
}

impl Sealed {
    /// Whether the handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether something sealed waits to be sent.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Opens some of `wire`, which is taken off it, and puts what was in it behind `plain`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&mut self, wire: &mut &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !wire.is_empty() && plain.len() < OPEN_BYTES {
            self.0.read_tls(wire).map_err(|error| error.to_string())?;
            let state = self.0.process_new_packets().map_err(|error| error.to_string())?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[begin..]).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Seals `plain`.
    ///
    /// # Errors
    /// What rustls says.
    pub fn seal(&mut self, plain: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(plain)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.0.send_close_notify();
    }

    /// Writes what waits to be sent, as far as it fits; says how much it was.
    ///
    /// # Errors
    /// None that a slice of memory could have.
    pub fn write(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let size = target.len();
        let mut rest = target;
        while self.0.wants_write() && !rest.is_empty() {
            if self.0.write_tls(&mut rest)? == 0 {
                break;
            }
        }
        Ok(size - rest.len())
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({:?}, {})", self.name, self.trust)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", if self.is_handshaking() { "shaking hands" } else { "open" })
    }
}
