//! Where records begin and end in what arrives in pieces.

use crate::failure::Failure;
use crate::record::{HEAD_BYTES, fragment_bytes};
use ringway_engine::Inbox;

/// Puts records together that arrived in pieces.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// The header of a record of which not everything is here; it is not in the inbox any more.
    head: Option<[u8; HEAD_BYTES]>,
}

impl Framing {
    /// Whether the inbox begins with a header.
    pub(crate) fn is_between(&self) -> bool {
        self.head.is_none()
    }

    /// The header of the next record, and how many bytes follow it, once those are all in the inbox.
    pub(crate) fn next(&mut self, wire: &mut Inbox) -> Result<Option<([u8; HEAD_BYTES], usize)>, Failure> {
        let available = wire.len();
        if self.head.is_none() {
            if available < HEAD_BYTES {
                return Ok(None);
            }
            let mut head = [0; HEAD_BYTES];
            wire.copy_to(&mut head);
            // Refused at once, not when it is complete.
            fragment_bytes(head)?;
            self.head = Some(head);
        }
        let Some(head) = self.head else { return Ok(None) };
        let length = fragment_bytes(head)?;
        if wire.len() < length {
            return Ok(None);
        }
        self.head = None;
        Ok(Some((head, length)))
    }
}

/// Bytes of the whole record that `bytes` begin with; `None` when it is not all there.
pub(crate) fn whole_record(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head) = bytes.first_chunk() else { return Ok(None) };
    let total = HEAD_BYTES + fragment_bytes(*head)?;
    Ok((bytes.len() >= total).then_some(total))
}
