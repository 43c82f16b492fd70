//! A request as a synchronous handler sees it: everything borrowed from the connection's memory, nothing copied.

use crate::cookie::cookie_value;
use crate::error::Error;
use crate::routes::Table;
use crate::values::{self, Fields};
use crate::worker::Worker;
use ringway_engine::Session;
use ringway_http::head::{self, Known};
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_web::exchange::Exchange;
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;

pub use ringway_http::head::Request as Head;

/// What a request asks of its exchange.
pub(crate) trait Ask {
    fn peer(&mut self) -> Option<SocketAddr>;
    fn session(&mut self) -> Option<Rc<Session>>;
    fn user(&self) -> Option<&Rc<str>>;
    fn add_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError>;
}

impl Ask for Exchange<'_> {
    fn peer(&mut self) -> Option<SocketAddr> {
        Exchange::peer(self)
    }

    fn session(&mut self) -> Option<Rc<Session>> {
        Exchange::session(self)
    }

    fn user(&self) -> Option<&Rc<str>> {
        Exchange::user(self)
    }

    fn add_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        Exchange::add_field(self, name, value)
    }
}

/// A request. Its handler runs on the connection's turn: it must not wait, and other connections of the worker are served when
/// it returns. A handler that must wait takes an [`crate::OwnedRequest`].
pub struct Request<'a> {
    pub(crate) head: &'a Head<'a>,
    pub(crate) path: &'a [u8],
    pub(crate) query: Option<&'a [u8]>,
    pub(crate) route: usize,
    pub(crate) table: &'a Table,
    pub(crate) worker: &'a Worker,
    pub(crate) now_ms: u64,
    pub(crate) unix_s: u64,
    pub(crate) ask: RefCell<&'a mut (dyn Ask + 'a)>,
}

impl<'a> Request<'a> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> Method<'a> {
        self.head.method()
    }

    /// The path below the place where the service is mounted: decoded, normal, with a slash at its front.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// The head as the server has read it.
    #[must_use]
    pub fn head(&self) -> &'a Head<'a> {
        self.head
    }

    /// The first value of a field; `None` when it was not sent or is no UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        field(self.head, name)
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
        ringway_web::accept::names(self.head.accept(), media_type)
    }

    /// The value of a cookie as it was sent.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.head.values(Known::Cookie).find_map(|line| cookie_value(line, name))
    }

    /// A parameter of the route, as a type.
    ///
    /// # Errors
    /// 400 when it is no value of the type; 500 when the route has no parameter of that name.
    pub fn param<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Error> {
        param(self.table, self.route, self.path, name)
    }

    /// A parameter of the route in plain bytes.
    #[must_use]
    pub fn param_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.table.param(self.route, self.path, name)
    }

    /// The values of the query.
    #[must_use]
    pub fn query_fields(&self) -> Fields<'a> {
        Fields::new(self.query.unwrap_or_default())
    }

    /// What follows the `?`, undecoded.
    #[must_use]
    pub fn raw_query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// A value of the query, as a type.
    ///
    /// # Errors
    /// 400 when it is missing or no value of the type.
    pub fn query<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Error> {
        query(self.query_fields(), name)?.ok_or_else(|| values::missing("the query value", name))
    }

    /// The same for a value that may be missing.
    ///
    /// # Errors
    /// 400 when it is there and no value of the type.
    pub fn query_opt<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        query(self.query_fields(), name)
    }

    /// All of the query as a value, by the names of its fields.
    ///
    /// # Errors
    /// 400 that says which field is wrong or missing.
    pub fn query_as<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        crate::extract::fields_as("the query", self.query.unwrap_or_default())
    }

    /// The client's address; `None` for Unix sockets. The first call on a connection is a system call.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.ask.borrow_mut().peer()
    }

    /// What the handshake of TLS agreed on; `None` without it.
    pub fn tls(&self) -> Option<Rc<Session>> {
        self.ask.borrow_mut().session()
    }

    /// Who the client has proved to be to the server itself, if it asks for that.
    pub fn user(&self) -> Option<Rc<str>> {
        self.ask.borrow().user().cloned()
    }

    /// Adds a field line to whatever the answer will be.
    ///
    /// # Errors
    /// 500 for what no line can hold.
    pub fn add_field(&self, name: &str, value: &str) -> Result<(), Error> {
        Ok(self.ask.borrow_mut().add_field(name.as_bytes(), value.as_bytes())?)
    }

    /// The worker that this runs on.
    #[must_use]
    pub fn worker(&self) -> &'a Worker {
        self.worker
    }

    /// The worker's clock, in milliseconds; it only ever goes on.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.unix_s
    }

    /// The pattern of the route.
    #[must_use]
    pub fn route(&self) -> &'a str {
        self.table.get(self.route).map_or("", |(_, pattern)| pattern.as_str())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {})", self.method().as_str(), self.path.escape_ascii())
    }
}

pub(crate) fn field<'h>(head: &head::Request<'h>, name: &str) -> Option<&'h str> {
    str::from_utf8(head.field(name)?).ok()
}

pub(crate) fn param<T: FromStr<Err: fmt::Display>>(
    table: &Table,
    route: usize,
    path: &[u8],
    name: &str,
) -> Result<T, Error> {
    let Some(value) = table.param(route, path, name) else {
        let status = ringway_http::status::Status::INTERNAL_SERVER_ERROR;
        return Err(Error::of(status).because(format!("the route has no parameter {name:?}")));
    };
    let text = str::from_utf8(value)
        .map_err(|_not| Error::bad_request(format!("the path's {name:?} is no text in UTF-8")))?;
    values::parse("the path's", name, text)
}

pub(crate) fn query<T: FromStr<Err: fmt::Display>>(
    fields: Fields<'_>,
    name: &str,
) -> Result<Option<T>, Error> {
    let value: Option<Cow<'_, str>> = fields.get(name);
    value.map(|value| values::parse("the query value", name, &value)).transpose()
}
