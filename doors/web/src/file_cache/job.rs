//! Loads on their way to the thread pool and back.

use std::sync::Arc;

use crate::codings::Coding;
use crate::load::{LoadOptions, Loaded, SiblingOf, load, load_sibling};
use crate::open_error::OpenError;
use crate::root::{RootDir, Timestamp, Way};
use crate::watch::Stamp;

/// A load to be run where waiting for the disk is allowed.
#[derive(Debug)]
pub struct LoadJob {
    pub(super) site: u16,
    pub(super) root: Arc<RootDir>,
    pub(super) options: Arc<LoadOptions>,
    pub(super) path: Box<[u8]>,
    pub(super) sibling: Option<SiblingOf>,
    pub(super) wall: Timestamp,
    pub(super) ticket: Ticket,
    /// Leave to compress, where that is what is to be done.
    #[cfg(feature = "compress")]
    pub(super) permit: Option<crate::compress::Permit>,
}

impl LoadJob {
    /// Keeps leave to compress until it is done.
    #[cfg(feature = "compress")]
    pub(crate) fn keep_permit(&mut self, permit: crate::compress::Permit) {
        self.permit = Some(permit);
    }

    /// What is loaded: the site, the path, and the coding.
    pub(crate) fn key(&self) -> (u16, &[u8], Coding) {
        (self.site, &self.path, self.coding())
    }

    fn coding(&self) -> Coding {
        self.sibling.as_ref().map_or(Coding::Identity, SiblingOf::coding)
    }

    /// Loads. May wait for the disk.
    #[must_use]
    pub fn run(self) -> LoadDone {
        let result =
            load_now(&self.root, &self.path, self.sibling.as_ref(), &self.options, self.wall, Way::Blocking);
        let coding = self.coding();
        LoadDone { site: self.site, path: self.path, coding, ticket: self.ticket, result }
    }
}

/// A load that was run.
#[derive(Debug)]
pub struct LoadDone {
    pub(super) site: u16,
    pub(super) path: Box<[u8]>,
    pub(super) coding: Coding,
    pub(super) ticket: Ticket,
    pub(super) result: Result<Loaded, OpenError>,
}

/// What was true before a load began: whether its result may be kept depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) epoch: u64,
    pub(super) stamp: Stamp,
}

pub(super) fn load_now(
    root: &RootDir,
    path: &[u8],
    sibling: Option<&SiblingOf>,
    options: &LoadOptions,
    wall: Timestamp,
    way: Way,
) -> Result<Loaded, OpenError> {
    match sibling {
        None => load(root, path, options, wall, way),
        Some(sibling) => load_sibling(root, sibling, options, wall, way),
    }
}
