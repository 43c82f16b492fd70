//! What libraries call about connections and datagrams: each function looks at what it was given, and lets no panic out.

use super::{Key, with_conn, with_peer};
use crate::abi::{self, Bytes};
use crate::answer::slice;
use crate::error::Fault;
use crate::functions::{group_name, guarded, result, text};
use crate::instance;
use crate::request::{Message, User};
use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;

/// The longest address that a library may name, in bytes.
const ADDRESS_BYTES_MAX: usize = 1024;

pub(crate) extern "C" fn conn_send(conn: *mut abi::Conn, message: Bytes) -> i32 {
    result(|| {
        with_conn(conn, "conn_send", |view| view.send(Message::Binary(slice(message)?.unwrap_or_default())))
    })
}

pub(crate) extern "C" fn conn_send_as(conn: *mut abi::Conn, kind: u32, message: Bytes) -> i32 {
    result(|| {
        with_conn(conn, "conn_send_as", |view| {
            view.send(Message::read(kind, slice(message)?.unwrap_or_default())?)
        })
    })
}

pub(crate) extern "C" fn conn_send_in_place(conn: *mut abi::Conn, part: Bytes) -> i32 {
    result(|| {
        with_conn(conn, "conn_send_in_place", |view| {
            let (start, len) = view.message().ok_or(Fault::State)?;
            let from = part.data.addr().checked_sub(start.addr()).ok_or(Fault::Invalid)?;
            let to = from.checked_add(part.len).filter(|to| *to <= len).ok_or(Fault::Invalid)?;
            view.send_in_place(from, to)
        })
    })
}

pub(crate) extern "C" fn conn_send_raw(conn: *mut abi::Conn, bytes: Bytes) -> i32 {
    result(|| with_conn(conn, "conn_send_raw", |view| view.send_raw(slice(bytes)?.unwrap_or_default())))
}

pub(crate) extern "C" fn conn_when_sent(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_when_sent", |view| view.call_when_sent()))
}

pub(crate) extern "C" fn conn_send_file(conn: *mut abi::Conn, fd: c_int, offset: u64, bytes: u64) -> i32 {
    result(|| {
        with_conn(conn, "conn_send_file", |view| {
            if fd < 0 {
                return Err(Fault::Invalid);
            }
            // SAFETY: a descriptor that the library holds open for the call, as it says; the view looks whether it is one (I2).
            let file = unsafe { BorrowedFd::borrow_raw(fd) };
            view.send_file(file, offset, bytes)
        })
    })
}

pub(crate) extern "C" fn conn_shut(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_shut", |view| view.shut()))
}

pub(crate) extern "C" fn conn_close(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_close", |view| view.close()))
}

pub(crate) extern "C" fn conn_abort(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_abort", |view| view.abort()))
}

pub(crate) extern "C" fn conn_pause(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_pause", |view| view.pause(true)))
}

pub(crate) extern "C" fn conn_resume(conn: *mut abi::Conn) -> i32 {
    result(|| with_conn(conn, "conn_resume", |view| view.pause(false)))
}

pub(crate) extern "C" fn conn_set_timeout(conn: *mut abi::Conn, timeout_ms: u32) -> i32 {
    result(|| with_conn(conn, "conn_set_timeout", |view| view.set_timeout(timeout_ms)))
}

pub(crate) extern "C" fn conn_queued(conn: *const abi::Conn) -> u64 {
    guarded(0, || with_conn(conn, "conn_queued", |view| Ok(view.queued_bytes())).unwrap_or(0))
}

pub(crate) extern "C" fn conn_flags(conn: *const abi::Conn) -> u32 {
    guarded(0, || with_conn(conn, "conn_flags", |view| Ok(view.flags())).unwrap_or(0))
}

pub(crate) extern "C" fn conn_kind(conn: *const abi::Conn) -> u32 {
    guarded(0, || with_conn(conn, "conn_kind", |view| Ok(view.kind())).unwrap_or(0))
}

pub(crate) extern "C" fn conn_peer(conn: *const abi::Conn) -> Bytes {
    let look = || with_conn(conn, "conn_peer", |view| Ok(view.peer().map_or(Bytes::NONE, Bytes::of)));
    guarded(Bytes::NONE, || look().unwrap_or(Bytes::NONE))
}

pub(crate) extern "C" fn conn_session(conn: *const abi::Conn, what: u32) -> Bytes {
    let look =
        || with_conn(conn, "conn_session", |view| Ok(view.session(what).map_or(Bytes::NONE, Bytes::of)));
    guarded(Bytes::NONE, || look().unwrap_or(Bytes::NONE))
}

pub(crate) extern "C" fn conn_key(conn: *const abi::Conn) -> abi::Key {
    let words =
        guarded(Key::default(), || with_conn(conn, "conn_key", |view| Ok(view.key())).unwrap_or_default());
    abi::Key { words }
}

pub(crate) extern "C" fn conn_join(conn: *mut abi::Conn, group: Bytes) -> i32 {
    result(|| with_conn(conn, "conn_join", |view| view.join(group_name(group)?)))
}

pub(crate) extern "C" fn conn_leave(conn: *mut abi::Conn, group: Bytes) -> i32 {
    result(|| with_conn(conn, "conn_leave", |view| view.leave(group_name(group)?)))
}

pub(crate) extern "C" fn post_send(service: u64, key: abi::Key, kind: u32, message: Bytes) -> i32 {
    result(|| {
        let message = Message::read(kind, slice(message)?.unwrap_or_default())?;
        instance::connections(service)?.send(key.words, message)
    })
}

pub(crate) extern "C" fn post_shut(service: u64, key: abi::Key) -> i32 {
    result(|| instance::connections(service)?.shut(key.words))
}

pub(crate) extern "C" fn post_close(service: u64, key: abi::Key) -> i32 {
    result(|| instance::connections(service)?.close(key.words))
}

pub(crate) extern "C" fn post_nudge(service: u64, key: abi::Key) -> i32 {
    result(|| instance::connections(service)?.nudge(key.words))
}

pub(crate) extern "C" fn broadcast(service: u64, kind: u32, message: Bytes) -> i32 {
    result(|| {
        let message = Message::read(kind, slice(message)?.unwrap_or_default())?;
        instance::connections(service)?.broadcast(message)
    })
}

pub(crate) extern "C" fn connect(service: u64, to: Bytes, flags: u32, user: *mut c_void) -> i32 {
    let known = abi::conn::CONNECT_MAINTAIN | abi::conn::CONNECT_TLS;
    result(|| {
        if flags & !known != 0 {
            return Err(Fault::Invalid);
        }
        instance::connections(service)?.connect(address(to)?, flags, User::new(user))
    })
}

pub(crate) extern "C" fn peer_address(peer: *const abi::Peer) -> Bytes {
    let look = || with_peer(peer, "peer_address", |view| Ok(Bytes::of(view.address())));
    guarded(Bytes::NONE, || look().unwrap_or(Bytes::NONE))
}

pub(crate) extern "C" fn peer_send(peer: *mut abi::Peer, payload: Bytes) -> i32 {
    result(|| with_peer(peer, "peer_send", |view| view.send(slice(payload)?.unwrap_or_default())))
}

pub(crate) extern "C" fn peer_send_to(peer: *mut abi::Peer, to: Bytes, payload: Bytes) -> i32 {
    result(|| {
        with_peer(peer, "peer_send_to", |view| {
            view.send_to(address(to)?, slice(payload)?.unwrap_or_default())
        })
    })
}

fn address<'a>(address: Bytes) -> Result<&'a str, Fault> {
    let address = text(address)?;
    if address.len() > ADDRESS_BYTES_MAX { Err(Fault::Limit) } else { Ok(address) }
}
