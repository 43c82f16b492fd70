//! Scripts under a supervisor: a process of their own starts them, and they end with whoever wanted them.

use crate::stand::{Running, Stand, eventually, get, on_both_drivers, stat};
use ringway_testkit::{Answer, Client};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

/// A stand with scripts below `/cgi`.
fn stand(name: &str, driver: &str, scripts: &[(&str, &str)]) -> Stand {
    let mut stand = Stand::new(&format!("run-scripts-{name}-{driver}"), driver);
    std::fs::create_dir(stand.at("cgi")).unwrap();
    for (name, text) in scripts {
        let name = format!("cgi/{name}");
        stand.file(&name, format!("#!/bin/sh\n{text}\n").as_bytes());
        std::fs::set_permissions(stand.at(&name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for folder in ["", "cgi"] {
        std::fs::set_permissions(stand.at(folder), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    route(&mut stand, "");
    stand
}

fn route(stand: &mut Stand, settings: &str) {
    stand.more = format!("[[site.route]]\npath = \"/cgi/**\"\ncgi = {{ root = \"cgi\"{settings} }}\n");
    stand.write();
}

/// The children of the supervisor that run under this hidden command.
fn children(running: &Running, command: &str) -> Vec<Pid> {
    let is_it = |process: &Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == command.as_bytes())
    };
    running.servers().into_iter().filter(is_it).collect()
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn status_of(process: &str, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

fn wait_until_dead(processes: &str) {
    let is_dead = |process: &str| {
        let stat = Pid::from_raw(process.parse().unwrap()).map(stat).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    eventually(&format!("{processes:?} are gone"), || {
        processes.split_whitespace().all(is_dead).then_some(())
    });
}

/// A script that says its number, writes on when it is told so, and lives on.
const LIVES: &str = "printf 'Content-Type: a/b\\n\\n'; trap '' TERM; sleep 1000 & echo $$ $!; read x < go; echo second; wait; sleep 1000";

/// Asks for such a script; the client and the numbers of its processes.
fn begun(running: &Running) -> (Client, String) {
    let mut client = Client::connect(running.address()).unwrap();
    client.send(b"GET /cgi/lives HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut got = Vec::new();
    // Behind the head a chunk: its size, and a line.
    let is_there = |got: &[u8]| {
        let got = String::from_utf8_lossy(got);
        got.split_once("\r\n\r\n").is_some_and(|(_, body)| body.matches('\n').count() >= 2)
    };
    while !is_there(&got) {
        let mut bytes = [0; 1024];
        let count = client.stream().read(&mut bytes).unwrap();
        assert!(count > 0, "{}", running.said());
        got.extend_from_slice(&bytes[..count]);
    }
    let got = String::from_utf8_lossy(&got).into_owned();
    let body = got.split_once("\r\n\r\n").unwrap().1;
    (client, body.lines().nth(1).unwrap().to_owned())
}

/// Lets it write on, and reads that.
fn go_on(stand: &Stand, client: &Client) {
    std::fs::write(stand.at("cgi/go"), "go\n").unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("second") {
        let mut bytes = [0; 1024];
        let count = client.stream().read(&mut bytes).unwrap();
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&bytes[..count]);
    }
}

#[test]
fn a_confined_server_has_scripts_started_by_a_free_process() {
    on_both_drivers(|driver| {
        let script = "printf 'Content-Type: a/b\\n\\n'; echo $$ $PPID; grep -e ^Seccomp: -e ^NoNewPrivs: /proc/$$/status; cat; echo oops >&2";
        let stand = stand("confined", driver, &[("show", script)]);
        let running = stand.start();
        let starter = children(&running, "script-starter");
        let servers = children(&running, "server-process");
        assert_eq!((starter.len(), servers.len()), (1, 1), "{}", running.said());
        let mut client = Client::connect(running.address()).unwrap();
        client.send(b"POST /cgi/show HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        let told = text(&client.answer(false).unwrap());
        let parent = told.lines().next().unwrap().split(' ').nth(1).unwrap();
        assert_eq!(parent, starter[0].as_raw_nonzero().to_string(), "{told}");
        assert!(told.ends_with("hello") && told.contains("Seccomp:\t0"), "{told}");
        assert_eq!(status_of(&servers[0].as_raw_nonzero().to_string(), "Seccomp:"), "2");
        assert_eq!(get(&mut client, "/").body, b"one");
        let said = eventually("standard error is in the log", || {
            Some(running.said()).filter(|said| said.contains("/cgi/show says: oops"))
        });
        assert!(!said.contains("not answer as it should"), "{said}");
        running.stop();
    });
}

#[test]
fn scripts_end_with_their_server_process_and_with_the_supervisor() {
    on_both_drivers(|driver| {
        let stand = stand("deaths", driver, &[("lives", LIVES)]);
        let mut running = stand.start();
        let (client, processes) = begun(&running);
        kill_process(children(&running, "server-process")[0], Signal::KILL).unwrap();
        wait_until_dead(&processes);
        drop(client);
        running.wait_to_say("Serving again");
        assert_eq!(children(&running, "script-starter").len(), 1, "the other one has ended");
        let (client, processes) = begun(&running);
        // Who starts scripts may die as well: another one does it.
        kill_process(children(&running, "script-starter")[0], Signal::KILL).unwrap();
        wait_until_dead(processes.split(' ').next().unwrap());
        drop(client);
        kill_process(
            Pid::from_raw(processes.split(' ').nth(1).unwrap().trim().parse().unwrap()).unwrap(),
            Signal::KILL,
        )
        .unwrap();
        running.wait_to_say("who starts the scripts of server process 2 has died");
        eventually("there is another one", || {
            (children(&running, "script-starter").len() == 1).then_some(())
        });
        let (client, processes) = begun(&running);
        drop(client);
        wait_until_dead(&processes);
        let (_client, processes) = begun(&running);
        running.signal(Signal::TERM);
        running.wait_to_say("Stopping");
        running.signal(Signal::TERM);
        assert!(running.wait().success());
        wait_until_dead(&processes);
    });
}

#[test]
fn scripts_live_through_reloads_and_upgrades() {
    on_both_drivers(|driver| {
        let mut stand = stand(
            "changes",
            driver,
            &[("lives", LIVES), ("user", "printf 'Content-Type: a/b\\n\\n'; id -u; echo $A")],
        );
        let made = std::process::Command::new("mkfifo").arg(stand.at("cgi/go")).status().unwrap();
        assert!(made.success());
        let running = stand.start();
        let (client, processes) = begun(&running);
        stand.upgrade();
        go_on(&stand, &client);
        assert!(processes.split_whitespace().all(|process| !status_of(process, "State:").is_empty()));
        drop(client);
        wait_until_dead(&processes);
        let (client, processes) = begun(&running);
        stand.more =
            "[[site.route]]\npath = \"/cgi/**\"\ncgi = { root = \"cgi\", environment = { A = \"new\" } }\n"
                .to_owned();
        stand.write();
        assert!(stand.reload().contains("because what a server process keeps all its life has changed"));
        assert!(text(&running.get("/cgi/user")).ends_with("new\n"));
        go_on(&stand, &client);
        drop(client);
        wait_until_dead(&processes);
        eventually("the old ones have ended", || {
            (children(&running, "script-starter").len() == 1).then_some(())
        });
        running.stop();
    });
}

#[test]
fn scripts_run_as_who_serves_or_as_somebody_else() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can have scripts run as somebody else");
    }
    let mut stand =
        stand("users", "auto", &[("user", "printf 'Content-Type: a/b\\n\\n'; id -u; id -g; id -G")]);
    stand.server += "user = \"nobody\"\n";
    stand.write();
    let running = stand.start();
    assert_eq!(text(&running.get("/cgi/user")), "65534\n65534\n65534\n", "{}", running.said());
    route(&mut stand, ", user = \"61236\", group = \"61237\"");
    stand.reload();
    assert_eq!(text(&running.get("/cgi/user")), "61236\n61237\n61237\n", "{}", running.said());
    running.stop();
}
