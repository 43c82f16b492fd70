//! One measurement: threads that begin together, their time and their CPU time; here or in a process of its own.

use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ringway_heap::{Allocator, Arena, ArenaOptions, HeapOptions, Local, Process, ThreadHeap};
use serde_json::Value;

use super::contender::{Contender, jemalloc, locked, mimalloc};
use super::shape::{BLOCKS, Shape, cross, drive, drive_arena};
use crate::measure::clock::thread_cpu;
use crate::measure::cores;
use crate::refusal::Refusal;

/// What is to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) shape: Shape,
    pub(super) threads: usize,
    /// Blocks that each thread allocates and frees.
    pub(super) allocations: usize,
    /// Of a block.
    pub(super) bytes: usize,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    /// From the first thread's beginning to the last one's end.
    pub(super) wall: Duration,
    /// Of all threads.
    pub(super) cpu: Duration,
    /// Allocated and freed by all threads.
    pub(super) blocks: f64,
}

impl Timing {
    /// From the first thread's beginning to the last one's end, in milliseconds.
    pub(super) fn wall_ms(&self) -> f64 {
        self.wall.as_secs_f64() * 1e3
    }

    /// How many cores were at work on average.
    pub(super) fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }

    /// CPU time a block, in nanoseconds.
    pub(super) fn cpu_ns(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.blocks
    }
}

/// One thread's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lap {
    begin: Instant,
    end: Instant,
    cpu: Duration,
    blocks: usize,
}

/// Room for a request of 64 blocks of 1 MiB, in what a heap keeps and in what an arena may hold.
pub(super) const KEPT_BYTES_MAX: usize = 128 << 20;

fn heap_options() -> HeapOptions {
    HeapOptions { cached_bytes_max: KEPT_BYTES_MAX, ..HeapOptions::default() }
}

fn arena_options() -> ArenaOptions {
    ArenaOptions { chunk_bytes: 64 * 1024, retained_bytes_max: KEPT_BYTES_MAX, limit_bytes: usize::MAX }
}

/// Measures a contender; `None` where there is nothing to measure: a private heap's blocks cannot be freed elsewhere, an
/// arena's not one by one.
///
/// # Errors
/// When the process of its own that some contenders need cannot be started or says nothing.
pub(super) fn measure(contender: Contender, case: Case) -> Result<Option<Timing>, Refusal> {
    let impossible = match case.shape {
        Shape::Cross => !contender.is_shared(),
        Shape::Window => contender == Contender::Arena,
        Shape::Pair | Shape::Request => false,
    };
    if impossible {
        return Ok(None);
    }
    if contender.environment().is_empty() {
        return Ok(Some(measure_here(contender, case)));
    }
    measure_elsewhere(contender, case).map(Some)
}

/// Measures a contender in this process, whatever its environment.
pub(super) fn measure_here(contender: Contender, case: Case) -> Timing {
    match contender {
        Contender::System | Contender::OneArena | Contender::OneArenaUncached => {
            shared(Process::system(), case)
        }
        Contender::Locked => shared(&locked(), case),
        Contender::Mimalloc => shared(mimalloc(), case),
        Contender::Jemalloc => shared(jemalloc(), case),
        Contender::ThreadHeap => private(case, |count, lap| {
            let heap = ThreadHeap::with(heap_options());
            drive(&heap, case.shape, case.bytes, count / 8 + BLOCKS);
            lap(&mut || drive(&heap, case.shape, case.bytes, count))
        }),
        Contender::Arena => private(case, |count, lap| {
            let mut arena = Arena::with(arena_options(), Local::new());
            drive_arena(&mut arena, case.shape, case.bytes, count / 8 + BLOCKS);
            lap(&mut || drive_arena(&mut arena, case.shape, case.bytes, count))
        }),
    }
}

/// What a pair of threads costs that sends empty batches to each other.
pub(super) fn channel_alone(case: Case) -> Timing {
    let barrier = Barrier::new(case.threads * 2);
    let timed = |work: &mut dyn FnMut() -> usize| lap(&barrier, work);
    let laps = std::thread::scope(|scope| {
        let pairs =
            (0..case.threads).flat_map(|_| cross(scope, Process::system(), None, case.allocations, timed));
        joined(pairs.collect())
    });
    summed(&laps)
}

/// Threads that share an allocator.
fn shared<A: Allocator + Copy + Send + Sync>(allocator: A, case: Case) -> Timing {
    let Case { shape, threads, allocations, bytes } = case;
    if shape != Shape::Cross {
        return private(case, |count, lap| {
            drive(allocator, shape, bytes, count / 8 + BLOCKS);
            lap(&mut || drive(allocator, shape, bytes, count))
        });
    }
    let barrier = Barrier::new(threads * 2);
    let timed = |work: &mut dyn FnMut() -> usize| lap(&barrier, work);
    let laps = std::thread::scope(|scope| {
        let pairs = (0..threads).flat_map(|_| cross(scope, allocator, Some(bytes), allocations, timed));
        joined(pairs.collect())
    });
    summed(&laps)
}

/// Threads that each do `work`: warm up, then pass what is to be timed to the function they are given.
pub(super) fn private<W>(case: Case, work: W) -> Timing
where
    W: Fn(usize, &mut dyn FnMut(&mut dyn FnMut() -> usize) -> Lap) -> Lap + Sync,
{
    let barrier = Barrier::new(case.threads);
    let laps = std::thread::scope(|scope| {
        let threads = (0..case.threads).map(|index| spawn(scope, index, &barrier, &work, case.allocations));
        joined(threads.collect())
    });
    summed(&laps)
}

fn spawn<'scope, W>(
    scope: &'scope Scope<'scope, '_>,
    index: usize,
    barrier: &'scope Barrier,
    work: &'scope W,
    count: usize,
) -> ScopedJoinHandle<'scope, Lap>
where
    W: Fn(usize, &mut dyn FnMut(&mut dyn FnMut() -> usize) -> Lap) -> Lap + Sync,
{
    scope.spawn(move || {
        // On several cores from the first moment on, so that threads meet; where that is not allowed the kernel decides.
        let cores = cores::allowed();
        let _elsewhere = cores::pin(cores[index % cores.len()]);
        work(count, &mut |timed| lap(barrier, timed))
    })
}

/// Waits for the other threads, then times `work`.
fn lap(barrier: &Barrier, work: &mut dyn FnMut() -> usize) -> Lap {
    barrier.wait();
    let (begin, cpu) = (Instant::now(), thread_cpu());
    let blocks = work();
    Lap { cpu: thread_cpu() - cpu, begin, end: Instant::now(), blocks }
}

fn joined(threads: Vec<ScopedJoinHandle<'_, Lap>>) -> Vec<Lap> {
    let join = |thread: ScopedJoinHandle<'_, Lap>| match thread.join() {
        Ok(lap) => lap,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    threads.into_iter().map(join).collect()
}

fn summed(laps: &[Lap]) -> Timing {
    let begin = laps.iter().map(|lap| lap.begin).min();
    let end = laps.iter().map(|lap| lap.end).max();
    Timing {
        wall: begin.zip(end).map_or(Duration::ZERO, |(begin, end)| end - begin),
        cpu: laps.iter().map(|lap| lap.cpu).sum(),
        blocks: laps.iter().map(|lap| lap.blocks).sum::<usize>() as f64,
    }
}

/// The table that a process of its own answers with, and its columns.
pub(super) const ANSWER: &str = "run";
pub(super) const ANSWER_WALL: &str = "time";
pub(super) const ANSWER_CPU: &str = "CPU time";
pub(super) const ANSWER_BLOCKS: &str = "blocks";

fn measure_elsewhere(contender: Contender, case: Case) -> Result<Timing, Refusal> {
    let own = std::env::current_exe().map_err(Refusal::because("cannot find this program"))?;
    let shape = clap::ValueEnum::to_possible_value(&case.shape);
    let shape = shape.map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut command = Command::new(own);
    command.args([
        "--quiet",
        "--json",
        "-",
        "heap",
        "--heap",
        contender.flag(),
        "--inside",
        "--shape",
        &shape,
    ]);
    for (flag, value) in
        [("--threads", case.threads), ("--allocations", case.allocations), ("--bytes", case.bytes)]
    {
        command.arg(flag).arg(value.to_string());
    }
    command.envs(contender.environment().iter().copied()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(Refusal::because("cannot start this program again"))?;
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let timing = answer.as_ref().filter(|_| output.status.success()).and_then(timing_of);
    timing.ok_or_else(|| {
        Refusal::failed(format!(
            "the process for {} ended with {} and no answer",
            contender.name(),
            output.status
        ))
    })
}

fn timing_of(answer: &Value) -> Option<Timing> {
    let table = answer["tables"].as_array()?.iter().find(|table| table["name"] == ANSWER)?;
    let row = &table["rows"][0];
    Some(Timing {
        wall: Duration::from_secs_f64(row[ANSWER_WALL].as_f64()? / 1000.0),
        cpu: Duration::from_secs_f64(row[ANSWER_CPU].as_f64()? / 1000.0),
        blocks: row[ANSWER_BLOCKS].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_does_what_it_can() {
        for contender in Contender::ALL {
            for shape in [Shape::Pair, Shape::Request, Shape::Window, Shape::Cross] {
                let case = Case { shape, threads: 2, allocations: 640, bytes: 1000 };
                if !contender.environment().is_empty() {
                    continue;
                }
                match measure(contender, case).expect("nothing to start") {
                    Some(timing) => {
                        assert!(
                            timing.cpu > Duration::ZERO && (timing.blocks - 1280.0).abs() < 0.5,
                            "{contender:?} {timing:?}"
                        );
                    }
                    None => assert!(!contender.is_shared(), "{contender:?} {shape:?}"),
                }
            }
        }
    }

    #[test]
    fn answers_are_read_back() {
        let answer = serde_json::json!({ "tables": [
            { "name": "run", "rows": [{ "time": 2.0, "CPU time": 4.0, "blocks": 1000.0 }] }
        ] });
        let timing = timing_of(&answer).expect("an answer");
        assert_eq!(timing.wall.as_millis(), 2);
        assert!((timing.cpu_ns() - 4000.0).abs() < 1e-6);
        assert!(timing_of(&serde_json::json!({})).is_none());
    }
}
