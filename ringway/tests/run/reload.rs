//! Reloads: what is done by the same server process, what by another one, and what not at all.

use crate::stand::{Stand, eventually, get, on_both_drivers, text};
use ringway_testkit::Client;
use rustix::process::Signal;
use std::net::TcpListener;

#[test]
fn a_configuration_within_the_sandbox_is_taken_by_the_same_server_process() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-swap-{driver}"), driver);
        stand.file("site/deep.html", b"deep");
        let running = stand.start();
        let servers = running.servers();
        let mut kept = Client::connect(running.address()).unwrap();
        assert_eq!(get(&mut kept, "/").body, b"one");
        stand.more = "index = [\"deep.html\"]".to_owned();
        stand.write();
        assert!(stand.reload().contains("by the same server process"));
        assert_eq!(get(&mut kept, "/").body, b"deep", "open connections meet the new configuration");
        assert_eq!(running.get("/").body, b"deep");
        assert_eq!(running.servers(), servers);
        running.stop();
    });
}

#[test]
fn a_configuration_beyond_the_sandbox_is_taken_by_another_server_process() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-beyond-{driver}"), driver);
        let running = stand.start();
        let servers = running.servers();
        assert_eq!(running.get("/").body, b"one");
        stand.root = "other".to_owned();
        stand.write();
        let said = stand.reload();
        assert!(said.contains("server process 2") && said.contains("beyond the sandbox"), "{said}");
        assert_eq!(running.get("/").body, b"two");
        let alone = || Some(running.servers()).filter(|now| now.len() == 1);
        assert_ne!(eventually("the old one ends", alone), servers);
        running.stop();
    });
}

#[test]
fn other_workers_need_another_server_process() {
    let mut stand = Stand::new("run-workers", "auto");
    let running = stand.start();
    stand.server = "workers = 3".to_owned();
    stand.write();
    assert!(stand.reload().contains("keeps all its life"));
    assert_eq!(running.get("/").body, b"one");
    running.stop();
}

#[test]
fn what_cannot_be_used_changes_nothing_and_says_so() {
    let mut stand = Stand::new("run-broken", "auto");
    let mut running = stand.start();
    let servers = running.servers();
    for (broken, complaint) in [
        ("nonsense = 1", "nonsense"),
        ("listing = \"perhaps\"", "listing"),
        ("[[endpoint]]\nname = \"more\"\nlisten = [\"192.0.2.1:80\"]", "192.0.2.1:80"),
    ] {
        stand.more = broken.to_owned();
        stand.write();
        let output = stand.ask("reload");
        let complaint_told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{broken}: {complaint_told}");
        assert!(
            complaint_told.contains("not reloaded") && complaint_told.contains(complaint),
            "{complaint_told}"
        );
        assert_eq!(running.get("/").body, b"one");
    }
    assert_eq!(running.servers(), servers);
    running.wait_to_say("not reloaded, everything is as it was");
    stand.more = String::new();
    stand.write();
    stand.reload();
    running.stop();
}

#[test]
fn a_hangup_reloads() {
    let mut stand = Stand::new("run-hangup", "auto");
    let mut running = stand.start();
    stand.root = "other".to_owned();
    stand.write();
    running.signal(Signal::HUP);
    running.wait_to_say("Reloaded");
    assert_eq!(running.get("/").body, b"two");
    running.stop();
}

#[test]
fn addresses_come_and_go() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stand = Stand::new("run-addresses", "auto");
    let running = stand.start();
    let more = free();
    stand.more = format!("[[endpoint]]\nname = \"more\"\nlisten = [\"{more}\"]");
    stand.write();
    assert!(stand.reload().contains("by the same server process"));
    let mut client = Client::connect(more).unwrap();
    assert_eq!(get(&mut client, "/").body, b"one");
    drop(client);
    stand.more = String::new();
    stand.write();
    stand.reload();
    assert!(Client::connect(more).is_err(), "nobody listens there any more");
    assert_eq!(running.get("/").body, b"one", "the others stay");
    running.stop();
}

#[test]
fn a_root_that_was_replaced_is_served_without_being_asked() {
    let mut stand = Stand::new("run-replaced", "auto");
    stand.root = "current".to_owned();
    std::os::unix::fs::symlink("site", stand.at("current")).unwrap();
    stand.write();
    let mut running = stand.start();
    assert_eq!(running.get("/").body, b"one");
    std::fs::remove_file(stand.at("current")).unwrap();
    std::os::unix::fs::symlink("other", stand.at("current")).unwrap();
    running.wait_to_say("was replaced, and is served by server process 2");
    assert_eq!(running.get("/").body, b"two");
    running.stop();
}

#[test]
fn without_a_server_there_is_nothing_to_reload() {
    let stand = Stand::new("run-nobody", "auto");
    let output = stand.ask("reload");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no server runs"), "{}", text(&output.stderr));
}
