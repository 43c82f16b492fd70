//! `ringway-lab compare` through the real binary: rounds over servers that it starts itself, their end on every way out, and
//! what it refuses. The servers are the lab's own `ceiling serve`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const LAB: &str = env!("CARGO_BIN_EXE_ringway-lab");
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str]) -> Output {
    Command::new(LAB).arg("--quiet").args(arguments).output().expect("the lab can be started")
}

/// A file of this test run alone.
fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

/// A server that writes its process's number into a file.
fn server(name: &str, kind: &str, note: &Path) -> String {
    let command =
        format!("echo $$ > {}; exec {LAB} ceiling serve {kind} --address 127.0.0.1:{{port}}", note.display());
    format!("{name}=sh -c '{command}'")
}

/// Whether two cores may be used; comparing on one is refused, which is tested elsewhere.
fn two_cores() -> bool {
    let enough = std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if !enough {
        eprintln!("SKIPPED: comparing takes two cores");
    }
    enough
}

/// Whether the process has ended, or does so soon: what was killed still has to be given a core to end on.
fn is_gone(note: &Path) -> bool {
    let pid = std::fs::read_to_string(note).expect("the server noted its number");
    let stat = format!("/proc/{}/stat", pid.trim());
    let gone =
        || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "));
    let begin = Instant::now();
    while !gone() && begin.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    gone()
}

#[test]
fn two_servers_are_compared_and_ended() {
    if !two_cores() {
        return;
    }
    let notes = [place("first"), place("second")];
    let (first, second) = (server("first", "plain-epoll", &notes[0]), server("second", "epoll", &notes[1]));
    let cases = ["--cases", "small:/:8,together:/:4:8,once:/:4:close", "--rounds", "2"];
    let times = ["--seconds", "0.2", "--warm-up", "0.05", "--json", "-"];
    let output = run(&[&["compare", &first, &second][..], &cases, &times].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("the outcome is JSON");
    let rows = outcome["tables"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "three cases of two servers: {rows:?}");
    for row in rows {
        assert!(row["CPU"].as_f64().is_some_and(|us| us > 0.0 && us < 1e5), "{row}");
        assert!(row["memory high-water"].as_f64().is_some_and(|mib| mib > 0.1), "{row}");
        let is_first = row["server"] == "first";
        assert_eq!(
            row["CPU to the first"].is_null(),
            is_first,
            "the first is not compared with itself: {row}"
        );
    }
    let words = ["server", "client", "both", "neither"];
    for row in outcome["tables"][1]["rows"].as_array().expect("rows") {
        assert!(row["rate"].as_f64().is_some_and(|rate| rate > 10.0), "{row}");
        assert!(words.contains(&row["bottleneck"].as_str().expect("a word")), "{row}");
    }
    for note in &notes {
        assert!(is_gone(note), "a server lives on");
        std::fs::remove_file(note).expect("the note can be removed");
    }
}

/// A peer written in C, built for this test run.
fn peer(name: &str, libraries: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(format!("{name}.c"));
    let binary = place(name);
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&binary).arg(source).args(libraries);
    let output = compiler.output().expect("there is a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    binary
}

#[test]
fn echoes_are_compared_with_a_plain_program_on_io_uring() {
    if !two_cores() {
        return;
    }
    if ringway_ring::Ring::new(&ringway_ring::RingOptions {
        driver: ringway_ring::DriverChoice::Uring,
        ..ringway_ring::RingOptions::default()
    })
    .is_err()
    {
        eprintln!("SKIPPED: this machine refuses io_uring");
        return;
    }
    let plain = peer("echo-uring", &["-luring"]);
    let ours = format!("ours={LAB} echo serve uring --address 127.0.0.1:{{port}}");
    let theirs = format!("theirs={} {{port}}", plain.display());
    let cases = ["--cases", "e64c64,e64c64x16,e64c1000,tidle", "--idle-connections", "50", "--rounds", "1"];
    let times = ["--seconds", "0.2", "--warm-up", "0.05", "--json", "-"];
    let output = run(&[&["compare", &ours, &theirs][..], &cases, &times].concat());
    std::fs::remove_file(plain).expect("the peer can be removed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("the outcome is JSON");
    let rows = outcome["tables"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "three cases of two servers: {rows:?}");
    assert!(rows.iter().all(|row| row["CPU"].as_f64().is_some_and(|us| us > 0.0)), "{rows:?}");
    let idle = outcome["tables"][2]["rows"].as_array().expect("rows");
    assert!(idle.len() == 2 && idle.iter().all(|row| row["connections"] == 50.0), "{idle:?}");
}

#[test]
fn echoes_by_datagrams_are_compared_with_a_plain_program() {
    if !two_cores() {
        return;
    }
    let plain = peer("udp-echo", &[]);
    let ours = format!("ours={LAB} echo serve epoll --udp --address 127.0.0.1:{{udp-port}}");
    let theirs = format!("theirs={} {{udp-port}}", plain.display());
    let cases = ["--cases", "u64c64,u64c64x16", "--rounds", "1"];
    let times = ["--seconds", "0.2", "--warm-up", "0.05", "--json", "-"];
    let output = run(&[&["compare", &ours, &theirs][..], &cases, &times].concat());
    let streams = format!("x={LAB} echo serve epoll --address 127.0.0.1:{{port}}");
    let without = run(&["compare", &streams, "--cases", "u64c64"]);
    let errors = String::from_utf8_lossy(&without.stderr);
    assert!(errors.contains("a case of datagrams needs {udp-port} in the server's command"), "{errors}");
    std::fs::remove_file(plain).expect("the peer can be removed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("the outcome is JSON");
    let rows = outcome["tables"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4, "two cases of two servers: {rows:?}");
    assert!(rows.iter().all(|row| row["CPU"].as_f64().is_some_and(|us| us > 0.0)), "{rows:?}");
}

#[test]
fn what_lies_behind_the_servers_is_started_once_and_told_to_all() {
    if !two_cores() {
        return;
    }
    let (note, told) = (place("behind"), place("told"));
    let behind = server("x", "plain-epoll", &note).replacen("x=", "", 1);
    let front = |name: &str| server(name, "plain-epoll", &told).replacen("echo $$ >", "echo {behind} >>", 1);
    let times = ["--cases", "small:/:8", "--rounds", "2", "--seconds", "0.1", "--warm-up", "0.05"];
    let (first, second) = (front("first"), front("second"));
    let output = run(&[&["compare", &first, &second, "--behind", &behind][..], &times].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ports = std::fs::read_to_string(&told).expect("they were told");
    let ports: Vec<u16> = ports.lines().map(|port| port.parse().expect("a port")).collect();
    assert!(ports.len() == 4 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    assert!(is_gone(&note), "it lives on");
    for note in [note, told] {
        std::fs::remove_file(note).expect("the note can be removed");
    }
}

#[test]
fn an_interrupt_ends_the_servers_too() {
    if !two_cores() {
        return;
    }
    let note = place("interrupted");
    let server = server("only", "plain-epoll", &note);
    let mut lab = Command::new(LAB)
        .args(["--quiet", "compare", &server, "--cases", "small:/:8", "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the lab can be started");
    let begin = Instant::now();
    // The note is complete with its line's end.
    while !std::fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n')) {
        assert!(begin.elapsed() < PATIENCE, "the server was not started");
        std::thread::yield_now();
    }
    let pid =
        i32::try_from(lab.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process's number");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the lab runs");
    let status = lab.wait().expect("the lab ends");
    assert_eq!(status.code(), Some(130));
    assert!(is_gone(&note), "the server lives on");
    std::fs::remove_file(note).expect("the note can be removed");
}

#[test]
fn a_server_that_cannot_answer_fails_the_comparison_in_a_sentence() {
    if !two_cores() {
        return;
    }
    let output = run(&["compare", "broken=false {port}", "--cases", "a", "--seconds", "0.1"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.starts_with("ringway-lab: broken: ") && errors.contains("ended before it listened"),
        "{errors}"
    );
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_sentence() {
    let known = "x=true {port}";
    for (arguments, sentence) in [
        (&["compare"][..], "required arguments were not provided"),
        (&["compare", "x=true"], "must read NAME=URL@PID, or NAME=COMMAND"),
        (&["compare", known, known], "two servers are called x"),
        (&["compare", known, "--cases", "a,b,a"], "two cases are called a"),
        (&["compare", known, "--cases", "nonsense"], "a case is one of a, b, c"),
        (&["compare", known, "--rounds", "0"], "0 is not in 1..=1000"),
        (&["compare", known, "--seconds", "0"], "outside of 0.05 to 3600"),
        (&["compare", known, "--path", "x"], "a path begins with a slash"),
        (&["compare", known, "--client-core", "4000"], "core 4000 may not be used here"),
        (&["compare", known, "--client-core", "0", "--server-cores", "0"], "cannot share core 0"),
        (&["compare", known, "--root", "/proc/no/such"], "cannot make /proc/no/such"),
        (&["compare", known, "--behind", "true"], "must read NAME=URL@PID, or NAME=COMMAND"),
        (&["compare", known, "--behind", "false {port}"], "ended before it listened"),
        (&["compare", "x=true {port} {behind}"], "x: {behind} stands for what --behind starts"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        let fits = text.contains(sentence) || text.contains("which takes 2 cores");
        assert!(text.starts_with("ringway-lab: ") && fits, "{arguments:?}: {text}");
    }
}

#[test]
fn one_core_is_too_few() {
    let core = rustix::thread::sched_getaffinity(None).expect("this thread runs somewhere");
    let core = (0..rustix::thread::CpuSet::MAX_CPU)
        .find(|index| core.is_set(*index))
        .expect("on a core")
        .to_string();
    let output = Command::new("taskset").args(["-c", &core, LAB, "compare", "x=true {port}"]).output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: there is no taskset here");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("the server and the client need a core each, which takes 2 cores, and only 1"),
        "{text}"
    );
}
