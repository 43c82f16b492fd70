//! The console of a supervisor: what it does itself, and what it passes on.

use crate::stand::{Stand, done, eventually, on_both_drivers, text};
use std::process::{Command, Stdio};

fn with_console(name: &str, driver: &str) -> Stand {
    let mut stand = Stand::new(name, driver);
    stand.console = "socket = \"console.sock\"".to_owned();
    stand.write();
    stand
}

fn console(stand: &Stand, words: &[&str]) -> std::process::Output {
    // By its socket: a configuration that is broken by now does not say where that is.
    let mut command = Command::new(crate::stand::binary());
    command.args(["console", "--socket"]).arg(stand.at("console.sock")).args(words);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn commands_reach_the_server_process_and_the_supervisor() {
    on_both_drivers(|driver| {
        let mut stand = with_console(&format!("run-console-{driver}"), driver);
        let running = stand.start();
        assert_eq!(running.get("/").body, b"one");
        assert!(done(&console(&stand, &["status"])).contains(driver));
        stand.root = "other".to_owned();
        stand.write();
        assert!(done(&console(&stand, &["reload"])).contains("server process 2"));
        assert_eq!(running.get("/").body, b"two");
        stand.more = "nonsense = 1".to_owned();
        stand.write();
        let refused = console(&stand, &["reload"]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
        stand.more = String::new();
        stand.write();
        assert!(done(&console(&stand, &["reopen"])).contains("opened anew"));
        assert!(done(&console(&stand, &["upgrade"])).contains("new program starts"));
        eventually("it is upgraded", || running.said().contains("Upgraded").then_some(()));
        assert!(done(&console(&stand, &["status"])).contains(driver), "the new program's console");
        running.stop();
        assert!(!stand.at("console.sock").exists());
    });
}

#[test]
fn the_console_stops_the_server() {
    let stand = with_console("run-console-stop", "auto");
    let mut running = stand.start();
    done(&console(&stand, &["stop"]));
    assert!(running.wait().success());
}

#[test]
fn reload_and_upgrade_go_by_the_console_where_there_is_one() {
    let mut stand = with_console("run-console-ask", "auto");
    let running = stand.start();
    // Whoever has not the pid file still has the console.
    std::fs::remove_file(stand.at("pid")).unwrap();
    stand.root = "other".to_owned();
    stand.write();
    assert!(stand.reload().contains("server process 2"));
    assert!(stand.upgrade().contains("server process 3"));
    assert_eq!(running.get("/").body, b"two");
    stand.more = "nonsense = 1".to_owned();
    stand.write();
    let refused = stand.ask("reload");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("nonsense"), "{}", text(&refused.stderr));
    running.stop();
}
