//! `ringway passwd` as its users meet it: files of users made, changed and left whole.

use ringway::web::auth::users::{UserTable, Users};
use ringway_testkit::Scratch;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn passwd(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("passwd").args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // What is refused early is refused before anything is read.
    let _not_read = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("ends")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

#[test]
fn a_file_is_made_for_its_owner_and_kept_as_it_is_otherwise() {
    let folder = Scratch::new("passwd");
    let path = folder.path().join("users");
    let file = path.to_str().expect("UTF-8");
    assert!(passwd(&[file, "alice"], b"first\n").status.success());
    assert_eq!(mode(&path), 0o600);
    let users = Users::open(&path).expect("users");
    assert!(users.table().verify("alice", b"first"));

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("ours");
    std::fs::write(&path, format!("# staff\n{}", std::fs::read_to_string(&path).expect("text")))
        .expect("ours");
    assert!(passwd(&[file, "bob"], "gr\u{fc}n\r\nignored\n".as_bytes()).status.success());
    let changed = passwd(&[file, "alice"], b"second");
    assert!(String::from_utf8_lossy(&changed.stdout).contains("changed the password of alice"));
    assert_eq!(mode(&path), 0o640, "whoever may read it may still");
    assert!(users.reload().expect("users"));
    let table = users.table();
    assert!(table.verify("alice", b"second") && !table.verify("alice", b"first"));
    assert!(table.verify("bob", "gr\u{fc}n".as_bytes()));
    assert!(std::fs::read_to_string(&path).expect("text").starts_with("# staff\nalice:$argon2id$"));

    assert!(passwd(&["--delete", file, "bob"], b"").status.success());
    assert!(users.reload().expect("users") && !users.table().has("bob") && users.table().has("alice"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("ours").collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[test]
fn a_link_stays_a_link() {
    let folder = Scratch::new("passwd-link");
    let path = folder.file("deep/users", b"");
    let link = folder.path().join("users");
    std::os::unix::fs::symlink(&path, &link).expect("ours");
    assert!(passwd(&[link.to_str().expect("UTF-8"), "alice"], b"x\n").status.success());
    assert!(link.is_symlink() && Users::open(&path).expect("users").table().has("alice"));
}

#[test]
fn without_a_file_the_line_is_printed() {
    let output = passwd(&["alice"], b"secret\n");
    let line = String::from_utf8(output.stdout).expect("text");
    assert!(UserTable::parse(&line).expect("a line of users").verify("alice", b"secret"), "{line}");
    assert!(!line.contains("secret") && line.lines().count() == 1);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let folder = Scratch::new("passwd-wrong");
    let path = folder.file("users", b"alice:x\n");
    let file = path.to_str().expect("UTF-8");
    let none = folder.path().join("none/users");
    for (arguments, input, words) in [
        (&[][..], &b"x\n"[..], "name of a user"),
        (&[file, "alice", "more"], b"x\n", "third"),
        (&[file, "a:b"], b"x\n", "is no name"),
        (&[file, ""], b"x\n", "is no name"),
        (&[file, "alice"], b"", "empty"),
        (&[file, "alice"], b"\n", "empty"),
        (&[file, "alice"], b"a\tb\n", "control"),
        (&["--delete", "alice"], b"", "a file and a name"),
        (&["--delete", file, "bob"], b"", "has no user"),
        (&[none.to_str().expect("UTF-8"), "alice"], b"x\n", "cannot write"),
        (&[folder.path().to_str().expect("UTF-8"), "alice"], b"x\n", "is no file"),
    ] {
        let output = passwd(arguments, input);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words) && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read(&path).expect("ours"), b"alice:x\n");
}

#[test]
fn a_configuration_says_where_its_users_are() {
    let folder = Scratch::new("passwd-config");
    let site = |users: &str| {
        let text = format!(
            "[[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n{users}"
        );
        folder.file("ringway.toml", text.as_bytes()).to_str().expect("UTF-8").to_owned()
    };
    let auth = "[site.auth]\nkind = \"basic\"\nusers_file = \"users\"\n";
    let config = site(auth);
    let output = passwd(&["-c", &config, "alice"], b"x\n");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(Users::open(&folder.path().join("users")).expect("users").table().verify("alice", b"x"));
    assert!(passwd(&["-d", "-c", &config, "alice"], b"").status.success());
    let more =
        "[[site.route]]\npath = \"/x/**\"\n[site.route.auth]\nkind = \"basic\"\nusers_file = \"more\"\n";
    folder.file("more", b"");
    for (users, words) in [("", "names no file"), (&*format!("{auth}{more}"), "names several")] {
        let output = passwd(&["-c", &site(users), "alice"], b"x\n");
        assert!(output.status.code() == Some(2) && stderr(&output).contains(words), "{}", stderr(&output));
    }
    let output = passwd(&["-c", &site("nonsense = 1\n"), "alice"], b"x\n");
    assert!(stderr(&output).contains("has errors"), "{}", stderr(&output));
}

/// Runs it on a terminal that `types`; what the terminal showed, and whether it succeeded.
fn on_a_terminal(file: &str, types: &[u8]) -> (String, bool) {
    let terminal =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&terminal).expect("ours");
    unlockpt(&terminal).expect("ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name");
    let other =
        File::options().read(true).write(true).open(name.to_str().expect("UTF-8")).expect("a terminal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["passwd", file, "alice"]);
    command.stdin(other.try_clone().expect("a descriptor")).stdout(Stdio::null()).stderr(other);
    let mut child = command.spawn().expect("starts");
    drop(command);
    let mut terminal = File::from(terminal);
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    // A line is typed when it is asked for, not before: the terminal shows what it is given until it is told not to.
    for line in types.split_inclusive(|&byte| byte == b'\n') {
        let asked = shown.len();
        while !shown[asked..].ends_with(b": ") {
            match terminal.read(&mut piece) {
                Ok(count @ 1..) => shown.extend_from_slice(&piece[..count]),
                _ => break,
            }
        }
        let _gone = terminal.write_all(line);
    }
    // EIO: the other end is closed.
    while let Ok(count @ 1..) = terminal.read(&mut piece) {
        shown.extend_from_slice(&piece[..count]);
    }
    (String::from_utf8_lossy(&shown).into_owned(), child.wait().expect("ends").success())
}

#[test]
fn on_a_terminal_it_asks_twice_and_shows_nothing() {
    let folder = Scratch::new("passwd-terminal");
    let path = folder.path().join("users");
    let file = path.to_str().expect("UTF-8");
    let (shown, is_done) = on_a_terminal(file, b"one\nother\n");
    assert!(!is_done && shown.contains("these are two passwords") && !path.exists(), "{shown}");
    let (shown, is_done) = on_a_terminal(file, b"sec\x03ret\n");
    assert!(!is_done && shown.contains("given up") && !path.exists(), "{shown}");
    let (shown, is_done) = on_a_terminal(file, b"secrex\x7ft\nsecret\n");
    assert!(is_done && shown.contains("Password for alice: ") && shown.contains("Once more: "), "{shown}");
    assert!(!shown.contains("sec"), "{shown}");
    assert!(Users::open(&path).expect("users").table().verify("alice", b"secret"));
}
