//! `ringway-lab udp` from outside: the real binary, receivers and generators in processes of their own.

mod ends;
mod refusals;
mod runs;
mod stand;
mod traffic;
