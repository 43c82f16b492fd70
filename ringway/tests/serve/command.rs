//! The command line: what it refuses and how it says so, and how a server stops.

use crate::server::{Driver, Setup, age, binary, eventually, pattern};
use ringway_testkit::Scratch;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

on_both_drivers!(
    a_signal_stops_an_idle_server,
    a_download_under_way_is_finished,
    a_reader_that_stops_does_not_hold_the_stop_up,
    a_second_signal_ends_at_once,
    what_was_accepted_is_still_served,
);

/// Runs the binary to its end.
fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).env("RUST_BACKTRACE", "1").output().expect("it runs")
}

/// Asserts that it says one sentence with `words` in it, and no more than where help is.
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("ringway: ") && said.contains(words), "{words:?} in {said}");
    let sentence = said.lines().next().unwrap_or_default();
    assert!(sentence.ends_with('.') && !sentence.contains("panicked"), "{said}");
    assert!(said.lines().skip(1).all(|line| line == "Try 'ringway --help'."), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_use_is_explained_in_a_sentence() {
    let site = Scratch::new("wrong-use");
    let root = site.path().to_str().expect("UTF-8");
    for (arguments, words) in [
        (&["serv"][..], "serv"),
        (&["--frobnicate"], "frobnicate"),
        (&["-x"], "-x"),
        (&["serve", root, "--frobnicate"], "frobnicate"),
        (&["serve", root, root], "second"),
        (&["serve", root, "--listen"], "--listen"),
        (&["serve", root, "--listen", "nonsense"], "\"nonsense\""),
        (&["serve", root, "--listen", "127.0.0.1"], "\"127.0.0.1\""),
        (&["serve", root, "--listen", "127.0.0.1:99999"], "\"127.0.0.1:99999\""),
        (&["serve", root, "--listen", "unix:"], "unix:"),
        (&["serve", root, "--workers", "0"], "from 1 to 1024"),
        (&["serve", root, "--workers", "1025"], "from 1 to 1024"),
        (&["serve", root, "--workers", "two"], "\"two\""),
        (&["serve", root, "--workers", "-1"], "-1"),
        (&["serve", root, "--idle-timeout", "0"], "--idle-timeout"),
        (&["serve", root, "--head-timeout", "1.5"], "--head-timeout"),
        (&["serve", root, "--body-timeout", "1000000"], "--body-timeout"),
        (&["serve", root, "--send-timeout", ""], "--send-timeout"),
        (&["serve", root, "--drain", "x"], "--drain"),
        (&["serve", root, "--max-connections", "0"], "--max-connections"),
        (&["serve", root, "--max-per-address", "99999999999"], "--max-per-address"),
        (&["serve", root, "--fast-open", "65536"], "--fast-open"),
        (&["serve", root, "--driver", "kqueue"], "auto, uring and epoll"),
        (&["serve", root, "--wait", "never"], "never"),
        (&["serve", root, "--balance", "fair"], "reuseport and least-loaded"),
        (&["serve", root, "--log", "xml"], "combined, json and off"),
        (&["serve", root, "--no-listing=maybe"], "maybe"),
    ] {
        assert_refused(&run(arguments), words);
    }
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let output =
        Command::new(binary()).arg("serve").arg(root).arg("--index").arg(odd).output().expect("it runs");
    assert_refused(&output, "UTF-8");
}

#[test]
fn what_cannot_be_had_is_explained_in_a_sentence() {
    let site = Scratch::new("cannot");
    let file = site.file("root/file.txt", b"a");
    let root = site.path().join("root");
    let root = root.to_str().expect("UTF-8");
    let missing = site.path().join("missing");
    let listen = ["--listen", "127.0.0.1:0"];
    let serve = |path: &Path, more: &[&str]| {
        let mut arguments = vec!["serve", path.to_str().expect("UTF-8")];
        arguments.extend(listen);
        arguments.extend(more);
        run(&arguments)
    };
    assert_refused(&serve(&missing, &[]), "there is no such directory");
    assert_refused(&serve(&file, &[]), "it is not a directory");
    assert_refused(&serve(&missing.join("deeper"), &[]), "there is no such directory");
    let log = missing.join("access.log");
    assert_refused(
        &serve(Path::new(root), &["--log-file", log.to_str().expect("UTF-8")]),
        "cannot write the log",
    );
    assert_refused(&serve(Path::new(root), &["--log-file", root]), "cannot write the log");
    let busy = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = busy.local_addr().expect("bound").to_string();
    assert_refused(&run(&["serve", root, "--listen", &address]), "another program does");
    assert_refused(&run(&["serve", root, "--listen", "192.0.2.1:8080"]), "does not have that address");
    let socket = format!("unix:{}/socket", missing.display());
    assert_refused(&run(&["serve", root, "--listen", &socket]), "cannot listen on");
    let long = format!("unix:{}/{}", site.path().display(), "x".repeat(200));
    assert_refused(&run(&["serve", root, "--listen", &long]), "cannot listen on");
    let taken = format!("unix:{}", file.display());
    assert_refused(&run(&["serve", root, "--listen", &taken]), "cannot listen on");
    assert_eq!(std::fs::read(&file).expect("ours"), b"a", "a file in the socket's place stays");
    let live = site.path().join("live");
    let listener = std::os::unix::net::UnixListener::bind(&live).expect("a socket");
    let live = format!("unix:{}", live.display());
    assert_refused(&run(&["serve", root, "--listen", &live]), "another program does");
    drop(listener);
}

#[test]
fn a_root_that_may_not_be_read_is_explained_in_a_sentence() {
    use std::os::unix::fs::PermissionsExt;
    let site = Scratch::new("forbidden");
    site.file("root/file.txt", b"a");
    let root = site.path().join("root");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o000)).expect("ours");
    let command = if rustix::process::geteuid().is_root() {
        // Nobody in particular, who can still execute the binary.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", binary()]);
        let works = command.arg("--version").output().is_ok_and(|output| output.status.success());
        if !works {
            eprintln!("SKIPPED: nobody but root can run {} here", binary());
            return;
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", binary()]);
        Some(command)
    } else {
        Some(Command::new(binary()))
    };
    let mut command = command.expect("a command");
    let output = command.arg("serve").arg(&root).args(["--listen", "127.0.0.1:0"]).output().expect("it runs");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("ours");
    assert_refused(&output, "this user may not read it");
}

#[test]
fn help_and_version_are_printed() {
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    for arguments in [&["--help"][..], &["-h"], &["help"], &[]] {
        assert!(text(arguments).contains("ringway serve [DIR]"), "{arguments:?}");
    }
    let help = text(&["serve", "--help"]);
    for option in ["--listen", "--workers", "--driver", "--wait", "--log", "--index", "--drain", "Exit codes"]
    {
        assert!(help.contains(option), "{option}");
    }
    let version = format!("ringway {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&["--version"]), version);
    assert_eq!(text(&["-V"]), version);
    for arguments in [["--version", "--verbose"], ["--verbose", "--version"]] {
        let verbose = text(&arguments);
        assert!(verbose.starts_with(&version), "{verbose}");
        for line in ["kernel ", "cores ", "driver ", "tcp fast open "] {
            assert!(verbose.lines().any(|found| found.starts_with(line)), "{line} in {verbose}");
        }
    }
    // A reader that does not want to hear it is no error.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = Command::new(binary()).arg("--help").stdout(writer).status().expect("it runs");
    assert!(status.success(), "{status:?}");
}

#[test]
fn without_addresses_it_says_what_it_serves_where() {
    // The default port may be taken on this machine; then it says that.
    let site = Scratch::new("defaults");
    let output = Command::new("timeout")
        .args(["--signal=INT", "1", binary(), "serve", "--workers", "1"])
        .current_dir(site.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("another program does") {
        assert_refused(&output, "choose a port with --listen");
        return;
    }
    let root = site.path().canonicalize().expect("there");
    for words in
        [&format!("Serving {}", root.display()), "at http://127.0.0.1:8080/", "1 worker", "Stopped: "]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
}

fn site() -> (Scratch, Vec<u8>) {
    let site = Scratch::new("stop");
    let large = pattern(8 * 1024 * 1024);
    age(&site.file("large.bin", &large));
    age(&site.file("a.txt", b"a"));
    (site, large)
}

/// Waits until nobody can connect any more.
fn until_closed(address: std::net::SocketAddr) {
    eventually("it stops listening", || TcpStream::connect(address).err());
}

fn a_signal_stops_an_idle_server(driver: Driver) {
    let (site, _) = site();
    for signal in [Signal::INT, Signal::TERM] {
        let server = Setup::new(driver, site.path()).with(&["--workers", "2"]).start();
        let mut idle = server.client();
        idle.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        assert_eq!(idle.answer(false).expect("an answer").status, 200);
        let started = Instant::now();
        server.signal(signal);
        assert_eq!(idle.until_end().expect("a FIN, no reset"), b"");
        drop(idle);
        let ended = server.wait().cleanly();
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert!(
            ended.stderr.contains("Stopping: ") && ended.stderr.contains("Stopped: 1 connections"),
            "{}",
            ended.stderr
        );
    }
}

fn a_download_under_way_is_finished(driver: Driver) {
    let (site, large) = site();
    let server = Setup::new(driver, site.path()).start();
    let mut stream = server.narrow("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut all = vec![0; 10_000];
    stream.read_exact(&mut all).expect("it sends");
    server.signal(Signal::TERM);
    until_closed(server.address());
    // Asked before it knew: this is the connection's last answer.
    stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    stream.read_to_end(&mut all).expect("a FIN, no reset");
    let body = all.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert!(all[body..body + large.len()] == large);
    let next = String::from_utf8_lossy(&all[body + large.len()..]).into_owned();
    assert!(next.is_empty() || next.contains("Connection: close\r\n") && next.ends_with("\na"), "{next}");
    drop(stream);
    server.wait().cleanly();
}

fn a_reader_that_stops_does_not_hold_the_stop_up(driver: Driver) {
    let (site, _) = site();
    let server = Setup::new(driver, site.path()).with(&["--drain", "1"]).start();
    let mut stopped = server.narrow("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    stopped.read_exact(&mut [0; 10_000]).expect("it sends");
    let mut half = server.client();
    half.send(b"GET /a.txt HT").expect("it reads");
    let mut posting = server.client();
    posting.send(b"POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx").expect("it reads");
    assert_eq!(server.get("/a.txt").status, 200, "it has come around to all of them");
    let started = Instant::now();
    server.signal(Signal::TERM);
    server.wait().cleanly();
    let took = started.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    stopped.read_to_end(&mut Vec::new()).expect_err("a body that is cut must not look whole");
}

fn a_second_signal_ends_at_once(driver: Driver) {
    let (site, _) = site();
    let server = Setup::new(driver, site.path()).with(&["--drain", "600"]).start();
    let mut stopped = server.narrow("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    stopped.read_exact(&mut [0; 10_000]).expect("it sends");
    server.signal(Signal::TERM);
    until_closed(server.address());
    let started = Instant::now();
    server.signal(Signal::INT);
    let ended = server.wait();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()), "{}", ended.stderr);
}

/// Connections whose requests came before the signal are answered, not reset.
fn what_was_accepted_is_still_served(driver: Driver) {
    let (site, _) = site();
    let server = Setup::new(driver, site.path()).with(&["--workers", "2"]).start();
    server.signal(Signal::STOP);
    let mut waiting: Vec<_> = (0..50).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for client in &mut waiting {
        let answer = client.answer(false).expect("an answer");
        assert_eq!(answer.body, b"a");
        assert_eq!(client.until_end().expect("a FIN, no reset"), b"");
    }
    drop(waiting);
    server.wait().cleanly();
}
