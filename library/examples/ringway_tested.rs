//! The shared library as the tests have it.

#[path = "../src/lib.rs"]
mod library;
