//! Surroundings: what the machine says to a configuration: files that are not there, names that do not resolve, ports in use.

mod certificates;
mod files;
mod names;
mod ports;

use crate::config::load::Loaded;
use crate::config::report::Finding;
use crate::config::settings::Config;
use crate::config::source::Place;
use crate::config::tree::Node;

/// What is asked of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Questions {
    /// Whether hosts are looked up. It may take as long as the resolver waits.
    pub hosts: bool,
    /// Whether the ports are free. They are bound for a moment.
    pub ports: bool,
    /// Whether a certificate that has expired is an error. A server that starts serves all the same, and warns.
    pub expiry: bool,
}

/// What the checks look at, and where they tell.
struct Inspector<'a> {
    config: &'a Config,
    tree: &'a Node,
    expiry: bool,
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
pub fn check(loaded: &mut Loaded, questions: Questions) {
    let Loaded { config, tree, report } = loaded;
    let mut inspector = Inspector { config, tree, expiry: questions.expiry, findings: &mut report.findings };
    inspector.files();
    inspector.certificates();
    inspector.users();
    inspector.cpus();
    if questions.hosts {
        inspector.hosts();
    }
    if questions.ports {
        inspector.ports();
    }
    report.sort();
}
