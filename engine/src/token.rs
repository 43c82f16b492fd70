//! Tokens: what an operation carries so that its completion finds its owner without a search.

use crate::record::ConnId;

/// Whom a completion is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A listener, by its number.
    Accept(u32),
    /// A connection's receive operation.
    Receive(ConnId),
    /// A connection's send operation.
    Send(ConnId),
    /// A filtered connection's file read.
    Pump(ConnId),
    /// A task that waits for an operation of its own, by its place.
    Waiter(u32),
    /// A UDP socket's reception, by the endpoint's place.
    Datagrams(u32),
    /// A UDP socket's wait for room, by the endpoint's place.
    DatagramRoom(u32),
}

const KIND_SHIFT: u32 = 60;
const GENERATION_MASK: u64 = (1 << 28) - 1;

impl Token {
    pub(crate) fn bits(self) -> u64 {
        let conn = |id: ConnId| u64::from(id.generation) << 32 | u64::from(id.index);
        let (kind, rest) = match self {
            Self::Accept(listener) => (0, u64::from(listener)),
            Self::Receive(id) => (1, conn(id)),
            Self::Send(id) => (2, conn(id)),
            Self::Pump(id) => (3, conn(id)),
            Self::Waiter(place) => (4, u64::from(place)),
            Self::Datagrams(place) => (5, u64::from(place)),
            Self::DatagramRoom(place) => (6, u64::from(place)),
        };
        kind << KIND_SHIFT | rest
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let low = u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
        let generation = u32::try_from(bits >> 32 & GENERATION_MASK).unwrap_or(0);
        let conn = ConnId { index: low, generation };
        match bits >> KIND_SHIFT {
            0 => Self::Accept(low),
            1 => Self::Receive(conn),
            2 => Self::Send(conn),
            3 => Self::Pump(conn),
            5 => Self::Datagrams(low),
            6 => Self::DatagramRoom(low),
            _ => Self::Waiter(low),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let id = ConnId { index: 0xffff_fffe, generation: (1 << 28) - 1 };
        let numbered =
            [Token::Accept(3), Token::Waiter(9), Token::Datagrams(7), Token::DatagramRoom(u32::MAX)];
        let all = [Token::Receive(id), Token::Send(id), Token::Pump(id)];
        for token in all.into_iter().chain(numbered) {
            assert_eq!(Token::from_bits(token.bits()), token);
        }
    }
}
