//! `cgi-fcgi` of libfcgi: as a client of a program of ours, and as who starts PHP for the server.

use crate::program::Program;
use crate::scripts::scripts;
use crate::stand::{PATIENCE, Setup, Stand, drivers, text, upstream};
use ringway_testkit::Scratch;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn another_client_gets_what_a_program_of_ours_says() {
    let place = Scratch::new("cgi-fcgi");
    let program = Program::start(&place, "ours", |served, request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let said = format!(
            "Content-Type: text/plain\r\n\r\n{} {} {body}",
            request.param("REQUEST_METHOD"),
            request.param("CONTENT_LENGTH")
        );
        served.answer(&said).map(|_| request.keep)
    });
    let socket = program.address();
    let mut child = Command::new("cgi-fcgi")
        .args(["-bind", "-connect", socket.trim_start_matches("unix:")])
        .env_clear()
        .envs([("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "5")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.ends_with("POST 5 hello"), "{said}");
}

#[test]
fn programs_that_it_has_started_answer() {
    let place = Scratch::new("cgi-fcgi-start");
    scripts(&place);
    for driver in drivers() {
        let socket = place.path().join(format!("{driver:?}.sock"));
        // It starts the program with its socket, and ends.
        let started = Command::new("cgi-fcgi")
            .args(["-start", "-connect"])
            .arg(&socket)
            .args(["/usr/bin/php-cgi8.2", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(started.success(), "{started}");
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "it does not listen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let address = format!("unix:{}", socket.display());
        let stand = Stand::blog(Setup { place: &place, driver, upstream: upstream(&[&address]) });
        for n in 0..20 {
            let answer = stand.get(&format!("/p?n={n}"));
            assert_eq!(text(&answer), format!("front GET /p?n={n} n={n}"));
        }
        stand.stop();
        end_those_behind(&socket);
    }
}

/// Ends the programs whose command was given this socket: they have no parent that could.
fn end_those_behind(socket: &std::path::Path) {
    let inodes = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let name = socket.display().to_string();
    let inode =
        |line: &str| line.ends_with(&name).then(|| line.split_whitespace().nth(6).unwrap_or("").to_owned());
    let wanted: Vec<String> =
        inodes.lines().filter_map(inode).map(|inode| format!("socket:[{inode}]")).collect();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let is_php = std::fs::read_link(entry.path().join("exe"))
            .is_ok_and(|exe| exe.to_string_lossy().contains("php-cgi"));
        let holds = |fd: &std::path::Path| {
            std::fs::read_link(fd)
                .is_ok_and(|link| wanted.iter().any(|socket| link.as_os_str() == socket.as_str()))
        };
        let descriptors = std::fs::read_dir(entry.path().join("fd"));
        let is_behind = is_php && descriptors.is_ok_and(|all| all.flatten().any(|fd| holds(&fd.path())));
        if is_behind {
            let _ended = Command::new("kill").arg(number.to_string()).status();
        }
    }
}
