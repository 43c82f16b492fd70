//! A request as the pool gets it: all that is asked, owned.

use super::outcome::Failure;
use super::place::{Resource, find};
use super::store::{Held, Store};
use super::tree::Tree;
use crate::entry::write_etag;
use crate::root::{FileState, Kind};
use ringway_dav::fields::{Conditions, Depth, Reference, State, overwrite, timeout};
use ringway_dav::locks::{Bearer, Change, Lock};
use ringway_dav::multistatus::Precondition;
use ringway_http::date;
use ringway_http::etag::{EntityTag, list_matches};
use ringway_http::head::{Known, Limits, Request};
use ringway_http::status::Status;
use std::sync::Arc;

/// Heads that were read once are read again as they are.
const NO_LIMITS: Limits = Limits { line_bytes_max: u32::MAX, head_bytes_max: u32::MAX, fields_max: u16::MAX };

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) tree: Arc<Tree>,
    /// The head as it was sent.
    pub(super) head: Box<[u8]>,
    /// The resource, below the root.
    pub(super) path: Box<[u8]>,
    /// Whether it was asked for as a collection, with a slash.
    pub(super) has_slash: bool,
    /// The resource of `Destination`.
    pub(super) destination: Option<Box<[u8]>>,
    pub(super) user: Option<Box<str>>,
    pub(super) body: Vec<u8>,
    /// The wall clock, in seconds since 1970.
    pub(super) now_s: u64,
}

impl Ask {
    /// The head, read again.
    pub(super) fn request(&self) -> Result<Request<'_>, Failure> {
        Request::parse(&self.head, &NO_LIMITS).map_err(|refusal| Failure::new(refusal.status()))
    }

    pub(super) fn depth(&self) -> Result<Option<Depth>, Failure> {
        let request = self.request()?;
        Ok(sole(&request, "Depth")?.map(Depth::read).transpose()?)
    }

    pub(super) fn may_overwrite(&self) -> Result<bool, Failure> {
        let request = self.request()?;
        Ok(sole(&request, "Overwrite")?.map(overwrite).transpose()?.unwrap_or(true))
    }

    /// For how long a lock is wanted and given, in seconds.
    pub(super) fn timeout_s(&self) -> Result<u32, Failure> {
        let request = self.request()?;
        let most = self.tree.options().lock_s_max;
        let wanted = request.field("Timeout").and_then(timeout).unwrap_or(most);
        Ok(wanted.clamp(1, most.max(1)))
    }

    /// Where clients find the resource at `path` below the root.
    pub(super) fn href(&self, path: &[u8], kind: Kind) -> Vec<u8> {
        self.tree.href(path, kind)
    }

    /// Whether all that the request makes a condition is so; `current` is the resource that is asked.
    pub(super) fn check(
        &self,
        store: &Store,
        held: &Held<'_>,
        current: Option<&Resource>,
    ) -> Result<(), Failure> {
        let request = self.request()?;
        let failed = Failure::new(Status::PRECONDITION_FAILED);
        if !preconditions_hold(&request, current) {
            return Err(failed);
        }
        let Some(conditions) = conditions(&request)? else { return Ok(()) };
        let is_so = |reference: Option<&Reference<'_>>, state: &State<'_>| {
            let path = match reference {
                Some(reference) => match self.tree.path_of(reference) {
                    Some(path) => path,
                    // What lies elsewhere has no state here.
                    None => return false,
                },
                None => self.path.to_vec(),
            };
            match state {
                State::Token(token) => held.locks().find(&path, token).is_some(),
                State::Tag(tag) if path == *self.path => current.is_some_and(|current| current.has_tag(tag)),
                State::Tag(tag) => find(&store.dir, &path).is_ok_and(|found| found.has_tag(tag)),
            }
        };
        if conditions.evaluate(is_so) { Ok(()) } else { Err(failed) }
    }

    /// Whether nobody else's lock is against these changes; with `membership`, against resources there beginning or ceasing
    /// to be.
    pub(super) fn check_locks(
        &self,
        held: &Held<'_>,
        changes: &[Change<'_>],
        membership: &[&[u8]],
    ) -> Result<(), Failure> {
        let request = self.request()?;
        let conditions = conditions(&request)?;
        let tokens: Vec<&str> = conditions.iter().flat_map(Conditions::tokens).collect();
        let bearer = Bearer { tokens: &tokens, user: self.user.as_deref() };
        let locks = held.locks();
        let mut forbidding = changes.iter().filter_map(|change| locks.forbidding(*change, bearer));
        let lock = forbidding.next();
        let mut members = membership.iter().filter_map(|path| locks.forbidding_membership(path, bearer));
        match lock.or_else(|| members.next()) {
            Some(lock) => Err(self.locked(lock)),
            None => Ok(()),
        }
    }

    fn locked(&self, lock: &Lock) -> Failure {
        let href = self.href(&lock.root, Kind::File);
        Failure {
            condition: Some((Precondition::LockTokenSubmitted, Some(href))),
            ..Failure::new(Status::LOCKED)
        }
    }

    /// Calls `with` with who asks and the tokens that were sent along.
    pub(super) fn with_bearer<T>(&self, with: impl FnOnce(Bearer<'_>) -> T) -> Result<T, Failure> {
        let request = self.request()?;
        let conditions = conditions(&request)?;
        let tokens: Vec<&str> = conditions.iter().flat_map(Conditions::tokens).collect();
        Ok(with(Bearer { tokens: &tokens, user: self.user.as_deref() }))
    }
}

/// The value of a field that is no list; sent twice it has none.
pub(super) fn sole<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Failure> {
    let mut lines = request.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    match (lines.next(), lines.next()) {
        (_, Some(_)) => Err(Failure::new(Status::BAD_REQUEST)),
        (first, None) => Ok(first.map(|field| field.value)),
    }
}

fn conditions<'a>(request: &Request<'a>) -> Result<Option<Conditions<'a>>, Failure> {
    Ok(sole(request, "If")?.map(Conditions::read).transpose()?)
}

/// `If-Match`, `If-Unmodified-Since` and `If-None-Match` of a method that changes something (RFC 9110 section 13.2.2).
///
/// A tag counts as the same even if it was weak when it was given out: it names length, time to the nanosecond and inode, and
/// whatever is changed here has another inode, so what two changes could share is only written by others.
fn preconditions_hold(request: &Request<'_>, current: Option<&Resource>) -> bool {
    let is_current = |tag: &EntityTag<'_>| current.is_some_and(|current| current.has_tag(tag));
    if request.has(Known::IfMatch) {
        if current.is_none() || !list_matches(request.if_match(), is_current) {
            return false;
        }
    } else if let (Some(current), Some(date_s)) =
        (current, request.if_unmodified_since().and_then(date::parse))
        && current.state.modified.seconds > i64::try_from(date_s).unwrap_or(i64::MAX)
    {
        return false;
    }
    !request.has(Known::IfNoneMatch)
        || current.is_none()
        || !list_matches(request.if_none_match(), is_current)
}

/// The entity tag of a file, as GET tells it once it is strong.
pub(super) fn etag_of(state: &FileState) -> String {
    let mut tag = Vec::new();
    write_etag(&mut tag, state, state.len, None, false);
    String::from_utf8(tag).unwrap_or_default()
}
