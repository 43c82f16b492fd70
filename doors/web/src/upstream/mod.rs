//! Upstreams: servers behind this one that do the work, chosen by a balancer, watched, and spoken with over connections that
//! are kept.
//!
//! A [`Group`] is one for all workers of a process: what is known of its backends, and who waits for them. An [`Upstream`]
//! is a worker's side of it, with the connections that this worker keeps. Who wants to send a request takes a [`Lease`], and
//! tells what became of it. Decisions are pure: `balance` chooses, `health` judges, both by what they are told.

mod backend;
mod balance;
mod connect;
mod group;
mod health;
mod keeper;
mod key;
mod lease;
mod notify;
mod options;
mod question;
mod queue;
mod side;

pub use backend::{Backend, BackendFigures, Mishap};
pub use balance::Balance;
pub use group::Group;
pub use health::{PROBE_MS, Standing};
pub use key::{Key, Tried};
pub use lease::{Fault, Flight, Lease, LeaseError, Shared};
pub use options::{
    ADDRESSES_MAX, BACKENDS_MAX, BackendOptions, Check, Encryption, GroupOptions, MakeFilter, Origin,
    PassiveRules, ProxyHeader, Speaks, TryRules, WEIGHT_MAX,
};
pub use side::Upstream;
