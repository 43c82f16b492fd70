//! The user and groups a server process runs as.

use super::{Layer, State};
use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Most bytes of the user and group files that are read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Somebody, by numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// For people.
    pub name: String,
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The other groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Looks a user up, by name or number, and a group where that is not the user's own, in `/etc/passwd` and
    /// `/etc/group`. (No other directory of users is asked: that would load code of others.)
    ///
    /// # Errors
    /// A sentence: who is not there.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let read = |path: &str| {
            read_bounded(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"))
        };
        Self::find_in(user, group, &read("/etc/passwd")?, &read("/etc/group").unwrap_or_default())
    }

    /// Whether this process is that already, and nobody else besides.
    #[must_use]
    pub fn is_own(&self) -> bool {
        is_already(self)
    }

    fn find_in(user: &str, group: Option<&str>, users: &str, all_groups: &str) -> Result<Self, String> {
        let found = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() > 3 && (fields[0] == user || is_number(user) && fields[2] == user));
        let (name, number, own_group) = match &found {
            Some(fields) => (fields[0], fields[2].parse().ok(), fields[3].parse().ok()),
            None => (user, user.parse().ok(), None),
        };
        let Some(number) = number else { return Err(format!("there is no user {user:?}")) };
        let group = match group {
            Some(group) => {
                Some(group_number(group, all_groups).ok_or_else(|| format!("there is no group {group:?}"))?)
            }
            None => own_group,
        };
        let Some(group) = group else {
            return Err(format!("user {user} is not in /etc/passwd, so its group must be said"));
        };
        let groups = groups_of(name, all_groups).filter(|other| *other != group).collect();
        Ok(Self { name: name.to_owned(), user: number, group, groups })
    }
}

/// Becomes somebody, for good.
///
/// # Errors
/// A sentence. A server that was to have fewer rights does not start with more.
pub(super) fn assume(identity: Option<&Identity>) -> Result<Layer, String> {
    let name = "user";
    let Some(identity) = identity else {
        let state = if geteuid().is_root() {
            State::Unavailable("it serves as root; set user to serve as somebody else".to_owned())
        } else {
            State::Active(format!("number {}, who started it", geteuid().as_raw()))
        };
        return Ok(Layer::new(name, state));
    };
    let shown = format!("{}, number {}, group {}", identity.name, identity.user, identity.group);
    if !is_already(identity) {
        if !geteuid().is_root() {
            return Err(format!("cannot serve as {}: only root can change the user", identity.name));
        }
        become_user(identity).map_err(|error| format!("cannot serve as {}: {error}", identity.name))?;
    }
    if identity.user != 0 && set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(format!("cannot serve as {}: the way back to root stays open", identity.name));
    }
    Ok(Layer::new(name, State::Active(shown)))
}

/// The process has one thread, so what is changed of the thread is changed of the process.
fn become_user(identity: &Identity) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    let group = Gid::from_raw(identity.group);
    set_thread_res_gid(group, group, group)?;
    let user = Uid::from_raw(identity.user);
    set_thread_res_uid(user, user, user)
}

fn is_already(identity: &Identity) -> bool {
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    let allowed = |other: &Gid| *other == group || identity.groups.contains(&other.as_raw());
    (getuid(), geteuid()) == (user, user)
        && (getgid(), getegid()) == (group, group)
        && getgroups().is_ok_and(|groups| groups.iter().all(allowed))
}

fn group_number(group: &str, groups: &str) -> Option<u32> {
    let line = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 2 && fields[0] == group);
    line.map_or_else(|| group.parse().ok(), |fields| fields[2].parse().ok())
}

/// The groups that list a user.
fn groups_of<'a>(user: &'a str, groups: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member == user);
        is_member.then(|| fields[2].parse().ok())?
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv:/bin/false\nbroken\n";
    const GROUPS: &str = "root:x:0:\nwww:x:33:\nlogs:x:4:syslog,www\nkeys:x:90:www\nwwwx:x:91:wwwx\n";

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let www = Identity { name: "www".to_owned(), user: 33, group: 33, groups: vec![4, 90] };
        assert_eq!(Identity::find_in("www", None, USERS, GROUPS), Ok(www.clone()));
        assert_eq!(Identity::find_in("33", None, USERS, GROUPS), Ok(www.clone()));
        let logs = Identity { group: 4, groups: vec![90], ..www };
        assert_eq!(Identity::find_in("www", Some("logs"), USERS, GROUPS), Ok(logs.clone()));
        assert_eq!(Identity::find_in("www", Some("4"), USERS, GROUPS), Ok(logs));
    }

    #[test]
    fn who_is_not_there_is_said() {
        let find = |user, group| Identity::find_in(user, group, USERS, GROUPS).expect_err("nobody");
        assert_eq!(find("nobody", None), "there is no user \"nobody\"");
        assert_eq!(find("www", Some("none")), "there is no group \"none\"");
        assert!(find("70000", None).contains("its group must be said"));
        assert!(find("", None).contains("there is no user"));
    }
}
