//! LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11).

use super::ask::{Ask, sole};
use super::change::root_or_place;
use super::live::write_lock;
use super::outcome::{Failure, Outcome};
use super::place::{Place, Resource};
use super::store::{Held, Store, random};
use crate::root::Kind;
use ringway_dav::body::LockInfo;
use ringway_dav::fields::{Depth, lock_token};
use ringway_dav::locks::{Bearer, Change, Lock, LockError};
use ringway_dav::multistatus::{Precondition, prop_body};
use ringway_dav::token;
use ringway_http::status::Status;
use std::sync::Arc;

/// Takes a lock, or has one hold longer.
pub(super) fn lock(ask: &Ask) -> Result<Outcome, Failure> {
    let store = ask.tree.store()?;
    let mut held = store.hold(ask.now_s)?;
    if ask.body.is_empty() {
        return refresh(ask, &store, &mut held);
    }
    let info = LockInfo::read(&ask.body)?;
    let is_deep = match ask.depth()? {
        None | Some(Depth::Infinity) => true,
        Some(Depth::Zero) => false,
        Some(Depth::One) => return Err(Failure::new(Status::BAD_REQUEST)),
    };
    let existing = existing(ask, &store)?;
    ask.check(&store, &held, existing.as_ref())?;
    let timeout_s = ask.timeout_s()?;
    let lock = Lock {
        token: token::lock_token(random()?).into(),
        root: ask.path.clone(),
        is_deep,
        is_shared: info.is_shared,
        owner: info.owner,
        user: ask.user.clone(),
        timeout_s,
        expires_s: ask.now_s.saturating_add(timeout_s.into()),
    };
    let locks_max = ask.tree.options().locks_max;
    if existing.is_none() {
        // Before something is made for it.
        held.locks().clone().add(lock.clone(), locks_max).map_err(|error| refused(ask, error))?;
        make_empty(ask, &store, &held)?;
    }
    let added = held.change_locks(|locks| locks.add(lock.clone(), locks_max))?;
    added.map_err(|error| refused(ask, error))?;
    let mut outcome = told(ask, &lock);
    if existing.is_none() {
        outcome.status = Status::CREATED;
    }
    outcome.line("Lock-Token", &format!("<{}>", lock.token));
    Ok(outcome)
}

/// What is at the path; a name that nothing has can be locked as well.
fn existing(ask: &Ask, store: &Store) -> Result<Option<Resource>, Failure> {
    match root_or_place(ask, store) {
        Err(failure) if failure.status == Status::NOT_FOUND => Ok(None),
        other => other.map(Some),
    }
}

/// A lock on a name that nothing has makes an empty resource of that name (RFC 4918 section 9.10.4).
fn make_empty(ask: &Ask, store: &Arc<Store>, held: &Held<'_>) -> Result<(), Failure> {
    let place = Place::of(&store.dir, &ask.path)?;
    if place.found.is_some() || ask.has_slash {
        return Err(Failure::new(Status::CONFLICT));
    }
    ask.check_locks(held, &[], &[&ask.path])?;
    let stale = store.drop_properties(&ask.path)?;
    store.temporary()?.place(place.parent(), place.name())?;
    ask.tree.note_change();
    drop(stale);
    Ok(())
}

fn refresh(ask: &Ask, store: &Store, held: &mut Held<'_>) -> Result<Outcome, Failure> {
    let resource = root_or_place(ask, store)?;
    ask.check(store, held, Some(&resource))?;
    let timeout_s = ask.timeout_s()?;
    let refreshed = ask.with_bearer(|bearer| {
        if bearer.tokens.is_empty() {
            return Err(Failure::new(Status::BAD_REQUEST));
        }
        held.change_locks(|locks| locks.refresh(&ask.path, bearer, timeout_s, ask.now_s).cloned())
    })??;
    let none = Failure::of(Status::PRECONDITION_FAILED, Precondition::LockTokenMatchesRequestUri);
    refreshed.map(|lock| told(ask, &lock)).ok_or(none)
}

fn told(ask: &Ask, lock: &Lock) -> Outcome {
    let mut element = b"<D:lockdiscovery>".to_vec();
    write_lock(&mut element, lock, &ask.tree, ask.now_s);
    element.extend_from_slice(b"</D:lockdiscovery>");
    Outcome::xml(Status::OK, prop_body(&element))
}

fn refused(ask: &Ask, error: LockError) -> Failure {
    match error {
        LockError::Conflict(root) => {
            let href = ask.href(&root, Kind::File);
            Failure {
                condition: Some((Precondition::NoConflictingLock, Some(href))),
                ..Failure::new(Status::LOCKED)
            }
        }
        LockError::TooMany | LockError::Damaged => Failure::new(Status::SERVICE_UNAVAILABLE),
    }
}

/// Gives a lock up.
pub(super) fn unlock(ask: &Ask) -> Result<Outcome, Failure> {
    let request = ask.request()?;
    let token = lock_token(sole(&request, "Lock-Token")?.ok_or(Failure::new(Status::BAD_REQUEST))?)?;
    let store = ask.tree.store()?;
    let mut held = store.hold(ask.now_s)?;
    let resource = root_or_place(ask, &store)?;
    ask.check(&store, &held, Some(&resource))?;
    if held.locks().find(&ask.path, token).is_none() {
        return Err(Failure::of(Status::CONFLICT, Precondition::LockTokenMatchesRequestUri));
    }
    let bearer = Bearer { tokens: &[token], user: ask.user.as_deref() };
    match held.change_locks(|locks| locks.remove(&ask.path, bearer))? {
        true => Ok(Outcome::new(Status::NO_CONTENT)),
        // It is somebody else's.
        false => Err(Failure::new(Status::FORBIDDEN)),
    }
}

/// What a lock is against when a resource is written to.
pub(super) fn check_write(ask: &Ask, held: &Held<'_>, exists: bool) -> Result<(), Failure> {
    let membership: &[&[u8]] = if exists { &[] } else { &[&ask.path] };
    ask.check_locks(held, &[Change::Resource(&ask.path)], membership)
}
