//! The access log: every request in it, in both formats; what goes wrong with it is the log's affair alone.

use crate::server::{Driver, Server, Setup, age, eventually, pattern};
use ringway_testkit::Scratch;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

on_both_drivers!(
    every_request_is_in_the_log_when_the_server_stops,
    both_formats_say_what_happened,
    what_peers_send_cannot_break_a_line,
    a_log_file_is_appended_to,
    a_file_that_was_moved_away_is_opened_anew_and_no_record_is_lost,
    a_file_that_is_large_enough_is_numbered_and_no_record_is_lost,
    a_full_disk_does_not_stop_the_service,
    a_log_nobody_reads_does_not_stop_the_service,
    a_log_whose_reader_is_gone_does_not_stop_the_service,
);

fn site() -> Scratch {
    let site = Scratch::new("log");
    age(&site.file("a.txt", b"contents"));
    age(&site.file("large.bin", &pattern(2_000_000)));
    site
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn every_request_is_in_the_log_when_the_server_stops(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--log", "json", "--workers", "2"]).start();
    let count = 3000;
    std::thread::scope(|scope| {
        for quarter in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                let numbers = (0..count).filter(|number| number % 4 == quarter);
                let requests =
                    numbers.clone().map(|number| format!("GET /a.txt?{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
                client.send(requests.collect::<String>().as_bytes()).expect("it reads");
                assert!(
                    client
                        .answers(numbers.count())
                        .expect("answers")
                        .iter()
                        .all(|answer| answer.status == 200)
                );
            });
        }
    });
    // At once: nothing has been written for sure.
    let ended = server.stop().cleanly();
    assert!(!ended.stderr.contains("missing"), "{}", ended.stderr);
    let lines = text(&ended.stdout).lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let targets: HashSet<String> =
        lines.map(|line| line["target"].as_str().expect("a target").to_owned()).collect();
    let missing = (0..count).find(|number| !targets.contains(&format!("/a.txt?{number}")));
    assert_eq!((missing, targets.len()), (None, count));
}

/// Has these requests answered one after the other, each on a connection of its own.
fn ask_all(server: &Server, requests: &[&str]) {
    for request in requests {
        let mut client = server.client();
        client.send(request.as_bytes()).expect("it reads");
        client.answer(request.starts_with("HEAD")).expect("an answer");
    }
}

fn both_formats_say_what_happened(driver: Driver) {
    let site = site();
    let requests = [
        "GET /a.txt?x=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: test/1\r\nReferer: http://b/\r\n\r\n",
        "HEAD /a.txt HTTP/1.0\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99\r\n\r\n",
        "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    let server = Setup::new(driver, site.path()).with(&["--log", "json"]).start();
    ask_all(&server, &requests);
    let ended = server.stop().cleanly();
    let lines: Vec<Value> =
        text(&ended.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 200, 404, 206, 405, 400].map(Some), "{}", text(&ended.stdout));
    assert_eq!(lines[0]["method"], "GET");
    assert_eq!(lines[0]["target"], "/a.txt?x=1");
    assert_eq!(lines[0]["host"], "example.org");
    assert_eq!(lines[0]["user_agent"], "test/1");
    assert_eq!(lines[0]["referer"], "http://b/");
    assert_eq!(
        (&lines[0]["bytes"], &lines[1]["bytes"], &lines[3]["bytes"]),
        (&8.into(), &0.into(), &100.into())
    );
    assert!(lines.iter().all(|line| line["remote"] == "127.0.0.1"), "refused ones too: {lines:?}");

    let server = Setup::new(driver, site.path()).with(&["--log", "combined"]).start();
    ask_all(&server, &requests);
    let ended = server.stop().cleanly();
    let lines: Vec<&str> = text(&ended.stdout).lines().collect();
    assert_eq!(lines.len(), requests.len(), "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("127.0.0.1 - - [")), "{lines:?}");
    for (line, end) in lines.iter().zip([
        r#"] "GET /a.txt?x=1 HTTP/1.1" 200 8 "http://b/" "test/1""#,
        r#"] "HEAD /a.txt HTTP/1.0" 200 "#,
        r#"] "GET /none HTTP/1.1" 404 "#,
        r#"] "GET /large.bin HTTP/1.1" 206 100 "#,
        r#"] "POST /a.txt HTTP/1.1" 405 "#,
        r#"] "-" 400 "#,
    ]) {
        assert!(line.contains(end), "{end} in {line}");
    }
}

fn what_peers_send_cannot_break_a_line(driver: Driver) {
    let site = site();
    for format in ["json", "combined"] {
        let server = Setup::new(driver, site.path()).with(&["--log", format]).start();
        let evil =
            b"GET /a.txt?\"\\x\xff%0a<> HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}\\\t\xc3\x28 \x80\r\nReferer: ";
        let mut client = server.client();
        client.send(&[&evil[..], &b"r\"".repeat(4000), b"\r\n\r\n"].concat()).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 200);
        drop(client);
        ask_all(&server, &["GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"]);
        let ended = server.stop().cleanly();
        let log = String::from_utf8(ended.stdout).expect("UTF-8");
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(
            log.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte) || byte >= 0x80),
            "{log}"
        );
        if format == "json" {
            let line: Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
            assert!(
                line["target"].as_str().is_some_and(|target| target.starts_with("/a.txt?\"\\x")),
                "{line}"
            );
            assert!(
                line["referer"].as_str().is_some_and(|referer| referer.len() < 2000),
                "cut to a bearable length"
            );
        }
    }
}

fn a_log_file_is_appended_to(driver: Driver) {
    let site = site();
    let log = site.file("log/access.log", b"before\n");
    for round in 1..=2 {
        let setup = Setup::new(driver, &site.path().join("log"));
        let server = setup.with(&["--log", "combined", "--log-file", log.to_str().expect("UTF-8")]).start();
        ask_all(&server, &["GET /none HTTP/1.1\r\nHost: a\r\n\r\n"; 3]);
        // Written while it runs, not only at the end.
        eventually("the lines are there", || {
            let lines = std::fs::read_to_string(&log).expect("ours").lines().count();
            (lines == 1 + 3 * round).then_some(())
        });
        assert!(server.stop().cleanly().stdout.is_empty());
    }
    assert!(std::fs::read_to_string(&log).expect("ours").starts_with("before\n127.0.0.1 "));
}

/// More requests than a pipe and the server's own buffers hold lines of.
fn flood(server: &Server) {
    let mut client = server.client();
    let request = format!("GET /a.txt?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(900));
    for _ in 0..40 {
        client.send(request.repeat(50).as_bytes()).expect("it reads");
        assert!(client.answers(50).expect("answers").iter().all(|answer| answer.status == 200));
    }
}

/// The `?n` of every record in these files, in order.
fn numbers(paths: &[std::path::PathBuf]) -> Vec<usize> {
    let mut all = Vec::new();
    for path in paths {
        let lines =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let number = |line: &str| line.split_once("/a.txt?")?.1.split(' ').next()?.parse::<usize>().ok();
        all.extend(
            lines.lines().map(|line| number(line).unwrap_or_else(|| panic!("no whole record: {line}"))),
        );
    }
    all.sort_unstable();
    all
}

fn a_file_that_was_moved_away_is_opened_anew_and_no_record_is_lost(driver: Driver) {
    let (site, logs) = (site(), Scratch::new("moved"));
    let path = logs.path().join("access.log");
    let server = Setup::new(driver, site.path())
        .with(&["--log", "combined", "--workers", "2", "--log-file", path.to_str().expect("UTF-8")])
        .start();
    let rounds = 5;
    let mut files = vec![path.clone()];
    for round in 0..rounds {
        let moved = logs.path().join(format!("moved.{round}"));
        // Records of before and after the move are under way while the signal comes.
        std::thread::scope(|scope| {
            for half in 0..2 {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    let first = (round * 2 + half) * 300;
                    let requests =
                        (first..first + 300).map(|n| format!("GET /a.txt?{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
                    client.send(requests.collect::<String>().as_bytes()).expect("it reads");
                    assert_eq!(client.answers(300).expect("answers").len(), 300);
                });
            }
            std::fs::rename(&path, &moved).expect("the log is there");
            server.signal(Signal::USR1);
        });
        eventually("the log is opened anew", || path.exists().then_some(()));
        files.push(moved);
    }
    server.stop().cleanly();
    assert_eq!(numbers(&files), (0..rounds * 600).collect::<Vec<_>>());
}

fn a_file_that_is_large_enough_is_numbered_and_no_record_is_lost(driver: Driver) {
    let (site, logs) = (site(), Scratch::new("sized"));
    let path = logs.path().join("access.log");
    let server = Setup::new(driver, site.path())
        .with(&["--log", "combined", "--workers", "2", "--log-size", "1", "--log-keep", "20"])
        .with(&["--log-file", path.to_str().expect("UTF-8")])
        .start();
    // Records of some 1,100 bytes, as nothing longer of a field is logged.
    let agent = "a".repeat(1100);
    let mut client = server.client();
    let numbered = |number: u32| logs.path().join(format!("access.log.{number}"));
    let mut sent = 0;
    while !numbered(2).exists() {
        assert!(sent < 40_000, "waited in vain: two rotations");
        let requests = (sent..sent + 20)
            .map(|n| format!("GET /a.txt?{n} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n"));
        client.send(requests.collect::<String>().as_bytes()).expect("it reads");
        assert_eq!(client.answers(20).expect("answers").len(), 20);
        sent += 20;
    }
    drop(client);
    server.stop().cleanly();
    let mut files = vec![path.clone()];
    files.extend((1..).map(numbered).take_while(|path| path.exists()));
    for file in &files[1..] {
        let bytes = std::fs::metadata(file).expect("there").len();
        assert!(bytes >= 1 << 20, "{} was begun anew too soon: {bytes}", file.display());
    }
    assert_eq!(numbers(&files), (0..sent).collect::<Vec<_>>());
}

fn a_full_disk_does_not_stop_the_service(driver: Driver) {
    if File::options().append(true).open("/dev/full").is_err() {
        eprintln!("SKIPPED: there is no /dev/full here");
        return;
    }
    let site = site();
    let server =
        Setup::new(driver, site.path()).with(&["--log", "combined", "--log-file", "/dev/full"]).start();
    flood(&server);
    is_calm(&server);
    let ended = server.stop().cleanly();
    assert!(ended.stderr.contains(" 2000 records are missing from the access log"), "{}", ended.stderr);
}

/// Whether the server, having nothing to do, does nothing.
fn is_calm(server: &Server) {
    let busy = || {
        let before = server.cpu_ticks();
        std::thread::sleep(Duration::from_millis(300));
        server.cpu_ticks() - before
    };
    // A tick is 10 ms: one for whatever happens by chance.
    eventually("it is calm", || (busy() <= 1).then_some(()));
}

fn a_log_nobody_reads_does_not_stop_the_service(driver: Driver) {
    let site = site();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let setup =
        Setup::new(driver, site.path()).with(&["--log", "combined", "--drain", "2", "--workers", "2"]);
    let server = setup.start_with(Stdio::from(writer));
    let resident = server.resident_kib();
    flood(&server);
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown <= 4096, "{grown} KiB of lines wait");
    is_calm(&server);
    // A file that is not in memory is read beside the log, not behind it.
    let large = File::open(site.path().join("large.bin")).expect("ours");
    large.sync_all().expect("ours");
    rustix::fs::fadvise(&large, 0, None, rustix::fs::Advice::DontNeed).expect("ours");
    assert!(server.get("/large.bin").body == pattern(2_000_000));
    // Read after all, the log goes on.
    let mut first = vec![0; 100_000];
    reader.read_exact(&mut first).expect("lines");
    assert!(first.starts_with(b"127.0.0.1 - - ["));
    flood(&server);
    let started = Instant::now();
    server.signal(Signal::TERM);
    server.wait().cleanly();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("what the pipe still held");
}

fn a_log_whose_reader_is_gone_does_not_stop_the_service(driver: Driver) {
    let site = site();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let server = Setup::new(driver, site.path()).with(&["--log", "combined"]).start_with(Stdio::from(writer));
    flood(&server);
    drop(reader);
    flood(&server);
    is_calm(&server);
    server.stop().cleanly();
}
