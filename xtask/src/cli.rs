//! The command line: subcommands, their options and their help.

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::Failure;

const HELP: &str = "\
Developer commands of Ringway.

Usage: cargo xtask <command> [options]

Commands:
  test      check format and lints, run every test, build the documentation
  asan      run the tests of the unsafe rooms under AddressSanitizer
  fuzz      run every fuzz target for a while
  embedded  build the smallest binary and check that it is small
  docs      write the reference of the configuration anew

`cargo xtask <command> --help` says more.
Exit code: 0 success, 1 something failed, 2 wrong use or something the machine lacks.
";

const HELP_TEST: &str = "\
Checks the format and the lints, runs all tests (on both drivers), doc tests and the example,
builds the documentation, and checks that the smallest configuration compiles.

Usage: cargo xtask test [--install] [--slow]

Options:
  --install  first install what the tests need and this machine lacks (apt-get, rustup);
             without it nothing outside the repository is touched, and what is missing is named
  --slow     run the slow conformance and soak tests too (RINGWAY_SLOW=1)
";

const HELP_ASAN: &str = "\
Runs the tests of `ringway-ring` and `ringway-heap`, where the unsafe code is, under AddressSanitizer.

Usage: cargo xtask asan
";

const HELP_FUZZ: &str = "\
Runs every fuzz target in `fuzz/`, one after the other. Needs cargo-fuzz.

Usage: cargo xtask fuzz [--minutes N]

Options:
  --minutes N  how long each target runs, 1 to 1440 minutes (default 2)
";

const HELP_EMBEDDED: &str = "\
Builds the embedded profile (static files only, no shared libraries, optimised for size), prints
the size of the stripped binary and fails when it is over 1 MiB. Needs the musl target of rustup.

Usage: cargo xtask embedded
";

const HELP_DOCS: &str = "\
Writes docs/configuration.md, the reference of the configuration, from the types of the settings.

Usage: cargo xtask docs
";

/// Default and bounds of `--minutes`.
const FUZZ_MINUTES_DEFAULT: u32 = 2;
const FUZZ_MINUTES_MAX: u32 = 24 * 60;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help(&'static str),
    Test { install: bool, slow: bool },
    Asan,
    Fuzz { minutes: u32 },
    Embedded,
    Docs,
}

/// Reads the command line.
pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Command, Failure> {
    parse_args(&mut args).map_err(|error| Failure::Setup(format!("{error}; see `cargo xtask --help`")))
}

fn parse_args(args: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    match args.next()? {
        None => Err("no command given".into()),
        Some(Long("help") | Short('h')) => Ok(Command::Help(HELP)),
        Some(Value(name)) => parse_command(args, &name.string()?),
        Some(other) => Err(other.unexpected()),
    }
}

fn parse_command(args: &mut lexopt::Parser, name: &str) -> Result<Command, lexopt::Error> {
    let (mut command, help) = match name {
        "test" => (Command::Test { install: false, slow: false }, HELP_TEST),
        "asan" => (Command::Asan, HELP_ASAN),
        "fuzz" => (Command::Fuzz { minutes: FUZZ_MINUTES_DEFAULT }, HELP_FUZZ),
        "embedded" => (Command::Embedded, HELP_EMBEDDED),
        "docs" => (Command::Docs, HELP_DOCS),
        "help" => return Ok(Command::Help(HELP)),
        _ => return Err(format!("there is no command {name:?}").into()),
    };
    while let Some(arg) = args.next()? {
        match (&mut command, arg) {
            (_, Long("help") | Short('h')) => return Ok(Command::Help(help)),
            (Command::Test { install, .. }, Long("install")) => *install = true,
            (Command::Test { slow, .. }, Long("slow")) => *slow = true,
            (Command::Fuzz { minutes }, Long("minutes")) => {
                *minutes = args.value()?.parse()?;
                if !(1..=FUZZ_MINUTES_MAX).contains(minutes) {
                    return Err(format!("--minutes takes 1 to {FUZZ_MINUTES_MAX}").into());
                }
            }
            (_, arg) => return Err(arg.unexpected()),
        }
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(lexopt::Parser::from_args(line.split_whitespace())).map_err(|failure| match failure {
            Failure::Setup(why) | Failure::Failed(why) => why,
            Failure::Reported => String::new(),
        })
    }

    #[test]
    fn options_belong_to_their_command() {
        assert_eq!(parsed("test"), Ok(Command::Test { install: false, slow: false }));
        assert_eq!(parsed("test --slow --install"), Ok(Command::Test { install: true, slow: true }));
        assert_eq!(parsed("fuzz --minutes=7"), Ok(Command::Fuzz { minutes: 7 }));
        assert_eq!(parsed("fuzz"), Ok(Command::Fuzz { minutes: FUZZ_MINUTES_DEFAULT }));
        for wrong in
            ["", "nothing", "asan --slow", "test extra", "fuzz --minutes 0", "fuzz --minutes x", "--slow"]
        {
            let why = parsed(wrong).expect_err(wrong);
            assert!(why.contains("--help"), "{why}");
        }
    }

    #[test]
    fn every_command_has_its_own_help() {
        assert_eq!(parsed("--help"), Ok(Command::Help(HELP)));
        let helps = ["test", "asan", "fuzz", "embedded", "docs"].map(|name| {
            let Ok(Command::Help(text)) = parsed(&format!("{name} --help")) else {
                panic!("{name} has no help")
            };
            assert!(text.contains(&format!("cargo xtask {name}")), "{text}");
            assert!(HELP.contains(&format!("\n  {name} ")), "{name} is not listed");
            text
        });
        assert!(helps.iter().all(|text| *text != HELP));
    }
}
