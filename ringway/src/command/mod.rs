//! The commands of the program `ringway`, and of every program that is built on the façade.

mod arguments;
#[cfg(all(feature = "config", feature = "sandbox"))]
mod asking;
#[cfg(feature = "config")]
mod check;
#[cfg(feature = "develop")]
mod developing;
#[cfg(feature = "console")]
mod operate;
#[cfg(feature = "config")]
mod passwd;
mod run;
#[cfg(all(feature = "config", feature = "sandbox"))]
mod supervised;
mod version;

#[cfg(feature = "services")]
pub(crate) use run::raise_descriptor_limit;

use arguments::Command;
use std::process::ExitCode;

/// Wrong use, or something that cannot be had at the start.
const CANNOT_START: u8 = 2;

/// Does what the command line of this process says.
#[must_use]
pub fn main() -> ExitCode {
    match arguments::parse(lexopt::Parser::from_env()) {
        Ok(command) => execute(command),
        Err(sentence) => {
            eprintln!("ringway: {sentence}\nTry 'ringway --help'.");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// What `run -c FILE` does, in a program whose command line says it in another way.
#[cfg(feature = "services")]
pub(crate) fn run(file: std::path::PathBuf, takes_over: bool, rehearses: bool) -> ExitCode {
    let run = supervised::Run { file, takes_over, rehearses };
    supervised::execute(&supervised::Supervised::Run(run))
}

fn execute(command: Command) -> ExitCode {
    match command {
        Command::Help(text) => print(text),
        Command::Version { verbose } => print(&version::text(verbose)),
        Command::Serve(serve) => run::run(&serve),
        #[cfg(feature = "config")]
        Command::Check { file, json } => check::check(&file, json),
        #[cfg(feature = "config")]
        Command::Schema => print(&check::schema()),
        #[cfg(feature = "config")]
        Command::Passwd(passwd) => match passwd::run(&passwd) {
            Ok(done) => print(&done),
            Err(sentence) => {
                eprintln!("ringway: {sentence}");
                ExitCode::from(CANNOT_START)
            }
        },
        #[cfg(feature = "console")]
        Command::Console(shell, socket) => operate::console(&shell, &socket),
        #[cfg(feature = "console")]
        Command::Top(socket) => operate::top(&socket),
        #[cfg(all(feature = "config", feature = "sandbox"))]
        Command::Supervised(command) => supervised::execute(&command),
        #[cfg(feature = "develop")]
        Command::Developing(command) => developing::execute(command),
    }
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let _reader_gone = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
