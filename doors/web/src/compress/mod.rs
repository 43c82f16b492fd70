//! Compression of files when they are asked for: which of them, how hard, and how much of the machine that may take.
//!
//! A file is compressed once, on the thread pool, and kept beside it in the open-file cache, within that cache's memory, with an
//! entity tag of its own. While as many are being compressed as may be, the file is sent as it is. Prepared siblings come
//! first, and a request for a range gets the file itself: ranges of what may be made differently tomorrow are no good.
//!
//! That the length of an answer tells of its content (as attacks on compression over TLS use) concerns answers that mix
//! secrets with what an attacker chose. Files are the same for everybody who may have them.

pub mod encoder;

use crate::codings::{CodingSet, SIBLINGS};
use crate::compress::encoder::{EncodeFailed, Encoder, Levels, Step};
use ringway_http::negotiate::Coding;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Media types that are compressed unless told otherwise; `*` stands for every subtype.
pub const TYPES_DEFAULT: &[&str] = &[
    "text/*",
    "application/atom+xml",
    "application/geo+json",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "application/x-javascript",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
];

/// Of what it was, in per cent, a compressed file may have at most to be worth it.
const WORTH_PERCENT: u64 = 95;

/// What is compressed, and how.
#[derive(Clone, Debug)]
pub struct CompressionOptions {
    /// In which codings; of those a client likes alike, the first. Default brotli, zstd, gzip.
    pub codings: Vec<Coding>,
    /// Media types, such as `text/css` or `text/*`. Default [`TYPES_DEFAULT`].
    pub types: Vec<Box<str>>,
    /// Shortest file, in bytes. Default 1024: a shorter one fits a packet as it is.
    pub len_min: u64,
    /// Longest file, in bytes. Default 1 MiB: longer ones are better compressed once, beside the file.
    pub len_max: u64,
    /// How hard.
    pub levels: Levels,
}

impl Default for CompressionOptions {
    fn default() -> Self {
        Self {
            codings: SIBLINGS.to_vec(),
            types: TYPES_DEFAULT.iter().map(|&name| name.into()).collect(),
            len_min: 1024,
            len_max: 1024 * 1024,
            levels: Levels::default(),
        }
    }
}

/// How many files are compressed at once; for all sites of a process. Clones are the same limit.
#[derive(Clone)]
pub struct CompressionLimit(Arc<Running>);

struct Running {
    now: AtomicUsize,
    most: usize,
    made: AtomicU64,
    refused: AtomicU64,
}

impl CompressionLimit {
    /// At most so many at once; none with 0.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let running =
            Running { now: AtomicUsize::new(0), most, made: AtomicU64::new(0), refused: AtomicU64::new(0) };
        Self(Arc::new(running))
    }

    /// Files that were compressed.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed)
    }

    /// How often a file was sent as it is because as many were being compressed as may be.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Option<Permit> {
        let most = self.0.most;
        let begun = self.0.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            Some(now + 1).filter(|&next| next <= most)
        });
        if begun.is_err() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(self.clone()))
    }
}

impl Default for CompressionLimit {
    /// As many as half of the cores, at least one.
    fn default() -> Self {
        Self::new((std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1))
    }
}

impl fmt::Debug for CompressionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.0.now.load(Ordering::Relaxed);
        write!(
            f,
            "CompressionLimit({now} of {}, {} made, {} refused)",
            self.0.most,
            self.made(),
            self.refused()
        )
    }
}

/// One file may be compressed, as long as this lives.
#[derive(Debug)]
pub(crate) struct Permit(CompressionLimit);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Compression of a site's files.
#[derive(Clone, Debug)]
pub struct Compression {
    options: CompressionOptions,
    limit: CompressionLimit,
}

impl Compression {
    /// Compression as `options` have it, within `limit`.
    #[must_use]
    pub const fn new(options: CompressionOptions, limit: CompressionLimit) -> Self {
        Self { options, limit }
    }

    /// In which codings a file of this type and length is compressed.
    #[must_use]
    pub fn codings_of(&self, essence: &str, len: u64) -> CodingSet {
        let is_of_a_length = (self.options.len_min..=self.options.len_max).contains(&len);
        if is_of_a_length && self.options.types.iter().any(|name| is_of_type(essence, name)) {
            self.options.codings.iter().fold(CodingSet::NONE, |set, &coding| set.with(coding))
        } else {
            CodingSet::NONE
        }
    }

    /// The codings, the preferred one first.
    #[must_use]
    pub fn codings(&self) -> &[Coding] {
        &self.options.codings
    }

    /// Leave to compress one file; `None` while enough are.
    pub(crate) fn begin(&self) -> Option<Permit> {
        self.limit.begin()
    }

    /// The level of `coding`, as it goes into entity tags.
    pub(crate) const fn level(&self, coding: Coding) -> u8 {
        match coding {
            Coding::Identity => 0,
            Coding::Gzip => self.options.levels.gzip,
            Coding::Brotli => self.options.levels.brotli,
            Coding::Zstd => self.options.levels.zstd,
        }
    }

    /// Compresses `len` bytes that `read` brings piece by piece; it is given where they are and says how many it brought, 0 at
    /// the end. Nothing when it is not worth it, or when there were more or fewer.
    ///
    /// # Errors
    /// What `read` says.
    pub(crate) fn compress<E>(
        &self,
        coding: Coding,
        len: u64,
        mut read: impl FnMut(&mut [u8], u64) -> Result<usize, E>,
    ) -> Result<Option<Box<[u8]>>, E> {
        /// Bytes that are read at once.
        const PIECE_LEN: usize = 64 * 1024;
        let Ok(out_max) = usize::try_from(len / 100 * WORTH_PERCENT + len % 100) else { return Ok(None) };
        let Ok(mut encoder) = Encoder::new(coding, self.options.levels, Some(len)) else { return Ok(None) };
        let mut piece = vec![0; PIECE_LEN.min(usize::try_from(len).unwrap_or(PIECE_LEN)).max(1)];
        let (mut out, mut at) = (Vec::new(), 0);
        while at < len {
            let want = usize::try_from(len - at).map_or(piece.len(), |left| left.min(piece.len()));
            let count = read(&mut piece[..want], at)?;
            at += count as u64;
            let is_worth_it: Result<bool, EncodeFailed> =
                encoder.encode_to(&piece[..count], Step::Run, &mut out, out_max);
            if count == 0 || is_worth_it != Ok(true) {
                return Ok(None);
            }
        }
        if read(&mut piece[..1], at)? != 0
            || encoder.encode_to(b"", Step::Finish, &mut out, out_max) != Ok(true)
        {
            return Ok(None);
        }
        self.limit.0.made.fetch_add(1, Ordering::Relaxed);
        Ok(Some(out.into_boxed_slice()))
    }
}

fn is_of_type(essence: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => essence.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => essence.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::encoder::tests::{CODINGS, decode, noise};
    use std::convert::Infallible;

    fn compression(most: usize) -> Compression {
        Compression::new(CompressionOptions::default(), CompressionLimit::new(most))
    }

    fn from(bytes: &[u8]) -> impl FnMut(&mut [u8], u64) -> Result<usize, Infallible> {
        move |into, at| {
            let rest = &bytes[usize::try_from(at).unwrap().min(bytes.len())..];
            // Never all that was asked for.
            let count = rest.len().min(into.len()).min(1 + into.len() / 2);
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn types_and_lengths_decide() {
        let compression = compression(1);
        for (essence, len, is_worth_it) in [
            ("text/html", 1024, true),
            ("TEXT/css", 5000, true),
            ("image/svg+xml", 1024 * 1024, true),
            ("text/html", 1023, false),
            ("text/html", 1024 * 1024 + 1, false),
            ("image/png", 5000, false),
            ("textual/x", 5000, false),
            ("", 5000, false),
        ] {
            assert_eq!(!compression.codings_of(essence, len).is_empty(), is_worth_it, "{essence} {len}");
        }
    }

    #[test]
    fn what_is_made_is_what_was_read() {
        let text = b"the same again and again\n".repeat(20_000);
        for coding in CODINGS {
            let compression = compression(1);
            let Ok(made) = compression.compress(coding, text.len() as u64, from(&text));
            let made = made.expect("worth it");
            assert!(made.len() < text.len() / 20, "{coding:?} {}", made.len());
            assert_eq!(decode(coding, &made).unwrap(), text);
            assert_eq!(compression.limit.made(), 1);
        }
    }

    #[test]
    fn what_is_not_worth_it_or_changes_is_not_made() {
        let noise = noise(200_000);
        let text = vec![b'x'; 5000];
        for coding in CODINGS {
            let compression = compression(1);
            for (bytes, len) in [(&noise, noise.len()), (&text, 4999), (&text, 5001), (&text, 0)] {
                let Ok(made) = compression.compress(coding, len as u64, from(bytes));
                assert!(made.is_none(), "{coding:?} {len}");
            }
            let failed = compression.compress(coding, 10, |_, _| Err("disk"));
            assert_eq!(failed, Err("disk"));
        }
    }

    #[test]
    fn no_more_are_made_at_once_than_may_be() {
        let compression = compression(2);
        let first = compression.begin().unwrap();
        let _second = compression.begin().unwrap();
        assert!(compression.begin().is_none());
        drop(first);
        assert!(compression.begin().is_some());
        assert_eq!(compression.limit.refused(), 1);
        assert!(CompressionLimit::new(0).begin().is_none());
    }
}
