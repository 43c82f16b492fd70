//! Live properties: what the server knows of a resource (RFC 4918 section 15, RFC 4331).

use super::ask::etag_of;
use super::place::Resource;
use super::store::Store;
use super::tree::Tree;
use crate::civil::Civil;
use crate::root::Kind;
use ringway_dav::locks::{Lock, Locks};
use ringway_dav::multistatus::{write_href, write_text};
use ringway_dav::name::Name;
use ringway_http::date;
use rustix::fs::{AtFlags, StatxFlags, fstatvfs, openat, statx};
use rustix::fs::{Mode, OFlags};
use std::cell::OnceCell;
use std::os::fd::AsFd;

/// A live property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    CreationDate,
    ContentLength,
    ContentType,
    Etag,
    LastModified,
    LockDiscovery,
    ResourceType,
    SupportedLock,
    QuotaAvailable,
    QuotaUsed,
}

impl Live {
    /// All of them; those that cost more, and are told only to who asks for them, are the last two.
    pub(super) const ALL: [Self; 10] = [
        Self::CreationDate,
        Self::ContentLength,
        Self::ContentType,
        Self::Etag,
        Self::LastModified,
        Self::LockDiscovery,
        Self::ResourceType,
        Self::SupportedLock,
        Self::QuotaAvailable,
        Self::QuotaUsed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CreationDate => "creationdate",
            Self::ContentLength => "getcontentlength",
            Self::ContentType => "getcontenttype",
            Self::Etag => "getetag",
            Self::LastModified => "getlastmodified",
            Self::LockDiscovery => "lockdiscovery",
            Self::ResourceType => "resourcetype",
            Self::SupportedLock => "supportedlock",
            Self::QuotaAvailable => "quota-available-bytes",
            Self::QuotaUsed => "quota-used-bytes",
        }
    }

    /// The live property of that name.
    pub(super) fn of(name: &Name) -> Option<Self> {
        let local = name.as_dav()?;
        Self::ALL.into_iter().find(|live| live.name() == local)
    }

    /// Whether it is told to who asks for all (RFC 4331 section 2).
    pub(super) fn is_cheap(self) -> bool {
        !matches!(self, Self::QuotaAvailable | Self::QuotaUsed)
    }
}

/// What live properties are taken from.
pub(super) struct Source<'a> {
    pub(super) tree: &'a Tree,
    pub(super) store: &'a Store,
    pub(super) locks: &'a Locks,
    pub(super) now_s: u64,
    /// Bytes available and used, looked for once.
    pub(super) room: OnceCell<Option<(u64, u64)>>,
}

impl Source<'_> {
    /// Appends the element of a live property; nothing when the resource has none.
    pub(super) fn write(&self, out: &mut Vec<u8>, live: Live, path: &[u8], resource: &Resource) {
        let is_file = resource.kind == Kind::File;
        let text = |out: &mut Vec<u8>, text: &str| write_text(out, live.name(), text);
        match live {
            Live::CreationDate => text(out, &self.created(path, resource)),
            Live::ContentLength if is_file => text(out, &resource.state.len.to_string()),
            Live::ContentType if is_file => {
                let mut value = Vec::new();
                self.tree.load().types.of_name(path).write(&mut value);
                text(out, &String::from_utf8_lossy(&value));
            }
            Live::Etag if is_file => text(out, &etag_of(&resource.state)),
            Live::LastModified => {
                // Not later than the answer's own date (RFC 9110 section 8.8.2.1).
                let seconds = u64::try_from(resource.state.modified.seconds).unwrap_or(0).min(self.now_s);
                text(out, &String::from_utf8_lossy(&date::format(seconds)));
            }
            Live::LockDiscovery => self.write_locks(out, path),
            Live::ResourceType if is_file => out.extend_from_slice(b"<D:resourcetype/>"),
            Live::ResourceType => {
                out.extend_from_slice(b"<D:resourcetype><D:collection/></D:resourcetype>");
            }
            Live::SupportedLock => out.extend_from_slice(SUPPORTED_LOCKS),
            Live::QuotaAvailable | Live::QuotaUsed if !is_file => {
                if let Some((available, used)) = self.room.get_or_init(|| room(self.store)) {
                    let bytes = if live == Live::QuotaUsed { used } else { available };
                    text(out, &bytes.to_string());
                }
            }
            _ => {}
        }
    }

    /// The time of making, or of the last change where nobody noted it.
    fn created(&self, path: &[u8], resource: &Resource) -> String {
        let found = self.store.dir.locate(path);
        let born = found.ok().and_then(|fd| statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok());
        let born = born.filter(|stat| stat.stx_mask & StatxFlags::BTIME.bits() != 0);
        let seconds = born.map_or(resource.state.modified.seconds, |stat| stat.stx_btime.tv_sec);
        String::from_utf8_lossy(&Civil::from_unix(seconds).iso()).into_owned()
    }

    fn write_locks(&self, out: &mut Vec<u8>, path: &[u8]) {
        out.extend_from_slice(b"<D:lockdiscovery>");
        self.locks.covering(path).for_each(|lock| write_lock(out, lock, self.tree, self.now_s));
        out.extend_from_slice(b"</D:lockdiscovery>");
    }
}

const SUPPORTED_LOCKS: &[u8] = b"<D:supportedlock>\
    <D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    </D:supportedlock>";

/// Appends an `activelock`.
pub(super) fn write_lock(out: &mut Vec<u8>, lock: &Lock, tree: &Tree, now_s: u64) {
    out.extend_from_slice(b"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope>");
    out.extend_from_slice(if lock.is_shared { b"<D:shared/>" } else { b"<D:exclusive/>" });
    out.extend_from_slice(b"</D:lockscope>");
    write_text(out, "depth", if lock.is_deep { "infinity" } else { "0" });
    if !lock.owner.is_empty() {
        out.extend_from_slice(b"<D:owner>");
        out.extend_from_slice(&lock.owner);
        out.extend_from_slice(b"</D:owner>");
    }
    write_text(out, "timeout", &format!("Second-{}", lock.expires_s.saturating_sub(now_s)));
    out.extend_from_slice(b"<D:locktoken>");
    // A token is a URI of hexadecimal digits, which an address leaves as it is.
    out.extend_from_slice(b"<D:href>");
    out.extend_from_slice(lock.token.as_bytes());
    out.extend_from_slice(b"</D:href></D:locktoken><D:lockroot>");
    let kind = tree.kind_of(&lock.root);
    write_href(out, &tree.href(&lock.root, kind));
    out.extend_from_slice(b"</D:lockroot></D:activelock>");
}

/// Bytes available and used: against the quota, or on the disk.
fn room(store: &Store) -> Option<(u64, u64)> {
    let directory = store.dir.locate(b"").ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let disk = fstatvfs(openat(directory.as_fd(), ".", flags, Mode::empty()).ok()?).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let available = bytes(disk.f_bavail);
    match store.usage.quota_bytes() {
        Some(quota) => {
            let used = store.usage.bytes(|| Tree::count(store));
            Some((quota.saturating_sub(used).min(available), used))
        }
        None => Some((available, bytes(disk.f_blocks.saturating_sub(disk.f_bfree)))),
    }
}
