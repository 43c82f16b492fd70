//! Encoders of content codings: bytes in, bytes out, in memory that does not grow.
//!
//! One [`Encoder`] makes one representation in gzip (RFC 1952), brotli (RFC 7932) or zstd (RFC 8878). It takes input in pieces of
//! any size and fills the caller's buffer; what it keeps between calls is bounded by the coding's window. A flush lets
//! the reader decode all that was put in, which is what answers need that are made while they are sent.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use flate2::{Compress, Compression, FlushCompress, Status};
use ringway_http::negotiate::Coding;
use std::error::Error;
use std::fmt;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// Window of gzip as a power of two: the largest there is, 32 KiB. The encoder takes about 270 KiB.
const GZIP_WINDOW_BITS: u8 = 15;

/// Largest window of brotli as a power of two, 256 KiB: more is seldom seen to help, and costs reader and writer memory. The
/// encoder takes some megabytes.
const BROTLI_WINDOW_BITS: u32 = 18;

/// Largest window of zstd as a power of two, 1 MiB; browsers take up to 8 MiB (RFC 9659). The encoder takes some megabytes.
const ZSTD_WINDOW_BITS: u32 = 20;

/// Room, in bytes, below which output is made in a buffer of the encoder's own: in less than a few bytes the mark of gzip's flush
/// never fits, and zlib begins it anew with each call.
const ROOM_MIN: usize = 64;

/// What an encoder does besides taking input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: there is more input to come.
    Run,
    /// Gives all it has, so that a reader can decode as far as that.
    Flush,
    /// Ends the representation. No input may follow.
    Finish,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of input that were taken.
    pub taken: usize,
    /// Bytes of output that were made.
    pub made: usize,
    /// All input was taken and the step is done. Otherwise call again with the rest of the input, more room and the same step.
    pub is_done: bool,
}

/// Why encoding cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeFailed {
    /// There is no memory for the encoder, or it does not take such a level.
    Start,
    /// The encoder says that something is wrong with it.
    Broken,
    /// More input after [`Step::Finish`].
    Finished,
}

impl fmt::Display for EncodeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "the encoder cannot be had",
            Self::Broken => "the encoder failed",
            Self::Finished => "the representation has ended",
        })
    }
}

impl Error for EncodeFailed {}

/// How hard the encoders try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 9. Default 6.
    pub gzip: u8,
    /// 0 to 11. Default 5: about what gzip takes at 6, and makes less.
    pub brotli: u8,
    /// 1 to 19. Default 6.
    pub zstd: u8,
}

impl Levels {
    /// The levels for an effort from 1 (quick) to 9 (small), about alike for all codings.
    #[must_use]
    pub const fn of_effort(effort: u8) -> Self {
        let effort = if effort == 0 { 1 } else { effort };
        let effort = if effort > 9 { 9 } else { effort };
        Self { gzip: effort, brotli: effort, zstd: effort * 2 - 1 }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { gzip: 6, brotli: 5, zstd: 6 }
    }
}

/// An encoder of one representation.
pub struct Encoder {
    kind: Kind,
    is_finished: bool,
    staged: Staged,
}

/// Output that is made and was not taken for want of room.
struct Staged {
    bytes: [u8; ROOM_MIN],
    from: usize,
    to: usize,
    /// The step was done with it.
    is_done: bool,
}

impl Staged {
    const EMPTY: Self = Self { bytes: [0; ROOM_MIN], from: 0, to: 0, is_done: false };

    /// Gives as much as there is room for.
    fn take(&mut self, output: &mut [u8]) -> usize {
        let count = output.len().min(self.to - self.from);
        output[..count].copy_from_slice(&self.bytes[self.from..self.from + count]);
        self.from += count;
        count
    }

    const fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

enum Kind {
    Identity,
    Gzip(Compress),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(CCtx<'static>),
}

impl Encoder {
    /// An encoder in `coding`; of `len` bytes, if that is known, which saves memory for short ones.
    ///
    /// # Errors
    /// [`EncodeFailed::Start`]
    pub fn new(coding: Coding, levels: Levels, len: Option<u64>) -> Result<Self, EncodeFailed> {
        let kind = match coding {
            Coding::Identity => Kind::Identity,
            Coding::Gzip => {
                let level = Compression::new(levels.gzip.clamp(1, 9).into());
                Kind::Gzip(Compress::new_gzip(level, GZIP_WINDOW_BITS))
            }
            Coding::Brotli => Kind::Brotli(Box::new(brotli(levels.brotli, len))),
            Coding::Zstd => Kind::Zstd(zstd(levels.zstd, len)?),
        };
        Ok(Self { kind, is_finished: false, staged: Staged::EMPTY })
    }

    /// Takes from `input`, fills `output`, and does `step` when all input is taken.
    ///
    /// # Errors
    /// [`EncodeFailed`]; the representation is lost.
    pub fn encode(&mut self, input: &[u8], output: &mut [u8], step: Step) -> Result<Progress, EncodeFailed> {
        if self.is_finished {
            let is_nothing_more = input.is_empty() && step == Step::Finish;
            let done = Progress { taken: 0, made: 0, is_done: true };
            return if is_nothing_more { Ok(done) } else { Err(EncodeFailed::Finished) };
        }
        let progress = self.encode_staged(input, output, step)?;
        self.is_finished = progress.is_done && step == Step::Finish;
        Ok(progress)
    }

    /// Gives what is staged first; makes more where that leaves room, by way of the stage where it leaves little.
    fn encode_staged(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        step: Step,
    ) -> Result<Progress, EncodeFailed> {
        let made = self.staged.take(output);
        if !self.staged.is_empty() {
            return Ok(Progress { taken: 0, made, is_done: false });
        }
        if std::mem::take(&mut self.staged.is_done) && input.is_empty() {
            return Ok(Progress { taken: 0, made, is_done: true });
        }
        let room = &mut output[made..];
        if room.len() >= ROOM_MIN {
            let progress = self.kind.run(input, room, step)?;
            return Ok(Progress { made: made + progress.made, ..progress });
        }
        let progress = self.kind.run(input, &mut self.staged.bytes, step)?;
        (self.staged.from, self.staged.to) = (0, progress.made);
        let made = made + self.staged.take(room);
        self.staged.is_done = progress.is_done && !self.staged.is_empty();
        Ok(Progress { taken: progress.taken, made, is_done: progress.is_done && self.staged.is_empty() })
    }

    /// Takes all of `input` and does `step`; appends what that makes to `output`, at most up to `len_max` bytes there. Says
    /// whether that was enough.
    ///
    /// # Errors
    /// [`EncodeFailed`]; the representation is lost.
    pub fn encode_to(
        &mut self,
        mut input: &[u8],
        step: Step,
        output: &mut Vec<u8>,
        len_max: usize,
    ) -> Result<bool, EncodeFailed> {
        /// Room that is made at once.
        const PIECE_LEN: usize = 16 * 1024;
        loop {
            let len = output.len();
            let room = PIECE_LEN.min(len_max.saturating_sub(len));
            output.resize(len + room, 0);
            let encoded = self.encode(input, &mut output[len..], step);
            output.truncate(len + encoded.map_or(0, |progress| progress.made));
            let progress = encoded?;
            input = &input[progress.taken..];
            if progress.is_done {
                return Ok(true);
            }
            if room == 0 {
                return Ok(false);
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Identity => "Encoder(identity)",
            Kind::Gzip(_) => "Encoder(gzip)",
            Kind::Brotli(_) => "Encoder(br)",
            Kind::Zstd(_) => "Encoder(zstd)",
        })
    }
}

impl Kind {
    fn run(&mut self, input: &[u8], output: &mut [u8], step: Step) -> Result<Progress, EncodeFailed> {
        match self {
            Self::Identity => Ok(copy(input, output)),
            Self::Gzip(state) => run_gzip(state, input, output, step),
            Self::Brotli(state) => run_brotli(state, input, output, step),
            Self::Zstd(context) => run_zstd(context, input, output, step),
        }
    }
}

fn copy(input: &[u8], output: &mut [u8]) -> Progress {
    let len = input.len().min(output.len());
    output[..len].copy_from_slice(&input[..len]);
    Progress { taken: len, made: len, is_done: len == input.len() }
}

fn run_gzip(
    state: &mut Compress,
    input: &[u8],
    output: &mut [u8],
    step: Step,
) -> Result<Progress, EncodeFailed> {
    let before = (state.total_in(), state.total_out());
    let flush = match step {
        Step::Run => FlushCompress::None,
        Step::Flush => FlushCompress::Sync,
        Step::Finish => FlushCompress::Finish,
    };
    let status = state.compress(input, output, flush).map_err(|_broken| EncodeFailed::Broken)?;
    let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
    let (taken, made) = (moved(state.total_in(), before.0), moved(state.total_out(), before.1));
    let is_done = match step {
        Step::Run => taken == input.len(),
        // There may be more to come whenever the room was used up. A flush once more is none: it makes nothing then.
        Step::Flush => taken == input.len() && made < output.len(),
        Step::Finish => status == Status::StreamEnd,
    };
    Ok(Progress { taken, made, is_done })
}

fn brotli(level: u8, len: Option<u64>) -> BrotliEncoderStateStruct<StandardAlloc> {
    let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
    // A window as large as what is encoded will do.
    let len_bits = len.map_or(BROTLI_WINDOW_BITS, |len| u64::BITS - len.leading_zeros());
    let window_bits = len_bits.clamp(12, BROTLI_WINDOW_BITS);
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, level.min(11).into());
    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits);
    if let Some(hint) = len.and_then(|len| u32::try_from(len).ok()) {
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
    }
    state
}

fn run_brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
    step: Step,
) -> Result<Progress, EncodeFailed> {
    let operation = match step {
        Step::Run => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Step::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Step::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut left, mut room) = (input.len(), output.len());
    let (mut taken, mut made) = (0, 0);
    let went_well = state.compress_stream(
        operation,
        &mut left,
        input,
        &mut taken,
        &mut room,
        output,
        &mut made,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if !went_well {
        return Err(EncodeFailed::Broken);
    }
    let is_done = match step {
        Step::Run => left == 0,
        Step::Flush => left == 0 && !state.has_more_output(),
        Step::Finish => state.is_finished(),
    };
    Ok(Progress { taken, made, is_done })
}

fn zstd(level: u8, len: Option<u64>) -> Result<CCtx<'static>, EncodeFailed> {
    let mut context = CCtx::try_create().ok_or(EncodeFailed::Start)?;
    let mut set = |parameter| context.set_parameter(parameter).map_err(|_code| EncodeFailed::Start);
    set(CParameter::CompressionLevel(level.clamp(1, 19).into()))?;
    set(CParameter::WindowLog(ZSTD_WINDOW_BITS))?;
    // Told how long it is, the encoder takes no larger a window. A wrong length would be an error at the end.
    if len.is_some() {
        context.set_pledged_src_size(len).map_err(|_code| EncodeFailed::Start)?;
    }
    Ok(context)
}

fn run_zstd(
    context: &mut CCtx<'static>,
    input: &[u8],
    output: &mut [u8],
    step: Step,
) -> Result<Progress, EncodeFailed> {
    let directive = match step {
        Step::Run => ZSTD_EndDirective::ZSTD_e_continue,
        Step::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Step::Finish => ZSTD_EndDirective::ZSTD_e_end,
    };
    let mut source = InBuffer::around(input);
    let mut target = OutBuffer::around(output);
    let left = context
        .compress_stream2(&mut target, &mut source, directive)
        .map_err(|_code| EncodeFailed::Broken)?;
    let (taken, made) = (source.pos(), target.pos());
    let is_done = match step {
        Step::Run => taken == input.len(),
        Step::Flush | Step::Finish => taken == input.len() && left == 0,
    };
    Ok(Progress { taken, made, is_done })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    pub(crate) const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// Decodes by another way than the encoder's.
    pub(crate) fn decode(coding: Coding, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(bytes),
            Coding::Gzip => {
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?;
            }
            Coding::Brotli => {
                brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)?;
            }
            Coding::Zstd => {
                let mut context = zstd_safe::DCtx::create();
                let mut room = vec![0; 8 << 20];
                let len = context
                    .decompress(&mut room[..], bytes)
                    .map_err(|code| std::io::Error::other(zstd_safe::get_error_name(code).to_owned()))?;
                out.extend_from_slice(&room[..len]);
            }
        }
        Ok(out)
    }

    /// As much of what was encoded as can be decoded.
    fn decode_as_far_as_possible(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 1 << 20];
        let mut filled = 0;
        if coding == Coding::Zstd {
            let mut context = zstd_safe::DCtx::create();
            let (mut source, mut target) = (InBuffer::around(bytes), OutBuffer::around(&mut out[..]));
            context.decompress_stream(&mut target, &mut source).expect("a beginning");
            filled = target.pos();
        } else {
            let mut reader: Box<dyn Read> = match coding {
                Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
                _ => Box::new(brotli::Decompressor::new(bytes, 4096)),
            };
            while let Ok(count @ 1..) = reader.read(&mut out[filled..]) {
                filled += count;
            }
        }
        out.truncate(filled);
        out
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len)
            .flat_map(|number| format!("line {} of {len}\n", number % 97).into_bytes())
            .take(len)
            .collect()
    }

    /// Bytes that cannot be compressed.
    pub(crate) fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .flatten()
        .take(len)
        .collect()
    }

    #[test]
    fn what_goes_in_comes_out_whatever_the_pieces_are() {
        for coding in CODINGS {
            for (len, input_piece, output_piece) in [
                (0, 1, 1),
                (1, 1, 1),
                (10_000, 1, 1),
                (10_000, 7, 3),
                (300_000, 65_536, 100),
                (300_000, 1000, 65_536),
            ] {
                let input = text(len);
                let mut encoder = Encoder::new(coding, Levels::default(), Some(len as u64)).unwrap();
                let (mut out, mut room) = (Vec::new(), vec![0; output_piece]);
                let mut pieces = input.chunks(input_piece).chain([&b""[..]]).peekable();
                while let Some(mut piece) = pieces.next() {
                    let step = if pieces.peek().is_none() { Step::Finish } else { Step::Run };
                    loop {
                        let progress = encoder.encode(piece, &mut room, step).unwrap();
                        out.extend_from_slice(&room[..progress.made]);
                        piece = &piece[progress.taken..];
                        if progress.is_done {
                            break;
                        }
                    }
                }
                assert_eq!(
                    decode(coding, &out).unwrap(),
                    input,
                    "{coding:?} {len} {input_piece} {output_piece}"
                );
                assert_eq!(encoder.encode(b"x", &mut room, Step::Run), Err(EncodeFailed::Finished));
                assert!(encoder.encode(b"", &mut room, Step::Finish).unwrap().is_done);
                assert!(len < 10_000 || out.len() < len / 10, "{coding:?} {}", out.len());
            }
        }
    }

    #[test]
    fn what_was_flushed_can_be_read() {
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, Levels::default(), None).unwrap();
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            for round in 0..20 {
                let piece = text(1 + round * 137);
                expected.extend_from_slice(&piece);
                let before = out.len();
                assert!(encoder.encode_to(&piece, Step::Flush, &mut out, usize::MAX).unwrap());
                assert!(out.len() > before);
                assert_eq!(decode_as_far_as_possible(coding, &out), expected, "{coding:?} {round}");
            }
            // A flush of nothing once more ends.
            assert!(encoder.encode_to(b"", Step::Flush, &mut out, usize::MAX).unwrap());
            assert!(encoder.encode_to(b"", Step::Finish, &mut out, usize::MAX).unwrap());
            assert_eq!(decode(coding, &out).unwrap(), expected, "{coding:?}");
        }
    }

    #[test]
    fn every_level_there_is_works_on_a_small_stack_and_others_are_the_next() {
        let encode_all = || {
            let input = text(70_000);
            for level in [0, 1, 5, 9, 11, 19, 255] {
                for coding in CODINGS {
                    let levels = Levels { gzip: level, brotli: level, zstd: level };
                    let mut encoder = Encoder::new(coding, levels, None).unwrap();
                    let mut out = Vec::new();
                    assert!(encoder.encode_to(&input, Step::Finish, &mut out, usize::MAX).unwrap());
                    assert_eq!(decode(coding, &out).unwrap(), input, "{coding:?} {level}");
                }
            }
        };
        // As large as a thread of the pool has.
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(encode_all).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn output_never_grows_beyond_what_was_allowed() {
        let noise = noise(800_000);
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding, Levels::default(), None).unwrap();
            let mut out = Vec::new();
            assert!(!encoder.encode_to(&noise, Step::Finish, &mut out, 1000).unwrap(), "{coding:?}");
            assert_eq!(out.len(), 1000, "{coding:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

        /// Any sequence of pieces, steps and room gives what was put in.
        #[test]
        fn any_order_of_steps_gives_what_was_put_in(
            pieces in prop::collection::vec((prop::collection::vec(0_u8..4, 0..2000), any::<bool>()), 0..8),
            room in 1_usize..3000,
        ) {
            for coding in CODINGS {
                let mut encoder = Encoder::new(coding, Levels { gzip: 1, brotli: 1, zstd: 1 }, None).unwrap();
                let (mut out, mut output, mut expected) = (Vec::new(), vec![0; room], Vec::new());
                let ending = [(Vec::new(), false)];
                let count = pieces.len();
                for (number, (piece, flushes)) in pieces.iter().chain(&ending).enumerate() {
                    let step = match (number == count, flushes) {
                        (true, _) => Step::Finish,
                        (false, true) => Step::Flush,
                        (false, false) => Step::Run,
                    };
                    let mut input = &piece[..];
                    loop {
                        let progress = encoder.encode(input, &mut output, step).unwrap();
                        out.extend_from_slice(&output[..progress.made]);
                        input = &input[progress.taken..];
                        if progress.is_done { break; }
                    }
                    expected.extend_from_slice(piece);
                }
                prop_assert_eq!(decode(coding, &out).unwrap(), expected);
            }
        }
    }
}
