//! A request as an asynchronous handler has it: its own copy of the head, and the body as it comes.

use crate::cookie::cookie_value;
use crate::error::Error;
use crate::request::{self, Head};
use crate::running::Built;
#[cfg(feature = "sessions")]
use crate::session;
use crate::values::{self, Fields};
use crate::worker::Worker;
use ringway_engine::Session;
use ringway_http::head::{Known, Limits};
use ringway_http::method::Method;
#[cfg(feature = "sessions")]
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use ringway_web::request_body::RequestBody;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;

/// Whatever was read once can be read again.
const LIMITS: Limits = Limits { line_bytes_max: u32::MAX, head_bytes_max: u32::MAX, fields_max: u16::MAX };

/// A request that its handler may keep while it waits. It belongs to its worker.
pub struct OwnedRequest {
    head: Box<[u8]>,
    path: Box<[u8]>,
    query: Option<Box<[u8]>>,
    route: usize,
    built: Rc<Built>,
    peer: Option<SocketAddr>,
    tls: Option<Rc<Session>>,
    user: Option<Rc<str>>,
    unix_s: u64,
    body: Option<RequestBody>,
    pub(crate) behind: Rc<Behind>,
}

/// What a request leaves behind for its answer.
#[derive(Default)]
pub(crate) struct Behind {
    /// When something of the body was read last, by the worker's clock in milliseconds: while it comes its handler cannot answer,
    /// and has the more time.
    pub(crate) read_ms: Cell<u64>,
    /// Field lines, each with its CR LF.
    pub(crate) lines: RefCell<Vec<u8>>,
    /// The session, where the handler has asked for it.
    #[cfg(feature = "sessions")]
    pub(crate) session: RefCell<Option<session::Session>>,
}

impl OwnedRequest {
    pub(crate) fn new(exchange: &mut Exchange<'_>, built: &Rc<Built>, route: usize, path: &[u8]) -> Self {
        Self {
            head: exchange.request.as_bytes().into(),
            path: path.into(),
            query: exchange.query.map(Into::into),
            route,
            built: Rc::clone(built),
            peer: exchange.peer(),
            tls: exchange.session(),
            user: exchange.user().cloned(),
            unix_s: exchange.common.now_s,
            body: exchange.take_body(),
            behind: Rc::default(),
        }
    }

    /// The head, read anew: ask once for what is needed several times.
    ///
    /// # Panics
    /// Never: it was read before.
    #[must_use]
    pub fn head(&self) -> Head<'_> {
        Head::parse(&self.head, &LIMITS).expect("what was read before can be read again")
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method<'_> {
        let token = self.head.split(|byte| *byte == b' ').next().unwrap_or_default();
        Method::from_token(str::from_utf8(token).unwrap_or_default())
    }

    /// The path below the place where the service is mounted: decoded, normal, with a slash at its front.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The first value of a field; `None` when it was not sent or is no UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        request::field(&self.head(), name)
    }

    /// A field as a type; `None` when it was not sent.
    ///
    /// # Errors
    /// 400 when it is no value of the type.
    pub fn field_as<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        self.field(name).map(|value| values::parse("the field", name, value)).transpose()
    }

    /// Whether the client takes this media type (such as `text/html`) by name.
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        ringway_web::accept::names(self.head().accept(), media_type)
    }

    /// The value of a cookie as it was sent.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.head().values(Known::Cookie).find_map(|line| cookie_value(line, name))
    }

    /// A parameter of the route, as a type.
    ///
    /// # Errors
    /// 400 when it is no value of the type; 500 when the route has no parameter of that name.
    pub fn param<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Error> {
        request::param(&self.built.table, self.route, &self.path, name)
    }

    /// A parameter of the route in plain bytes.
    #[must_use]
    pub fn param_bytes(&self, name: &str) -> Option<&[u8]> {
        self.built.table.param(self.route, &self.path, name)
    }

    /// The values of the query.
    #[must_use]
    pub fn query_fields(&self) -> Fields<'_> {
        Fields::new(self.raw_query().unwrap_or_default())
    }

    /// What follows the `?`, undecoded.
    #[must_use]
    pub fn raw_query(&self) -> Option<&[u8]> {
        self.query.as_deref()
    }

    /// A value of the query, as a type.
    ///
    /// # Errors
    /// 400 when it is missing or no value of the type.
    pub fn query<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Error> {
        self.query_opt(name)?.ok_or_else(|| values::missing("the query value", name))
    }

    /// The same for a value that may be missing.
    ///
    /// # Errors
    /// 400 when it is there and no value of the type.
    pub fn query_opt<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        request::query(self.query_fields(), name)
    }

    /// All of the query as a value, by the names of its fields.
    ///
    /// # Errors
    /// 400 that says which field is wrong or missing.
    pub fn query_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        crate::extract::fields_as("the query", self.raw_query().unwrap_or_default())
    }

    /// The client's address; `None` for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// What the handshake of TLS agreed on; `None` without it.
    #[must_use]
    pub fn tls(&self) -> Option<&Rc<Session>> {
        self.tls.as_ref()
    }

    /// The browser's session: see [`crate::App::sessions`]. What the handler changes of it is kept before its answer is sent, and
    /// the answer sets the cookie where one is needed.
    ///
    /// # Errors
    /// 503 when the sessions' store does not answer; 500 where the service has no sessions.
    #[cfg(feature = "sessions")]
    pub async fn session(&self) -> Result<session::Session, Error> {
        if let Some(session) = &*self.behind.session.borrow() {
            return Ok(session.clone());
        }
        let Some(sessions) = &self.built.sessions else {
            let error = Error::of(Status::INTERNAL_SERVER_ERROR);
            return Err(error.because("the service has no sessions: App::sessions sets them up"));
        };
        let loading = {
            let head = self.head();
            let fields: Vec<&[u8]> = head.values(Known::Cookie).collect();
            sessions.load(self.worker().handle(), &fields)
        };
        let session = loading.await?;
        // Of two futures of one handler that ask at once, both have the same.
        Ok(self.behind.session.borrow_mut().get_or_insert(session).clone())
    }

    /// Who the client has proved to be to the server itself, if it asks for that.
    #[must_use]
    pub fn user(&self) -> Option<&Rc<str>> {
        self.user.as_ref()
    }

    /// Adds a field line to whatever the answer will be.
    ///
    /// # Errors
    /// 500 for what no line can hold.
    pub fn add_field(&self, name: &str, value: &str) -> Result<(), Error> {
        Ok(crate::response::add_line(&mut self.behind.lines.borrow_mut(), name.as_bytes(), value.as_bytes())?)
    }

    /// The worker that this runs on.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.built.worker
    }

    /// Seconds since 1970 when the request was read.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.unix_s
    }

    /// The pattern of the route.
    #[must_use]
    pub fn route(&self) -> &str {
        self.built.table.get(self.route).map_or("", |(_, pattern)| pattern.as_str())
    }

    /// The body, to be read as it comes; `None` when it was taken before. No longer than the route's limit.
    #[must_use]
    pub fn take_body(&mut self) -> Option<RequestBody> {
        self.body.take()
    }

    /// The body, where nobody has taken it.
    #[must_use]
    pub fn body(&self) -> Option<&RequestBody> {
        self.body.as_ref()
    }
}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedRequest({} {})", self.method().as_str(), self.path.escape_ascii())
    }
}
