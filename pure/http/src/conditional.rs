//! Conditional requests (RFC 9110 section 13): which condition is asked first, and what follows from it.

use crate::date;
use crate::etag::{EntityTag, list_matches};
use crate::head::{Known, Request};
use crate::method::Method;

/// What identifies the state of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its `ETag`.
    pub tag: Option<EntityTag<'a>>,
    /// Its `Last-Modified`, in Unix seconds.
    pub modified_s: Option<u64>,
}

/// What the conditions of a request ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Do what the method says.
    Proceed,
    /// Answer 304 with the validators.
    NotModified,
    /// Answer 412.
    PreconditionFailed,
}

/// How old a `Last-Modified` has to be to stand for every byte (RFC 9110 section 8.8.2.2), in seconds.
const STRONG_DATE_AGE_S: u64 = 2;

/// Evaluates `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since` in the order of RFC 9110
/// section 13.2.2. `current` is `None` when there is no such representation yet.
///
/// Dates that are none, or that were sent twice, are ignored; so is a date where the representation has none.
pub fn evaluate(request: &Request<'_>, current: Option<&Validators<'_>>) -> Outcome {
    if request.has(Known::IfMatch) {
        if !if_match(request, current) {
            return Outcome::PreconditionFailed;
        }
    } else if is_later(current, request.if_unmodified_since()) == Some(true) {
        return Outcome::PreconditionFailed;
    }
    let reads = matches!(request.method(), Method::Get | Method::Head);
    if request.has(Known::IfNoneMatch) {
        return match (if_none_match(request, current), reads) {
            (true, _) => Outcome::Proceed,
            (false, true) => Outcome::NotModified,
            (false, false) => Outcome::PreconditionFailed,
        };
    }
    if reads && is_later(current, request.if_modified_since()) == Some(false) {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

/// Whether `If-Range` lets `Range` apply (RFC 9110 section 13.1.5): it is absent, or names exactly this state by a
/// strong tag or by a date that is old enough at `now_s` (Unix seconds) to be one. Otherwise the whole is sent.
pub fn range_applies(request: &Request<'_>, current: &Validators<'_>, now_s: u64) -> bool {
    if !request.has(Known::IfRange) {
        return true;
    }
    let Some(value) = request.if_range() else { return false };
    if let Some(tag) = EntityTag::parse(value) {
        return current.tag.is_some_and(|own| own.strong_eq(&tag));
    }
    let is_same = current.modified_s.is_some() && date::parse(value) == current.modified_s;
    is_same
        && current.modified_s.is_some_and(|modified_s| now_s >= modified_s.saturating_add(STRONG_DATE_AGE_S))
}

/// True when the request may proceed: some listed tag is strongly the current one.
fn if_match(request: &Request<'_>, current: Option<&Validators<'_>>) -> bool {
    current.is_some_and(|current| {
        list_matches(request.if_match(), |tag| current.tag.is_some_and(|own| own.strong_eq(tag)))
    })
}

/// True when the request may proceed: no listed tag is the current one.
fn if_none_match(request: &Request<'_>, current: Option<&Validators<'_>>) -> bool {
    !current.is_some_and(|current| {
        list_matches(request.if_none_match(), |tag| current.tag.is_some_and(|own| own.weak_eq(tag)))
    })
}

/// Whether the representation changed after the date; `None` when one of them is missing.
fn is_later(current: Option<&Validators<'_>>, date: Option<&[u8]>) -> Option<bool> {
    let date_s = date::parse(date?)?;
    Some(current?.modified_s? > date_s)
}
