//! `ringway-lab stress` through the real binary: honest servers are found honest, and each lie of others is told exactly.

mod datagrams;
mod honest;
mod liars;
mod servers;
#[path = "../echo/stand.rs"]
#[allow(dead_code, reason = "the stand is that of the echo clients, who use all of it")]
mod stand;

use stand::{Run, read, run};

/// Runs `stress ADDRESS …` and reads what it found.
fn stress(address: &str, arguments: &[&str]) -> Run {
    read(&run(&[&["stress", address, "--json", "-", "--quiet"], arguments].concat()))
}

/// A failure, in words.
fn failure(run: &Run) -> String {
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let row = &run.rows("failures")[0];
    let text = |name: &str| row[name].as_str().expect("text").to_owned();
    let words = text("where and how");
    assert!(run.stderr.contains(&words), "it is the last word, too: {}", run.stderr);
    format!("{}: {words}", text("what"))
}
