//! Rings: operations that own their memory, on io_uring or epoll, and the slices they move.
//!
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** Slab memory and descriptors of a block stay mapped, initialised and in place while any slice of the block is
//!   out; a slice's range lies inside its buffer.
//! - **I2** Every buffer that is out holds one strong count of its pool, given up when its last holder drops.
//! - **I3** A buffer is written only through its single holder (or by the kernel while an operation or the provided
//!   ring holds it); what a shared slice shows is never written.
//! - **I4** What an operation's submission points to (buffers, vectors, headers, addresses, paths) is owned by the
//!   operation, at a stable address, and the operation stays in its slot until its last completion; a ring that cannot
//!   see that completion leaks the operation.
//! - **I5** A descriptor has one owner; a number is adopted only when the kernel just returned it; operations hold their
//!   descriptor open.
//! - **I6** Arguments of a plain system call are valid for the duration of the call, and the kernel keeps nothing of them.
//! - **I7** The provided-buffer ring and the buffers in it stay mapped until the kernel has unregistered the group with
//!   nothing in flight; otherwise they are leaked.
//! - **I8** A registered buffer is a whole block that was mapped when it was registered; the kernel pins its pages; the
//!   table's entry is emptied before an operation names a block at the address of one that was given back.
//! - **I9** A datagram region stays mapped while its operation or one of its batches lives. Each of its buffers is at any
//!   moment in one place: in the supply, where only the kernel writes it, or named by one record, whose batch alone reads it, or writes
//!   it while nobody else borrows the batch.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

pub mod clock;
pub mod datagram;
mod driver;
mod epoll;
mod file;
mod handle;
mod lane;
mod memory;
mod op;
mod ring;
pub mod schedule;
mod slice;
mod slots;
mod uring;
mod wake;

pub mod socket;

pub use datagram::{Batch, Datagram};
pub use driver::{Arrival, Driver, Event, Wait};
pub use handle::Handle;
pub use op::{
    Connect, DATAGRAM_BUFFERS_MAX, DATAGRAM_BYTES_MAX, DatagramCounters, DatagramOptions, Datagrams, Gather,
    Interest, Op, OpenFile, Progress, ReadFile, StatFile, Transmit, WriteFile, ZeroCopy,
};
pub use ring::{
    Completion, DriverChoice, Payload, Report, Restrict, Restriction, Ring, RingCounters, RingOptions,
};
pub use slice::{CLASS_BYTES, Chain, Pool, SLICE_BYTES_MAX, Slice, SliceMut};
pub use slots::{OpId, Slots};
pub use uring::{Features, probe};
pub use wake::Waker;
