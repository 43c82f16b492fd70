//! Sessions: values that belong to a browser, kept on this side and found by a random id in a cookie.
//!
//! An id has 192 random bits, is kept as a hash, is never taken from a browser that this side did not give it to, and is another
//! one after a log-in. What [`Session::save`] has acknowledged outlives the process in SQLite and Redis.

mod csrf;
mod memory;
mod options;
mod record;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(feature = "sqlite")]
mod sqlite_store;
mod store;

pub use options::SessionOptions;

use crate::cookie::{KeyError, SetCookie, cookies};
use crate::error::Error;
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::response::{IntoResponse, Response};
#[cfg(feature = "sqlite")]
use crate::sqlite::{Sqlite, SqliteError};
use memory::Memory;
use record::{Change, Id, Life, Record};
use ringway_engine::WorkerHandle;
use ringway_http::status::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use store::Store;

/// Cookies of the session's name that are tried: other hosts of a domain may have set one, too.
const CANDIDATES_MAX: usize = 4;

/// Most seconds for which a use of a session is not written down.
const TOUCH_S_MAX: u64 = 60;

/// The value that forms' tokens are made of.
const CSRF: &str = "_csrf";

/// The sessions of a service, shared by its workers: clones are the same.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    options: SessionOptions,
    /// The cookie's name with its prefix.
    name: String,
}

/// A browser's session, as one request sees it: clones are the same. It exists in the store once something was set and
/// [`Session::save`] has acknowledged it.
#[derive(Clone)]
pub struct Session {
    sessions: Sessions,
    worker: WorkerHandle,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    /// `None` when the browser has none.
    id: Option<Id>,
    /// As the store has it, with the changes.
    record: Record,
    change: Change,
    is_ended: bool,
    is_rotated: bool,
}

/// Why a session cannot be read or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// There are as many as there may be, and none that could end for this one.
    Full,
    /// It would have more than [`SessionOptions::bytes_max`] bytes.
    TooLarge,
    /// A value is not of the type that is asked for, or has no form in JSON.
    Value(String),
    /// The cookie's name or path is none.
    Cookie(crate::cookie::CookieError),
    /// The machine gives no random numbers.
    Random,
    /// The store does not answer.
    Unavailable(String),
}

impl Sessions {
    /// Sessions in the process's memory, gone with it.
    #[must_use]
    pub fn memory(options: SessionOptions) -> Self {
        let life = Life { idle_s: options.idle_s, absolute_s: options.absolute_s };
        let memory = Memory::new(life, options.sessions_max, options.memory_bytes_max);
        Self::new(Store::Memory(Box::new(memory)), options)
    }

    /// Sessions in the table `ringway_session` of a database, which is made where it is missing. Blocks: to be called before
    /// workers run.
    ///
    /// # Errors
    /// What SQLite says.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(database: &Sqlite, options: SessionOptions) -> Result<Self, SqliteError> {
        Ok(Self::new(Store::Sqlite(sqlite_store::SqliteStore::new(database, &options)?), options))
    }

    /// Sessions in Redis under keys that begin with `prefix`, which services that share a server must not share. While the
    /// server cannot be reached, whoever asks for a session is told so at once.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(redis: &Redis, prefix: &str, options: SessionOptions) -> Self {
        Self::new(Store::Redis(redis_store::RedisStore::new(redis, prefix, &options)), options)
    }

    /// The session that a request's `Cookie` fields name, or an empty one. With sessions in memory the future is ready when it
    /// is first polled.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub fn load(
        &self,
        worker: &WorkerHandle,
        fields: &[&[u8]],
    ) -> impl Future<Output = Result<Session, SessionError>> + use<> {
        let pairs = fields.iter().copied().flat_map(cookies);
        let ids =
            pairs.filter(|(name, _)| *name == self.shared.name).filter_map(|(_, value)| Id::parse(value));
        let ids: Vec<Id> = ids.take(CANDIDATES_MAX).collect();
        let (sessions, worker) = (self.clone(), worker.clone());
        async move {
            let mut state = State::default();
            for id in ids {
                let found = sessions.shared.store.load(&worker, &id.key(), now_s()).await?;
                if let Some(record) = found {
                    state = State { id: Some(id), record, ..State::default() };
                    break;
                }
            }
            Ok(Session { sessions, worker, state: Rc::new(RefCell::new(state)) })
        }
    }

    fn new(store: Store, options: SessionOptions) -> Self {
        let name = options.full_name();
        Self { shared: Arc::new(Shared { store, options, name }) }
    }
}

impl SessionError {
    /// What a request is answered whose handler fails with this.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            // It may be better a moment later.
            Self::Full | Self::Unavailable(_) => Status::SERVICE_UNAVAILABLE,
            Self::TooLarge | Self::Value(_) | Self::Cookie(_) | Self::Random => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Session {
    /// A value; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`SessionError::Value`] when it is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        let state = self.state.borrow();
        let Some(text) = state.record.values.get(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| SessionError::Value(error.to_string()))
    }

    /// Sets a value. Requests of one browser that set different names at once do not undo each other. Names that begin with an
    /// underscore are Ringway's.
    ///
    /// # Errors
    /// [`SessionError::Value`], [`SessionError::TooLarge`].
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), SessionError> {
        let text = serde_json::to_string(value).map_err(|error| SessionError::Value(error.to_string()))?;
        self.put(name, text)
    }

    /// Removes a value; whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let state = &mut *self.state.borrow_mut();
        let was_there = state.record.values.remove(name).is_some();
        if was_there {
            state.change.values.insert(name.to_owned(), None);
        }
        was_there
    }

    /// Who has logged in.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        self.state.borrow().record.user.clone()
    }

    /// Somebody has proved who he is: the session is his, under a new id, with what was in it before.
    ///
    /// # Errors
    /// [`SessionError::TooLarge`].
    pub fn log_in(&self, user: &str) -> Result<(), SessionError> {
        if user.len() > self.sessions.shared.options.bytes_max {
            return Err(SessionError::TooLarge);
        }
        // Forms that a stranger has seen are not the user's.
        self.remove(CSRF);
        let state = &mut *self.state.borrow_mut();
        state.record.user = Some(user.to_owned());
        state.change.user = Some(Some(user.to_owned()));
        state.change.is_log_in = true;
        state.is_rotated = true;
        Ok(())
    }

    /// Ends the session and forgets what was in it.
    pub fn log_out(&self) {
        let state = &mut *self.state.borrow_mut();
        state.is_ended = true;
        (state.record, state.change, state.is_rotated) = Default::default();
    }

    /// Gives the session a new id, as is right whenever what its user may do changes.
    pub fn rotate(&self) {
        self.state.borrow_mut().is_rotated = true;
    }

    /// A token for a form of this session: another text each time, the same to [`Session::is_csrf_token`]. The first one sets a
    /// value.
    ///
    /// # Errors
    /// [`SessionError::Random`], [`SessionError::TooLarge`].
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        if let Some(secret) = self.get::<String>(CSRF)?
            && let Some(token) = csrf::token(&secret)?
        {
            return Ok(token);
        }
        let secret = csrf::secret()?;
        self.set(CSRF, &secret)?;
        csrf::token(&secret)?.ok_or(SessionError::Random)
    }

    /// Whether what a form brought is a token of this session. A request that changes something and fails this is another site's.
    #[must_use]
    pub fn is_csrf_token(&self, token: &str) -> bool {
        matches!(self.get::<String>(CSRF), Ok(Some(secret)) if csrf::is_of(token, &secret))
    }

    /// Keeps what has changed, and says the value of the `Set-Cookie` field that the answer must have, if any. What is
    /// acknowledged by that is in the store. A session that has ended meanwhile, by a log-out of another request, stays ended.
    ///
    /// # Errors
    /// [`SessionError`]; the changes stay and may be saved again.
    ///
    /// # Cancellation
    /// A dropped future has kept all of it or nothing.
    pub async fn save(&self) -> Result<Option<String>, SessionError> {
        let mut cookie = None;
        if self.state.borrow().is_ended {
            cookie = self.end().await?;
        }
        let now_s = now_s();
        let (change, from, new) = {
            let state = self.state.borrow();
            if state.change.is_empty()
                && !(state.id.is_some() && (state.is_rotated || self.must_touch(&state, now_s)))
            {
                return Ok(cookie);
            }
            let keeps = state.id.is_some() && !state.is_rotated;
            (state.change.clone(), state.id.clone(), if keeps { None } else { Some(Id::random()?) })
        };
        let Some(to) = new.as_ref().or(from.as_ref()) else { return Ok(cookie) };
        let (from_key, to_key) = (from.as_ref().map(Id::key), to.key());
        // What cannot be said must not be kept.
        let told =
            new.as_ref().map(|id| self.cookie(&id.text(), Some(self.sessions.shared.options.absolute_s)));
        let told = told.transpose()?;
        let store = &self.sessions.shared.store;
        let is_kept = store.apply(&self.worker, from_key, to_key, change.clone(), now_s).await?;
        let state = &mut *self.state.borrow_mut();
        if !is_kept {
            *state = State::default();
            return self.cookie("", Some(0)).map(Some);
        }
        state.kept(&change, new.or(from), now_s);
        Ok(told.or(cookie))
    }

    /// An answer that is sent once the session's changes are kept, with the cookie that it needs; one that says so where they
    /// cannot be.
    pub(crate) async fn acknowledge(&self, answer: Response) -> Response {
        match self.save().await {
            Ok(None) => answer,
            Ok(Some(cookie)) => answer.with_field("Set-Cookie", &cookie),
            Err(error) => Error::from(error).into_response(),
        }
    }

    async fn end(&self) -> Result<Option<String>, SessionError> {
        let id = self.state.borrow().id.clone();
        if let Some(id) = &id {
            self.sessions.shared.store.remove(&self.worker, id.key()).await?;
        }
        let state = &mut *self.state.borrow_mut();
        state.is_ended = false;
        state.id = None;
        id.map(|_| self.cookie("", Some(0))).transpose()
    }

    fn put(&self, name: &str, text: String) -> Result<(), SessionError> {
        let state = &mut *self.state.borrow_mut();
        let values = &state.record.values;
        let others = values.iter().filter(|(other, _)| *other != name);
        let bytes: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if bytes + name.len() + text.len() > self.sessions.shared.options.bytes_max {
            return Err(SessionError::TooLarge);
        }
        state.record.values.insert(name.to_owned(), text.clone());
        state.change.values.insert(name.to_owned(), Some(text));
        Ok(())
    }

    /// Whether the store should hear that the session is used.
    fn must_touch(&self, state: &State, now_s: u64) -> bool {
        let shared = &self.sessions.shared;
        let pause_s = TOUCH_S_MAX.min(shared.options.idle_s / 10);
        !shared.store.notes_use() && now_s.saturating_sub(state.record.used_s) > pause_s
    }

    fn cookie(&self, value: &str, max_age_s: Option<u64>) -> Result<String, SessionError> {
        let Shared { options, name, .. } = &*self.sessions.shared;
        let mut cookie = SetCookie::new(name, value)
            .path(&options.path)
            .same_site(options.same_site)
            .secure(options.is_secure);
        if let Some(seconds) = max_age_s {
            cookie = cookie.max_age_s(seconds);
        }
        cookie.encode().map_err(SessionError::Cookie)
    }
}

impl State {
    /// The store has this change. What was set while it was written is still to be kept.
    fn kept(&mut self, change: &Change, id: Option<Id>, now_s: u64) {
        self.change.values.retain(|name, value| change.values.get(name) != Some(value));
        if self.change.user == change.user {
            self.change.user = None;
            self.change.is_log_in = false;
        }
        self.record.used_s = now_s;
        self.id = id;
        self.is_rotated = false;
    }
}

impl From<KeyError> for SessionError {
    fn from(_: KeyError) -> Self {
        Self::Random
    }
}

#[cfg(feature = "sqlite")]
impl From<SqliteError> for SessionError {
    fn from(error: SqliteError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.state.borrow().record.user).finish_non_exhaustive()
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("there are as many sessions as there may be"),
            Self::TooLarge => f.write_str("the session would be too large"),
            Self::Value(reason) => write!(f, "the session's value: {reason}"),
            Self::Cookie(error) => error.fmt(f),
            Self::Random => f.write_str("the machine gives no random numbers"),
            Self::Unavailable(reason) => write!(f, "the sessions' store: {reason}"),
        }
    }
}

impl std::error::Error for SessionError {}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
