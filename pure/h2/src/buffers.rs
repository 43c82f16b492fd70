//! Memory that connections take turns with: what they send, and the head that came last.

use crate::head::HeadMemory;

/// Memory that a connection needs while it is called, and no longer: one for all connections of a thread.
#[derive(Debug, Default)]
pub struct Buffers {
    /// What is to be sent, in order. The caller sends and clears it before another connection is called, and before it
    /// takes more input than it wants to answer at once.
    pub out: Vec<u8>,
    pub(crate) head: HeadMemory,
    pub(crate) scratch: Vec<u8>,
    pub(crate) block: Vec<u8>,
}

impl Buffers {
    /// The head of the message that the last event told of, as the text of an HTTP/1.1 head.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head.text
    }

    /// Takes the head, to keep it; the memory for the next one is new then.
    #[must_use]
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head.text)
    }

    /// Gives the memory of a head back.
    pub fn put_head(&mut self, head: Vec<u8>) {
        if self.head.text.capacity() == 0 {
            self.head.text = head;
        }
    }
}
