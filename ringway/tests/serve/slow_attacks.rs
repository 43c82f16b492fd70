//! The four attacks of `slowhttptest`: heads, bodies and reads that take for ever, and many ranges. The service stays available,
//! others are served, and the attackers are cut by the limits.

use crate::server::{Driver, Server, Setup, age, eventually, is_slow_run, pattern};
use ringway_testkit::Scratch;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

on_both_drivers!(slow_heads, slow_bodies, slow_reads, many_ranges);

/// Connections of an attack, and how many are opened a second.
const CONNECTIONS: usize = 300;
const CONNECTIONS_SLOW_RUN: usize = 1000;

/// What is asked by others before and during an attack.
const REQUESTS: usize = 200;

fn slow_heads(driver: Driver) {
    attack(driver, &["-H", "-i", "1"], "small.txt");
}

fn slow_bodies(driver: Driver) {
    attack(driver, &["-B", "-i", "1", "-s", "8192"], "small.txt");
}

fn slow_reads(driver: Driver) {
    attack(driver, &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "32"], "large.bin");
}

fn many_ranges(driver: Driver) {
    attack(driver, &["-R", "-a", "10", "-b", "3000"], "large.bin");
}

fn attack(driver: Driver, manner: &[&str], file: &str) {
    let scratch = Scratch::new("slow-attacks");
    age(&scratch.file("small.txt", b"small"));
    age(&scratch.file("large.bin", &pattern(300_000)));
    // Limits short enough for a test; the attack lasts longer than any of them.
    let limits = ["head", "body", "send", "idle"].map(|name| format!("--{name}-timeout"));
    let mut arguments = vec!["--max-per-address", "0"];
    limits.iter().for_each(|name| arguments.extend([name.as_str(), "2"]));
    let server = Setup::new(driver, scratch.path()).with(&arguments).start();
    let quiet = median(&server);

    let count = if is_slow_run() { CONNECTIONS_SLOW_RUN } else { CONNECTIONS };
    let mut attacker = Attacker::start(&server, manner, file, count);
    // Ranges are answered at once, so that attack is over before it can be seen.
    if !manner.contains(&"-R") {
        eventually("the attack is under way", || (server.sockets() > count / 2).then_some(()));
    }
    let busy = median(&server);
    eprintln!(
        "{driver:?} {manner:?}: median {quiet:?} before, {busy:?} during the attack, {:.2} x",
        busy.as_secs_f64() / quiet.as_secs_f64()
    );
    // Others are served at a human pace at the very least; how much slower is measured, not tested.
    assert!(busy < Duration::from_millis(250), "{busy:?}");
    eventually("the attackers are cut", || (server.sockets() < count / 10).then_some(()));
    assert_eq!(server.get("/small.txt").body, b"small");
    attacker.end();
    server.stop().cleanly();
}

/// The median time of a request by somebody else, on connections of its own.
fn median(server: &Server) -> Duration {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(server.get("/small.txt").body, b"small");
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[REQUESTS / 2]
}

/// A running attack. Dropping it ends it.
struct Attacker(Child);

impl Attacker {
    fn start(server: &Server, manner: &[&str], file: &str, count: usize) -> Self {
        let mut command = Command::new("slowhttptest");
        command.args(manner).args([
            "-c",
            &count.to_string(),
            "-r",
            &count.to_string(),
            "-l",
            "60",
            "-p",
            "5",
        ]);
        command.args(["-u", &format!("http://{}/{file}", server.address())]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().expect("slowhttptest can be started (Debian's package of that name)"))
    }

    fn end(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.end();
    }
}
