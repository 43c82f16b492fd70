//! Deaths: of server processes, of the supervisor, and of what never came to live.

use crate::stand::{Stand, eventually, get, on_both_drivers, stat, text};
use ringway_testkit::Client;
use rustix::process::{Signal, kill_process};
use std::path::Path;

#[test]
fn a_server_process_that_dies_is_started_again_and_who_waits_is_served() {
    on_both_drivers(|driver| {
        let stand = Stand::new(&format!("run-death-{driver}"), driver);
        let mut running = stand.start();
        for death in 1..4 {
            let servers = running.servers();
            assert_eq!(servers.len(), 1);
            kill_process(servers[0], Signal::KILL).unwrap();
            // What it had accepted ends with it; from here on nobody has.
            running.wait_to_say(&format!("server process {death} died"));
            // Nobody serves now, perhaps; nobody is refused.
            let answers: Vec<_> = (0..8).map(|_| running.get("/")).collect();
            assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == b"one"));
            running.wait_to_say(&format!("Serving again, by server process {}", death + 1));
        }
        assert!(running.said().contains("was ended by signal 9"));
        running.stop();
    });
}

#[test]
fn without_its_supervisor_a_server_process_finishes_and_ends() {
    on_both_drivers(|driver| {
        let stand = Stand::new(&format!("run-orphan-{driver}"), driver);
        stand.file("site/large", &vec![b'x'; 8 << 20]);
        let mut running = stand.start();
        let servers = running.servers();
        let mut download = Client::connect(running.address()).unwrap();
        download.send(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        running.signal(Signal::KILL);
        let answer = download.answer(false).unwrap();
        assert_eq!(answer.body.len(), 8 << 20, "what was under way is finished");
        drop(download);
        running.wait();
        eventually("the server process ends", || {
            let state = stat(servers[0]);
            (state.is_empty() || state.contains(") Z ")).then_some(())
        });
    });
}

#[test]
fn a_port_that_somebody_has_is_said_clearly() {
    let mut stand = Stand::new("run-port", "auto");
    let running = stand.start();
    stand.listen = running.address().to_string();
    stand.write();
    let output = stand.ask("run");
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    let address = running.address();
    assert_eq!(
        complaint,
        format!("ringway: cannot listen on {address}: another program listens there already.\n")
    );
    assert_eq!(running.get("/").body, b"one", "the one that was there goes on");
    running.stop();
}

#[test]
fn what_cannot_start_says_why_and_ends() {
    let mut stand = Stand::new("run-start", "auto");
    stand.more = "unknown = true".to_owned();
    stand.write();
    let output = stand.ask("run");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("unknown"));
    assert!(!stand.at("pid").exists());
    let mut nowhere = stand.command(Path::new(crate::stand::binary()), "run");
    let output = nowhere.arg("-c").arg("/nowhere.toml").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere.toml"));
}

#[test]
fn the_pid_file_is_there_as_long_as_the_server() {
    let stand = Stand::new("run-pid", "auto");
    let running = stand.start();
    let written = std::fs::read_to_string(&running.pid_file).unwrap();
    assert_eq!(written.trim(), running.process().as_raw_nonzero().to_string());
    let mut client = Client::connect(running.address()).unwrap();
    assert_eq!(get(&mut client, "/").status, 200);
    drop(client);
    running.stop();
    assert!(!stand.at("pid").exists() && !stand.at("pid.status").exists());
}

#[test]
fn a_supervisor_whose_words_nobody_hears_goes_on() {
    let stand = Stand::new("run-unheard", "auto");
    let mut child = stand
        .command(Path::new(crate::stand::binary()), "run")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The reader of its standard error goes away before it says anything.
    drop(child.stderr.take());
    eventually("it serves", || stand.at("pid.status").exists().then_some(()));
    stand.reload();
    assert!(child.try_wait().unwrap().is_none(), "it lives");
    kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
