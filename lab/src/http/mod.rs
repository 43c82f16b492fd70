//! `http`: a load generator on the engine, and the sweep over numbers of connections.
//!
//! [`load::run`] carries a [`Plan`] out and returns a [`Load`]; everything that other instruments need is there. A plan for
//! one URL is made by [`Plan::get`] and changed by its fields.

mod answer;
mod arguments;
mod client;
mod drive;
pub mod load;
mod outcome;
pub mod plan;
mod probe;
mod schedule;
mod script;
mod seeds;
pub mod server;
mod sweep;
mod sweep_outcome;
pub mod tally;
mod targets;
pub mod url;

pub use arguments::LoadArguments;
pub use load::Load;
pub use outcome::latency_cells;
pub use plan::{Plan, Target};
pub use server::{Served, ServerSpec};
pub use sweep::SweepArguments;

use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;

/// Flags of `http`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The two ways to ask.
#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Ask one server as fast as it answers, or at a rate; check every answer.
    Load(LoadArguments),
    /// Ask one server or several, from few connections to many, and compare their CPU time and memory.
    Sweep(SweepArguments),
}

/// Runs a load or a sweep.
///
/// # Errors
/// Refuses what cannot be carried out here.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    match arguments.command {
        Command::Load(arguments) => outcome::load(&arguments, progress),
        Command::Sweep(arguments) => sweep::run(&arguments, progress),
    }
}
