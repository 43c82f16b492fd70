//! Echo and ceilings as their users meet them: the real binary, real sockets, servers that lie.

mod ceilings;
mod clients;
mod figures;
mod liars;
mod refusals;
mod stand;
