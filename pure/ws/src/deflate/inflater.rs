//! Decompressing what the other end sends, with a bound on what comes of it.

use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};

use super::agreement::{Agreement, WINDOW_BITS_MIN};
use super::{Spare, TAIL};
use crate::Role;
use crate::fault::Fault;
use crate::store::Store;

/// What a stream can refer back to at most, in bytes.
const WINDOW_BYTES: usize = 32 << 10;

/// How often a stream may end within one message. Beginning another one is work that two bytes ask for, and no usual
/// peer asks for it at all.
const ENDS_MAX: u8 = 16;

/// The decompression of one connection.
#[derive(Debug)]
pub struct Inflater {
    spare: Rc<Spare>,
    takeover: bool,
    window_bits: u8,
    /// A stream ended (RFC 7692 section 7.2.3.4); what follows begins another one.
    ended: bool,
    /// Streams that have ended in the message under way.
    ends: u8,
    /// Its own between messages only where the peer keeps its context.
    engine: Option<Decompress>,
    /// What a stream behind an ended one can refer back to. Kept from the first end of a stream on, which no usual
    /// peer ever sends.
    history: Option<Vec<u8>>,
}

impl Inflater {
    /// For the end that is `role`: decompresses what the other end compresses.
    pub fn new(role: Role, agreement: &Agreement, spare: Rc<Spare>) -> Self {
        let (takeover, window_bits) = agreement.of(match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        });
        let window_bits = window_bits.max(WINDOW_BITS_MIN);
        Self { spare, takeover, window_bits, ended: false, ends: 0, engine: None, history: None }
    }

    /// A message begins.
    pub(crate) fn begin(&mut self) {
        self.ends = 0;
        if self.engine.is_none() {
            self.engine = Some(if self.takeover {
                Decompress::new_with_window_bits(false, self.window_bits)
            } else {
                self.spare.inflating()
            });
        }
    }

    /// Decompresses a piece into `store`, which is to have `bytes_max` bytes at most.
    pub(crate) fn inflate(&mut self, piece: &[u8], store: &mut Store, bytes_max: usize) -> Result<(), Fault> {
        let mut scratch = self.spare.scratch();
        let done = self.run(piece, &mut scratch, store, bytes_max);
        self.spare.keep_scratch(scratch);
        done
    }

    /// The message ends: what its sender has left away is added.
    pub(crate) fn finish(&mut self, store: &mut Store, bytes_max: usize) -> Result<(), Fault> {
        // A message may end with the end of a stream, which has no tail that could have been left away.
        if !self.ended {
            self.inflate(&TAIL, store, bytes_max)?;
        }
        if !self.takeover {
            self.history = None;
            self.ended = false;
            if let Some(engine) = self.engine.take() {
                self.spare.keep_inflating(engine);
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        mut piece: &[u8],
        scratch: &mut Vec<u8>,
        store: &mut Store,
        bytes_max: usize,
    ) -> Result<(), Fault> {
        loop {
            if piece.is_empty() && self.ended {
                return Ok(());
            }
            if self.ended {
                self.begin_stream()?;
            }
            let Some(engine) = &mut self.engine else { return Err(Fault::Deflate) };
            scratch.clear();
            let before = engine.total_in();
            let status = engine.decompress_vec(piece, scratch, FlushDecompress::Sync);
            let used = usize::try_from(engine.total_in() - before).unwrap_or(piece.len());
            piece = &piece[used..];
            if let Some(history) = &mut self.history {
                remember(history, scratch);
            }
            // What came before malformed data counts first, so that pieces of any size lead to the same fault.
            store.push(scratch, bytes_max)?;
            match status.map_err(|_malformed| Fault::Deflate)? {
                Status::StreamEnd => {
                    self.ended = true;
                    self.ends += 1;
                    if self.ends > ENDS_MAX {
                        return Err(Fault::Deflate);
                    }
                    self.history.get_or_insert_with(|| last_of(store.as_bytes()).to_vec());
                }
                // Room was left: all of the piece has been taken in, and there is nothing more to come of it.
                _ if scratch.len() < scratch.capacity() => {
                    return if piece.is_empty() { Ok(()) } else { Err(Fault::Deflate) };
                }
                _ => {}
            }
        }
    }

    /// Another stream follows an ended one; it can refer to what came before.
    fn begin_stream(&mut self) -> Result<(), Fault> {
        self.ended = false;
        let (Some(engine), Some(history)) = (&mut self.engine, &self.history) else {
            return Err(Fault::Deflate);
        };
        engine.reset(false);
        let reach = last_of(history);
        if !reach.is_empty() {
            engine.set_dictionary(reach).map_err(|_refused| Fault::Deflate)?;
        }
        Ok(())
    }
}

fn remember(history: &mut Vec<u8>, more: &[u8]) {
    history.extend_from_slice(more);
    if history.len() > 2 * WINDOW_BYTES {
        history.drain(..history.len() - WINDOW_BYTES);
    }
}

fn last_of(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..]
}
