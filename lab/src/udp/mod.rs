//! UDP: seven receivers, a generator, the matrix of both, and draining sockets that were filled before.

mod bars;
mod children;
mod drain;
mod kernel;
mod matrix;
mod plain;
mod receiver;
mod rings;
mod seeds;
mod send;
mod serve;
mod served;
mod settings;
mod stamp;
mod trial;
mod work;

pub use receiver::Receiver;

use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;

/// Flags of `udp`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What can be done with datagrams.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Receive datagrams in one of seven ways and say what that cost
    Serve(settings::Arguments),
    /// Send datagrams, then the short ones that end a trial
    Send(send::Arguments),
    /// Compare the receivers under growing work, each against the generator at full speed
    Matrix(matrix::Arguments),
    /// Measure the bare cost of receiving from sockets that were filled before, and what the threads of a port gain
    Drain(drain::Arguments),
}

/// Runs one of them.
///
/// # Errors
/// Refuses what cannot be measured here, and says what broke.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments, progress),
        Command::Send(arguments) => send::run(&arguments, progress),
        Command::Matrix(arguments) => matrix::run(&arguments, progress),
        Command::Drain(arguments) => drain::run(&arguments, progress),
    }
}
