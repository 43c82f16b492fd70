//! Surroundings: what the machine says to a configuration: files that are not there, names that do not resolve, ports in use.

mod files;
mod names;
mod ports;

use crate::config::load::Loaded;
use crate::config::report::Finding;
use crate::config::settings::{Certificate, Config, Tls};
use crate::config::source::Place;
use crate::config::tree::Node;
use std::fmt;

/// What is wrong with a certificate, and about which of its settings it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFault {
    /// `cert`, `key` or `ocsp`.
    pub key: &'static str,
    /// What is wrong, without a full stop.
    pub message: String,
    /// It will do for now: it expires soon, say.
    pub is_warning: bool,
}

/// Looks into the files of a certificate, which are there and can be read.
pub type CertificateCheck<'a> = &'a dyn Fn(&Certificate, &Tls) -> Vec<CertificateFault>;

/// What is asked of the machine.
#[derive(Clone, Copy, Default)]
pub struct Questions<'a> {
    /// Whether hosts are looked up. It may take as long as the resolver waits.
    pub hosts: bool,
    /// Whether the ports are free. They are bound for a moment.
    pub ports: bool,
    /// Looks into certificates; without it they only must be readable.
    pub certificates: Option<CertificateCheck<'a>>,
}

impl fmt::Debug for Questions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions")
            .field("hosts", &self.hosts)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// What the checks look at, and where they tell.
struct Inspector<'a> {
    config: &'a Config,
    tree: &'a Node,
    findings: &'a mut Vec<Finding>,
}

impl Inspector<'_> {
    fn error(&mut self, place: Place, message: String) {
        self.findings.push(Finding::error(place, message));
    }

    fn error_with_hint(&mut self, place: Place, message: String, hint: impl Into<String>) {
        self.findings.push(Finding::error(place, message).hint(hint));
    }
}

/// Asks the machine about a loaded configuration, and adds what is wrong to its report.
pub fn check(loaded: &mut Loaded, questions: Questions<'_>) {
    let Loaded { config, tree, report } = loaded;
    let mut inspector = Inspector { config, tree, findings: &mut report.findings };
    inspector.files(questions.certificates);
    inspector.users();
    if questions.hosts {
        inspector.hosts();
    }
    if questions.ports {
        inspector.ports();
    }
    report.sort();
}
