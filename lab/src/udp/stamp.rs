//! What a generator writes into its datagrams, so that receivers can check their order: mark, flow, sequence number.

/// Bytes of a stamp; datagrams that are shorter have none.
pub(super) const STAMP_BYTES: usize = 12;
/// The first two bytes of a stamped datagram.
const MARK: [u8; 2] = *b"rw";
/// Flows whose order is followed; a generator has at most as many threads.
pub(super) const FLOWS_MAX: usize = 64;

/// Writes flow and sequence number (from 1) into a datagram, if it has room.
#[inline]
pub(super) fn write(datagram: &mut [u8], flow: u16, sequence: u64) {
    if let Some(stamp) = datagram.first_chunk_mut::<STAMP_BYTES>() {
        stamp[..2].copy_from_slice(&MARK);
        stamp[2..4].copy_from_slice(&flow.to_le_bytes());
        stamp[4..].copy_from_slice(&sequence.to_le_bytes());
    }
}

/// Watches the sequence numbers of every flow.
#[derive(Debug)]
pub(super) struct Order {
    last: [u64; FLOWS_MAX],
    violations: u64,
}

impl Order {
    /// Nothing seen yet.
    pub(super) fn new() -> Order {
        Order { last: [0; FLOWS_MAX], violations: 0 }
    }

    /// Looks at one datagram; one without a stamp is not judged.
    #[inline]
    pub(super) fn see(&mut self, datagram: &[u8]) {
        let Some(stamp) = datagram.first_chunk::<STAMP_BYTES>() else { return };
        let &[m0, m1, f0, f1, sequence @ ..] = stamp;
        if [m0, m1] != MARK {
            return;
        }
        let last = &mut self.last[usize::from(u16::from_le_bytes([f0, f1])) % FLOWS_MAX];
        let sequence = u64::from_le_bytes(sequence);
        self.violations += u64::from(sequence <= *last);
        *last = sequence;
    }

    /// Datagrams that came after one which was sent later, or twice.
    pub(super) fn violations(&self) -> u64 {
        self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_judged_flow_by_flow() {
        let mut order = Order::new();
        let mut datagram = [0; 64];
        for (flow, sequence) in [(0, 1), (1, 1), (0, 2), (1, 7), (0, 9)] {
            write(&mut datagram, flow, sequence);
            order.see(&datagram);
        }
        assert_eq!(order.violations(), 0, "gaps are losses, not disorder");
        for (flow, sequence) in [(0, 8), (1, 7)] {
            write(&mut datagram, flow, sequence);
            order.see(&datagram);
        }
        assert_eq!(order.violations(), 2, "one was late and one came twice");
    }

    #[test]
    fn what_bears_no_stamp_is_not_judged() {
        let mut order = Order::new();
        let mut short = [0; STAMP_BYTES - 1];
        write(&mut short, 0, 5);
        assert_eq!(short, [0; STAMP_BYTES - 1]);
        for _ in 0..2 {
            order.see(&short);
            order.see(&[7; 64]);
        }
        assert_eq!(order.violations(), 0);
    }
}
