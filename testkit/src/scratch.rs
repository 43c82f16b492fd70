//! A directory for one test, removed with everything in it when the test is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh, empty directory below the system's temporary one.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory; `name` is only there to be recognised.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file (and the directories above it) and says where it is.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let folder = path.parent().expect("a file is in a directory");
        std::fs::create_dir_all(folder).expect("the scratch directory can be written");
        std::fs::write(&path, contents).expect("the scratch directory can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a failing test left in use is left to the system.
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_empty_and_goes_with_its_files() {
        let scratch = Scratch::new("scratch");
        let path = scratch.path().to_owned();
        assert_eq!(std::fs::read_dir(&path).expect("there").count(), 0);
        let file = scratch.file("a/b", b"text");
        assert_eq!(std::fs::read(file).expect("written"), b"text");
        drop(scratch);
        assert!(!path.exists());
    }
}
