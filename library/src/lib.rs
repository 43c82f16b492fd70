//! `libringway.so`: a server inside of a program, by the functions of `ringway_host.h`.
//!
//! The functions, and all that is unsafe about them, are `sys/face`'s; here is what they do: [`program`] puts a configuration
//! together as `ringway run` would read one, has it assembled in this process, and ends it.
#![forbid(unsafe_op_in_unsafe_fn)]

mod arrangement;
mod begun;
mod program;

ringway_face::face!(program::make);
