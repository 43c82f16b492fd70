//! DELETE, MKCOL, COPY and MOVE (RFC 4918 sections 9.3, 9.6, 9.8, 9.9). Each is one rename once all is prepared: it has
//! happened or it has not.

use super::ask::Ask;
use super::disk::{DIRECTORY_MODE, copy_file, copy_tree};
use super::options::Durability;
use super::outcome::{Failure, Outcome};
use super::place::{Place, Resource, is_hidden};
use super::store::{Held, Staged, Store};
use super::tree::Tree;
use super::usage::Reservation;
use crate::root::{Kind, Way};
use ringway_dav::fields::Depth;
use ringway_dav::locks::Change;
use ringway_dav::path::is_within;
use ringway_http::status::Status;
use rustix::fs::{Mode, OFlags, RenameFlags, fsync, mkdirat, openat, renameat, renameat_with};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Removes a resource and all below it.
pub(super) fn delete(ask: &Ask) -> Result<Outcome, Failure> {
    if ask.depth()?.is_some_and(|depth| depth != Depth::Infinity) {
        return Err(Failure::new(Status::BAD_REQUEST));
    }
    let store = ask.tree.store()?;
    let mut held = store.hold(ask.now_s)?;
    let (place, resource) = existing(ask, &store)?;
    ask.check(&store, &held, Some(&resource))?;
    ask.check_locks(&held, &[Change::Tree(&ask.path)], &[&ask.path])?;
    let gone = store.take_away(place.parent(), place.name())?;
    ask.tree.note_change();
    held.change_locks(|locks| locks.forget(&ask.path))?;
    let properties = store.drop_properties(&ask.path)?;
    store.settle(place.parent())?;
    // It is gone for everybody; removing what it had takes its time.
    drop(held);
    drop((gone, properties));
    Ok(Outcome::new(Status::NO_CONTENT))
}

/// Makes a collection.
pub(super) fn make_collection(ask: &Ask) -> Result<Outcome, Failure> {
    if !ask.body.is_empty() {
        return Err(Failure::new(Status::UNSUPPORTED_MEDIA_TYPE));
    }
    let store = ask.tree.store()?;
    if ask.path.is_empty() {
        return Err(Failure::new(Status::METHOD_NOT_ALLOWED));
    }
    let held = store.hold(ask.now_s)?;
    let place = Place::of(&store.dir, &ask.path)?;
    ask.check(&store, &held, place.found.as_ref())?;
    if place.found.is_some() {
        return Err(Failure::new(Status::METHOD_NOT_ALLOWED));
    }
    ask.check_locks(&held, &[Change::Resource(&ask.path)], &[&ask.path])?;
    let stale = store.drop_properties(&ask.path)?;
    mkdirat(place.parent(), place.name(), DIRECTORY_MODE)?;
    ask.tree.note_change();
    store.settle(place.parent())?;
    drop((held, stale));
    Ok(Outcome::new(Status::CREATED))
}

/// Where a COPY or MOVE goes.
struct Target<'a> {
    path: &'a [u8],
    may_overwrite: bool,
}

impl<'a> Target<'a> {
    fn of(ask: &'a Ask) -> Result<Self, Failure> {
        let path = ask.destination.as_deref().ok_or(Failure::new(Status::BAD_REQUEST))?;
        // Onto itself, into itself, or over what it lies in.
        if is_within(path, &ask.path) || is_within(&ask.path, path) || is_hidden(path) {
            return Err(Failure::new(Status::FORBIDDEN));
        }
        Ok(Self { path, may_overwrite: ask.may_overwrite()? })
    }

    /// Looks where it goes, and whether it may; `moves` takes the source away.
    fn check(
        &self,
        ask: &Ask,
        store: &Store,
        held: &Held<'_>,
        source: &Resource,
        moves: bool,
    ) -> Result<Place, Failure> {
        ask.check(store, held, Some(source))?;
        let place = Place::of(&store.dir, self.path)?;
        if place.found.is_some() && !self.may_overwrite {
            return Err(Failure::new(Status::PRECONDITION_FAILED));
        }
        let changes = [Change::Tree(self.path), Change::Tree(&ask.path)];
        let memberships = [self.path, &ask.path];
        // What is replaced stays a member of its collection.
        let first = usize::from(place.found.is_some());
        match moves {
            true => ask.check_locks(held, &changes, &memberships[first..])?,
            false => ask.check_locks(held, &changes[..1], &memberships[first..1.max(first)])?,
        }
        Ok(place)
    }

    fn outcome(place: &Place) -> Outcome {
        Outcome::new(if place.found.is_some() { Status::NO_CONTENT } else { Status::CREATED })
    }
}

/// Copies a resource, and with depth infinity all below it.
pub(super) fn copy(ask: &Ask) -> Result<Outcome, Failure> {
    let is_deep = match ask.depth()? {
        None | Some(Depth::Infinity) => true,
        Some(Depth::Zero) => false,
        Some(Depth::One) => return Err(Failure::new(Status::BAD_REQUEST)),
    };
    let target = Target::of(ask)?;
    let store = ask.tree.store()?;
    let (source, resource) = existing(ask, &store)?;
    // Before something long is begun in vain.
    target.check(ask, &store, &store.hold(ask.now_s)?, &resource, false)?;
    let is_long = resource.kind == Kind::Directory && is_deep;
    let _permission = if is_long { Some(permission(ask)?) } else { None };
    let (staged, reservation) = match resource.kind {
        Kind::File => stage_file(&store, &source, &resource)?,
        Kind::Directory => stage_tree(ask, &store, is_deep)?,
    };
    let mut held = store.hold(ask.now_s)?;
    let place = target.check(ask, &store, &held, &resource, false)?;
    let old = put_in_place(&store, staged, &place)?;
    ask.tree.note_change();
    let used = reservation.bytes();
    reservation.settle(used);
    let stale = store.drop_properties(target.path)?;
    store.copy_properties(&ask.path, target.path, is_deep && resource.kind == Kind::Directory)?;
    held.change_locks(|locks| locks.forget_below(target.path))?;
    store.settle(place.parent())?;
    drop(held);
    drop((old, stale));
    Ok(Target::outcome(&place))
}

/// Moves a resource with all below it.
pub(super) fn relocate(ask: &Ask) -> Result<Outcome, Failure> {
    if ask.depth()?.is_some_and(|depth| depth != Depth::Infinity) {
        return Err(Failure::new(Status::BAD_REQUEST));
    }
    let target = Target::of(ask)?;
    let store = ask.tree.store()?;
    let mut held = store.hold(ask.now_s)?;
    let (source, resource) = existing(ask, &store)?;
    let place = target.check(ask, &store, &held, &resource, true)?;
    let note = store.announce_move(&ask.path, target.path)?;
    let stale = if note.is_none() { store.drop_properties(target.path)? } else { None };
    let old = match place.found {
        Some(_) => exchange(&store, (source.parent(), source.name()), &place)?,
        None => {
            renameat(source.parent(), source.name(), place.parent(), place.name())?;
            None
        }
    };
    ask.tree.note_change();
    if let Some(note) = note {
        note.follow()?;
    }
    held.change_locks(|locks| {
        locks.forget(&ask.path);
        locks.forget_below(target.path);
    })?;
    store.settle(place.parent())?;
    store.settle(source.parent())?;
    drop(held);
    drop((old, stale));
    Ok(Target::outcome(&place))
}

/// The resource that is asked, which must be there.
pub(super) fn existing(ask: &Ask, store: &Store) -> Result<(Place, Resource), Failure> {
    let (place, resource) = Place::existing(&store.dir, &ask.path)?;
    if ask.has_slash && resource.kind == Kind::File {
        return Err(Failure::new(Status::NOT_FOUND));
    }
    Ok((place, resource))
}

pub(super) fn permission(ask: &Ask) -> Result<super::tree::LongWork<'_>, Failure> {
    ask.tree.begin_long_work().ok_or(Failure::new(Status::SERVICE_UNAVAILABLE))
}

/// A copy of a file in this process' directory.
fn stage_file(
    store: &Arc<Store>,
    source: &Place,
    resource: &Resource,
) -> Result<(Staged, Reservation), Failure> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(source.parent(), source.name(), flags, Mode::empty())?;
    let reservation = store.usage.reserve(resource.state.len, || Tree::count(store))?;
    let temporary = store.temporary()?;
    copy_file(&file, &temporary.file, resource.state.len)?;
    if store.options.durability != Durability::Fast {
        fsync(&temporary.file)?;
    }
    Ok((temporary.into_staged(), reservation))
}

/// A copy of a collection in this process' directory.
fn stage_tree(ask: &Ask, store: &Arc<Store>, is_deep: bool) -> Result<(Staged, Reservation), Failure> {
    let mut reservation = store.usage.reserve(0, || Tree::count(store))?;
    let staged = store.temporary_directory()?;
    if is_deep {
        let target = (store.session_dir(), staged.name.as_bytes());
        let is_durable = store.options.durability != Durability::Fast;
        copy_tree(
            (&store.dir, &ask.path),
            target,
            |name| name.first() != Some(&b'.'),
            is_durable,
            |bytes| reservation.grow(bytes, || Tree::count(store)),
        )?;
    }
    Ok((staged, reservation))
}

/// Gives what was prepared its name; what had the name before is removed when what is given back is dropped.
fn put_in_place(store: &Arc<Store>, mut staged: Staged, place: &Place) -> Result<Option<Staged>, Failure> {
    if place.found.is_none() {
        renameat(staged.within(), &staged.name, place.parent(), place.name())?;
        return Ok(None);
    }
    let swapped = swap((staged.within(), staged.name.as_bytes()), place)?;
    if swapped {
        staged.is_counted = true;
        return Ok(Some(staged));
    }
    let old = store.take_away(place.parent(), place.name())?;
    renameat(staged.within(), &staged.name, place.parent(), place.name())?;
    Ok(Some(old))
}

/// Moves `source` to a name that something else has; that is removed when what is given back is dropped.
fn exchange(
    store: &Arc<Store>,
    source: (BorrowedFd<'_>, &[u8]),
    place: &Place,
) -> Result<Option<Staged>, Failure> {
    if swap(source, place)? {
        return Ok(Some(store.take_away(source.0, source.1)?));
    }
    let old = store.take_away(place.parent(), place.name())?;
    renameat(source.0, source.1, place.parent(), place.name())?;
    Ok(Some(old))
}

/// Exchanges two names in one step, where the file system can.
fn swap((within, name): (BorrowedFd<'_>, &[u8]), place: &Place) -> Result<bool, Errno> {
    match renameat_with(within, name, place.parent(), place.name(), RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        // INVAL: not on this file system. NOSYS, OPNOTSUPP: not with this kernel.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The root itself, for those who look at it as a resource.
pub(super) fn root_or_place(ask: &Ask, store: &Store) -> Result<Resource, Failure> {
    if ask.path.is_empty() {
        let directory = store.dir.find(b"", Way::Blocking)?;
        return Ok(Resource { kind: directory.kind, state: directory.state });
    }
    existing(ask, store).map(|(_, resource)| resource)
}
