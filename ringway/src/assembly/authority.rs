//! Certificates from an authority: what it is shown as proofs, what is shown to clients meanwhile, and their renewal.

use super::{AssemblyError, ReadSecret};
use crate::acme::{AuthorityOptions, Challenge, Keeper, KeeperOptions, Prover, Report, Storage};
use crate::config::settings::{Acme, AcmeChallenge, Certificate, Config};
use crate::tls::{Authorities, CertificateOptions, Certificates, Pem, self_signed};
use crate::web::exchange::Exchange;
use crate::web::log::errors::ErrorLog;
use crate::web::pipeline::{RequestStage, Verdict};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_lock::{Mutex, MutexGuard, RwLock};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

/// Below this path the authority looks for proofs (RFC 8555 section 8.3).
const PROOFS: &[u8] = b"/.well-known/acme-challenge/";

/// Most proofs that are shown at a time.
const PROOFS_MAX: usize = 1024;

/// The certificates in use, and the proofs that are shown, whichever configuration is served.
#[derive(Default)]
pub(super) struct Shelf {
    inside: Mutex<Inside>,
    files: RwLock<HashMap<String, Arc<str>>>,
    /// How many files there are: nothing is looked up while there are none.
    shown: AtomicUsize,
}

#[derive(Default)]
struct Inside {
    /// What clients are shown, and where it is replaced.
    certificates: Option<Arc<Certificates>>,
    options: Vec<CertificateOptions>,
    /// What the authority has issued since this process began, by names.
    issued: HashMap<Vec<String>, CertificateOptions>,
    keeper: Option<(KeeperOptions, Keeper)>,
}

impl Shelf {
    /// What is shown for an `acme` certificate as things stand: what was issued, what was kept, or one of our own until there
    /// is one.
    pub(super) fn options(
        &self,
        acme: &Acme,
        certificate: &Certificate,
    ) -> Result<CertificateOptions, AssemblyError> {
        let names = names_of(certificate);
        if let Some(issued) = self.lock().issued.get(&names) {
            return Ok(issued.clone());
        }
        let cannot = |why: &dyn fmt::Display| AssemblyError::new("a certificate cannot be shown", why);
        let storage = Storage::open(acme.storage.as_path()).map_err(|failure| cannot(&failure))?;
        if let Some(kept) = storage.certificate(&names).map_err(|failure| cannot(&failure))? {
            return Ok(shown_as(&storage, &names, kept.chain, kept.key));
        }
        let own = self_signed(&names, SystemTime::now()).map_err(|problem| cannot(&problem))?;
        Ok(CertificateOptions { names, ..own })
    }

    /// A configuration is served from now on: what it shows, and what it wants from the authority.
    pub(super) fn serve(
        self: &Arc<Self>,
        config: &Config,
        read: ReadSecret<'_>,
        shown: Option<(Arc<Certificates>, Vec<CertificateOptions>)>,
        errors: &ErrorLog,
    ) -> Result<(), AssemblyError> {
        let (certificates, options) =
            shown.map_or((None, Vec::new()), |(shown, options)| (Some(shown), options));
        let wanted = config.acme.as_ref().and_then(|acme| keeper_options(acme, config, read));
        let mut inside = self.lock();
        inside.certificates = certificates;
        inside.options = options;
        // Who has failed a minute ago need not be asked again because something else was changed.
        if inside.keeper.as_ref().map(|(options, _)| options) == wanted.as_ref() {
            return Ok(());
        }
        inside.keeper = None;
        let Some(options) = wanted else { return Ok(()) };
        let (shelf, log) = (Arc::downgrade(self), errors.clone());
        let tell = move |report| {
            if let Some(shelf) = shelf.upgrade() {
                shelf.heard(report, &log);
            }
        };
        let prover: Arc<dyn Prover> = Arc::clone(self) as Arc<dyn Prover>;
        let keeper = Keeper::start(options.clone(), prover, tell)
            .map_err(|error| AssemblyError::new("certificates cannot be kept", error))?;
        inside.keeper = Some((options, keeper));
        Ok(())
    }

    fn heard(&self, report: Report, log: &ErrorLog) {
        match report {
            Report::Issued { names, issued, is_new, renewal } => {
                let left = renewal.duration_since(SystemTime::now()).unwrap_or_default();
                let path = match self.lock().keeper.as_ref() {
                    Some((options, _)) => options.storage.clone(),
                    None => return,
                };
                let Ok(storage) = Storage::open(&path) else { return };
                let options = shown_as(&storage, &names, issued.chain, issued.key);
                let outcome = self.show(&names, options);
                let how = if is_new { "was issued" } else { "is kept" };
                let days = left.as_secs() / 86_400;
                match outcome {
                    Ok(()) => log.notice(
                        "acme",
                        format_args!(
                            "a certificate for {} {how}; it is renewed in {days} days",
                            names.join(", ")
                        ),
                    ),
                    Err(why) => log.error(
                        "acme",
                        format_args!("the certificate for {} cannot be shown: {why}", names.join(", ")),
                    ),
                }
            }
            Report::Failed { names, failure, again_in } => log.error(
                "acme",
                format_args!(
                    "no certificate for {}: {failure}; tried again in {} minutes",
                    names.join(", "),
                    again_in.as_secs().div_ceil(60)
                ),
            ),
        }
    }

    /// Shows a certificate in the place of the one for the same names.
    fn show(&self, names: &[String], options: CertificateOptions) -> Result<(), String> {
        let mut inside = self.lock();
        inside.issued.insert(names.to_vec(), options.clone());
        if let Some(place) = inside.options.iter_mut().find(|place| place.names == names) {
            *place = options;
        }
        let Some(certificates) = &inside.certificates else { return Ok(()) };
        let replaced = certificates.replace(&inside.options, SystemTime::now());
        replaced
            .map(|_not_fatal| ())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prover for Shelf {
    fn show_file(&self, token: &str, authorization: &str) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.len() < PROOFS_MAX {
            files.insert(token.to_owned(), authorization.into());
        }
        self.shown.store(files.len(), Ordering::Release);
    }

    fn hide_file(&self, token: &str) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.remove(token);
        self.shown.store(files.len(), Ordering::Release);
    }

    fn show_certificate(&self, name: &str, proof: [u8; 32]) -> Result<(), String> {
        let certificates = self.lock().certificates.clone();
        let certificates = certificates.ok_or_else(|| "there is no endpoint with TLS".to_owned())?;
        certificates.set_challenge(name, proof).map_err(|problem| problem.to_string())
    }

    fn hide_certificate(&self, name: &str) {
        if let Some(certificates) = self.lock().certificates.clone() {
            certificates.clear_challenge(name);
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// Answers an authority that looks for a proof, before any rule, redirect or password.
pub(super) struct ProofStage(pub(super) Arc<Shelf>);

impl RequestStage for ProofStage {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        if self.0.shown.load(Ordering::Acquire) == 0 {
            return Ok(Verdict::Pass);
        }
        let Some(token) = exchange.path.strip_prefix(PROOFS) else { return Ok(Verdict::Pass) };
        let found = str::from_utf8(token).ok().and_then(|token| {
            self.0.files.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
        });
        let Some(authorization) = found else { return Ok(Verdict::Pass) };
        let lines = b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n";
        exchange.text(Status::OK, lines, authorization.as_bytes().to_vec()).map(Verdict::Answer)
    }
}

fn names_of(certificate: &Certificate) -> Vec<String> {
    certificate.names.iter().map(ToString::to_string).collect()
}

fn shown_as(storage: &Storage, names: &[String], chain: Vec<u8>, key: Vec<u8>) -> CertificateOptions {
    let path = storage.path(names);
    CertificateOptions {
        chain: Pem { path: path.clone(), bytes: chain },
        key: Pem { path, bytes: key },
        staple: None,
        names: names.to_vec(),
    }
}

/// What to keep; `None` when nothing is wanted from the authority.
fn keeper_options(acme: &Acme, config: &Config, read: ReadSecret<'_>) -> Option<KeeperOptions> {
    let wanted = config.certificate.iter().filter(|certificate| certificate.acme);
    let certificates: Vec<Vec<String>> = wanted.map(names_of).collect();
    let authorities = match &acme.ca {
        None => Authorities::System,
        Some(path) => {
            let path = path.as_path().to_owned();
            // What cannot be read vouches for nobody, and the keeper says so.
            let bytes = read(&path).unwrap_or_default();
            Authorities::Only(Pem { path, bytes })
        }
    };
    let challenge = |challenge: &AcmeChallenge| match challenge {
        AcmeChallenge::Http01 => Challenge::Http01,
        AcmeChallenge::TlsAlpn01 => Challenge::TlsAlpn01,
    };
    (!certificates.is_empty()).then(|| KeeperOptions {
        authority: AuthorityOptions {
            directory: acme.directory.to_string(),
            email: acme.email.clone(),
            agree: acme.agree,
            authorities,
        },
        challenges: acme.challenges.iter().map(challenge).collect(),
        storage: acme.storage.as_path().to_owned(),
        certificates,
    })
}
