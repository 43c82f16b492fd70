//! The folder of files that compared servers are to serve.

use std::fs;
use std::path::{Path, PathBuf};

use super::case::{FILES, SCRIPT};
use crate::refusal::Refusal;

/// A folder with the files of the cases; one that was made for the run is removed when it ends.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    ours: bool,
}

impl Root {
    /// The files of the cases in `folder`, added where they are missing; without a folder, in a new one.
    ///
    /// # Errors
    /// Refuses a folder that cannot be written.
    pub(super) fn prepare(folder: Option<&Path>) -> Result<Root, Refusal> {
        let ours = folder.is_none();
        let path = folder.map_or_else(
            || std::env::temp_dir().join(format!("ringway-lab-{}", std::process::id())),
            Path::to_path_buf,
        );
        fs::create_dir_all(&path).map_err(Refusal::because(format!("cannot make {}", path.display())))?;
        let root = Root { path, ours };
        for (name, size) in FILES {
            root.add(name, || content(size))?;
        }
        root.add(SCRIPT.0, || SCRIPT.1.as_bytes().to_vec())?;
        Ok(root)
    }

    /// Adds a file that is missing.
    fn add(&self, name: &str, content: impl FnOnce() -> Vec<u8>) -> Result<(), Refusal> {
        let file = self.path.join(name);
        if file.exists() {
            return Ok(());
        }
        fs::write(&file, content()).map_err(Refusal::because(format!("cannot write {}", file.display())))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.ours {
            // A temporary folder that stays is no reason to fail.
            let _stays = fs::remove_dir_all(&self.path);
        }
    }
}

/// Bytes that no filter on the way can make smaller: the upper bytes of a counter that is multiplied each time.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 32).to_le_bytes()[..4]);
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn a_folder_of_our_own_is_removed_and_others_stay() {
    let ours = Root::prepare(None).expect("it can be made");
    let path = ours.path().to_path_buf();
    assert_eq!(fs::metadata(path.join("f200k.bin")).expect("it is there").len(), 204_800);
    assert!(fs::read_to_string(path.join("hello.php")).expect("it is there").starts_with("<?php"));
    let theirs = Root::prepare(Some(&path)).expect("it is there");
    drop(theirs);
    assert!(path.exists());
    drop(ours);
    assert!(!path.exists());
}
