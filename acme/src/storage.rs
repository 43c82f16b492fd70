//! Where account and certificates are kept: a directory of small files that are whole or not there.

use crate::failure::Failure;
use crate::obtain::Issued;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The account's key.
const ACCOUNT: &str = "account.key";

/// Longest file that is read, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// A directory for account and certificates.
#[derive(Clone, Debug)]
pub struct Storage {
    directory: PathBuf,
}

impl Storage {
    /// Keeps in `directory`, which is made if need be, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(directory: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::File(directory.to_owned(), error);
        if !directory.is_dir() {
            fs::create_dir_all(directory).map_err(failed)?;
            fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The account's key, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn account(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.read(ACCOUNT)
    }

    /// Keeps the account's key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_account(&self, pkcs8: &[u8]) -> Result<(), Failure> {
        self.write(ACCOUNT, pkcs8)
    }

    /// The certificate for `names`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn certificate(&self, names: &[String]) -> Result<Option<Issued>, Failure> {
        let name = file_name(names);
        let Some(both) = self.read(&name)? else { return Ok(None) };
        // One file holds both, so that no crash leaves a key beside another one's certificate.
        let marker = b"-----BEGIN CERTIFICATE-----";
        let Some(at) = both.windows(marker.len()).position(|part| part == marker) else { return Ok(None) };
        Ok(Some(Issued { key: both[..at].to_vec(), chain: both[at..].to_vec() }))
    }

    /// Keeps a certificate.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_certificate(&self, names: &[String], issued: &Issued) -> Result<(), Failure> {
        self.write(&file_name(names), &[issued.key.as_slice(), &issued.chain].concat())
    }

    /// Where the certificate for `names` is kept.
    #[must_use]
    pub fn path(&self, names: &[String]) -> PathBuf {
        self.directory.join(file_name(names))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.directory.join(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::File(path, error)),
            Ok(metadata) if metadata.len() > LEN_MAX => {
                return Err(Failure::Here(format!("{} is too long to be ours", path.display())));
            }
            Ok(_) => {}
        }
        fs::read(&path).map(Some).map_err(|error| Failure::File(path, error))
    }

    /// Writes beside, syncs, renames.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (path, beside) = (self.directory.join(name), self.directory.join(format!(".{name}.new")));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        })();
        written.map_err(|error| Failure::File(path, error))
    }
}

/// The first name stands for all; a wildcard's star is written out, and the others are told apart by a sum over them.
fn file_name(names: &[String]) -> String {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    // FNV-1a: told apart, not hidden.
    let sum = sorted
        .join(",")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let first: String =
        sorted.first().map_or_else(String::new, |name| {
            name.chars()
                .map(|letter| {
                    if letter.is_ascii_alphanumeric() || letter == '-' || letter == '.' {
                        letter
                    } else {
                        '_'
                    }
                })
                .collect()
        });
    format!("{}-{sum:016x}.pem", first.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_again_and_is_its_owners() {
        let place = std::env::temp_dir().join(format!("ringway-acme-{}", std::process::id()));
        let storage = Storage::open(&place).expect("it can be made");
        let names = vec!["www.example.org".to_owned(), "example.org".to_owned()];
        assert_eq!(storage.certificate(&names).expect("it can be read"), None);
        assert_eq!(storage.account().expect("it can be read"), None);
        let issued = Issued {
            key: b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n".to_vec(),
            chain: b"-----BEGIN CERTIFICATE-----\ny\n-----END CERTIFICATE-----\n".to_vec(),
        };
        storage.keep_certificate(&names, &issued).expect("it can be written");
        storage.keep_account(b"key").expect("it can be written");
        assert_eq!(storage.account().expect("it can be read").as_deref(), Some(b"key".as_slice()));
        let turned = vec![names[1].clone(), names[0].clone()];
        assert_eq!(storage.certificate(&turned).expect("it can be read"), Some(issued));
        let mode = fs::metadata(storage.path(&names)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(&place).expect("it can be removed");
    }

    #[test]
    fn names_of_files_stay_in_their_directory() {
        for bad in ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", ""] {
            let name = file_name(&[bad.to_owned()]);
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        }
        assert_ne!(file_name(&["a".to_owned()]), file_name(&["a".to_owned(), "b".to_owned()]));
    }
}
