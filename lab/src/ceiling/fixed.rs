//! Fixed answers on our engine: a protocol that counts requests and sends prepared slices.

use crate::ceiling::answers::{Answers, Ends};
use ringway_engine::{Conn, Events, Protocol, Turn};
use ringway_ring::{Handle, Pool, SLICE_BYTES_MAX, Slice};
use std::cell::OnceCell;
use std::io;
use std::sync::Arc;

/// Requests that a connection may be ahead of its answers; a client that is further ahead is counted no more.
const OWED_MAX: u64 = 1 << 32;

/// The protocol's value on one worker.
#[derive(Debug)]
pub struct Fixed {
    answers: Arc<Answers>,
    /// The batch in slices of this worker, made at the first request.
    pieces: OnceCell<Vec<Slice>>,
    file: Option<(Handle, u64)>,
}

/// What a connection has under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    ends: Ends,
    /// Answers to be sent.
    owed: u64,
    /// Pieces of the current one that are sent.
    piece: usize,
}

impl Fixed {
    /// A worker's value.
    ///
    /// # Errors
    /// When no descriptor is left for the body's file.
    pub fn new(answers: Arc<Answers>) -> io::Result<Fixed> {
        let file =
            answers.file().map(|(file, bytes)| file.try_clone().map(|file| (Handle::new(file), bytes)));
        Ok(Fixed { file: file.transpose()?, answers, pieces: OnceCell::new() })
    }

    /// Sends what is owed as far as the connection takes it; `None` when the worker has no memory.
    fn send(&self, conn: &mut Conn<'_>, state: &mut State) -> Option<Sent> {
        let pool = conn.pool();
        let pieces = self.pieces(&pool)?;
        while state.owed > 0 && conn.can_send() {
            if let Some((file, bytes)) = &self.file {
                conn.send_file(pieces.first().cloned(), file.clone(), 0, *bytes, true);
                state.owed -= 1;
            } else if let [batch] = pieces {
                let count = usize::try_from(state.owed).unwrap_or(usize::MAX).min(self.answers.per_batch());
                let mut bytes = batch.clone();
                bytes.truncate(count * self.answers.answer_bytes());
                state.owed -= count as u64;
                if self.answers.is_closing() {
                    conn.send_last(bytes);
                    return Some(Sent::Last);
                }
                conn.send(bytes);
            } else {
                conn.send(pieces.get(state.piece)?.clone());
                state.piece = (state.piece + 1) % pieces.len();
                state.owed -= u64::from(state.piece == 0);
            }
            if self.answers.is_closing() && state.piece == 0 {
                return Some(Sent::Last);
            }
        }
        Some(Sent::More)
    }

    fn pieces(&self, pool: &Pool) -> Option<&[Slice]> {
        if self.pieces.get().is_none() {
            let pieces = self.answers.batch().chunks(SLICE_BYTES_MAX).map(|piece| pool.copy_of(piece));
            // Somebody else's value cannot be there: a worker is one thread.
            let _just_made = self.pieces.set(pieces.collect::<Option<Vec<_>>>()?);
        }
        self.pieces.get().map(Vec::as_slice)
    }
}

/// Whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    More,
    Last,
}

impl Protocol for Fixed {
    fn turn(&self, conn: &mut Conn<'_>, _events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        let mut state = State::from_words(conn.context());
        while let Some(bytes) = conn.take() {
            state.owed = (state.owed + state.ends.count(&bytes)).min(OWED_MAX - 1);
        }
        match self.send(conn, &mut state) {
            None => return Turn::Abort,
            Some(Sent::Last) => return Turn::Linger,
            Some(Sent::More) => {}
        }
        conn.set_context(state.words());
        let is_over = conn.is_ended() || conn.is_draining();
        if is_over && state.owed == 0 { Turn::Close } else { Turn::Idle }
    }
}

impl State {
    fn words(self) -> [u64; 2] {
        [u64::from(self.ends.bits()) | self.owed << 32, self.piece as u64]
    }

    fn from_words([first, second]: [u64; 2]) -> State {
        State {
            ends: Ends::from_bits(u32::try_from(first & 0xffff_ffff).unwrap_or(0)),
            owed: first >> 32,
            piece: usize::try_from(second).unwrap_or(0),
        }
    }
}

#[test]
fn a_state_fits_into_two_words() {
    let mut ends = Ends::default();
    ends.count(b"GET / HTTP/1.1\r\n\r");
    let state = State { ends, owed: OWED_MAX - 1, piece: 1000 };
    assert_eq!(State::from_words(state.words()), state);
    assert_eq!(State::from_words([0; 2]), State::default());
}
