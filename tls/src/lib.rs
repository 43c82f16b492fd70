//! TLS for the engine: handshakes by rustls, records sealed and opened where they lie, certificates that can be replaced.

mod blocking;
mod certificates;
mod client;
mod failure;
mod filter;
mod framing;
mod handshake;
mod options;
#[cfg(test)]
mod pair;
mod problem;
mod record;
mod self_signed;
mod server;
mod tickets;
mod traffic;
mod x509;

pub use blocking::BlockingTls;
pub use certificates::{Certificates, validity};
pub use client::{Authorities, SYSTEM_FILES, TlsClient};
pub use options::{CertificateOptions, ClientCertificates, Pem, TlsOptions, Version};
pub use problem::Problem;
pub use self_signed::{encoded, self_signed};
pub use server::TlsServer;
pub use tickets::TicketKeys;
