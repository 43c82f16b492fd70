//! Thread-private heaps, arenas, and allocators to compare them with: memory that needs no lock because it cannot leave
//! its thread.
//!
//! - [`ThreadHeap`]: a heap of one thread: free lists by size class, large buffers kept for the next request.
//! - [`Local`]: the current thread's own heap, named by type: [`LocalBox`], [`LocalVec`], [`ThreadPrivate`].
//! - [`Arena`]: what lives as long as one request; freed together by a reset.
//! - [`Locked`]: the same heap behind one lock, and [`Process`]: any global allocator; to compare with.
//!
//! All implement `allocator_api2`'s [`Allocator`], so its `Box` and `Vec` and `hashbrown`'s maps live on them. A heap and
//! everything on it are neither `Send` nor `Sync`: freeing on another thread does not compile, so nothing here is locked,
//! counted atomically or queued for another thread.
//!
//! # Unsafe code
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** A region stays mapped, in place, from its mapping until its heap's state is dropped; a mapping of its own until its block
//!   is freed or the heap's state is dropped. Whatever is computed within one (a block, a run, a head) stays within it.
//! - **I2** Every byte of a region is at any moment in one place: in a block that is out, in a free block, in a part not
//!   yet cut, or in a head. Only the block's holder touches a block that is out.
//! - **I3** A free block is aligned to 16 and at least 16 bytes long, begins with its list's link, and nobody else touches it until it
//!   is popped. Its other bytes are nobody's.
//! - **I4** A heap's state is entered by one thread at a time, one call at a time: it is reached through a value or a
//!   thread-local that cannot leave its thread, or through a lock, and no call runs foreign code while it is inside.
//! - **I5** A heap's state outlives every block that may still be used: holders borrow the heap, hold a count of it, or are of
//!   type [`Local`], whose heap is kept until its last block is freed.
//! - **I6** A block is freed with a layout that fits it (the caller of an unsafe function promises that), and all layouts that
//!   fit a block have the same route.
//! - **I7** An arena's cursor lies in its current chunk, what is handed out lies below it, what is above it is nobody's;
//!   chunks are given back, and the cursor set back to a chunk's beginning, by `&mut` only.
//! - **I8** Arguments of a plain system call are valid for the call, and the kernel keeps nothing of them.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

mod arena;
#[cfg(not(feature = "process-heap"))]
mod class;
#[cfg(not(feature = "process-heap"))]
mod core;
#[cfg(feature = "process-heap")]
#[path = "process_core.rs"]
mod core;
mod heap;
#[cfg(not(feature = "process-heap"))]
mod list;
mod local;
mod locked;
#[cfg(not(feature = "process-heap"))]
mod memory;
mod process;
#[cfg(not(feature = "process-heap"))]
mod region;
mod sanitizer;
mod stats;

pub use allocator_api2;
pub use allocator_api2::alloc::{AllocError, Allocator};

pub use arena::{Arena, ArenaOptions, ArenaStats};
#[cfg(not(feature = "process-heap"))]
pub use class::SLAB_BYTES_MAX;
pub use heap::ThreadHeap;
pub use local::{InUse, Local, LocalBox, LocalFuture, LocalVec, ThreadPrivate, local_future};
pub use locked::Locked;
pub use process::Process;
pub use stats::{ClassStats, HeapOptions, HeapStats, HugePages};
