//! Service managers: sockets they pass, and what they are told.

use crate::stand::{Running, Stand, binary, get, on_both_drivers};
use ringway_testkit::Client;
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts it as a service manager does: with a socket as descriptor 3.
fn activated(stand: &Stand, listener: TcpListener, name: &str) -> Running {
    let script = format!(
        "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$0\" run -c \"$1\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, binary()]).arg(stand.config()).stdin(Stdio::from(OwnedFd::from(listener)));
    Running::start(command, stand.at("pid"))
}

#[test]
fn a_passed_socket_is_taken_by_its_address_and_kept() {
    on_both_drivers(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut stand = Stand::new(&format!("run-activated-{driver}"), driver);
        stand.listen = address.to_string();
        stand.write();
        let running = activated(&stand, listener, "web");
        let ask = || get(&mut Client::connect(address).unwrap(), "/").body;
        assert_eq!(ask(), b"one");
        stand.root = "other".to_owned();
        stand.write();
        stand.reload();
        assert_eq!(ask(), b"two");
        stand.upgrade();
        assert_eq!(ask(), b"two");
        running.stop();
    });
}

#[test]
fn a_passed_socket_is_taken_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut stand = Stand::new("run-named", "auto");
    stand.listen = "systemd:web".to_owned();
    stand.write();
    let running = activated(&stand, listener, "web");
    assert_eq!(get(&mut Client::connect(address).unwrap(), "/").body, b"one");
    running.stop();
}

#[test]
fn a_socket_that_is_not_passed_is_missed() {
    let mut stand = Stand::new("run-unpassed", "auto");
    stand.listen = "systemd:web".to_owned();
    stand.write();
    let output = stand.ask("run");
    let complaint = crate::stand::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint.contains("no socket was passed for systemd:web"), "{complaint}");
}

#[test]
fn the_service_manager_hears_what_happens() {
    let stand = Stand::new("run-notify", "auto");
    let manager = UnixDatagram::bind(stand.at("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let bytes = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..bytes]).into_owned()
    };
    let wait_for = |what: &str| loop {
        let heard = hear();
        if heard.contains(what) {
            return heard;
        }
    };
    let mut command = stand.command(std::path::Path::new(binary()), "run");
    command.env("NOTIFY_SOCKET", stand.at("notify")).env("WATCHDOG_USEC", "1000000");
    let running = Running::start(command, stand.at("pid"));
    let main = format!("MAINPID={}\n", running.process().as_raw_nonzero());
    assert!(wait_for("READY=1").contains(&main));
    wait_for("WATCHDOG=1");
    stand.reload();
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    stand.upgrade();
    wait_for("RELOADING=1");
    assert!(wait_for("READY=1").contains(&main), "the number stays");
    wait_for("WATCHDOG=1");
    running.signal(Signal::TERM);
    wait_for("STOPPING=1");
}
