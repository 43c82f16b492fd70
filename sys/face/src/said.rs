//! What the last function on a thread said that failed.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

thread_local! {
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Remembers why a function failed.
pub(crate) fn remember(text: &str) {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    // Without zeros in it, it is a text.
    let text = CString::new(bytes).ok();
    // A thread that is ending has nobody who asks.
    let _forgotten = LAST.try_with(|last| last.replace(text));
}

/// The text, valid until the next call on this thread.
pub(crate) fn last() -> *const c_char {
    let text = LAST.try_with(|last| last.borrow().as_ref().map(|text| text.as_ptr()));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}
