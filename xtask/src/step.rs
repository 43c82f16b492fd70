//! One step of a run: a command with a headline, its output streamed, its time taken.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, repository_root};

/// A cargo command that runs in the repository's root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(repository_root());
    command
}

/// Runs `command` under `headline`; a failure says how to run the step alone.
pub(crate) fn run(headline: &str, command: &mut Command) -> Result<(), Failure> {
    let (ok, took) = watch(headline, command, None)?;
    outcome(headline, command, ok, took)
}

/// Runs `command` and hands every line of its standard output to `each`, after printing it. Returns whether it
/// succeeded: the caller, who read the output, knows more about a failure than the exit code tells.
pub(crate) fn run_reading(
    headline: &str,
    command: &mut Command,
    each: &mut dyn FnMut(&str),
) -> Result<(bool, Duration), Failure> {
    watch(headline, command.stdout(Stdio::piped()), Some(each))
}

/// Prints how a step ended and turns a failed one into an error.
pub(crate) fn outcome(headline: &str, command: &Command, ok: bool, took: Duration) -> Result<(), Failure> {
    if ok {
        println!("ok: {headline} ({})", seconds(took));
        return Ok(());
    }
    let again = shown(command);
    Err(Failure::Failed(format!("FAILED: {headline} ({}). Run it alone: {again}", seconds(took))))
}

/// A command as one would type it: the variables set for it, its program's plain name, its arguments.
pub(crate) fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let program = std::iter::once(program.to_string_lossy().into_owned());
    let args = command.get_args().map(|arg| quoted(&arg.to_string_lossy()));
    variables.chain(program).chain(args).collect::<Vec<_>>().join(" ")
}

fn watch(
    headline: &str,
    command: &mut Command,
    each: Option<&mut dyn FnMut(&str)>,
) -> Result<(bool, Duration), Failure> {
    let line = shown(command);
    println!("\n== {headline}: {line}");
    let cannot = |error| Failure::Failed(format!("cannot run `{line}`: {error}"));
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().map_err(cannot)?;
    if let (Some(each), Some(output)) = (each, child.stdout.take()) {
        copy_lines(BufReader::new(output), &mut std::io::stdout(), each);
    }
    let status = child.wait().map_err(|error| Failure::Failed(format!("{headline}: {error}")))?;
    Ok((status.success(), start.elapsed()))
}

/// Copies lines from `output` to `to` as they come, until the output ends.
fn copy_lines(mut output: impl BufRead, to: &mut dyn Write, each: &mut dyn FnMut(&str)) {
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        // Whoever reads our output may stop; the step still runs to its end.
        let _ = to.write_all(&line);
        each(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").env_remove("CARGO");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn lines_are_read_even_when_they_are_not_utf8_or_end_without_a_newline() {
        let mut seen = Vec::new();
        let mut copy = Vec::new();
        copy_lines(&b"one\n\xfftwo\nthree"[..], &mut copy, &mut |line| seen.push(line.to_owned()));
        assert_eq!(copy, b"one\n\xfftwo\nthree");
        assert_eq!(seen, ["one", "\u{fffd}two", "three"]);
    }

    #[test]
    fn a_failed_step_tells_how_to_run_it_alone() {
        let mut command = Command::new("false");
        let Err(Failure::Failed(why)) = run("nothing", &mut command) else { panic!("it cannot succeed") };
        assert!(why.starts_with("FAILED: nothing") && why.ends_with(": false"), "{why}");
    }
}
