//! Certificates: whether they can be read, belong to their keys, are valid today and cover the names of sites.

use super::Inspector;
use crate::assembly;
use crate::config::report::Finding;
use crate::config::settings::{Certificate, Config};
use crate::config::source::Place;
use crate::config::tree::Node;
use crate::tls::{Certificates, Problem};
use std::collections::BTreeSet;
use std::time::SystemTime;

impl Inspector<'_> {
    pub(super) fn certificates(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let names = names(config);
        let mut covered: BTreeSet<String> = BTreeSet::new();
        let mut is_sure = true;
        for (index, certificate) in config.certificate.iter().enumerate() {
            let node = tree.item("certificate", index);
            if certificate.acme {
                covered.extend(certificate.names.iter().map(ToString::to_string));
                continue;
            }
            let before = self.findings.len();
            for (key, path) in
                [("cert", &certificate.cert), ("key", &certificate.key), ("ocsp", &certificate.ocsp)]
            {
                self.readable(path.as_ref(), node.place_of(key));
            }
            let is_whole = certificate.cert.is_some() && certificate.key.is_some();
            if !is_whole || self.findings.len() > before {
                is_sure = false;
                continue;
            }
            match self.certificate(certificate, node, &names) {
                Some(own) => covered.extend(own),
                None => is_sure = false,
            }
        }
        if is_sure {
            self.uncovered(&covered);
        }
    }

    /// Looks into a certificate; gives those of `names` that it covers.
    fn certificate(
        &mut self,
        certificate: &Certificate,
        node: &Node,
        names: &[String],
    ) -> Option<Vec<String>> {
        let mut options = match assembly::tls::options(certificate, &|path| std::fs::read(path)) {
            Ok(options) => options,
            Err(problem) => {
                self.problem(&problem, node);
                return None;
            }
        };
        let own: Vec<String> = std::mem::take(&mut options.names);
        options.names = own.iter().chain(names).cloned().collect();
        let problems = match Certificates::new(&[options], SystemTime::now()) {
            Ok((_, problems)) => problems,
            Err(problems) => {
                problems.iter().for_each(|problem| self.problem(problem, node));
                return None;
            }
        };
        let mut uncovered = BTreeSet::new();
        for problem in &problems {
            match problem {
                Problem::NameNotCovered(_, name, _) if !own.contains(name) => {
                    uncovered.insert(name.clone());
                }
                other => self.problem(other, node),
            }
        }
        Some(names.iter().filter(|name| !uncovered.contains(*name)).cloned().collect())
    }

    fn problem(&mut self, problem: &Problem, node: &Node) {
        let key = match problem {
            Problem::BadKey(..) | Problem::KeyMismatch(..) => "key",
            Problem::NameNotCovered(..) => "names",
            _ => "cert",
        };
        let is_later = match problem {
            Problem::NotYetValid(..) => true,
            Problem::Expired(..) => !self.expiry,
            _ => false,
        };
        let make = if is_later { Finding::warning } else { Finding::error };
        self.findings.push(make(node.place_of(key), problem.to_string()));
    }

    /// Names of sites that no certificate covers: clients would refuse what they are shown.
    fn uncovered(&mut self, covered: &BTreeSet<String>) {
        let (config, tree) = (self.config, self.tree);
        for (index, site) in config.site.iter().enumerate().filter(|(_, site)| is_encrypted(config, site)) {
            for (at, name) in site.names.iter().enumerate() {
                let is_covered = name.as_str() == "*" || covered.contains(name.as_str());
                if !is_covered {
                    let place: Place = tree.item("site", index).place_in("names", at);
                    let finding = Finding::warning(place, format!("no certificate is for `{name}`"));
                    self.findings.push(
                        finding.hint("clients that ask for it over TLS would not trust what they are shown"),
                    );
                }
            }
        }
    }
}

/// All names of sites on endpoints with TLS, but for `*`.
fn names(config: &Config) -> Vec<String> {
    let encrypted = config.site.iter().filter(|site| is_encrypted(config, site));
    let names: BTreeSet<String> = encrypted.flat_map(|site| &site.names).map(ToString::to_string).collect();
    names.into_iter().filter(|name| name != "*").collect()
}

fn is_encrypted(config: &Config, site: &crate::config::settings::Site) -> bool {
    let mut here = config
        .endpoint
        .iter()
        .filter(|endpoint| site.endpoints.is_empty() || site.endpoints.contains(&endpoint.name));
    here.any(|endpoint| endpoint.tls)
}
