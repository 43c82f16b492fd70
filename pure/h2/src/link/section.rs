//! Field sections as they come: HEADERS and CONTINUATION (RFC 9113 sections 4.3, 6.2 and 6.10).

use super::{Fragment, Link};
use crate::code::Fault;
use crate::frame::{Head, flag};
use crate::hpack::{Decoder, FieldSink};

/// Bytes of priority in HEADERS (section 6.2).
const PRIORITY_BYTES: usize = 5;

impl Link {
    /// Section 6.2: the field block of HEADERS, when that is all of the section.
    #[inline]
    pub(crate) fn begin_section<'p>(
        &mut self,
        head: Head,
        payload: &'p [u8],
    ) -> Result<Option<&'p [u8]>, Fault> {
        if head.stream == 0 {
            return Err(Fault::NeedsStream);
        }
        let block = block_of(head, payload)?;
        if head.has(flag::END_HEADERS) {
            return Ok(Some(block));
        }
        let ends = head.has(flag::END_STREAM);
        let block = block.to_vec();
        self.fragment = Some(Box::new(Fragment { stream: head.stream, ends, continuations: 0, block }));
        Ok(None)
    }

    /// Section 6.10; that it is in its place was checked. The section, when this was its last frame.
    pub(crate) fn continue_section(
        &mut self,
        head: Head,
        payload: &[u8],
    ) -> Result<Option<Box<Fragment>>, Fault> {
        let Some(mut fragment) = self.fragment.take() else { return Err(Fault::BlockOrder) };
        fragment.continuations += 1;
        fragment.block.extend_from_slice(payload);
        let is_over = fragment.block.len() > self.limits.block_bytes_max as usize
            || fragment.continuations > self.limits.continuations_max;
        if is_over {
            return Err(Fault::BlockLength);
        }
        if head.has(flag::END_HEADERS) {
            return Ok(Some(fragment));
        }
        self.fragment = Some(fragment);
        Ok(None)
    }
}

/// Decodes a section that nobody asks for: the table must see it. `S` is who else decodes sections of this connection.
pub(crate) fn skip<S: FieldSink>(
    decoder: &mut Decoder<S::Class>,
    block: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(), Fault> {
    struct Nobody<S>(std::marker::PhantomData<S>);

    impl<S: FieldSink> FieldSink for Nobody<S> {
        type Class = S::Class;

        fn classify(name: &[u8], value: &[u8]) -> S::Class {
            S::classify(name, value)
        }

        fn field(&mut self, _class: S::Class, _name: &[u8], _value: &[u8]) {}
    }

    let mut nobody = Nobody::<S>(std::marker::PhantomData);
    decoder.decode(block, scratch, &mut nobody).map_err(|_reason| Fault::Compression)
}

/// The field block of HEADERS, without padding and priority.
fn block_of(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    let mut block = payload;
    if head.has(flag::PADDED) {
        let (padding, rest) = payload.split_first().ok_or(Fault::FrameForm)?;
        let len = rest.len().checked_sub(usize::from(*padding)).ok_or(Fault::Padding)?;
        block = &rest[..len];
    }
    if head.has(flag::PRIORITY) {
        // What is left behind the padding cannot hold it: the padding was too long.
        let otherwise = if head.has(flag::PADDED) { Fault::Padding } else { Fault::FrameForm };
        block = block.get(PRIORITY_BYTES..).ok_or(otherwise)?;
    }
    Ok(block)
}
