//! What HTTP keeps with a connection between turns: two words.

use crate::clock::Persistence;
use ringway_engine::{Description, SendProgress};

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
    /// Nothing of HTTP's: it is a guest's, whose place stands where the progress of sending was.
    #[cfg(feature = "guests")]
    Guest,
}

/// Whether the connection's last answer is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There may be more requests.
    #[default]
    No,
    /// When everything is sent the connection is closed: the client said that it sends nothing more.
    Close,
    /// When everything is sent the connection lingers: the client may be sending still.
    Linger,
}

impl Ending {
    /// What follows an answer that said `kept` to a client that for its part `keeps` the connection.
    pub(crate) fn after(kept: Persistence, keeps: bool) -> Self {
        match kept {
            Persistence::Keep | Persistence::KeepSaid => Self::No,
            Persistence::Close if keeps => Self::Linger,
            Persistence::Close => Self::Close,
        }
    }
}

/// A connection's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) ending: Ending,
    /// When it was opened: the worker's seconds, rounded up, so that nothing is counted as old too early.
    pub(crate) opened_s: u32,
    /// Requests so far.
    pub(crate) requests: u32,
    /// How far sending had come at the last look.
    pub(crate) progress: SendProgress,
}

/// Seconds as far as they fit between ending and requests: 8 years of a worker's life.
const OPENED_MAX: u64 = (1 << 28) - 1;

impl State {
    pub(crate) fn unpack(words: [u64; 2]) -> Self {
        let phase = match words[0] & 3 {
            1 => Phase::Head,
            2 => Phase::Sending,
            #[cfg(feature = "guests")]
            3 => Phase::Guest,
            _ => Phase::Idle,
        };
        let ending = match words[0] >> 2 & 3 {
            1 => Ending::Close,
            2 => Ending::Linger,
            _ => Ending::No,
        };
        Self {
            phase,
            ending,
            opened_s: u32::try_from(words[0] >> 4 & OPENED_MAX).unwrap_or(0),
            requests: u32::try_from(words[0] >> 32).unwrap_or(0),
            progress: SendProgress::from_bits(words[1]),
        }
    }

    pub(crate) fn pack(self) -> [u64; 2] {
        let phase = match self.phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Sending => 2,
            #[cfg(feature = "guests")]
            Phase::Guest => 3,
        };
        let ending = match self.ending {
            Ending::No => 0,
            Ending::Close => 1,
            Ending::Linger => 2,
        };
        let opened = u64::from(self.opened_s) & OPENED_MAX;
        [u64::from(self.requests) << 32 | opened << 4 | ending << 2 | phase, self.progress.bits()]
    }

    /// What is told of the connection.
    pub(crate) fn describe(self) -> Description {
        let state = match (self.ending, self.phase) {
            (Ending::Close | Ending::Linger, _) => "ending",
            (Ending::No, Phase::Idle) => "idle",
            (Ending::No, Phase::Head) => "head",
            (Ending::No, Phase::Sending) => "sending",
            #[cfg(feature = "guests")]
            (Ending::No, Phase::Guest) => "guest",
        };
        let opened_ms = (self.opened_s > 0).then(|| u64::from(self.opened_s) * 1000);
        Description { state, requests: u64::from(self.requests), opened_ms, age_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_packing() {
        for phase in [Phase::Idle, Phase::Head, Phase::Sending] {
            for ending in [Ending::No, Ending::Close, Ending::Linger] {
                let progress = SendProgress::from_bits(u64::MAX);
                let state = State { phase, ending, opened_s: (1 << 28) - 1, requests: u32::MAX, progress };
                assert_eq!(State::unpack(state.pack()), state);
            }
        }
        assert_eq!(State::unpack([0; 2]), State::default());
    }
}
