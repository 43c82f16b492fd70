//! What libraries call about the connections that they filter: each function looks at what it was given, and lets no panic out.

use super::with_filter;
use crate::abi::{self, Bytes};
use crate::functions::{guarded, result};

pub(crate) extern "C" fn filter_up(filter: *mut abi::Filter, bytes: Bytes) -> i32 {
    result(|| with_filter(filter, "filter_up", |shown| shown.view.up(shown.given(bytes)?)))
}

pub(crate) extern "C" fn filter_down(filter: *mut abi::Filter, bytes: Bytes) -> i32 {
    result(|| with_filter(filter, "filter_down", |shown| shown.view.down(shown.given(bytes)?)))
}

pub(crate) extern "C" fn filter_peer(filter: *const abi::Filter) -> Bytes {
    let look = || {
        with_filter(filter, "filter_peer", |shown| Ok(shown.view.peer().map_or(Bytes::NONE, Bytes::of)))
            .unwrap_or(Bytes::NONE)
    };
    guarded(Bytes::NONE, look)
}

pub(crate) extern "C" fn filter_flags(filter: *const abi::Filter) -> u32 {
    guarded(0, || with_filter(filter, "filter_flags", |shown| Ok(shown.view.flags())).unwrap_or(0))
}
