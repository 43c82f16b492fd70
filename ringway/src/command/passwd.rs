//! `ringway passwd`: a user's line in a file of users, made from a password that nobody sees.

use crate::config::load;
use crate::web::auth::password::{PASSWORD_LEN_MAX, PasswordHash};
use crate::web::auth::{NAME_LEN_MAX, is_name};
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid, fchmod, fchown, flock};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What to do with a user's password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passwd {
    /// The file of users; `None` prints the line.
    pub(crate) file: Option<PathBuf>,
    /// Whose password.
    pub(crate) name: String,
    /// The user goes instead.
    pub(crate) deletes: bool,
}

/// Does it, and says what was done.
///
/// # Errors
/// One sentence.
pub(crate) fn run(passwd: &Passwd) -> Result<String, String> {
    if !is_name(&passwd.name) {
        return Err(format!(
            "{:?} is no name: it has 1 to {NAME_LEN_MAX} bytes, no colon and no control characters.",
            passwd.name
        ));
    }
    let Some(file) = &passwd.file else {
        return Ok(format!("{}\n", line(&passwd.name, &new_password(&passwd.name)?)?));
    };
    // What cannot be read is told before anybody types a password in vain.
    let file = &resolved(file);
    let is_new = read(file)?.is_none();
    let line = match passwd.deletes {
        true => None,
        false => Some(line(&passwd.name, &new_password(&passwd.name)?)?),
    };
    let had = change(file, &passwd.name, line.as_deref())?;
    let what = match (line.is_some(), had) {
        (true, true) => "changed the password of",
        (true, false) => "added",
        (false, true) => "removed",
        (false, false) => {
            return Err(format!("{} has no user {:?}.", file.display(), passwd.name));
        }
    };
    let note = match is_new {
        true => {
            " (a new file, for its owner alone: the user that the server runs as must be able to read it)"
        }
        false => "",
    };
    Ok(format!("{}: {what} {}{note}\n", file.display(), passwd.name))
}

/// The file of users that a configuration names, if it is one.
///
/// # Errors
/// One sentence.
pub(crate) fn users_file(config: &Path) -> Result<PathBuf, String> {
    let shown = config.display();
    let loaded = load::load(config, &|name| std::env::var(name).ok())?;
    if loaded.report.has_errors() {
        return Err(format!("{shown} has errors; ringway check -c {shown} tells them."));
    }
    let sites = &loaded.config.site;
    let auths = sites.iter().flat_map(|site| site.route.iter().map(|route| &route.auth).chain([&site.auth]));
    let named = auths.flatten().filter_map(|auth| auth.users_file.as_ref());
    let files: BTreeSet<PathBuf> = named.map(|path| path.as_path().to_owned()).collect();
    let mut files = files.into_iter();
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        (None, _) => Err(format!("{shown} names no file of users; users_file of [site.auth] does.")),
        (Some(_), Some(_)) => Err(format!("{shown} names several files of users; say which one.")),
    }
}

fn line(name: &str, password: &[u8]) -> Result<String, String> {
    let hash = PasswordHash::create(password).map_err(|reason| format!("{reason}."))?;
    Ok(format!("{name}:{hash}"))
}

/// The path behind links: the file is replaced, not the link.
fn resolved(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_new| file.to_owned())
}

/// The file's text; nothing when there is none yet.
fn read(file: &Path) -> Result<Option<(String, Metadata)>, String> {
    let sentence = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => format!("{} is not UTF-8.", file.display()),
        _ => format!("cannot read {}: {error}.", file.display()),
    };
    let mut opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(sentence(error)),
    };
    let metadata = opened.metadata().map_err(sentence)?;
    if !metadata.is_file() {
        return Err(format!("{} is no file.", file.display()));
    }
    let mut text = String::new();
    opened.read_to_string(&mut text).map_err(sentence)?;
    Ok(Some((text, metadata)))
}

/// Puts `line` in the place of the user's, behind the others, or takes the user's away; says whether there was one.
fn change(file: &Path, name: &str, line: Option<&str>) -> Result<bool, String> {
    let sentence = |error: io::Error| format!("cannot write {}: {error}.", file.display());
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Two who change the file at once do so one after the other.
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let locked = rustix::fs::open(folder, flags, Mode::empty()).map_err(|errno| sentence(errno.into()))?;
    flock(&locked, FlockOperation::LockExclusive).map_err(|errno| sentence(errno.into()))?;
    let before = read(file)?;
    let (text, had) = changed(before.as_ref().map_or("", |(text, _)| text), name, line);
    if line.is_none() && !had {
        return Ok(false);
    }
    replace(file, folder, &text, before.as_ref().map(|(_, metadata)| metadata)).map_err(sentence)?;
    // The new name lasts only once the directory is on the disk.
    rustix::fs::fsync(&locked).map_err(|errno| sentence(errno.into()))?;
    Ok(had)
}

/// The text with the user's line changed, added or gone, all others as they are; and whether there was one.
fn changed(text: &str, name: &str, line: Option<&str>) -> (String, bool) {
    let is_theirs = |text: &str| {
        let text = text.trim();
        !text.starts_with('#') && text.split_once(':').is_some_and(|(other, _)| other.trim() == name)
    };
    let mut lines: Vec<&str> = Vec::new();
    let mut had = false;
    for old in text.lines() {
        if !is_theirs(old) {
            lines.push(old);
        } else if !std::mem::replace(&mut had, true) {
            lines.extend(line);
        }
    }
    if !had {
        lines.extend(line);
    }
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    (text, had)
}

/// Writes another file beside it, which takes its name when it is on the disk. A server reads the one or the other, never
/// half of one. Owner and mode are the old one's, else only its owner may read it.
fn replace(file: &Path, folder: &Path, text: &str, before: Option<&Metadata>) -> io::Result<()> {
    let beside = folder.join(format!(".ringway-passwd-{}", std::process::id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut new = File::from(rustix::fs::open(&beside, flags, Mode::RUSR | Mode::WUSR)?);
    let written = (|| {
        if let Some(before) = before {
            // Only the administrator may give files away; others own them already.
            let owner = (Uid::from_raw(before.uid()), Gid::from_raw(before.gid()));
            let _not_allowed = fchown(&new, Some(owner.0), Some(owner.1));
            fchmod(&new, Mode::from_raw_mode(before.permissions().mode() & 0o777))?;
        }
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, file)
    })();
    if written.is_err() {
        let _never_made = std::fs::remove_file(&beside);
    }
    written
}

/// The password: asked for twice on a terminal, else the first line of standard input.
fn new_password(name: &str) -> Result<Vec<u8>, String> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let password = ask(&format!("Password for {name}: "))?;
        if ask("Once more: ")? != password {
            return Err("these are two passwords; nothing was changed.".to_owned());
        }
        password
    } else {
        let mut line = Vec::new();
        let most = PASSWORD_LEN_MAX as u64 + 2;
        let mut input = stdin.lock().take(most);
        input.read_until(b'\n', &mut line).map_err(|error| format!("cannot read the password: {error}."))?;
        line.strip_suffix(b"\n")
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .unwrap_or(&line)
            .to_vec()
    };
    check(&password).map(|()| password)
}

fn check(password: &[u8]) -> Result<(), String> {
    if password.is_empty() {
        return Err("the password is empty; nothing was changed.".to_owned());
    }
    if password.len() > PASSWORD_LEN_MAX {
        return Err(format!("the password has more than {PASSWORD_LEN_MAX} bytes; nothing was changed."));
    }
    // RFC 7617 section 2: no client could send it.
    if password.iter().any(u8::is_ascii_control) {
        return Err("the password has control characters; nothing was changed.".to_owned());
    }
    Ok(())
}

/// Shows `prompt` on standard error and reads a line that is not shown.
fn ask(prompt: &str) -> Result<Vec<u8>, String> {
    let stdin = io::stdin();
    let read = Quiet::new(&stdin).and_then(|_quiet| {
        // Asked only when nothing is shown any more; what was typed before is not meant.
        eprint!("{prompt}");
        let read = read_typed(stdin.lock());
        eprintln!();
        read
    });
    match read {
        Ok(Some(password)) => Ok(password),
        Ok(None) => Err("given up; nothing was changed.".to_owned()),
        Err(error) => Err(format!("cannot read the password: {error}.")),
    }
}

/// What is typed, until Enter or the end; nothing when it was given up (Ctrl-C). Backspace takes a character back, Ctrl-U all.
fn read_typed(input: impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut typed: Vec<u8> = Vec::new();
    for byte in input.bytes() {
        match byte? {
            b'\n' | b'\r' | 0x04 => break,
            0x03 => return Ok(None),
            0x15 => typed.clear(),
            0x08 | 0x7f => {
                // All bytes of the last character of UTF-8.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if typed.len() <= PASSWORD_LEN_MAX => typed.push(byte),
            _ => {}
        }
    }
    Ok(Some(typed))
}

/// A terminal that does not show what is typed and makes no signals of it; as it was when this is dropped.
struct Quiet<'a, T: AsFd> {
    terminal: &'a T,
    before: Termios,
}

impl<'a, T: AsFd> Quiet<'a, T> {
    fn new(terminal: &'a T) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Quiet<'_, T> {
    fn drop(&mut self) {
        let _terminal_gone = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_changes_and_others_stay_as_they_are() {
        let text = "# staff\nalice:1\n\n bob : 2\n#alice:0\nalice:3";
        for (name, line, expected, had) in [
            ("alice", Some("alice:9"), "# staff\nalice:9\n\n bob : 2\n#alice:0\n", true),
            ("bob", Some("bob:9"), "# staff\nalice:1\n\nbob:9\n#alice:0\nalice:3\n", true),
            ("carol", Some("carol:9"), "# staff\nalice:1\n\n bob : 2\n#alice:0\nalice:3\ncarol:9\n", false),
            ("alice", None, "# staff\n\n bob : 2\n#alice:0\n", true),
            ("carol", None, "# staff\nalice:1\n\n bob : 2\n#alice:0\nalice:3\n", false),
        ] {
            assert_eq!(changed(text, name, line), (expected.to_owned(), had), "{name} {line:?}");
        }
        assert_eq!(changed("", "a", Some("a:1")), ("a:1\n".to_owned(), false));
        assert_eq!(changed("a:1\n", "a", None), (String::new(), true));
    }

    #[test]
    fn typing_can_be_corrected_and_given_up() {
        let typed = |bytes: &[u8]| read_typed(bytes).expect("memory can be read");
        assert_eq!(typed(b"secret\rmore"), Some(b"secret".to_vec()));
        assert_eq!(typed("gr\u{fc}x\x7f\x7f\x7fab\n".as_bytes()), Some(b"gab".to_vec()));
        assert_eq!(typed(b"\x7fwrong\x15right"), Some(b"right".to_vec()));
        assert_eq!(typed(b"sec\x03ret\n"), None);
        assert_eq!(typed(&[b'x'; 5000]).map(|typed| typed.len()), Some(PASSWORD_LEN_MAX + 1));
    }

    #[test]
    fn what_no_client_could_send_is_no_password() {
        for bad in [&b""[..], b"a\tb", b"a\0", &[b'x'; PASSWORD_LEN_MAX + 1]] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check("gr\u{fc}n : \u{1f511}".as_bytes()), Ok(()));
    }
}
