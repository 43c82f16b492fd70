//! What HTTP keeps with a connection between turns: two words.

/// What the connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next request.
    #[default]
    Idle,
    /// The rest of a head.
    Head,
    /// Its answers to go out.
    Sending,
}

/// A connection's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Requests so far.
    pub(crate) requests: u32,
    /// Bytes sent at the last look, while sending.
    pub(crate) progress: u64,
}

impl State {
    pub(crate) fn unpack(words: [u64; 2]) -> Self {
        let phase = match words[0] & 3 {
            1 => Phase::Head,
            2 => Phase::Sending,
            _ => Phase::Idle,
        };
        Self { phase, requests: u32::try_from(words[0] >> 32).unwrap_or(0), progress: words[1] }
    }

    pub(crate) fn pack(self) -> [u64; 2] {
        let phase = match self.phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Sending => 2,
        };
        [u64::from(self.requests) << 32 | phase, self.progress]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_packing() {
        for phase in [Phase::Idle, Phase::Head, Phase::Sending] {
            let state = State { phase, requests: u32::MAX, progress: u64::MAX };
            assert_eq!(State::unpack(state.pack()), state);
        }
        assert_eq!(State::unpack([0; 2]), State::default());
    }
}
