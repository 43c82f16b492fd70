//! PROPFIND and PROPPATCH (RFC 4918 sections 9.1 and 9.2).

use super::ask::Ask;
use super::change::{permission, root_or_place};
use super::disk::{for_each, join};
use super::live::{Live, Source};
use super::outcome::{Failure, Outcome};
use super::place::{Resource, find};
use super::store::{Store, stat_name};
use crate::root::{Kind, Way};
use ringway_dav::body::{PropFind, Update};
use ringway_dav::fields::Depth;
use ringway_dav::locks::Change;
use ringway_dav::multistatus::{Multistatus, Precondition, write_empty};
use ringway_dav::name::Name;
use ringway_dav::properties::Properties;
use ringway_http::status::Status;
use rustix::io::Errno;
use std::cell::OnceCell;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Largest answer to a PROPFIND, in bytes; what does not fit is said to be missing.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Tells of properties.
pub(super) fn find_properties(ask: &Ask) -> Result<Outcome, Failure> {
    let wanted = PropFind::read(&ask.body)?;
    let depth = ask.depth()?.unwrap_or(Depth::Infinity);
    if depth == Depth::Infinity && !ask.tree.options().is_deep {
        return Err(Failure::of(Status::FORBIDDEN, Precondition::PropfindFiniteDepth));
    }
    let _permission = if depth == Depth::Infinity { Some(permission(ask)?) } else { None };
    let store = ask.tree.store()?;
    let resource = find(&store.dir, &ask.path)?;
    if ask.has_slash && resource.kind == Kind::File {
        return Err(Failure::new(Status::NOT_FOUND));
    }
    let locks = {
        let held = store.hold(ask.now_s)?;
        ask.check(&store, &held, Some(&resource))?;
        held.locks().clone()
    };
    let room = OnceCell::new();
    let source = Source { tree: &ask.tree, store: &store, locks: &locks, now_s: ask.now_s, room };
    let mut teller =
        Teller { ask, source, wanted, answer: Multistatus::new(), left: ask.tree.options().entries_max };
    teller.tell(&ask.path, &resource)?;
    if depth != Depth::Zero && resource.kind == Kind::Directory {
        teller.tell_below(depth == Depth::Infinity)?;
    }
    Ok(Outcome::xml(Status::MULTI_STATUS, teller.answer.finish()))
}

struct Teller<'a> {
    ask: &'a Ask,
    source: Source<'a>,
    wanted: PropFind,
    answer: Multistatus,
    left: usize,
}

impl Teller<'_> {
    /// Tells of the members of the collection that is asked, and of theirs.
    fn tell_below(&mut self, is_deep: bool) -> Result<(), Failure> {
        let store = self.source.store;
        let mut work = vec![self.ask.path.to_vec()];
        while let Some(path) = work.pop() {
            let opened = match store.dir.open(&path, Way::Blocking) {
                Ok(opened) => opened,
                // It is gone, or nobody may look: what was told of it stays true.
                Err(_) if path != *self.ask.path => continue,
                Err(error) => return Err(error.into()),
            };
            let mut members = Vec::new();
            let read = for_each(&opened.fd, |name, _| {
                if name.to_bytes().first() != Some(&b'.') {
                    members.push(name.to_bytes().to_vec());
                }
                // One more than fits shows that something is missing.
                if members.len() > self.left { Err(Errno::OVERFLOW) } else { Ok(()) }
            });
            if !matches!(read, Err(Errno::OVERFLOW)) {
                read?;
            }
            for name in members {
                let path = join(&path, &name);
                let Some(resource) = member(store, opened.fd.as_fd(), &name, &path)? else { continue };
                if self.left == 0 || self.answer.len() > ANSWER_BYTES_MAX {
                    let href = self.ask.href(&self.ask.path, Kind::Directory);
                    self.answer.status(&href, Status::INSUFFICIENT_STORAGE, None);
                    return Ok(());
                }
                self.left -= 1;
                self.tell(&path, &resource)?;
                if is_deep && resource.kind == Kind::Directory {
                    work.push(path);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, path: &[u8], resource: &Resource) -> Result<(), Failure> {
        let Self { ask, source, wanted, answer, .. } = self;
        let dead = source.store.properties_of(path)?;
        answer.begin(&ask.href(path, resource.kind));
        match wanted {
            PropFind::Names => {
                answer.propstat(Status::OK, None, |out| write_names(out, source, path, resource, &dead))
            }
            PropFind::All { include } => {
                answer.propstat(Status::OK, None, |out| {
                    Live::ALL.iter().filter(|live| live.is_cheap()).for_each(|live| {
                        source.write(out, *live, path, resource);
                    });
                    dead.iter().for_each(|(_, element)| out.extend_from_slice(element));
                    let more = include.iter().filter_map(Live::of).filter(|live| !live.is_cheap());
                    more.for_each(|live| source.write(out, live, path, resource));
                });
            }
            PropFind::These(names) => {
                let mut missing: Vec<&Name> = Vec::new();
                answer.propstat(Status::OK, None, |out| {
                    for name in names.iter() {
                        let before = out.len();
                        match Live::of(name) {
                            Some(live) => source.write(out, live, path, resource),
                            None => out.extend_from_slice(dead.get(name).unwrap_or_default()),
                        }
                        if out.len() == before {
                            missing.push(name);
                        }
                    }
                });
                answer.propstat(Status::NOT_FOUND, None, |out| {
                    missing.iter().for_each(|name| write_empty(out, name));
                });
            }
        }
        answer.end();
        Ok(())
    }
}

fn write_names(out: &mut Vec<u8>, source: &Source<'_>, path: &[u8], resource: &Resource, dead: &Properties) {
    for live in Live::ALL {
        let mut value = Vec::new();
        source.write(&mut value, live, path, resource);
        if !value.is_empty() {
            write_empty(out, &Name::dav(live.name()));
        }
    }
    dead.names().for_each(|name| write_empty(out, name));
}

/// What a member of a collection is; nothing for what cannot be asked for.
fn member(
    store: &Store,
    within: std::os::fd::BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<Option<Resource>, Failure> {
    Ok(match stat_name(within, name)? {
        Some(member) => match member.kind {
            Some(kind) => Some(Resource { kind, state: member.state }),
            // A link that stays inside stands for what it leads to, as for GET.
            None => find(&store.dir, path).ok(),
        },
        None => None,
    })
}

/// Changes properties: all that is asked, or nothing.
pub(super) fn patch_properties(ask: &Ask) -> Result<Outcome, Failure> {
    let updates = Update::read(&ask.body)?;
    let store = ask.tree.store()?;
    let held = store.hold(ask.now_s)?;
    let resource = root_or_place(ask, &store)?;
    ask.check(&store, &held, Some(&resource))?;
    ask.check_locks(&held, &[Change::Resource(&ask.path)], &[])?;
    let is_protected = |update: &&Update| Live::of(update.name()).is_some();
    let mut answer = Multistatus::new();
    answer.begin(&ask.href(&ask.path, resource.kind));
    if updates.iter().any(|update| is_protected(&update)) {
        let forbidden = Some(Precondition::CannotModifyProtectedProperty);
        let (protected, others): (Vec<&Update>, Vec<&Update>) = updates.iter().partition(is_protected);
        answer.propstat(Status::FORBIDDEN, forbidden, |out| write_updated(out, &protected));
        answer.propstat(Status::FAILED_DEPENDENCY, None, |out| write_updated(out, &others));
    } else {
        let status = match keep(&store, ask, &updates) {
            Ok(()) => Status::OK,
            Err(failure) if failure.status == Status::INSUFFICIENT_STORAGE => Status::INSUFFICIENT_STORAGE,
            Err(failure) => return Err(failure),
        };
        answer.propstat(status, None, |out| write_updated(out, &updates.iter().collect::<Vec<_>>()));
    }
    answer.end();
    Ok(Outcome::xml(Status::MULTI_STATUS, answer.finish()))
}

fn keep(store: &Arc<Store>, ask: &Ask, updates: &[Update]) -> Result<(), Failure> {
    let mut properties = store.properties_of(&ask.path)?;
    for update in updates {
        properties.apply(update).map_err(|_too_many| Failure::new(Status::INSUFFICIENT_STORAGE))?;
    }
    store.keep_properties(&ask.path, &properties)
}

/// The names that were to be changed, each once.
fn write_updated(out: &mut Vec<u8>, updates: &[&Update]) {
    for (at, update) in updates.iter().enumerate() {
        if updates[..at].iter().all(|earlier| earlier.name() != update.name()) {
            write_empty(out, update.name());
        }
    }
}
