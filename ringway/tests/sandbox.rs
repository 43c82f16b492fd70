//! The sandbox from inside: what a restricted process can still do, and what it cannot.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use ringway::sandbox::{Identity, Layer, Outward, Rules, State, restrict, seal};
use std::io::ErrorKind::PermissionDenied;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Names what the child does.
const SCENE: &str = "RINGWAY_TEST_SCENE";

/// Filter violations kill with this signal (SIGSYS).
const BAD_CALL: i32 = 31;

/// Runs a scene in a process of its own.
fn play(scene: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    let arguments = ["--exact", "the_child", "--nocapture", "--test-threads=1"];
    Command::new(this).args(arguments).env(SCENE, scene).output().unwrap()
}

fn plays_well(scene: &str) {
    let output = play(scene);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scene}: {}\n{text}", output.status);
    if text.contains("SKIPPED") {
        eprintln!("{text}");
    }
}

/// The child's part of the tests; nothing when it is no child.
#[test]
fn the_child() {
    match std::env::var(SCENE).as_deref() {
        Ok("files") => files(),
        Ok("calls") => calls(),
        Ok("rings") => rings(),
        Ok("user") => user(),
        Ok("root") => root(),
        Ok("stranger") => stranger(),
        Ok("off") => off(),
        Ok("reach") => reach(),
        Ok(hostile) => {
            let layers = restrict(&rules()).unwrap();
            if !is_active(&layers, "seccomp") {
                return eprintln!("SKIPPED: {layers:?}");
            }
            let survived = match hostile {
                "exec" => Command::new("/bin/true").exec(),
                "mount" => rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::DETACH)
                    .unwrap_err()
                    .into(),
                "chroot" => rustix::process::chroot("/").unwrap_err().into(),
                other => panic!("no scene {other}"),
            };
            panic!("{hostile}: {survived}");
        }
        Err(_no_child) => {}
    }
}

#[test]
fn files_beyond_the_rules_are_out_of_reach() {
    plays_well("files");
}

#[test]
fn calls_that_a_server_does_not_make_are_refused() {
    plays_well("calls");
}

#[test]
fn a_running_server_makes_no_more_rings() {
    plays_well("rings");
}

#[test]
fn another_user_is_assumed_for_good_with_its_groups() {
    plays_well("user");
}

#[test]
fn root_keeps_no_power() {
    plays_well("root");
}

#[test]
fn who_is_not_root_becomes_nobody_else() {
    plays_well("stranger");
}

#[test]
fn only_the_ports_of_the_rules_are_connected_to() {
    plays_well("reach");
}

#[test]
fn without_sandbox_everything_goes() {
    plays_well("off");
}

#[test]
fn what_only_an_intruder_does_kills_the_process() {
    for scene in ["exec", "mount", "chroot"] {
        let output = play(scene);
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("SKIPPED") {
            eprintln!("{text}");
            continue;
        }
        assert_eq!(output.status.signal(), Some(BAD_CALL), "{scene}: {}\n{text}", output.status);
    }
}

fn folder() -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringway-sandbox-{}", std::process::id()));
    std::fs::create_dir_all(path.join("site")).unwrap();
    std::fs::create_dir_all(path.join("log")).unwrap();
    std::fs::write(path.join("site/index.html"), "hello").unwrap();
    path
}

fn rules() -> Rules {
    Rules { read: vec![folder().join("site")], write: vec![folder().join("log")], ..Rules::default() }
}

fn is_active(layers: &[Layer], name: &str) -> bool {
    layers.iter().any(|layer| layer.name == name && layer.is_active())
}

fn kind<T>(result: io::Result<T>) -> Result<(), io::ErrorKind> {
    result.map(drop).map_err(|error| error.kind())
}

fn files() {
    let folder = folder();
    let layers = restrict(&rules()).unwrap();
    if !is_active(&layers, "landlock") {
        return eprintln!("SKIPPED: {layers:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("site/index.html")).unwrap(), "hello");
    assert_eq!(kind(std::fs::read("/etc/passwd")), Err(PermissionDenied));
    assert_eq!(kind(std::fs::read_dir("/")), Err(PermissionDenied));
    assert_eq!(kind(std::fs::write(folder.join("site/new"), "x")), Err(PermissionDenied));
    std::fs::write(folder.join("log/access.log"), "a line\n").unwrap();
    std::fs::rename(folder.join("log/access.log"), folder.join("log/access.log.1")).unwrap();
    std::fs::remove_file(folder.join("log/access.log.1")).unwrap();
}

fn calls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let layers = restrict(&rules()).unwrap();
    if !is_active(&layers, "seccomp") {
        return eprintln!("SKIPPED: {layers:?}");
    }
    // What a server does.
    let (mut peer, _) = listener.accept().unwrap();
    client.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
    assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7, "threads start");
    // What it does not.
    let packets = rustix::net::AddressFamily::PACKET;
    let raw = rustix::net::socket(packets, rustix::net::SocketType::RAW, None);
    assert_eq!(raw.map(drop), Err(rustix::io::Errno::PERM));
    assert_eq!(kind(TcpStream::connect(address)), Err(PermissionDenied));
    assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), Err(PermissionDenied));
    assert_eq!(kind(Command::new("/bin/true").status()), Err(PermissionDenied), "no other process");
    let parent = rustix::process::getppid().unwrap();
    assert!(rustix::process::test_kill_process(parent).is_err(), "no signals");
}

fn rings() {
    use ringway::engine::ring::{DriverChoice, Ring, RingOptions};
    let options = RingOptions { driver: DriverChoice::Uring, ..RingOptions::default() };
    if !is_active(&restrict(&rules()).unwrap(), "seccomp") {
        return eprintln!("SKIPPED: no seccomp");
    }
    let ring = match Ring::new(&options) {
        Ok(ring) => ring,
        Err(error) => return eprintln!("SKIPPED: {error}"),
    };
    let (asked, answers) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        answers.recv().unwrap();
        kind(Ring::new(&options))
    });
    assert!(seal().is_active());
    asked.send(()).unwrap();
    assert_eq!(other.join().unwrap(), Err(PermissionDenied), "threads that run already are covered");
    let auto = Ring::new(&RingOptions::default()).unwrap();
    assert_eq!(auto.report().driver, "epoll");
    drop(ring);
}

fn reach() {
    let (wanted, other) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let read = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"].map(PathBuf::from).to_vec();
    let outward = Outward { upstreams: true, names: true, ..Outward::default() };
    let rules = Rules { read, connect: vec![port(&wanted)], outward, ..Rules::default() };
    let layers = restrict(&rules).unwrap();
    if !is_active(&layers, "landlock") || !is_active(&layers, "seccomp") {
        return eprintln!("SKIPPED: {layers:?}");
    }
    assert!(TcpStream::connect(("localhost", port(&wanted))).is_ok(), "by its name");
    if layers.iter().any(|layer| layer.to_string().contains("not covered")) {
        return eprintln!("SKIPPED: this landlock refuses no ports");
    }
    assert_eq!(kind(TcpStream::connect(("127.0.0.1", port(&other)))), Err(PermissionDenied));
    assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), Err(PermissionDenied));
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: only root can become somebody else");
    }
    is_root
}

fn user() {
    if !is_root() {
        return;
    }
    let identity =
        Identity { name: "somebody".to_owned(), user: 65_534, group: 65_533, groups: vec![65_532] };
    let layers = restrict(&Rules { identity: Some(identity), ..rules() }).unwrap();
    assert!(is_active(&layers, "user") && is_active(&layers, "capabilities"), "{layers:?}");
    assert_eq!(rustix::process::geteuid().as_raw(), 65_534);
    assert_eq!(rustix::process::getegid().as_raw(), 65_533);
    let groups = rustix::process::getgroups().unwrap();
    assert_eq!(groups.iter().map(|group| group.as_raw()).collect::<Vec<_>>(), [65_532]);
    let root = rustix::process::Uid::ROOT;
    assert!(rustix::thread::set_thread_res_uid(root, root, root).is_err());
}

fn root() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let layers = restrict(&rules()).unwrap();
    assert!(is_active(&layers, "capabilities"), "{layers:?}");
    let user = layers.iter().find(|layer| layer.name == "user").unwrap();
    assert!(matches!(&user.state, State::Unavailable(why) if why.contains("serves as root")), "{user}");
    let held = rustix::thread::capabilities(None).unwrap();
    assert!(held.effective.is_empty() && held.permitted.is_empty());
    // Root's power was to write where it may not.
    use std::os::unix::fs::PermissionsExt;
    let log = folder.join("log/closed");
    std::fs::write(&log, "").unwrap();
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o000)).unwrap_err();
}

fn stranger() {
    if !is_root() {
        return;
    }
    let somebody = Identity { name: "a".to_owned(), user: 65_534, group: 65_534, groups: Vec::new() };
    let other = Identity { user: 65_533, name: "b".to_owned(), ..somebody.clone() };
    let off = |identity| Rules { is_off: true, identity: Some(identity), ..Rules::default() };
    restrict(&off(somebody.clone())).unwrap();
    assert!(restrict(&off(somebody)).is_ok(), "who it is already");
    let refused = restrict(&off(other)).unwrap_err();
    assert_eq!(refused, "cannot serve as b: only root can change the user");
}

fn off() {
    let layers = restrict(&Rules { is_off: true, ..Rules::default() }).unwrap();
    assert!(layers.iter().filter(|layer| layer.state == State::Off).count() >= 4, "{layers:?}");
    assert!(std::fs::read("/etc/passwd").is_ok());
    assert!(Command::new("/bin/true").status().is_ok());
}
