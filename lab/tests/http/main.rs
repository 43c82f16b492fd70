//! Tests of the HTTP load generator against servers with faults, on both drivers, and of its command line.

mod closed;
mod commands;
mod faults;
mod open;
mod stand;
