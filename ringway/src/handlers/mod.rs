//! Handlers of endpoints: where they come from, what they work under, how they are replaced, and what they have done.

mod datagrams;
mod filtered;
mod kept;
mod outward;
mod source;
mod terms;
mod work;

pub(crate) use filtered::KeptFilters;
pub(crate) use kept::KeptHandlers;
pub(crate) use source::check;
pub(crate) use work::{Kind, Replaceable, Work};
