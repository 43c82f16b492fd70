//! What libraries call about requests that they have hooked into: each function looks at what it was given, and lets no panic out.

use crate::abi::{self, Bytes};
use crate::answer::{FIELDS_MAX, slice};
use crate::deferred;
use crate::error::Fault;
use crate::functions::{ask_named, guarded, result, text};
use crate::request::with_view;

pub(crate) extern "C" fn add_field(request: *const abi::Request, name: Bytes, value: Bytes) -> i32 {
    result(|| {
        let (name, value) = (slice(name)?.unwrap_or_default(), slice(value)?.unwrap_or_default());
        with_view(request, |view| view.add_field(name, value)).ok_or(Fault::Thread)?
    })
}

pub(crate) extern "C" fn remove_field(request: *const abi::Request, name: Bytes) -> i32 {
    result(|| {
        let name = slice(name)?.unwrap_or_default();
        with_view(request, |view| view.remove_field(name)).ok_or(Fault::Thread)?
    })
}

pub(crate) extern "C" fn set_user(request: *const abi::Request, user: Bytes) -> i32 {
    result(|| {
        let user = text(user)?;
        with_view(request, |view| view.set_user(user)).ok_or(Fault::Thread)?
    })
}

pub(crate) extern "C" fn answer_status(request: *const abi::Request) -> u32 {
    guarded(None, || with_view(request, |view| view.answer_status()).flatten()).unwrap_or(0).into()
}

pub(crate) extern "C" fn answer_field(request: *const abi::Request, name: Bytes) -> Bytes {
    ask_named(request, name, |view, name| view.answer_field(name))
}

pub(crate) extern "C" fn pass_later(
    later: u64,
    user: Bytes,
    fields: *const abi::Field,
    fields_len: usize,
) -> i32 {
    result(|| {
        if fields_len > FIELDS_MAX {
            return Err(Fault::Limit);
        }
        let fields: &[abi::Field] = if fields_len == 0 {
            &[]
        } else if fields.is_null() || !fields.is_aligned() {
            return Err(Fault::Invalid);
        } else {
            // SAFETY: so many fields, says the library; the number is limited (I2).
            unsafe { std::slice::from_raw_parts(fields, fields_len) }
        };
        let read = |field: &abi::Field| {
            Ok((slice(field.name)?.unwrap_or_default(), slice(field.value)?.unwrap_or_default()))
        };
        let fields = fields.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
        let user = slice(user)?.unwrap_or_default();
        deferred::with(later, |deferred| deferred.pass(user, &fields))
    })
}
