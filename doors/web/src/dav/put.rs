//! PUT: a body is written to a file of the process' own and gets its name when it is whole, in one step with a last look at
//! conditions and locks. So nobody ever sees half a file, and of those who write against one state one wins.

use super::ask::{Ask, etag_of, sole};
use super::disk::copy_file;
use super::lock::check_write;
use super::outcome::{Failure, Outcome};
use super::place::{Place, Resource};
use super::store::{Store, Temporary};
use super::tree::Tree;
use super::usage::Reservation;
use crate::root::{FileState, Kind, state_now};
use ringway_dav::fields::ContentRange;
use ringway_http::status::Status;
use rustix::fs::{Mode, OFlags, SeekFrom, ftruncate, openat, seek};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Bytes that are set aside at a time for a body whose length nobody has said.
const RESERVE_STEP_BYTES: u64 = 8 << 20;

/// A body under way.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<Store>,
    temporary: Temporary,
    file: File,
    reservation: Reservation,
    /// How many bytes of the body fit what is set aside.
    room_bytes: u64,
    received: u64,
    part: Option<Part>,
}

/// What part of a file the body replaces.
#[derive(Debug)]
struct Part {
    range: ContentRange,
    /// The file that the rest was copied from; `None` where there was none.
    base: Option<FileState>,
}

/// Sees to it that the body may come, and makes the file that it is written to. `length` is the body's, where it was said.
pub(super) fn begin(ask: &Ask, length: Option<u64>) -> Result<Upload, Failure> {
    let request = ask.request()?;
    let range = sole(&request, "Content-Range")?.map(ContentRange::read).transpose()?;
    let store = ask.tree.store()?;
    let place = {
        let held = store.hold(ask.now_s)?;
        look(ask, &store, &held)?
    };
    let bytes = range.map_or(length.unwrap_or(0), |range| range.last + 1);
    let limit = ask.tree.options().file_bytes_max;
    if bytes > limit || length.is_some_and(|length| range.is_some_and(|range| range.bytes() != length)) {
        let is_long = bytes > limit;
        return Err(Failure::new(if is_long { Status::CONTENT_TOO_LARGE } else { Status::BAD_REQUEST }));
    }
    let base = place.found.filter(|_| range.is_some()).map(|found| found.state);
    let reserved = bytes.max(base.map_or(0, |base| base.len));
    let reservation = store.usage.reserve(reserved, || Tree::count(&store))?;
    let temporary = store.temporary()?;
    let part = match range {
        Some(range) => Some(begin_part(range, base, &place, &temporary)?),
        None => None,
    };
    let room_bytes = range.map_or(bytes, |range| range.bytes());
    let file = temporary.file.try_clone()?.into();
    Ok(Upload { store, temporary, file, reservation, room_bytes, received: 0, part })
}

/// Copies what is there, and goes to where the body begins.
fn begin_part(
    range: ContentRange,
    base: Option<FileState>,
    place: &Place,
    temporary: &Temporary,
) -> Result<Part, Failure> {
    if range.first > base.map_or(0, |base| base.len) {
        // There would be a hole that nobody has sent.
        return Err(Failure::new(Status::RANGE_NOT_SATISFIABLE));
    }
    let mut copied = None;
    if base.is_some() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(place.parent(), place.name(), flags, Mode::empty())?;
        // It may be another one by now; this one is copied, and this one must be there in the end.
        let state = state_now(file.as_fd())?;
        copy_file(&file, &temporary.file, state.len)?;
        copied = Some(state);
    }
    seek(&temporary.file, SeekFrom::Start(range.first))?;
    Ok(Part { range, base: copied })
}

impl Upload {
    /// Writes what has come of the body, on a thread that may block.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let received = self.received.saturating_add(bytes.len() as u64);
        while self.room_bytes < received {
            self.reservation.grow(RESERVE_STEP_BYTES, || Tree::count(&self.store))?;
            self.room_bytes = self.room_bytes.saturating_add(RESERVE_STEP_BYTES);
        }
        self.file.write_all(bytes)?;
        self.received = received;
        Ok(())
    }
}

/// The body is whole: it becomes the file, if all is as it must be.
pub(super) fn finish(ask: &Ask, upload: Upload) -> Result<Outcome, Failure> {
    let Upload { store, mut temporary, reservation, received, part, .. } = upload;
    if let Some(Part { range, .. }) = &part {
        if received != range.bytes() {
            return Err(Failure::new(Status::BAD_REQUEST));
        }
        if range.complete == Some(range.last + 1) {
            ftruncate(&temporary.file, range.last + 1)?;
        }
    }
    // What takes long is done before others have to wait.
    temporary.settle_content()?;
    let state = state_now(temporary.file.as_fd())?;
    let held = store.hold(ask.now_s)?;
    let place = look(ask, &store, &held)?;
    let replaced = place.found.map(|found| found.state);
    if part.is_some_and(|part| part.base.map(identity) != replaced.map(identity)) {
        // Somebody else was quicker; what was copied would undo it.
        return Err(Failure::new(Status::CONFLICT));
    }
    let stale = if replaced.is_none() { store.drop_properties(&ask.path)? } else { None };
    temporary.place_settled(place.parent(), place.name())?;
    ask.tree.note_change();
    reservation.settle(state.len);
    store.usage.free(replaced.map_or(0, |replaced| replaced.len));
    drop(held);
    drop(stale);
    let status = if replaced.is_some() { Status::NO_CONTENT } else { Status::CREATED };
    let mut outcome = Outcome::new(status);
    outcome.line("ETag", &etag_of(&state));
    Ok(outcome)
}

/// Looks where the file goes, and whether it may.
fn look(ask: &Ask, store: &Store, held: &super::store::Held<'_>) -> Result<Place, Failure> {
    if ask.path.is_empty() {
        return Err(Failure::new(Status::METHOD_NOT_ALLOWED));
    }
    let place = Place::of(&store.dir, &ask.path)?;
    match place.found {
        Some(Resource { kind: Kind::Directory, .. }) => return Err(Failure::new(Status::METHOD_NOT_ALLOWED)),
        // A name with a slash is a collection's.
        _ if ask.has_slash => return Err(Failure::new(Status::CONFLICT)),
        _ => {}
    }
    ask.check(store, held, place.found.as_ref())?;
    check_write(ask, held, place.found.is_some())?;
    Ok(place)
}

/// What makes a file the same one as before.
fn identity(state: FileState) -> (u64, u64, u64, crate::root::Timestamp) {
    (state.device, state.inode, state.len, state.modified)
}
