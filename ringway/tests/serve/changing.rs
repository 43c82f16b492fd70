//! Files that change while they are cached and while they are sent: the old bytes, the new ones, or a closed connection.

use crate::server::{Driver, Server, Setup, age, eventually};
use ringway_testkit::{Rng, Scratch};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both_drivers!(
    a_small_file_is_seen_as_it_is_now,
    a_large_file_is_seen_as_it_is_now,
    a_file_replaced_while_it_is_sent,
    a_file_deleted_while_it_is_sent,
    a_file_truncated_while_it_is_sent,
    a_file_that_grows_while_it_is_sent,
    files_under_constant_change,
    a_deploy_that_swings_the_root_is_seen,
    a_root_that_goes_away_and_comes_back,
);

const SMALL_BYTES: usize = 1000;
/// More than the kernel buffers for a client that does not read yet.
const LARGE_BYTES: usize = 8 * 1024 * 1024;

/// Changes are seen within this time, more often than not (the machine may have other things to do): the kernel tells of
/// them. What is only aged takes a second and more.
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// Contents that say which they are at every place.
fn contents(mark: u8, bytes: usize) -> Vec<u8> {
    vec![mark; bytes]
}

/// Asks until `is_seen`, and for how long that took.
fn until_seen(server: &Server, target: &str, is_seen: impl Fn(u16, &[u8]) -> bool) -> Duration {
    let started = Instant::now();
    let mut client = server.client();
    eventually("the change is seen", || {
        let asked = client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let Ok(answer) = asked.and_then(|()| client.answer(false)) else {
            // Cut short together with the file it was sending.
            client = server.client();
            return None;
        };
        is_seen(answer.status, &answer.body).then_some(())
    });
    started.elapsed()
}

fn every_change_is_seen(driver: Driver, bytes: usize) {
    let site = Scratch::new("changes");
    let path = site.file("sub/file.bin", &contents(b'0', bytes));
    age(&path);
    let server = Setup::new(driver, site.path()).start();
    let found = |status: u16, body: &[u8]| {
        until_seen(&server, "/sub/file.bin", |found, got| found == status && (status != 200 || got == body))
    };
    let mut times = Vec::new();
    let mut sees = |what: &'static str, status: u16, body: &[u8]| times.push((found(status, body), what));
    sees("the file", 200, &contents(b'0', bytes));
    // Replaced by a rename, as editors and deploys do.
    std::fs::rename(site.file("sub/new", &contents(b'1', bytes + 1)), &path).expect("ours");
    sees("a rename", 200, &contents(b'1', bytes + 1));
    // Written over in place, with the same length.
    std::fs::write(&path, contents(b'2', bytes + 1)).expect("ours");
    sees("a write", 200, &contents(b'2', bytes + 1));
    let mut file = File::options().append(true).open(&path).expect("ours");
    file.write_all(b"more").expect("ours");
    sees("an append", 200, &[contents(b'2', bytes + 1), b"more".to_vec()].concat());
    file.set_len(10).expect("ours");
    sees("a truncation", 200, &contents(b'2', 10));
    file.set_len(0).expect("ours");
    sees("an empty file", 200, b"");
    std::fs::remove_file(&path).expect("ours");
    sees("a removal", 404, b"");
    std::fs::write(&path, contents(b'3', bytes)).expect("ours");
    // Nobody tells of what comes where nothing was; that nothing was there is not believed for long.
    found(200, &contents(b'3', bytes));
    std::fs::rename(site.path().join("sub"), site.path().join("gone")).expect("ours");
    sees("a directory that moved away", 404, b"");
    site.file("sub/file.bin", &contents(b'4', bytes));
    found(200, &contents(b'4', bytes));
    times.sort_unstable();
    assert!(times[times.len() / 2].0 < SEEN_WITHIN, "{times:?}");
    server.stop().cleanly();
}

fn a_small_file_is_seen_as_it_is_now(driver: Driver) {
    every_change_is_seen(driver, SMALL_BYTES);
}

fn a_large_file_is_seen_as_it_is_now(driver: Driver) {
    every_change_is_seen(driver, 300_000);
}

/// A download of a large file of `0` that has begun: the head and some of the body are here, the rest is not sent yet.
fn begun(server: &Server) -> (TcpStream, Vec<u8>) {
    let mut stream = server.narrow("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).expect("it sends");
    let end = first.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&first[..end]).into_owned();
    assert!(head.contains(&format!("Content-Length: {LARGE_BYTES}\r\n")), "{head}");
    first.drain(..end);
    (stream, first)
}

/// Reads what is left of a download, up to its announced length or the end of the connection.
fn rest_of(download: (TcpStream, Vec<u8>)) -> (TcpStream, Vec<u8>) {
    let (mut stream, mut body) = download;
    let missing = (LARGE_BYTES - body.len()) as u64;
    // A reset ends the body too; what came before it counts.
    let _reset = Read::by_ref(&mut stream).take(missing).read_to_end(&mut body);
    (stream, body)
}

fn large_site() -> Scratch {
    let site = Scratch::new("changing");
    age(&site.file("large.bin", &contents(b'0', LARGE_BYTES)));
    age(&site.file("a.txt", b"a"));
    site
}

fn a_file_replaced_while_it_is_sent(driver: Driver) {
    let site = large_site();
    let server = Setup::new(driver, site.path()).start();
    let download = begun(&server);
    let new = site.file("new.bin", &contents(b'1', LARGE_BYTES));
    std::fs::rename(new, site.path().join("large.bin")).expect("ours");
    until_seen(&server, "/large.bin", |_, body| body.iter().all(|byte| *byte == b'1'));
    let (_, body) = rest_of(download);
    assert!(body.len() == LARGE_BYTES && body.iter().all(|byte| *byte == b'0'), "the old file to its end");
    server.stop().cleanly();
}

fn a_file_deleted_while_it_is_sent(driver: Driver) {
    let site = large_site();
    let server = Setup::new(driver, site.path()).start();
    let download = begun(&server);
    std::fs::remove_file(site.path().join("large.bin")).expect("ours");
    until_seen(&server, "/large.bin", |status, _| status == 404);
    let (_, body) = rest_of(download);
    assert!(body.len() == LARGE_BYTES && body.iter().all(|byte| *byte == b'0'), "the old file to its end");
    server.stop().cleanly();
}

fn a_file_truncated_while_it_is_sent(driver: Driver) {
    let site = large_site();
    let server = Setup::new(driver, site.path()).start();
    let file = File::options().write(true).open(site.path().join("large.bin")).expect("ours");
    for len in [LARGE_BYTES as u64 - 5, LARGE_BYTES as u64 - 1_000_000, 1] {
        std::fs::write(site.path().join("large.bin"), contents(b'0', LARGE_BYTES)).expect("ours");
        until_seen(&server, "/large.bin", |_, body| body.len() == LARGE_BYTES);
        let downloads = [begun(&server), begun(&server)];
        file.set_len(len).expect("ours");
        for download in downloads {
            let (_, body) = rest_of(download);
            assert!(body.len() < LARGE_BYTES, "a body cut to {len} must not look whole");
            // Of a page that is cut while it is on its way the kernel sends zeros.
            assert!(body.iter().all(|byte| matches!(byte, b'0' | 0)));
        }
        assert_eq!(server.get("/a.txt").body, b"a");
    }
    server.stop().cleanly();
}

fn a_file_that_grows_while_it_is_sent(driver: Driver) {
    let site = large_site();
    let server = Setup::new(driver, site.path()).start();
    let download = begun(&server);
    let mut file = File::options().append(true).open(site.path().join("large.bin")).expect("ours");
    file.write_all(&contents(b'1', 1_000_000)).expect("ours");
    let (mut stream, body) = rest_of(download);
    assert!(
        body.len() == LARGE_BYTES && body.iter().all(|byte| *byte == b'0'),
        "and nothing of what came later"
    );
    stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut next = Vec::new();
    stream.read_to_end(&mut next).expect("a FIN");
    assert!(
        next.starts_with(b"HTTP/1.1 200 ") && next.ends_with(b"\na"),
        "the next answer stands where it should"
    );
    until_seen(&server, "/large.bin", |_, body| body.len() == LARGE_BYTES + 1_000_000);
    server.stop().cleanly();
}

/// Changes files in every way, as fast as it can.
fn change(root: &Path, is_over: &AtomicBool) {
    let mut rng = Rng::new(11);
    while !is_over.load(Ordering::Relaxed) {
        let name = ["small.bin", "middle.bin", "large.bin"][rng.below(3)];
        let bytes = match name {
            "small.bin" => rng.between(1, 3000),
            "middle.bin" => rng.between(10_000, 40_000),
            _ => rng.between(200_000, 2_000_000),
        };
        let path = root.join(name);
        // Length and contents belong together: the first eight bytes say how long the file is.
        let mut new = (bytes as u64 + 8).to_le_bytes().to_vec();
        new.resize(bytes + 8, b'a' + u8::try_from(bytes % 26).expect("small"));
        match rng.below(4) {
            0 | 1 => {
                std::fs::write(root.join("new"), new).expect("ours");
                std::fs::rename(root.join("new"), path).expect("ours");
            }
            2 => {
                let _gone = std::fs::remove_file(path);
            }
            _ => {
                let _gone =
                    File::options().write(true).open(path).map(|file| file.set_len(rng.below(9000) as u64));
            }
        }
    }
}

/// A body is of one version of its file: one mark, and zeros where the file was cut and lengthened, or cut while its pages
/// were on their way; never two marks, and never more of one than its version had.
fn is_one_version(body: &[u8]) -> bool {
    let Some((announced, rest)) = body.split_first_chunk::<8>() else { return true };
    let whole = usize::try_from(u64::from_le_bytes(*announced)).unwrap_or(usize::MAX);
    let mark = rest.iter().copied().find(|byte| *byte != 0).unwrap_or(0);
    let last = rest.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    // The length itself may have been cut.
    let fits = 8 + last <= whole || announced[4..] == [0; 4] && rest.first().is_none_or(|byte| *byte == 0);
    rest.iter().all(|byte| *byte == mark || *byte == 0) && fits
}

fn files_under_constant_change(driver: Driver) {
    let site = Scratch::new("constant-change");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    let is_over = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let changer = scope.spawn(|| change(site.path(), &is_over));
        let askers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| ask_under_change(&server, Duration::from_secs(2)))).collect();
        let counts: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        changer.join().expect("it changes");
        counts
    });
    for count in counts {
        assert!(count.expect("every answer is sound") > 20);
    }
    assert_eq!(server.get("/a.txt").body, b"a");
    server.stop().cleanly();
}

/// The runs of equal bytes in a body, for a message.
fn shape(body: &[u8]) -> String {
    let runs = body.chunk_by(|a, b| a == b).map(|run| format!("{}x{:02x}", run.len(), run[0]));
    runs.take(40).collect::<Vec<_>>().join(" ")
}

/// How many whole answers there were.
fn ask_under_change(server: &Server, time: Duration) -> usize {
    let deadline = Instant::now() + time;
    let mut client = server.client();
    let mut whole = 0;
    while Instant::now() < deadline {
        for name in ["small.bin", "middle.bin", "large.bin", "a.txt"] {
            client.send(format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
            match client.answer(false) {
                Ok(answer) => {
                    assert!(matches!(answer.status, 200 | 404), "{}", answer.status);
                    assert!(
                        answer.status == 404 || name == "a.txt" || is_one_version(&answer.body),
                        "{name}: {}",
                        shape(&answer.body)
                    );
                    assert!(name != "a.txt" || answer.body == b"a");
                    whole += 1;
                }
                // Cut while it was sent.
                Err(_reset) => {
                    assert_ne!(name, "a.txt");
                    client = server.client();
                }
            }
        }
    }
    whole
}

fn a_deploy_that_swings_the_root_is_seen(driver: Driver) {
    let place = Scratch::new("deploy");
    for release in ["one", "two"] {
        place.file(&format!("{release}/index.html"), release.as_bytes());
        place.file(&format!("{release}/only-in-{release}.txt"), release.as_bytes());
        age(&place.path().join(release).join("index.html"));
    }
    let current = place.path().join("current");
    symlink("one", &current).expect("a link");
    let server = Setup::new(driver, &current).start();
    until_seen(&server, "/", |_, body| body == b"one");
    assert_eq!(server.get("/only-in-two.txt").status, 404);
    symlink("two", place.path().join("next")).expect("a link");
    std::fs::rename(place.path().join("next"), &current).expect("ours");
    let took = until_seen(&server, "/", |status, body| {
        assert!(status == 200 && (body == b"one" || body == b"two"), "{status}");
        body == b"two"
    });
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(server.get("/only-in-two.txt").status, 200);
    assert_eq!(server.get("/only-in-one.txt").status, 404);
    server.stop().cleanly();
}

fn a_root_that_goes_away_and_comes_back(driver: Driver) {
    let place = Scratch::new("root-gone");
    place.file("root/a.txt", b"before");
    let root = place.path().join("root");
    let server = Setup::new(driver, &root).start();
    until_seen(&server, "/a.txt", |_, body| body == b"before");
    std::fs::remove_dir_all(&root).expect("ours");
    until_seen(&server, "/a.txt", |status, _| status == 404);
    place.file("root/a.txt", b"after");
    let took = until_seen(&server, "/a.txt", |_, body| body == b"after");
    assert!(took < Duration::from_secs(4), "{took:?}");
    server.stop().cleanly();
}
