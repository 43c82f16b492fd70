//! The lab: instruments that measure servers, heaps and the machine under them, with a table, JSON and figures for each.
//!
//! # How an instrument is built
//! Every subcommand is a module with two public items, which `main.rs` dispatches to:
//!
//! ```text
//! #[derive(clap::Args, Debug)]
//! pub struct Arguments { .. }                     // its flags; units come last in their names
//! pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal>
//! ```
//!
//! A module joins with one `pub mod` line here and one variant of `Command` in `main.rs`.
//!
//! * [`Outcome`] is all that a run found: settings, environment, [`Table`]s, [`Figure`]s, notes. Nothing else prints on
//!   standard output, so `--json -` can be read by a program. (`watch` prints its samples while it runs; that is its point.)
//! * [`Refusal`] is one clear sentence: what cannot be done and what would help. [`Refusal::new`] ends with exit code 2 (bad
//!   arguments, an impossible set-up), [`Refusal::failed`] with 1 (a run that broke). An outcome with
//!   [`Outcome::fail`] is printed in full and ends with 1 (for example when a reply was wrong).
//! * [`Progress`] says on standard error what a long run is doing.
//! * [`measure`] holds what instruments share: cores and pinning, CPU clocks, process trees, medians and ratios with
//!   their spread, latency histograms, the machine's own jitter.

pub mod ceiling;
pub mod compare;
pub mod echo;
pub mod governor;
pub mod heap;
pub mod http;
pub mod interrupt;
pub mod jitter;
pub mod measure;
pub mod outcome;
pub mod progress;
pub mod refusal;
pub mod report;
pub mod stress;
mod trusting;
pub mod udp;
pub mod watch;

pub use outcome::{
    Axis, Bars, Cell, Column, Environment, Figure, Lines, Outcome, Scale, Series, Sinks, Table,
};
pub use progress::Progress;
pub use refusal::Refusal;
