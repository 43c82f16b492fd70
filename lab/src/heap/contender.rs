//! What is compared: the heaps, their names, and which of them a program's threads may share.

use mimalloc::MiMalloc;
use ringway_heap::{Locked, Process};
use tikv_jemallocator::Jemalloc;

static MIMALLOC: MiMalloc = MiMalloc;
static JEMALLOC: Jemalloc = Jemalloc;

/// A heap under comparison.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// The C library's malloc.
    System,
    /// The same with one arena for all threads (MALLOC_ARENA_MAX=1), in a process of its own.
    OneArena,
    /// The same without its thread caches too.
    OneArenaUncached,
    /// One heap behind one lock: the seed's baseline.
    Locked,
    /// mimalloc.
    Mimalloc,
    /// jemalloc.
    Jemalloc,
    /// A private heap a thread.
    ThreadHeap,
    /// An arena a thread.
    Arena,
}

use Contender::{
    Arena, Jemalloc as JemallocHeap, Locked as LockedHeap, Mimalloc, OneArena, OneArenaUncached, System,
    ThreadHeap,
};

impl Contender {
    /// All of them, in the order of tables and figures.
    pub(super) const ALL: [Self; 8] =
        [System, OneArena, OneArenaUncached, LockedHeap, Mimalloc, JemallocHeap, ThreadHeap, Arena];

    /// As tables and figures name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            System => "malloc",
            OneArena => "malloc, one arena",
            OneArenaUncached => "malloc, one arena, no cache",
            LockedHeap => "one locked heap",
            Mimalloc => "mimalloc",
            JemallocHeap => "jemalloc",
            ThreadHeap => "ThreadHeap",
            Arena => "Arena",
        }
    }

    /// As the command line names it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            System => "system",
            OneArena => "one-arena",
            OneArenaUncached => "one-arena-uncached",
            LockedHeap => "locked",
            Mimalloc => "mimalloc",
            JemallocHeap => "jemalloc",
            ThreadHeap => "thread-heap",
            Arena => "arena",
        }
    }

    /// The environment that makes malloc this contender; a process reads it once, when it starts.
    pub(super) fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            OneArena => &[("MALLOC_ARENA_MAX", "1")],
            OneArenaUncached => {
                &[("MALLOC_ARENA_MAX", "1"), ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")]
            }
            _ => &[],
        }
    }

    /// Whether a block may be freed by another thread than its own.
    pub(super) fn is_shared(self) -> bool {
        !matches!(self, ThreadHeap | Arena)
    }
}

/// mimalloc, as an allocator that values name.
pub(super) fn mimalloc() -> Process<MiMalloc> {
    Process::new(&MIMALLOC)
}

/// jemalloc, as an allocator that values name.
pub(super) fn jemalloc() -> Process<Jemalloc> {
    Process::new(&JEMALLOC)
}

/// The one heap behind one lock of a run.
pub(super) fn locked() -> Locked {
    Locked::default()
}
