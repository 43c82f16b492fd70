//! A directory of its own for one test, removed when the test is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The directory; gone on drop.
#[derive(Debug)]
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-web-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("the directory is new");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, making its directories.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("made");
        fs::write(&path, content).expect("written");
        path
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).expect("made");
        path
    }

    pub(crate) fn link(&self, target: &str, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::os::unix::fs::symlink(target, &path).expect("linked");
        path
    }

    pub(crate) fn fifo(&self, name: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, self.0.join(name), FileType::Fifo, mode, 0).expect("made");
    }

    /// Sets a file's mtime, in seconds since 1970.
    pub(crate) fn set_mtime(&self, name: &str, seconds: u64) {
        let file = fs::File::options().write(true).open(self.0.join(name)).expect("there");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).expect("set");
    }
}

/// Whether this kernel or container has no `openat2`: tests of what needs it say so and pass.
pub(crate) fn without_openat2() -> bool {
    use crate::root::{Resolver, Root, RootOptions};
    let root = Root::open(Path::new("/"), RootOptions::default(), 0).expect("there is a root");
    let lacks = root.dir().resolver() != Resolver::Openat2;
    if lacks {
        eprintln!("SKIPPED: needs openat2 with cached look-up; this system has {}", root.dir().resolver());
    }
    lacks
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}
