//! Hand-overs under load: nobody is refused, cut off or told wrong while configurations and programs change.

use crate::stand::{Running, Stand, binary, eventually, get, is_slow_run, on_both_drivers, text};
use ringway_testkit::{Client, Rng};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A run of the load.
struct Scale {
    time: Duration,
    reloads: u32,
    upgrades: u32,
    clients: usize,
}

impl Scale {
    fn new() -> Self {
        if is_slow_run() {
            Self { time: Duration::from_secs(60), reloads: 20, upgrades: 5, clients: 16 }
        } else {
            Self { time: Duration::from_secs(6), reloads: 6, upgrades: 2, clients: 4 }
        }
    }
}

/// Clients that ask all the time.
struct Load {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let mut load = Self { is_over: Arc::default(), answers: Arc::default(), threads: Vec::new() };
        for number in 0..clients {
            for ask in [keeping, closing] {
                let (is_over, answers) = (Arc::clone(&load.is_over), Arc::clone(&load.answers));
                load.threads.push(std::thread::spawn(move || {
                    let mut rng = Rng::new(number as u64);
                    let mut faults = Vec::new();
                    while !is_over.load(Ordering::Relaxed) && faults.len() < 10 {
                        match ask(address, &mut rng, &answers, &is_over) {
                            Ok(()) => {}
                            Err(fault) => faults.push(fault),
                        }
                    }
                    faults
                }));
            }
        }
        load
    }

    /// How many answers there were; every fault fails the test.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        let faults: Vec<String> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(faults.is_empty(), "{faults:#?}");
        self.answers.load(Ordering::Relaxed)
    }
}

fn is_right(status: u16, body: &[u8]) -> Result<(), String> {
    if status == 200 && (body == b"one" || body == b"two") {
        return Ok(());
    }
    Err(format!("status {status}, {:?}", String::from_utf8_lossy(body)))
}

/// A connection that is kept as long as the server wants.
fn keeping(
    address: SocketAddr,
    rng: &mut Rng,
    answers: &AtomicU64,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let mut client = Client::connect(address).map_err(|error| format!("connect: {error}"))?;
    for request in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        if rng.chance(100) {
            std::thread::sleep(Duration::from_millis(3));
        }
        let asked = client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").and_then(|()| client.answer(false));
        let answer = match asked {
            Ok(answer) => answer,
            // RFC 9112, section 9.3.1: a server may close a connection that waits, and the client asks again on another.
            // A first request has met no idle connection, and no answer may be cut.
            Err(error) if request > 0 && is_closed_idle(&error) => return Ok(()),
            Err(error) => return Err(format!("kept, request {request}: {error}")),
        };
        is_right(answer.status, &answer.body)?;
        answers.fetch_add(1, Ordering::Relaxed);
        if answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

fn is_closed_idle(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// A connection for one request.
fn closing(address: SocketAddr, _: &mut Rng, answers: &AtomicU64, _: &AtomicBool) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("closing: {error}");
    let mut client = Client::connect(address).map_err(fault)?;
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").map_err(fault)?;
    let answer = client.answer(false).map_err(fault)?;
    is_right(answer.status, &answer.body)?;
    answers.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A download that takes as long as the run, and the hash of what came.
fn slow_download(address: SocketAddr, bytes: usize, time: Duration) -> JoinHandle<(usize, u64)> {
    std::thread::spawn(move || {
        let mut client = Client::connect(address).unwrap();
        client.send(b"GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let (began, mut got, mut hasher) = (Instant::now(), Vec::new(), DefaultHasher::new());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = client.stream().read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..read]);
            let due = time.mul_f64((got.len() as f64 / bytes as f64).min(1.0));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let head = got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        hasher.write(&got[head..]);
        (got.len() - head, hasher.finish())
    })
}

#[test]
fn nobody_notices_reloads_and_upgrades() {
    on_both_drivers(|driver| {
        let scale = Scale::new();
        let mut stand = Stand::new(&format!("run-load-{driver}"), driver);
        stand.server += "drain = \"120s\"\n";
        stand.server = stand.server.replace("drain = \"30s\"\n", "");
        stand.write();
        let large: Vec<u8> =
            (0..48_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        stand.file("site/large", &large);
        let running = stand.start();
        let time = scale.time.mul_f64(1.1);
        let download = slow_download(running.address(), large.len(), time);
        let load = Load::start(running.address(), scale.clients);
        let began = Instant::now();
        let steps = scale.reloads + scale.upgrades;
        for step in 0..steps {
            if (step + 1) % (steps / scale.upgrades) == 0 {
                stand.upgrade();
            } else {
                // Alternately beyond the sandbox and within it.
                stand.root = if step % 2 == 0 { "other" } else { "site" }.to_owned();
                stand.write();
                stand.reload();
            }
            let due = scale.time.mul_f64(f64::from(step + 1) / f64::from(steps));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let answers = load.end();
        assert!(answers > 100, "{answers} answers");
        let mut hasher = DefaultHasher::new();
        hasher.write(&large);
        assert_eq!(
            download.join().unwrap(),
            (large.len(), hasher.finish()),
            "the download lived through all of it"
        );
        eventually("the old server processes end", || (running.servers().len() == 1).then_some(()));
        let said = running.stop();
        assert!(!said.contains("died"), "{said}");
        eprintln!(
            "{driver}: {answers} answers over {} reloads and {} upgrades",
            scale.reloads, scale.upgrades
        );
    });
}

/// A program of this name that can be replaced.
fn installed(stand: &Stand) -> PathBuf {
    let program = stand.at("ringway");
    copy(Path::new(binary()), &program);
    program
}

/// Puts a script into the place of the program.
fn replace(stand: &Stand, script: &str) {
    stand.file("script", script.as_bytes());
    std::fs::set_permissions(stand.at("script"), std::fs::Permissions::from_mode(0o755)).unwrap();
    install(stand, &stand.at("script"));
}

/// Puts another file into the place of the program, as a package manager does.
fn install(stand: &Stand, file: &Path) {
    copy(file, &stand.at("new"));
    std::fs::rename(stand.at("new"), stand.at("ringway")).unwrap();
}

/// By another process: a file that this one has open for writing, and a child of another test inherits for a moment, cannot
/// be executed.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-p").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_new_program_that_cannot_take_over_changes_nothing() {
    let stand = Stand::new("run-bad-program", "auto");
    let program = installed(&stand);
    let running = Running::start(stand.command(&program, "run"), stand.at("pid"));
    let mut kept = Client::connect(running.address()).unwrap();
    assert_eq!(get(&mut kept, "/").body, b"one");
    let servers = running.servers();
    for (script, complaint) in [
        ("#!/bin/sh\necho no such setting >&2; exit 2\n", "the new program says: no such setting"),
        (
            "#!/bin/sh\necho '{\"state\":999,\"control\":1,\"program\":\"9.9\"}'\n",
            "ringway 9.9 cannot take over",
        ),
        ("not a program", "cannot execute"),
    ] {
        replace(&stand, script);
        let output = stand.ask("upgrade");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("the old program goes on") && told.contains(complaint), "{told}");
    }
    assert_eq!(get(&mut kept, "/").body, b"one", "not even the connection has ended");
    assert_eq!(running.servers(), servers);
    running.stop();
}

#[test]
fn a_new_program_that_does_not_come_to_serve_gives_way_to_the_old_one() {
    let stand = Stand::new("run-no-server", "auto");
    let program = installed(&stand);
    let mut running = Running::start(stand.command(&program, "run"), stand.at("pid"));
    let mut kept = Client::connect(running.address()).unwrap();
    assert_eq!(get(&mut kept, "/").body, b"one");
    let servers = running.servers();
    // It passes the rehearsal and takes over, but its server processes end at once: nobody may write their log, not even
    // root without its power.
    stand.file("closed.log", b"");
    std::fs::set_permissions(stand.at("closed.log"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let good = std::fs::read_to_string(stand.config()).unwrap();
    stand.file("bad.toml", good.replace("format = \"off\"", "path = \"closed.log\"").as_bytes());
    let (real, bad) = (binary(), stand.at("bad.toml"));
    let take_over = format!("exec '{real}' run -c '{}' --take-over", bad.display());
    replace(
        &stand,
        &format!("#!/bin/sh\nif [ \"$4\" = --take-over ]; then {take_over}; fi\nexec '{real}' \"$@\"\n"),
    );
    let output = stand.ask("upgrade");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    running.wait_to_say("not upgraded, the old program goes on");
    assert_eq!(get(&mut kept, "/").body, b"one", "not even the connection has ended");
    assert_eq!(running.servers(), servers);
    // The one that was there can do all that it could.
    install(&stand, Path::new(binary()));
    stand.upgrade();
    assert_eq!(running.get("/").body, b"one");
    running.stop();
}

#[test]
fn the_file_that_lies_there_now_is_executed() {
    let stand = Stand::new("run-new-program", "auto");
    let program = installed(&stand);
    let running = Running::start(stand.command(&program, "run"), stand.at("pid"));
    // Another file of the same name, as a package manager puts it there.
    install(&stand, Path::new(binary()));
    let before = running.process();
    assert!(stand.upgrade().contains("Upgraded"));
    assert_eq!(running.get("/").body, b"one");
    let now = std::fs::read_link(format!("/proc/{}/exe", before.as_raw_nonzero())).unwrap();
    assert_eq!(now, std::fs::canonicalize(&program).unwrap(), "under the same number");
    // And once more: what was executed can itself hand over.
    assert!(stand.upgrade().contains("Upgraded"));
    running.stop();
    assert!(Path::new(&program).exists());
}
