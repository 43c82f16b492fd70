//! The `ringway` command.
#![forbid(unsafe_code)]

mod arguments;
#[cfg(all(feature = "config", feature = "sandbox"))]
mod asking;
#[cfg(feature = "config")]
mod check;
#[cfg(feature = "console")]
mod operate;
#[cfg(feature = "config")]
mod passwd;
mod run;
#[cfg(all(feature = "config", feature = "sandbox"))]
mod supervised;
mod version;

use arguments::Command;
use std::process::ExitCode;

/// What is on no worker's own heap, for those who ask for it: it costs memory, and requests for files do not touch it.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static PROCESS_HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong use, or something that cannot be had at the start.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    match arguments::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help(text)) => print(text),
        Ok(Command::Version { verbose }) => print(&version::text(verbose)),
        Ok(Command::Serve(serve)) => run::run(&serve),
        #[cfg(feature = "config")]
        Ok(Command::Check { file, json }) => check::check(&file, json),
        #[cfg(feature = "config")]
        Ok(Command::Schema) => print(&check::schema()),
        #[cfg(feature = "config")]
        Ok(Command::Passwd(passwd)) => match passwd::run(&passwd) {
            Ok(done) => print(&done),
            Err(sentence) => {
                eprintln!("ringway: {sentence}");
                ExitCode::from(CANNOT_START)
            }
        },
        #[cfg(feature = "console")]
        Ok(Command::Console(shell, socket)) => operate::console(&shell, &socket),
        #[cfg(feature = "console")]
        Ok(Command::Top(socket)) => operate::top(&socket),
        #[cfg(all(feature = "config", feature = "sandbox"))]
        Ok(Command::Supervised(command)) => supervised::execute(&command),
        Err(sentence) => {
            eprintln!("ringway: {sentence}\nTry 'ringway --help'.");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let _reader_gone = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
