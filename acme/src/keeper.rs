//! Keeps certificates: obtains those that are missing, renews them in time, tries again later when that fails.

use crate::authority::{Authority, AuthorityOptions};
use crate::failure::Failure;
use crate::obtain::{Challenge, Issued, Prover, obtain};
use crate::storage::Storage;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// First pause after a failure; each further one doubles it, up to [`RETRY_MAX`]: authorities count failures.
const RETRY_MIN: Duration = Duration::from_secs(60);

/// Longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

/// How often dates are looked at: a machine that slept wakes up with other ones.
const LOOK: Duration = Duration::from_secs(3600);

/// What to keep, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperOptions {
    /// Whom to ask.
    pub authority: AuthorityOptions,
    /// How names are proved, the most wanted first.
    pub challenges: Vec<Challenge>,
    /// Where account and certificates are kept.
    pub storage: PathBuf,
    /// The names of each certificate.
    pub certificates: Vec<Vec<String>>,
}

/// What happened to a certificate.
#[derive(Debug)]
pub enum Report {
    /// It was found, or had from the authority.
    Issued {
        /// Its names.
        names: Vec<String>,
        /// The certificate.
        issued: Issued,
        /// Whether it is new.
        is_new: bool,
        /// When it is to be renewed.
        renewal: SystemTime,
    },
    /// It was not had.
    Failed {
        /// Its names.
        names: Vec<String>,
        /// Why.
        failure: Failure,
        /// When it is tried again.
        again_in: Duration,
    },
}

/// A thread that keeps certificates. Dropping it stops it once what it waits for has ended.
pub struct Keeper {
    stop: Sender<()>,
}

impl Keeper {
    /// Starts keeping. `tell` hears of everything, on the keeper's thread; of what is in the storage at once.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        options: KeeperOptions,
        prover: Arc<dyn Prover>,
        tell: impl Fn(Report) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("ringway-acme".to_owned());
        thread.spawn(move || Work { options, prover, tell: Box::new(tell) }.run(&stopped))?;
        Ok(Self { stop })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ended_already = self.stop.send(());
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

struct Work {
    options: KeeperOptions,
    prover: Arc<dyn Prover>,
    tell: Box<dyn Fn(Report) + Send>,
}

/// One certificate's next step.
struct Next {
    names: Vec<String>,
    at: SystemTime,
    failures: u32,
}

impl Work {
    fn run(&self, stopped: &Receiver<()>) {
        let now = SystemTime::now();
        let mut all: Vec<Next> =
            self.options.certificates.iter().map(|names| self.found(names, now)).collect();
        loop {
            let now = SystemTime::now();
            for next in all.iter_mut().filter(|next| next.at <= now) {
                self.step(next);
            }
            let soonest = all.iter().map(|next| next.at).min().unwrap_or(now + LOOK);
            let pause = soonest.duration_since(SystemTime::now()).unwrap_or_default().min(LOOK);
            match stopped.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What is in the storage is shown at once, even when it is to be renewed.
    fn found(&self, names: &[String], now: SystemTime) -> Next {
        let kept = Storage::open(&self.options.storage).and_then(|storage| storage.certificate(names));
        let renewal = match kept {
            Ok(Some(issued)) => renewal_of(&issued).inspect(|&renewal| {
                (self.tell)(Report::Issued { names: names.to_vec(), issued, is_new: false, renewal });
            }),
            Ok(None) | Err(_) => None,
        };
        Next { names: names.to_vec(), at: renewal.unwrap_or(now), failures: 0 }
    }

    fn step(&self, next: &mut Next) {
        let names = next.names.clone();
        match self.obtain(&names) {
            Ok((issued, renewal)) => {
                (next.at, next.failures) = (renewal, 0);
                (self.tell)(Report::Issued { names, issued, is_new: true, renewal });
            }
            Err(failure) => {
                let again_in = pause_after(next.failures);
                next.failures = next.failures.saturating_add(1);
                next.at = SystemTime::now() + again_in;
                (self.tell)(Report::Failed { names, failure, again_in });
            }
        }
    }

    fn obtain(&self, names: &[String]) -> Result<(Issued, SystemTime), Failure> {
        let storage = Storage::open(&self.options.storage)?;
        let kept = storage.account()?;
        let (mut authority, key) = Authority::open(&self.options.authority, kept.as_deref())?;
        if kept.is_none() {
            storage.keep_account(&key)?;
        }
        let issued = obtain(&mut authority, names, &self.options.challenges, &*self.prover)?;
        let renewal = renewal_of(&issued)
            .ok_or_else(|| Failure::Here("the certificate that was issued cannot be read".to_owned()))?;
        storage.keep_certificate(names, &issued)?;
        Ok((issued, renewal))
    }
}

/// When two thirds of its time have passed.
fn renewal_of(issued: &Issued) -> Option<SystemTime> {
    let (from, to) = ringway_tls::validity(&issued.chain)?;
    let at = from + (to - from) / 3 * 2;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(at).ok()?))
}

fn pause_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let pauses: Vec<u64> = (0..5).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960]);
        assert_eq!(pause_after(u32::MAX), RETRY_MAX);
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_time() {
        let now = SystemTime::now();
        let made = ringway_tls::self_signed(&[], now).expect("it can be made");
        let issued = Issued { chain: made.chain.bytes, key: made.key.bytes };
        let renewal = renewal_of(&issued).expect("it can be read").duration_since(now).expect("it is later");
        let days = renewal.as_secs() / 86_400;
        assert!((200..397).contains(&days), "{days}");
        assert_eq!(renewal_of(&Issued { chain: b"nonsense".to_vec(), key: Vec::new() }), None);
    }
}
