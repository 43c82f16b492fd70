//! `cargo xtask test`: the steps every change must pass, and the count of tests.

use std::process::Command;

use crate::Failure;
use crate::step::{self, cargo};

/// Runs all steps, the quick ones first, and stops at the first that fails. Whatever happens, the last line is the
/// count of the tests that ran.
pub(crate) fn run(slow: bool) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let result = steps(slow, &mut tally).map_err(|failure| match failure {
        Failure::Failed(why) => {
            println!("\n{why}");
            Failure::Reported
        }
        other => other,
    });
    if !tally.failing.is_empty() {
        println!("\nfailing tests:");
        tally.failing.iter().for_each(|name| println!("  {name}"));
    }
    if tally.ran {
        println!("\n{} passed, {} failed", tally.passed, tally.failed);
    }
    result
}

fn steps(slow: bool, tally: &mut Tally) -> Result<(), Failure> {
    step::run("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    step::run(
        "lints",
        &mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
    run_tests("tests", slow, &["test", "--workspace", "--all-targets", "--no-fail-fast"], tally)?;
    let heap_off =
        ["test", "-p", "ringway-heap", "--features", "process-heap", "--all-targets", "--no-fail-fast"];
    run_tests("private heaps off", slow, &heap_off, tally)?;
    run_tests("doc tests", slow, &["test", "--workspace", "--doc", "--no-fail-fast"], tally)?;
    // Without input it stops at once.
    step::run(
        "example",
        &mut cargo(&["run", "--quiet", "-p", "ringway", "--example", "serve", "--", "site", "127.0.0.1:0"]),
    )?;
    step::run(
        "documentation",
        cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    step::run(
        "smallest configuration",
        &mut cargo(&["check", "-p", "ringway", "--no-default-features", "--features", "static", "--quiet"]),
    )?;
    step::run(
        "library without doors",
        &mut cargo(&["check", "-p", "ringway", "--no-default-features", "--lib", "--quiet"]),
    )?;
    crate::tools::embedded()
}

fn run_tests(headline: &str, slow: bool, args: &[&str], tally: &mut Tally) -> Result<(), Failure> {
    let mut command = cargo(args);
    set_slow(&mut command, slow);
    let before = tally.failed;
    let (ok, took) = step::run_reading(headline, &mut command, &mut |line| tally.read(line))?;
    if !ok && tally.failed == before {
        // A test program that did not build, or died before it could say so.
        tally.failed += 1;
        tally
            .failing
            .push(format!("{headline}: see above; a program did not build or ended without a result"));
    }
    step::outcome(headline, &command, ok, took)
}

/// The tests read the variable, so a value that happens to be set must not decide.
fn set_slow(command: &mut Command, slow: bool) {
    if slow {
        command.env("RINGWAY_SLOW", "1");
    } else {
        command.env_remove("RINGWAY_SLOW");
    }
}

/// What the test programs reported.
#[derive(Default)]
struct Tally {
    /// Whether any test program ended.
    ran: bool,
    passed: u64,
    failed: u64,
    failing: Vec<String>,
}

impl Tally {
    /// Takes one line of a test program's output.
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.ran = true;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failing.push(name.to_owned());
        }
    }
}

/// The number before `word` in `ok. 17 passed; 0 failed; …`, 0 when there is none.
fn count(result: &str, word: &str) -> u64 {
    let words: Vec<&str> = result.split([' ', ';', '.']).filter(|part| !part.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test wheel::tests::one ... ok",
            "test wheel::tests::two ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.08s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.72s",
            "not a test result: ok. 9 passed; 9 failed",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed), (42, 1));
        assert_eq!(tally.failing, ["wheel::tests::two"]);
        assert!(tally.ran);
    }

    #[test]
    fn a_result_in_another_shape_counts_nothing() {
        assert_eq!(count("ok", "passed"), 0);
        assert_eq!(count("passed", "passed"), 0);
        assert_eq!(count("many passed", "passed"), 0);
    }
}
