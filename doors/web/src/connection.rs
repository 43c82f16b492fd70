//! What HTTP keeps with a connection between turns: two words.

use ringway_engine::SendProgress;

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
    /// When it was opened: the worker's seconds.
    pub(crate) opened_s: u32,
    /// Requests so far.
    pub(crate) requests: u32,
    /// How far sending had come at the last look.
    pub(crate) progress: SendProgress,
}

/// Seconds as far as they fit between phase and requests: 34 years of a worker's life.
const OPENED_MAX: u64 = (1 << 30) - 1;

impl State {
    pub(crate) fn unpack(words: [u64; 2]) -> Self {
        let phase = match words[0] & 3 {
            1 => Phase::Head,
            2 => Phase::Sending,
            _ => Phase::Idle,
        };
        Self {
            phase,
            opened_s: u32::try_from(words[0] >> 2 & OPENED_MAX).unwrap_or(0),
            requests: u32::try_from(words[0] >> 32).unwrap_or(0),
            progress: SendProgress::from_bits(words[1]),
        }
    }

    pub(crate) fn pack(self) -> [u64; 2] {
        let phase = match self.phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Sending => 2,
        };
        let opened = u64::from(self.opened_s) & OPENED_MAX;
        [u64::from(self.requests) << 32 | opened << 2 | phase, self.progress.bits()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_packing() {
        for phase in [Phase::Idle, Phase::Head, Phase::Sending] {
            let progress = SendProgress::from_bits(u64::MAX);
            let state = State { phase, opened_s: (1 << 30) - 1, requests: u32::MAX, progress };
            assert_eq!(State::unpack(state.pack()), state);
        }
        assert_eq!(State::unpack([0; 2]), State::default());
    }
}
