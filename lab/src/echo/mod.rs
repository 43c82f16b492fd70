//! `echo`: servers that say everything again, and clients that check every byte.

pub mod client;
pub mod datagram_server;
pub mod datagrams;
pub mod failure;
pub mod load;
pub mod pingpong;
pub mod plan;
pub mod protocol;
pub mod script;

use crate::ceiling::{Kind, RoundFlags, Service, cases, serve, two_cores};
use crate::measure::cores;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_engine::Handover;
use script::Framing;

/// Flags of `echo`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What `echo` does.
#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Run an echo server.
    Serve(ServeArguments),
    /// Stress a TCP echo server with many connections and check every byte.
    Load(load::Arguments),
    /// Measure how long one message takes there and back, in every wait mode of the engine.
    Pingpong(pingpong::Arguments),
    /// Compare what an echo of 64 bytes costs the engine's drivers and servers without an engine.
    Compare(RoundFlags),
}

/// Flags of `echo serve`.
#[derive(clap::Args, Clone, Debug)]
struct ServeArguments {
    /// What serves.
    #[arg(value_enum, default_value = "uring")]
    kind: Kind,
    /// Whether messages are told apart: with `length` only whole ones are said again.
    #[arg(long, value_enum, default_value = "raw")]
    framing: Framing,
    /// Serve datagrams: on the engine's workers, or by a loop of two system calls (`plain-blocking`).
    #[arg(long, conflicts_with = "framing")]
    udp: bool,
    /// Serve datagrams on a port of one ring and one thread, and say which batches go to the thread instead of being handled
    /// by the ring's owner.
    #[arg(long, value_enum, value_name = "HANDOVER", requires = "udp", conflicts_with = "workers")]
    port: Option<PortHandover>,
    #[command(flatten)]
    flags: serve::Flags,
}

/// When a port hands a batch over to a pool thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PortHandover {
    /// When the ring's last batch took long.
    WhenLong,
    /// Always.
    Always,
}

/// Runs a server, clients, or both.
///
/// # Errors
/// Refuses what cannot be listened on or connected to, and set-ups that this machine cannot carry.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    match arguments.command {
        Command::Serve(arguments) => run_server(&arguments, progress),
        Command::Load(arguments) => load::run(&arguments, progress),
        Command::Pingpong(arguments) => pingpong::run(&arguments, progress),
        Command::Compare(flags) => compare(&flags, progress),
    }
}

fn run_server(arguments: &ServeArguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let (kind, flags) = (arguments.kind, &arguments.flags);
    if !arguments.udp {
        return serve::serve(kind, &Service::Echo, arguments.framing, flags, progress);
    }
    let port = arguments.port.map(|handover| match handover {
        PortHandover::WhenLong => Handover::WhenLong,
        PortHandover::Always => Handover::Always,
    });
    serve::host(&format!("{kind}, UDP"), flags, progress, |ends| {
        datagram_server::start(kind, flags, port, ends)
    })
}

fn compare(flags: &RoundFlags, progress: &Progress) -> Result<Outcome, Refusal> {
    let mut outcome = Outcome::new("What a TCP echo costs the server");
    flags.describe(&mut outcome);
    let [server_core, client_core] = two_cores()?;
    cores::pin(client_core)?;
    let measured = flags.measure_echo(&["echo", "serve"], server_core, &mut outcome, progress)?;
    outcome.figures.extend(cases::figure(
        "echo-compare",
        "What an echo of 64 bytes costs the server",
        &measured,
    ));
    Ok(outcome)
}
