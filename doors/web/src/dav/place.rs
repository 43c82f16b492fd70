//! Where a resource lies: its collection's descriptor, its name there, and what it is now.

use super::ask::etag_of;
use super::outcome::Failure;
use super::store::{Member, stat_name};
use crate::open_error::OpenError;
use crate::root::{FileState, Kind, RootDir, Way};
use ringway_dav::path::split;
use ringway_http::etag::EntityTag;
use ringway_http::status::Status;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A resource that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) state: FileState,
}

impl Resource {
    /// Whether it is a file with this tag, weak or strong.
    pub(super) fn has_tag(&self, tag: &EntityTag<'_>) -> bool {
        let own = etag_of(&self.state);
        self.kind == Kind::File && EntityTag::parse(own.as_bytes()).is_some_and(|own| own.weak_eq(tag))
    }
}

/// A name in a collection that is there.
#[derive(Debug)]
pub(super) struct Place {
    parent: OwnedFd,
    name: Box<[u8]>,
    /// What has the name now.
    pub(super) found: Option<Resource>,
}

impl Place {
    /// Looks `path` up. No link is followed, on the way or at its end.
    ///
    /// # Errors
    /// 403 for the root itself, for links and for what is neither file nor collection; 409 without a collection to lie in.
    pub(super) fn of(dir: &RootDir, path: &[u8]) -> Result<Self, Failure> {
        let (parent, name) = split(path).ok_or(Failure::new(Status::FORBIDDEN))?;
        let parent = match dir.find_directory(parent, Way::Blocking) {
            // There is nothing, or something else, where the collection should be.
            Err(OpenError::NotFound) => return Err(Failure::new(Status::CONFLICT)),
            other => other?,
        };
        let found = resource(stat_name(parent.as_fd(), name)?)?;
        Ok(Self { parent, name: name.into(), found })
    }

    /// Looks `path` up, which must be there.
    ///
    /// # Errors
    /// As [`Place::of`], with 404 where nothing is.
    pub(super) fn existing(dir: &RootDir, path: &[u8]) -> Result<(Self, Resource), Failure> {
        let missing = Failure::new(Status::NOT_FOUND);
        match Self::of(dir, path) {
            Err(failure) if failure.status == Status::CONFLICT => Err(missing),
            Ok(Self { found: None, .. }) => Err(missing),
            Ok(place @ Self { found: Some(resource), .. }) => Ok((place, resource)),
            Err(failure) => Err(failure),
        }
    }

    /// The collection.
    pub(super) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// The name in it.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
}

fn resource(member: Option<Member>) -> Result<Option<Resource>, Failure> {
    match member {
        None => Ok(None),
        Some(Member { kind: Some(kind), state }) => Ok(Some(Resource { kind, state })),
        Some(Member { kind: None, .. }) => Err(Failure::new(Status::FORBIDDEN)),
    }
}

/// What is at `path` for who only looks: links are followed as for GET.
pub(super) fn find(dir: &RootDir, path: &[u8]) -> Result<Resource, Failure> {
    let found = dir.find(path, Way::Blocking)?;
    Ok(Resource { kind: found.kind, state: found.state })
}

/// Whether some segment of a path begins with a dot: there is no such resource.
pub(super) fn is_hidden(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| segment.first() == Some(&b'.'))
}
