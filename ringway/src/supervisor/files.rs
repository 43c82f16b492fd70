//! The pid file, and beside it what came of the last reload or upgrade: for who has no console.

use super::wish::Outcome;
use crate::voice::say;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes of such a file that are read.
const BYTES_MAX: u64 = 1 << 20;

/// What a supervisor did last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The supervisor's number.
    pub process: u32,
    /// How many notes there have been: another number, another note.
    pub number: u64,
    /// `start`, `reload`, `upgrade`.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// The pid file of a supervisor.
#[derive(Debug, Default)]
pub(super) struct PidFile {
    path: Option<PathBuf>,
}

impl PidFile {
    /// Writes it, and removes the one that was there before under another name.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn write(&mut self, path: Option<&Path>) -> Result<(), String> {
        if self.path.as_deref() != path {
            self.remove();
        }
        let Some(path) = path else { return Ok(()) };
        let text = format!("{}\n", std::process::id());
        replace(path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        self.path = Some(path.to_owned());
        Ok(())
    }

    /// Leaves a note beside it.
    pub(super) fn note(&self, note: &Note) {
        let Some(path) = &self.path else { return };
        let text = serde_json::to_string(note).unwrap_or_default();
        if let Err(error) = replace(&note_path(path), &text) {
            say!("ringway: cannot write {}: {error}.", note_path(path).display());
        }
    }

    /// Removes it, if it is still ours.
    pub(super) fn remove(&mut self) {
        let Some(path) = self.path.take() else { return };
        if read_process(&path).is_ok_and(|process| process == std::process::id()) {
            let _gone_already = std::fs::remove_file(&path);
            let _gone_already = std::fs::remove_file(note_path(&path));
        }
    }

    /// One that another program wrote, under the same number.
    pub(super) fn inherited(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Where it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// The number in a pid file.
///
/// # Errors
/// What reading says, or that there is no number.
pub fn read_process(path: &Path) -> io::Result<u32> {
    let text = read(path)?;
    text.trim()
        .parse()
        .map_err(|_no_number| io::Error::new(io::ErrorKind::InvalidData, "it holds no process's number"))
}

/// The note beside a pid file.
///
/// # Errors
/// What reading says, or that it is no note.
pub fn read_note(pid_file: &Path) -> io::Result<Note> {
    serde_json::from_str(&read(&note_path(pid_file))?).map_err(io::Error::other)
}

fn note_path(pid_file: &Path) -> PathBuf {
    let mut name = OsString::from(pid_file);
    name.push(".status");
    name.into()
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Puts a new file into the place of an old one: who reads sees one or the other.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _gone_already = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_removed_by_who_wrote_it() {
        let path = std::env::temp_dir().join(format!("ringway-pid-{}", std::process::id()));
        let mut file = PidFile::default();
        file.write(Some(&path)).expect("a temporary file");
        assert_eq!(read_process(&path).expect("written"), std::process::id());
        let note = Note { process: 1, number: 2, what: "reload".to_owned(), outcome: Outcome::done("well") };
        file.note(&note);
        assert_eq!(read_note(&path).expect("written"), note);
        file.remove();
        assert!(!path.exists() && !note_path(&path).exists());
        file.write(Some(&path)).expect("a temporary file");
        std::fs::write(&path, "1\n").expect("a temporary file");
        file.remove();
        assert!(path.exists(), "another process's");
        std::fs::remove_file(&path).expect("a temporary file");
        let refused = file.write(Some(Path::new("/nowhere/pid"))).expect_err("no such folder");
        assert!(refused.starts_with("cannot write /nowhere/pid"));
    }
}
