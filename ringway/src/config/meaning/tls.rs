//! TLS: certificates that are half said, ACME that cannot work.

use super::Judge;
use crate::config::settings::{Acme, AcmeChallenge, Certificate, ClientCertificateMode};
use crate::config::tree::Node;

impl Judge<'_> {
    pub(super) fn certificates(&mut self) {
        let (config, tree) = (self.config, self.tree);
        for (index, certificate) in config.certificate.iter().enumerate() {
            let node = tree.item("certificate", index);
            if certificate.acme {
                self.acme_certificate(certificate, node);
            } else if !node.is_damaged {
                self.file_certificate(certificate, node);
            }
        }
        let certificates = config.certificate.iter().enumerate();
        let asked = certificates.flat_map(|(index, certificate)| {
            let names = certificate.names.iter().enumerate();
            names
                .map(move |(at, name)| (name.as_str(), tree.item("certificate", index).place_in("names", at)))
        });
        self.duplicates("the name", asked.collect::<Vec<_>>());
        if let Some(acme) = &config.acme {
            self.acme(acme, tree.under("acme"));
        }
        self.client_certificates();
    }

    fn file_certificate(&mut self, certificate: &Certificate, node: &Node) {
        match (&certificate.cert, &certificate.key) {
            (Some(_), Some(_)) => {}
            (Some(_), None) => self.error(node.place_of("cert"), "this certificate has no `key`"),
            (None, Some(_)) => self.error(node.place_of("key"), "this key has no `cert`"),
            (None, None) => {
                let hint = "write `cert` and `key`, or `acme = true` and `names`";
                self.error_with_hint(node.place, "this certificate comes from nowhere", hint);
            }
        }
    }

    fn acme_certificate(&mut self, certificate: &Certificate, node: &Node) {
        for (key, is_set) in [
            ("cert", certificate.cert.is_some()),
            ("key", certificate.key.is_some()),
            ("ocsp", certificate.ocsp.is_some()),
        ] {
            if is_set {
                self.error(node.key_place_of(key), format!("`{key}` and `acme` exclude each other"));
            }
        }
        if certificate.names.is_empty() && !node.is_damaged {
            self.error_with_hint(
                node.place,
                "this certificate has no names to be asked for",
                "write `names = [\"example.org\"]`",
            );
        }
        for (at, name) in certificate.names.iter().enumerate() {
            let is_name = !name.as_str().contains('*')
                && name.as_str().contains(|c: char| c.is_ascii_alphabetic())
                && !name.as_str().starts_with('[');
            if !is_name {
                let hint = "the challenges http-01 and tls-alpn-01 are for exact names";
                self.error_with_hint(
                    node.place_in("names", at),
                    format!("`{name}` cannot be had by ACME"),
                    hint,
                );
            }
        }
        if !self.written.has_acme {
            let hint = "write [acme] with `storage`, `email` and `agree = true`";
            self.error_with_hint(node.key_place_of("acme"), "there is no [acme]", hint);
        }
    }

    fn acme(&mut self, acme: &Acme, node: &Node) {
        if !acme.agree {
            let hint = "read the authority's terms of service and write `agree = true`";
            self.error_with_hint(
                node.place_of("agree"),
                "without your agreement the authority gives no certificates",
                hint,
            );
        }
        if acme.email.as_ref().is_some_and(|email| !is_email(email)) {
            self.error(node.place_of("email"), "this is no address of a mailbox");
        }
        let config = self.config;
        if !config.certificate.iter().any(|certificate| certificate.acme) && !self.written.has_certificates {
            self.warning(
                node.place,
                "no certificate is had by ACME",
                "write [[certificate]] with `acme = true` and `names`",
            );
        }
        let has = |is_tls: bool| config.endpoint.iter().any(|endpoint| endpoint.tls == is_tls);
        let can = acme.challenges.iter().any(|challenge| has(*challenge == AcmeChallenge::TlsAlpn01));
        if !can && !config.endpoint.is_empty() && !node.is_damaged {
            let hint =
                "http-01 needs an endpoint without TLS on port 80, tls-alpn-01 one with TLS on port 443";
            self.error_with_hint(
                node.place_of("challenges"),
                "no endpoint could answer these challenges",
                hint,
            );
        }
    }

    fn client_certificates(&mut self) {
        let settings = &self.config.tls.client_certificates;
        let node = self.tree.under("tls").under("client_certificates");
        let asks = settings.mode != ClientCertificateMode::None;
        if asks && settings.ca.is_none() && !node.is_damaged {
            self.error_with_hint(
                node.place_of("mode"),
                "whose certificates are believed is not said",
                "write `ca`",
            );
        }
        if !asks && settings.ca.is_some() && !node.is_damaged {
            let hint = "write `mode = \"optional\"` or `mode = \"required\"`";
            self.error_with_hint(node.key_place_of("ca"), "clients are not asked for certificates", hint);
        }
    }
}

fn is_email(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}
