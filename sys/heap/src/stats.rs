//! What a heap is told and what it tells: options, counts, the truth about huge pages.

use std::fmt;

/// How a heap behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapOptions {
    /// Most bytes in blocks, out or kept; what would exceed it is refused with `AllocError`. No limit by default.
    pub limit_bytes: usize,
    /// Most bytes of freed blocks above 16 KiB that are kept for the next request; what exceeds it goes back to the
    /// kernel. 64 MiB by default.
    pub cached_bytes_max: usize,
    /// Whether the kernel is asked for huge pages (fewer misses of address translation, memory taken 2 MiB at a time).
    /// Off by default.
    pub huge_pages: bool,
}

impl Default for HeapOptions {
    fn default() -> Self {
        Self { limit_bytes: usize::MAX, cached_bytes_max: 64 * 1024 * 1024, huge_pages: false }
    }
}

/// What a heap holds. Bytes are those of whole blocks: what a request was rounded up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapStats {
    /// Blocks that are out.
    pub live_blocks: usize,
    /// Their bytes.
    pub live_bytes: usize,
    /// Bytes of blocks above 16 KiB that are free and kept.
    pub cached_bytes: usize,
    /// Bytes of all blocks, out or kept: what the limit is about.
    pub taken_bytes: usize,
    /// The most that ever was.
    pub taken_bytes_peak: usize,
    /// Bytes of address space mapped for blocks; memory is taken when a page is first touched.
    pub mapped_bytes: usize,
    /// Requests refused: over the limit, or the kernel had no memory.
    pub refused: u64,
}

impl fmt::Display for HeapStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocks of {} bytes out, {} bytes kept, {} taken (peak {}), {} mapped, {} requests refused",
            self.live_blocks,
            self.live_bytes,
            self.cached_bytes,
            self.taken_bytes,
            self.taken_bytes_peak,
            self.mapped_bytes,
            self.refused
        )
    }
}

/// What one size class holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStats {
    /// What a block of it holds, in bytes.
    pub block_bytes: usize,
    /// What its blocks are aligned to at least, in bytes.
    pub align_bytes: usize,
    /// Blocks that are out.
    pub live_blocks: usize,
    /// The most that ever were.
    pub live_blocks_peak: usize,
    /// Blocks that are free and kept.
    pub free_blocks: usize,
}

/// What became of the wish for huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Whether the options ask for them.
    pub asked: bool,
    /// Bytes of the heap's regions; blocks above 4 MiB are not among them.
    pub mapped_bytes: usize,
    /// Bytes for which the kernel took the advice. It is no promise.
    pub advised_bytes: usize,
    /// Bytes that huge pages back now, as the kernel counts them; at most the part of a shared line of its table that is
    /// ours. `None` when it does not tell.
    pub backed_bytes: Option<usize>,
}

/// Sums up what `smaps` (the text of `/proc/self/smaps`) says of huge pages within `ranges` of addresses and lengths.
pub(crate) fn huge_bytes(smaps: &str, ranges: &[(usize, usize)]) -> usize {
    let mut ours = 0;
    let mut backed = 0;
    for line in smaps.lines() {
        if let Some((start, end)) = mapping(line) {
            let shared = |&(at, bytes): &(usize, usize)| end.min(at + bytes).saturating_sub(start.max(at));
            ours = ranges.iter().map(shared).sum();
        } else if let Some(rest) = line.strip_prefix("AnonHugePages:") {
            let kilobytes = rest.trim().trim_end_matches("kB").trim_end().parse().unwrap_or(0_usize);
            backed += ours.min(kilobytes.saturating_mul(1024));
        }
    }
    backed
}

/// The addresses of a line that begins a mapping.
fn mapping(line: &str) -> Option<(usize, usize)> {
    let (start, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_counted_where_they_are_ours() {
        let smaps = "1000-3000 rw-p 00000000 00:00 0 \nSize: 8 kB\nAnonHugePages:      4 kB\n\
                     8000-a000 rw-p 00000000 00:00 0 [anon:x-y z]\nAnonHugePages:      8 kB\n\
                     c000-d000 rw-p 00000000 00:00 0 \nAnonHugePages:      4 kB\n";
        assert_eq!(huge_bytes(smaps, &[(0x1000, 0x2000)]), 4096);
        assert_eq!(huge_bytes(smaps, &[(0x9000, 0x1000)]), 4096, "no more than our part");
        assert_eq!(huge_bytes(smaps, &[(0x1000, 0x8000)]), 8192);
        assert_eq!(huge_bytes(smaps, &[(0xe000, 0x1000)]), 0);
        assert_eq!(huge_bytes("", &[(0, 1)]), 0);
    }
}
