//! Requests, while they are looked at.

use crate::handler::{Promised, Reply};
use crate::later::Later;
use crate::server;
use ringway_plugin::abi::{self, Ask, AskNamed, AskNumber, Bytes, code, flag};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// A request. It cannot leave its thread, nor be kept: what is needed later is copied.
pub struct Request<'a> {
    raw: *const abi::Request,
    lent: PhantomData<(&'a (), *mut ())>,
}

impl Request<'_> {
    pub(crate) fn new(raw: *const abi::Request) -> Self {
        Self { raw, lent: PhantomData }
    }

    /// Its method, such as `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        str::from_utf8(self.ask(|server| server.method).unwrap_or_default()).unwrap_or_default()
    }

    /// Its target as it was sent.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.ask(|server| server.target).unwrap_or_default()
    }

    /// Its path below where the plug-in is mounted, decoded and normal.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.ask(|server| server.path).unwrap_or_default()
    }

    /// What follows the `?`, as it was sent.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.ask(|server| server.query)
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.ask_named(name, |server| server.field)
    }

    /// Names and values of all fields, in the order they were sent.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..).map_while(|index| self.field_at(index))
    }

    /// The client's address, such as `192.0.2.1:4711`; none for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        str::from_utf8(self.ask(|server| server.peer)?).ok()
    }

    /// Who the client has proved to be.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        str::from_utf8(self.ask(|server| server.user)?).ok()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.number(|server| server.flags) & flag::REQUEST_TLS != 0
    }

    /// The number of the route that was taken.
    #[must_use]
    pub fn route(&self) -> u32 {
        self.number(|server| server.route)
    }

    /// A parameter of the route's pattern.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.ask_named(name, |server| server.param)
    }

    /// A parameter of the route's pattern that is UTF-8.
    #[must_use]
    pub fn param_str(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.param(name)?).ok()
    }

    /// The first value of that name in the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.ask_named(name, |server| server.query_value)?).ok()
    }

    /// The first value of that name in a body that is a form (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn form_value(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.ask_named(name, |server| server.form_value)?).ok()
    }

    /// The body; empty where there is none.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.ask(|server| server.body).unwrap_or_default()
    }

    /// Promises an answer: the handle to give it with, from any thread, and what to return now. `None`: one was promised
    /// already, or there are too many.
    #[must_use]
    pub fn later(&self) -> Option<(Later, Reply)> {
        let later = server::table()?.later?;
        // SAFETY: a function of the server's, given its request (I1, I2).
        let number = unsafe { later(self.raw, ptr::null_mut()) };
        (number != 0).then(|| (Later::new(number), Reply::Later(Promised(()))))
    }

    pub(crate) fn raw(&self) -> *const abi::Request {
        self.raw
    }

    fn field_at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let field_at = server::table()?.field_at?;
        let (mut name, mut value) = (Bytes::NONE, Bytes::NONE);
        // SAFETY: a function of the server's, given its request and two places for results (I1, I2).
        let result = unsafe { field_at(self.raw, index, &raw mut name, &raw mut value) };
        if result != code::OK {
            return None;
        }
        // SAFETY: the server's, valid until the callback returns, which this borrow does not outlive (I2).
        unsafe { Some((server::bytes(name)?, server::bytes(value)?)) }
    }

    fn ask(&self, function: impl Fn(&abi::Server) -> Option<Ask>) -> Option<&[u8]> {
        let function = function(server::table()?)?;
        // SAFETY: a function of the server's, given its request; what it gives is valid until the callback returns (I1, I2).
        unsafe { server::bytes(function(self.raw)) }
    }

    fn ask_named(&self, name: &str, function: impl Fn(&abi::Server) -> Option<AskNamed>) -> Option<&[u8]> {
        let function = function(server::table()?)?;
        // SAFETY: as above, given a name that is valid for the call (I1, I2).
        unsafe { server::bytes(function(self.raw, Bytes::of(name.as_bytes()))) }
    }

    fn number(&self, function: impl Fn(&abi::Server) -> Option<AskNumber>) -> u32 {
        let Some(function) = server::table().and_then(function) else { return 0 };
        // SAFETY: a function of the server's, given its request (I1, I2).
        unsafe { function(self.raw) }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("target", &self.target().escape_ascii().to_string())
            .finish()
    }
}
