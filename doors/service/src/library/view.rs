//! A request as a library sees it while it is asked.

use super::flow::Pledge;
use super::hosted::{Place, Side};
use super::sessions::{self, Browser};
use super::sockets::{Acceptor, Opening};
use super::written::Written;
use crate::cookie::{SameSite, SetCookie, cookie_value};
use crate::files::FilePlace;
use ringway_engine::heap::Arena;
use ringway_http::head::{Known, Request};
use ringway_http::response::EncodeError;
use ringway_plugin::abi::flag;
use ringway_plugin::{Answer, Cookie, Fault, RequestView, User, Worker};
use ringway_web::exchange::Exchange;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use crate::values::Fields;

/// The type of bodies whose values are asked for.
const FORM_TYPE: &[u8] = b"application/x-www-form-urlencoded";

/// What a library has done about a request.
#[derive(Debug, Default)]
pub(crate) enum Done {
    #[default]
    Nothing,
    Answered(Written),
    Promised(Pledge),
    Socket(Opening),
    File(FilePlace),
}

/// What is asked for.
pub(crate) struct Asked<'v, 'a> {
    pub(crate) place: Option<&'v Place>,
    /// What of the path is below the mount.
    pub(crate) path: &'a [u8],
    pub(crate) body: Option<&'v [u8]>,
    pub(crate) browser: Option<&'v Browser>,
}

/// A request, lent to a library.
pub(crate) struct View<'v, 'a> {
    request: &'a Request<'a>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    scratch: &'a Arena,
    exchange: RefCell<&'v mut Exchange<'a>>,
    body: Option<&'v [u8]>,
    has_body: bool,
    place: Option<&'v Place>,
    browser: Option<&'v Browser>,
    side: &'v Rc<Side>,
    worker: &'v Rc<Worker>,
    acceptor: Option<&'v Acceptor>,
    done: RefCell<Done>,
}

impl<'v, 'a> View<'v, 'a> {
    pub(crate) fn new(
        side: &'v Rc<Side>,
        worker: &'v Rc<Worker>,
        exchange: &'v mut Exchange<'a>,
        asked: Asked<'v, 'a>,
        acceptor: Option<&'v Acceptor>,
    ) -> Self {
        let Asked { place, path, body, browser } = asked;
        Self {
            request: exchange.request,
            path,
            query: exchange.query,
            scratch: exchange.scratch,
            has_body: body.is_some() || exchange.has_body(),
            exchange: RefCell::new(exchange),
            body,
            place,
            browser,
            side,
            worker,
            acceptor,
            done: RefCell::default(),
        }
    }

    /// What the library has done.
    pub(crate) fn into_done(self) -> Done {
        self.done.into_inner()
    }

    /// A text that lasts as long as the request is looked at.
    fn keep(&self, text: Cow<'a, str>) -> Option<&[u8]> {
        match text {
            Cow::Borrowed(text) => Some(text.as_bytes()),
            // At its limit there is none.
            Cow::Owned(text) => self.scratch.alloc_str(&text).ok().map(|text| text.as_bytes()),
        }
    }

    fn value(&self, fields: Fields<'a>, name: &[u8]) -> Option<&[u8]> {
        self.keep(fields.get(str::from_utf8(name).ok()?)?)
    }
}

impl RequestView for View<'_, '_> {
    fn method(&self) -> &[u8] {
        self.request.method().as_str().as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.request.target()
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.query
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.field(str::from_utf8(name).ok()?)
    }

    fn field_at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.request.fields().nth(index).map(|field| (field.name, field.value))
    }

    fn peer(&self) -> Option<&[u8]> {
        let peer = self.exchange.borrow_mut().peer()?;
        self.scratch.format(format_args!("{peer}")).ok().map(|text| text.as_bytes())
    }

    fn user(&self) -> Option<&[u8]> {
        let exchange = self.exchange.borrow();
        let user = exchange.user()?;
        self.scratch.alloc_str(user).ok().map(|text| text.as_bytes())
    }

    fn flags(&self) -> u32 {
        let is_tls = self.exchange.borrow_mut().session().is_some();
        let tls = if is_tls { flag::REQUEST_TLS } else { 0 };
        tls | if self.has_body { flag::REQUEST_HAS_BODY } else { 0 }
    }

    fn route(&self) -> u32 {
        self.place.map_or(0, |place| place.number)
    }

    fn param(&self, name: &[u8]) -> Option<&[u8]> {
        let place = self.place?;
        place.table.param(place.route, self.path, str::from_utf8(name).ok()?)
    }

    fn query_value(&self, name: &[u8]) -> Option<&[u8]> {
        self.value(Fields::new(self.query?), name)
    }

    fn form_value(&self, name: &[u8]) -> Option<&[u8]> {
        let content_type = self.request.sole(Known::ContentType)?;
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        if !essence.trim_ascii().eq_ignore_ascii_case(FORM_TYPE) {
            return None;
        }
        let value = Fields::new(self.body?).get(str::from_utf8(name).ok()?)?;
        // A body does not last as long as the request, so the arena has it.
        self.scratch.alloc_str(&value).ok().map(|text| text.as_bytes())
    }

    fn body(&self) -> Option<&[u8]> {
        self.body
    }

    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault> {
        let mut done = self.done.borrow_mut();
        if !matches!(*done, Done::Nothing) {
            return Err(Fault::State);
        }
        *done = Done::Answered(Written::new(answer)?);
        Ok(())
    }

    fn later(&self, user: User) -> Result<u64, Fault> {
        let mut done = self.done.borrow_mut();
        if !matches!(*done, Done::Nothing) {
            return Err(Fault::State);
        }
        let pledge = Pledge::new(self.side, self.worker, user)?;
        let number = pledge.number();
        *done = Done::Promised(pledge);
        Ok(number)
    }
    fn open_socket(&self, user: User) -> Result<(), Fault> {
        let mut done = self.done.borrow_mut();
        let acceptor = self.acceptor.ok_or(Fault::State)?;
        if !matches!(*done, Done::Nothing) {
            return Err(Fault::State);
        }
        let opening = Opening::read(acceptor, &mut self.exchange.borrow_mut(), user);
        let is_good = opening.is_socket();
        *done = Done::Socket(opening);
        if is_good { Ok(()) } else { Err(Fault::Invalid) }
    }
    fn add_field(&self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if !matches!(*self.done.borrow(), Done::Nothing) {
            return Err(Fault::State);
        }
        if Written::is_servers_own(name) {
            return Err(Fault::Invalid);
        }
        self.exchange.borrow_mut().add_field(name, value).map_err(|error| match error {
            EncodeError::Full => Fault::Limit,
            _ => Fault::Invalid,
        })
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        let name = str::from_utf8(name).ok()?;
        self.request.values(Known::Cookie).find_map(|field| cookie_value(field, name)).map(str::as_bytes)
    }

    fn set_cookie(&self, cookie: &Cookie<'_>) -> Result<(), Fault> {
        let mut made = SetCookie::new(cookie.name, cookie.value)
            .secure(cookie.flags & flag::COOKIE_PLAIN == 0)
            .http_only(cookie.flags & flag::COOKIE_SCRIPTS == 0);
        if cookie.flags & flag::COOKIE_STRICT != 0 {
            made = made.same_site(SameSite::Strict);
        }
        if let Some(seconds) = cookie.max_age_s {
            made = made.max_age_s(seconds);
        }
        let text = made.encode().map_err(|_no_cookie| Fault::Invalid)?;
        self.add_field(b"Set-Cookie", text.as_bytes())
    }

    fn session_value(&self, name: &[u8]) -> Option<&[u8]> {
        let text = sessions::value(self.browser?, name)?;
        self.scratch.alloc_str(&text).ok().map(|text| text.as_bytes())
    }

    fn session_set(&self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        sessions::set(self.browser.ok_or(Fault::State)?, name, value)
    }

    fn session_user(&self) -> Option<&[u8]> {
        let user = self.browser?.user()?;
        self.scratch.alloc_str(&user).ok().map(|text| text.as_bytes())
    }

    fn session_log_in(&self, user: &str) -> Result<(), Fault> {
        sessions::log_in(self.browser.ok_or(Fault::State)?, user)
    }

    fn session_log_out(&self) -> Result<(), Fault> {
        self.browser.ok_or(Fault::State)?.log_out();
        Ok(())
    }

    fn answer_file(&self, path: &str) -> Result<(), Fault> {
        let files = self.side.files.as_ref().ok_or(Fault::State)?;
        let mut done = self.done.borrow_mut();
        if !matches!(*done, Done::Nothing) {
            return Err(Fault::State);
        }
        *done = Done::File(files.place(path));
        Ok(())
    }
}
