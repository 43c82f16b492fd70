//! What goes wrong in a simulated network, and how often.

/// Chances of each fault, in 1000 opportunities. The order in which ready operations are served is always random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A transfer moves fewer bytes than it could.
    pub short: u16,
    /// An operation that could go on waits for up to three polls.
    pub delay: u16,
    /// A completion that is there is held back, and others overtake it.
    pub hold: u16,
    /// A cancel is looked at only some polls later.
    pub late_cancel: u16,
    /// A multishot operation ends with a completion that still brings something.
    pub end_multishot: u16,
    /// A stream ends with `ENOBUFS` although there are buffers.
    pub out_of_buffers: u16,
    /// An accept ends with `EMFILE` although there are descriptors.
    pub out_of_descriptors: u16,
    /// A direct call says `EAGAIN` although it could do something.
    pub would_block: u16,
    /// A poll returns without anything, or claims that the waker was used.
    pub spurious_wake: u16,
    /// A page that was read falls out of memory again.
    pub evict: u16,
}

impl Faults {
    /// Everything works, only the order is random.
    pub const NONE: Self = Self {
        short: 0,
        delay: 0,
        hold: 0,
        late_cancel: 0,
        end_multishot: 0,
        out_of_buffers: 0,
        out_of_descriptors: 0,
        would_block: 0,
        spurious_wake: 0,
        evict: 0,
    };

    /// Everything goes wrong often, and nothing always.
    pub const ROUGH: Self = Self {
        short: 400,
        delay: 300,
        hold: 300,
        late_cancel: 500,
        end_multishot: 100,
        out_of_buffers: 50,
        out_of_descriptors: 100,
        would_block: 200,
        spurious_wake: 100,
        evict: 50,
    };
}
