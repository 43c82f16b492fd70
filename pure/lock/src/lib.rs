//! Locks: the standard library's, and with the feature `lock-order` the same ones, watched for the order they are taken in.
//!
//! Two threads that take the same two locks in different orders work until the day on which both hold one and wait for the
//! other. That day can be waited for, or the orders can be compared whenever locks are taken, which finds the mistake in any
//! run in which both orders occur, at whatever time. With the feature a thread that takes a lock while it holds others notes
//! so; an order that contradicts one noted before, by way of however many locks, ends the program, and both stacks are said.
//!
//! Locks are told apart by where they are made, so that an order between two connections' locks is learnt once; those that
//! are made at the same place are told apart one by one. A lock that is only tried for waits for nobody, so having it is no
//! order, and not getting it no mistake.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "lock-order"))]
mod order;
#[cfg(any(test, feature = "lock-order"))]
pub mod traced;
#[cfg(any(test, feature = "lock-order"))]
mod tracer;

#[cfg(not(feature = "lock-order"))]
pub use std::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(feature = "lock-order")]
pub use traced::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
