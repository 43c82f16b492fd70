//! Pace: what time decides, with time as an argument.
//!
//! This room owns no clock. Every instant is a `u64` count of milliseconds since an epoch of the caller's choosing
//! (a worker uses the moment it started), and every argument that carries one ends in `_ms`.
//!
//! - [`Wheel`] keeps one deadline per connection and says when the earliest falls due.
//! - [`Meter`] judges whether a peer moves bytes as fast as a [`MinRate`] asks.
//! - [`governor`] keeps traffic to a bandwidth.
//! - [`Bucket`] says whether something may happen once more at a [`TokenRate`]; [`BucketTable`] has one for each of many keys.

#![forbid(unsafe_code)]

mod bucket;
pub mod governor;
mod rate;
mod wheel;

pub use bucket::{Bucket, BucketTable, PERIOD_MS_MAX, Taken, TokenRate};
pub use rate::{Meter, MinRate, Verdict};
pub use wheel::{KEY_MAX, RESOLUTION_MS, Wheel};
