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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Limits;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const MODIFIED_S: u64 = 784_111_777;
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    const STRONG: Validators<'static> =
        Validators { tag: Some(EntityTag { weak: false, opaque: b"a" }), modified_s: Some(MODIFIED_S) };
    const WEAK: Validators<'static> =
        Validators { tag: Some(EntityTag { weak: true, opaque: b"a" }), modified_s: Some(MODIFIED_S) };
    const BARE: Validators<'static> = Validators { tag: None, modified_s: None };

    fn with_request<T>(method: &str, fields: &str, check: impl FnOnce(&Request<'_>) -> T) -> T {
        let head = format!("{method} / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        check(&Request::parse(head.as_bytes(), &Limits::default()).unwrap())
    }

    fn outcome(method: &str, fields: &str, current: Option<&Validators<'_>>) -> Outcome {
        with_request(method, fields, |request| evaluate(request, current))
    }

    #[test]
    fn each_condition_alone() {
        use Outcome::{NotModified, PreconditionFailed, Proceed};
        let cases = [
            ("GET", String::new(), Proceed),
            ("GET", "If-None-Match: \"a\"\r\n".into(), NotModified),
            ("HEAD", "If-None-Match: W/\"a\"\r\n".into(), NotModified),
            ("GET", "If-None-Match: \"b\"\r\n".into(), Proceed),
            ("GET", "If-None-Match: *\r\n".into(), NotModified),
            ("PUT", "If-None-Match: *\r\n".into(), PreconditionFailed),
            ("PUT", "If-None-Match: \"b\"\r\n".into(), Proceed),
            ("GET", "If-Match: \"a\"\r\n".into(), Proceed),
            ("GET", "If-Match: \"b\", \"a\"\r\n".into(), Proceed),
            ("GET", "If-Match: *\r\n".into(), Proceed),
            ("GET", "If-Match: \"b\"\r\n".into(), PreconditionFailed),
            ("GET", "If-Match: W/\"a\"\r\n".into(), PreconditionFailed),
            ("GET", "If-Match: nonsense\r\n".into(), PreconditionFailed),
            ("GET", format!("If-Modified-Since: {SAME}\r\n"), NotModified),
            ("GET", format!("If-Modified-Since: {AFTER}\r\n"), NotModified),
            ("GET", format!("If-Modified-Since: {BEFORE}\r\n"), Proceed),
            ("POST", format!("If-Modified-Since: {SAME}\r\n"), Proceed),
            ("GET", "If-Modified-Since: yesterday\r\n".into(), Proceed),
            ("GET", format!("If-Modified-Since: {SAME}\r\nIf-Modified-Since: {SAME}\r\n"), Proceed),
            ("GET", format!("If-Unmodified-Since: {SAME}\r\n"), Proceed),
            ("GET", format!("If-Unmodified-Since: {BEFORE}\r\n"), PreconditionFailed),
            ("PUT", format!("If-Unmodified-Since: {BEFORE}\r\n"), PreconditionFailed),
            ("GET", "If-Unmodified-Since: tomorrow\r\n".into(), Proceed),
        ];
        for (method, fields, expected) in cases {
            assert_eq!(outcome(method, &fields, Some(&STRONG)), expected, "{method} {fields}");
        }
    }

    #[test]
    fn precedence_is_that_of_rfc_9110() {
        let tag_then_date = format!("If-None-Match: \"b\"\r\nIf-Modified-Since: {SAME}\r\n");
        assert_eq!(outcome("GET", &tag_then_date, Some(&STRONG)), Outcome::Proceed);
        let match_then_date = format!("If-Match: \"a\"\r\nIf-Unmodified-Since: {BEFORE}\r\n");
        assert_eq!(outcome("GET", &match_then_date, Some(&STRONG)), Outcome::Proceed);
        let both = "If-None-Match: \"a\"\r\nIf-Match: \"b\"\r\n";
        assert_eq!(outcome("GET", both, Some(&STRONG)), Outcome::PreconditionFailed);
        let both = "If-None-Match: \"a\"\r\nIf-Match: \"a\"\r\n";
        assert_eq!(outcome("GET", both, Some(&STRONG)), Outcome::NotModified);
        let dates = format!("If-Unmodified-Since: {SAME}\r\nIf-Modified-Since: {SAME}\r\n");
        assert_eq!(outcome("GET", &dates, Some(&STRONG)), Outcome::NotModified);
    }

    #[test]
    fn weak_tags_serve_caches_but_no_writers() {
        assert_eq!(outcome("GET", "If-None-Match: \"a\"\r\n", Some(&WEAK)), Outcome::NotModified);
        assert_eq!(outcome("PUT", "If-Match: W/\"a\"\r\n", Some(&WEAK)), Outcome::PreconditionFailed);
    }

    #[test]
    fn what_does_not_exist_or_has_no_validators() {
        assert_eq!(outcome("PUT", "If-Match: *\r\n", None), Outcome::PreconditionFailed);
        assert_eq!(outcome("PUT", "If-None-Match: *\r\n", None), Outcome::Proceed);
        assert_eq!(outcome("PUT", &format!("If-Unmodified-Since: {BEFORE}\r\n"), None), Outcome::Proceed);
        assert_eq!(outcome("GET", "If-None-Match: \"a\"\r\n", Some(&BARE)), Outcome::Proceed);
        assert_eq!(outcome("GET", &format!("If-Modified-Since: {SAME}\r\n"), Some(&BARE)), Outcome::Proceed);
    }

    #[test]
    fn if_range_needs_the_very_same_bytes() {
        let applies = |value: &str, current: &Validators<'_>, now_s| {
            with_request("GET", value, |request| range_applies(request, current, now_s))
        };
        let later = MODIFIED_S + 100;
        assert!(applies("", &STRONG, later));
        assert!(applies("If-Range: \"a\"\r\n", &STRONG, later));
        assert!(!applies("If-Range: \"b\"\r\n", &STRONG, later));
        assert!(!applies("If-Range: W/\"a\"\r\n", &STRONG, later));
        assert!(!applies("If-Range: \"a\"\r\n", &WEAK, later));
        assert!(applies(&format!("If-Range: {SAME}\r\n"), &STRONG, later));
        assert!(!applies(&format!("If-Range: {AFTER}\r\n"), &STRONG, later));
        assert!(!applies(&format!("If-Range: {BEFORE}\r\n"), &STRONG, later));
        assert!(applies(&format!("If-Range: {SAME}\r\n"), &STRONG, MODIFIED_S + 2));
        assert!(!applies(&format!("If-Range: {SAME}\r\n"), &STRONG, MODIFIED_S + 1), "too fresh");
        assert!(!applies("If-Range: nonsense\r\n", &BARE, later));
        assert!(!applies("If-Range: \"a\"\r\nIf-Range: \"a\"\r\n", &STRONG, later), "sent twice");
    }
}
