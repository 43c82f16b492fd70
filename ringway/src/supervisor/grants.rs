//! What a server process was allowed and given, compared with what it would need now.
//!
//! Landlock allows what lies at a path when the rules are made, not what is put there later: a directory that was replaced
//! (`mv new www`, a link that leads elsewhere since the last release) is out of reach until another process is started.

use crate::sandbox::{Outward, Rules};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a server process was allowed when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    is_everything: bool,
    read: Vec<Grant>,
    write: Vec<Grant>,
    trees: Vec<Grant>,
    connect: Vec<u16>,
    outward: Outward,
}

/// One path of the rules, and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    path: PathBuf,
    found: Option<Found>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    real: PathBuf,
    device: u64,
    inode: u64,
}

impl Grants {
    /// What these rules allow, made now.
    pub(super) fn of(rules: &Rules) -> Self {
        let grants = |paths: &[PathBuf]| paths.iter().map(|path| Grant::of(path)).collect();
        Self {
            is_everything: rules.is_off,
            read: grants(&rules.read),
            write: grants(&rules.write),
            trees: grants(&rules.trees),
            connect: rules.connect.clone(),
            outward: rules.outward,
        }
    }

    /// Whether these rules need nothing that was not allowed.
    pub(super) fn cover(&self, rules: &Rules) -> bool {
        if self.is_everything || rules.is_off {
            return self.is_everything == rules.is_off;
        }
        rules.read.iter().all(|path| covers(&self.read, path))
            && rules.write.iter().all(|path| covers(&self.write, path))
            && rules.trees.iter().all(|path| covers(&self.trees, path))
            && rules.connect.iter().all(|port| self.connect.contains(port))
            && self.outward.covers(rules.outward)
    }

    /// The first path at which something else is now than was allowed.
    pub(super) fn outdated(&self) -> Option<&Path> {
        if self.is_everything {
            return None;
        }
        let all = self.read.iter().chain(&self.write).chain(&self.trees);
        // Something that went away needs no new rule.
        let is_outdated = |grant: &&Grant| {
            let now = Found::at(&grant.path);
            now.is_some() && now != grant.found
        };
        all.filter(is_outdated).map(|grant| grant.path.as_path()).next()
    }
}

impl Grant {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), found: Found::at(path) }
    }
}

impl Found {
    fn at(path: &Path) -> Option<Self> {
        let real = path.canonicalize().ok()?;
        let metadata = real.metadata().ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), real })
    }
}

/// Whether what is at `path` lies in what was allowed and is there still.
fn covers(grants: &[Grant], path: &Path) -> bool {
    let Some(wanted) = Found::at(path) else {
        // Nothing is there that could be allowed. Should that change, it is outdated.
        return grants.iter().any(|grant| grant.path == path);
    };
    grants
        .iter()
        .filter_map(|grant| grant.found.as_ref())
        .any(|found| wanted.real.starts_with(&found.real) && Found::at(&found.real).as_ref() == Some(found))
}

/// Files that were read, as they were then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// Of the content and of the entry: a file that was moved here may have any age.
    changed: (i64, i64, i64, i64),
}

impl Stamps {
    /// What these files look like now.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| (path.clone(), Stamp::at(path))).collect())
    }

    /// The first file that is another now. One that is gone for a moment is waited for.
    pub(super) fn changed(&self) -> Option<&Path> {
        let is_other = |(path, then): &&(PathBuf, Option<Stamp>)| {
            let now = Stamp::at(path);
            now.is_some() && now != *then
        };
        self.0.iter().find(is_other).map(|(path, _)| path.as_path())
    }
}

impl Stamp {
    fn at(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        let changed = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
        Some(Self { inode: found.ino(), bytes: found.len(), changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_outdated_and_what_lies_below_is_covered() {
        let root = std::env::temp_dir().join(format!("ringway-grants-{}", std::process::id()));
        let at = |name: &str| root.join(name);
        for name in ["one/deep", "two", "next"] {
            std::fs::create_dir_all(at(name)).expect("a temporary folder");
        }
        std::os::unix::fs::symlink("one", at("link")).expect("a temporary folder");
        let rules =
            |read: &[&str]| Rules { read: read.iter().map(|name| at(name)).collect(), ..Rules::default() };
        let grants = Grants::of(&rules(&["link", "missing"]));
        assert!(grants.cover(&rules(&["one", "one/deep", "link/deep", "missing"])));
        assert!(!grants.cover(&rules(&["two"])));
        assert!(!grants.cover(&rules(&["other-missing"])));
        assert!(!grants.cover(&Rules { connect: vec![443], ..Rules::default() }));
        let upstreams = Outward { upstreams: true, ..Outward::default() };
        assert!(!grants.cover(&Rules { outward: upstreams, ..Rules::default() }));
        assert!(Grants::of(&Rules { outward: upstreams, ..Rules::default() }).cover(&Rules::default()));
        assert!(
            !grants.cover(&Rules { write: vec![at("one")], ..Rules::default() }),
            "reading is not writing"
        );
        assert!(!grants.cover(&Rules { is_off: true, ..Rules::default() }));
        assert_eq!(grants.outdated(), None);
        std::fs::create_dir(at("missing")).expect("a temporary folder");
        assert_eq!(grants.outdated(), Some(at("missing").as_path()));
        std::fs::remove_dir(at("missing")).expect("a temporary folder");
        std::fs::remove_file(at("link")).expect("a temporary file");
        assert_eq!(grants.outdated(), None, "what is gone needs nothing");
        std::os::unix::fs::symlink("next", at("link")).expect("a temporary folder");
        assert_eq!(grants.outdated(), Some(at("link").as_path()));
        std::fs::remove_dir_all(root).expect("a temporary folder");
    }

    #[test]
    fn files_that_change_are_noticed() {
        let path = std::env::temp_dir().join(format!("ringway-stamps-{}", std::process::id()));
        std::fs::write(&path, "one").expect("a temporary file");
        let stamps = Stamps::of(std::slice::from_ref(&path));
        assert_eq!(stamps.changed(), None);
        std::fs::remove_file(&path).expect("a temporary file");
        assert_eq!(stamps.changed(), None, "it may come back");
        std::fs::write(&path, "another").expect("a temporary file");
        assert_eq!(stamps.changed(), Some(path.as_path()));
        std::fs::remove_file(&path).expect("a temporary file");
    }
}
