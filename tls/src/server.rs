//! An endpoint's TLS: settings made into what the engine puts on its connections.

use crate::certificates::{self, Certificates};
use crate::filter::{ACME_PROTOCOL, SharedSource, Source};
use crate::options::{ClientCertificates, Pem, TlsOptions, Version};
use crate::problem::Problem;
use crate::tickets::{BoundTickets, TicketKeys};
use aws_lc_rs::{digest, rand};
use ringway_engine::{FilterFactory, FilterSource};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// An endpoint's TLS.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl TlsServer {
    /// Checks the settings and makes them ready. What is wrong but lets clients decide (an expired certificate, a name that it
    /// does not cover) comes back beside it. `tickets` may be shared with other endpoints, and outlive this value.
    ///
    /// # Errors
    /// Everything that is wrong, when something is fatal.
    pub fn new(
        options: &TlsOptions,
        tickets: Arc<TicketKeys>,
        now: SystemTime,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (certificates, problems) = Certificates::new(&options.certificates, now)?;
        let clients = clients(&options.clients).map_err(|problem| vec![problem])?;
        let versions = match options.version_min {
            Version::Tls12 => &[&TLS13, &TLS12][..],
            Version::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.map_err(|error| vec![Problem::Refused(error.to_string())])?;
        let resolver = Arc::clone(&certificates);
        let mut config = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&options.alpn);
        // Last, and for those only who ask for nothing else: a client that speaks a protocol gets that.
        config.alpn_protocols.push(ACME_PROTOCOL.to_vec());
        if options.tickets {
            config.ticketer = Arc::new(BoundTickets { keys: tickets, context: context(&options.clients) });
        } else {
            config.send_tls13_tickets = 0;
        }
        config.session_storage = ServerSessionMemoryCache::new(options.sessions_max);
        config.max_early_data_size = 0;
        // The record layer is ours.
        config.enable_secret_extraction = true;
        Ok((Self { config: Arc::new(config), certificates }, problems))
    }

    /// The same for an endpoint that speaks other application protocols, the most wanted first. Certificates, tickets and
    /// remembered sessions are shared.
    #[must_use]
    pub fn with_alpn(&self, alpn: &[Vec<u8>]) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = alpn.to_vec();
        config.alpn_protocols.push(ACME_PROTOCOL.to_vec());
        Self { config: Arc::new(config), certificates: Arc::clone(&self.certificates) }
    }

    /// What the engine is told to put on an endpoint's connections.
    #[must_use]
    pub fn filters(&self) -> FilterFactory {
        let config = Arc::clone(&self.config);
        Arc::new(move |_worker| {
            // Seeding a thread's random numbers takes tens of milliseconds: before its first client comes, not while it waits.
            rand::fill(&mut [0])
                .map_err(|_unspecified| io::Error::other("no random numbers are to be had"))?;
            Ok(Rc::new(SharedSource(Source::new(Arc::clone(&config)))) as Rc<dyn FilterSource>)
        })
    }

    #[cfg(test)]
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The certificates, to be replaced or to answer a challenge with.
    #[must_use]
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// What verifies clients.
fn clients(wanted: &ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>, Problem> {
    let (pem, is_optional) = match wanted {
        ClientCertificates::None => return Ok(None),
        ClientCertificates::Optional(pem) => (pem, true),
        ClientCertificates::Required(pem) => (pem, false),
    };
    let refused = |reason: String| Problem::BadAuthorities(pem.path.clone(), reason);
    let mut roots = RootCertStore::empty();
    for authority in certificates::chain(pem).map_err(refused)? {
        roots.add(authority).map_err(|error| refused(error.to_string()))?;
    }
    let provider = Arc::new(default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map(Some).map_err(|error| refused(error.to_string()))
}

/// What a client has proved depends on: a ticket is good only where as much is asked.
fn context(clients: &ClientCertificates) -> [u8; 32] {
    let (kind, authorities): (&[u8], &[u8]) = match clients {
        ClientCertificates::None => (b"none", b""),
        ClientCertificates::Optional(Pem { bytes, .. }) => (b"optional", bytes),
        ClientCertificates::Required(Pem { bytes, .. }) => (b"required", bytes),
    };
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(kind);
    digest.update(authorities);
    digest.finish().as_ref().try_into().unwrap_or_default()
}
