//! Certificates from an authority that speaks ACME (RFC 8555): obtained, kept and renewed on a thread that may block.

mod account;
mod authority;
mod failure;
mod https;
mod keeper;
mod obtain;
mod storage;
mod url;

pub use authority::{Authority, AuthorityOptions};
pub use failure::Failure;
pub use keeper::{Keeper, KeeperOptions, Report};
pub use obtain::{Challenge, Issued, Prover, obtain};
pub use storage::Storage;
