//! A request as a hook sees it while it is asked, with the answer where there is one.

use super::Side;
use super::pledge::{Pledge, check_field, user_of};
use crate::library::Written;
use crate::values::Fields;
use ringway_engine::heap::Arena;
use ringway_http::head::Request;
use ringway_plugin::abi::flag;
use ringway_plugin::{Answer, Fault, RequestView, User};
use ringway_web::exchange::Exchange;
use ringway_web::field_edits::{EditError, FieldEdits};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

/// What a hook has done about a request.
#[derive(Debug, Default)]
pub(crate) enum Done {
    #[default]
    Nothing,
    Answered(Written),
    Promised(Pledge),
}

/// An answer's status, and the length of its head in the exchange's memory.
pub(crate) type Head = (u16, usize);

/// A request, lent to a hook.
pub(crate) struct View<'v, 'a> {
    request: &'a Request<'a>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    scratch: &'a Arena,
    exchange: RefCell<&'v mut Exchange<'a>>,
    side: &'v Rc<Side>,
    answer: Option<Head>,
    done: RefCell<Done>,
    removed: RefCell<FieldEdits>,
}

impl<'v, 'a> View<'v, 'a> {
    pub(crate) fn new(side: &'v Rc<Side>, exchange: &'v mut Exchange<'a>, answer: Option<Head>) -> Self {
        Self {
            request: exchange.request,
            path: exchange.path,
            query: exchange.query,
            scratch: exchange.scratch,
            exchange: RefCell::new(exchange),
            side,
            answer,
            done: RefCell::default(),
            removed: RefCell::default(),
        }
    }

    /// What the hook has done, and the fields that it has taken away.
    pub(crate) fn into_done(self) -> (Done, FieldEdits) {
        (self.done.into_inner(), self.removed.into_inner())
    }

    fn decide(&self, decide: impl FnOnce() -> Result<Done, Fault>) -> Result<(), Fault> {
        let mut done = self.done.borrow_mut();
        if !matches!(*done, Done::Nothing) {
            return Err(Fault::State);
        }
        *done = decide()?;
        Ok(())
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
        self.scratch.alloc_str(exchange.user()?).ok().map(|text| text.as_bytes())
    }

    fn flags(&self) -> u32 {
        let mut exchange = self.exchange.borrow_mut();
        let tls = if exchange.session().is_some() { flag::REQUEST_TLS } else { 0 };
        tls | if exchange.has_body() { flag::REQUEST_HAS_BODY } else { 0 }
    }

    fn route(&self) -> u32 {
        0
    }

    fn param(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }

    fn query_value(&self, name: &[u8]) -> Option<&[u8]> {
        match Fields::new(self.query?).get(str::from_utf8(name).ok()?)? {
            Cow::Borrowed(text) => Some(text.as_bytes()),
            // At its limit there is none.
            Cow::Owned(text) => self.scratch.alloc_str(&text).ok().map(|text| text.as_bytes()),
        }
    }

    fn form_value(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }

    fn body(&self) -> Option<&[u8]> {
        None
    }

    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault> {
        self.decide(|| Ok(Done::Answered(Written::new(answer)?)))
    }

    fn later(&self, user: User) -> Result<u64, Fault> {
        if self.answer.is_some() {
            return Err(Fault::State);
        }
        let mut number = 0;
        self.decide(|| {
            let pledge = Pledge::new(self.side, user)?;
            number = pledge.number();
            Ok(Done::Promised(pledge))
        })?;
        Ok(number)
    }

    fn open_socket(&self, _user: User) -> Result<(), Fault> {
        Err(Fault::State)
    }

    fn add_field(&self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_field(name, value)?;
        self.exchange.borrow_mut().add_field(name, value).map_err(|_no_room| Fault::Limit)
    }

    fn remove_field(&self, name: &[u8]) -> Result<(), Fault> {
        if self.answer.is_none() {
            return Err(Fault::State);
        }
        let name = str::from_utf8(name).map_err(|_no_text| Fault::Invalid)?;
        self.removed.borrow_mut().remove(name).map_err(|error| match error {
            EditError::TooMuch => Fault::Limit,
            EditError::Name(_) | EditError::Value(_) | EditError::Protected(_) => Fault::Invalid,
        })
    }

    fn set_user(&self, user: &str) -> Result<(), Fault> {
        if self.answer.is_some() {
            return Err(Fault::State);
        }
        self.exchange.borrow_mut().set_user(Rc::from(user_of(user.as_bytes())?));
        Ok(())
    }

    fn answer_status(&self) -> Option<u16> {
        self.answer.map(|(status, _)| status)
    }

    fn answer_field(&self, name: &[u8]) -> Option<&[u8]> {
        let (_, head_len) = self.answer?;
        let exchange = self.exchange.borrow();
        let value = field_of(exchange.memory.get(..head_len)?, name)?;
        self.scratch.alloc_slice_copy(value).ok().map(|value| &*value)
    }
}

/// The value of the first field of that name in a head as it is sent.
fn field_of<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (own, value) = line.split_at(at);
        own.eq_ignore_ascii_case(name).then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_head_are_found_by_name() {
        let head = b"HTTP/1.1 200 OK\r\nDate: now\r\nX-A:\r\nX-B: 1: 2 \r\nx-b: 3\r\n\r\n";
        assert_eq!(field_of(head, b"date"), Some(&b"now"[..]));
        assert_eq!(field_of(head, b"X-A"), Some(&b""[..]));
        assert_eq!(field_of(head, b"X-B"), Some(&b"1: 2"[..]));
        assert_eq!(field_of(head, b"HTTP/1.1 200 OK"), None);
        assert_eq!(field_of(head, b""), None);
    }
}
