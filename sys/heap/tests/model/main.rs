//! Every allocator of the crate against a model: random requests, nothing overlaps, nothing is lost, all is given back.
#![allow(unsafe_code, reason = "what is tested are unsafe interfaces")]

mod arena;
mod reference;
mod thread_heap;
