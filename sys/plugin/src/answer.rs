//! Answers as libraries describe them, looked at.

use crate::abi;
use crate::error::Fault;

/// Most field lines of an answer.
pub const FIELDS_MAX: usize = 256;

/// Most bytes of an answer's body that are taken at once; longer ones come in pieces.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Smallest struct that was ever called an answer.
const ANSWER_SIZE_MIN: usize = 48;

/// An answer, until the library's call returns.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// 200 to 599.
    pub status: u16,
    fields: &'a [abi::Field],
    /// The body, or the first piece of it.
    pub body: &'a [u8],
    /// How long a body is that comes in pieces, where that was said.
    pub length: Option<u64>,
}

impl<'a> Answer<'a> {
    /// The field lines, as they were given: their bytes are not looked at.
    pub fn fields(&self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), Fault>> {
        self.fields.iter().map(|field| {
            let name = slice(field.name)?.unwrap_or_default();
            Ok((name, slice(field.value)?.unwrap_or_default()))
        })
    }

    /// # Safety
    /// Null, or what the header asks of an answer, for `'a`.
    pub(crate) unsafe fn read(answer: *const abi::Answer) -> Result<Self, Fault> {
        if answer.is_null() || !answer.is_aligned() {
            return Err(Fault::Invalid);
        }
        // SAFETY: the first member of every version; the caller promises the rest (I2).
        let struct_size = unsafe { (*answer).struct_size } as usize;
        if struct_size < ANSWER_SIZE_MIN {
            return Err(Fault::Invalid);
        }
        const { assert!(size_of::<abi::Answer>() == ANSWER_SIZE_MIN, "a longer one needs reading by its size") };
        // SAFETY: it is not shorter than this version's, as it says (I2).
        let answer = unsafe { &*answer };
        let status = u16::try_from(answer.status).ok().filter(|status| (200..600).contains(status));
        let status = status.ok_or(Fault::Invalid)?;
        if answer.fields_len > FIELDS_MAX {
            return Err(Fault::Limit);
        }
        let fields: &[abi::Field] = if answer.fields_len == 0 {
            &[]
        } else if answer.fields.is_null() || !answer.fields.is_aligned() {
            return Err(Fault::Invalid);
        } else {
            // SAFETY: so many fields, says the library; the number is limited (I2).
            unsafe { std::slice::from_raw_parts(answer.fields, answer.fields_len) }
        };
        let body = slice(answer.body)?.unwrap_or_default();
        let length = (answer.length != abi::LENGTH_UNKNOWN).then_some(answer.length);
        Ok(Self { status, fields, body, length })
    }
}

/// The bytes that a library gave, which are its own until its call returns.
pub(crate) fn slice<'a>(bytes: abi::Bytes) -> Result<Option<&'a [u8]>, Fault> {
    match bytes {
        abi::Bytes { data, len: 0 } => Ok((!data.is_null()).then_some(&[])),
        abi::Bytes { data, .. } if data.is_null() => Err(Fault::Invalid),
        abi::Bytes { len, .. } if len > ANSWER_BYTES_MAX => Err(Fault::Limit),
        // SAFETY: so many bytes, says the library; the number is limited (I2).
        abi::Bytes { data, len } => Ok(Some(unsafe { std::slice::from_raw_parts(data, len) })),
    }
}
