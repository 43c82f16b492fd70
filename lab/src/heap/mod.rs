//! `heap`: the seed's HeapDemo: one heap for all threads against a private heap a thread, and what servers do with either.

mod contender;
mod parts;
mod seeds;
mod shape;
mod trial;

use std::ops::RangeInclusive;

use crate::measure::cores;
use crate::outcome::table::number;
use crate::outcome::{Column, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use contender::Contender;
use parts::{Bench, Part};
use shape::{BLOCKS, Shape};
use trial::{ANSWER, ANSWER_BLOCKS, ANSWER_CPU, ANSWER_WALL, Case, measure, measure_here};

const THREADS: RangeInclusive<usize> = 1..=256;
const ALLOCATIONS: RangeInclusive<usize> = 1..=1_000_000_000;
const BYTES: RangeInclusive<usize> = 1..=64 * 1024 * 1024;

/// Flags of `heap`. Without `--heap` all heaps are compared, part by part; with it one is measured, as the seed's program did.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure only this part of the comparison; may be given several times.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "heap")]
    part: Vec<Part>,
    /// Rounds of each measurement, whose median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99), value_name = "COUNT")]
    rounds: u16,
    /// Blocks that each thread allocates and frees. As many as in the seed's program for one heap; five times as many in
    /// comparisons, as threads that are done in a time slice do not meet, and a tenth of that for blocks from 16 KiB.
    #[arg(long, value_name = "COUNT")]
    allocations: Option<usize>,
    /// Measure this heap only, with --threads, --allocations and --bytes.
    #[arg(long, value_enum, value_name = "HEAP")]
    heap: Option<Contender>,
    /// What each thread does with its heap.
    #[arg(long, value_enum, default_value_t = Shape::Pair, requires = "heap", value_name = "SHAPE")]
    shape: Shape,
    /// How many threads (with --shape cross: pairs of threads).
    #[arg(long, default_value_t = seeds::THREADS, requires = "heap", value_name = "COUNT")]
    threads: usize,
    /// Length of a block in bytes.
    #[arg(long, default_value_t = seeds::TYPED_BYTES, requires = "heap", value_name = "BYTES")]
    bytes: usize,
    /// This process was started for that heap.
    #[arg(long, hide = true, requires = "heap")]
    inside: bool,
}

/// Compares the heaps, or measures one.
///
/// # Errors
/// Refuses numbers out of range, more memory than there is, and what a heap cannot do.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let usual = if arguments.heap.is_some() { seeds::ALLOCATIONS } else { 5 * seeds::ALLOCATIONS };
    let allocations = within("--allocations", arguments.allocations.unwrap_or(usual), &ALLOCATIONS)?;
    match arguments.heap {
        Some(contender) => demo(contender, allocations, &arguments, progress),
        None => compare(allocations, &arguments, progress),
    }
}

fn compare(allocations: usize, arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let parts = if arguments.part.is_empty() { Part::ALL.to_vec() } else { arguments.part.clone() };
    let mut outcome = Outcome::new("Thread-private heaps");
    outcome.setting("rounds", format!("{}, rotated, medians", arguments.rounds));
    outcome.setting(
        "allocations",
        format!("{} a thread, a tenth of that for blocks from 16 KiB", number(allocations as f64, 0)),
    );
    outcome.setting("threads", "pinned to the cores in turn");
    outcome.setting(
        "kept by ThreadHeap and Arena",
        format!("at most {} MiB a thread", trial::KEPT_BYTES_MAX >> 20),
    );
    let bench = Bench { rounds: usize::from(arguments.rounds), allocations, progress };
    for part in parts {
        bench.run(part, &mut outcome)?;
    }
    if cores::allowed().len() < seeds::THREADS {
        outcome.note(format!(
            "{} cores for up to 16 threads: a lock is contended less than on a machine with a core a thread, so what one \
             locked heap costs is a lower bound",
            cores::allowed().len()
        ));
    }
    Ok(outcome)
}

/// The seed's program: one kind of heap, so many threads, allocations, bytes.
fn demo(
    contender: Contender,
    allocations: usize,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Outcome, Refusal> {
    let case = Case {
        shape: arguments.shape,
        threads: within("--threads", arguments.threads, &THREADS)?,
        allocations,
        bytes: within("--bytes", arguments.bytes, &BYTES)?,
    };
    refuse_more_than_there_is(case)?;
    progress.stage(&format!("{}: {case:?}", contender.name()));
    let timing =
        if arguments.inside { Some(measure_here(contender, case)) } else { measure(contender, case)? };
    let Some(timing) = timing else { return Err(Refusal::new(impossible(contender, case.shape))) };
    let mut outcome = Outcome::new(format!("HeapDemo: {}", contender.name()));
    outcome.setting("threads", case.threads);
    outcome.setting("allocations", format!("{} a thread", case.allocations));
    outcome.setting("block", format!("{} bytes", case.bytes));
    let columns = vec![
        Column::number(ANSWER_WALL, "ms", 3),
        Column::number(ANSWER_CPU, "ms", 3),
        Column::number(ANSWER_BLOCKS, "", 0),
        Column::number("CPU time a block", "ns", 2),
    ];
    let mut table = Table::new(ANSWER, "All threads together", columns);
    let cpu_ms = timing.cpu.as_secs_f64() * 1e3;
    table.row([timing.wall_ms().into(), cpu_ms.into(), timing.blocks.into(), timing.cpu_ns().into()]);
    outcome.tables.push(table);
    Ok(outcome)
}

/// Why there is nothing to measure.
fn impossible(contender: Contender, shape: Shape) -> String {
    if shape == Shape::Cross {
        format!(
            "a block of {} cannot be freed by another thread: such a program does not compile",
            contender.name()
        )
    } else {
        format!(
            "{} does not free its blocks one by one, so it cannot keep a window of them",
            contender.name()
        )
    }
}

fn within(flag: &str, value: usize, range: &RangeInclusive<usize>) -> Result<usize, Refusal> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Refusal::new(format!("{flag} takes {} to {}, not {value}", range.start(), range.end())))
}

fn refuse_more_than_there_is(case: Case) -> Result<(), Refusal> {
    let blocks = if case.shape == Shape::Pair { 1 } else { BLOCKS };
    let bytes = case.threads.saturating_mul(blocks).saturating_mul(case.bytes);
    let memory = usize::try_from(rustix::system::sysinfo().totalram).unwrap_or(usize::MAX);
    if bytes > memory / 2 {
        let (wanted, there) = (bytes >> 20, memory >> 20);
        return Err(Refusal::new(format!(
            "these threads would hold {wanted} MiB at once, more than half of this machine's {there} MiB"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn outcome(line: &str) -> Result<Outcome, String> {
        let line = std::iter::once("heap").chain(line.split_whitespace());
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        run(line.arguments, &Progress::silent()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn one_heap_is_measured_as_the_seed_did() {
        let outcome =
            outcome("--heap thread-heap --threads 2 --allocations 1000 --bytes 100").expect("possible");
        let [wall, _, Cell::Number(blocks), _] = &outcome.tables[0].rows()[0][..] else {
            panic!("four numbers")
        };
        assert!((blocks - 2000.0).abs() < 0.5 && *wall != Cell::Number(0.0));
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (line, part) in [
            ("--heap thread-heap --shape cross", "does not compile"),
            ("--heap arena --shape window", "one by one"),
            ("--heap locked --threads 0", "--threads takes 1 to 256"),
            ("--heap locked --bytes 0", "--bytes takes 1 to"),
            ("--allocations 0", "--allocations takes 1 to"),
            ("--heap system --shape request --threads 256 --bytes 67108864", "MiB at once"),
            ("--threads 3", "--heap"),
            ("--heap locked --part typed", "cannot be used"),
        ] {
            let refusal = outcome(line).expect_err(line);
            assert!(refusal.contains(part), "{line}: {refusal}");
        }
    }

    #[test]
    fn the_second_program_compares_where_objects_live() {
        let outcome = outcome("--part typed --rounds 1").expect("possible");
        assert_eq!(outcome.tables[0].rows().len(), 3);
    }
}
