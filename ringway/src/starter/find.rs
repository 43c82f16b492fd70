//! Finds the script that a path names, and how it is run.

use super::rules::Rules;
use ringway_http::cgi::order::{Order, Refused};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A script, and how it is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The program: the script itself, or its interpreter.
    pub(super) program: PathBuf,
    /// The script.
    pub(super) script: PathBuf,
    /// Its name among the paths of the site.
    name: Vec<u8>,
    /// What follows it in the path.
    info: Vec<u8>,
}

impl Found {
    /// The program's arguments.
    pub(super) fn arguments(&self) -> Vec<&OsStr> {
        if self.program == self.script { Vec::new() } else { vec![self.script.as_os_str()] }
    }

    /// The directory the script lies in, and runs in.
    pub(super) fn folder(&self) -> &Path {
        self.script.parent().unwrap_or(Path::new("/"))
    }

    /// All the script is told: what the server says, what is known here only, what the operator wants.
    pub(super) fn environment(&self, order: &Order<'_>, rules: &Rules) -> Vec<(OsString, OsString)> {
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> = rules.first_variables();
        all.extend(order.variables().map(|(name, value)| (name.to_vec(), value.to_vec())));
        let document_root = rules.document_root.as_os_str().as_bytes();
        let mut set = |name: &str, value: &[u8]| all.insert(name.into(), value.to_vec());
        set("DOCUMENT_ROOT", document_root);
        set("SCRIPT_NAME", &self.name);
        set("SCRIPT_FILENAME", self.script.as_os_str().as_bytes());
        if !self.info.is_empty() {
            set("PATH_INFO", &self.info);
            set("PATH_TRANSLATED", &[document_root, &self.info].concat());
        }
        if self.script.file_name().is_some_and(|name| name.as_bytes().starts_with(b"nph-")) {
            // A script that speaks HTTP itself shall not use what this server does for it: chunks.
            set("SERVER_PROTOCOL", b"HTTP/1.0");
        }
        all.extend(rules.environment.iter().map(|(name, value)| (name.clone().into(), value.clone().into())));
        all.into_iter().map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))).collect()
    }
}

/// Finds what the order is about: the first part of its path that is a file.
///
/// # Errors
/// Why nothing is started, with more for the log where there is more to say.
pub(super) fn find(order: &Order<'_>, rules: &Rules) -> Result<Found, (Refused, String)> {
    let plain = |why| (why, String::new());
    let mut script = rules.root.clone();
    let mut name_end = 0;
    let mut rest = order.path;
    while let Some(after) = rest.strip_prefix(b"/") {
        let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
        let segment = &after[..end];
        if segment.is_empty() {
            break;
        }
        // As with files: what begins with a dot is not there.
        if segment[0] == b'.' {
            return Err(plain(Refused::Missing));
        }
        script.push(OsStr::from_bytes(segment));
        name_end += 1 + end;
        rest = &after[end..];
        let metadata = look(&script)?;
        if !metadata.is_dir() {
            let name = [order.mount, &order.path[..name_end]].concat();
            return judge(script, name, rest.to_vec(), &metadata, rules);
        }
    }
    index(&script, rest, order, rules)
}

/// The index of a directory.
fn index(folder: &Path, rest: &[u8], order: &Order<'_>, rules: &Rules) -> Result<Found, (Refused, String)> {
    for name in &rules.index {
        let script = folder.join(name);
        let Ok(metadata) = look(&script) else { continue };
        if metadata.is_dir() {
            continue;
        }
        if rest.is_empty() {
            return Err((Refused::Directory, String::new()));
        }
        let name = [order.mount, order.path, name.as_bytes()].concat();
        return judge(script, name, Vec::new(), &metadata, rules);
    }
    Err((Refused::Missing, String::new()))
}

fn look(path: &Path) -> Result<Metadata, (Refused, String)> {
    path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            (Refused::Missing, String::new())
        }
        io::ErrorKind::PermissionDenied => (Refused::Forbidden, format!("{} cannot be seen", path.display())),
        _ => (Refused::Failed, format!("{}: {error}", path.display())),
    })
}

/// Whether a file is a script under the rules, and lies where scripts may.
fn judge(
    script: PathBuf,
    name: Vec<u8>,
    info: Vec<u8>,
    metadata: &Metadata,
    rules: &Rules,
) -> Result<Found, (Refused, String)> {
    let interpreter = interpreter(&script, rules);
    let is_program = rules.executables && metadata.permissions().mode() & 0o111 != 0;
    let program = match interpreter {
        Some(interpreter) => interpreter.clone(),
        None if is_program => script.clone(),
        None => {
            let text = format!("{} is not executable, and nothing runs its kind", script.display());
            return Err((Refused::NoScript, text));
        }
    };
    if !metadata.is_file() {
        return Err((Refused::Forbidden, format!("{} is no file", script.display())));
    }
    let lies_below = script.canonicalize().and_then(|real| Ok(real.starts_with(rules.root.canonicalize()?)));
    match lies_below {
        Ok(true) => Ok(Found { program, script, name, info }),
        Ok(false) => {
            Err((Refused::Forbidden, format!("{} leads out of the directory of scripts", script.display())))
        }
        Err(error) => Err((Refused::Failed, format!("{}: {error}", script.display()))),
    }
}

fn interpreter<'a>(script: &Path, rules: &'a Rules) -> Option<&'a PathBuf> {
    let name = script.file_name()?.as_bytes();
    let ends_so = |(ending, _): &(&String, &PathBuf)| name.ends_with(ending.as_bytes());
    let best = rules.interpreters.iter().filter(ends_so).max_by_key(|(ending, _)| ending.len());
    best.map(|(_, program)| program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::starter::tests::{Folder, rules};
    use ringway_http::cgi::order::OrderWriter;

    fn asked(path: &str, rules: &Rules) -> Result<(String, String, String, String), Refused> {
        let mut memory = Vec::new();
        let writer = OrderWriter::new(&mut memory, 0, false, b"/cgi", path.as_bytes());
        let bytes = writer.finish().expect("small");
        let order = Order::parse(bytes).expect("an order");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = find(&order, rules).map_err(|(why, _)| why)?;
        let below = found.script.strip_prefix(&rules.root).expect("it lies there");
        Ok((
            found.program.display().to_string(),
            below.display().to_string(),
            text(&found.name),
            text(&found.info),
        ))
    }

    #[test]
    fn paths_name_scripts_and_what_follows_them() {
        let folder = Folder::new("find");
        let own = folder.script("a.cgi", "");
        folder.script("deep/b", "");
        folder.file("deep/index.php", "");
        folder.file("plain.txt", "");
        folder.file(".hidden.php", "");
        std::os::unix::fs::symlink("/bin/sh", folder.path().join("out")).expect("a link");
        std::os::unix::fs::symlink("a.cgi", folder.path().join("in")).expect("a link");
        let mut rules = rules(&folder);
        rules.interpreters = [(".php".to_owned(), "/usr/bin/php-cgi".into())].into();
        rules.index = vec!["index.cgi".to_owned(), "index.php".to_owned()];
        let expect = |program: &str, script: &str, name: &str, info: &str| {
            Ok((program.to_owned(), script.to_owned(), name.to_owned(), info.to_owned()))
        };
        let own = own.display().to_string();
        let php = "/usr/bin/php-cgi";
        assert_eq!(asked("/a.cgi", &rules), expect(&own, "a.cgi", "/cgi/a.cgi", ""));
        assert_eq!(asked("/a.cgi/", &rules), expect(&own, "a.cgi", "/cgi/a.cgi", "/"));
        assert_eq!(asked("/a.cgi/x/y z", &rules), expect(&own, "a.cgi", "/cgi/a.cgi", "/x/y z"));
        assert_eq!(asked("/deep/b", &rules).map(|found| found.2), Ok("/cgi/deep/b".to_owned()));
        assert_eq!(asked("/deep/", &rules), expect(php, "deep/index.php", "/cgi/deep/index.php", ""));
        assert!(asked("/in", &rules).is_ok());
        assert_eq!(asked("/deep", &rules), Err(Refused::Directory));
        for missing in ["/", "/none", "/none/a.cgi", "/.hidden.php", "/deep/.x/b"] {
            assert_eq!(asked(missing, &rules), Err(Refused::Missing), "{missing}");
        }
        assert_eq!(asked("/plain.txt", &rules), Err(Refused::NoScript));
        assert_eq!(asked("/out", &rules), Err(Refused::Forbidden));
        assert_eq!(asked(&format!("/{}", "x".repeat(300)), &rules), Err(Refused::Missing));
        rules.executables = false;
        assert_eq!(asked("/a.cgi", &rules), Err(Refused::NoScript));
    }

    #[test]
    fn what_the_operator_wants_wins_and_what_is_known_here_replaces_what_was_said() {
        let folder = Folder::new("find-environment");
        let script = folder.script("nph-a", "");
        let mut rules = rules(&folder);
        rules.document_root = "/srv/www".into();
        rules.environment = [("SERVER_NAME", "said"), ("MINE", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let mut memory = Vec::new();
        let mut writer = OrderWriter::new(&mut memory, 0, false, b"", b"/nph-a/x");
        for (name, value) in [
            ("SCRIPT_FILENAME", "/etc/passwd"),
            ("SERVER_NAME", "a"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("HTTP_A", "b"),
        ] {
            writer.variable(name.as_bytes(), value.as_bytes());
        }
        let order = Order::parse(writer.finish().expect("small")).expect("an order");
        let found = find(&order, &rules).expect("it is there");
        let told: Vec<String> = found
            .environment(&order, &rules)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        let script = format!("SCRIPT_FILENAME={}", script.display());
        assert_eq!(
            told,
            [
                "DOCUMENT_ROOT=/srv/www",
                "HTTP_A=b",
                "MINE=1",
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "PATH_INFO=/x",
                "PATH_TRANSLATED=/srv/www/x",
                script.as_str(),
                "SCRIPT_NAME=/nph-a",
                "SERVER_NAME=said",
                "SERVER_PROTOCOL=HTTP/1.0",
            ]
        );
    }
}
