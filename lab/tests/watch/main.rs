//! `ringway-lab watch` through the real binary: what it counts of a tree of processes whose CPU time is known, and what it
//! refuses.
//!
//! The watched command is this test's own binary, which burns CPU time by its own CPU clock, so nothing here depends on
//! how fast or how busy the machine is.

mod burner;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lab, quiet.
fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway-lab"));
    command.arg("--quiet").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    lab(arguments).output().expect("the lab can be started")
}

/// A file of this test run alone.
fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

/// Watches a plan of the burner and returns the outcome.
fn watch_burning(plan: &str, flags: &[&str], through: &[&str]) -> Value {
    let burner = std::env::current_exe().expect("this test is a file");
    let burner = burner.to_str().expect("its path is text");
    let mut arguments = vec!["watch", "--json", "-"];
    arguments.extend(flags);
    // The test harness runs the one test that is named, and that burns as it is told.
    arguments.extend(["--", "env"]);
    arguments.extend(through);
    arguments.extend([plan, burner, "--exact", "burner::burn_as_told", "--test-threads=1"]);
    let output = run(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

fn total(outcome: &Value, what: &str) -> f64 {
    let rows = outcome["tables"][0]["rows"].as_array().expect("the table has rows");
    let row = rows.iter().find(|row| row["what"] == what).unwrap_or_else(|| panic!("no row {what}"));
    row["value"]["value"].as_f64().expect("a number")
}

/// The sum is what was burnt, and at most what it takes to start the processes besides.
fn assert_counts(plan: &str, flags: &[&str]) {
    assert_counts_within(0.98, plan, flags, &[]);
}

/// The same with another least ratio of what is counted to what was burnt, and flags of the `env` that starts the burner.
fn assert_counts_within(least: f64, plan: &str, flags: &[&str], through: &[&str]) {
    let ledger = place(&plan.replace(['=', ';'], "-"));
    std::fs::write(&ledger, "").expect("the ledger can be written");
    let outcome = watch_burning(&format!("BURN={};{plan}", ledger.display()), flags, through);
    let burnt: f64 = std::fs::read_to_string(&ledger)
        .expect("the ledger can be read")
        .lines()
        .map(|line| line.parse::<f64>().expect("a number of milliseconds"))
        .sum();
    std::fs::remove_file(&ledger).expect("the ledger can be removed");
    let counted = total(&outcome, "CPU");
    let ratio = counted / burnt;
    assert!((least..=1.02).contains(&ratio), "{plan}: counted {counted} ms, burnt {burnt} ms, ratio {ratio}");
    let parts = total(&outcome, "CPU user") + total(&outcome, "CPU system");
    assert!((parts - counted).abs() < 0.01, "{parts} are the parts of {counted}");
}

#[test]
fn the_cpu_time_of_one_process_is_counted() {
    assert_counts("self=1500", &["--interval", "0.25"]);
}

#[test]
fn threads_that_end_between_samples_are_counted() {
    assert_counts("threads=20x40;self=400", &["--interval", "0.2"]);
}

#[test]
fn children_that_end_are_counted_once() {
    // Some of them are seen by several samples, some by none.
    assert_counts("children=4x250;children=10x50;self=300", &["--interval", "0.1"]);
}

#[test]
fn children_are_counted_when_no_sample_ever_saw_them() {
    assert_counts("children=3x400;self=200", &["--interval", "3600"]);
}

#[test]
fn orphans_are_counted_once() {
    assert_counts("orphans=4x250;self=600", &["--interval", "0.1"]);
}

#[test]
fn children_that_nobody_waits_for_are_counted_as_they_were_last_seen() {
    // The kernel gives their time to nobody, so what they burn behind the last sample is lost.
    assert_counts_within(0.85, "children=3x300", &["--interval", "0.01"], &["--ignore-signal=CHLD"]);
}

#[test]
fn a_watch_of_a_process_counts_from_its_beginning() {
    let mut sleeper =
        Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().expect("sleep can be started");
    let pid = sleeper.id().to_string();
    let output = run(&["watch", "--pid", &pid, "--seconds", "1", "--interval", "0.5", "--json", "-"]);
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("the outcome is JSON");
    assert!(total(&outcome, "CPU") < 100.0, "a sleeper uses nothing: {outcome:#}");
    assert!(total(&outcome, "memory high-water") > 0.1, "but it occupies memory: {outcome:#}");
    assert!(sleeper.try_wait().expect("it can be asked").is_none(), "it is not ours to end");
    sleeper.kill().and_then(|()| sleeper.wait()).expect("it ends");
}

/// Whether the process whose number is in the file has ended, or does so soon: what was killed still has to be given a core
/// to end on, and may be a zombie until somebody waits for it.
fn is_gone(note: &Path) -> bool {
    let pid = std::fs::read_to_string(note).expect("the command noted its child");
    std::fs::remove_file(note).expect("the note can be removed");
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
fn a_command_is_ended_with_all_it_started_when_the_time_is_up() {
    let (near, far) = (place("near"), place("far"));
    let script = format!(
        "sleep 600 & echo $! > {}; setsid sleep 600 & echo $! > {}; sleep 600",
        near.display(),
        far.display()
    );
    let output = run(&["watch", "--seconds", "1", "--format", "none", "--", "sh", "-c", &script]);
    assert!(output.status.success());
    assert!(is_gone(&near), "its child lives on");
    assert!(is_gone(&far), "its child in a session of its own lives on");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("watched until the time was up"), "{text}");
}

#[test]
fn an_interrupt_ends_the_command_and_tells_what_was_seen() {
    let note = place("interrupted");
    let script = format!("echo $$ > {}; exec sleep 600", note.display());
    let mut lab = lab(&["watch", "--format", "csv", "--interval", "0.05", "--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the lab can be started");
    let mut lines = BufReader::new(lab.stdout.take().expect("it is piped")).lines();
    // The headings and the first sample: by then it listens to interrupts, and the command runs.
    assert!(lines.by_ref().take(2).all(|line| line.is_ok()));
    let pid =
        i32::try_from(lab.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process's number");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("the lab runs");
    assert!(lines.all(|line| line.is_ok()));
    let output = lab.wait_with_output().expect("the lab ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("watched until it was interrupted"), "{text}");
    assert!(is_gone(&note), "the command lives on");
}

#[test]
fn every_sample_is_a_line_for_programs() {
    let output = run(&["watch", "--format", "json", "--interval", "0.1", "--", "sleep", "0.35"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert!(lines.len() >= 3, "{lines:?}");
    let times: Vec<f64> = lines.iter().map(|line| line["time_s"].as_f64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(lines[0]["processes"], 1.0);
    let csv = run(&["watch", "--format", "csv", "--", "true"]);
    assert!(csv.stdout.starts_with(b"time_s,user_percent,"));
    assert!(String::from_utf8_lossy(&csv.stderr).contains("The whole watch"), "the tables go elsewhere");
}

#[test]
fn figures_are_drawn() {
    let folder = place("figures");
    let target = folder.to_str().expect("the path is text");
    let output =
        run(&["watch", "--svg", target, "--interval", "0.05", "--format", "none", "--", "sleep", "0.3"]);
    assert!(output.status.success());
    for name in ["watch-cpu", "watch-memory", "watch-network", "watch-switches"] {
        let svg = std::fs::read_to_string(folder.join(format!("{name}.svg"))).expect("the figure is there");
        assert!(svg.starts_with("<svg") && svg.contains("time [s]"), "{name}");
    }
    std::fs::remove_dir_all(folder).expect("the figures can be removed");
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    for (arguments, sentence) in [
        (&["watch"][..], "a command behind -- or a --pid is needed"),
        (&["watch", "--pid", "4194305"], "there is no process 4194305"),
        (&["watch", "--interval", "0", "--", "true"], "outside of 0.01 to 3600"),
        (&["watch", "--seconds", "0", "--", "true"], "0 is not in 1..=31536000"),
        (&["watch", "--cores", "100000", "--", "true"], "there is no core 100000"),
        (&["watch", "--pid", "1", "--", "true"], "cannot be used with"),
        (&["watch", "--", "/no/such/program"], "cannot start /no/such/program"),
        (&["watch", "--output", "/no/such/file", "--", "true"], "cannot write /no/such/file"),
        (&["watch", "--nonsense"], "unexpected argument '--nonsense'"),
        (&["jitter", "--core", "999"], "none of the cores [999] may be used here"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&[], "an instrument is needed"),
    ] {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        assert!(text.starts_with("ringway-lab: ") && text.contains(sentence), "{arguments:?}: {text}");
    }
}
