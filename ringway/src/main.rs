//! The `ringway` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// What is on no worker's own heap, for those who ask for it: it costs memory, and requests for files do not touch it.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static PROCESS_HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringway::command::main()
}
