//! What a confined server process does as well as a free one, and what it says where it cannot be confined.

use crate::stand::{Running, Stand, binary, on_both_drivers};
use ringway_confine::filter::{Action, Calls, Threads, apply};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Names what the child does.
const SCENE: &str = "RINGWAY_TEST_SCENE";

#[test]
fn every_layer_is_said_and_only_the_root_is_reached() {
    on_both_drivers(|driver| {
        let stand = Stand::new(&format!("run-confined-{driver}"), driver);
        std::os::unix::fs::symlink("../other/index.html", stand.at("site/out")).unwrap();
        let running = stand.start();
        let said = running.said();
        for layer in ["no new privileges", "landlock", "user", "capabilities", "seccomp", "rings"] {
            assert!(said.contains(&format!("sandbox {layer}: ")), "{layer}: {said}");
        }
        assert_eq!(running.get("/").status, 200);
        assert_ne!(running.get("/out").status, 200);
        let server = running.servers()[0];
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.as_raw_nonzero())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
        running.stop();
    });
}

#[test]
fn without_sandbox_it_says_so_and_serves() {
    let mut stand = Stand::new("run-free", "auto");
    stand.server += "sandbox = \"off\"\n";
    stand.write();
    let running = stand.start();
    assert!(
        running.said().contains("sandbox landlock: off") && running.said().contains("sandbox rings: off")
    );
    assert_eq!(running.get("/").body, b"one");
    running.stop();
}

#[test]
fn another_user_serves_when_root_starts() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED: only root can serve as somebody else");
    }
    let mut stand = Stand::new("run-user", "auto");
    stand.server += "user = \"nobody\"\n";
    stand.write();
    let opened = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(stand.at(""), opened).unwrap();
    let running = stand.start();
    assert_eq!(running.get("/").body, b"one");
    let server = running.servers()[0];
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.as_raw_nonzero())).unwrap();
    let users = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(users.split_whitespace().skip(1).all(|user| user == "65534"), "{users}");
    running.stop();
}

/// The child's part: a container's filter, and then the server in the place of this process.
#[test]
fn the_container() {
    let Ok(config) = std::env::var(SCENE) else { return };
    // Docker's default profile since version 25: io_uring is refused with EPERM, clone3 with ENOSYS.
    let refused = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let filter = |calls: &[i64], errno: i32| {
        let calls: Calls = calls.iter().map(|call| (*call, Vec::new())).collect();
        apply(calls, Action::Errno(errno.unsigned_abs()), Action::Allow, Threads::Own).unwrap();
    };
    filter(&refused, libc::EPERM);
    filter(&[libc::SYS_clone3], libc::ENOSYS);
    panic!("{}", Command::new(binary()).args(["run", "-c", &config]).exec());
}

#[test]
fn in_a_container_that_refuses_io_uring_it_serves_by_epoll_and_says_so() {
    let stand = Stand::new("run-container", "auto");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "confined::the_container", "--nocapture", "--test-threads=1"]);
    command.env(SCENE, stand.config());
    let running = Running::start(command, stand.at("pid"));
    assert!(running.said().contains("with epoll (io_uring is not used"), "{}", running.said());
    assert_eq!(running.get("/").body, b"one");
    stand.reload();
    running.stop();
}
