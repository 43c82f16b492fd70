//! Files that clients change.

use super::plan::{DavPlan, FilesPlan, HandlerPlan};
use crate::config::settings::{Dav, DavSync};
use crate::web::dav::{DavOptions, Durability, Tree};
use std::sync::Arc;

/// The handlers of files: before the one that serves them the one that changes them, where there is one.
pub(super) fn handlers(files: Option<FilesPlan>, dav: Option<&Dav>) -> Vec<Arc<HandlerPlan>> {
    let Some(files) = files else { return Vec::new() };
    let tree = dav.map(|dav| {
        Arc::new(Tree::new(&files.root, Arc::clone(&files.load), &files.options.prefix, options(dav)))
    });
    let files = Arc::new(HandlerPlan::Files(files));
    let changing = tree.map(|tree| Arc::new(HandlerPlan::Dav(DavPlan { tree, files: Arc::clone(&files) })));
    changing.into_iter().chain([files]).collect()
}

fn options(dav: &Dav) -> DavOptions {
    DavOptions {
        is_anonymous: dav.anonymous,
        quota_bytes: dav.quota.map(|quota| quota.bytes()),
        file_bytes_max: dav.max_file.bytes(),
        is_deep: dav.deep,
        durability: match dav.sync {
            DavSync::Fast => Durability::Fast,
            DavSync::Content => Durability::Content,
            DavSync::Full => Durability::Full,
        },
        lock_s_max: u32::try_from(dav.lock_timeout.ms() / 1000).unwrap_or(u32::MAX),
        locks_max: usize::try_from(dav.max_locks).unwrap_or(usize::MAX),
        properties_bytes_max: usize::try_from(dav.max_properties.bytes()).unwrap_or(usize::MAX),
        entries_max: usize::try_from(dav.max_entries).unwrap_or(usize::MAX),
    }
}
