//! What messages and idle connections cost: nothing is allocated for an echo, and what waits takes little memory. Both are counted
//! for the process, so these tests have one of their own, and take turns.

#[path = "live/stand.rs"]
#[allow(dead_code, reason = "these tests use their part of the stand")]
mod stand;

use ringway_engine::ring::DriverChoice;
use ringway_socket::{ByteOrder, Framing};
use stand::{Setup, Stand};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static TURN: Mutex<()> = Mutex::new(());

/// Exchanges before counting: by then tables have their size.
const WARM: usize = 200;

/// Exchanges that are counted.
const COUNTED: usize = 2_000;

/// Connections before counting.
const BEFORE: usize = 500;

/// Connections that are counted. Both ends are this process's, and descriptors are limited.
const IDLE: usize = 8_192;

/// What an idle connection may take, in bytes.
const IDLE_BYTES_MAX: usize = 300;

fn on_drivers(test: impl Fn(DriverChoice)) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match std::thread::spawn(ringway_engine::ring::probe).join().expect("no panic") {
        Ok(_features) => test(DriverChoice::Uring),
        Err(reason) => eprintln!("SKIPPED on io_uring: {reason}"),
    }
    test(DriverChoice::Epoll);
}

fn start(driver: DriverChoice, framing: &Framing) -> Stand {
    Setup::builtin(driver, "echo").on(|terms| terms.framing = framing.clone()).start()
}

#[test]
fn an_echo_allocates_nothing_and_is_one_turn() {
    on_drivers(|driver| {
        let framed = Framing::Length { bytes: 2, order: ByteOrder::Big, inclusive: false };
        for framing in [Framing::None, framed, Framing::lines()] {
            let stand = start(driver, &framing);
            let mut stream = stand.connect();
            // Three messages at a time in the framed cases.
            let question = *b"\0\x03ab\n\0\x03cd\n\0\x03ef\n";
            let mut answer = [0; 15];
            let mut exchange = || {
                stream.write_all(&question).expect("it reads");
                stream.read_exact(&mut answer).expect("the answer comes");
            };
            (0..WARM).for_each(|_| exchange());
            let turns = stand.server().totals().turns;
            let region = Region::new(ALLOCATOR);
            (0..COUNTED).for_each(|_| exchange());
            let allocations = region.change().allocations;
            // A table may grow once more.
            assert!(allocations < 20, "{allocations} in {COUNTED} exchanges on {driver:?} with {framing:?}");
            let turns = stand.server().totals().turns - turns;
            // One for what came, and on io_uring one when it is sent.
            assert!(turns <= 2 * COUNTED as u64 + 2, "{turns} turns on {driver:?}");
            assert_eq!(answer, question);
            drop(stream);
            stand.until_resting();
            assert_eq!(stand.stop().tasks, 0, "no task is begun for a message");
        }
    });
}

/// Memory that this process has in pages of its own, in bytes.
fn resident_bytes() -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").expect("this is Linux");
    let line = smaps.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib * 1024
}

fn open(stand: &Stand, count: usize) -> Vec<TcpStream> {
    let opened = |_| {
        let mut stream = stand.connect();
        stream.write_all(b"hello\n").expect("it reads");
        stream.read_exact(&mut [0; 6]).expect("the echo comes");
        stream
    };
    (0..count).map(opened).collect()
}

/// Names the driver to a process that counts for it alone: an allocator that has served before keeps what it served with.
const DRIVER: &str = "RINGWAY_TEST_DRIVER";

#[test]
fn an_idle_connection_takes_little() {
    if let Ok(driver) = std::env::var(DRIVER) {
        return count_idle(if driver == "Uring" { DriverChoice::Uring } else { DriverChoice::Epoll });
    }
    on_drivers(|driver| {
        let counted = std::process::Command::new(std::env::current_exe().expect("it has a name"))
            .args(["--exact", "an_idle_connection_takes_little", "--nocapture"])
            .env(DRIVER, format!("{driver:?}"))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&counted.stderr);
        eprintln!("{said}");
        assert!(counted.status.success() && said.contains("an idle connection takes"), "{driver:?}");
    });
}

fn count_idle(driver: DriverChoice) {
    let stand = start(driver, &Framing::lines());
    let mut all = open(&stand, BEFORE);
    all.reserve(IDLE);
    let before = resident_bytes();
    all.extend(open(&stand, IDLE));
    let each = (resident_bytes() - before) / IDLE;
    eprintln!("an idle connection takes {each} bytes on {driver:?}");
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes on {driver:?}");
    drop(all);
    stand.until_resting();
    stand.stop();
}
