//! Copies of libraries to load from: the loader hands out what it has when it is asked for the same file again.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// `MFD_EXEC`, Linux 6.3: what it holds may be mapped as code, whatever the machine's default.
const MFD_EXEC: libc::c_uint = 0x10;

/// A copy of a library.
#[derive(Debug)]
pub(crate) struct Image {
    /// In memory. It stays open while the library is mapped, so that no other one gets its name.
    memory: Option<File>,
    /// Where the loader finds it.
    pub(crate) path: PathBuf,
}

impl Image {
    /// A copy in memory. `name` shows in the list of what a process has mapped.
    pub(crate) fn in_memory(bytes: &[u8], name: &CStr) -> io::Result<Self> {
        let mut file = File::from(memory_file(name)?);
        file.write_all(bytes)?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
        // SAFETY: a plain system call on a descriptor of ours (I1).
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { memory: Some(file), path })
    }

    /// A copy in the directory for temporary files, where memory cannot be mapped as code. [`Image::loaded`] removes its name.
    pub(crate) fn in_file(bytes: &[u8]) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".ringway-{}-{number}.so", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let image = Self { memory: None, path };
        match file.write_all(bytes) {
            Ok(()) => Ok(image),
            Err(error) => {
                image.loaded();
                Err(error)
            }
        }
    }

    /// The loader has it, or does not want it: a name is not needed any more.
    pub(crate) fn loaded(&self) {
        if self.memory.is_none() {
            // Whoever removed it before has done what is wanted.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let open = |flags| {
        // SAFETY: a plain system call with a text that ends (I1).
        let number = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just returned it, and nobody else has it (I1).
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    match open(flags | MFD_EXEC) {
        // A kernel that does not know the flag, and needs none.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => open(flags),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_cannot_be_changed_and_a_name_goes_away() {
        let image = Image::in_memory(b"abc", c"ringway-test").expect("memory");
        assert_eq!(std::fs::read(&image.path).expect("it is there"), b"abc");
        let error =
            OpenOptions::new().write(true).open(&image.path).and_then(|mut file| file.write_all(b"x"));
        assert_eq!(error.expect_err("it is sealed").raw_os_error(), Some(libc::EPERM));
        image.loaded();
        assert!(image.path.exists(), "it is ours as long as it is open");
        let image = Image::in_file(b"abc").expect("a directory for temporary files");
        assert_eq!(std::fs::read(&image.path).expect("it is there"), b"abc");
        image.loaded();
        assert!(!image.path.exists());
    }
}
