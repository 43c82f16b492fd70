//! The developer commands beside the tests: AddressSanitizer, fuzzing, the embedded build, the reference.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::step::{self, cargo};
use crate::{Failure, repository_root};

/// The target of the embedded build: a C library that links statically, for a machine of this kind.
pub(crate) const EMBEDDED_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-musl" } else { "x86_64-unknown-linux-musl" };

/// Sanitizers need a named target, so that build scripts and macros stay without them.
const SANITIZED_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// The promise of the embedded profile, in bytes.
const EMBEDDED_SIZE_MAX: u64 = 1 << 20;

/// Runs the tests of the unsafe rooms, all but the documentation's, under AddressSanitizer.
pub(crate) fn asan() -> Result<(), Failure> {
    let mut command =
        cargo(&["test", "-p", "ringway-ring", "-p", "ringway-heap", "--tests", "--target", SANITIZED_TARGET]);
    // The sanitizer is a nightly flag of the compiler; this variable lets the stable one take it.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    step::run("address sanitizer", &mut command)
}

/// Runs every fuzz target for `minutes` minutes. It begins from the corpus in the repository, which stays as it is: what is
/// found goes to the target folder.
pub(crate) fn fuzz(minutes: u32) -> Result<(), Failure> {
    let targets = fuzz_targets()?;
    let seconds = format!("-max_total_time={}", u64::from(minutes) * 60);
    let start = Instant::now();
    for target in &targets {
        let found = target_folder().join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found)
            .map_err(|error| Failure::Failed(format!("cannot make {}: {error}", found.display())))?;
        let mut command = cargo(&["fuzz", "run", "--target", SANITIZED_TARGET, target]);
        command.arg(found).arg(format!("fuzz/corpus/{target}")).args(["--", &seconds, "-max_len=1024"]);
        command.env("RUSTC_BOOTSTRAP", "1");
        step::run(&format!("fuzz {target}"), &mut command)?;
    }
    let took = Duration::from_secs(start.elapsed().as_secs());
    println!("{} fuzz targets found nothing in {took:?}", targets.len());
    Ok(())
}

fn fuzz_targets() -> Result<Vec<String>, Failure> {
    let output = cargo(&["fuzz", "list"]).output();
    let output = output.map_err(|error| Failure::Failed(format!("cannot run `cargo fuzz list`: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::Failed(format!("`cargo fuzz list` failed: {why}")));
    }
    let targets: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect();
    if targets.is_empty() {
        Err(Failure::Failed("there are no fuzz targets".to_owned()))
    } else {
        Ok(targets)
    }
}

/// Builds the smallest binary and holds it to its promised size.
pub(crate) fn embedded() -> Result<(), Failure> {
    let profile = ["build", "--profile", "embedded", "--no-default-features", "--features", "static"];
    let place = ["-p", "ringway", "--bin", "ringway", "--target", EMBEDDED_TARGET];
    step::run("embedded build", &mut cargo(&[&profile[..], &place[..]].concat()))?;
    let binary = target_folder().join(EMBEDDED_TARGET).join("embedded/ringway");
    let size = std::fs::metadata(&binary)
        .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", binary.display())))?
        .len();
    println!(
        "{}: {size} bytes ({} KiB) of {} KiB",
        binary.display(),
        size.div_ceil(1024),
        EMBEDDED_SIZE_MAX / 1024
    );
    if size > EMBEDDED_SIZE_MAX {
        return Err(Failure::Failed(format!(
            "the embedded binary is {} bytes too large",
            size - EMBEDDED_SIZE_MAX
        )));
    }
    Ok(())
}

/// Has the test that guards the reference of the configuration write it instead.
pub(crate) fn docs() -> Result<(), Failure> {
    let mut command =
        cargo(&["test", "-p", "ringway", "--test", "config", "the_reference_is_what_the_types_say"]);
    command.env("RINGWAY_REWRITE", "1");
    step::run("reference of the configuration", &mut command)
}

/// Where cargo puts what it builds.
fn target_folder() -> PathBuf {
    repository_root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
