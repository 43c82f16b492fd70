//! The parts of the comparison: the seed's three figures, its second program, and what a server asks of a heap.

use std::hint::black_box;
use std::mem::MaybeUninit;

use ringway_heap::allocator_api2::boxed::Box;
use ringway_heap::{HeapOptions, Process, SLAB_BYTES_MAX, ThreadHeap, ThreadPrivate};

use super::contender::{Contender, mimalloc};
use super::seeds;
use super::shape::{BLOCKS, Shape};
use super::trial::{Case, Timing, channel_alone, measure, private};
use crate::measure::{Spread, cores, median};
use crate::outcome::table::number;
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;

/// A part of the comparison.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Time against threads, blocks of 1 KiB and of 64 KiB: the seed's first two figures.
    Threads,
    /// Time against size, 4 threads: the seed's third figure.
    Sizes,
    /// 64 allocations, then all are freed: CPU time a block, and the bars that ThreadHeap and Arena are held to.
    Request,
    /// Blocks kept alive in a window.
    Window,
    /// Blocks freed by another thread than the one that allocated them.
    Cross,
    /// 20,000 objects of a type that says where it lives: the seed's second program.
    Typed,
    /// What keeping freed blocks gains, by size: where it is worth it.
    Threshold,
}

impl Part {
    pub(super) const ALL: [Self; 7] =
        [Self::Threads, Self::Sizes, Self::Request, Self::Window, Self::Cross, Self::Typed, Self::Threshold];
}

const THREADS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];
const SIZES: [usize; 14] = [
    64,
    256,
    512,
    1 << 10,
    2 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    seeds::CROSSOVER_BYTES,
    64 << 10,
    128 << 10,
    256 << 10,
    1 << 20,
];
const REQUEST_SIZES: [usize; 8] = [16, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const WINDOW_SIZES: [usize; 6] = [16, 256, 1 << 10, 4 << 10, 64 << 10, 256 << 10];
const BAR_THREADS: [usize; 5] = [1, 2, 4, 8, 16];
/// An arena's block of up to [`BUMP_BYTES_MAX`] costs at most this, in CPU nanoseconds.
const BUMP_NS_MAX: f64 = 1.5;
const BUMP_BYTES_MAX: usize = 256;
/// A private heap's block of any size costs at most this.
const SLAB_NS_MAX: f64 = 15.0;
/// Blocks from here on are allocated a tenth as often, so that a comparison ends this day.
const LARGE_BYTES_MIN: usize = 16 << 10;

/// Of the cores, what threads that wait for nobody get on a quiet machine.
const QUIET_SHARE_MIN: f64 = 0.85;

/// What all parts share.
pub(super) struct Bench<'a> {
    pub(super) rounds: usize,
    pub(super) allocations: usize,
    pub(super) progress: &'a Progress,
}

/// What a contender's rounds said; empty when it cannot do what was asked.
type Rounds = Vec<Timing>;

/// One of the typed programs.
type Program = fn(Case) -> Timing;

fn median_of(rounds: &Rounds, value: impl Fn(&Timing) -> f64) -> Option<f64> {
    median(&rounds.iter().map(value).collect::<Vec<_>>())
}

impl Bench<'_> {
    pub(super) fn run(&self, part: Part, outcome: &mut Outcome) -> Result<(), Refusal> {
        match part {
            Part::Threads => {
                self.against_threads(1 << 10, "1 KiB", "heap-threads-1k", outcome)?;
                self.against_threads(64 << 10, "64 KiB", "heap-threads-64k", outcome)
            }
            Part::Sizes => self.against_sizes(outcome),
            Part::Request => {
                self.request(outcome)?;
                self.bars(outcome)
            }
            Part::Window => self.window(outcome),
            Part::Cross => self.cross(outcome),
            Part::Typed => self.typed(outcome),
            Part::Threshold => self.threshold(outcome),
        }
    }

    fn allocations(&self, bytes: usize) -> usize {
        if bytes < LARGE_BYTES_MIN { self.allocations } else { (self.allocations / 10).max(BLOCKS) }
    }

    /// Every contender, in another order each round.
    fn all(&self, what: &str, case: Case) -> Result<Vec<Rounds>, Refusal> {
        let mut rounds = vec![Rounds::new(); Contender::ALL.len()];
        for round in 0..self.rounds {
            for turn in 0..Contender::ALL.len() {
                let index = (round + turn) % Contender::ALL.len();
                let contender = Contender::ALL[index];
                let done = (round * Contender::ALL.len() + turn) as u64;
                let total = (self.rounds * Contender::ALL.len()) as u64;
                self.progress.step(&format!("{what}: {}", contender.name()), done, total);
                rounds[index].extend(measure(contender, case)?);
            }
        }
        Ok(rounds)
    }

    /// The seed's first two figures.
    fn against_threads(
        &self,
        bytes: usize,
        size: &str,
        name: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let allocations = self.allocations(bytes);
        let per_thread =
            format!("{} blocks of {size} a thread, each freed at once", number(allocations as f64, 0));
        let mut time = table(name, &format!("Time: {per_thread}"), "threads", "ms", 2);
        let mut cpu =
            table(&format!("{name}-cpu"), &format!("CPU time a block: {per_thread}"), "threads", "ns", 1);
        let mut lines = lines();
        let mut shares = Vec::new();
        for threads in THREADS {
            let what = format!("{size}, {threads} threads");
            self.progress.stage(&what);
            let all = self.all(&what, Case { shape: Shape::Pair, threads, allocations, bytes })?;
            let wall: Vec<Option<f64>> =
                all.iter().map(|rounds| median_of(rounds, Timing::wall_ms)).collect();
            if threads >= cores::allowed().len() {
                shares.extend(at(&all, Contender::ThreadHeap).iter().map(Timing::cores));
            }
            for (line, wall) in lines.iter_mut().zip(&wall) {
                line.extend(wall.map(|wall| (threads as f64, wall)));
            }
            row(&mut time, (threads as f64).into(), wall);
            row(
                &mut cpu,
                (threads as f64).into(),
                all.iter().map(|rounds| median_of(rounds, Timing::cpu_ns)),
            );
        }
        outcome.tables.extend([time, cpu]);
        note_business(&shares, outcome);
        let title = format!("Time against threads, blocks of {size}");
        let figure =
            Figure::lines(name, title, Axis::linear("threads", ""), Axis::log("time", "ms"), series(lines));
        outcome.figures.push(figure.subtitled(format!("{per_thread}; {} cores", cores::allowed().len())));
        Ok(())
    }

    /// The seed's third figure, and what it says of gains and crossover, beside ours.
    fn against_sizes(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let title = "CPU time a block against its size, 4 threads, each block freed at once";
        let mut cpu = table("heap-sizes-cpu", title, "bytes", "ns", 1);
        let title = "Time a block of a thread against its size, 4 threads, each block freed at once";
        let mut wall = table("heap-sizes", title, "bytes", "ns", 1);
        let columns = vec![
            Column::number("bytes", "", 0),
            Column::ratio("one locked heap, time"),
            Column::ratio("one locked heap, CPU time"),
            Column::ratio("malloc, CPU time"),
            Column::ratio("mimalloc, CPU time"),
            Column::text("the seed, time"),
        ];
        let title =
            format!("Times longer than with private heaps, 4 threads; the seed: {}, one heap", seeds::SOURCE);
        let mut gains = Table::new("heap-gains", title, columns);
        let mut lines = lines();
        let mut shares = Vec::new();
        for bytes in SIZES {
            let what = format!("{bytes} bytes, {} threads", seeds::THREADS);
            self.progress.stage(&what);
            let allocations = self.allocations(bytes);
            let all =
                self.all(&what, Case { shape: Shape::Pair, threads: seeds::THREADS, allocations, bytes })?;
            let time =
                |rounds: &Rounds| median_of(rounds, |timing| timing.wall_ms() * 1e6 / allocations as f64);
            for (line, rounds) in lines.iter_mut().zip(&all) {
                line.extend(time(rounds).map(|time| (bytes as f64, time)));
            }
            row(&mut wall, (bytes as f64).into(), all.iter().map(time));
            row(&mut cpu, (bytes as f64).into(), all.iter().map(|rounds| median_of(rounds, Timing::cpu_ns)));
            shares.extend(at(&all, Contender::ThreadHeap).iter().map(Timing::cores));
            let gain = |contender, value: fn(&Timing) -> f64| gain(&all, contender, value);
            gains.row([
                (bytes as f64).into(),
                gain(Contender::Locked, Timing::wall_ms),
                gain(Contender::Locked, Timing::cpu_ns),
                gain(Contender::System, Timing::cpu_ns),
                gain(Contender::Mimalloc, Timing::cpu_ns),
                seeds::gain(bytes).into(),
            ]);
        }
        outcome.tables.extend([wall, cpu, gains]);
        note_business(&shares, outcome);
        let (x, y) = (Axis::log("block", "bytes"), Axis::log("time a block of a thread", "ns"));
        let figure = Figure::lines("heap-sizes", "Time against size, 4 threads", x, y, series(lines));
        outcome
            .figures
            .push(figure.subtitled("each block is freed at once; only its first and last bytes are written"));
        outcome.note(format!(
            "the seed's gain ended at {} bytes, where NT's heap went to the system for every block; a ThreadHeap does so above {} \
             bytes",
            seeds::CROSSOVER_BYTES, SLAB_BYTES_MAX
        ));
        Ok(())
    }

    /// A request-shaped load, one thread.
    fn request(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let title = format!("A request: {BLOCKS} blocks, then all are freed; CPU time a block, 1 thread");
        let mut cpu = table("heap-request", &title, "bytes", "ns", 2);
        let mut lines = lines();
        for bytes in REQUEST_SIZES {
            let what = format!("requests of {bytes} bytes");
            self.progress.stage(&what);
            let case =
                Case { shape: Shape::Request, threads: 1, allocations: self.allocations(bytes), bytes };
            let all = self.all(&what, case)?;
            for (line, rounds) in lines.iter_mut().zip(&all) {
                line.extend(median_of(rounds, Timing::cpu_ns).map(|cpu| (bytes as f64, cpu)));
            }
            row(&mut cpu, (bytes as f64).into(), all.iter().map(|rounds| median_of(rounds, Timing::cpu_ns)));
        }
        outcome.tables.push(cpu);
        let (x, y) = (Axis::log("block", "bytes"), Axis::log("CPU time a block", "ns"));
        let title = format!("A request of {BLOCKS} blocks: CPU time a block");
        let figure = Figure::lines("heap-request", title, x, y, series(lines));
        outcome.figures.push(figure.subtitled("64 blocks are allocated, then all are freed; 1 thread"));
        Ok(())
    }

    /// The bars, for 1 to 16 threads.
    fn bars(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let mut columns = vec![Column::text("heap"), Column::number("bytes", "", 0)];
        let by_threads = |threads: &usize| Column::number(format!("threads: {threads}"), "ns", 2);
        columns.extend(BAR_THREADS.iter().map(by_threads));
        columns.extend([Column::number("bar", "ns", 1), Column::text("verdict")]);
        let mut table =
            Table::new("heap-bars", "The same by threads: CPU time a block, and the bars", columns);
        for contender in [Contender::Arena, Contender::ThreadHeap] {
            let is_arena = contender == Contender::Arena;
            for bytes in REQUEST_SIZES.into_iter().filter(|bytes| !is_arena || *bytes <= BUMP_BYTES_MAX) {
                let bar = if is_arena { BUMP_NS_MAX } else { SLAB_NS_MAX };
                self.progress.stage(&format!("bars: {}, {bytes} bytes", contender.name()));
                let mut cells = vec![Cell::from(contender.name()), (bytes as f64).into()];
                let mut is_met = true;
                for threads in BAR_THREADS {
                    let case =
                        Case { shape: Shape::Request, threads, allocations: self.allocations(bytes), bytes };
                    let rounds: Result<Vec<_>, _> =
                        (0..self.rounds).map(|_| measure(contender, case)).collect();
                    let cpu = median_of(&rounds?.into_iter().flatten().collect(), Timing::cpu_ns);
                    is_met &= cpu.is_some_and(|cpu| cpu <= bar);
                    cells.push(cpu.into());
                }
                cells.extend([bar.into(), if is_met { "met" } else { "missed" }.into()]);
                table.row_of(cells);
            }
        }
        outcome.tables.push(table);
        Ok(())
    }

    fn window(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let title = format!("{BLOCKS} blocks alive, a random one replaced; CPU time a block, 4 threads");
        let mut cpu = table("heap-window", &title, "bytes", "ns", 2);
        for bytes in WINDOW_SIZES {
            let what = format!("a window of {bytes} bytes");
            self.progress.stage(&what);
            let allocations = self.allocations(bytes);
            let all =
                self.all(&what, Case { shape: Shape::Window, threads: seeds::THREADS, allocations, bytes })?;
            row(&mut cpu, (bytes as f64).into(), all.iter().map(|rounds| median_of(rounds, Timing::cpu_ns)));
        }
        outcome.tables.push(cpu);
        outcome.note("an arena does not free blocks one by one, so it has no window");
        Ok(())
    }

    fn cross(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let shared = || Contender::ALL.into_iter().filter(|contender| contender.is_shared());
        let mut columns = vec![Column::number("bytes", "", 0)];
        columns.extend(shared().map(|contender| Column::number(contender.name(), "ns", 1)));
        columns.push(Column::number("channel alone", "ns", 1));
        columns.extend(
            Contender::ALL
                .into_iter()
                .filter(|contender| !contender.is_shared())
                .map(|contender| Column::text(contender.name())),
        );
        let title =
            "Freed by another thread: 2 pairs of threads, batches of 64 blocks; CPU time a block of both";
        let mut table = Table::new("heap-cross", title, columns);
        for bytes in WINDOW_SIZES {
            let what = format!("across threads, {bytes} bytes");
            self.progress.stage(&what);
            let case = Case { shape: Shape::Cross, threads: 2, allocations: self.allocations(bytes), bytes };
            let all = self.all(&what, case)?;
            let alone: Rounds = (0..self.rounds).map(|_| channel_alone(case)).collect();
            let mut cells = vec![(bytes as f64).into()];
            let medians = all
                .iter()
                .filter(|rounds| !rounds.is_empty())
                .map(|rounds| median_of(rounds, Timing::cpu_ns));
            cells.extend(medians.map(Cell::from));
            cells.push(median_of(&alone, Timing::cpu_ns).into());
            cells.extend(["does not compile", "does not compile"].map(Cell::from));
            table.row_of(cells);
        }
        outcome.tables.push(table);
        outcome.note("a block of a private heap cannot reach another thread: the compiler refuses the program, and a test holds it to that");
        Ok(())
    }

    /// The seed's second program.
    fn typed(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let case = Case {
            shape: Shape::Pair,
            threads: seeds::THREADS,
            allocations: seeds::TYPED_OBJECTS,
            bytes: seeds::TYPED_BYTES,
        };
        let columns = vec![
            Column::text("objects live on"),
            Column::number("time", "ms", 3),
            Column::number("CPU time an object", "ns", 2),
            Column::ratio("times the private heap's CPU"),
        ];
        let title = "4 threads, 20,000 objects of 1,024 bytes each, of a type that says where they live";
        let mut table = Table::new("heap-typed", title, columns);
        self.progress.stage("typed objects");
        let programs: [(&str, Program); 3] = [
            ("the process heap (malloc)", on_malloc),
            ("mimalloc", on_mimalloc),
            ("the current thread's heap", on_thread),
        ];
        // Each is over in a millisecond, so there are many rounds.
        let mut rounds = vec![Rounds::new(); programs.len()];
        for round in 0..self.rounds * 5 {
            for turn in 0..programs.len() {
                let index = (round + turn) % programs.len();
                rounds[index].push(programs[index].1(case));
            }
        }
        let cpu = |rounds: &Rounds| rounds.iter().map(Timing::cpu_ns).collect::<Vec<_>>();
        let own = cpu(&rounds[2]);
        for ((name, _), rounds) in programs.iter().zip(&rounds) {
            table.row([
                (*name).into(),
                median_of(rounds, Timing::wall_ms).into(),
                median_of(rounds, Timing::cpu_ns).into(),
                Spread::of_ratios(&cpu(rounds), &own).map_or(Cell::Missing, Spread::as_ratio),
            ]);
        }
        outcome.tables.push(table);
        Ok(())
    }

    /// Blocks that are kept when they are freed against blocks that are not, when every byte is used.
    fn threshold(&self, outcome: &mut Outcome) -> Result<(), Refusal> {
        let columns = vec![
            Column::number("bytes", "", 0),
            Column::number("kept", "µs", 2),
            Column::number("given back", "µs", 2),
            Column::ratio("times longer"),
            Column::text("what a ThreadHeap does"),
        ];
        let title = "Blocks that are written in full, kept when they are freed or given back to the kernel; CPU time a block, 1 thread";
        let mut table = Table::new("heap-threshold", title, columns);
        for bytes in (16..=24).map(|power| 1_usize << power) {
            self.progress.stage(&format!("threshold: {bytes} bytes"));
            let mut rounds = [Rounds::new(), Rounds::new()];
            for round in 0..self.rounds {
                for turn in 0..2 {
                    let kept = (round + turn) % 2 == 0;
                    rounds[usize::from(!kept)].push(filled(bytes, kept));
                }
            }
            let cpu = |rounds: &Rounds| rounds.iter().map(|timing| timing.cpu_ns() / 1e3).collect::<Vec<_>>();
            let [kept, back] = rounds.each_ref().map(cpu);
            table.row([
                (bytes as f64).into(),
                median(&kept).into(),
                median(&back).into(),
                Spread::of_ratios(&back, &kept).map_or(Cell::Missing, Spread::as_ratio),
                if bytes <= SLAB_BYTES_MAX { "keeps it" } else { "gives it back" }.into(),
            ]);
        }
        outcome.tables.push(table);
        outcome.note(
            "giving back costs a page fault for every page at the next use, whatever the size, so there is no size from which keeping \
             gains nothing; the bound is memory, not time",
        );
        Ok(())
    }
}

/// Blocks filled with bytes, as many as make 256 MiB, and at most 1,000.
fn filled(bytes: usize, kept: bool) -> Timing {
    let allocations = ((256 << 20) / bytes).clamp(8, 1000);
    let case = Case { shape: Shape::Pair, threads: 1, allocations, bytes };
    private(case, |count, lap| {
        // Bytes of address space of a kept block above the largest that a heap keeps are made by keeping it alive.
        let cached_bytes_max = if kept { usize::MAX } else { 0 };
        let heap = ThreadHeap::with(HeapOptions { cached_bytes_max, ..HeapOptions::default() });
        let fill = |block: &mut Box<[MaybeUninit<u8>], &ThreadHeap>| {
            block.fill(MaybeUninit::new(1));
            black_box(block.as_mut_ptr());
        };
        let fresh = || Box::<[u8], _>::new_uninit_slice_in(bytes, &heap);
        let mut alive = fresh();
        fill(&mut alive);
        let reuses = kept && bytes > SLAB_BYTES_MAX;
        lap(&mut || {
            for _ in 0..count {
                if reuses { fill(&mut alive) } else { fill(&mut fresh()) }
            }
            count
        })
    })
}

/// The seed's class: a buffer that nobody fills.
struct Object {
    _buffer: [MaybeUninit<u8>; seeds::TYPED_BYTES],
}

impl ThreadPrivate for Object {}

impl Object {
    fn new() -> Self {
        Self { _buffer: [MaybeUninit::uninit(); seeds::TYPED_BYTES] }
    }
}

fn on_malloc(case: Case) -> Timing {
    private(case, |count, lap| {
        lap(&mut || {
            (0..count).for_each(|_| drop(black_box(Box::new_in(Object::new(), Process::system()))));
            count
        })
    })
}

fn on_mimalloc(case: Case) -> Timing {
    private(case, |count, lap| {
        lap(&mut || {
            (0..count).for_each(|_| drop(black_box(Box::new_in(Object::new(), mimalloc()))));
            count
        })
    })
}

fn on_thread(case: Case) -> Timing {
    private(case, |count, lap| {
        lap(&mut || {
            (0..count).for_each(|_| drop(black_box(Object::new().on_thread_heap())));
            count
        })
    })
}

/// How many times more a contender takes than ThreadHeap, round by round.
fn gain(all: &[Rounds], contender: Contender, value: fn(&Timing) -> f64) -> Cell {
    let of = |contender| at(all, contender).iter().map(value).collect::<Vec<_>>();
    Spread::of_ratios(&of(contender), &of(Contender::ThreadHeap)).map_or(Cell::Missing, Spread::as_ratio)
}

/// A contender's rounds.
fn at(all: &[Rounds], wanted: Contender) -> &Rounds {
    let index = Contender::ALL.iter().position(|contender| *contender == wanted).unwrap_or(0);
    &all[index]
}

/// Threads that wait for nobody have all cores, unless somebody else is at work.
fn note_business(shares: &[f64], outcome: &mut Outcome) {
    let cores = cores::allowed().len() as f64;
    if let Some(share) = median(shares).map(|share| share / cores).filter(|share| *share < QUIET_SHARE_MIN) {
        outcome.note(format!(
            "the machine was busy: threads that wait for nobody had {:.0} % of its {cores} cores, so times are longer than the \
             heaps account for, and threads met less often at a lock than on a quiet machine; CPU times are sound",
            share * 100.0
        ));
    }
}

/// A table with a column a contender.
fn table(name: &str, title: &str, first: &str, unit: &str, decimals: usize) -> Table {
    let mut columns = vec![Column::number(first, "", 0)];
    columns.extend(Contender::ALL.map(|contender| Column::number(contender.name(), unit, decimals)));
    Table::new(name, title, columns)
}

fn row(table: &mut Table, first: Cell, values: impl IntoIterator<Item = Option<f64>>) {
    table.row_of(std::iter::once(first).chain(values.into_iter().map(Cell::from)).collect());
}

fn lines() -> Vec<Vec<(f64, f64)>> {
    vec![Vec::new(); Contender::ALL.len()]
}

fn series(lines: Vec<Vec<(f64, f64)>>) -> Vec<Series> {
    let named = Contender::ALL.iter().zip(lines);
    named.map(|(contender, points)| Series::new(contender.name(), points)).collect()
}
