//! A starter on a thread, and tests that play the server: real scripts, real groups of processes.

use super::{Rules, thread};
use ringway_http::cgi::order::{Notice, Order, OrderWriter, RELEASE, Refused};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A temporary directory of scripts.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ringway-starter-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary folder");
        std::fs::write(&path, text).expect("a temporary file");
        path
    }

    pub(super) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn rules(folder: &Folder) -> Rules {
    Rules {
        root: folder.path().to_owned(),
        document_root: folder.path().to_owned(),
        index: Vec::new(),
        interpreters: [].into(),
        executables: true,
        run_as: None,
        environment: [].into(),
        cpu_seconds: Some(10),
        memory_bytes: Some(1 << 30),
        processes: None,
        open_files: Some(64),
        run_ms_max: 60_000,
        at_once: 8,
        waiting: 8,
        wait_ms_max: 20_000,
    }
}

/// One script as its server sees it.
struct Run {
    control: UnixStream,
    output: UnixStream,
    input: Option<UnixStream>,
    unread: Vec<u8>,
}

fn stream() -> (UnixStream, OwnedFd) {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("sockets");
    let near = UnixStream::from(near);
    near.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (near, far)
}

fn send(server: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent = sendmsg(server, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty());
    assert_eq!(sent.expect("the starter is there"), bytes.len());
}

impl Run {
    fn start(server: &OwnedFd, path: &str, with_input: bool) -> Self {
        let mut memory = Vec::new();
        let mut order = OrderWriter::new(&mut memory, 0, with_input, b"", path.as_bytes());
        order.variable(b"REQUEST_METHOD", b"GET");
        let (control, control_end) = stream();
        let (output, output_end) = stream();
        let (input, input_end) = with_input.then(stream).unzip();
        let ends: Vec<BorrowedFd<'_>> = [Some(&control_end), Some(&output_end), input_end.as_ref()]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
            .collect();
        send(server, order.finish().expect("small"), &ends);
        Self { control, output, input, unread: Vec::new() }
    }

    /// The next notice in words; `None` at the end.
    fn notice(&mut self) -> Option<String> {
        loop {
            if let Some((notice, length)) = Notice::read(&self.unread).expect("a notice") {
                let words = match notice {
                    Notice::Said(text) => format!("said {}", text.escape_ascii()),
                    other => format!("{other:?}"),
                };
                self.unread.drain(..length);
                return Some(words);
            }
            let mut bytes = [0; 4096];
            match self.control.read(&mut bytes).expect("the starter says something") {
                0 => return None,
                count => self.unread.extend_from_slice(&bytes[..count]),
            }
        }
    }

    fn output(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        text
    }

    /// A line of the output.
    fn line(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while self.output.read(&mut byte).expect("output") == 1 && byte[0] != b'\n' {
            text.push(byte[0]);
        }
        String::from_utf8(text).expect("text")
    }
}

fn is_alive(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // One that waits to be buried does not live.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

fn wait_until_dead(processes: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while processes.iter().any(|process| is_alive(process)) {
        assert!(Instant::now() < deadline, "some of {processes:?} live");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_script_reads_writes_and_complains() {
    let folder = Folder::new("talks");
    folder.script("a", "read line; echo \"got $line with $REQUEST_METHOD in $PWD\"; echo oops >&2; exit 7");
    let server = thread(vec![rules(&folder)]).expect("a thread");
    let mut run = Run::start(&server, "/a", true);
    run.input.take().expect("it was asked for").write_all(b"a line\n").expect("it reads");
    assert_eq!(run.notice().as_deref(), Some("Started"));
    assert_eq!(run.output(), format!("got a line with GET in {}\n", folder.path().display()));
    assert_eq!(run.notice().as_deref(), Some("said oops\\n"));
    assert_eq!(run.notice().as_deref(), Some("Ended(7)"));
    run.control.write_all(&[RELEASE]).expect("it listens");
    assert_eq!(run.notice(), None, "nothing is left of it");
}

#[test]
fn without_input_there_is_none_and_background_work_may_finish_the_answer() {
    let folder = Folder::new("background");
    folder.script("a", "cat; (read x < wait; echo second) & echo first");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("wait")).status();
    assert!(made.expect("it is there").success());
    let server = thread(vec![rules(&folder)]).expect("a thread");
    let mut run = Run::start(&server, "/a", false);
    assert_eq!(run.line(), "first");
    assert_eq!((run.notice().as_deref(), run.notice().as_deref()), (Some("Started"), Some("Ended(0)")));
    let mut fifo = File::options().write(true).open(folder.path().join("wait")).expect("the script reads it");
    fifo.write_all(b"go\n").expect("it reads");
    assert_eq!(run.output(), "second\n");
}

#[test]
fn what_is_not_wanted_any_more_ends_with_all_it_started() {
    let folder = Folder::new("unwanted");
    folder.script("a", "trap '' TERM\nsleep 1000 & echo $!\nsh -c 'trap \"\" TERM; sleep 1000' & echo $!\necho $$\nwait; sleep 1000");
    let server = thread(vec![rules(&folder)]).expect("a thread");
    let mut run = Run::start(&server, "/a", false);
    let processes = [run.line(), run.line(), run.line()];
    let processes = processes.each_ref().map(String::as_str);
    assert!(processes.iter().all(|process| is_alive(process)));
    drop(run);
    wait_until_dead(&processes);
}

#[test]
fn a_script_that_was_released_comes_to_its_own_end_and_leaves_nobody() {
    let folder = Folder::new("released");
    folder.script("a", "sleep 1000 & echo $!; echo $$; exec 1>&-; read x < wait; echo done > result");
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("wait")).status();
    assert!(made.expect("it is there").success());
    let server = thread(vec![rules(&folder)]).expect("a thread");
    let mut run = Run::start(&server, "/a", false);
    let processes = [run.line(), run.line()];
    run.control.write_all(&[RELEASE]).expect("it listens");
    drop(run);
    let mut fifo = File::options().write(true).open(folder.path().join("wait")).expect("the script reads it");
    fifo.write_all(b"go\n").expect("it reads");
    wait_until_dead(&processes.each_ref().map(String::as_str));
    let result = std::fs::read_to_string(folder.path().join("result"));
    assert_eq!(result.expect("it came to its end"), "done\n");
}

#[test]
fn time_is_up_once_and_for_all() {
    let folder = Folder::new("overdue");
    folder.script("a", "trap '' TERM; echo $$; while :; do sleep 1000; done");
    folder.script("spin", "echo $$; while :; do :; done");
    let mut rules = rules(&folder);
    rules.run_ms_max = 200;
    let server = thread(vec![rules.clone()]).expect("a thread");
    let mut run = Run::start(&server, "/a", false);
    let process = run.line();
    assert_eq!(run.notice().as_deref(), Some("Started"));
    assert_eq!(run.notice().as_deref(), Some("Overdue"));
    assert_eq!(run.notice().as_deref(), Some("Killed(9)"));
    assert_eq!(run.notice(), None);
    wait_until_dead(&[&process]);
    rules.run_ms_max = 60_000;
    rules.cpu_seconds = Some(1);
    let server = thread(vec![rules]).expect("a thread");
    let mut run = Run::start(&server, "/spin", false);
    run.line();
    assert_eq!(run.notice().as_deref(), Some("Started"));
    assert!(matches!(run.notice().as_deref(), Some("Killed(9)" | "Killed(24)")));
}

#[test]
fn memory_and_processes_are_bounded() {
    let folder = Folder::new("bounded");
    folder.script("memory", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
    folder.script("bomb", "b() { b | b & }; b; b; b; wait; echo survived");
    let mut rules = rules(&folder);
    rules.memory_bytes = Some(64 << 20);
    if rustix::process::geteuid().is_root() {
        // The kernel does not hold root to a number of processes; and nobody else of this test's user is counted then.
        rules.run_as = Some(super::Numbers { user: 61_234, group: 61_234, groups: Vec::new() });
        rules.processes = Some(20);
        rules.run_ms_max = 2_000;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a folder");
    }
    let server = thread(vec![rules.clone()]).expect("a thread");
    let mut run = Run::start(&server, "/memory", false);
    assert_eq!(run.output(), "");
    // Shells either say that there is no room, or die of it.
    let is_end = |notice: &String| notice.starts_with("Ended") || notice.starts_with("Killed");
    let notices: Vec<String> =
        std::iter::from_fn(|| run.notice()).take_while(|notice| !is_end(notice)).collect();
    assert_eq!(notices.first().map(String::as_str), Some("Started"));
    assert!(notices.iter().all(|notice| !notice.contains("Overdue")), "{notices:?}");
    if rules.processes.is_none() {
        eprintln!("SKIPPED: without root the processes of this user are counted together");
        return;
    }
    let mut run = Run::start(&server, "/bomb", false);
    assert_eq!(run.notice().as_deref(), Some("Started"));
    while run.notice().is_some_and(|notice| !notice.starts_with("Ended") && !notice.starts_with("Killed")) {}
    drop(run);
    let deadline = Instant::now() + PATIENCE;
    while processes_of(61_234) > 0 {
        assert!(processes_of(61_234) <= 20, "the limit holds");
        assert!(Instant::now() < deadline, "the whole bomb is gone");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn processes_of(user: u32) -> usize {
    let all = std::fs::read_dir("/proc").expect("it is there").flatten();
    let own = all.filter(|entry| {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        status.contains(&format!("Uid:\t{user}\t")) && !status.contains("State:\tZ")
    });
    own.count()
}

#[test]
fn so_many_run_so_many_wait_and_others_are_refused() {
    let folder = Folder::new("busy");
    folder.script("a", "echo $$; read x");
    let mut rules = rules(&folder);
    (rules.at_once, rules.waiting) = (1, 1);
    let server = thread(vec![rules.clone()]).expect("a thread");
    let mut first = Run::start(&server, "/a", true);
    assert_eq!(first.notice().as_deref(), Some("Started"));
    let mut second = Run::start(&server, "/a", true);
    let mut third = Run::start(&server, "/a", true);
    assert!(third.notice().is_some_and(|notice| notice.starts_with("Refused(Busy")), "one runs, one waits");
    drop(second.input.take());
    drop(first);
    assert_eq!(second.notice().as_deref(), Some("Started"), "the first has ended");
    // One that is not waited for any more leaves its place.
    rules.wait_ms_max = 100;
    let server = thread(vec![rules]).expect("a thread");
    let mut first = Run::start(&server, "/a", true);
    assert_eq!(first.notice().as_deref(), Some("Started"));
    drop(Run::start(&server, "/a", true));
    let mut waits = Run::start(&server, "/a", true);
    let said = waits.notice().expect("it is told");
    assert!(said.starts_with("Refused(Busy") && said.contains("waited"), "{said}");
}

#[test]
fn what_cannot_be_started_is_refused_in_words() {
    let folder = Folder::new("refused");
    folder.file("plain", "");
    let lost = folder.script("lost", "");
    std::fs::write(&lost, "#!/nowhere/interpreter\n").expect("a file");
    let text = folder.script("text", "");
    std::fs::write(&text, "no program\n").expect("a file");
    let server = thread(vec![rules(&folder)]).expect("a thread");
    let refused = |path: &str| Run::start(&server, path, false).notice().expect("it is told");
    assert!(refused("/none").starts_with(&format!("Refused({:?}", Refused::Missing)));
    assert!(refused("/plain").contains("is not executable"));
    assert!(refused("/lost").contains("its interpreter is missing"));
    assert!(refused("/text").contains("is no program"));
}

#[test]
fn a_server_that_is_gone_takes_all_with_it_and_nonsense_harms_nobody() {
    let folder = Folder::new("gone");
    folder.script("a", "trap '' TERM; echo $$; sleep 1000");
    let server = thread(vec![rules(&folder)]).expect("a thread");
    send(&server, b"nonsense", &[]);
    let (mut near, far) = stream();
    send(&server, b"more of it", &[far.as_fd()]);
    drop(far);
    assert_eq!(near.read(&mut [0; 8]).expect("it ends"), 0, "what came with it is not kept");
    let mut memory = Vec::new();
    let order = OrderWriter::new(&mut memory, 99, false, b"", b"/a").finish().expect("small");
    assert!(Order::parse(order).is_ok());
    let (mut near, far) = stream();
    send(&server, order, &[far.as_fd()]);
    drop(far);
    assert_eq!(near.read(&mut [0; 8]).expect("it ends"), 0, "there are no such rules");
    let mut run = Run::start(&server, "/a", false);
    let process = run.line();
    drop(server);
    wait_until_dead(&[&process]);
}
