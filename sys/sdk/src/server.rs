//! The server's table, as this library was given it.

use ringway_plugin::abi::{self, Bytes, BytesMut, code};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

static SERVER: AtomicPtr<abi::Server> = AtomicPtr::new(ptr::null_mut());

/// Takes note of the server; whether it has all that is asked of it here.
pub(crate) fn set(server: *const abi::Server) -> bool {
    if server.is_null() {
        return false;
    }
    // SAFETY: the server's table, whose first member every version has (I1).
    let bytes = unsafe { (*server).struct_size } as usize;
    if bytes < size_of::<abi::Server>() {
        return false;
    }
    SERVER.store(server.cast_mut(), Ordering::Release);
    true
}

/// The server's table; `None` before it has called.
pub(crate) fn table() -> Option<&'static abi::Server> {
    // SAFETY: null, or the server's table, which was looked at (I1).
    unsafe { SERVER.load(Ordering::Acquire).as_ref() }
}

/// The bytes that the server gave, for as long as it gave them.
///
/// # Safety
/// They are the server's, and valid for `'a`.
pub(crate) unsafe fn bytes<'a>(bytes: Bytes) -> Option<&'a [u8]> {
    if bytes.data.is_null() {
        return None;
    }
    // SAFETY: as the caller promises (I2).
    Some(unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) })
}

/// The bytes that the server lent, to be changed where they lie.
///
/// # Safety
/// They are the server's, and the caller's alone for `'a`.
pub(crate) unsafe fn bytes_mut<'a>(bytes: BytesMut) -> &'a mut [u8] {
    if bytes.data.is_null() {
        return &mut [];
    }
    // SAFETY: as the caller promises (I2).
    unsafe { std::slice::from_raw_parts_mut(bytes.data, bytes.len) }
}

/// Says something to the operator.
pub(crate) fn log(service: u64, level: u32, text: &str) {
    if let Some(log) = table().and_then(|server| server.log) {
        // SAFETY: a function of the server's, given a text that is valid for the call (I1).
        unsafe { log(service, level, Bytes::of(text.as_bytes())) };
    }
}

/// What a function of the server says that this server does not have.
pub(crate) const MISSING: i32 = code::SERVER;
