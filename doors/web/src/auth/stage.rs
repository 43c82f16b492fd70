//! The stage that lets in who proves to be somebody, and asks everybody else to.

use crate::auth::basic::{Credentials, credentials};
use crate::auth::certificates::Certificates;
use crate::auth::gate::{Gate, Place, Shut, Turn};
use crate::auth::remembered::{Fingerprint, Remembered};
use crate::auth::tokens::Tokens;
use crate::auth::users::Users;
use crate::exchange::Exchange;
use crate::limit::retry_after;
use crate::log::errors::{ErrorLog, Level};
use crate::pipeline::{Finish, Handled, Reply, RequestStage, Verdict};
use ringway_engine::heap::local_future;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use rustix::rand::{GetRandomFlags, getrandom};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Milliseconds after which somebody is told to come again whose password could not be verified for want of a thread.
const BUSY_RETRY_MS: u64 = 1000;

/// Who is let in, and by what proof. One proof is enough where several are possible.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// What is protected, as browsers show it.
    pub realm: Box<str>,
    /// Names with passwords.
    pub users: Option<Users>,
    /// Tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// Certificates of clients.
    pub certificates: Option<Certificates>,
    /// Only these names are let in; others who prove theirs are answered 403. `None`: all.
    pub allowed: Option<HashSet<Box<str>>>,
    /// How long a password that was right is remembered, in milliseconds: as long may pass until a user who is removed from
    /// a file is locked out. Default one minute.
    pub remembered_ms: u64,
    /// How many of them a worker remembers. Default 1024.
    pub remembered_max: usize,
}

impl AuthOptions {
    /// Nobody can prove to be anybody yet.
    #[must_use]
    pub fn new(realm: &str) -> Self {
        Self {
            realm: realm.into(),
            users: None,
            tokens: None,
            certificates: None,
            allowed: None,
            remembered_ms: 60_000,
            remembered_max: 1024,
        }
    }
}

/// The stage, for one worker.
#[derive(Clone)]
pub struct Auth(Rc<Inner>);

struct Inner {
    options: Arc<AuthOptions>,
    gate: Gate,
    log: Option<ErrorLog>,
    challenges: Box<[u8]>,
    remembered: RefCell<Remembered>,
}

impl Auth {
    /// A stage that verifies passwords behind `gate`, and tells `log` about wrong ones.
    ///
    /// # Errors
    /// When the system has no random bits.
    pub fn new(options: Arc<AuthOptions>, gate: Gate, log: Option<ErrorLog>) -> io::Result<Self> {
        let mut key = [0; 32];
        if getrandom(&mut key, GetRandomFlags::empty())? != key.len() {
            return Err(io::Error::other("the system has no random bits"));
        }
        let remembered = RefCell::new(Remembered::new(key, options.remembered_max, options.remembered_ms));
        let challenges = challenges(&options, false).into();
        Ok(Self(Rc::new(Inner { options, gate, log, challenges, remembered })))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({:?})", self.0.options)
    }
}

impl RequestStage for Auth {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        if let Some(certificates) = &self.0.options.certificates
            && let Some(session) = exchange.session()
            && let Some(certificate) = &session.client_certificate
            && certificates.allow(certificate)
        {
            return self.0.admit(exchange, Rc::from(&*certificate.subject));
        }
        match (credentials(exchange.request), &*self.0.options) {
            (Credentials::Basic { decoded, colon }, AuthOptions { users: Some(users), .. }) => {
                self.basic(exchange, users, decoded, colon)
            }
            (Credentials::Bearer(token), AuthOptions { tokens: Some(tokens), .. }) => {
                match tokens.find(token) {
                    Some(name) => self.0.admit(exchange, Rc::from(name)),
                    None => {
                        let lines = challenges(&self.0.options, true);
                        exchange.error_with(Status::UNAUTHORIZED, &lines).map(Verdict::Answer)
                    }
                }
            }
            _ => self.0.ask(exchange).map(Verdict::Answer),
        }
    }
}

impl Auth {
    fn basic(
        &self,
        exchange: &mut Exchange<'_>,
        users: &Users,
        decoded: Vec<u8>,
        colon: usize,
    ) -> Result<Verdict, EncodeError> {
        let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let generation = users.generation();
        let print = self.0.remembered.borrow().fingerprint(name, password);
        let known = self.0.remembered.borrow().find(print, generation, exchange.moment.ms).cloned();
        if let Some(name) = known {
            return self.0.admit(exchange, name);
        }
        let address = exchange.peer().map(|peer| peer.ip());
        match self.0.gate.queue(address) {
            Ok(turn) => {
                let attempt = Attempt { users: users.clone(), decoded, colon, log: self.0.log.clone() };
                Ok(self.verify(exchange, attempt, turn, print, address))
            }
            Err(shut) => self.0.turn_away(exchange, shut).map(Verdict::Answer),
        }
    }

    fn verify(
        &self,
        exchange: &Exchange<'_>,
        attempt: Attempt,
        turn: Turn,
        print: Fingerprint,
        address: Option<IpAddr>,
    ) -> Verdict {
        let (auth, pool) = (self.clone(), exchange.pool.clone());
        Verdict::Later(local_future(async move {
            let place = turn.await;
            let verified = match pool.run(move || attempt.verify(place)) {
                Ok(pooled) => pooled.await,
                Err(busy) => Err(busy),
            };
            let finish: Finish = Box::new(move |exchange| match verified {
                Ok(Verified { name: Some(name), generation, .. }) => {
                    let name: Rc<str> = name.into();
                    let now_ms = exchange.moment.ms;
                    auth.0.remembered.borrow_mut().add(print, Rc::clone(&name), generation, now_ms);
                    auth.0.admit(exchange, name).map(Handled::from)
                }
                Ok(Verified { name: None, tried, .. }) => {
                    auth.0.gate.note_failure(address);
                    auth.0.tell_wrong(&tried, address);
                    auth.0.ask(exchange).map(Handled::Answer)
                }
                Err(_busy) => {
                    let shut = Shut::Full { retry_ms: BUSY_RETRY_MS };
                    auth.0.turn_away(exchange, shut).map(Handled::Answer)
                }
            });
            finish
        }))
    }
}

impl Inner {
    /// Lets `name` in, or not, where only some are.
    fn admit(&self, exchange: &mut Exchange<'_>, name: Rc<str>) -> Result<Verdict, EncodeError> {
        let is_allowed = self.options.allowed.as_ref().is_none_or(|allowed| allowed.contains(&*name));
        exchange.set_user(name);
        if is_allowed {
            return Ok(Verdict::Pass);
        }
        exchange.error(Status::FORBIDDEN).map(Verdict::Answer)
    }

    /// Asks for proof (401), or refuses where it could only have come with the handshake (403).
    fn ask(&self, exchange: &mut Exchange<'_>) -> Result<Reply, EncodeError> {
        if self.challenges.is_empty() {
            return exchange.error(Status::FORBIDDEN);
        }
        exchange.error_with(Status::UNAUTHORIZED, &self.challenges)
    }

    fn turn_away(&self, exchange: &mut Exchange<'_>, shut: Shut) -> Result<Reply, EncodeError> {
        if let Some(log) = &self.log {
            log.warn("auth", format_args!("passwords are not verified for now: {shut:?}"));
        }
        match shut {
            Shut::Address { retry_ms } => {
                exchange.error_with(Status::TOO_MANY_REQUESTS, &retry_after(retry_ms))
            }
            Shut::Full { retry_ms } => {
                exchange.error_with(Status::SERVICE_UNAVAILABLE, &retry_after(retry_ms))
            }
        }
    }

    fn tell_wrong(&self, name: &[u8], address: Option<IpAddr>) {
        let Some(log) = self.log.as_ref().filter(|log| log.wants(Level::Info)) else { return };
        let name = name.escape_ascii();
        match address {
            Some(address) => {
                log.say(
                    Level::Info,
                    "auth",
                    format_args!("wrong password for \"{name}\" from {}", address.to_canonical()),
                );
            }
            None => log.say(Level::Info, "auth", format_args!("wrong password for \"{name}\"")),
        }
    }
}

/// What verifying brought.
struct Verified {
    /// Who it is, if the password was right.
    name: Option<Box<str>>,
    /// Who it was said to be.
    tried: Box<[u8]>,
    /// Of the users that it was verified with.
    generation: u64,
}

/// A name and a password to be verified.
struct Attempt {
    users: Users,
    decoded: Vec<u8>,
    /// Where the name ends.
    colon: usize,
    log: Option<ErrorLog>,
}

impl Attempt {
    /// Verifies where waiting is allowed; keeps its place in the gate as long as that takes. Users that have changed on the
    /// disk are read first.
    fn verify(self, place: Place) -> Verified {
        if let (Err(error), Some(log)) = (self.users.reload(), &self.log) {
            log.error("auth", format_args!("{error}; the users are those of before"));
        }
        // The generation comes first: a change after it makes what is remembered out of date.
        let generation = self.users.generation();
        let (tried, password) = (&self.decoded[..self.colon], &self.decoded[self.colon + 1..]);
        // A name that is no text is nobody's, and takes as long as others.
        let name = str::from_utf8(tried).unwrap_or_default();
        let is_right = self.users.table().verify(name, password);
        let name = is_right.then(|| name.into());
        drop(place);
        Verified { name, tried: tried.into(), generation }
    }
}

/// `WWW-Authenticate` for everything that could be shown with a request.
fn challenges(options: &AuthOptions, token_was_wrong: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut realm = Vec::new();
    for byte in options.realm.bytes().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\') {
            realm.push(b'\\');
        }
        realm.push(byte);
    }
    if options.tokens.is_some() {
        lines.extend_from_slice(b"WWW-Authenticate: Bearer realm=\"");
        lines.extend_from_slice(&realm);
        let error: &[u8] = if token_was_wrong { b"\", error=\"invalid_token\"\r\n" } else { b"\"\r\n" };
        lines.extend_from_slice(error);
    }
    if options.users.is_some() {
        lines.extend_from_slice(b"WWW-Authenticate: Basic realm=\"");
        lines.extend_from_slice(&realm);
        lines.extend_from_slice(b"\", charset=\"UTF-8\"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::users::UserTable;

    #[test]
    fn challenges_name_what_would_do() {
        let text = |options: &AuthOptions, wrong| String::from_utf8(challenges(options, wrong)).unwrap();
        let mut options = AuthOptions::new("the \"inner\" \\ room\r\nX: y");
        assert_eq!(text(&options, false), "");
        options.users = Some(Users::fixed(UserTable::default()));
        let realm = "realm=\"the \\\"inner\\\" \\\\ roomX: y\"";
        assert_eq!(text(&options, false), format!("WWW-Authenticate: Basic {realm}, charset=\"UTF-8\"\r\n"));
        options.tokens = Some(Arc::default());
        let both = text(&options, true);
        assert!(
            both.starts_with(&format!("WWW-Authenticate: Bearer {realm}, error=\"invalid_token\"\r\n")),
            "{both}"
        );
        assert_eq!(both.matches("\r\n").count(), 2);
    }
}
