//! The certificates of an endpoint: read, checked, found by name, replaced while connections come.

use crate::filter::ACME_PROTOCOL;
use crate::options::{CertificateOptions, Pem};
use crate::problem::Problem;
use crate::x509::Facts;
use ringway_lock::RwLock;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most answers to challenges of a certificate authority that are kept at a time.
const CHALLENGES_MAX: usize = 256;

thread_local! {
    /// The name that was asked for in the hello that was looked at last: rustls tells it to the resolver only.
    static ASKED_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Which name the hello asked for that rustls has just worked on, on this thread.
pub(crate) fn take_asked_name() -> Option<Box<str>> {
    ASKED_NAME.take()
}

/// An endpoint's certificates. They can be replaced at any time; handshakes under way end with those they began with.
pub struct Certificates {
    table: RwLock<Arc<Table>>,
    /// What a certificate authority is shown that asks for a proof (RFC 8737), by name.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// Certificates by name.
struct Table {
    /// Names as they are, and those with a wildcard without their `*.`, marked by a leading dot.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads and checks certificates. What is not fatal comes back beside them.
    ///
    /// # Errors
    /// Everything that is wrong, when something is fatal.
    pub fn new(
        certificates: &[CertificateOptions],
        now: SystemTime,
    ) -> Result<(Arc<Self>, Vec<Problem>), Vec<Problem>> {
        let (table, problems) = Table::new(certificates, now)?;
        let own = Self { table: RwLock::new(Arc::new(table)), challenges: RwLock::default() };
        Ok((Arc::new(own), problems))
    }

    /// Shows these from now on: what `new` would have made of them. Nothing is changed when something is fatal.
    ///
    /// # Errors
    /// Everything that is wrong, when something is fatal.
    pub fn replace(
        &self,
        certificates: &[CertificateOptions],
        now: SystemTime,
    ) -> Result<Vec<Problem>, Vec<Problem>> {
        let (table, problems) = Table::new(certificates, now)?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(problems)
    }

    /// Answers a certificate authority that asks for a proof for `name` over TLS (RFC 8737). `proof` is the SHA-256 of the key
    /// authorization.
    ///
    /// # Errors
    /// `BadCertificate` when no certificate can be made for the name, or too many wait for an authority already.
    pub fn set_challenge(&self, name: &str, proof: [u8; 32]) -> Result<(), Problem> {
        let key = crate::self_signed::challenge(name, &proof)?;
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        if challenges.len() >= CHALLENGES_MAX {
            return Err(Problem::Refused("too many challenges at a time".to_owned()));
        }
        challenges.insert(name.to_ascii_lowercase(), key);
        Ok(())
    }

    /// Forgets the answer to a challenge.
    pub fn clear_challenge(&self, name: &str) {
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        challenges.remove(&name.to_ascii_lowercase());
    }

    fn challenge(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
        challenges.get(&name?.to_ascii_lowercase()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED_NAME.set(hello.server_name().map(|name| name.to_ascii_lowercase().into()));
        if hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_PROTOCOL)) {
            return self.challenge(hello.server_name());
        }
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        let found = table.find(hello.server_name());
        let is_understood =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(is_understood).or(found.first()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Table {
    fn new(
        certificates: &[CertificateOptions],
        now: SystemTime,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut table = Self { names: HashMap::new(), first: Vec::new() };
        for options in certificates {
            match load(options, now, &mut problems) {
                Ok((key, names)) => table.add(&Arc::new(key), &names),
                Err(problem) => problems.push(problem),
            }
        }
        if certificates.is_empty() {
            problems.push(Problem::NoCertificates);
        }
        if problems.iter().any(Problem::is_fatal) { Err(problems) } else { Ok((table, problems)) }
    }

    fn add(&mut self, key: &Arc<CertifiedKey>, names: &[String]) {
        let is_first = self.first.is_empty();
        for name in names {
            let name = name.to_ascii_lowercase();
            let name = name.strip_prefix('*').map_or(name.clone(), ToOwned::to_owned);
            self.names.entry(name).or_default().push(Arc::clone(key));
        }
        if is_first {
            self.first.push(Arc::clone(key));
        } else if let Some(first) = names.iter().find_map(|name| self.names.get(&name.to_ascii_lowercase()))
            && first.first().is_some_and(|one| Arc::ptr_eq(one, &self.first[0]))
        {
            // Another key for the first certificate's name.
            self.first.push(Arc::clone(key));
        }
    }

    fn find(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let found = name.and_then(|name| {
            let name = name.trim_end_matches('.');
            let exact = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.names.get(&name.to_ascii_lowercase())
            } else {
                self.names.get(name)
            };
            let parent = || name.find('.').map(|dot| name[dot..].to_ascii_lowercase());
            exact.or_else(|| self.names.get(&parent()?))
        });
        found.unwrap_or(&self.first)
    }
}

/// Reads a certificate with its key; says for which names it is to be shown. What is not fatal is added to `problems`.
fn load(
    options: &CertificateOptions,
    now: SystemTime,
    problems: &mut Vec<Problem>,
) -> Result<(CertifiedKey, Vec<String>), Problem> {
    let path = &options.chain.path;
    let chain = chain(&options.chain).map_err(|reason| Problem::BadCertificate(path.clone(), reason))?;
    let facts = chain.first().and_then(|leaf| Facts::read(leaf).ok());
    let malformed = || Problem::BadCertificate(path.clone(), "the certificate is malformed".to_owned());
    let facts = facts.ok_or_else(malformed)?;
    let key = private_key(&options.key)?;
    let key = any_supported_type(&key).map_err(|error| {
        Problem::BadKey(options.key.path.clone(), format!("the key cannot be used: {error}"))
    })?;
    let mut certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(Problem::KeyMismatch(path.clone(), options.key.path.clone()));
        }
        Err(error) => return Err(Problem::BadCertificate(path.clone(), error.to_string())),
    }
    certified.ocsp.clone_from(&options.staple);
    let now =
        now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    if now > facts.valid_to {
        problems.push(Problem::Expired(path.clone(), facts.valid_to));
    }
    if now < facts.valid_from {
        problems.push(Problem::NotYetValid(path.clone(), facts.valid_from));
    }
    for name in &options.names {
        if !facts.covers(name) {
            problems.push(Problem::NameNotCovered(path.clone(), name.clone(), facts.names.clone()));
        }
    }
    let names = if options.names.is_empty() { facts.names } else { options.names.clone() };
    Ok((certified, names))
}

/// The first and the last second of the validity of the first certificate in `chain` (PEM), since 1970; `None` when it cannot be
/// read.
#[must_use]
pub fn validity(chain: &[u8]) -> Option<(i64, i64)> {
    let leaf = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
    let facts = Facts::read(&leaf).ok()?;
    Some((facts.valid_from, facts.valid_to))
}

/// The certificates of a file in PEM, at least one.
pub(crate) fn chain(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    match found {
        Ok(chain) if chain.is_empty() => Err("there is no certificate in the file".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("the file is not good PEM: {error}")),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_slice(&pem.bytes).map_err(|error| {
        let is_encrypted = pem.bytes.windows(9).any(|part| part == b"ENCRYPTED");
        let reason = match error {
            _ if is_encrypted => "the key is encrypted: give it without a passphrase".to_owned(),
            rustls::pki_types::pem::Error::NoItemsFound => "there is no private key in the file".to_owned(),
            error => format!("the file is not good PEM: {error}"),
        };
        Problem::BadKey(pem.path.clone(), reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::path::PathBuf;

    fn pem(path: &str, text: &str) -> Pem {
        Pem { path: PathBuf::from(path), bytes: text.as_bytes().to_vec() }
    }

    /// A certificate for `www.example.org`, valid from 2020 to 2030.
    fn good() -> CertificateOptions {
        let mut options = crate::self_signed(&[], SystemTime::now()).expect("good names");
        let mut params = CertificateParams::new(vec!["www.example.org".to_owned()]).expect("a good name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let text = String::from_utf8(options.key.bytes.clone()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).expect("PEM");
        let pair = KeyPair::try_from(key.secret_der()).expect("ours");
        let certificate = params.self_signed(&pair).expect("a certificate");
        options.chain = pem("chain.pem", &crate::self_signed::encoded("CERTIFICATE", certificate.der()));
        options.key.path = PathBuf::from("key.pem");
        options
    }

    fn at(year: u64) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs((year - 1970) * 31_557_600)
    }

    fn told(options: &[CertificateOptions], year: u64) -> Vec<String> {
        let (is_fatal, problems) = match Certificates::new(options, at(year)) {
            Ok((_, problems)) => (false, problems),
            Err(problems) => (true, problems),
        };
        assert_eq!(problems.iter().any(Problem::is_fatal), is_fatal, "{problems:?}");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_certificates_are_taken_and_bad_times_and_names_told() {
        assert_eq!(told(&[good()], 2025), [""; 0]);
        let expired = "the certificate in chain.pem has expired: it was valid until 2030-01-01 00:00 UTC";
        assert_eq!(told(&[good()], 2031), [expired]);
        let early = "the certificate in chain.pem is not valid yet: it will be from 2020-01-01 00:00 UTC";
        assert_eq!(told(&[good()], 2019), [early]);
        let named = CertificateOptions {
            names: vec!["WWW.example.org".to_owned(), "example.org".to_owned()],
            ..good()
        };
        let uncovered = "the certificate in chain.pem is not for example.org: it is for www.example.org";
        assert_eq!(told(&[named], 2025), [uncovered]);
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_file() {
        assert_eq!(told(&[], 2025), ["TLS needs a certificate"]);
        let stranger = CertificateOptions { key: good().key, ..good() };
        assert_eq!(
            told(&[stranger], 2025),
            ["the key in key.pem is not that of the certificate in chain.pem"]
        );
        let no_chain = CertificateOptions { chain: pem("empty.pem", "hello"), ..good() };
        let no_key = CertificateOptions { key: good().chain, ..good() };
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let locked = CertificateOptions { key: pem("locked.pem", locked), ..good() };
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let nonsense = CertificateOptions { chain: pem("nonsense.pem", nonsense), ..good() };
        let cut =
            CertificateOptions { chain: pem("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), ..good() };
        let problems = told(&[no_chain, no_key, locked, nonsense, cut], 2025);
        assert_eq!(problems.len(), 5);
        assert_eq!(problems[0], "empty.pem: there is no certificate in the file");
        assert_eq!(problems[1], "chain.pem: there is no private key in the file");
        assert_eq!(problems[2], "locked.pem: the key is encrypted: give it without a passphrase");
        assert_eq!(problems[3], "nonsense.pem: the certificate is malformed");
        assert!(problems[4].starts_with("cut.pem: the file is not good PEM"), "{}", problems[4]);
        let missing = Pem::read(std::path::Path::new("/no/such/file.pem")).expect_err("it is not there");
        assert!(missing.to_string().starts_with("cannot read /no/such/file.pem: "), "{missing}");
    }
}
