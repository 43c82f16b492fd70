//! Confinement: what a process gives up for good, what it inherits, which signals it puts off, which memory it can do without,
//! and with how few rights it starts programs of others.
//!
//! This crate is one of the few that may use `unsafe`. Every block cites one of these invariants:
//!
//! - **I1** Arguments of a plain system call are valid for the duration of the call, and the kernel keeps nothing of them.
//! - **I2** A descriptor's number is adopted at most once in a process: numbers are reserved in a table before they are
//!   adopted, and only numbers that are open and that nobody in this process made are offered for it.
//! - **I3** A descriptor that the kernel just returned has no other owner.
//! - **I4** Code and constants of this program are mapped from its file, which the kernel keeps from being written while it runs.
//! - **I5** Between fork and exec a new process makes system calls only: nothing is allocated or freed, no lock is taken.
//! - **I6** Lists of pointers for the kernel lead to texts that the same value owns and nobody changes, and end with null.
//! - **I7** Numbers of descriptors are given to others only where the process is about to become another program, or else to end:
//!   nobody uses what had them.
#![allow(unsafe_code, reason = "sys is where unsafe code lives; the invariants above say why it is sound")]

pub mod filter;
pub mod inherited;
pub mod landlock;
pub mod program;
pub mod signals;
pub mod spawn;

use std::io;

/// A system call's result, or its error.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
