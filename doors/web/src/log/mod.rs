//! Logs: files that are reopened and rotated while they are written, what each request came to, and what went wrong.
//!
//! A [`files::LogFile`] is one file (or standard output) for the whole process. Every worker has a [`sink::LogSink`] of its own
//! on it, which gathers lines and has the ring write them; what a file is too slow for is dropped and counted. Only
//! one thread at a time renames files: one that a signal or a pool gave the work to, never a worker.

pub mod access;
pub mod errors;
pub mod files;
pub mod sink;
